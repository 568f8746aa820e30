//! One index of a returning node: created, its primary key and settings made equal to the cluster's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::RepairError;
use super::suspects::check_suspects;
use crate::ledger::marks::Marks;
use crate::ledger::{insync, older_reads};
use crate::meili::task::TaskStatus;
use crate::nodes::client::{Subrequest, TaskStatusResponse, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::lanes::Hold;
use crate::nodes::node_queue::{IDLE_LIMIT, has_open_tasks, queue_runs_empty};
use crate::placement::topology::{Node, NodeIx};
use crate::plan::broadcast::HiddenSettings;
use crate::replicas::part::Replicas;
use crate::store::IndexEntry;
use crate::write::vocabulary;

/// How long one task of a repair may take on a node.
pub(super) const TASK_LIMIT: Duration = Duration::from_secs(600);
/// An index as a node shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IndexView {
    pub uid: String,
    pub primary_key: Option<String>,
}

/// What a node counts of an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    number_of_documents: u64,
}

/// Waits for reads that may still need it, and for the node's task. No error where it is not there.
pub(super) async fn delete_index(
    replicas: &Arc<Replicas>,
    ix: NodeIx,
    index: &str,
    trace: &Trace,
) -> Result<(), RepairError> {
    let topology = replicas.nodes.topology().detached();
    older_reads::end(&replicas.ledger, ix, index, topology.shards_of(ix)).await;
    match enqueue_deletion(replicas, ix, index, trace).await? {
        Some(task) => deleted(replicas, ix, task).await,
        None => Ok(()),
    }
}

/// The end of a node's task that deletes an index.
pub(super) async fn deleted(replicas: &Replicas, ix: NodeIx, task: u32) -> Result<(), RepairError> {
    let topology = replicas.nodes.topology().detached();
    done(replicas.nodes.client.wait(topology.node(ix), task, TASK_LIMIT).await?)
}

/// Returns the node's task, which is not waited for; `None` where the index is not there. No older read may be under way.
pub(super) async fn enqueue_deletion(
    replicas: &Replicas,
    ix: NodeIx,
    index: &str,
    trace: &Trace,
) -> Result<Option<u32>, RepairError> {
    if !is_there(replicas, ix, index, trace).await? {
        return Ok(None);
    }
    let topology = replicas.nodes.topology().detached();
    let (node, path) = (topology.node(ix), format!("/indexes/{index}"));
    tracing::info!(node = %node.id, index, "deleting an index whose content is of the past");
    let request =
        Subrequest { method: http::Method::DELETE, idempotent: false, ..Subrequest::get(path, timeout(replicas)) };
    let reply = replicas.nodes.client.send(node, request, trace).await?;
    let accepted: TaskStatusResponse = replicas.nodes.client.read(node, &reply)?;
    replicas.writes.order.saw_uid(ix, accepted.uid);
    Ok(Some(accepted.uid))
}

/// True if the node has the index.
pub(super) async fn is_there(replicas: &Replicas, ix: NodeIx, index: &str, trace: &Trace) -> Result<bool, NodeError> {
    let topology = replicas.nodes.topology().detached();
    let path = format!("/indexes/{index}");
    Ok(replicas.nodes.client.get_json::<IndexView>(topology.node(ix), &path, trace).await?.is_some())
}

/// All replicas of an index on a node are stale: their content is gone, or about to go.
pub(super) async fn mark_all_gone(replicas: &Replicas, ix: NodeIx, index: &str) -> Result<(), RepairError> {
    let shards = replicas.nodes.topology().shards_of(ix).clone();
    let marks = Marks { stale: vec![(ix, index.to_owned(), shards)], missed: Vec::new() };
    Ok(insync::mark_gone(&replicas.ledger, &marks).await?)
}

