//! Repair: a returning node's indexes, primary keys and settings are made equal to the cluster's before it serves.
//!
//! The registry says which indexes exist. Settings are compared with a node that is up; where none is (a start of the
//! whole cluster), a node that has missed nothing becomes the measure of the others. While an index is compared, writes to
//! it wait, because a change of settings could otherwise overtake the comparison.
//!
//! An index that cannot be made equal, or not soon, is a matter of that index ([`indexes`]): the node serves all others. A node
//! is kept out only by what concerns the node: it cannot be reached, it is another one, its keys are wrong.
//!
//! | module | what lives there |
//! |---|---|
//! | `board` | when an index that is apart on a node is tried again |
//! | `dynamic_rules` | dynamic search rules of a returning node |
//! | `error` | why a repair stopped short, and whom that concerns |
//! | `features` | experimental features of a returning node |
//! | `index` | one index of a node: created, its primary key and settings made equal |
//! | `indexes` | indexes that are apart: each repaired for itself, while its node serves the others |
//! | `state` | which repairs are under way, and what else is repaired by layers above |
//! | `suspects` | indexes of which a failed task leaves open whether they exist and by which key |
//! | `take_back` | settings are all or nothing over the nodes |

mod board;
mod dynamic_rules;
mod error;
mod features;
mod index;
mod indexes;
mod state;
mod suspects;
mod take_back;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use self::dynamic_rules::repair_rules;
use self::error::RepairError;
use self::features::repair_features;
use self::index::{IndexView, delete_index};
use super::identity;
use super::interrupted;
use super::late;
use crate::ledger::insync;
use crate::ledger::marks::{Marks, Missed};
use crate::meili::uid::IndexUid;
use crate::nodes::client::Trace;
use crate::nodes::elsewhere::Told;
use crate::nodes::error::NodeError;
use crate::nodes::health::{self, Compared, move_state};
use crate::placement::topology::{Node, NodeId, NodeIx, NodeState};
use crate::replicas::part::Replicas;

pub use indexes::{copied, missed, touched, view};
pub use state::{RepairHook, Repairs};
pub use suspects::{check_suspects, take_key_back};
pub use take_back::{TOLD_AFTER, resume_take_backs, take_back};

/// How long a node that has missed changes waits for one that has not, before it serves as it is.
const REFERENCE_LIMIT: Duration = Duration::from_secs(30);
/// How long an index of a returning node is waited for, before the node serves the others without it.
const PROMPT: Duration = Duration::from_secs(5);
/// The same once so many have taken longer.
const HURRIED: Duration = Duration::from_millis(500);
const PATIENT: usize = 2;
/// A node that keeps missing changes while it is repaired tries again at its next good probe.
const ROUNDS: usize = 5;

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

/// A node that answers again is repaired in the background; nothing if that is under way.
pub fn start(replicas: &Arc<Replicas>, node: &NodeId) {
    if !replicas.repairs.running.lock().insert(node.clone()) {
        return;
    }
    let (replicas, node) = (Arc::clone(replicas), node.clone());
    tokio::spawn(async move {
        let result = {
            let _turn = replicas.repairs.turn.lock().await;
            bring_back(&replicas, &node).await
        };
        replicas.repairs.running.lock().remove(&node);
        let is_coming = match &result {
            Ok(Outcome::Up) => true,
            Ok(Outcome::Waits) => replicas.interrupted.is_patient(),
            Ok(Outcome::Gone | Outcome::Stranger | Outcome::Refused) | Err(_) => false,
        };
        health::repaired(&replicas.nodes, &node, is_coming);
        match result {
            Ok(Outcome::Up) => {
                replicas.repairs.waiting.lock().remove(&node);
                replicas.ledger.copies_due.notify_one();
                indexes::node_is_up(&replicas, &node);
                // What it missed between the last look and this moment.
                if replicas.ledger.bookkeeping.missed_by(&node).await.is_node_wide() {
                    health::again(&replicas.nodes, &node);
                }
            }
            Ok(Outcome::Waits) => tracing::info!(node = %node, "node waits for another before it takes part"),
            Ok(Outcome::Gone | Outcome::Stranger) => {}
            Ok(Outcome::Refused) => {
                move_state(&replicas.nodes, &node, &[NodeState::Repairing], NodeState::Down);
            }
            Err(error) => {
                tracing::warn!(node = %node, %error, "node could not be repaired; tried again at its next good probe");
                move_state(&replicas.nodes, &node, &[NodeState::Repairing], NodeState::Down);
            }
        }
    });
}

