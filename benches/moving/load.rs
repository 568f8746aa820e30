//! Clients that search and write while something happens to the cluster, and what they met.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::CITIES;
use crate::settings::Settings;
use crate::support::Client;
use crate::support::client::pause;
use crate::support::parity::{Expected, search_path};
use crate::support::random::Dice;
use crate::times::Times;
use crate::writer::Writer;

/// What the clients of one phase have in common.
pub struct Stage<'a> {
    pub settings: &'a Settings,
    pub client: &'a Client,
    pub single: &'a Client,
    /// What is asked, and what one node answers to it.
    pub questions: &'a [Expected],
    /// False while the cluster holds other documents than the one node: then it only counts that answers are whole.
    pub judged: bool,
    pub cities: &'a [Value],
    /// True when cities are written again as they are.
    pub rewrites: bool,
    /// Seeds with which the operator's own check finds nothing wrong at rest.
    pub seeds: &'a [u64],
}

/// What clients met.
#[derive(Default)]
pub struct Tally {
    pub took: Duration,
    pub searches: Times,
    /// Answers that one node would not have given.
    pub wrong: Vec<String>,
    /// No answer, an error of the server's, or an answer that says that something is missing.
    pub unanswered: Vec<String>,
    pub acknowledged: Times,
    pub carried_out: Times,
    pub refused: Vec<String>,
    /// Runs of the operator's own check.
    pub checks: usize,
    pub failed_checks: Vec<String>,
}

// === impl Tally ===

impl Tally {
    fn join(&mut self, other: Self) {
        self.searches.0.extend(other.searches.0);
        self.wrong.extend(other.wrong);
        self.unanswered.extend(other.unanswered);
        self.acknowledged.0.extend(other.acknowledged.0);
        self.carried_out.0.extend(other.carried_out.0);
        self.refused.extend(other.refused);
        self.checks += other.checks;
        self.failed_checks.extend(other.failed_checks);
    }

    /// Everything that must not be: how often, and the first few that are not of one question.
    pub fn problems(&self) -> Vec<String> {
        let kinds = [
            ("wrong", &self.wrong),
            ("unanswered", &self.unanswered),
            ("refused", &self.refused),
            ("check", &self.failed_checks),
        ];
        let mut told = Vec::new();
        for (kind, found) in kinds.iter().filter(|(_, found)| !found.is_empty()) {
            told.push(format!("{} times {kind}:", found.len()));
            let mut seen = BTreeSet::new();
            let different = found.iter().filter(|text| seen.insert(text.chars().take(60).collect::<String>()));
            told.extend(different.take(5).cloned());
        }
        told
    }
}

// === impl Stage ===

impl Stage<'_> {
    /// Runs all clients while `during` does.
    pub fn run<T>(&self, writers: &mut [Writer], dice: &mut Dice, during: impl FnOnce() -> T) -> (T, Tally) {
        let stop = &AtomicBool::new(false);
        let started = Instant::now();
        let (result, mut tally) = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for number in 0..self.settings.searching {
                let dice = dice.branch(number);
                threads.push(scope.spawn(move || self.search(stop, dice)));
            }
            for writer in writers {
                threads.push(scope.spawn(move || self.write(stop, writer)));
            }
            threads.push(scope.spawn(move || self.check(stop)));
            // Whatever `during` finds wrong must not leave the clients running.
            let result = catch_unwind(AssertUnwindSafe(during));
            let took = started.elapsed();
            stop.store(true, Ordering::Relaxed);
            let mut tally = Tally { took, ..Tally::default() };
            for thread in threads {
                tally.join(thread.join().expect("a client does not panic"));
            }
            (result, tally)
        });
        // Otherwise the next phase would have the same random numbers.
        *dice = dice.branch(u64::MAX);
        tally.took = tally.took.max(Duration::from_millis(1));
        (result.unwrap_or_else(|panic| resume_unwind(panic)), tally)
    }

    fn search(&self, stop: &AtomicBool, mut dice: Dice) -> Tally {
        let mut tally = Tally::default();
        let headers = [("Content-Type", "application/json")];
        // Clients that begin together would stay together.
        pause(self.settings.search_every.mul_f64(dice.roll(1000) as f64 / 1000.0));
        while !stop.load(Ordering::Relaxed) {
            let question = dice.one(self.questions);
            let body = question.query.to_string();
            let started = Instant::now();
            let reply = self.client.try_send("POST", &search_path(CITIES), &headers, body.as_bytes());
            let took = started.elapsed();
            tally.searches.0.push(took);
            match reply {
                Err(error) => tally.unanswered.push(format!("{body}: {error}")),
                Ok(reply) if reply.status >= 500 || reply.header("x-miroir-degraded").is_some() => {
                    let text: String = reply.text.chars().take(300).collect();
                    tally
                        .unanswered
                        .push(format!("{body}: after {took:?} status {}, {:?}: {text}", reply.status, reply.headers));
                }
                Ok(reply) if self.judged => {
                    let difference = question.difference(&reply);
                    tally.wrong.extend(difference.map(|difference| format!("{body}: {difference}")));
                }
                Ok(_) => {}
            }
            pause(self.settings.search_every.saturating_sub(started.elapsed()));
        }
        tally
    }

    fn write(&self, stop: &AtomicBool, writer: &mut Writer) -> Tally {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            writer.write(self, &mut tally);
            pause(self.settings.write_every.saturating_sub(started.elapsed()));
        }
        tally
    }

    fn check(&self, stop: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        let Some(command) = self.settings.check.as_ref().filter(|_| self.judged) else { return tally };
        for seed in self.seeds.iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            tally.checks += 1;
            tally.failed_checks.extend(check(command, *seed, self.single, self.client).err());
        }
        tally
    }
}

/// One run of the operator's own check; the error is what it printed.
pub fn check(command: &str, seed: u64, single: &Client, cluster: &Client) -> Result<(), String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("SEED", seed.to_string()).env("INDEX", CITIES);
    let output = shell.env("SINGLE", &single.url).env("CLUSTER", &cluster.url).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("seed {seed}: {}: {out}{error}", output.status))
}
