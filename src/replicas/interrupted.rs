//! Writes that the last stop of the gateway interrupted before they were acknowledged. Before a node takes part again, it is
//! asked what it has of them, and one side is chosen for each shard, durably: none stays half done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::ledger::marks::{Marks, Missed};
use crate::ledger::{Ledger, insync};
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::TaskStatus;
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeId;
use crate::store::{Store, StoreError};
use crate::tasks::adopt::adopt;
use crate::tasks::entry::{MiroirTask, NodeTaskState};
use crate::tasks::interrupted::{Course, Remedy, decide, is_interrupted, remedy};
use crate::tracking::Tracking;
use crate::tracking::task_host::TaskHost as _;

/// How long the nodes that are back wait for those that are not, before they are the measure.
const PATIENCE: Duration = Duration::from_secs(5);

/// The interrupted writes that are not decided yet, oldest first.
pub struct Interrupted {
    since: Instant,
    /// Held while nodes are asked and a decision is made.
    writes: tokio::sync::Mutex<Vec<MiroirTask>>,
}

/// Why a node cannot take part yet.
#[derive(Debug, thiserror::Error)]
pub enum InterruptedError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Interrupted ===

impl Interrupted {
    /// Reads what is durable, before anything new is written.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let mut writes = store.unfinished_tasks().await?;
        writes.retain(is_interrupted);
        Ok(Self { since: Instant::now(), writes: tokio::sync::Mutex::new(writes) })
    }

    /// True for as long after a start as nodes wait for others that are about to be asked: a node that does is on its way, and not
    /// stuck.
    pub fn is_patient(&self) -> bool {
        self.since.elapsed() < PATIENCE
    }
}

/// Asks `node` what it has of the interrupted writes, and decides those that can be. True when the node may take part: of
/// none of its shards it is open which side they are on.
pub async fn hear(
    interrupted: &Interrupted,
    tracking: &Arc<Tracking>,
    node: &NodeId,
) -> Result<bool, InterruptedError> {
    let mut writes = interrupted.writes.lock().await;
    let mut open = Vec::new();
    let mut free = true;
    for mut task in std::mem::take(&mut *writes) {
        let result = decide_one(interrupted, tracking, node, &mut task).await;
        match &result {
            Ok(Decision::Made) => continue,
            Ok(Decision::Elsewhere) => {}
            Ok(Decision::Waits) | Err(_) => free = false,
        }
        open.push(task);
        if let Err(error) = result {
            tracing::warn!(%node, %error, "an interrupted write cannot be decided yet");
        }
    }
    *writes = open;
    Ok(free)
}

/// How far an interrupted write is decided.
enum Decision {
    Made,
    /// What is open does not concern the node.
    Elsewhere,
    Waits,
}

async fn decide_one(
    interrupted: &Interrupted,
    tracking: &Arc<Tracking>,
    node: &NodeId,
    task: &mut MiroirTask,
) -> Result<Decision, InterruptedError> {
    match remedy(task.kind) {
        Remedy::Sides => choose_sides(interrupted, tracking, node, task).await,
        Remedy::DeleteAgain => delete_again(&tracking.ledger, task).await,
        Remedy::Repair => Ok(Decision::Elsewhere),
    }
}

async fn choose_sides(
    interrupted: &Interrupted,
    tracking: &Arc<Tracking>,
    node: &NodeId,
    task: &mut MiroirTask,
) -> Result<Decision, InterruptedError> {
    let unasked = |task: &MiroirTask| {
        let open = task.parts.iter().filter(|part| part.state == NodeTaskState::Unsent);
        open.map(|part| part.node.clone()).collect::<BTreeSet<NodeId>>()
    };
    if unasked(task).contains(node) {
        let Some(found) = tracking.find(node, &task.id()).await else {
            return Err(NodeError::new(node, NodeErrorKind::Closed("its tasks cannot be searched".to_owned())).into());
        };
        adopt(task, node, found);
    }
    let topology = tracking.nodes.topology();
    let awaited = unasked(task).iter().any(|other| topology.find(other.as_str()).is_some());
    if awaited && interrupted.is_patient() {
        return Ok(Decision::Waits);
    }
    let decision = decide(task, &topology);
    let index = task.index_uid.clone().unwrap_or_default();
    let stale = decision.stale.into_iter().map(|(node, shards)| (node, index.clone(), shards)).collect();
    insync::mark(&tracking.ledger, &Marks { stale, missed: Vec::new() }).await?;
    if !decision.open.is_empty() {
        let own = topology.find(node.as_str()).map(|ix| topology.shards_of(ix));
        let concerned = |shards: &ShardSet| decision.open.iter().any(|shard| shards.contains(shard));
        return Ok(if own.is_some_and(concerned) { Decision::Waits } else { Decision::Elsewhere });
    }
    tracing::info!(task = %task.id(), course = ?decision.course, "an interrupted write is decided");
    match decision.course {
        // Where it stays in part, the task fails for the shards that lack it; replicas that have it may still differ.
        Course::Forward | Course::Apart => {
            for part in task.parts.iter_mut().filter(|part| part.state == NodeTaskState::Unsent) {
                part.state = NodeTaskState::Lost;
            }
            tracking.ledger.store.update_task(task.clone()).await?;
            tracking.watch(task.clone());
        }
        Course::Back => give_up(&tracking.ledger, task, "It was undone.").await?,
    }
    Ok(Decision::Made)
}

/// The registry has forgotten the index, and so must every node, before it can be created anew.
async fn delete_again(ledger: &Ledger, task: &mut MiroirTask) -> Result<Decision, InterruptedError> {
    let index = task.index_uid.clone().unwrap_or_default();
    if ledger.registry.exists(&index) {
        give_up(ledger, task, "The index is there.").await?;
        return Ok(Decision::Made);
    }
    let missed = Missed { outdated: BTreeSet::from([index]), ..Missed::default() };
    let missed = ledger.nodes.topology().members().map(|node| (node, missed.clone())).collect();
    insync::mark(ledger, &Marks { stale: Vec::new(), missed }).await?;
    end(task, TaskStatus::Succeeded);
    ledger.store.update_task(task.clone()).await?;
    Ok(Decision::Made)
}

async fn give_up(ledger: &Ledger, task: &mut MiroirTask, outcome: &str) -> Result<(), StoreError> {
    end(task, TaskStatus::Failed);
    task.error = Some(ResponseError::new(
        Code::MiroirWriteInterrupted,
        format!("The gateway was stopped before this write was acknowledged. {outcome}"),
    ));
    ledger.store.update_task(task.clone()).await
}

fn end(task: &mut MiroirTask, status: TaskStatus) {
    task.status = status;
    task.started_at.get_or_insert(task.enqueued_at);
    task.finished_at = Some(OffsetDateTime::now_utc().max(task.enqueued_at));
}