async fn bring_back(replicas: &Arc<Replicas>, id: &NodeId) -> Result<Outcome, RepairError> {
    let trace = Trace::background("repair");
    for _ in 0..ROUNDS {
        // A repair may take long and answers nobody: no move of shards needs to wait for it.
        let topology = replicas.nodes.topology().detached();
        let Some(ix) = topology.find(id.as_str()) else { return Ok(Outcome::Gone) };
        let node = topology.node(ix);
        // Before anything is written to it, and before it is asked what it has.
        replicas.nodes.client.fence(node, &trace).await?;
        if !replicas.ledger.founding.admits(&replicas.nodes.client, node, &trace).await? {
            return Ok(Outcome::Stranger);
        }
        if !identity::establish(&replicas.identities, &replicas.ledger, node, &trace).await? {
            return Ok(Outcome::Refused);
        }
        // What came while nobody led, or nobody looked.
        late::look_at(replicas, node, &trace).await?;
        if !interrupted::hear(&replicas.interrupted, &replicas.tracking, id).await? {
            return Ok(Outcome::Waits);
        }
        let as_of = replicas.ledger.bookkeeping.node_misses(id);
        let missed = replicas.ledger.bookkeeping.missed_by(id).await;
        let reference = topology.nodes.iter().find(|other| other.state == NodeState::Up && other.id != *id);
        if reference.is_none() && missed.is_node_wide() && waits(replicas, id).await {
            return Ok(Outcome::Waits);
        }
        learn_version(replicas, node, &trace).await?;
        // Before the node takes writes, because a write could create an index that is missing.
        let unknown = mark_missing(replicas, ix, node, &missed, &trace).await?;
        {
            // Features are on before a write can come that needs them, and none is changed in between.
            let _one = replicas.writes.direct.lock().await;
            if let Some(reference) = reference {
                repair_features(replicas, node, reference, &trace).await?;
            }
            move_state(&replicas.nodes, id, &[NodeState::Joining, NodeState::Down], NodeState::Repairing);
        }
        for index in unknown {
            take_away(replicas, ix, &index, &missed, &trace).await?;
        }
        if let Some(reference) = reference {
            repair_rules(replicas, (ix, node), reference, &trace).await?;
        }
        let compared = look_at_indexes(replicas, id, &missed).await?;
        if let Some(hook) = replicas.hook.get() {
            hook.repair(node).await.map_err(RepairError::Hook)?;
        }
        if insync::repaired(&replicas.ledger, id, as_of).await? {
            let up = health::serves_again(&replicas.nodes, id, compared);
            return Ok(if up { Outcome::Up } else { Outcome::Gone });
        }
    }
    Err(RepairError::StillChanging)
}

/// Each index that is or was there; those that take long go on in the background.
async fn look_at_indexes(replicas: &Arc<Replicas>, id: &NodeId, missed: &Missed) -> Result<Compared, RepairError> {
    let mut all = missed.outdated.clone();
    all.extend(replicas.ledger.registry.entries().into_iter().map(|entry| entry.uid));
    let mut late = 0;
    for index in all {
        let (limit, began) = (if late < PATIENT { PROMPT } else { HURRIED }, Instant::now());
        if !indexes::look_at(replicas, id, &index, limit).await? && began.elapsed() >= limit {
            late += 1;
        }
    }
    Ok(Compared::every_index())
}

