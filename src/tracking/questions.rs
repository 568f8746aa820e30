//! Questions to nodes after their tasks: those of one moment travel as one request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Duration, sleep};

use super::task_host::{Polled, report};
use crate::nodes::Nodes;
use crate::nodes::client::TaskStatusResponse;
use crate::nodes::error::NodeError;
use crate::placement::topology::{Node, NodeId};

/// How many tasks one request names, so that its path stays short.
const AT_ONCE: usize = 200;
/// The least pause between two requests to one node. What is asked meanwhile goes with the next one.
const PAUSE: Duration = Duration::from_millis(20);

/// What nodes are to be asked.
///
/// Example: 300 small writes are under way, each with a poll of its own. The first asks at once; the other 299 wait for its answer, and
/// go with the next two requests.
#[derive(Default)]
pub(super) struct Questions {
    nodes: Mutex<HashMap<NodeId, Open>>,
}

/// The questions to one node that wait, by the task they are about. There as long as somebody carries them out.
#[derive(Default)]
struct Open(BTreeMap<u32, Vec<oneshot::Sender<Polled>>>);

// === impl Questions ===

impl Questions {
    /// The state of a node's task.
    pub(super) async fn ask(self: &Arc<Self>, nodes: &Arc<Nodes>, node: &NodeId, task_uid: u32) -> Polled {
        let (told, answer) = oneshot::channel();
        let begins = {
            let mut open = self.nodes.lock();
            let begins = !open.contains_key(node);
            open.entry(node.clone()).or_default().0.entry(task_uid).or_default().push(told);
            begins
        };
        if begins {
            tokio::spawn(carry_out(Arc::clone(self), Arc::clone(nodes), node.clone()));
        }
        answer.await.unwrap_or(Polled::Unreachable)
    }

    /// The next questions to `node`; none ends the work on them.
    fn next(&self, node: &NodeId) -> BTreeMap<u32, Vec<oneshot::Sender<Polled>>> {
        let mut nodes = self.nodes.lock();
        let Some(open) = nodes.get_mut(node) else { return BTreeMap::new() };
        let later = match open.0.keys().nth(AT_ONCE).copied() {
            Some(first_left) => open.0.split_off(&first_left),
            None => BTreeMap::new(),
        };
        let next = std::mem::replace(&mut open.0, later);
        if next.is_empty() {
            nodes.remove(node);
        }
        next
    }
}

/// Asks until nothing is left to be asked.
async fn carry_out(questions: Arc<Questions>, nodes: Arc<Nodes>, node: NodeId) {
    loop {
        let next = questions.next(&node);
        if next.is_empty() {
            return;
        }
        let uids: Vec<u32> = next.keys().copied().collect();
        let answers = answers(&nodes, &node, &uids).await;
        for (uid, askers) in next {
            let polled = match &answers {
                Answers::Known(known) => known.get(&uid).cloned().unwrap_or(Polled::Unknown),
                Answers::Unreachable => Polled::Unreachable,
                Answers::Gone => Polled::Gone,
            };
            for asker in askers {
                // Who asked may have gone.
                let _ = asker.send(polled.clone());
            }
        }
        sleep(PAUSE).await;
    }
}

/// What a node says of some tasks.
enum Answers {
    /// What is not there it does not know.
    Known(HashMap<u32, Polled>),
    Unreachable,
    Gone,
}

async fn answers(nodes: &Nodes, node: &NodeId, uids: &[u32]) -> Answers {
    let topology = nodes.topology();
    let Some(ix) = topology.find(node.as_str()) else { return Answers::Gone };
    // One that hangs would keep the few polls that run at once from others.
    if !topology.node(ix).state.finishes_writes() {
        return Answers::Unreachable;
    }
    match ask(nodes, topology.node(ix), uids).await {
        Ok(tasks) => Answers::Known(tasks.into_iter().map(|task| (task.uid, Polled::Known(report(task)))).collect()),
        Err(error) => {
            tracing::debug!(%error, tasks = uids.len(), "node tasks could not be polled");
            Answers::Unreachable
        }
    }
}

/// The tasks that the node knows, by one request if it lists them all. A list that lacks one is not believed: a replica whose task is
/// held to be lost is copied anew, and with no other replica left its writes end. So each that is missing is asked for by itself.
async fn ask(nodes: &Nodes, node: &Node, uids: &[u32]) -> Result<Vec<TaskStatusResponse>, NodeError> {
    let mut tasks = match uids {
        [_] => Vec::new(),
        several => nodes.client.list_tasks(node, several).await?,
    };
    let listed: HashSet<u32> = tasks.iter().map(|task| task.uid).collect();
    for uid in uids.iter().filter(|uid| !listed.contains(uid)) {
        tasks.extend(nodes.client.get_task_status(node, *uid).await?);
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_of_one_moment_go_together_and_each_task_is_named_once() {
        let (questions, node) = (Questions::default(), NodeId::new("a"));
        for uid in 0..450 {
            let askers = if uid == 7 { 3 } else { 1 };
            let told = (0..askers).map(|_| oneshot::channel().0).collect();
            questions.nodes.lock().entry(node.clone()).or_default().0.insert(uid, told);
        }
        let first = questions.next(&node);
        assert_eq!((first.len(), first[&7].len()), (AT_ONCE, 3));
        assert_eq!((questions.next(&node).len(), questions.next(&node).len()), (200, 50));
        assert!(questions.nodes.lock().contains_key(&node), "what comes now waits for the pause");
        assert!(questions.next(&node).is_empty());
        assert!(questions.nodes.lock().is_empty(), "who asks next begins anew");
    }
}
