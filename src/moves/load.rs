//! The layout as it was left, and what a configuration that changed since makes of it.

use time::OffsetDateTime;

use super::error::RebalanceError;
use super::{commit, wishes};
use crate::moves::settings::OnConfigChange;
use crate::placement::settings::PlacementSettings;
use crate::rebalance::{Cause, Facts, Layout};
use crate::replicas::recover;
use crate::store::{Store, StoreError};

/// Reads the layout, or makes the first one. A configuration that changed since it was last read becomes a plan.
pub async fn load(
    store: &dyn Store,
    placement: &PlacementSettings,
    on_change: OnConfigChange,
) -> Result<Layout, RebalanceError> {
    let configured = wishes::goal_of(placement)?;
    let stored: Option<Layout> = match store.get_meta(commit::LAYOUT).await? {
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
            let first = Layout::first(configured.clone(), placement.shards);
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
            let state = wishes::initial_state(on_change);
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
    Ok(layout)
}
