//! Any input whatever: real inputs, changed at random, must not break what holds for every input.
//!
//! Each target is a function from bytes to nothing that panics when a rule is broken. It gets every file of its corpus as it
//! is, and then changes of them: the same ones every time, so that a landing does not fail by chance.
//!
//! | variable | what |
//! |---|---|
//! | `MIROIR_FUZZ_ROUNDS` | changes for each target, 2,000 |
//! | `MIROIR_FUZZ_SECONDS` | instead: for how long each target goes on |
//! | `MIROIR_FUZZ_SEED` | which changes |
//!
//! A finding is made smaller as far as it goes and written to a file, to be put into the corpus with its mending.

mod change;
mod targets;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use change::{Changer, Kind};

/// How often a finding is tried without some of it.
const REDUCTIONS: usize = 2000;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// True if `target` finds nothing wrong with `input`. What it panics with is only printed by [`explain`].
fn holds(target: fn(&[u8]), input: &[u8]) -> bool {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| target(input)));
    QUIET.set(false);
    result.is_ok()
}

/// `input` without what is not needed for its failure.
fn reduced(target: fn(&[u8]), input: &[u8]) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut tries = 0;
    let mut piece = best.len() / 2;
    while piece > 0 && tries < REDUCTIONS {
        let mut at = 0;
        while at < best.len() && tries < REDUCTIONS {
            let end = (at + piece).min(best.len());
            let without = [&best[..at], &best[end..]].concat();
            tries += 1;
            if holds(target, &without) { at += piece } else { best = without }
        }
        piece /= 2;
    }
    best
}

fn explain(name: &str, target: fn(&[u8]), input: &[u8], how: &str) -> ! {
    let small = reduced(target, input);
    let number = xxhash_rust::xxh3::xxh3_64(&small);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{number:016x}"));
    std::fs::write(&path, &small).expect("a file for the finding");
    eprintln!("{how}: {}\n{}", path.display(), String::from_utf8_lossy(&small));
    target(&small);
    panic!("{name}: failed once on what it now accepts: it depends on more than its input");
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a corpus")
        .map(|entry| entry.expect("a readable folder").path())
        .map(|path| (path.clone(), std::fs::read(path).expect("a readable file")))
        .collect();
    files.sort();
    files
}

fn run(name: &str, target: fn(&[u8]), kind: Kind) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty());
    for (path, input) in &corpus {
        if !holds(target, input) {
            explain(name, target, input, &path.display().to_string());
        }
    }
    let seed = setting("MIROIR_FUZZ_SEED").unwrap_or(1);
    let until = setting("MIROIR_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let rounds = setting("MIROIR_FUZZ_ROUNDS").unwrap_or(2000);
    let inputs: Vec<&[u8]> = corpus.iter().map(|(_, input)| input.as_slice()).collect();
    let mut changer = Changer::new(seed, kind, &inputs);
    let mut round = 0;
    while until.map_or(round < rounds, |until| Instant::now() < until) {
        let input = changer.next();
        if !holds(target, &input) {
            explain(name, target, &input, &format!("{name}, seed {seed}, round {round}"));
        }
        round += 1;
    }
    println!("{name}: {} files, {round} changes, seed {seed}", corpus.len());
}

#[test]
fn bodies_are_cut_alike_in_whatever_pieces_they_come() {
    run("body", targets::body, Kind::Bytes);
}

#[test]
fn searches_are_rewritten_within_their_shards_or_refused() {
    run("search", targets::search, Kind::Json);
}

#[test]
fn replies_become_one_reply_without_hidden_fields_or_an_error() {
    run("merge", targets::merge, Kind::Json);
}

#[test]
fn replies_are_read_as_by_a_reader_of_all_json() {
    run("scan", targets::scan, Kind::Json);
    run("scan", targets::scan, Kind::Bytes);
}

#[test]
fn configurations_are_taken_or_refused_without_showing_a_key() {
    run("config", targets::config, Kind::Bytes);
}

#[test]
fn programs_come_to_an_end_and_change_only_what_is_theirs() {
    run("programs", targets::programs, Kind::Json);
}

#[test]
fn a_rule_that_is_broken_is_found_and_made_small() {
    fn no_x(input: &[u8]) {
        assert!(!input.contains(&b'x'));
    }
    let inputs = [b"abc".as_slice(), b"a long tail, and an x somewhere in the middle of it"];
    let mut changer = Changer::new(1, Kind::Bytes, &inputs);
    let found = (0..10_000).map(|_| changer.next()).find(|input| !holds(no_x, input)).expect("a finding");
    assert_eq!(reduced(no_x, &found), b"x");
}
