//! Repair: a returning node's indexes, primary keys and settings are made equal to the cluster's before it serves.
//!
//! The registry says which indexes exist. Settings are compared with a node that is up; where none is (a start of the
//! whole cluster), a node that has missed nothing becomes the measure of the others. While an index is compared, writes to
//! it wait, because a change of settings could otherwise overtake the comparison.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::Cluster;
use super::client::{Subrequest, TaskStatusResponse, Trace};
use super::error::NodeError;
use super::health::move_state;
use super::identity::{self, IdentityError};
use super::insync::{self, Marks, Missed};
use super::interrupted;
use super::older_reads;
use crate::meili::task::TaskStatus;
use crate::meili::uid::IndexUid;
use crate::placement::topology::{Node, NodeId, NodeIx, NodeState};
use crate::plan::broadcast::HiddenSettings;
use crate::store::{IndexEntry, StoreError};

/// How long one task of a repair may take on a node.
const TASK_LIMIT: Duration = Duration::from_secs(600);
/// How long the queue of an index may take to run empty while its writes wait.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
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
        mark_missing(cluster, ix, node, &missed, &trace).await?;
        move_state(cluster, id, &[NodeState::Joining, NodeState::Down], NodeState::Repairing);
        for index in &missed.outdated {
            delete_index(cluster, ix, node, index, &trace).await?;
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

/// An index that the node lacks, or holds in a state of the past, is stale there in all shards.
async fn mark_missing(
    cluster: &Arc<Cluster>,
    ix: NodeIx,
    node: &Node,
    missed: &Missed,
    trace: &Trace,
) -> Result<(), RepairError> {
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
    for unknown in held.iter().filter(|uid| !known(uid)) {
        tracing::warn!(node = %node.id, index = unknown, "node holds an index that the cluster does not know; left alone");
    }
    Ok(insync::mark_gone(cluster, &marks).await?)
}

async fn delete_index(
    cluster: &Arc<Cluster>,
    ix: NodeIx,
    node: &Node,
    index: &str,
    trace: &Trace,
) -> Result<(), RepairError> {
    let path = format!("/indexes/{index}");
    if cluster.client.get_json::<IndexView>(node, &path, trace).await?.is_none() {
        return Ok(());
    }
    older_reads::end(cluster, ix, index, cluster.topology().shards_of(ix)).await;
    tracing::info!(node = %node.id, index, "deleting an index whose content is of the past");
    let request =
        Subrequest { method: http::Method::DELETE, idempotent: false, ..Subrequest::get(path, timeout(cluster)) };
    done(cluster.client.carry_out(node, request, trace, TASK_LIMIT).await?)
}

/// Returns the node's task that patches the settings, if that is needed; it is not waited for.
async fn repair_index(
    cluster: &Arc<Cluster>,
    ix: NodeIx,
    missed: &Missed,
    entry: &IndexEntry,
    reference: Option<&Node>,
    trace: &Trace,
) -> Result<Option<u32>, RepairError> {
    let topology = cluster.topology().detached();
    let node = topology.node(ix);
    let uid = entry.uid.as_str();
    let path = format!("/indexes/{uid}");
    let mut held: Option<IndexView> = cluster.client.get_json(node, &path, trace).await?;
    for other in std::iter::once(node).chain(reference) {
        // A node that has missed nothing has the same settings, and need not wait until its queue is worked off to
        // show them. The comparison is for what nobody recorded.
        if missed.is_nothing() && held.is_some() && has_open_tasks(cluster, other, uid, trace).await? {
            return Ok(None);
        }
        wait_idle(cluster, other, uid, trace).await?;
    }
    let key_held = held.as_ref().and_then(|index| index.primary_key.as_ref());
    if let (Some(wrong), Some(right)) = (key_held, &entry.primary_key)
        && wrong != right
    {
        tracing::warn!(node = %node.id, index = uid, wrong, right, "index has another primary key; it is rebuilt");
        delete_index(cluster, ix, node, uid, trace).await?;
        held = None;
    }
    match held {
        None => {
            tracing::info!(node = %node.id, index = uid, "creating a missing index");
            let shards = cluster.topology().shards_of(ix).clone();
            insync::mark_gone(cluster, &Marks { stale: vec![(ix, uid.to_owned(), shards)], missed: Vec::new() })
                .await?;
            let body = json!({"uid": uid, "primaryKey": entry.primary_key});
            let created = cluster.client.carry_out(node, post("/indexes", &body, cluster), trace, TASK_LIMIT).await?;
            done(created)?;
        }
        Some(index) if index.primary_key.is_none() && entry.primary_key.is_some() => {
            let body = json!({"primaryKey": entry.primary_key});
            let request = Subrequest { method: http::Method::PATCH, ..post(&path, &body, cluster) };
            done(cluster.client.carry_out(node, request, trace, TASK_LIMIT).await?)?;
        }
        Some(_) => {}
    }
    let patched = repair_settings(cluster, node, uid, reference, trace).await?;
    if let Some(task) = patched {
        cluster.writer.saw_uid(ix, task);
    }
    Ok(patched)
}

async fn repair_settings(
    cluster: &Arc<Cluster>,
    node: &Node,
    uid: &str,
    reference: Option<&Node>,
    trace: &Trace,
) -> Result<Option<u32>, RepairError> {
    let path = format!("/indexes/{uid}/settings");
    let held: Map<String, Value> = cluster.client.get_json(node, &path, trace).await?.unwrap_or_default();
    let wanted: Option<Map<String, Value>> = match reference {
        Some(reference) => cluster.client.get_json(reference, &path, trace).await?,
        None => None,
    };
    let change = settings_change(&held, wanted.as_ref(), &cluster.hidden_settings());
    if change.is_empty() {
        return Ok(None);
    }
    let names: Vec<&String> = change.keys().collect();
    tracing::info!(node = %node.id, index = uid, settings = ?names, "settings differ; patching");
    let body = Value::Object(change.clone());
    let request = Subrequest { method: http::Method::PATCH, ..post(&path, &body, cluster) };
    let reply = cluster.client.send(node, request, trace).await?;
    let accepted: TaskStatusResponse = cluster.client.read(node, &reply)?;
    Ok(Some(accepted.uid))
}

/// What must be patched for `held` to become `wanted`, and to have the hidden part in any case.
fn settings_change(
    held: &Map<String, Value>,
    wanted: Option<&Map<String, Value>>,
    hidden: &HiddenSettings,
) -> Map<String, Value> {
    let mut change = Map::new();
    for (key, value) in wanted.into_iter().flatten().filter(|(key, value)| held.get(*key) != Some(*value)) {
        let mut value = value.clone();
        // These are merged by name: a name that is only held must be taken away.
        if let (Value::Object(fields), Some(Value::Object(old))) = (&mut value, held.get(key))
            && key == "embedders"
        {
            for name in old.keys() {
                fields.entry(name.clone()).or_insert(Value::Null);
            }
        }
        change.insert(key.clone(), value);
    }
    let mut changed = held.clone();
    changed.extend(change.clone());
    change.extend(hidden.missing(&changed));
    change
}

async fn repair_features(
    cluster: &Arc<Cluster>,
    node: &Node,
    reference: &Node,
    trace: &Trace,
) -> Result<(), RepairError> {
    let path = "/experimental-features";
    // Engines differ in which features they know; one that has none of this is no reason to stay down.
    let wanted = cluster.client.get_json::<Map<String, Value>>(reference, path, trace).await;
    let held = cluster.client.get_json::<Map<String, Value>>(node, path, trace).await;
    let (Ok(Some(wanted)), Ok(Some(held))) = (wanted, held) else { return Ok(()) };
    let change: Map<String, Value> =
        wanted.into_iter().filter(|(name, value)| held.get(name).is_some_and(|held| held != value)).collect();
    if change.is_empty() {
        return Ok(());
    }
    let body = Value::Object(change);
    let request = Subrequest { method: http::Method::PATCH, ..post(path, &body, cluster) };
    let reply = cluster.client.send(node, request, trace).await?;
    let _: Value = cluster.client.read(node, &reply)?;
    Ok(())
}

/// Waits until a node has worked off what it had taken for `index` before the call, however much comes meanwhile; not
/// longer than [`TASK_LIMIT`], after which it returns all the same.
pub(super) async fn drain(cluster: &Cluster, node: &Node, index: &str, trace: &Trace) -> Result<bool, NodeError> {
    let Some(newest) = first_task(cluster, node, "", trace).await? else { return Ok(true) };
    let deadline = Instant::now() + TASK_LIMIT;
    let mut pause = Duration::from_millis(10);
    loop {
        if !open_tasks(cluster, node, index, &format!("&from={newest}"), trace).await? {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

/// Waits until a node has nothing more to do for `index`. Its writes are to be held meanwhile.
pub(super) async fn queue_runs_empty(
    cluster: &Cluster,
    node: &Node,
    index: &str,
    trace: &Trace,
) -> Result<bool, NodeError> {
    let deadline = Instant::now() + IDLE_LIMIT;
    let mut pause = Duration::from_millis(25);
    loop {
        if !has_open_tasks(cluster, node, index, trace).await? {
            return Ok(true);
        }
        if Instant::now() + pause > deadline {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// True when tasks of `index`, or swaps of any, wait on `node`.
pub(super) async fn has_open_tasks(
    cluster: &Cluster,
    node: &Node,
    index: &str,
    trace: &Trace,
) -> Result<bool, NodeError> {
    open_tasks(cluster, node, index, "", trace).await
}

async fn open_tasks(cluster: &Cluster, node: &Node, index: &str, from: &str, trace: &Trace) -> Result<bool, NodeError> {
    for which in [format!("indexUids={index}"), "types=indexSwap".to_owned()] {
        let open = format!("&{which}&statuses=enqueued,processing{from}");
        if first_task(cluster, node, &open, trace).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The newest of the node's tasks that meet `query`.
async fn first_task(cluster: &Cluster, node: &Node, query: &str, trace: &Trace) -> Result<Option<u32>, NodeError> {
    #[derive(Deserialize)]
    struct Page {
        results: Vec<TaskStatusResponse>,
    }
    let page: Option<Page> = cluster.client.get_json(node, &format!("/tasks?limit=1{query}"), trace).await?;
    Ok(page.and_then(|page| page.results.first().map(|task| task.uid)))
}

async fn wait_idle(cluster: &Cluster, node: &Node, index: &str, trace: &Trace) -> Result<(), RepairError> {
    if queue_runs_empty(cluster, node, index, trace).await? {
        Ok(())
    } else {
        Err(RepairError::Busy { index: index.to_owned(), limit: IDLE_LIMIT })
    }
}

fn post(path: &str, body: &Value, cluster: &Cluster) -> Subrequest {
    Subrequest::json(http::Method::POST, path, Bytes::from(body.to_string()), timeout(cluster), false)
}

fn timeout(cluster: &Cluster) -> Duration {
    cluster.settings.write.timeout
}

fn done(task: TaskStatusResponse) -> Result<(), RepairError> {
    if task.status == TaskStatus::Succeeded {
        return Ok(());
    }
    let message = task.error.map_or_else(|| task.status.as_str().to_owned(), |error| error.message);
    Err(RepairError::Task { uid: task.uid, message })
}

/// After a failed task: asks the nodes what they hold of the indexes concerned, and corrects the registry by it. What
/// still has tasks open is left for later.
pub async fn check_suspects(cluster: &Arc<Cluster>) {
    let trace = Trace::background("registry");
    for index in cluster.registry.suspects() {
        let _hold = cluster.writer.gates.hold(&index).await;
        match look_at(cluster, &index, &trace).await {
            Ok(Some(found)) => {
                if let Err(error) = cluster.registry.correct(cluster.store.as_ref(), &index, found).await {
                    tracing::error!(%error, index, "the registry could not be corrected");
                    continue;
                }
                cluster.registry.clear_suspect(&index);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, index, "an index could not be looked at"),
        }
    }
}

/// What the nodes that are up hold of `index`: `None` while that is open, `Some(None)` when none has it.
async fn look_at(cluster: &Arc<Cluster>, index: &str, trace: &Trace) -> Result<Option<Option<IndexEntry>>, NodeError> {
    let topology = cluster.topology();
    let mut asked = false;
    let mut found = None;
    for node in topology.nodes.iter().filter(|node| node.state == NodeState::Up) {
        if has_open_tasks(cluster, node, index, trace).await? {
            return Ok(None);
        }
        asked = true;
        let held: Option<IndexView> = cluster.client.get_json(node, &format!("/indexes/{index}"), trace).await?;
        if let Some(held) = held {
            let known: Option<IndexEntry> = found.take();
            let primary_key = held.primary_key.or(known.and_then(|known| known.primary_key));
            found = Some(IndexEntry { uid: index.to_owned(), primary_key });
        }
    }
    Ok(asked.then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::broadcast::hidden_filterable;

    fn settings_change(held: &Map<String, Value>, wanted: Option<&Map<String, Value>>) -> Map<String, Value> {
        super::settings_change(held, wanted, &HiddenSettings::default())
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn equal_settings_need_no_patch() {
        let settings = map(json!({"filterableAttributes": [hidden_filterable()], "stopWords": ["a"]}));
        assert!(settings_change(&settings, Some(&settings)).is_empty());
        assert!(settings_change(&settings, None).is_empty());
    }

    #[test]
    fn only_what_differs_is_patched() {
        let held = map(json!({"filterableAttributes": [hidden_filterable()], "stopWords": ["a"], "dictionary": []}));
        let wanted = map(json!({"filterableAttributes": [hidden_filterable()], "stopWords": [], "dictionary": []}));
        assert_eq!(settings_change(&held, Some(&wanted)), map(json!({"stopWords": []})));
    }

    #[test]
    fn the_hidden_item_is_always_there() {
        let held = map(json!({"filterableAttributes": ["country"]}));
        let expected = map(json!({"filterableAttributes": ["country", hidden_filterable()]}));
        assert_eq!(settings_change(&held, None), expected);
    }

    #[test]
    fn an_embedder_that_only_the_returning_node_has_is_removed() {
        let held = map(
            json!({"filterableAttributes": [hidden_filterable()], "embedders": {"old": {"source": "userProvided"}}}),
        );
        let wanted = map(json!({"filterableAttributes": [hidden_filterable()], "embedders": {}}));
        assert_eq!(settings_change(&held, Some(&wanted)), map(json!({"embedders": {"old": null}})));
    }
}
