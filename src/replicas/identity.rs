//! Whose disk a node has: a marker on each node tells a disk that was emptied, replaced or mixed up from the one before.
//!
//! The marker is one document in an index of Miroir's own, which no client sees: the only place on a plain Meilisearch that
//! lives and dies with its data. It names the cluster, the node and the disk (its incarnation); the state remembers each
//! node's incarnation. It is looked at before a node serves, and again with every round of health checks, because a node
//! can come back with an empty disk between two probes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::{IntGaugeVec, Opts};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use crate::ledger::marks::{Marks, Missed};
use crate::ledger::{Ledger, insync};
use crate::meili::task::TaskStatus;
use crate::meili::uid::RESERVED_INDEX;
use crate::nodes::client::{Subrequest, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::shutdown::stopped;
use crate::nodes::{Nodes, health};
use crate::placement::topology::{Node, NodeId, NodeState, Topology};
use crate::store::{IndexEntry, Store, StoreError};

/// Facts of the store: the cluster's id, and the incarnation of each node.
const CLUSTER_ID: &str = "cluster_id";
const INCARNATIONS: &str = "node_incarnations";
/// The document that is the marker.
const DOCUMENT: &str = "identity";
/// How long a node may take to carry out the task that writes the marker.
const TASK_LIMIT: Duration = Duration::from_secs(600);

/// What stands on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    pub id: String,
    pub cluster: Uuid,
    pub node: NodeId,
    pub incarnation: Uuid,
}

/// What a marker, or its absence, says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The disk that it had.
    Same,
    /// First contact.
    New,
    /// This node's own marker, which the state has forgotten or not come to remember.
    Forgotten {
        incarnation: Uuid,
    },
    /// The disk is empty.
    Emptied,
    /// A disk that this node had some time ago.
    Earlier {
        incarnation: Uuid,
    },
    Refused(Refusal),
}

/// Why a node may not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("its data belongs to another cluster, {cluster}")]
    OtherCluster { cluster: Uuid },
    #[error("its data is that of node `{node}`: two urls lead to one node, or disks were mixed up")]
    OtherNode { node: NodeId },
}

/// Who is who.
pub struct Identities {
    /// How long a node may take to accept a marker.
    timeout: Duration,
    cluster: Uuid,
    /// Changed only while the one repair that works has its turn.
    incarnations: Mutex<BTreeMap<NodeId, Uuid>>,
    refused: Mutex<BTreeMap<NodeId, Refusal>>,
    gauge: IntGaugeVec,
}

/// Why a node's identity could not be established.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("its marker could not be written: {0}")]
    Marker(String),
    #[error("node {node}: {refusal}")]
    Refused { node: NodeId, refusal: Refusal },
}

/// What a node's marker means, given what is remembered of it.
pub fn judge(cluster: Uuid, node: &NodeId, remembered: Option<Uuid>, marker: Option<&Marker>) -> Finding {
    let Some(marker) = marker else {
        return if remembered.is_some() { Finding::Emptied } else { Finding::New };
    };
    if marker.cluster != cluster {
        return Finding::Refused(Refusal::OtherCluster { cluster: marker.cluster });
    }
    if marker.node != *node {
        return Finding::Refused(Refusal::OtherNode { node: marker.node.clone() });
    }
    let incarnation = marker.incarnation;
    match remembered {
        Some(known) if known == incarnation => Finding::Same,
        Some(_) => Finding::Earlier { incarnation },
        None => Finding::Forgotten { incarnation },
    }
}

// === impl Identities ===

impl Identities {
    /// Reads what is remembered; a new cluster gets its id.
    pub async fn load(
        store: &dyn Store,
        prometheus: &prometheus::Registry,
        timeout: Duration,
    ) -> Result<Self, IdentityError> {
        let cluster = match store.get_meta(CLUSTER_ID).await? {
            Some(text) => text.parse().map_err(|_| StoreError::Unknown { what: "cluster id", value: text })?,
            None => {
                let cluster = Uuid::new_v4();
                store.put_meta(CLUSTER_ID, cluster.to_string()).await?;
                cluster
            }
        };
        let incarnations = match store.get_meta(INCARNATIONS).await? {
            Some(text) => serde_json::from_str(&text)
                .map_err(|source| StoreError::Corrupt { what: "incarnations of nodes", source })?,
            None => BTreeMap::new(),
        };
        let gauge = IntGaugeVec::new(
            Opts::new("miroir_node_refused", "1 for a node that is not used because its data belongs elsewhere"),
            &["node"],
        )?;
        prometheus.register(Box::new(gauge.clone()))?;
        Ok(Self { timeout, cluster, incarnations: Mutex::new(incarnations), refused: Mutex::default(), gauge })
    }

