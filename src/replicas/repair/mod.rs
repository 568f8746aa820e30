//! Repair: a returning node's indexes, primary keys and settings are made equal to the cluster's before it serves.
//!
//! The registry says which indexes exist. Settings are compared with a node that is up; where none is (a start of the
//! whole cluster), a node that has missed nothing becomes the measure of the others. While an index is compared, writes to
//! it wait, because a change of settings could otherwise overtake the comparison.

mod features;
mod index;
mod suspects;
mod take_back;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use self::features::repair_features;
use self::index::{delete_index, done, repair_index};
use super::identity::{self, IdentityError};
use super::interrupted;
use crate::cluster::Cluster;
use crate::ledger::insync;
use crate::ledger::insync::{Marks, Missed};
use crate::meili::uid::IndexUid;
use crate::nodes::client::Trace;
use crate::nodes::error::NodeError;
use crate::nodes::health::move_state;
use crate::nodes::node_queue::drain;
use crate::placement::topology::{Node, NodeId, NodeIx, NodeState};
use crate::store::StoreError;

pub use suspects::check_suspects;
pub use take_back::{resume_take_backs, take_back};

/// How long one task of a repair may take on a node.
const TASK_LIMIT: Duration = Duration::from_secs(600);
/// How long a node that has missed changes waits for one that has not, before it serves as it is.
const REFERENCE_LIMIT: Duration = Duration::from_secs(30);
/// A node that keeps missing changes while it is repaired tries again at its next good probe.
const ROUNDS: usize = 5;

/// More that must be made equal on a returning node, by layers above: API keys.
#[async_trait]
pub trait RepairHook: Send + Sync + 'static {
    async fn repair(&self, cluster: &Arc<Cluster>, node: &Node) -> Result<(), String>;
}

/// Which repairs are under way.
#[derive(Default)]
pub struct Repairs {
    running: Mutex<HashSet<NodeId>>,
    /// Since when a node waits for another to compare with.
    waiting: Mutex<HashMap<NodeId, Instant>>,
    /// Nodes whose last repair did not bring them up: nobody waits for these.
    stuck: Mutex<HashSet<NodeId>>,
    /// Indexes whose refused changes are being taken back.
    taking_back: Mutex<HashSet<String>>,
    /// Held by the one repair that works: the others may then compare with its node.
    turn: tokio::sync::Mutex<()>,
}

/// Why a repair stopped short.
#[derive(Debug, thiserror::Error)]
enum RepairError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Interrupted(#[from] interrupted::InterruptedError),
    #[error("task {uid} failed: {message}")]
    Task { uid: u32, message: String },
    #[error("the queue of index `{index}` did not run empty within {limit:?}")]
    Busy { index: String, limit: Duration },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{0}")]
    Hook(String),
    #[error("none of the nodes that have the right settings is there: {nodes}")]
    Away { nodes: String },
    #[error("it has missed changes again and again")]
    Unsettled,
}

enum Outcome {
    Up,
    /// There is nobody to compare with yet, or an interrupted write of its shards to decide.
    Waits,
    /// It holds what a lost state would know of.
    Stranger,
    /// The node went down meanwhile.
    Gone,
    /// Its data belongs elsewhere; see [`super::identity`].
    Refused,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexView {
    uid: String,
    primary_key: Option<String>,
}

// === impl Repairs ===

impl Repairs {
    /// True when the last repair of a node did not bring it up.
    pub(crate) fn is_stuck(&self, node: &NodeId) -> bool {
        self.stuck.lock().contains(node)
    }

