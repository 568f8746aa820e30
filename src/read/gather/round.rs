//! What the parts of one question know of each other: whether a node is slow can only be told beside others.

use std::time::Duration;

use parking_lot::Mutex;

/// Nodes that were asked the same at the same moment.
#[derive(Debug)]
pub struct Round {
    parts: usize,
    answered: Mutex<(usize, Duration)>,
}

// === impl Round ===

impl Round {
    /// `parts` nodes are asked at once.
    pub fn new(parts: usize) -> Self {
        Self { parts, answered: Mutex::default() }
    }

    /// One of the nodes has answered, after `took`.
    pub fn answered(&self, took: Duration) {
        let mut answered = self.answered.lock();
        answered.0 += 1;
        answered.1 = answered.1.max(took);
    }

    /// How long the slowest of the others took; `None` while another is under way, or where there is none.
    pub fn others_took(&self) -> Option<Duration> {
        let (answered, slowest) = *self.answered.lock();
        (self.parts > 1 && answered + 1 >= self.parts).then_some(slowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_round_is_measured_by_the_slowest_of_the_others() {
        let round = Round::new(3);
        round.answered(Duration::from_millis(30));
        assert_eq!(round.others_took(), None);
        round.answered(Duration::from_millis(20));
        assert_eq!(round.others_took(), Some(Duration::from_millis(30)));
        assert_eq!(Round::new(1).others_took(), None);
    }
}
