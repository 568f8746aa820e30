//! What the parts of a task come to, taken together.

use super::details::{MISSED, missed};
use super::entry::{MiroirTask, NodeTask, NodeTaskState, Purpose};
use super::replicas::{replicas, sharded_parts, unwritten, whole_parts};
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::{DocumentsChange, TaskKind, TaskStatus};
use crate::placement::shard::ShardSet;

/// The outcome of a task, as far as its parts tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Some part has not ended; `started` says whether a node has begun with what the client asked for.
    Open {
        started: bool,
    },
    Succeeded,
    Failed(ResponseError),
    /// A change of documents that some shards have and others have on no replica.
    PartlyApplied {
        error: ResponseError,
        written: ShardSet,
    },
    Canceled,
}

/// A task fails when a part that concerns the whole index failed anywhere, or when some shard was written by none of
/// its replicas. A replica that stayed behind others does not fail the task: it is reported as stale.
pub fn verdict(task: &MiroirTask) -> Verdict {
    if let Some(open) = still_open(task) {
        return open;
    }
    if let Some(error) = &task.foreseen {
        return Verdict::Failed(error.clone());
    }
    let decisive = decisive_parts(task);
    let failed: Vec<&NodeTask> = decisive.iter().copied().filter(|part| part.state == NodeTaskState::Failed).collect();
    if !failed.is_empty() {
        return failure(task, joined_error(task, &failed));
    }
    if decisive.iter().any(|part| part.state == NodeTaskState::Canceled) {
        return Verdict::Canceled;
    }
    if !decisive.is_empty() {
        return failure(task, lost_error(&decisive));
    }
    Verdict::Succeeded
}

/// The engine carries out a batch as a whole or not at all, and clients rely on it. Where shards fared differently, which only
/// what cannot be foreseen brings about (an embedder that fails, a full disk), the error must say so.
fn failure(task: &MiroirTask, error: ResponseError) -> Verdict {
    let replicas = replicas(task);
    let unwritten = unwritten(&replicas);
    let written: ShardSet = replicas.keys().copied().filter(|shard| !unwritten.contains(*shard)).collect();
    let Some((done, finished_by)) = remedy(task).filter(|_| !unwritten.is_empty() && !written.is_empty()) else {
        return Verdict::Failed(error);
    };
    let others = if missed(task, &written).is_empty() {
        String::new()
    } else {
        format!(", and those in `details.{MISSED}` were not")
    };
    let message = format!(
        "{} The documents of {} of {} shards were {done} all the same{others}; {finished_by}.",
        error.message,
        written.len(),
        replicas.len()
    );
    Verdict::PartlyApplied { error: ResponseError::new(Code::MiroirPartlyApplied, message), written }
}

/// What a change of documents has done where it did, and what does the rest. Additions and deletions can be repeated; what
/// an edit does may depend on how often it was done, and so only the documents that it has missed may see it again.
fn remedy(task: &MiroirTask) -> Option<(&'static str, &'static str)> {
    match task.kind.change_of_documents()? {
        DocumentsChange::Addition => Some(("written", "sending the same documents again finishes the write")),
        DocumentsChange::Deletion => Some(("deleted", "sending the same request again finishes the deletion")),
        DocumentsChange::Edition => {
            Some(("edited", "`POST /tasks/{id}/finish` of the admin API edits the others, and only those"))
        }
    }
}

fn still_open(task: &MiroirTask) -> Option<Verdict> {
    if task.parts.iter().all(|part| part.state.is_final()) {
        return None;
    }
    let started = task.parts.iter().any(|part| match part.state {
        NodeTaskState::Processing | NodeTaskState::Succeeded | NodeTaskState::Failed | NodeTaskState::Canceled => {
            part.purpose == Purpose::Main
        }
        NodeTaskState::Unsent | NodeTaskState::Enqueued | NodeTaskState::Unreachable | NodeTaskState::Lost => false,
    });
    Some(Verdict::Open { started: started || task.status == TaskStatus::Processing })
}

