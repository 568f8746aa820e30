//! How many rounds reads took, and what those after the first were for.

use crate::nodes::metrics::ClusterMetrics;
use crate::plan::rounds::Later;
use crate::plan::scatter::Ask;
use crate::plan::scattered::ReadKind;

/// Every kind and every round, so that rates are right from the first scrape.
pub(super) fn start_at_zero(metrics: &ClusterMetrics) {
    Later::ALL.iter().for_each(|round| drop(metrics.later_rounds.with_label_values(&[round.as_str()])));
    ReadKind::ALL.iter().for_each(|kind| drop(metrics.read_rounds.with_label_values(&[kind.as_str()])));
}

/// Counts the rounds of a read that is over; `later` are those after the first.
pub(super) fn count(metrics: &ClusterMetrics, ask: &Ask, later: &[Later]) {
    metrics.read_rounds.with_label_values(&[ask.plan().kind().as_str()]).observe(1.0 + later.len() as f64);
    later.iter().for_each(|round| metrics.later_rounds.with_label_values(&[round.as_str()]).inc());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_counted_from_zero_by_what_they_were_for() {
        let metrics = ClusterMetrics::new(&prometheus::Registry::new()).unwrap();
        start_at_zero(&metrics);
        count(&metrics, &Ask::Judge, &[Later::Judge, Later::Marks]);
        let later = |round: Later| metrics.later_rounds.with_label_values(&[round.as_str()]).get();
        assert_eq!((later(Later::Judge), later(Later::Marks), later(Later::Census)), (1, 1, 0));
        let rounds = metrics.read_rounds.with_label_values(&["other"]);
        assert_eq!((rounds.get_sample_count(), rounds.get_sample_sum()), (1, 3.0));
        assert_eq!(metrics.read_rounds.with_label_values(&["search"]).get_sample_count(), 0);
    }
}