    /// The id that every node of this cluster is marked with.
    pub fn cluster(&self) -> Uuid {
        self.cluster
    }

    /// Why a node is not used, if that is so.
    pub fn refusal(&self, node: &NodeId) -> Option<Refusal> {
        self.refused.lock().get(node).cloned()
    }

    fn find(&self, node: &NodeId, marker: Option<&Marker>) -> Finding {
        let remembered = self.incarnations.lock().get(node).copied();
        judge(self.cluster, node, remembered, marker)
    }

    /// True when another node has a disk of this cluster.
    fn knows_others(&self, node: &NodeId) -> bool {
        self.incarnations.lock().keys().any(|other| other != node)
    }

    async fn remember(&self, store: &dyn Store, node: &NodeId, incarnation: Uuid) -> Result<(), StoreError> {
        let mut incarnations = self.incarnations.lock().clone();
        incarnations.insert(node.clone(), incarnation);
        store_incarnations(store, &incarnations).await?;
        *self.incarnations.lock() = incarnations;
        Ok(())
    }

    fn refuse(&self, node: &NodeId, refusal: Option<Refusal>) {
        self.gauge.with_label_values(&[node.as_str()]).set(i64::from(refusal.is_some()));
        let mut refused = self.refused.lock();
        let before = match &refusal {
            Some(refusal) => refused.insert(node.clone(), refusal.clone()),
            None => refused.remove(node),
        };
        if let Some(refusal) = refusal.as_ref().filter(|refusal| before.as_ref() != Some(*refusal)) {
            tracing::error!(node = %node, reason = %refusal, "node is refused");
        }
    }
}

/// Establishes who a node is before it takes part: a node whose disk was emptied or exchanged is stale in everything it
/// owns, durably, before it is given a new marker. False when the node is refused.
pub async fn establish(
    identities: &Identities,
    ledger: &Ledger,
    node: &Node,
    trace: &Trace,
) -> Result<bool, IdentityError> {
    let marker = read(&ledger.nodes, node, trace).await?;
    let finding = identities.find(&node.id, marker.as_ref());
    let refusal = match &finding {
        Finding::Refused(refusal) => Some(refusal.clone()),
        Finding::Same | Finding::New | Finding::Forgotten { .. } | Finding::Emptied | Finding::Earlier { .. } => None,
    };
    identities.refuse(&node.id, refusal);
    match finding {
        Finding::Refused(_) => return Ok(false),
        Finding::Same => {}
        Finding::New => {
            // It has no settings yet, so it is no measure for nodes that were there before it.
            if identities.knows_others(&node.id) {
                mark_missed(ledger, node, Vec::new()).await?;
            }
            mark_disk(identities, ledger, node, trace).await?;
        }
        Finding::Forgotten { incarnation } => {
            identities.remember(ledger.store.as_ref(), &node.id, incarnation).await?;
        }
        Finding::Emptied => {
            tracing::warn!(node = %node.id, "node has lost its data; it is rebuilt");
            mark_missed(ledger, node, ledger.registry.entries()).await?;
            mark_disk(identities, ledger, node, trace).await?;
        }
        Finding::Earlier { incarnation } => {
            tracing::warn!(node = %node.id, "node has a disk of before; it is brought up to date");
            mark_missed(ledger, node, ledger.registry.entries()).await?;
            identities.remember(ledger.store.as_ref(), &node.id, incarnation).await?;
        }
    }
    Ok(true)
}

/// Takes over what the markers of the nodes say, for a state that was lost. They must agree on the cluster.
pub async fn adopt(ledger: &Ledger, topology: &Topology, trace: &Trace) -> Result<(), IdentityError> {
    let mut found: Option<Uuid> = None;
    let mut incarnations = BTreeMap::new();
    for node in &topology.nodes {
        let Some(marker) = read(&ledger.nodes, node, trace).await? else { continue };
        let adopted = *found.get_or_insert(marker.cluster);
        if let Finding::Refused(refusal) = judge(adopted, &node.id, None, Some(&marker)) {
            return Err(IdentityError::Refused { node: node.id.clone(), refusal });
        }
        incarnations.insert(node.id.clone(), marker.incarnation);
    }
    if let Some(adopted) = found {
        store_incarnations(ledger.store.as_ref(), &incarnations).await?;
        ledger.store.put_meta(CLUSTER_ID, adopted.to_string()).await?;
    }
    Ok(())
}

/// Looks at the markers of nodes that serve with every round of health checks, until `shutdown`: one that is not what it
/// was stops serving and is repaired.
pub async fn run(identities: Arc<Identities>, ledger: Arc<Ledger>, mut shutdown: watch::Receiver<bool>) {
    let mut interval = health::rounds(&ledger.nodes);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = stopped(&mut shutdown) => return,
        }
        let topology = ledger.nodes.topology();
        let trace = Trace::background("identity");
        let up = topology.nodes.iter().filter(|node| node.state == NodeState::Up);
        let looks = futures::future::join_all(up.map(|node| look(&identities, &ledger, node, &trace)));
        tokio::select! {
            _ = looks => {}
            _ = stopped(&mut shutdown) => return,
        }
    }
}

