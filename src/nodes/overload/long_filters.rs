//! Long filters: while an engine reads one it leaves other requests unanswered, for seconds. They are sent to so few nodes at
//! once that each shard has a replica left for all other reads, which keep away from those nodes.
//!
//! Example: three nodes, two replicas. A filter of 2,000 conditions keeps node-0 busy for three seconds; its part for node-2 is sent
//! after that. All other searches are answered by node-1 and node-2 meanwhile, then by node-0 and node-1, and take what they
//! always take.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::limit::{Full, Limit, Permit};
use crate::placement::topology::{NodeId, NodeIx, Topology};

/// How many long filters each node works on; never zero.
type AtWork = Arc<Mutex<HashMap<NodeId, usize>>>;

/// The long filters of all nodes.
pub(super) struct LongFilters {
    limit: Limit,
    at: AtWork,
    /// How many at once, `None` for one fewer than replicas.
    most: Mutex<Option<usize>>,
}

/// The right to have a node work on a long filter, until it is dropped.
pub struct LongTurn {
    node: NodeId,
    at: AtWork,
    _permit: Permit,
}

// === impl LongFilters ===

impl LongFilters {
    pub(super) fn new(limit: Limit, most: Option<usize>) -> Self {
        Self { limit, at: AtWork::default(), most: Mutex::new(most) }
    }

    /// Goes by other bounds from now on.
    pub(super) fn exchange(&self, most: Option<usize>, waiting: usize) {
        *self.most.lock() = most;
        self.limit.set_most_waiting(waiting);
    }

    /// Waits for a turn at `node`. `None` where there is no bound: with one replica no node can be spared.
    pub(super) async fn enter(&self, node: &NodeId, index: &str, replicas: usize) -> Result<Option<LongTurn>, Full> {
        let most = self.most.lock().unwrap_or(replicas.saturating_sub(1));
        if most == 0 {
            return Ok(None);
        }
        self.limit.set_most(most);
        let permit = self.limit.enter(index).await?;
        *self.at.lock().entry(node.clone()).or_default() += 1;
        Ok(Some(LongTurn { node: node.clone(), at: Arc::clone(&self.at), _permit: permit }))
    }

    /// The nodes that work on one.
    pub(super) fn at_work(&self, topology: &Topology) -> Vec<NodeIx> {
        let at = self.at.lock();
        // The common case compares no names.
        if at.is_empty() {
            return Vec::new();
        }
        topology.members().filter(|node| at.contains_key(&topology.node(*node).id)).collect()
    }
}

// === impl LongTurn ===

impl Drop for LongTurn {
    fn drop(&mut self) {
        let mut at = self.at.lock();
        if let Some(own) = at.get_mut(&self.node) {
            *own -= 1;
            if *own == 0 {
                at.remove(&self.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::*;
    use crate::placement::topology::NodeState;

    fn long_filters(most: Option<usize>) -> LongFilters {
        let gauge = |name| IntGauge::new(name, "help").unwrap();
        LongFilters::new(Limit::new(1, 10, gauge("in_flight"), gauge("waiting")), most)
    }

    #[tokio::test]
    async fn one_fewer_than_replicas_are_at_work_and_other_reads_know_where() {
        let topology = Topology::sample(&[NodeState::Up; 4], 8, 3);
        let name = |number: usize| topology.node(NodeIx(number)).id.clone();
        let long = long_filters(None);
        let first = long.enter(&name(2), "a", 3).await.unwrap().expect("a turn");
        let second = long.enter(&name(0), "a", 3).await.unwrap().expect("a turn");
        assert_eq!(long.at_work(&topology), [NodeIx(0), NodeIx(2)]);
        let (third, id) = (name(1), name(3));
        let mut third = Box::pin(long.enter(&third, "a", 3));
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        let third = third.await.unwrap().expect("a turn");
        assert_eq!(long.at_work(&topology), [NodeIx(0), NodeIx(1)]);
        drop((second, third));
        assert!(long.at_work(&topology).is_empty());
        assert!(long.enter(&id, "a", 1).await.unwrap().is_none(), "with one replica there is none to spare");
    }

    #[tokio::test]
    async fn an_operator_may_allow_more() {
        let long = long_filters(Some(2));
        let (a, b) = (NodeId::new("a"), NodeId::new("b"));
        let _first = long.enter(&a, "i", 1).await.unwrap().expect("a turn");
        let _second = long.enter(&b, "i", 1).await.unwrap().expect("a turn");
        assert!(futures::poll!(Box::pin(long.enter(&b, "i", 1))).is_pending());
    }
}
