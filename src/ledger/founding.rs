//! Whether the state belongs to the nodes. A state that knows of no index and no task is that of a new cluster, and then the
//! nodes are empty. If one is not, the state was lost: nothing is known of which replicas are in sync, so nothing may be
//! written and no such node serves, until `miroir recover` has found out.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::Deserialize;

use crate::meili::error::{Code, ResponseError};
use crate::meili::uid::IndexUid;
use crate::nodes::client::{NodeClient, Trace};
use crate::nodes::error::NodeError;
use crate::placement::topology::{Node, NodeId};

/// What is known of the state and its nodes.
pub struct Founding {
    /// The state has seen an index or a task: it is not lost.
    founded: AtomicBool,
    /// A node that holds indexes although the state knows of none.
    stranger: Mutex<Option<NodeId>>,
}

// === impl Founding ===

impl Founding {
    /// `blank`: the state knows of no index and no task.
    pub fn new(blank: bool) -> Self {
        Self { founded: AtomicBool::new(!blank), stranger: Mutex::default() }
    }

    /// True when `node` may take part. Asked before it does.
    pub async fn admits(&self, client: &NodeClient, node: &Node, trace: &Trace) -> Result<bool, NodeError> {
        #[derive(Deserialize)]
        struct Page {
            results: Vec<Index>,
        }
        #[derive(Deserialize)]
        struct Index {
            uid: String,
        }
        if self.founded.load(Ordering::Relaxed) {
            return Ok(true);
        }
        // The marker's index says nothing of a client's.
        let page: Option<Page> = client.get_json(node, "/indexes?limit=2", trace).await?;
        if page.is_none_or(|page| page.results.iter().all(|index| IndexUid::is_reserved(&index.uid))) {
            return Ok(true);
        }
        if self.stranger.lock().replace(node.id.clone()).is_none() {
            tracing::error!(
                node = %node.id,
                "the node holds indexes, but the state knows of none: it was lost, or belongs to another cluster. Stop \
                 the gateway and run `miroir recover`, or empty the nodes"
            );
        }
        Ok(false)
    }

    /// Refuses a write where the state was lost.
    pub fn check(&self) -> Result<(), ResponseError> {
        match &*self.stranger.lock() {
            Some(node) if !self.founded.load(Ordering::Relaxed) => Err(lost(node)),
            Some(_) | None => Ok(()),
        }
    }

    /// A write has found nodes that take it: from now on the state is not blank.
    pub fn mark_founded(&self) {
        self.founded.store(true, Ordering::Relaxed);
    }
}

fn lost(node: &NodeId) -> ResponseError {
    ResponseError::new(
        Code::MiroirStateLost,
        format!("The state of the cluster was lost, but node `{node}` holds indexes. Run `miroir recover`."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_state_takes_writes_until_a_node_turns_out_not_to_be_empty() {
        let blank = Founding::new(true);
        assert_eq!(blank.check(), Ok(()));
        *blank.stranger.lock() = Some(NodeId::new("n1"));
        assert_eq!(blank.check().unwrap_err().code, "miroir_state_lost");
        blank.mark_founded();
        assert_eq!(blank.check(), Ok(()));
        let known = Founding::new(false);
        *known.stranger.lock() = Some(NodeId::new("n1"));
        assert_eq!(known.check(), Ok(()));
    }
}
