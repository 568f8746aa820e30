//! Carries out what `crate::rebalance` plans: makes each step durable, publishes it, deletes what is left over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};

use crate::cluster::Cluster;
use crate::ledger::insync;
use crate::ledger::insync::Bookkeeping;
use crate::nodes::settings::{ClusterSettings, OnConfigChange};
use crate::nodes::shutdown::stopped;
use crate::placement::topology::Topology;
use crate::rebalance::step::next;
use crate::rebalance::{Action, Cause, Facts, Layout, PlanState, Waiting};
use crate::replicas::recover;
use crate::store::{Store, StoreError};

use super::error::RebalanceError;
use super::metrics::RebalanceMetrics;
use super::{cleanup, commit, facts, wishes};

/// The fact of the store that holds the layout.
pub(super) const LAYOUT: &str = "layout";
/// How long nothing is looked at after there was nothing to do, or something failed.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
pub(super) const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// The layout, and who moves shards by it.
pub struct Rebalancer {
    /// The durable layout. Held while it changes.
    pub(super) layout: tokio::sync::Mutex<Layout>,
    /// The same, for who only looks.
    pub(super) seen: ArcSwap<Layout>,
    /// Topologies that were replaced. Those that are alive are in the hands of requests.
    pub(super) superseded: Mutex<Vec<Weak<Topology>>>,
    /// Topologies by which something is done for long, and no client reads.
    pub(super) working: Mutex<Vec<Weak<Topology>>>,
    pub(super) waiting: Mutex<Vec<Waiting>>,
    pub(super) wake: Notify,
    pub(super) metrics: RebalanceMetrics,
}

// === impl Rebalancer ===

impl Rebalancer {
    /// Reads the layout, or makes the first one. A configuration that changed since it was last read becomes a plan.
    pub async fn load(
        store: &dyn Store,
        settings: &ClusterSettings,
        prometheus: &prometheus::Registry,
    ) -> Result<Self, RebalanceError> {
        let configured = wishes::goal_of(&settings.placement)?;
        let stored: Option<Layout> = match store.get_meta(LAYOUT).await? {
            None => None,
            Some(text) => {
                Some(serde_json::from_str(&text).map_err(|source| StoreError::Corrupt { what: "layout", source })?)
            }
        };
        // A state that knows of no document has nothing to move: there another configuration is another beginning.
        let is_blank = recover::is_blank(store).await?;
        let mut layout = match stored {
            Some(layout) if !is_blank || layout.configured == configured => layout,
            Some(_) | None => {
                let first = Layout::first(configured.clone(), settings.placement.shards);
                commit::persist(store, &first).await?;
                first
            }
        };
        // Which indexes a replica that was arriving has got is not known for sure after a crash.
        commit::mark_arriving(store, &layout).await?;
        if layout.configured != configured {
            let goal = wishes::keep_drained(configured.clone(), &layout);
            let everybody = Facts { up: layout.nodes.iter().map(|node| node.id.clone()).collect(), ..Facts::default() };
            let changed = if goal == layout.wanted() {
                Ok(layout.clone())
            } else {
                let state = initial_state(settings.rebalance.on_config_change);
                layout.toward(goal, Cause::Configuration, state, &everybody, OffsetDateTime::now_utc())
            };
            match changed {
                Ok(changed) => {
                    layout = Layout { configured, ..changed };
                    commit::persist(store, &layout).await?;
                    tracing::info!(version = layout.version, "the configuration changed; it is the cluster's goal now");
                }
                Err(refusal) => tracing::error!(%refusal, "the changed configuration is no goal; the layout stays"),
            }
        }
        let metrics = RebalanceMetrics::register(prometheus)?;
        metrics.show(&layout, &[]);
        Ok(Self {
            seen: ArcSwap::from_pointee(layout.clone()),
            layout: tokio::sync::Mutex::new(layout),
            superseded: Mutex::default(),
            working: Mutex::default(),
            waiting: Mutex::default(),
            wake: Notify::new(),
            metrics,
        })
    }

    pub fn layout(&self) -> Arc<Layout> {
        self.seen.load_full()
    }

