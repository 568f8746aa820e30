//! What operators and configurations ask for.

use std::sync::Arc;

use time::OffsetDateTime;

use super::error::RebalanceError;
use super::part::Rebalancer;
use super::{commit, facts, figures};
use crate::moves::settings::OnConfigChange;
use crate::nodes::transport::Endpoint;
use crate::placement::settings::PlacementSettings;
use crate::placement::topology::NodeId;
use crate::placement::version::Placement;
use crate::rebalance::{Cause, Change, Goal, Layout, Moves, NodeSpec, PlanState, Refusal};

/// What would follow from changes, without making them.
#[derive(Debug, Clone)]
pub struct Preview {
    pub before: Goal,
    pub goal: Goal,
    /// The layout as it is, and the owners as they would be.
    pub layout: Arc<Layout>,
    pub target: Vec<Vec<NodeId>>,
    pub moves: Moves,
    pub refusal: Option<Refusal>,
}

/// The configured cluster as a goal. What the file does not say of placement is as `unsaid`.
pub fn goal_of(settings: &PlacementSettings, unsaid: Placement) -> Result<Goal, RebalanceError> {
    let mut goal = Goal {
        nodes: Vec::new(),
        replication_factor: settings.replication_factor,
        placement: settings.placement.unwrap_or(unsaid),
    };
    for node in &settings.nodes {
        check_url(&node.id, &node.url)?;
        goal.nodes.push(NodeSpec {
            id: NodeId::new(&node.id),
            url: node.url.trim_end_matches('/').to_owned(),
            zone: node.zone.clone(),
            weight: node.weight,
            drained: false,
        });
    }
    Ok(goal)
}

/// What a configuration cannot say (that a node is drained) or does not say (how owners are found) stays as the operator
/// said it.
pub(super) fn keep_unsaid(mut goal: Goal, settings: &PlacementSettings, layout: &Layout) -> Goal {
    let wanted = layout.wanted();
    goal.placement = settings.placement.unwrap_or(wanted.placement);
    for node in &mut goal.nodes {
        node.drained = wanted.find(&node.id).is_some_and(|known| known.drained);
    }
    goal
}

fn check_url(id: &str, url: &str) -> Result<(), RebalanceError> {
    let wrong = |reason| RebalanceError::Url { id: id.to_owned(), url: url.to_owned(), reason };
    Endpoint::parse(url).map(|_| ()).map_err(wrong)
}

fn apply(wanted: Goal, changes: Vec<Change>) -> Result<Goal, RebalanceError> {
    let mut goal = wanted;
    for change in changes {
        goal = goal.with(change)?;
    }
    for node in &goal.nodes {
        check_url(node.id.as_str(), &node.url)?;
    }
    Ok(goal)
}

/// Whether a changed configuration is carried out at once.
pub(super) fn initial_state(on_change: OnConfigChange) -> PlanState {
    match on_change {
        OnConfigChange::Start => PlanState::Running,
        OnConfigChange::Plan => PlanState::Paused,
    }
}

/// What `changes` would move. Without any: what is still to be moved.
pub async fn preview(rebalancer: &Rebalancer, changes: Vec<Change>) -> Result<Preview, RebalanceError> {
    let layout = rebalancer.layout();
    let before = layout.wanted();
    let goal = apply(before.clone(), changes)?;
    let target = goal.assign(layout.shards());
    let moves = Moves::between(&layout, &target);
    let known = facts::facts(rebalancer, &layout);
    let now = OffsetDateTime::now_utc();
    let refusal = layout.toward(goal.clone(), Cause::Operator, PlanState::Running, &known, now).err();
    let refusal = refusal.filter(|refusal| *refusal != Refusal::Nothing);
    Ok(Preview { before, goal, layout, target, moves, refusal })
}

/// Makes `changes` the goal. False when nothing changes by them.
pub async fn change(rebalancer: &Rebalancer, changes: Vec<Change>) -> Result<bool, RebalanceError> {
    aim(rebalancer, Cause::Operator, PlanState::Running, |layout| apply(layout.wanted(), changes)).await
}