/// The parts whose failing decides the task. Empty: the task has succeeded.
fn decisive_parts(task: &MiroirTask) -> Vec<&NodeTask> {
    let unwritten = unwritten(&replicas(task));
    let mut decisive: Vec<&NodeTask> = sharded_parts(task)
        .filter(|part| part.outcome() != NodeTaskState::Succeeded && part.shards.iter().any(|s| unwritten.contains(s)))
        .collect();
    // Those with shards count as well: a write can bring documents to some nodes and only the primary key to the others.
    let main_succeeded =
        task.parts.iter().any(|part| part.purpose == Purpose::Main && part.outcome() == NodeTaskState::Succeeded);
    for part in whole_parts(task) {
        let decides = match part.outcome() {
            NodeTaskState::Succeeded => false,
            NodeTaskState::Failed | NodeTaskState::Canceled => true,
            // What only prepares the index is compared and repaired before the node serves again, and so is a
            // change that other nodes have carried out.
            NodeTaskState::Lost => part.purpose == Purpose::Main && !main_succeeded,
            NodeTaskState::Unsent
            | NodeTaskState::Enqueued
            | NodeTaskState::Processing
            | NodeTaskState::Unreachable => false,
        };
        if decides {
            decisive.push(part);
        }
    }
    decisive
}

/// One error for the client: the nodes' own where they agree, else each node's with its name. Where a change of the
/// whole index failed on some nodes only, the message says on which.
fn joined_error(task: &MiroirTask, failed: &[&NodeTask]) -> ResponseError {
    let unnamed = || ResponseError::new(Code::Internal, "The node gave no reason.");
    let first = failed[0].error.clone().unwrap_or_else(unnamed);
    // Documents of one node forbid a setting in words of their own, or another primary key, and nodes without documents do not.
    // One node with all of them says what the first says, and what the others did is taken back.
    let as_one = matches!(task.kind, TaskKind::SettingsUpdate | TaskKind::IndexUpdate);
    if as_one && failed[0].purpose == Purpose::Main {
        return first;
    }
    let agree = failed.iter().all(|part| part.error.as_ref() == failed[0].error.as_ref());
    let succeeded_elsewhere = failed.iter().any(|part| part.shards.is_empty())
        && whole_parts(task)
            .any(|part| part.purpose == failed[0].purpose && part.outcome() == NodeTaskState::Succeeded);
    if agree && !succeeded_elsewhere {
        return first;
    }
    if agree {
        return ResponseError { message: format!("{} (On {}.)", first.message, node_names(failed)), ..first };
    }
    let mut messages: Vec<String> = failed
        .iter()
        .map(|part| {
            let error = part.error.clone().unwrap_or_else(unnamed);
            format!("Node `{}`: {}", part.node, error.message)
        })
        .collect();
    messages.sort();
    messages.dedup();
    ResponseError { message: messages.join(" "), ..first }
}

fn lost_error(lost: &[&NodeTask]) -> ResponseError {
    let verb = if distinct_nodes(lost).len() == 1 { "does" } else { "do" };
    ResponseError::new(
        Code::MiroirNodeUnavailable,
        format!(
            "{} {verb} not know this task any more, and no other replica has carried it out.",
            capitalised(&node_names(lost))
        ),
    )
}

fn distinct_nodes<'a>(parts: &[&'a NodeTask]) -> Vec<&'a str> {
    let mut names: Vec<&str> = parts.iter().map(|part| part.node.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// "node `a`" or "nodes `a`, `b`".
fn node_names(parts: &[&NodeTask]) -> String {
    let names: Vec<String> = distinct_nodes(parts).into_iter().map(|name| format!("`{name}`")).collect();
    let noun = if names.len() == 1 { "node" } else { "nodes" };
    format!("{noun} {}", names.join(", "))
}

fn capitalised(text: &str) -> String {
    text.replacen('n', "N", 1)
}
