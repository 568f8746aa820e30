//! Carries out what `crate::rebalance` plans: makes each step durable, publishes it, deletes what is left over.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use super::error::RebalanceError;
use super::part::Rebalancer;
use super::{cleanup, commit, facts};
use crate::ledger::insync;
use crate::nodes::metrics::Loop;
use crate::nodes::shutdown::stopped;
use crate::rebalance::Action;
use crate::rebalance::step::next;

/// How long nothing is looked at after there was nothing to do, or something failed.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
pub(super) const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Moves shards until `shutdown`, one step after the other.
pub async fn run(rebalancer: Arc<Rebalancer>, mut shutdown: watch::Receiver<bool>) {
    loop {
        let pause = tokio::select! {
            turn = turn(&rebalancer) => match turn {
                Ok(true) => Duration::ZERO,
                Ok(false) => PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "a step of the rebalance failed; tried again");
                    PAUSE_AFTER_FAILURE
                }
            },
            _ = stopped(&mut shutdown) => return,
        };
        rebalancer.nodes.metrics.went_round(Loop::Rebalance);
        tokio::select! {
            _ = rebalancer.wake.notified() => {}
            _ = tokio::time::sleep(pause) => {}
            _ = stopped(&mut shutdown) => return,
        }
    }
}

/// One step; false when there was none to take.
async fn turn(rebalancer: &Rebalancer) -> Result<bool, RebalanceError> {
    if rebalancer.layout().is_at_rest() {
        return Ok(false);
    }
    rebalancer.quiet_elsewhere().await;
    let mut layout = rebalancer.layout.lock().await;
    if layout.is_at_rest() {
        return Ok(false);
    }
    // No replica becomes stale or in sync between the look at it and what follows from it.
    let mut held = rebalancer.ledger.bookkeeping.hold().await;
    let action = next(&layout, &facts::facts_held(rebalancer, &held, &layout));
    match &action {
        Action::Wait(waiting) => {
            rebalancer.metrics.show(&layout, waiting);
            rebalancer.waiting.lock().clone_from(waiting);
            return Ok(false);
        }
        Action::Cleanup { node, shards } => {
            drop(held);
            drop(layout);
            cleanup::clean_up(rebalancer, node, shards).await?;
            layout = rebalancer.layout.lock().await;
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::commit(rebalancer, &mut layout, after).await?;
        }
        Action::AddOwners(nodes) => {
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::add_owners(rebalancer, &held, &mut layout, nodes, after).await?;
        }
        Action::Drop(_) | Action::GiveUp(_) => {
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::drop_owners(rebalancer, &held, &mut layout, after).await?;
        }
        Action::RemoveNode(node) => {
            insync::leaves(&rebalancer.ledger, &mut held, node).await?;
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::commit(rebalancer, &mut layout, after).await?;
        }
        Action::Announce(_) | Action::Arrived(_) | Action::Finish => {
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::commit(rebalancer, &mut layout, after).await?;
        }
    }
    tracing::info!(version = layout.version, step = %Step(&action), "rebalancing");
    rebalancer.waiting.lock().clear();
    rebalancer.metrics.show(&layout, &[]);
    Ok(true)
}

/// An action as the log shows it.
struct Step<'a>(&'a Action);

impl std::fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |nodes: &crate::rebalance::layout::ByNode| {
            nodes.iter().map(|(node, shards)| format!("{} to {node}", shards.len())).collect::<Vec<_>>().join(", ")
        };
        match self.0 {
            Action::Announce(nodes) => write!(f, "announced: {}", of(nodes)),
            Action::AddOwners(nodes) => write!(f, "copying: {}", of(nodes)),
            Action::GiveUp(nodes) => write!(f, "given up: {}", of(nodes)),
            Action::Arrived(nodes) => write!(f, "arrived: {}", of(nodes)),
            Action::Drop(shards) => write!(f, "{} shards have their new owners", shards.len()),
            Action::Cleanup { node, shards } => write!(f, "{} shards were deleted on {node}", shards.len()),
            Action::RemoveNode(node) => write!(f, "{node} left the cluster"),
            Action::Finish => f.write_str("finished"),
            Action::Wait(_) => f.write_str("waits"),
        }
    }
}
