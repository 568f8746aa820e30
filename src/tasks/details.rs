//! The counts in a task's details: each document once, not once per replica.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::entry::{MiroirTask, NodeTask, NodeTaskState, Purpose};
use crate::meili::task::TaskKind;
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;

/// The counts that stay `null` until a task ends.
const COUNTS: [&str; 3] = ["indexedDocuments", "deletedDocuments", "editedDocuments"];

/// Fills the open counts of a task that succeeded.
pub fn fill_succeeded(task: &mut MiroirTask) {
    if task.kind == TaskKind::DsrUpdate {
        return show_rule(task);
    }
    let Some(mut details) = task.details.take() else { return };
    for name in open_counts(&details) {
        let counted = match (name, details.get("receivedDocuments").and_then(Value::as_u64)) {
            // A node that succeeded has indexed everything that it was sent, a document that came again once.
            ("indexedDocuments", Some(_)) if !task.documents.is_empty() => task.documents.values().sum(),
            ("indexedDocuments", Some(received)) => received,
            _ => count(task, name),
        };
        details.insert(name.to_owned(), counted.into());
    }
    task.details = Some(details);
}

/// A rule is shown as nodes read it.
fn show_rule(task: &mut MiroirTask) {
    let told = task.parts.iter().find_map(|part| part.details.clone().filter(|details| details.contains_key("rule")));
    if let Some(told) = told {
        task.details = Some(told);
    }
}

/// Sets the open counts of a task that failed or was canceled to zero. As the engine does, an edition's deletions stay open.
pub fn fill_unsuccessful(task: &mut MiroirTask) {
    let Some(details) = task.details.as_mut() else { return };
    for name in open_counts(details) {
        if task.kind == TaskKind::DocumentEdition && name == "deletedDocuments" {
            continue;
        }
        details.insert(name.to_owned(), 0.into());
    }
}

/// The detail of a change of documents that ended in part which lists the ids of those that it has not reached.
pub const MISSED: &str = "missedDocuments";

/// Sets the open counts of a change of documents that only `shards` have. Of an edit or a deletion their nodes know.
/// Names the documents that it has not reached, where the task knows them.
pub fn fill_partly_applied(task: &mut MiroirTask, shards: &ShardSet) {
    let missed = missed(task, shards);
    fill_counts(task, shards);
    if !missed.is_empty() {
        task.details.get_or_insert_default().insert(MISSED.to_owned(), missed.into());
    }
}

/// In order; none where the task does not know its documents.
pub fn missed(task: &MiroirTask, shards: &ShardSet) -> Vec<String> {
    let others = task.ids.iter().filter(|(shard, _)| !shards.contains(**shard));
    let mut ids: Vec<String> = others.flat_map(|(_, ids)| ids).cloned().collect();
    ids.sort_unstable();
    ids
}

fn fill_counts(task: &mut MiroirTask, shards: &ShardSet) {
    if task.kind != TaskKind::DocumentAdditionOrUpdate {
        return fill_succeeded(task);
    }
    let there =
        task.documents.iter().filter(|(shard, _)| shards.contains(**shard)).map(|(_, count)| count).sum::<u64>();
    if let Some(details) = task.details.as_mut() {
        details.insert("indexedDocuments".to_owned(), there.into());
    }
}

fn open_counts(details: &Map<String, Value>) -> Vec<&'static str> {
    COUNTS.into_iter().filter(|name| details.get(*name).is_some_and(Value::is_null)).collect()
}

/// The nodes' counts, summed and divided by the copies that they counted. Exact while every replica took part; where
/// some did not, an estimate from those that did.
fn count(task: &MiroirTask, name: &str) -> u64 {
    let mains: Vec<&NodeTask> = task.parts.iter().filter(|part| part.purpose == Purpose::Main).collect();
    let succeeded: Vec<&NodeTask> =
        mains.iter().copied().filter(|part| part.outcome() == NodeTaskState::Succeeded).collect();
    let told = |part: &&NodeTask| part.details.as_ref()?.get(name)?.as_u64();
    // Replicas of the same documents should agree. An engine that carries out a deletion together with other tasks counts
    // the ids that it was given, there or not; so the least is right.
    if let [first, others @ ..] = succeeded.as_slice()
        && !first.shards.is_empty()
        && others.iter().all(|part| part.shards == first.shards)
        && distinct_nodes(&succeeded) == succeeded.len() as u64
        && mains.iter().all(|part| part.shards == first.shards)
    {
        return succeeded.iter().filter_map(told).min().unwrap_or(0);
    }
    let sum: u64 = succeeded.iter().filter_map(told).sum();
    let (counted, whole) = match counted_replicas(&succeeded) {
        Some(counted) => counted,
        None => {
            let nodes = distinct_nodes(&mains);
            (u64::from(task.copies.max(1)) * distinct_nodes(&succeeded), nodes)
        }
    };
    (sum * whole + counted / 2).checked_div(counted).unwrap_or(0)
}

/// How many replicas of shards were counted, and how many shards there are; `None` for parts without shards.
fn counted_replicas(parts: &[&NodeTask]) -> Option<(u64, u64)> {
    let mut by_node: BTreeMap<&NodeId, ShardSet> = BTreeMap::new();
    let mut all = ShardSet::new();
    for part in parts {
        by_node.entry(&part.node).or_default().union_with(&part.shards);
        all.union_with(&part.shards);
    }
    if all.is_empty() {
        return None;
    }
    Some((by_node.values().map(|shards| shards.len() as u64).sum(), all.len() as u64))
}

fn distinct_nodes(parts: &[&NodeTask]) -> u64 {
    let mut nodes: Vec<&NodeId> = parts.iter().map(|part| &part.node).collect();
    nodes.sort();
    nodes.dedup();
    nodes.len() as u64
}
