//! Recovery of a lost state from what the nodes hold: indexes and primary keys, in-sync sets by comparing replicas shard by
//! shard, the task table by the stamps of the nodes' tasks, API keys. The layout is that of the configuration.
//!
//! No gateway runs meanwhile. A recovery that breaks off leaves a mark: no gateway serves before another has ended.
//!
//! | module | what lives there |
//! |---|---|
//! | `measure` | which replicas of a shard are in sync when nothing is remembered of them |
//! | `tasks` | the task table, by the stamps of the tasks that nodes keep |

mod measure;
mod tasks;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use self::measure::Held;
use super::identity::{self, IdentityError};
use super::resilver::replica::Replica;
use crate::meili::key::Key;
use crate::meili::uid::IndexUid;
use crate::nodes::client::{Subrequest, TaskStatusResponse, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::fence::Reign;
use crate::nodes::node_queue::queue_runs_empty;
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{NodeId, NodeIx, Topology};
use crate::store::{IndexEntry, Store, StoreError};
use crate::write::Writes;

/// The fact of the store that says that a recovery has begun and not ended.
const RECOVERING: &str = "recovering";
/// How long listing keys may take.
const KEYS_TIMEOUT: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Debug, Default)]
pub struct Recovered {
    pub indexes: usize,
    pub tasks: usize,
    pub keys: usize,
    /// How many shards of indexes were compared.
    pub compared: u64,
    /// Replicas that differ and will be copied, by node and index.
    pub stale: Vec<(NodeId, String, usize)>,
}

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("the state knows of indexes or tasks: it is not lost, and recovering would overwrite it")]
    NotBlank,
    #[error("no node holds an index: there is nothing to recover")]
    Nothing,
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("index `{index}` has the primary key `{left}` on one node and `{right}` on another")]
    PrimaryKeys { index: String, left: String, right: String },
    #[error(
        "node {node} holds {documents} documents of index `{index}` in shards that it does not own: the configuration of \
         shards, placement, nodes, zones, weights or replication is not that of the lost state"
    )]
    Misplaced { node: NodeId, index: String, documents: u64 },
    #[error(
        "document `{document}` of index `{index}` on node {node} is in another shard than it would be with {shards} shards: name as \
         many in `cluster.shards` as the lost state had (256 before there was another default), and remove the empty state first"
    )]
    OtherShards { node: NodeId, index: String, document: String, shards: u16 },
    #[error("node {node} does not come to the end of its tasks on index `{index}`; try again when it has")]
    Busy { node: NodeId, index: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexView {
    uid: String,
    primary_key: Option<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    results: Vec<T>,
}

/// True when the state knows of nothing, or a recovery of it has not ended.
pub async fn is_blank(store: &dyn Store) -> Result<bool, StoreError> {
    let recovering = store.get_meta(RECOVERING).await?.is_some_and(|mark| !mark.is_empty());
    Ok(recovering || (store.next_task_uid().await? == 0 && store.indexes().await?.is_empty()))
}

/// Rebuilds the state of `cluster`, which is not running, and writes it. `progress` is told what is being done.
pub async fn recover(writes: &Writes, progress: &dyn Fn(String)) -> Result<Recovered, RecoverError> {
    if !is_blank(writes.ledger.store.as_ref()).await? {
        return Err(RecoverError::NotBlank);
    }
    let trace = Trace::background("recover");
    let topology = writes.nodes.topology();
    let holders = indexes(writes, &topology, &trace).await?;
    if holders.is_empty() {
        return Err(RecoverError::Nothing);
    }
    let mut by_node = Vec::new();
    let mut newest: BTreeMap<(NodeIx, String), Uuid> = BTreeMap::new();
    for ix in topology.indexes() {
        let node = topology.node(ix);
        for index in holders.keys() {
            progress(format!("waiting for node {} to finish its tasks on `{index}`", node.id));
            let hold = writes.order.gates.hold(index).await;
            if !queue_runs_empty(&writes.nodes, node, index, &hold, &trace).await? {
                return Err(RecoverError::Busy { node: node.id.clone(), index: index.clone() });
            }
        }
        let tasks: Vec<TaskStatusResponse> =
            writes.nodes.client.tasks_since(node, "statuses=succeeded,failed,canceled", None).await?;
        newest.extend(tasks::newest(&tasks).into_iter().map(|(index, uuid)| ((ix, index), uuid)));
        by_node.push((node.id.clone(), tasks));
    }
    let tasks = tasks::rebuild(by_node, topology.replication_factor, OffsetDateTime::now_utc());
    let mut recovered = Recovered { indexes: holders.len(), tasks: tasks.len(), ..Recovered::default() };
    let mut stale: BTreeMap<(NodeIx, String), ShardSet> = BTreeMap::new();
    for (index, found) in &holders {
        progress(format!("comparing the replicas of `{index}`"));
        let compared = Compared { writes, topology: &topology, index, found, newest: &newest, trace: &trace };
        compared.check_places().await?;
        for shard in (0..topology.shards).map(ShardId) {
            for node in compared.stale(shard).await? {
                stale.entry((node, index.clone())).or_default().insert(shard);
            }
            recovered.compared += 1;
        }
    }
    let keys = keys(writes, &topology, &trace).await;
    recovered.keys = keys.len();

    let store = &writes.ledger.store;
    store.put_meta(RECOVERING, "true".to_owned()).await?;
    identity::adopt(&writes.ledger, &topology, &trace).await?;
    for index in holders.keys() {
        for node in topology.indexes() {
            let shards = stale.remove(&(node, index.clone())).unwrap_or_default();
            if !shards.is_empty() {
                recovered.stale.push((topology.node(node).id.clone(), index.clone(), shards.len()));
            }
            store.put_stale(topology.node(node).id.clone(), index.clone(), shards).await?;
        }
    }
    for key in keys {
        let value = serde_json::to_value(&key).map_err(|source| StoreError::Corrupt { what: "API key", source })?;
        store.put_key(key.uid, value).await?;
    }
    for (index, found) in holders {
        store.put_index(IndexEntry { uid: index, primary_key: found.primary_key, leading: Vec::new() }).await?;
    }
    for task in tasks {
        // Of a recovery that broke off.
        store.remove_task(task.uid).await?;
        store.insert_task(task).await?;
    }
    store.put_meta(RECOVERING, String::new()).await?;
    Ok(recovered)
}

/// An index as the nodes have it.
#[derive(Debug, Default)]
struct Found {
    primary_key: Option<String>,
    on: Vec<NodeIx>,
}

async fn indexes(writes: &Writes, topology: &Topology, trace: &Trace) -> Result<BTreeMap<String, Found>, RecoverError> {
    let mut holders: BTreeMap<String, Found> = BTreeMap::new();
    for ix in topology.indexes() {
        let path = "/indexes?limit=100000";
        let page: Option<Page<IndexView>> = writes.nodes.client.get_json(topology.node(ix), path, trace).await?;
        let held = page.into_iter().flat_map(|page| page.results);
        for index in held.filter(|index| !IndexUid::is_reserved(&index.uid)) {
            let found = holders.entry(index.uid.clone()).or_default();
            found.on.push(ix);
            match (&found.primary_key, index.primary_key) {
                (Some(left), Some(right)) if *left != right => {
                    return Err(RecoverError::PrimaryKeys { index: index.uid, left: left.clone(), right });
                }
                (None, Some(key)) => found.primary_key = Some(key),
                (Some(_) | None, Some(_) | None) => {}
            }
        }
    }
    Ok(holders)
}

/// One index under comparison.
struct Compared<'a> {
    writes: &'a Writes,
    topology: &'a Topology,
    index: &'a str,
    found: &'a Found,
    newest: &'a BTreeMap<(NodeIx, String), Uuid>,
    trace: &'a Trace,
}