async fn look(identities: &Identities, ledger: &Ledger, node: &Node, trace: &Trace) {
    // Whether a node answers at all is for the health checks to see.
    let Ok(marker) = read(&ledger.nodes, node, trace).await else { return };
    let finding = identities.find(&node.id, marker.as_ref());
    if finding != Finding::Same {
        tracing::warn!(node = %node.id, ?finding, "node is not what it was");
        health::again(&ledger.nodes, &node.id);
    }
}

async fn store_incarnations(store: &dyn Store, incarnations: &BTreeMap<NodeId, Uuid>) -> Result<(), StoreError> {
    let text = serde_json::to_string(incarnations)
        .map_err(|source| StoreError::Corrupt { what: "incarnations of nodes", source })?;
    store.put_meta(INCARNATIONS, text).await
}

async fn read(nodes: &Nodes, node: &Node, trace: &Trace) -> Result<Option<Marker>, NodeError> {
    let path = format!("/indexes/{RESERVED_INDEX}/documents/{DOCUMENT}");
    nodes.client.get_json(node, &path, trace).await
}

/// Settings and features have to be compared before the node serves; every shard that it owns of `stale` is stale there.
async fn mark_missed(ledger: &Ledger, node: &Node, stale: Vec<IndexEntry>) -> Result<(), IdentityError> {
    let topology = ledger.nodes.topology();
    let Some(ix) = topology.find(node.id.as_str()) else { return Ok(()) };
    let shards = topology.shards_of(ix);
    let stale = stale.into_iter().map(|entry| (ix, entry.uid, shards.clone())).collect();
    let missed = vec![(ix, Missed { settings: true, ..Missed::default() })];
    Ok(insync::mark_gone(ledger, &Marks { stale, missed }).await?)
}

/// Writes a new marker, then remembers it.
async fn mark_disk(identities: &Identities, ledger: &Ledger, node: &Node, trace: &Trace) -> Result<(), IdentityError> {
    let marker = Marker {
        id: DOCUMENT.to_owned(),
        cluster: identities.cluster,
        node: node.id.clone(),
        incarnation: Uuid::new_v4(),
    };
    let path = format!("/indexes/{RESERVED_INDEX}/documents?primaryKey=id");
    let body = Bytes::from(json!([marker]).to_string());
    let request = Subrequest::json(http::Method::POST, path, body, identities.timeout, false);
    let task = ledger.nodes.client.carry_out(node, request, trace, TASK_LIMIT).await?;
    if task.status != TaskStatus::Succeeded {
        let message = task.error.map_or_else(|| task.status.as_str().to_owned(), |error| error.message);
        return Err(IdentityError::Marker(message));
    }
    Ok(identities.remember(ledger.store.as_ref(), &node.id, marker.incarnation).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(cluster: u128, node: &str, incarnation: u128) -> Marker {
        Marker {
            id: DOCUMENT.to_owned(),
            cluster: Uuid::from_u128(cluster),
            node: NodeId::new(node),
            incarnation: Uuid::from_u128(incarnation),
        }
    }

    fn judged(remembered: Option<u128>, marker: Option<&Marker>) -> Finding {
        judge(Uuid::from_u128(1), &NodeId::new("n"), remembered.map(Uuid::from_u128), marker)
    }

    #[test]
    fn a_node_is_known_by_its_marker() {
        let own = marker(1, "n", 7);
        assert_eq!(judged(Some(7), Some(&own)), Finding::Same);
        assert_eq!(judged(None, None), Finding::New);
        let incarnation = Uuid::from_u128(7);
        assert_eq!(judged(None, Some(&own)), Finding::Forgotten { incarnation });
        assert_eq!(judged(Some(8), Some(&own)), Finding::Earlier { incarnation });
    }

    #[test]
    fn a_node_without_the_marker_it_had_has_lost_its_data() {
        assert_eq!(judged(Some(7), None), Finding::Emptied);
    }

    #[test]
    fn data_of_another_cluster_or_node_is_refused() {
        let other = Finding::Refused(Refusal::OtherCluster { cluster: Uuid::from_u128(2) });
        assert_eq!(judged(Some(7), Some(&marker(2, "n", 7))), other);
        assert_eq!(judged(None, Some(&marker(2, "n", 7))), other);
        let mixed = Finding::Refused(Refusal::OtherNode { node: NodeId::new("m") });
        assert_eq!(judged(Some(7), Some(&marker(1, "m", 7))), mixed);
    }
}