/// Returns the node's task that patches the settings, if that is needed; it is not waited for. The index is made as `entry` and the
/// node `reference` have it, and takes no write meanwhile. `suspected`: something is known to be missing. `absent` is set when the
/// index was not there.
pub(super) async fn repair_index(
    replicas: &Arc<Replicas>,
    ix: NodeIx,
    suspected: bool,
    (entry, reference): (&IndexEntry, Option<&Node>),
    absent: &mut bool,
    hold: &Hold,
    trace: &Trace,
) -> Result<Option<u32>, RepairError> {
    let topology = replicas.nodes.topology().detached();
    let node = topology.node(ix);
    let uid = entry.uid.as_str();
    let path = format!("/indexes/{uid}");
    let mut held: Option<IndexView> = replicas.nodes.client.get_json(node, &path, trace).await?;
    for other in std::iter::once(node).chain(reference) {
        // A node that has missed nothing has the same settings, and need not wait until its queue is worked off to
        // show them. The comparison is for what nobody recorded.
        if !suspected && held.is_some() && has_open_tasks(&replicas.nodes, other, uid, trace).await? {
            return Ok(None);
        }
        wait_idle(replicas, other, uid, hold, trace).await?;
    }
    let key_held = held.as_ref().and_then(|index| index.primary_key.as_ref());
    if let (Some(wrong), Some(right)) = (key_held, &entry.primary_key)
        && wrong != right
    {
        let registry = &replicas.ledger.registry;
        let doubted = registry.suspects().iter().any(|index| index == uid);
        if doubted || !is_outdated(replicas, ix, uid, (right, suspected), trace).await? {
            tracing::warn!(node = %node.id, index = uid, wrong, right, "it is in doubt which primary key is right; all nodes are asked");
            registry.suspect(uid);
            let replicas = Arc::clone(replicas);
            tokio::spawn(async move { check_suspects(&replicas).await });
            return Err(RepairError::KeyInDoubt { held: wrong.clone(), recorded: right.clone() });
        }
        tracing::warn!(node = %node.id, index = uid, wrong, right, "index has another primary key; it is rebuilt");
        // Should this break off half-way, the index is there again with the first write, and must not count as in sync.
        *absent = true;
        mark_all_gone(replicas, ix, uid).await?;
        delete_index(replicas, ix, uid, trace).await?;
        held = None;
    }
    match held {
        None => {
            *absent = true;
            tracing::info!(node = %node.id, index = uid, "creating a missing index");
            mark_all_gone(replicas, ix, uid).await?;
            let body = json!({"uid": uid, "primaryKey": entry.primary_key});
            let created =
                replicas.nodes.client.carry_out(node, post("/indexes", &body, replicas), trace, TASK_LIMIT).await?;
            done(created)?;
        }
        Some(index) if index.primary_key.is_none() && entry.primary_key.is_some() => {
            let body = json!({"primaryKey": entry.primary_key});
            let request = Subrequest { method: http::Method::PATCH, ..post(&path, &body, replicas) };
            done(replicas.nodes.client.carry_out(node, request, trace, TASK_LIMIT).await?)?;
        }
        Some(_) => {}
    }
    let patched = repair_settings(replicas, node, uid, reference, trace).await?;
    if let Some(task) = patched {
        replicas.writes.order.saw_uid(ix, task);
    }
    Ok(patched)
}

