//! What others do again and again is told once, and then by the minute with a count: nobody fills a log by it.

use std::time::Duration;

use parking_lot::Mutex;

const EVERY: Duration = Duration::from_secs(60);

/// What is told of one kind of event.
#[derive(Debug, Default)]
pub struct Seldom {
    /// When it was told last, and how many came since.
    last: Mutex<Option<(Duration, u64)>>,
}

// === impl Seldom ===

impl Seldom {
    /// One more, at `now` of a clock that only goes forward. How many came and were not told of since the last one that was; `None` where
    /// this one is not to be told of either.
    pub fn note(&self, now: Duration) -> Option<u64> {
        let mut last = self.last.lock();
        match last.as_mut() {
            Some((told, untold)) if now < *told + EVERY => {
                *untold += 1;
                None
            }
            Some((told, untold)) => {
                *told = now;
                Some(std::mem::take(untold))
            }
            None => {
                *last = Some((now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_a_count_by_the_minute() {
        let (seldom, at) = (Seldom::default(), Duration::from_millis);
        let told: Vec<(u64, u64)> =
            (0..3_000).filter_map(|n| Some((n * 50, seldom.note(at(1_000 + n * 50))?))).collect();
        // Twenty a second, for two and a half minutes.
        assert_eq!(told, [(0, 0), (60_000, 1_199), (120_000, 1_199)]);
        assert_eq!(seldom.note(at(1_000_000)), Some(599));
    }
}
