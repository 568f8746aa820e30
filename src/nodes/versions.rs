//! Which version of the engine each node runs. What the cluster can do is what the oldest of them can.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::meili::versions::is_newer;
use crate::placement::topology::{NodeId, Topology};

/// The versions that nodes have said, and the least of them.
#[derive(Default)]
pub struct EngineVersions {
    /// Held while the least is found anew.
    said: Mutex<BTreeMap<NodeId, String>>,
    least: ArcSwapOption<String>,
}

// === impl EngineVersions ===

impl EngineVersions {
    /// A node has said its version; those of nodes that are not in `topology` any more are forgotten. True if nodes differ.
    pub fn note(&self, node: &NodeId, version: &str, topology: &Topology) -> bool {
        let mut said = self.said.lock();
        said.retain(|id, _| topology.members().any(|ix| topology.node(ix).id == *id));
        said.insert(node.clone(), version.to_owned());
        self.find_least(&said);
        said.values().any(|other| other != version)
    }

    /// What each node has said.
    pub fn all(&self) -> BTreeMap<NodeId, String> {
        self.said.lock().clone()
    }

    /// Takes over what nodes have said to another gateway.
    pub fn replace(&self, told: BTreeMap<NodeId, String>) {
        let mut said = self.said.lock();
        *said = told;
        self.find_least(&said);
    }

    fn find_least(&self, said: &BTreeMap<NodeId, String>) {
        let least = said.values().reduce(|least, other| if is_newer(least, other) { other } else { least });
        self.least.store(least.cloned().map(Arc::new));
    }

    /// The least of all, patches aside; `None` before any node has said its own.
    pub fn least(&self) -> Option<String> {
        self.least.load().as_ref().map(|version| version.as_ref().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::{Node, NodeState};

    #[test]
    fn the_oldest_node_says_what_the_cluster_can() {
        let id = |at: usize| NodeId::new(&format!("node-{at}"));
        let node = |at: usize| Node { id: id(at), url: String::new(), zone: None, weight: 1.0, state: NodeState::Up };
        let topology = |nodes: usize| Topology::build((0..nodes).map(node).collect(), 8, 1);
        let versions = EngineVersions::default();
        assert_eq!(versions.least(), None);
        assert!(!versions.note(&id(0), "1.50.0", &topology(3)));
        assert!(versions.note(&id(2), "1.9.3", &topology(3)));
        assert!(versions.note(&id(1), "1.50.0", &topology(3)));
        assert_eq!(versions.least().as_deref(), Some("1.9.3"));
        assert!(versions.note(&id(2), "1.15.1", &topology(3)));
        assert_eq!(versions.least().as_deref(), Some("1.15.1"));
        assert!(!versions.note(&id(1), "1.50.0", &topology(2)), "the oldest has left");
        assert_eq!(versions.least().as_deref(), Some("1.50.0"));
    }
}