/// True if `ix` holds the index as it was before it got `key`: another node holds it by that, and is known to be ahead or has documents, or
/// `ix` has none. What is on record alone is no reason to delete documents: a gateway that ends right after a refused change of the
/// key may have it on record, and a node without documents has carried it out. Example: film 0 is on node-1 and node-2 under the key
/// `id`, node-0 has taken the key `n`; node-1 is not outdated.
async fn is_outdated(
    replicas: &Replicas,
    ix: NodeIx,
    uid: &str,
    (key, suspected): (&str, bool),
    trace: &Trace,
) -> Result<bool, NodeError> {
    let topology = replicas.nodes.topology().detached();
    let is_empty = documents(replicas, topology.node(ix), uid, trace).await? == 0;
    for other in topology.members().filter(|other| *other != ix).map(|other| topology.node(other)) {
        let path = format!("/indexes/{uid}");
        let held: Result<Option<IndexView>, _> = replicas.nodes.client.get_json(other, &path, trace).await;
        if held.is_ok_and(|held| held.is_some_and(|held| held.primary_key.as_deref() == Some(key)))
            && (suspected || is_empty || documents(replicas, other, uid, trace).await.is_ok_and(|count| count > 0))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many documents a node holds of an index, those of words included.
pub(super) async fn documents(replicas: &Replicas, node: &Node, uid: &str, trace: &Trace) -> Result<u64, NodeError> {
    let path = format!("/indexes/{uid}/stats");
    let counted: Option<Counted> = replicas.nodes.client.get_json(node, &path, trace).await?;
    Ok(counted.map_or(0, |counted| counted.number_of_documents))
}

async fn repair_settings(
    replicas: &Arc<Replicas>,
    node: &Node,
    uid: &str,
    reference: Option<&Node>,
    trace: &Trace,
) -> Result<Option<u32>, RepairError> {
    let path = format!("/indexes/{uid}/settings");
    let held: Map<String, Value> = replicas.nodes.client.get_json(node, &path, trace).await?.unwrap_or_default();
    let mut wanted: Option<Map<String, Value>> = match reference {
        Some(reference) => replicas.nodes.client.get_json(reference, &path, trace).await?,
        None => None,
    };
    // What this node refused and others are to take back is right as this one has it.
    if let (Some(noted), Some(wanted)) = (replicas.ledger.refusals.of(uid), &mut wanted) {
        wanted.retain(|name, _| !noted.get(name).is_some_and(|refused_by| refused_by.contains(&node.id)));
    }
    let change = settings_change(&held, wanted.as_ref(), &replicas.ledger.hidden_settings());
    if change.is_empty() {
        return Ok(None);
    }
    let names: Vec<&String> = change.keys().collect();
    tracing::info!(node = %node.id, index = uid, settings = ?names, "settings differ; patching");
    let embedders = change.get("embedders").and_then(Value::as_object);
    if embedders.is_some_and(|embedders| embedders.values().any(|embedder| !embedder.is_null())) {
        vocabulary::make_way_on(&replicas.writes, node, uid, trace).await;
    }
    let body = Value::Object(change.clone());
    let request = Subrequest { method: http::Method::PATCH, ..post(&path, &body, replicas) };
    let reply = replicas.nodes.client.send(node, request, trace).await?;
    let accepted: TaskStatusResponse = replicas.nodes.client.read(node, &reply)?;
    Ok(Some(accepted.uid))
}

/// What must be patched for `held` to become `wanted`, and to have the hidden part in any case.
pub(super) fn settings_change(
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

async fn wait_idle(
    replicas: &Replicas,
    node: &Node,
    index: &str,
    hold: &Hold,
    trace: &Trace,
) -> Result<(), RepairError> {
    if queue_runs_empty(&replicas.nodes, node, index, hold, trace).await? {
        Ok(())
    } else {
        Err(RepairError::Busy { index: index.to_owned(), limit: IDLE_LIMIT })
    }
}

/// JSON, with the time that a repair gives a node.
pub(super) fn post(path: &str, body: &Value, replicas: &Replicas) -> Subrequest {
    Subrequest::json(http::Method::POST, path, Bytes::from(body.to_string()), timeout(replicas), false)
}

fn timeout(replicas: &Replicas) -> Duration {
    replicas.writes.settings.get().timeout
}

/// An error, with the node's message, for a task that ended otherwise than well.
pub(super) fn done(task: TaskStatusResponse) -> Result<(), RepairError> {
    if task.status == TaskStatus::Succeeded {
        return Ok(());
    }
    let message = task.error.map_or_else(|| task.status.as_str().to_owned(), |error| error.message);
    Err(RepairError::Task { uid: task.uid, message })
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