    fn note(&self, node: &NodeId, is_up: bool) {
        let mut stuck = self.stuck.lock();
        if is_up {
            stuck.remove(node);
        } else {
            stuck.insert(node.clone());
        }
    }
}

/// A node that answers again is repaired in the background; nothing if that is under way.
pub fn start(cluster: &Arc<Cluster>, node: &NodeId) {
    if !cluster.repairs.running.lock().insert(node.clone()) {
        return;
    }
    let (cluster, node) = (Arc::clone(cluster), node.clone());
    tokio::spawn(async move {
        let result = {
            let _turn = cluster.repairs.turn.lock().await;
            bring_back(&cluster, &node).await
        };
        cluster.repairs.running.lock().remove(&node);
        cluster.repairs.note(&node, matches!(result, Ok(Outcome::Up)));
        match result {
            Ok(Outcome::Up) => {
                cluster.repairs.waiting.lock().remove(&node);
                cluster.resilver.notify_one();
                // What it missed between the last look and this moment.
                if !cluster.bookkeeping.missed_by(&node).await.is_nothing() {
                    again(&cluster, &node);
                }
            }
            Ok(Outcome::Waits) => tracing::info!(node = %node, "node waits for another before it takes part"),
            Ok(Outcome::Gone | Outcome::Stranger) => {}
            Ok(Outcome::Refused) => {
                move_state(&cluster, &node, &[NodeState::Repairing], NodeState::Down);
            }
            Err(error) => {
                tracing::warn!(node = %node, %error, "node could not be repaired; tried again at its next good probe");
                move_state(&cluster, &node, &[NodeState::Repairing], NodeState::Down);
            }
        }
    });
}

/// A node has missed a change: if it serves, it stops until it is repaired. If it is down, that happens anyway.
pub fn again(cluster: &Arc<Cluster>, node: &NodeId) {
    if move_state(cluster, node, &[NodeState::Up], NodeState::Repairing) {
        start(cluster, node);
    }
}

async fn bring_back(cluster: &Arc<Cluster>, id: &NodeId) -> Result<Outcome, RepairError> {
    let trace = Trace::background("repair");
    for _ in 0..ROUNDS {
        // A repair may take long and answers nobody: no move of shards needs to wait for it.
        let topology = cluster.topology().detached();
        let Some(ix) = topology.find(id.as_str()) else { return Ok(Outcome::Gone) };
        let node = topology.node(ix);
        if !cluster.founding.admits(&cluster.client, node, &trace).await? {
            return Ok(Outcome::Stranger);
        }
        if !identity::settle(cluster, node, &trace).await? {
            return Ok(Outcome::Refused);
        }
        if !interrupted::settle(cluster, id).await? {
            return Ok(Outcome::Waits);
        }
        let missed = cluster.bookkeeping.missed_by(id).await;
        let reference = topology.nodes.iter().find(|other| other.state == NodeState::Up && other.id != *id);
        if reference.is_none() && !missed.is_nothing() && waits(cluster, id).await {
            return Ok(Outcome::Waits);
        }
        learn_version(cluster, node, &trace).await?;
        // Before the node takes writes, because a write could create an index that is missing.
        let unknown = mark_missing(cluster, ix, node, &missed, &trace).await?;
        move_state(cluster, id, &[NodeState::Joining, NodeState::Down], NodeState::Repairing);
        for index in &missed.outdated {
            delete_index(cluster, ix, index, &trace).await?;
        }
        for index in unknown {
            // Nobody may create it meanwhile.
            let _hold = cluster.writer.gates.hold(&index).await;
            if missed.away && !cluster.registry.exists(&index) {
                delete_index(cluster, ix, &index, &trace).await?;
            } else {
                tracing::warn!(node = %id, index, "node holds an index that the cluster does not know; left alone");
            }
        }
        if let Some(reference) = reference {
            repair_features(cluster, node, reference, &trace).await?;
        }
        for entry in cluster.registry.entries() {
            // Most of the waiting is done while writes go on.
            if !missed.is_nothing() {
                for other in std::iter::once(node).chain(reference) {
                    drain(cluster, other, &entry.uid, &trace).await?;
                }
            }
            let hold = cluster.writer.gates.hold(&entry.uid).await;
            // It may have been deleted while this waited.
            let Some(entry) = cluster.registry.entry(&entry.uid) else { continue };
            let patched = repair_index(cluster, ix, &missed, &entry, reference, &trace).await?;
            // The patch has its place in the node's queue, so writes may come after it.
            drop(hold);
            if let Some(uid) = patched {
                done(cluster.client.wait(node, uid, TASK_LIMIT).await?)?;
            }
        }
        if let Some(hook) = cluster.repair_hook.get() {
            hook.repair(cluster, node).await.map_err(RepairError::Hook)?;
        }
        if insync::settled(cluster, id, &missed).await? {
            let up = move_state(cluster, id, &[NodeState::Repairing], NodeState::Up);
            return Ok(if up { Outcome::Up } else { Outcome::Gone });
        }
    }
    Err(RepairError::Unsettled)
}

/// Which rules an index has by default depends on the engine; all nodes run one version.
async fn learn_version(cluster: &Cluster, node: &Node, trace: &Trace) -> Result<(), NodeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        pkg_version: String,
    }
    let version: Option<Version> = cluster.client.get_json(node, "/version", trace).await?;
    if let Some(version) = version {
        let before = cluster.engine_version.write().replace(version.pkg_version.clone());
        if let Some(before) = before.filter(|before| *before != version.pkg_version) {
            tracing::warn!(node = %node.id, version = version.pkg_version, before, "nodes run different versions");
        }
    }
    Ok(())
}

/// True while another node that has missed nothing may still come to compare with.
async fn waits(cluster: &Arc<Cluster>, id: &NodeId) -> bool {
    let topology = cluster.topology();
    let mut better = false;
    for other in topology.members().map(|ix| topology.node(ix)).filter(|other| other.id != *id) {
        better |= cluster.bookkeeping.missed_by(&other.id).await.is_nothing();
    }
    if !better {
        return false;
    }
    let since = *cluster.repairs.waiting.lock().entry(id.clone()).or_insert_with(Instant::now);
    if since.elapsed() < REFERENCE_LIMIT {
        return true;
    }
    tracing::error!(node = %id, "no other node came: this one serves although it has missed changes of settings");
    false
}

/// An index that the node lacks, or holds in a state of the past, is stale there in all shards. Returns those that it holds
/// and the cluster does not know.
async fn mark_missing(
    cluster: &Arc<Cluster>,
    ix: NodeIx,
    node: &Node,
    missed: &Missed,
    trace: &Trace,
) -> Result<Vec<String>, RepairError> {
    #[derive(Deserialize)]
    struct Page {
        results: Vec<IndexView>,
    }
    let path = "/indexes?limit=100000";
    let held: Option<Page> = cluster.client.get_json(node, path, trace).await?;
    let held: HashSet<String> = held.into_iter().flat_map(|page| page.results).map(|index| index.uid).collect();
    let shards = cluster.topology().shards_of(ix).clone();
    let mut marks = Marks::default();
    for entry in cluster.registry.entries() {
        if !held.contains(&entry.uid) || missed.outdated.contains(&entry.uid) {
            marks.stale.push((ix, entry.uid, shards.clone()));
        }
    }
    let known =
        |uid: &String| cluster.registry.exists(uid) || missed.outdated.contains(uid) || IndexUid::is_reserved(uid);
    insync::mark_gone(cluster, &marks).await?;
    Ok(held.into_iter().filter(|uid| !known(uid)).collect())
}
