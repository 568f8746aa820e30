//! How long a node takes for reads: on average of late, and nearly always. A state machine with the time as an argument.

use std::time::Duration;

use tokio::time::Instant;

/// After so long what was measured counts for a third.
const MEMORY: Duration = Duration::from_secs(5);

/// So many answers make a measure.
const ENOUGH: u32 = 100;

/// Bounds of the classes grow by this factor; a class says a time as exactly as that.
const STEP: f64 = 1.2;
const SHORTEST: f64 = 0.000_25;
const CLASSES: usize = 64;

/// At so many answers all classes are halved, so that those of before count less and less.
const MOST: u32 = 1024;

/// How fast one node has answered of late: its mean, and how its times are spread.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Seconds and number of answers, each counted for less the older it is.
    seconds: f64,
    answers: f64,
    at: Instant,
    /// Answers by how long they took: less than `SHORTEST`, than `SHORTEST * STEP`, and so on.
    classes: [u32; CLASSES],
    counted: u32,
}

// === impl Pace ===

impl Pace {
    /// No answer was seen yet.
    pub fn new(now: Instant) -> Self {
        Self { seconds: 0.0, answers: 0.0, at: now, classes: [0; CLASSES], counted: 0 }
    }

    /// A read took so long.
    pub fn took(&mut self, time: Duration, now: Instant) {
        let keeps = (-now.saturating_duration_since(self.at).as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.at = now;
        self.seconds = self.seconds * keeps + time.as_secs_f64();
        self.answers = self.answers * keeps + 1.0;
        self.classes[class_of(time.as_secs_f64())] += 1;
        self.counted += 1;
        if self.counted >= MOST {
            for class in &mut self.classes {
                *class /= 2;
            }
            self.counted = self.classes.iter().sum();
        }
    }

    /// Seconds on average; `None` while too little is known.
    pub fn average(&self) -> Option<f64> {
        (self.counted >= ENOUGH && self.answers > 0.0).then(|| self.seconds / self.answers)
    }

    /// The time within which 95 of 100 answers came; `None` while too little is known.
    pub fn p95(&self) -> Option<Duration> {
        if self.counted < ENOUGH {
            return None;
        }
        let mut left = self.counted - self.counted / 20;
        let class = self.classes.iter().position(|count| {
            let reached = *count >= left;
            left = left.saturating_sub(*count);
            reached
        })?;
        Some(Duration::from_secs_f64(SHORTEST * STEP.powf(class as f64)))
    }
}

fn class_of(seconds: f64) -> usize {
    let steps = (seconds / SHORTEST).max(1.0).log(STEP).ceil();
    (steps as usize).min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl Iterator<Item = u64>) -> (Pace, Instant) {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for milliseconds in times {
            now += Duration::from_millis(10);
            pace.took(Duration::from_millis(milliseconds), now);
        }
        (pace, now)
    }

    #[test]
    fn nothing_is_said_of_a_few_answers() {
        let (pace, _) = of((0..99).map(|_| 5));
        assert_eq!((pace.average(), pace.p95()), (None, None));
    }

    #[test]
    fn nearly_all_answers_came_within_the_p95() {
        let (pace, _) = of((1..=1000).map(|n| n % 100 + 1));
        let p95 = pace.p95().unwrap().as_secs_f64();
        assert!((0.095..0.095 * STEP).contains(&p95), "{p95}");
        let (pace, _) = of((0..1000).map(|n| if n % 50 == 0 { 900 } else { 2 }));
        assert!(pace.p95().unwrap() < Duration::from_millis(3), "{:?}", pace.p95());
    }

    #[test]
    fn the_average_forgets() {
        let (mut pace, mut now) = of((0..1000).map(|_| 100));
        assert!((pace.average().unwrap() - 0.1).abs() < 0.001);
        now += Duration::from_secs(60);
        for _ in 0..10 {
            pace.took(Duration::from_millis(1), now);
        }
        assert!(pace.average().unwrap() < 0.002, "{:?}", pace.average());
    }

    #[test]
    fn what_came_long_ago_counts_less_for_the_p95_too() {
        let (pace, _) = of((0..3000).map(|_| 100).chain((0..30_000).map(|_| 1)));
        assert!(pace.p95().unwrap() < Duration::from_millis(2));
    }
}
