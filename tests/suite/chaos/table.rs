//! The table at the end of a run.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::checker::{Problem, Problems};
use super::clients::Searches;
use super::faults::Thrown;
use super::history::Counts;
use super::kinds::{Class, FaultKind};

/// What a run came to.
pub struct Outcome<'a> {
    pub seed: u64,
    pub took: Duration,
    pub thrown: &'a Thrown,
    /// How many moves ended how.
    pub moves: BTreeMap<String, usize>,
    /// How many gateways ended by themselves, where they are several.
    pub ended: Option<usize>,
    pub writes: Counts,
    pub searches: &'a Searches,
    pub problems: &'a Problems,
}

// === impl Outcome ===

impl Outcome<'_> {
    pub fn table(&self) -> String {
        let mut lines: Vec<(String, usize)> = FaultKind::ALL
            .iter()
            .filter_map(|kind| self.thrown.get(kind).map(|count| (format!("fault: {}", kind.as_str()), *count)))
            .collect();
        lines.push(("faults".to_owned(), self.thrown.values().sum()));
        lines.extend(self.moves.iter().map(|(outcome, count)| (format!("moves that ended: {outcome}"), *count)));
        let gateways = self.thrown.iter().filter(|(kind, _)| kind.class() == Class::Gateways).map(|(_, count)| count);
        if let Some(ended) = self.ended {
            lines.push(("of these of gateways and the database".to_owned(), gateways.sum()));
            lines.push(("gateways that ended by themselves".to_owned(), ended));
        }
        let searches = |counter: &std::sync::atomic::AtomicUsize| counter.load(Ordering::Relaxed);
        lines.extend([
            ("writes acknowledged".to_owned(), self.writes.acknowledged),
            ("wrong writes sent, of which none may do anything".to_owned(), self.writes.wrong),
            ("writes whose tasks failed, as they must".to_owned(), self.writes.failed),
            ("writes in doubt (error, time-out, cut off)".to_owned(), self.writes.doubtful),
            ("searches answered in full".to_owned(), searches(&self.searches.complete)),
            ("searches that said what they lacked".to_owned(), searches(&self.searches.degraded)),
            ("searches refused or cut off".to_owned(), searches(&self.searches.unanswered)),
        ]);
        lines.extend(Problem::ALL.iter().map(|problem| (problem.as_str().to_owned(), self.problems.count(*problem))));
        let mut table = format!("chaos: seed {}, {:.0} s\n", self.seed, self.took.as_secs_f64());
        for (what, count) in lines {
            table += &format!("| {what:<44} | {count:>8} |\n");
        }
        table
    }
}
