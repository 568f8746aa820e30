//! One round of questions to the nodes of a task.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use super::task_host::{Polled, TaskHost};
use super::task_metrics::{PollOutcome, TaskMetrics};
use crate::placement::topology::NodeId;
use crate::tasks::adopt::adopt;
use crate::tasks::entry::{MiroirTask, NodeReport, NodeTaskState};

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause between two rounds: 25 ms, doubling to 1 s.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

/// What a node said in a round.
enum Answer {
    /// Its tasks that carry the stamp, asked for when a part's acceptance is not known.
    Found(Vec<NodeReport>),
    /// The state of the task's n-th part.
    Part(usize, Polled),
}

// === impl Backoff ===

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// The first pause is the shortest.
    pub fn new() -> Self {
        Self { next: FIRST_PAUSE }
    }

    /// How long to wait before the next question: twice as long as the last time, up to a bound.
    pub fn step(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// Asks every node for the parts that have not ended, all nodes at once, and takes over what they say.
pub async fn poll_parts<H: TaskHost>(host: &H, task: &mut MiroirTask, metrics: &TaskMetrics) {
    let mut open: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (at, part) in task.parts.iter().enumerate().filter(|(_, part)| !part.state.is_final()) {
        open.entry(part.node.clone()).or_default().push(at);
    }
    let asking = open.iter().map(|(node, parts)| ask_node(host, task, node, parts, metrics));
    let answers: Vec<(&NodeId, Vec<Answer>)> = join_all(asking).await;
    for (node, answers) in answers {
        for answer in answers {
            match answer {
                Answer::Found(found) => adopt(task, node, found),
                Answer::Part(at, polled) => take_over(task, at, polled),
            }
        }
    }
}

/// A node works through a task's parts in order: behind the first that is still waiting there is nothing to ask for.
async fn ask_node<'a, H: TaskHost>(
    host: &H,
    task: &MiroirTask,
    node: &'a NodeId,
    parts: &[usize],
    metrics: &TaskMetrics,
) -> (&'a NodeId, Vec<Answer>) {
    let mut answers = Vec::new();
    if parts.iter().any(|at| task.parts[*at].task_uid.is_none()) {
        match host.find(node, &task.id()).await {
            Some(found) => answers.push(Answer::Found(found)),
            None if host.knows(node) => metrics.polled(PollOutcome::Unreachable),
            None => answers.push(Answer::Found(Vec::new())),
        }
    }
    for at in parts {
        let Some(uid) = task.parts[*at].task_uid else { continue };
        let polled = host.poll(node, uid).await;
        metrics.polled(match &polled {
            Polled::Known(_) => PollOutcome::Known,
            Polled::Unknown | Polled::Gone => PollOutcome::Lost,
            Polled::Unreachable => PollOutcome::Unreachable,
        });
        let goes_on = match &polled {
            Polled::Known(report) => report.state.is_final(),
            Polled::Unknown | Polled::Gone => true,
            Polled::Unreachable => false,
        };
        answers.push(Answer::Part(*at, polled));
        if !goes_on {
            break;
        }
    }
    (node, answers)
}

fn take_over(task: &mut MiroirTask, at: usize, polled: Polled) {
    let part = &mut task.parts[at];
    match polled {
        Polled::Known(report) => part.apply(report),
        Polled::Unknown | Polled::Gone => part.state = NodeTaskState::Lost,
        Polled::Unreachable => part.state = NodeTaskState::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.step().as_millis()).collect();
        assert_eq!(pauses, [25, 50, 100, 200, 400, 800, 1000, 1000]);
    }
}
