//! How long nodes were being asked for one request of a client: for its line in the log.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::placement::topology::NodeId;

/// The times of one request, kept together by all who ask nodes for it.
#[derive(Debug, Clone, Default)]
pub struct NodeTimes(Arc<Mutex<Asking>>);

/// Guarded by the lock: what is under way and what has ended, each by itself and all together.
#[derive(Debug, Default)]
struct Asking {
    together: Watch,
    nodes: Vec<(NodeId, Watch)>,
}

/// Runs while anything is under way: two questions at the same time take no longer than one.
#[derive(Debug, Default, Clone, Copy)]
struct Watch {
    under_way: u32,
    since: Option<Instant>,
    ran: Duration,
}

/// A question is under way until this is dropped, whatever comes of it.
#[derive(Debug)]
pub struct Asked {
    times: NodeTimes,
    place: usize,
}

/// What the times are at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Taken {
    /// While at least one node was being asked.
    pub together: Duration,
    /// The same of each node that was asked, in the order in which they were first asked.
    pub nodes: Vec<(NodeId, Duration)>,
}

// === impl Watch ===

impl Watch {
    fn begin(&mut self, now: Instant) {
        self.under_way += 1;
        self.since.get_or_insert(now);
    }

    fn end(&mut self, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way == 0
            && let Some(since) = self.since.take()
        {
            self.ran += now.saturating_duration_since(since);
        }
    }

    fn at(&self, now: Instant) -> Duration {
        self.ran + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

// === impl NodeTimes ===

impl NodeTimes {
    /// `node` is being asked from now on.
    pub fn ask(&self, node: &NodeId) -> Asked {
        let now = Instant::now();
        let mut asking = self.0.lock();
        asking.together.begin(now);
        let known = asking.nodes.iter().position(|(known, _)| known == node);
        let place = known.unwrap_or_else(|| {
            asking.nodes.push((node.clone(), Watch::default()));
            asking.nodes.len() - 1
        });
        asking.nodes[place].1.begin(now);
        drop(asking);
        Asked { times: self.clone(), place }
    }

    /// Until now; what is under way still counts as far as it has come.
    pub fn taken(&self) -> Taken {
        let now = Instant::now();
        let asking = self.0.lock();
        let nodes = asking.nodes.iter().map(|(node, watch)| (node.clone(), watch.at(now))).collect();
        Taken { together: asking.together.at(now), nodes }
    }
}

// === impl Asked ===

impl Drop for Asked {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut asking = self.times.0.lock();
        asking.together.end(now);
        asking.nodes[self.place].1.end(now);
    }
}

// === impl Taken ===

/// `node-0=3.214, node-1=12.005`, in milliseconds.
impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (node, took)) in self.nodes.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{}={:.3}", node.as_str(), took.as_secs_f64() * 1000.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn questions_at_the_same_time_take_no_longer_than_one() {
        let (began, mut watch) = (Instant::now(), Watch::default());
        watch.begin(began);
        watch.begin(began + MS * 2);
        watch.end(began + MS * 5);
        assert_eq!(watch.at(began + MS * 6), MS * 6, "one is under way");
        watch.end(began + MS * 7);
        watch.begin(began + MS * 10);
        assert_eq!(watch.at(began + MS * 11), MS * 8, "nothing was, for three milliseconds");
        watch.end(began + MS * 12);
        assert_eq!(watch.at(began + MS * 20), MS * 9);
    }

    #[test]
    fn a_question_that_nobody_waits_for_any_more_has_ended() {
        let times = NodeTimes::default();
        let (a, b) = (NodeId::new("a"), NodeId::new("b"));
        let (first, second) = (times.ask(&a), times.ask(&b));
        drop(first);
        drop(times.ask(&a));
        drop(second);
        let taken = times.taken();
        assert_eq!(times.taken(), taken, "nothing runs");
        assert_eq!(taken.nodes.iter().map(|(node, _)| node.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(taken.nodes.iter().all(|(_, took)| *took <= taken.together));
    }

    #[test]
    fn a_line_of_the_log_names_each_node_with_its_milliseconds() {
        let nodes = vec![(NodeId::new("node-0"), Duration::from_micros(3_214)), (NodeId::new("b.1"), MS * 12)];
        assert_eq!(Taken { together: MS * 12, nodes }.to_string(), "node-0=3.214, b.1=12.000");
        assert_eq!(Taken::default().to_string(), "");
    }
}
