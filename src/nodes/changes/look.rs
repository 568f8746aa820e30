//! Looks whether nodes have something to do for an index, where nobody follows their tasks: words and copies are sent and not
//! followed, some requests are never answered, and before the gateway's start there was another.
//!
//! Only an index that is read is looked at, and only while it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;

use super::queue::Before;
use super::{Changes, Looks};
use crate::nodes::Nodes;
use crate::nodes::client::Trace;
use crate::nodes::node_queue::has_open_tasks;
use crate::placement::topology::{NodeId, NodeIx, Topology};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// Looks until `index` is quiet, or nobody wants to know any more. One look at a time for each index.
pub fn look(nodes: &Arc<Nodes>, index: &str) {
    let state = Arc::clone(&nodes.client.changes().state.lock().of(index).looks);
    state.wanted.store(true, Ordering::Relaxed);
    if !state.looking.swap(true, Ordering::AcqRel) {
        tokio::spawn(looks(Arc::clone(nodes), index.to_owned(), state));
    }
}

async fn looks(nodes: Arc<Nodes>, index: String, state: Arc<Looks>) {
    let trace = Trace::background("look");
    let mut pause = FIRST_PAUSE;
    while state.wanted.swap(false, Ordering::Relaxed) {
        let topology = nodes.topology();
        let noisy = noisy(nodes.client.changes(), &topology, &index);
        if noisy.is_empty() {
            break;
        }
        let looked = noisy.into_iter().map(|(ix, before)| {
            let (nodes, trace, index, node) = (&nodes, &trace, &index, topology.node(ix));
            async move {
                // One that cannot be asked stays as it is.
                if let Ok(false) = has_open_tasks(nodes, node, index, trace).await {
                    nodes.client.changes().saw_idle(index, &node.id, before);
                }
            }
        });
        join_all(looked).await;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    state.looking.store(false, Ordering::Release);
}

/// The nodes that serve, and have or may have something to do for the index that was answered.
fn noisy(changes: &Changes, topology: &Topology, index: &str) -> Vec<(NodeIx, Before)> {
    let mut state = changes.state.lock();
    let changed = state.of(index);
    let serving = topology.indexes().filter(|ix| topology.node(*ix).state.serves_reads());
    serving
        .filter_map(|ix| {
            let queue = changed.queues.entry(topology.node(ix).id.clone()).or_default();
            (!queue.is_quiet()).then(|| (ix, queue.before()))
        })
        .collect()
}

impl Changes {
    /// A node had nothing to do for `index` after `before`.
    pub(super) fn saw_idle(&self, index: &str, node: &NodeId, before: Before) {
        let mut state = self.state.lock();
        let ended = state.of(index).queues.entry(node.clone()).or_default().saw_idle(before);
        state.forget(index, node, ended);
    }
}
