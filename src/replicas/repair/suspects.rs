//! Indexes of which a failed task leaves open whether they exist and by which key: the nodes are asked.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;

use super::error::RepairError;
use super::index::{IndexView, TASK_LIMIT, documents, done, post};
use crate::nodes::client::{Subrequest, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::lanes::Hold;
use crate::nodes::node_queue::{has_open_tasks, queue_runs_empty};
use crate::placement::topology::{Node, NodeState};
use crate::replicas::part::Replicas;
use crate::store::IndexEntry;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The primary key of an index, as far as its nodes tell.
enum Key {
    Is(Option<String>),
    /// Those who may know better are away.
    Open,
}

/// After a failed task: asks the nodes what they hold of the indexes concerned, and corrects the registry by it. What
/// still has tasks open is left for later.
pub async fn check_suspects(replicas: &Arc<Replicas>) {
    let trace = Trace::background("registry");
    for index in replicas.ledger.registry.suspects() {
        check(replicas, &index, Busy::IsLeft, &trace).await;
    }
}

/// After a primary key that nodes refused: until the others have it no more, or as many are away that nobody can tell. Later
/// documents of the index would be read by the wrong key meanwhile, so they wait while a node works off what it has. Each refused change
/// waits for itself: what an earlier one has looked at may be of before this one. They do so one after the other, and the first that finds
/// the index in order ends all.
pub async fn take_key_back(replicas: Arc<Replicas>, index: String) {
    let trace = Trace::background("take-back");
    let mut pause = FIRST_PAUSE;
    while !check(&replicas, &index, Busy::IsAwaited, &trace).await {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What is done about a node that has open tasks of the index.
#[derive(Clone, Copy)]
enum Busy {
    /// The index stays suspect, and is looked at again later.
    IsLeft,
    /// Writes of the index are held until the node's queue is empty.
    IsAwaited,
}

/// True when `index` is suspect no more.
async fn check(replicas: &Arc<Replicas>, index: &str, busy: Busy, trace: &Trace) -> bool {
    let registry = &replicas.ledger.registry;
    let hold = replicas.writes.order.gates.hold(index).await;
    if !registry.suspects().iter().any(|suspect| suspect == index) {
        return true;
    }
    match look_at(replicas, index, busy, &hold, trace).await {
        Ok(Some(found)) => match registry.correct(replicas.ledger.store.as_ref(), index, found).await {
            Ok(()) => {
                registry.clear_suspect(index);
                return true;
            }
            Err(error) => tracing::error!(%error, index, "the registry could not be corrected"),
        },
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, index, "an index could not be looked at"),
    }
    false
}

/// What the nodes that are up hold of `index`: `None` while that is open, `Some(None)` when none has it.
async fn look_at(
    replicas: &Arc<Replicas>,
    index: &str,
    busy: Busy,
    hold: &Hold,
    trace: &Trace,
) -> Result<Option<Option<IndexEntry>>, RepairError> {
    let topology = replicas.nodes.topology().detached();
    let mut asked = false;
    let mut views = Vec::new();
    for node in topology.nodes.iter().filter(|node| node.state == NodeState::Up) {
        let is_idle = match busy {
            Busy::IsLeft => !has_open_tasks(&replicas.nodes, node, index, trace).await?,
            Busy::IsAwaited => queue_runs_empty(&replicas.nodes, node, index, hold, trace).await?,
        };
        if !is_idle {
            return Ok(None);
        }
        asked = true;
        let held: Option<IndexView> = replicas.nodes.client.get_json(node, &format!("/indexes/{index}"), trace).await?;
        if let Some(held) = held {
            views.push((node, held.primary_key));
        }
    }
    if views.is_empty() {
        return Ok(asked.then_some(None));
    }
    let away = topology.members().any(|ix| topology.node(ix).state != NodeState::Up);
    let Key::Is(primary_key) = right_key(replicas, index, &views, away, trace).await? else { return Ok(None) };
    if let Some(right) = &primary_key {
        for (node, _) in views.iter().filter(|(_, held)| held.as_ref().is_some_and(|held| held != right)) {
            tracing::warn!(node = %node.id, index, right, "a primary key that other nodes refused is taken back");
            let body = json!({"primaryKey": right});
            let request = Subrequest { method: Method::PATCH, ..post(&format!("/indexes/{index}"), &body, replicas) };
            done(replicas.nodes.client.carry_out(node, request, trace, TASK_LIMIT).await?)?;
        }
    }
    let leading = replicas.ledger.registry.entry(index).map(|entry| entry.leading).unwrap_or_default();
    Ok(Some(Some(IndexEntry { uid: index.to_owned(), primary_key, leading })))
}

/// A node without documents takes another primary key, and one with documents refuses it, as one node with all of them would.
/// Example: one film is on node-1 and node-2 and its key is `id`; `PATCH {"primaryKey": "n"}` fails there and is done on node-0,
/// which holds no film. The key is `id`; while node-1 and node-2 are away, nobody can tell. `away`: some node is.
async fn right_key(
    replicas: &Replicas,
    index: &str,
    views: &[(&Node, Option<String>)],
    away: bool,
    trace: &Trace,
) -> Result<Key, NodeError> {
    let mut keys = views.iter().filter_map(|(_, key)| key.as_ref());
    let Some(first) = keys.next() else { return Ok(Key::Is(None)) };
    if !away && keys.all(|key| key == first) {
        return Ok(Key::Is(Some(first.clone())));
    }
    for (node, key) in views {
        if key.is_some() && documents(replicas, node, index, trace).await? > 0 {
            return Ok(Key::Is(key.clone()));
        }
    }
    if away {
        return Ok(Key::Open);
    }
    // Without documents the last change holds, wherever it got to; which that was the registry knows.
    let known = replicas.ledger.registry.entry(index).and_then(|entry| entry.primary_key);
    Ok(Key::Is(known.or_else(|| Some(first.clone()))))
}
