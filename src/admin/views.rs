//! The cluster as operators see it, as JSON.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::gateway::App;
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::Trace;
use crate::nodes::error::store_failed;
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::Topology;
use crate::placement::version::Placement;
use crate::replicas::repair;
use crate::replicas::resilver::progress::Progress;
use crate::tasks::entry::NodeTask;
use crate::tasks::query::parse_id;
use crate::tasks::replicas::{replicas, sharded_parts, unwritten};
use crate::tasks::view::{UidFormat, summary_view, task_view};
use crate::write::documents;

/// 200 when every shard has a serving replica, and what is known of that is good.
pub fn ready(app: &App, topology: &Topology) -> (u16, Value) {
    let follower = app.following().and_then(|following| following.follower());
    if follower.is_some_and(|follower| !follower.is_leased()) {
        return (503, json!({ "ready": false, "reason": "the gateway that leads is not heard of" }));
    }
    if app.following().is_some_and(|following| !following.is_named()) {
        return (503, json!({ "ready": false, "reason": "the gateway that leads has not noted this one yet" }));
    }
    let serves = |shard: &ShardId| {
        topology.owners_of(*shard).iter().any(|owner| {
            let stale = topology.stale.iter().any(|((node, _), shards)| node == owner && shards.contains(*shard));
            topology.node(*owner).state.serves_reads() && !stale
        })
    };
    let missing: ShardSet = (0..topology.shards).map(ShardId).filter(|shard| !serves(shard)).collect();
    if missing.is_empty() {
        return (200, json!({ "ready": true }));
    }
    let reason = format!("{} of {} shards have no serving replica", missing.len(), topology.shards);
    (503, json!({ "ready": false, "reason": reason }))
}

/// This process: its version, for how long it has run, its rules in order, and what of its file waits for the next start.
pub fn gateway(app: &App, up: Duration) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "secondsUp": up.as_secs(),
        "rules": *app.ruling.names(),
        "atNextStart": app.reloads.waiting(),
    })
}

/// As `GET /topology` shows it.
pub fn topology(cluster: &Cluster, topology: &Topology) -> Value {
    let nodes: Vec<Value> = topology
        .members()
        .map(|ix| {
            let node = topology.node(ix);
            json!({
                "id": node.id,
                "url": node.url,
                "zone": node.zone,
                "weight": node.weight,
                "state": node.state,
                "refused": cluster.replicas.identities.refusal(&node.id).map(|refusal| refusal.to_string()),
                "shards": topology.shards_of(ix).len(),
                "repairs": repair::view(&cluster.replicas, topology, ix),
                "residue": topology.residue.get(&ix).map_or(0, ShardSet::len),
            })
        })
        .collect();
    json!({
        "epoch": topology.epoch,
        "cluster": cluster.replicas.identities.cluster(),
        "layout": topology.layout,
        "shards": topology.shards,
        "placement": cluster.moves.layout().wanted().placement,
        "replicationFactor": topology.replication_factor,
        "nodes": nodes,
        "takeBacks": cluster.ledger.refusals.view(),
    })
}

/// For each shard its owners, and which of them have missed a write of which index. `placement` is how owners are found.
pub fn shards(topology: &Topology, placement: Placement) -> Value {
    let rows: Vec<Value> = (0..topology.shards)
        .map(ShardId)
        .map(|shard| {
            let owners: Vec<&str> = topology.owners_of(shard).iter().map(|ix| topology.node(*ix).id.as_str()).collect();
            let stale: Vec<Value> = topology
                .stale
                .iter()
                .filter(|(_, shards)| shards.contains(shard))
                .map(|((node, index), _)| json!({ "node": topology.node(*node).id, "index": index }))
                .collect();
            json!({ "shard": shard, "owners": owners, "stale": stale })
        })
        .collect();
    json!({ "epoch": topology.epoch, "placement": placement, "shards": rows })
}

/// The copies to stale replicas: those under way, and those that stopped short and are tried again.
pub fn resilver(cluster: &Cluster) -> Value {
    let topology = cluster.nodes.topology();
    let rfc3339 = |at: time::OffsetDateTime| at.format(&time::format_description::well_known::Rfc3339).ok();
    let running = |progress: Progress| {
        json!({
            "node": progress.node,
            "index": progress.index,
            "phase": progress.phase.as_str(),
            "shards": progress.shards,
            "pass": progress.passes,
            "documents": progress.total,
            "documentsDone": progress.done,
            "copied": progress.copied,
            "deleted": progress.deleted,
            "bytes": progress.bytes,
            "documentsPerSecond": progress.rate(),
            "secondsLeft": progress.time_left().map(|left| left.as_secs_f64()),
            "since": rfc3339(progress.since),
        })
    };
    let running: Vec<Value> = cluster.replicas.copies.running().into_iter().map(running).collect();
    let failed: Vec<Value> = cluster
        .replicas
        .copies
        .failures()
        .into_iter()
        .map(|((node, index), failure)| {
            json!({
                "node": topology.node(node).id,
                "index": index,
                "reason": failure.reason,
                "message": failure.message,
                "attempts": failure.attempts,
                "at": rfc3339(failure.at),
            })
        })
        .collect();
    let stale: Vec<Value> = topology
        .stale
        .iter()
        .map(|((node, index), shards)| {
            json!({ "node": topology.node(*node).id, "index": index, "shards": shards.len() })
        })
        .collect();
    json!({ "running": running, "failed": failed, "stale": stale })
}

/// A task with each node's part.
pub async fn task(cluster: &Arc<Cluster>, id: &str) -> Result<Value, ResponseError> {
    let id = parse_id(id)?;
    let task = match cluster.tracking.reconciler.live(id) {
        Some(task) => Some(task),
        None => cluster.ledger.store.get_task(id).await.map_err(|error| store_failed(&error))?,
    };
    let task = task.ok_or_else(|| ResponseError::new(Code::TaskNotFound, "no such task"))?;
    let mut view = task_view(&task, UidFormat::Mtask);
    view["alias"] = task.uid.into();
    view["acknowledged"] = task.acknowledged.into();
    view["nodes"] = task.parts.iter().map(part).collect();
    if task.status.is_final() && sharded_parts(&task).next().is_some() {
        let replicas = replicas(&task);
        let missed = unwritten(&replicas);
        let applied: ShardSet = replicas.keys().copied().filter(|shard| !missed.contains(*shard)).collect();
        view["shards"] = json!({ "applied": applied, "missed": missed });
    }
    Ok(view)
}

/// Sends the rest of a task that ended in part; the task of that.
pub async fn finish(cluster: &Arc<Cluster>, id: &str) -> Result<Value, ResponseError> {
    let task = documents::finish(&cluster.writes, parse_id(id)?, &Trace::new("finish")).await?;
    Ok(summary_view(&task, UidFormat::Mtask))
}

fn part(part: &NodeTask) -> Value {
    json!({
        "node": part.node,
        "purpose": part.purpose,
        "state": part.state,
        "taskUid": part.task_uid,
        "shards": part.shards,
        "error": part.error,
    })
}