/// Back to what the last finished plan left.
pub async fn undo(rebalancer: &Rebalancer) -> Result<bool, RebalanceError> {
    aim(rebalancer, Cause::Undo, PlanState::Running, |layout| Ok(layout.undone()?)).await
}

/// False if the plan is paused already; an error if there is none.
pub async fn pause(rebalancer: &Rebalancer) -> Result<bool, RebalanceError> {
    turn_to(rebalancer, PlanState::Paused).await
}

/// Goes on with a plan that is paused. After a canceled one it begins again, to bring the shards to the nodes there are.
pub async fn resume(rebalancer: &Rebalancer) -> Result<bool, RebalanceError> {
    if rebalancer.layout().plan.is_some() {
        return turn_to(rebalancer, PlanState::Running).await;
    }
    aim(rebalancer, Cause::Operator, PlanState::Running, |layout| Ok(layout.wanted())).await
}

/// False if the plan is being canceled already; an error if there is none.
pub async fn cancel(rebalancer: &Rebalancer) -> Result<bool, RebalanceError> {
    turn_to(rebalancer, PlanState::Canceling).await
}

/// Reads the configuration again; nodes, replication factor and placement become the goal if they
/// changed since the last reading.
pub async fn reload(rebalancer: &Rebalancer) -> Result<bool, RebalanceError> {
    let source = rebalancer.config_source.get().ok_or(RebalanceError::NoConfig)?;
    let settings = source().map_err(RebalanceError::Config)?;
    let stored = rebalancer.layout();
    let configured = goal_of(&settings, stored.configured.placement)?;
    if let Some(shards) = settings.shards.filter(|shards| *shards != stored.shards()) {
        return Err(RebalanceError::Shards { stored: stored.shards(), configured: shards });
    }
    if stored.configured == configured {
        return Ok(false);
    }
    let state = initial_state(rebalancer.settings.get().on_config_change);
    let goal = configured.clone();
    let changed =
        aim(rebalancer, Cause::Configuration, state, |layout| Ok(keep_unsaid(goal, &settings, layout))).await?;
    let mut layout = rebalancer.layout.lock().await;
    let next = Layout { version: layout.version + 1, configured, ..layout.clone() };
    commit::commit(rebalancer, &mut layout, next).await?;
    tracing::info!(changed, "the configuration was read again");
    Ok(changed)
}

async fn aim(
    rebalancer: &Rebalancer,
    cause: Cause,
    state: PlanState,
    goal: impl FnOnce(&Layout) -> Result<Goal, RebalanceError>,
) -> Result<bool, RebalanceError> {
    let mut layout = rebalancer.layout.lock().await;
    let goal = goal(&layout)?;
    let known = facts::facts(rebalancer, &layout);
    let mut next = match layout.toward(goal, cause, state, &known, OffsetDateTime::now_utc()) {
        Err(Refusal::Nothing) => return Ok(false),
        result => result?,
    };
    // Best effort: the plan goes its way without the figure.
    let documents = figures::documents_to_move(rebalancer, &next).await.unwrap_or_default();
    if let Some(plan) = &mut next.plan {
        plan.documents = documents;
    }
    commit::commit(rebalancer, &mut layout, next).await?;
    tracing::info!(version = layout.version, ?cause, documents, "the cluster has a new goal");
    rebalancer.wake.notify_one();
    Ok(true)
}

async fn turn_to(rebalancer: &Rebalancer, state: PlanState) -> Result<bool, RebalanceError> {
    let mut layout = rebalancer.layout.lock().await;
    if layout.plan.as_ref().is_some_and(|plan| plan.state == state) {
        return Ok(false);
    }
    let next = layout.in_state(state)?;
    commit::commit(rebalancer, &mut layout, next).await?;
    tracing::info!(version = layout.version, ?state, "the rebalance changes its state");
    rebalancer.wake.notify_one();
    Ok(true)
}