    /// What the plan under way waits for.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.waiting.lock().clone()
    }

    /// Remembers that `topology` has been replaced.
    pub(crate) fn superseded(&self, topology: &Arc<Topology>) {
        let mut superseded = self.superseded.lock();
        superseded.retain(|older| older.strong_count() > 0);
        superseded.push(Arc::downgrade(topology));
    }

    /// A copy of `topology` for work that takes long: steps of the layout wait for it as for a request, but nobody who waits
    /// for reads does.
    pub(crate) fn working_copy(&self, topology: &Topology) -> Arc<Topology> {
        let copy = topology.detached();
        let mut working = self.working.lock();
        working.retain(|older| older.strong_count() > 0);
        working.push(Arc::downgrade(&copy));
        copy
    }

    /// True when no request is under way that sees an older layout than `version`, and no work.
    pub(super) fn quiet(&self, version: u64) -> bool {
        let is_of_now = |topology: &Topology| topology.layout == version;
        all_alive(&self.superseded, is_of_now) && all_alive(&self.working, is_of_now)
    }

    /// True when `holds` of every topology that was replaced and by which a request still goes.
    pub(crate) fn older_requests_all(&self, holds: impl Fn(&Topology) -> bool) -> bool {
        all_alive(&self.superseded, holds)
    }
}

pub(super) fn all_alive(topologies: &Mutex<Vec<Weak<Topology>>>, holds: impl Fn(&Topology) -> bool) -> bool {
    topologies.lock().iter().filter_map(Weak::upgrade).all(|topology| holds(&topology))
}

pub(super) fn initial_state(on_change: OnConfigChange) -> PlanState {
    match on_change {
        OnConfigChange::Start => PlanState::Running,
        OnConfigChange::Plan => PlanState::Paused,
    }
}

/// Moves shards until `shutdown`, one step after the other.
pub async fn run(cluster: Arc<Cluster>, mut shutdown: watch::Receiver<bool>) {
    loop {
        let pause = tokio::select! {
            turn = turn(&cluster) => match turn {
                Ok(true) => Duration::ZERO,
                Ok(false) => PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "a step of the rebalance failed; tried again");
                    PAUSE_AFTER_FAILURE
                }
            },
            _ = stopped(&mut shutdown) => return,
        };
        tokio::select! {
            _ = cluster.rebalancer.wake.notified() => {}
            _ = tokio::time::sleep(pause) => {}
            _ = stopped(&mut shutdown) => return,
        }
    }
}

/// One step; false when there was none to take.
pub(super) async fn turn(cluster: &Arc<Cluster>) -> Result<bool, RebalanceError> {
    let rebalancer = &cluster.rebalancer;
    let mut layout = rebalancer.layout.lock().await;
    if layout.is_at_rest() {
        return Ok(false);
    }
    // No replica becomes stale or in sync between the look at it and what follows from it.
    let bookkeeping: &Bookkeeping = &cluster.bookkeeping;
    let mut held = bookkeeping.hold().await;
    let action = next(&layout, &facts::facts(cluster, &layout));
    match &action {
        Action::Wait(waiting) => {
            rebalancer.metrics.show(&layout, waiting);
            rebalancer.waiting.lock().clone_from(waiting);
            return Ok(false);
        }
        Action::Cleanup { node, shards } => {
            drop(held);
            drop(layout);
            cleanup::clean_up(cluster, node, shards).await?;
            layout = rebalancer.layout.lock().await;
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::commit(cluster, &mut layout, after).await?;
        }
        Action::AddOwners(nodes) => {
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::add_owners(cluster, &mut layout, nodes, after).await?;
        }
        Action::Drop(_) | Action::GiveUp(_) => {
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::drop_owners(cluster, &mut layout, after).await?;
        }
        Action::RemoveNode(node) => {
            insync::leaves(cluster, &mut held, node).await?;
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::commit(cluster, &mut layout, after).await?;
        }
        Action::Announce(_) | Action::Arrived(_) | Action::Finish => {
            let after = layout.after(&action, OffsetDateTime::now_utc());
            commit::commit(cluster, &mut layout, after).await?;
        }
    }
    tracing::info!(version = layout.version, step = %Step(&action), "rebalancing");
    rebalancer.waiting.lock().clear();
    rebalancer.metrics.show(&layout, &[]);
    Ok(true)
}

/// An action as the log shows it.
pub(super) struct Step<'a>(&'a Action);

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