/// What a node that was away holds and the cluster does not know was deleted meanwhile.
async fn take_away(
    replicas: &Arc<Replicas>,
    ix: NodeIx,
    index: &str,
    missed: &Missed,
    trace: &Trace,
) -> Result<(), RepairError> {
    // Nobody may create it meanwhile.
    let hold = replicas.writes.order.gates.hold(index).await;
    let id = replicas.nodes.topology().node(ix).id.clone();
    if !missed.away || replicas.ledger.registry.exists(index) {
        tracing::warn!(node = %id, index, "node holds an index that the cluster does not know; left alone");
        return Ok(());
    }
    let deleted = delete_index(replicas, ix, index, trace).await;
    drop(hold);
    match deleted {
        Err(error) if !error.concerns_node(&id) => {
            tracing::warn!(node = %id, index, %error, "an index could not be deleted yet");
            let outdated = Missed { outdated: [index.to_owned()].into(), ..Missed::default() };
            Ok(insync::mark(&replicas.ledger, &Marks { stale: Vec::new(), missed: vec![(ix, outdated)] }).await?)
        }
        deleted => deleted,
    }
}

/// What is on, and which rules an index has by default, depends on the engine: on the oldest of the nodes' own.
async fn learn_version(replicas: &Replicas, node: &Node, trace: &Trace) -> Result<(), NodeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        pkg_version: String,
    }
    let version: Option<Version> = replicas.nodes.client.get_json(node, "/version", trace).await?;
    if let Some(version) = version {
        let (nodes, version) = (&replicas.nodes, version.pkg_version);
        let before = nodes.versions.least();
        let differ = nodes.versions.note(&node.id, &version, &nodes.topology());
        let least = nodes.versions.least();
        if before != least {
            // What was made of settings went by another version.
            replicas.ledger.registry.forget_infos();
        }
        nodes.elsewhere.changed(Told::Versions);
        if differ {
            tracing::warn!(node = %node.id, version, least, "nodes run different versions");
        }
    }
    Ok(())
}

/// True while another node that has missed nothing may still come to compare with.
async fn waits(replicas: &Arc<Replicas>, id: &NodeId) -> bool {
    let topology = replicas.nodes.topology();
    let mut better = false;
    for other in topology.members().map(|ix| topology.node(ix)).filter(|other| other.id != *id) {
        better |= !replicas.ledger.bookkeeping.missed_by(&other.id).await.is_node_wide();
    }
    if !better {
        return false;
    }
    let since = *replicas.repairs.waiting.lock().entry(id.clone()).or_insert_with(Instant::now);
    if since.elapsed() < REFERENCE_LIMIT {
        return true;
    }
    tracing::error!(node = %id, "no other node came: this one serves although it has missed changes of settings");
    false
}

/// An index that the node lacks, or holds in a state of the past, is stale there in all shards. Returns those that it holds
/// and the cluster does not know.
async fn mark_missing(
    replicas: &Arc<Replicas>,
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
    let held: Option<Page> = replicas.nodes.client.get_json(node, path, trace).await?;
    let held: HashSet<String> = held.into_iter().flat_map(|page| page.results).map(|index| index.uid).collect();
    let shards = replicas.nodes.topology().shards_of(ix).clone();
    let mut marks = Marks::default();
    for entry in replicas.ledger.registry.entries() {
        if !held.contains(&entry.uid) || missed.outdated.contains(&entry.uid) {
            marks.stale.push((ix, entry.uid, shards.clone()));
        }
    }
    let known = |uid: &String| {
        replicas.ledger.registry.exists(uid) || missed.outdated.contains(uid) || IndexUid::is_reserved(uid)
    };
    insync::mark_gone(&replicas.ledger, &marks).await?;
    Ok(held.into_iter().filter(|uid| !known(uid)).collect())
}
