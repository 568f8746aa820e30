//! Indexes of which a failed task leaves open whether they exist: the nodes are asked.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use super::error::RepairError;
use super::index::{IndexView, TASK_LIMIT, documents, done, post};
use crate::nodes::client::{Subrequest, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::node_queue::has_open_tasks;
use crate::placement::topology::{Node, NodeState};
use crate::replicas::part::Replicas;
use crate::store::IndexEntry;

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
        let _hold = replicas.writes.order.gates.hold(&index).await;
        match look_at(replicas, &index, &trace).await {
            Ok(Some(found)) => {
                if let Err(error) =
                    replicas.ledger.registry.correct(replicas.ledger.store.as_ref(), &index, found).await
                {
                    tracing::error!(%error, index, "the registry could not be corrected");
                    continue;
                }
                replicas.ledger.registry.clear_suspect(&index);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, index, "an index could not be looked at"),
        }
    }
}

/// What the nodes that are up hold of `index`: `None` while that is open, `Some(None)` when none has it.
async fn look_at(
    replicas: &Arc<Replicas>,
    index: &str,
    trace: &Trace,
) -> Result<Option<Option<IndexEntry>>, RepairError> {
    let topology = replicas.nodes.topology().detached();
    let mut asked = false;
    let mut views = Vec::new();
    for node in topology.nodes.iter().filter(|node| node.state == NodeState::Up) {
        if has_open_tasks(&replicas.nodes, node, index, trace).await? {
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