// === impl Compared ===

impl Compared<'_> {
    fn replica<'b>(&'b self, node: NodeIx, primary_key: &'b str) -> Replica<'b> {
        let Self { writes, topology, index, trace, .. } = self;
        Replica { writes, node: topology.node(node), index, primary_key, trace }
    }

    /// Documents that are where the configuration does not expect them mean that it is another one.
    async fn check_places(&self) -> Result<(), RecoverError> {
        let Some(primary_key) = &self.found.primary_key else { return Ok(()) };
        for node in &self.found.on {
            let shards = self.topology.shards;
            if let Some(document) = self.replica(*node, primary_key).wrong_shard(shards).await? {
                let node = self.topology.node(*node).id.clone();
                return Err(RecoverError::OtherShards { node, index: self.index.to_owned(), document, shards });
            }
            let mut foreign = ShardSet::all(self.topology.shards);
            foreign.subtract(self.topology.shards_of(*node));
            if foreign.is_empty() {
                continue;
            }
            let documents = self.replica(*node, primary_key).count(&foreign).await?;
            if documents > 0 {
                let node = self.topology.node(*node).id.clone();
                return Err(RecoverError::Misplaced { node, index: self.index.to_owned(), documents });
            }
        }
        Ok(())
    }

    async fn stale(&self, shard: ShardId) -> Result<Vec<NodeIx>, RecoverError> {
        let shards = ShardSet::from_iter([shard]);
        let mut held = Vec::new();
        for node in self.topology.owners_of(shard) {
            let content = match &self.found.primary_key {
                Some(key) if self.found.on.contains(node) => Some(self.replica(*node, key).content(&shards).await?.0),
                Some(_) | None => None,
            };
            let newest = self.newest.get(&(*node, self.index.to_owned())).copied();
            held.push(Held { node: *node, content, newest });
        }
        Ok(measure::stale(&held))
    }
}

/// The API keys that the gateway had copied to its nodes: those that several nodes have. Each node also has keys of its
/// own. None where the nodes have no keys or do not show them.
async fn keys(writes: &Writes, topology: &Topology, trace: &Trace) -> Vec<Key> {
    let mut found: BTreeMap<Uuid, (usize, Key)> = BTreeMap::new();
    for node in &topology.nodes {
        let request = Subrequest::get("/keys?limit=100000", KEYS_TIMEOUT);
        let Ok(reply) = writes.nodes.client.send(node, request, trace).await else { continue };
        let Ok(page) = serde_json::from_slice::<Page<Value>>(&reply.body) else { continue };
        let read = page.results.into_iter().filter_map(|key| serde_json::from_value::<Key>(key).ok());
        // Those by which leaders changed their nodes are nobody else's.
        for key in read.filter(|key| key.description.as_deref().is_none_or(|text| Reign::of_key(text).is_none())) {
            found.entry(key.uid).or_insert((0, key)).0 += 1;
        }
    }
    let least = topology.nodes.len().min(2);
    found.into_values().filter(|(times, _)| *times >= least).map(|(_, key)| key).collect()
}
