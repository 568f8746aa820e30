//! How long nodes take for reads and how many are before them: whom of equal replicas a read asks, and when it asks another beside.
//!
//! | module | what lives there |
//! |---|---|
//! | `pace` | how long a node takes, on average and nearly always |
//! | `shares` | which reads a laden node is spared |

mod pace;
mod shares;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use self::pace::Pace;
use self::shares::Shares;
use crate::placement::topology::{NodeId, NodeIx, Topology};

/// How long what was made of the loads holds.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// So many reads that are under way to a node make the next one take twice as long. More or fewer of them at one moment are chance.
const AT_ONCE: f64 = 8.0;

/// Of all nodes.
#[derive(Default)]
pub struct Loads {
    nodes: RwLock<HashMap<NodeId, Arc<Load>>>,
    shares: Mutex<Option<(Instant, Arc<Shares>)>>,
}

/// Of one node.
struct Load {
    under_way: AtomicUsize,
    pace: Mutex<Pace>,
}

/// A read under way to a node. Dropped early it counts with the time until then: it would have taken at least that.
pub struct Asked {
    load: Arc<Load>,
    began: Instant,
}

// === impl Loads ===

impl Loads {
    /// A read goes to `node`.
    pub fn ask(&self, node: &NodeId) -> Asked {
        let load = self.of(node);
        load.under_way.fetch_add(1, Ordering::Relaxed);
        Asked { load, began: Instant::now() }
    }

    /// The time within which nearly all of a node's answers come, once enough are known.
    pub fn p95(&self, node: &NodeId) -> Option<Duration> {
        self.of(node).pace.lock().p95()
    }

    /// The nodes that a read with this seed leaves to others, if they can answer as well.
    pub fn spared(&self, topology: &Topology, seed: u64) -> Vec<NodeIx> {
        self.shares(topology).spared(seed)
    }

    fn shares(&self, topology: &Topology) -> Arc<Shares> {
        let now = Instant::now();
        let mut shares = self.shares.lock();
        if let Some((at, shares)) = &*shares
            && now.saturating_duration_since(*at) < LOOK_EVERY
        {
            return Arc::clone(shares);
        }
        let made = Arc::new(Shares::of(&self.costs(topology)));
        *shares = Some((now, Arc::clone(&made)));
        made
    }

    /// How many seconds the next read would take, of the nodes that serve.
    fn costs(&self, topology: &Topology) -> Vec<(NodeIx, f64)> {
        let nodes = self.nodes.read();
        let serving = topology.indexes().filter(|ix| topology.node(*ix).state.serves_reads());
        serving.filter_map(|ix| Some((ix, nodes.get(&topology.node(ix).id)?.cost()?))).collect()
    }

    fn of(&self, node: &NodeId) -> Arc<Load> {
        if let Some(known) = self.nodes.read().get(node) {
            return Arc::clone(known);
        }
        let made = || Arc::new(Load { under_way: AtomicUsize::new(0), pace: Mutex::new(Pace::new(Instant::now())) });
        Arc::clone(self.nodes.write().entry(node.clone()).or_insert_with(made))
    }
}

// === impl Load ===

impl Load {
    /// The average has in it what waiting costs; what is under way tells of a node that hangs, of which no answer tells.
    fn cost(&self) -> Option<f64> {
        let average = self.pace.lock().average()?;
        Some(average * (1.0 + self.under_way.load(Ordering::Relaxed) as f64 / AT_ONCE))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.load.under_way.fetch_sub(1, Ordering::Relaxed);
        let now = Instant::now();
        self.load.pace.lock().took(now.saturating_duration_since(self.began), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::NodeState;

    #[tokio::test(start_paused = true)]
    async fn a_node_with_much_before_it_is_spared_until_it_is_through() {
        let topology = Topology::sample(&[NodeState::Up; 3], 8, 3);
        let loads = Loads::default();
        let id = |node: usize| topology.node(NodeIx(node)).id.clone();
        for _ in 0..200 {
            let asked: Vec<Asked> = (0..3).map(|node| loads.ask(&id(node))).collect();
            tokio::time::advance(Duration::from_millis(5)).await;
            drop(asked);
        }
        assert!((0..100).all(|seed| loads.spared(&topology, seed).is_empty()));
        let p95 = loads.p95(&id(1)).unwrap();
        assert!((Duration::from_millis(5)..Duration::from_millis(7)).contains(&p95), "{p95:?}");

        let hangs: Vec<Asked> = (0..200).map(|_| loads.ask(&id(1))).collect();
        tokio::time::advance(LOOK_EVERY).await;
        let spared = |loads: &Loads| (0..100).filter(|seed| loads.spared(&topology, *seed) == [NodeIx(1)]).count();
        assert!(spared(&loads) > 70, "{}", spared(&loads));
        drop(hangs);
        for _ in 0..1000 {
            let asked = loads.ask(&id(1));
            tokio::time::advance(Duration::from_millis(20)).await;
            drop(asked);
            let others = [loads.ask(&id(0)), loads.ask(&id(2))];
            tokio::time::advance(Duration::from_millis(9)).await;
            drop(others);
        }
        assert_eq!(spared(&loads), 0);
    }
}
