//! Random corpora, settings, requests and troubles: whatever they are, one node and the cluster give the same answers.
//!
//! A case that fails is made smaller, then printed as JSON together with the seed of the run. Put the JSON into a file of
//! `tests/regressions`: every run begins with those. `MIROIR_PARITY_SEED` and `MIROIR_PARITY_CASES` choose another run.

mod case;
mod check;
pub mod reduce;

use std::path::PathBuf;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRng, TestRunner};

use crate::support::{Fleet, FleetOptions, Single};
use case::{Case, FLEETS, Trouble};

/// The judge, and fleets that are started when the first case wants them.
struct Court {
    single: Single,
    fleets: [Option<Fleet>; FLEETS.len()],
    /// Every case has an index of its own.
    cases: u64,
}

// === impl Court ===

impl Court {
    fn new() -> Self {
        Self { single: Single::start(), fleets: [const { None }; FLEETS.len()], cases: 0 }
    }

    fn try_case(&mut self, case: &Case) -> Result<(), String> {
        self.cases += 1;
        let index = format!("case-{}", self.cases);
        let (nodes, replication_factor) = FLEETS[case.fleet];
        let fleet = self.fleets[case.fleet].get_or_insert_with(|| {
            Fleet::with(FleetOptions { nodes, replication_factor, cache: true, ..FleetOptions::default() })
        });
        check::run(case, &index, &self.single.client, fleet)
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn regressions() -> Vec<(PathBuf, Case)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions");
    let entries = std::fs::read_dir(folder).expect("the folder of regressions");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<(PathBuf, Case)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, case)
        })
        .collect();
    cases.sort_by(|left, right| left.0.cmp(&right.0));
    cases
}

#[test]
fn cases_that_once_differed_agree() {
    let mut court = Court::new();
    let cases = regressions();
    assert!(!cases.is_empty());
    for (path, case) in cases {
        if let Err(difference) = court.try_case(&case) {
            panic!("{}: {difference}", path.display());
        }
    }
}

#[test]
fn random_cases_agree_with_one_node() {
    let seed = setting("MIROIR_PARITY_SEED", 3);
    let cases = u32::try_from(setting("MIROIR_PARITY_CASES", 20)).expect("a number of cases");
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let court = std::cell::RefCell::new(Court::new());
    let outcome = runner.run(&case::any(), |case| court.borrow_mut().try_case(&case).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => println!("{cases} random cases agree (seed {seed})"),
        Err(TestError::Fail(difference, case)) => {
            let fails = |case: &Case| court.borrow_mut().try_case(case).err();
            let (case, difference) = reduce::reduce(case, difference.to_string(), fails);
            let case = serde_json::to_string_pretty(&case).expect("a case is JSON");
            panic!("seed {seed}, made as small as it gets:\n{case}\n\n{difference}");
        }
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    }
}

/// What the strategies make is what the files of regressions can hold, and covers what it is meant to.
#[test]
fn cases_survive_being_written_down_and_know_every_trouble() {
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(7), ..Config::default() });
    let cases: Vec<Case> = (0..64).map(|_| case::any().new_tree(&mut runner).expect("a case").current()).collect();
    for case in &cases {
        let text = serde_json::to_string(case).expect("a case is JSON");
        assert_eq!(&serde_json::from_str::<Case>(&text).expect("JSON is a case"), case);
    }
    let has = |trouble: fn(&Trouble) -> bool| cases.iter().any(|case| trouble(&case.trouble));
    assert!(has(|trouble| matches!(trouble, Trouble::None)));
    assert!(has(|trouble| matches!(trouble, Trouble::DeadNode { .. })));
    assert!(has(|trouble| matches!(trouble, Trouble::CopiesInProgress { .. })));
}
