//! What operators ask of the layout: nodes come and go, moves are planned, shown and steered.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::gateway::reload::Reloaded;
use crate::meili::error::{Code, ResponseError};
use crate::moves::wishes::{self, Preview};
use crate::moves::{RebalanceError, Rebalancer, figures};
use crate::placement::balance::{self, Share};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeId, NodeIx, Topology};
use crate::placement::version::Placement;
use crate::rebalance::layout::ByNode;
use crate::rebalance::{Change, Goal, Layout, Moves, NodePatch, NodeSpec, PlanState};

/// A request about the layout.
pub enum Route<'a> {
    Status,
    Plan,
    AddNode,
    RemoveNode(&'a str),
    DrainNode(&'a str),
    SetNode(&'a str),
    SetCluster,
    Pause,
    Resume,
    Cancel,
    Undo,
}

/// The changes that a plan is asked for: those of the other requests, any of them together.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    add: Vec<NodeSpec>,
    #[serde(default)]
    remove: Vec<NodeId>,
    #[serde(default)]
    drain: Vec<NodeId>,
    #[serde(default)]
    set: std::collections::BTreeMap<String, NodePatch>,
    #[serde(default)]
    replication_factor: Option<u8>,
    #[serde(default)]
    placement: Option<Placement>,
    /// All nodes, instead of changes of them.
    #[serde(default)]
    nodes: Option<Vec<NodeSpec>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClusterPatch {
    #[serde(default)]
    replication_factor: Option<u8>,
    #[serde(default)]
    placement: Option<Placement>,
}

// === impl ClusterPatch ===

impl ClusterPatch {
    fn changes(self) -> Result<Vec<Change>, ResponseError> {
        let changes: Vec<Change> = self
            .replication_factor
            .map(Change::ReplicationFactor)
            .into_iter()
            .chain(self.placement.map(Change::Placement))
            .collect();
        if changes.is_empty() {
            return Err(ResponseError::new(Code::BadRequest, "expected `replicationFactor`, `placement` or both"));
        }
        Ok(changes)
    }
}

// === impl Route ===

impl<'a> Route<'a> {
    /// `None` for what is no route of moves.
    pub fn parse(method: &str, path: &'a str) -> Option<Self> {
        let route = match (method, path) {
            ("GET", "/rebalance") => Self::Status,
            ("POST", "/rebalance/plan") => Self::Plan,
            ("POST", "/rebalance/pause") => Self::Pause,
            ("POST", "/rebalance/resume") => Self::Resume,
            ("POST", "/rebalance/cancel") => Self::Cancel,
            ("POST", "/rebalance/undo") => Self::Undo,
            ("POST", "/nodes") => Self::AddNode,
            ("PATCH", "/cluster") => Self::SetCluster,
            (method, path) => {
                let rest = path.strip_prefix("/nodes/")?;
                let (node, action) = rest.split_once('/').map_or((rest, None), |(node, action)| (node, Some(action)));
                match (method, action) {
                    ("POST", Some("drain")) => Self::DrainNode(node),
                    ("DELETE", None) => Self::RemoveNode(node),
                    ("PATCH", None) => Self::SetNode(node),
                    _ => return None,
                }
            }
        };
        Some(route)
    }
}

/// The state of the plan after the wish, as JSON.
pub async fn answer(rebalancer: &Rebalancer, route: Route<'_>, body: &[u8]) -> Result<Value, ResponseError> {
    let changes = match route {
        Route::Status => return Ok(status(rebalancer).await),
        Route::Plan => {
            let preview = wishes::preview(rebalancer, asked(body)?).await.map_err(|error| error.to_response())?;
            return Ok(plan(rebalancer, &preview).await);
        }
        Route::Pause => return done(rebalancer, wishes::pause(rebalancer).await).await,
        Route::Resume => return done(rebalancer, wishes::resume(rebalancer).await).await,
        Route::Cancel => return done(rebalancer, wishes::cancel(rebalancer).await).await,
        Route::Undo => return done(rebalancer, wishes::undo(rebalancer).await).await,
        Route::AddNode => vec![Change::Add(without_slash(read(body)?))],
        Route::RemoveNode(node) => vec![Change::Remove(NodeId::new(node))],
        Route::DrainNode(node) => vec![Change::Drain(NodeId::new(node))],
        Route::SetNode(node) => vec![Change::Set(NodeId::new(node), read(body)?)],
        Route::SetCluster => read::<ClusterPatch>(body)?.changes()?,
    };
    done(rebalancer, wishes::change(rebalancer, changes).await).await
}

/// What came of reading the configuration again, and the state of the plan after it.
pub async fn reloaded(rebalancer: &Rebalancer, reloaded: &Reloaded) -> Value {
    let mut answer = status(rebalancer).await;
    answer["changed"] = reloaded.goal.into();
    answer["sections"] = json!(reloaded.changed);
    answer["atNextStart"] = json!(reloaded.waiting);
    answer
}

async fn done(rebalancer: &Rebalancer, changed: Result<bool, RebalanceError>) -> Result<Value, ResponseError> {
    let changed = changed.map_err(|error| error.to_response())?;
    let mut answer = status(rebalancer).await;
    answer["changed"] = changed.into();
    Ok(answer)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ResponseError> {
    serde_json::from_slice(body)
        .map_err(|error| ResponseError::new(Code::BadRequest, format!("the body cannot be used: {error}")))
}

fn without_slash(node: NodeSpec) -> NodeSpec {
    NodeSpec { url: node.url.trim_end_matches('/').to_owned(), ..node }
}

fn asked(body: &[u8]) -> Result<Vec<Change>, ResponseError> {
    let asked: Asked = if body.is_empty() { Asked::default() } else { read(body)? };
    let mut changes: Vec<Change> = Vec::new();
    if let Some(nodes) = asked.nodes {
        if asked.replication_factor.is_none() {
            return Err(ResponseError::new(Code::BadRequest, "`nodes` needs `replicationFactor` beside it"));
        }
        changes.push(Change::Nodes(nodes.into_iter().map(without_slash).collect()));
    }
    changes.extend(asked.add.into_iter().map(without_slash).map(Change::Add));
    changes.extend(asked.set.into_iter().map(|(node, patch)| Change::Set(NodeId::new(&node), patch)));
    changes.extend(asked.drain.into_iter().map(Change::Drain));
    changes.extend(asked.remove.into_iter().map(Change::Remove));
    changes.extend(asked.replication_factor.map(Change::ReplicationFactor));
    changes.extend(asked.placement.map(Change::Placement));
    Ok(changes)
}

/// What is under way, how far it is, and what it waits for.
async fn status(rebalancer: &Rebalancer) -> Value {
    let layout = rebalancer.layout();
    let moves = Moves::between(&layout, &layout.target());
    let state = match layout.plan.as_ref().map(|plan| plan.state) {
        None => "idle",
        Some(PlanState::Running) => "running",
        Some(PlanState::Paused) => "paused",
        Some(PlanState::Canceling) => "canceling",
    };
    let waiting: Vec<Value> = rebalancer
        .waiting()
        .iter()
        .map(|waiting| json!({ "code": waiting.code(), "reason": waiting.to_string() }))
        .collect();
    json!({
        "state": state,
        "version": layout.version,
        "cause": layout.plan.as_ref().map(|plan| plan.cause),
        "beganAt": layout.plan.as_ref().and_then(|plan| rfc3339(plan.began_at)),
        "before": layout.plan.as_ref().map(|plan| &plan.before),
        "goal": layout.wanted(),
        "replicas": replicas(&layout, &moves),
        "documents": documents(rebalancer, &layout).await,
        "nodes": nodes(&layout, &moves),
        "waiting": waiting,
        "finished": layout.finished,
    })
}

fn replicas(layout: &Layout, moves: &Moves) -> Value {
    let left = moves.replicas();
    let total = layout.plan.as_ref().map_or(0, |plan| plan.replicas.max(left));
    json!({
        "total": total,
        "done": total - left.min(total),
        "arriving": layout.arriving.values().map(ShardSet::len).sum::<usize>(),
        "left": left,
    })
}

/// Null where there is no plan, or where a node that should be asked does not answer.
async fn documents(rebalancer: &Rebalancer, layout: &Layout) -> Value {
    let Some(plan) = &layout.plan else { return Value::Null };
    let Ok(left) = figures::documents_to_move(rebalancer, layout).await else { return Value::Null };
    let total = plan.documents.max(left);
    let seconds = (OffsetDateTime::now_utc() - plan.began_at).as_seconds_f64();
    let rate = if seconds > 0.0 { (total - left) as f64 / seconds } else { 0.0 };
    let seconds_left = (rate > 0.0).then(|| (left as f64 / rate).ceil());
    json!({
        "total": total,
        "done": total - left,
        "left": left,
        "perSecond": (rate * 10.0).round() / 10.0,
        "secondsLeft": seconds_left,
    })
}

fn nodes(layout: &Layout, moves: &Moves) -> Vec<Value> {
    let count = |sets: &ByNode, node: &NodeId| sets.get(node).map_or(0, ShardSet::len);
    let row = |node: &NodeSpec| {
        json!({
            "id": node.id,
            "drained": node.drained,
            "shards": layout.owned_by(&node.id).len(),
            "toArrive": count(&moves.arrive, &node.id),
            "arriving": count(&layout.arriving, &node.id),
            "toLeave": count(&moves.leave, &node.id),
            "toDelete": count(&layout.residue, &node.id),
        })
    };
    layout.nodes.iter().map(row).collect()
}

/// What a change would move.
async fn plan(rebalancer: &Rebalancer, preview: &Preview) -> Value {
    let volumes = figures::volumes(rebalancer, &preview.layout, &preview.moves).await;
    let volumes = match volumes {
        Ok(volumes) => Some(volumes),
        Err(error) => {
            tracing::warn!(%error, "the documents of a plan could not be counted");
            None
        }
    };
    let total = volumes.as_ref().map(|volumes| {
        let documents: u64 = volumes.values().map(|volume| volume.documents).sum();
        let bytes: u64 = volumes.values().map(|volume| volume.bytes).sum();
        (documents, bytes)
    });
    let rate = figures::rate(&preview.layout);
    let mut rows = Vec::new();
    let (before, after) = (shares(&preview.before, &preview.layout.owners), shares(&preview.goal, &preview.target));
    let known = preview.before.nodes.iter().chain(&preview.goal.nodes);
    let mut seen: Vec<&NodeId> = Vec::new();
    for node in known.map(|node| &node.id) {
        if seen.contains(&node) {
            continue;
        }
        seen.push(node);
        let volume = volumes.as_ref().map(|volumes| volumes.get(node).copied().unwrap_or_default());
        rows.push(json!({
            "id": node,
            "shards": preview.layout.owned_by(node).len(),
            "shardsAfter": preview.target.iter().filter(|owners| owners.contains(node)).count(),
            "arrive": preview.moves.arrive.get(node).map_or(0, ShardSet::len),
            "leave": preview.moves.leave.get(node).map_or(0, ShardSet::len),
            "documents": volume.map(|volume| volume.documents),
            "bytes": volume.map(|volume| volume.bytes),
            "fairShare": before.get(node.as_str()).cloned().unwrap_or_default(),
            "fairShareAfter": after.get(node.as_str()).cloned().unwrap_or_default(),
        }));
    }
    json!({
        "goal": preview.goal,
        "refusal": preview.refusal.as_ref().map(ToString::to_string),
        "replicas": preview.moves.replicas(),
        "replicasInAll": preview.target.iter().map(Vec::len).sum::<usize>(),
        "documents": total.map(|total| total.0),
        "bytes": total.map(|total| total.1),
        "documentsPerSecond": rate,
        "seconds": total.map(|total| (total.0 as f64 / rate).ceil()),
        "nodes": rows,
    })
}

/// How much of its fair share each node holds; 1 is just right.
fn shares(goal: &Goal, owners: &[Vec<NodeId>]) -> Map<String, Value> {
    let nodes: Vec<_> = goal.nodes.iter().filter(|node| !node.drained).map(NodeSpec::to_node).collect();
    let position = |owner: &NodeId| nodes.iter().position(|node| node.id == *owner).map(NodeIx);
    let owners = owners.iter().map(|owners| owners.iter().filter_map(position).collect()).collect::<Vec<_>>();
    let shards = u16::try_from(owners.len()).unwrap_or(u16::MAX);
    let topology = Topology::with_owners(nodes.clone(), shards, goal.replication_factor, owners);
    let ratio = |share: &Share| Value::from((share.ratio() * 100.0).round() / 100.0);
    balance::shares(&topology).iter().map(|share| (nodes[share.node.0].id.to_string(), ratio(share))).collect()
}

fn rfc3339(date: OffsetDateTime) -> Option<String> {
    date.format(&time::format_description::well_known::Rfc3339).ok()
}
