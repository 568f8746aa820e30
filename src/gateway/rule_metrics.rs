//! What rules have done, counted by rule.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

use crate::rules::book::{Done, RuleBook};
use crate::rules::making::Making;
use crate::rules::rule::Rule;

/// Families and handles; cheap to clone.
#[derive(Clone)]
pub struct RuleMetrics {
    rules: IntCounterVec,
    duration: Histogram,
    mirrored: IntCounterVec,
}

/// What became of a search that was to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mirroring {
    Same,
    Differs,
    /// There was no answer to compare.
    Failed,
    /// There was no room for it.
    Dropped,
}

/// What became of tasks that somebody was to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Heard,
    Missed,
}

/// What became of a request, or a task, for which a rule held.
const OUTCOMES: [&str; 5] = ["applied", "skipped", "refused", "shadowed", "failed"];

// === impl Mirroring ===

impl Mirroring {
    const ALL: [Self; 4] = [Self::Same, Self::Differs, Self::Failed, Self::Dropped];

    fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

// === impl RuleMetrics ===

impl RuleMetrics {
    /// An error if one of the families is there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let rules = IntCounterVec::new(
            Opts::new(
                "miroir_rules_total",
                "Requests, and searches of several, for which a rule held, by what became of them.",
            ),
            &["rule", "outcome"],
        )?;
        let duration = Histogram::with_opts(
            HistogramOpts::new("miroir_rules_duration_seconds", "Time that the rules have taken for a request.")
                .buckets(vec![0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025]),
        )?;
        let mirrored = IntCounterVec::new(
            Opts::new(
                "miroir_mirrored_searches_total",
                "Searches that a rule has asked again, by what became of them.",
            ),
            &["rule", "outcome"],
        )?;
        registry.register(Box::new(mirrored.clone()))?;
        registry.register(Box::new(rules.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Self { rules, duration, mirrored })
    }

    /// A counter that is there from the start shows its first step.
    pub fn start(&self, rule: &Rule) {
        for outcome in OUTCOMES {
            self.rules.with_label_values(&[&rule.name, outcome]);
        }
        for outcome in Mirroring::ALL.iter().filter(|_| rule.mirrors()) {
            self.mirrored.with_label_values(&[rule.name.as_str(), outcome.name()]);
        }
    }

    /// Counts programs that have come to no end over documents, and logs why they did at first.
    pub fn count_failures(&self, makings: &[Making]) {
        for (rule, count, why) in makings.iter().filter_map(Making::failures) {
            self.rules.with_label_values(&[rule, "failed"]).inc_by(count);
            tracing::warn!(rule, documents = count, why, "a program of a rule has failed");
        }
    }

    /// Counts a program that has come to no end over an answer.
    pub fn count_failed(&self, rule: &str, why: &str) {
        self.rules.with_label_values(&[rule, "failed"]).inc();
        tracing::warn!(rule, why, "a program of a rule has failed");
    }

    /// Counts a search that a rule has asked again, or has not.
    pub fn count_mirrored(&self, rule: &str, outcome: Mirroring) {
        self.mirrored.with_label_values(&[rule, outcome.name()]).inc();
    }

    /// The rules have taken so long for a request.
    pub fn observe(&self, took: Duration) {
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts tasks that a rule has told of, or has failed to.
    pub fn count_told(&self, rule: &str, tasks: usize, outcome: Told) {
        let outcome = match outcome {
            Told::Heard => "applied",
            Told::Missed => "failed",
        };
        self.rules.with_label_values(&[rule, outcome]).inc_by(tasks as u64);
    }

    /// Counts what rules have done to a request, and which has refused it.
    pub fn count(&self, book: &RuleBook, done: &Done, refused: Option<usize>) {
        let count = |rule: usize, outcome: &str| self.rules.with_label_values(&[book.name(rule), outcome]).inc();
        if let Some(rule) = refused {
            count(rule, "refused");
        }
        done.skipped.iter().for_each(|rule| count(*rule, "skipped"));
        for (rule, why) in &done.failed {
            count(*rule, "failed");
            tracing::warn!(rule = book.name(*rule), why, "a program of a rule has failed");
        }
        done.shadowed.iter().for_each(|rule| count(*rule, "shadowed"));
        let has_other = |rule: &usize| {
            let failed = done.failed.iter().any(|(place, _)| place == rule);
            failed || done.skipped.contains(rule) || done.shadowed.contains(rule)
        };
        for rule in done.held.iter().filter(|rule| !has_other(rule) && refused != Some(**rule)) {
            count(*rule, "applied");
        }
    }
}
