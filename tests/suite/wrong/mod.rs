//! Wrong requests among right ones: whatever clients send, the cluster is what one node is that got the same.
//!
//! Each sequence is drawn from the seed of the run and its own number. After every write both sides' tasks are compared, and then
//! everything that is there: documents, settings, statistics, indexes. All the while another index must answer as if nothing
//! happened. A sequence that fails is made smaller, then printed as JSON: put it into a file of `tests/regressions/wrong`,
//! with which every run begins. `MIROIR_WRONG_SEED`, `MIROIR_WRONG_FIRST` and `MIROIR_WRONG_SEQUENCES` choose another run,
//! `MIROIR_WRONG_FAILURES` how many failures end it, `MIROIR_WRONG_CLIENTS` how many sequences are under way at once; with
//! `MIROIR_WRONG_SMALLER=0` failures stay as long as they are.

mod allowed;
mod compare;
mod draw;
mod draw_documents;
mod draw_reads;
mod run;
mod smaller;
mod step;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::stop::StopOnDrop;
use run::{Court, Failure, Outcome};
use step::{Kind, Sequence};

/// Sequences under way at the same time, unless `MIROIR_WRONG_CLIENTS` says otherwise.
const CLIENTS: u64 = 4;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// How the sequences of a run ended.
#[derive(Default)]
struct Tally {
    alike: u64,
    /// How often each allowance was met.
    allowed: BTreeMap<String, u64>,
    failed: Vec<(u64, Sequence, Failure)>,
}

fn regressions() -> Vec<(PathBuf, Sequence)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/wrong");
    let entries = std::fs::read_dir(folder).expect("the folder of regressions");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let sequence = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, sequence)
    };
    paths.into_iter().map(read).collect()
}

/// Runs the sequences with these numbers, several at a time, until so many have failed.
fn run_all(court: &Court, seed: u64, numbers: Range<u64>, most_failures: usize) -> Tally {
    let next = AtomicU64::new(numbers.start);
    let tally = Mutex::new(Tally::default());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end || tally.lock().expect("a tally").failed.len() >= most_failures {
                return;
            }
            let sequence = draw::sequence(seed, number);
            let outcome = court.run(&sequence);
            let mut tally = tally.lock().expect("a tally");
            match outcome {
                Outcome::Alike => tally.alike += 1,
                Outcome::Allowed(met) => {
                    for allowance in met {
                        let told = format!("{} ({})", allowance.name, allowance.reason);
                        *tally.allowed.entry(told).or_default() += 1;
                    }
                }
                Outcome::Differs(failure) => {
                    println!("sequence {number} of seed {seed}, {failure}");
                    sequence.steps[..=failure.at].iter().for_each(|step| println!("    {step}"));
                    tally.failed.push((number, sequence, *failure));
                }
            }
        }
    };
    std::thread::scope(|scope| (0..setting("MIROIR_WRONG_CLIENTS", CLIENTS)).for_each(|_| _ = scope.spawn(work)));
    tally.into_inner().expect("a tally")
}

#[test]
fn sequences_of_wrong_requests_that_once_differed_agree() {
    let court = Court::start();
    for (path, sequence) in regressions() {
        if let Outcome::Differs(failure) = court.run(&sequence) {
            panic!("{}: {failure}", path.display());
        }
    }
}

#[test]
fn random_wrong_requests_leave_the_cluster_as_one_node() {
    let seed = setting("MIROIR_WRONG_SEED", 1);
    let first = setting("MIROIR_WRONG_FIRST", 0);
    let numbers = first..first + setting("MIROIR_WRONG_SEQUENCES", 40);
    let most_failures = setting("MIROIR_WRONG_FAILURES", 1) as usize;
    let court = Court::start();
    let stop = AtomicBool::new(false);
    let (tally, mut wrong) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| court.watch_beside(&stop));
        let tally = {
            let _ending = StopOnDrop(&stop);
            run_all(&court, seed, numbers, most_failures)
        };
        (tally, watch.join().expect("the watch ends"))
    });
    wrong.iter_mut().for_each(|told| told.insert_str(0, "the index beside: "));
    wrong.extend(court.unwell());
    // Making failures small takes its time.
    wrong.iter().take(10).for_each(|told| println!("{told}"));
    println!("seed {seed}: {} sequences alike in everything", tally.alike);
    tally.allowed.iter().for_each(|(allowance, times)| println!("  allowed {times} times: {allowance}"));
    for (number, sequence, failure) in tally.failed {
        let fails = |sequence: &Sequence| match court.run(sequence) {
            Outcome::Differs(failure) => Some(*failure),
            Outcome::Alike | Outcome::Allowed(_) => None,
        };
        // Slow where each request is: then the steps that were printed must do.
        let (smallest, difference) = match setting("MIROIR_WRONG_SMALLER", 1) {
            0 => (sequence, failure.to_string()),
            _ => smaller::reduce(sequence, &failure, fails),
        };
        let smallest = serde_json::to_string_pretty(&smallest).expect("a sequence is JSON");
        let told = format!("sequence {number} of seed {seed}, made as small as it gets:\n{smallest}\n{difference}");
        println!("{told}");
        wrong.push(told);
    }
    assert!(wrong.is_empty(), "seed {seed}, {} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What is drawn can be written down, comes again, and covers every kind of request.
#[test]
fn sequences_survive_being_written_down_and_know_every_kind() {
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for number in 0..500 {
        let sequence = draw::sequence(7, number);
        assert_eq!(sequence, draw::sequence(7, number));
        let text = serde_json::to_string(&sequence).expect("a sequence is JSON");
        assert_eq!(serde_json::from_str::<Sequence>(&text).expect("JSON is a sequence"), sequence);
        sequence.steps.iter().for_each(|step| *kinds.entry(step.kind).or_default() += 1);
    }
    for kind in Kind::ALL {
        assert!(kinds.get(&kind).is_some_and(|count| *count >= 10), "{kind:?} is drawn {:?} times", kinds.get(&kind));
    }
}
