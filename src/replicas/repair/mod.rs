//! Repair: a returning node's indexes, primary keys and settings are made equal to the cluster's before it serves.
//!
//! The registry says which indexes exist. Settings are compared with a node that is up; where none is (a start of the
//! whole cluster), a node that has missed nothing becomes the measure of the others. While an index is compared, writes to
//! it wait, because a change of settings could otherwise overtake the comparison.
//!
//! An index that cannot be made equal, or not soon, is a matter of that index ([`indexes`]): the node serves all others. A node
//! is kept out only by what concerns the node: it cannot be reached, it is another one, its keys are wrong.

mod board;
mod features;
mod index;
mod indexes;
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
use self::index::delete_index;
use super::identity::{self, IdentityError};
use super::interrupted;
use crate::cluster::Cluster;
use crate::ledger::insync;
use crate::ledger::insync::{Marks, Missed};
use crate::meili::uid::IndexUid;
use crate::nodes::client::Trace;
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::health::move_state;
use crate::placement::topology::{Node, NodeId, NodeIx, NodeState};
use crate::store::StoreError;

pub use indexes::{copied, missed, touched, view};
pub use suspects::check_suspects;
pub use take_back::{resume_take_backs, take_back};

/// How long one task of a repair may take on a node.
const TASK_LIMIT: Duration = Duration::from_secs(600);
/// How long a node that has missed changes waits for one that has not, before it serves as it is.
const REFERENCE_LIMIT: Duration = Duration::from_secs(30);
/// How long an index of a returning node is waited for, before the node serves the others without it.
const PROMPT: Duration = Duration::from_secs(5);
/// The same once so many have taken longer.
const HURRIED: Duration = Duration::from_millis(500);
const PATIENT: usize = 2;
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
    indexes: indexes::Indexes,
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

// === impl RepairError ===

impl RepairError {
    /// True for what keeps `node` out of service as a whole; anything else is about one index of it.
    fn concerns_node(&self, node: &NodeId) -> bool {
        match self {
            Self::Node(error) if error.node != *node => false,
            Self::Node(error) => match error.kind {
                NodeErrorKind::Resolve(_) | NodeErrorKind::Connect(_) | NodeErrorKind::Closed(_) => true,
                NodeErrorKind::ConnectTimeout(_)
                | NodeErrorKind::Timeout(_)
                | NodeErrorKind::Truncated(_)
                | NodeErrorKind::TooLarge { .. }
                | NodeErrorKind::Malformed(_)
                | NodeErrorKind::Local(_)
                | NodeErrorKind::QueueFull { .. } => false,
            },
            Self::Task { .. } | Self::Busy { .. } | Self::Away { .. } => false,
            Self::Store(_) | Self::Interrupted(_) | Self::Identity(_) | Self::Hook(_) | Self::Unsettled => true,
        }
    }
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
                indexes::node_is_up(&cluster, &node);
                // What it missed between the last look and this moment.
                if cluster.bookkeeping.missed_by(&node).await.is_node_wide() {
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

/// A node has missed a change of the node as a whole: if it serves, it stops until it is repaired. If it is down, that happens
/// anyway.
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
        if reference.is_none() && missed.is_node_wide() && waits(cluster, id).await {
            return Ok(Outcome::Waits);
        }
        learn_version(cluster, node, &trace).await?;
        // Before the node takes writes, because a write could create an index that is missing.
        let unknown = mark_missing(cluster, ix, node, &missed, &trace).await?;
        move_state(cluster, id, &[NodeState::Joining, NodeState::Down], NodeState::Repairing);
        for index in unknown {
            take_away(cluster, ix, &index, &missed, &trace).await?;
        }
        if let Some(reference) = reference {
            repair_features(cluster, node, reference, &trace).await?;
        }
        look_at_indexes(cluster, id, &missed).await?;
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

/// Each index that is or was there; those that take long go on in the background.
async fn look_at_indexes(cluster: &Arc<Cluster>, id: &NodeId, missed: &Missed) -> Result<(), RepairError> {
    let mut all = missed.outdated.clone();
    all.extend(cluster.registry.entries().into_iter().map(|entry| entry.uid));
    let mut late = 0;
    for index in all {
        let (limit, began) = (if late < PATIENT { PROMPT } else { HURRIED }, Instant::now());
        if !indexes::look_at(cluster, id, &index, limit).await? && began.elapsed() >= limit {
            late += 1;
        }
    }
    Ok(())
}

/// What a node that was away holds and the cluster does not know was deleted meanwhile.
async fn take_away(
    cluster: &Arc<Cluster>,
    ix: NodeIx,
    index: &str,
    missed: &Missed,
    trace: &Trace,
) -> Result<(), RepairError> {
    // Nobody may create it meanwhile.
    let hold = cluster.writer.gates.hold(index).await;
    let id = cluster.topology().node(ix).id.clone();
    if !missed.away || cluster.registry.exists(index) {
        tracing::warn!(node = %id, index, "node holds an index that the cluster does not know; left alone");
        return Ok(());
    }
    let deleted = delete_index(cluster, ix, index, trace).await;
    drop(hold);
    match deleted {
        Err(error) if !error.concerns_node(&id) => {
            tracing::warn!(node = %id, index, %error, "an index could not be deleted yet");
            let outdated = Missed { outdated: [index.to_owned()].into(), ..Missed::default() };
            Ok(insync::mark(cluster, &Marks { stale: Vec::new(), missed: vec![(ix, outdated)] }).await?)
        }
        deleted => deleted,
    }
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
        better |= !cluster.bookkeeping.missed_by(&other.id).await.is_node_wide();
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
