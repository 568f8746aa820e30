//! The layout as it was left, and what a configuration that changed since makes of it.

use time::OffsetDateTime;

use super::error::RebalanceError;
use super::{commit, wishes};
use crate::moves::settings::OnConfigChange;
use crate::placement::settings::PlacementSettings;
use crate::placement::version::Placement;
use crate::rebalance::{Cause, Facts, Layout};
use crate::replicas::recover;
use crate::store::{self, Store, StoreError};

/// Reads the layout, or makes the first one. A configuration that changed since it was last read becomes a plan.
pub async fn load(
    store: &dyn Store,
    settings: &PlacementSettings,
    on_change: OnConfigChange,
) -> Result<Layout, RebalanceError> {
    let stored: Option<Layout> = match store.get_meta(commit::LAYOUT).await? {
        None => None,
        Some(text) => {
            Some(serde_json::from_str(&text).map_err(|source| StoreError::Corrupt { what: "layout", source })?)
        }
    };
    let unsaid = stored.as_ref().map_or(Placement::NEW, |layout| layout.configured.placement);
    let configured = wishes::goal_of(settings, unsaid)?;
    // A state that knows of no document has nothing to move: there another configuration is another beginning.
    let is_blank = recover::is_blank(store).await?;
    let mut layout = match stored {
        Some(layout) if !is_blank || layout.configured == configured => layout,
        Some(_) | None => {
            let first = Layout::first(wishes::goal_of(settings, Placement::NEW)?, store::shards(store).await?);
            commit::persist(store, &first).await?;
            first
        }
    };
    // Which indexes a replica that was arriving has got is not known for sure after a crash.
    commit::mark_arriving(store, &layout).await?;
    if layout.configured != configured {
        let goal = wishes::keep_unsaid(configured.clone(), settings, &layout);
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::placement::settings::NodeSettings;
    use crate::placement::topology::NodeId;
    use crate::rebalance::{Goal, PlanState};
    use crate::store::IndexEntry;
    use crate::store::sqlite::SqliteStore;

    fn settings(shards: Option<u16>, placement: Option<Placement>) -> PlacementSettings {
        let node =
            |id: &str| NodeSettings { id: id.to_owned(), url: format!("http://{id}:7700"), zone: None, weight: 1.0 };
        PlacementSettings { shards, placement, replication_factor: 2, nodes: ["a", "b", "c"].map(node).into() }
    }

    async fn loaded(store: &SqliteStore, settings: &PlacementSettings) -> Layout {
        load(store, settings, OnConfigChange::Start).await.expect("a layout")
    }

    /// A state of 256 shards as it was written before there was a second version of placement, with an index.
    async fn old_state() -> (SqliteStore, Value) {
        let store = SqliteStore::open(":memory:", 256).expect("a store");
        store
            .put_index(IndexEntry { uid: "i".to_owned(), primary_key: None, leading: Vec::new() })
            .await
            .expect("an index");
        let goal = wishes::goal_of(&settings(None, None), Placement::Rendezvous).expect("a goal");
        let mut old = serde_json::to_value(Layout::first(goal, 256)).expect("JSON");
        let fields = old.as_object_mut().expect("an object");
        assert!(fields.remove("placement").is_some());
        assert!(fields["configured"].as_object_mut().and_then(|goal| goal.remove("placement")).is_some());
        store.put_meta(commit::LAYOUT, old.to_string()).await.expect("a row");
        (store, old)
    }

    #[tokio::test]
    async fn an_old_state_goes_on_as_it_is_where_the_file_names_nothing() {
        let (store, old) = old_state().await;
        for named in [None, Some(256)] {
            let layout = loaded(&store, &settings(named, None)).await;
            assert_eq!((layout.shards(), layout.placement, &layout.plan), (256, Placement::Rendezvous, &None));
            assert_eq!(json!(layout.owners), old["owners"]);
            assert_eq!(layout.version, 1, "nothing was written");
        }
    }

    #[tokio::test]
    async fn an_old_state_goes_to_the_new_placement_and_back_where_the_file_names_it() {
        let (store, _) = old_state().await;
        let layout = loaded(&store, &settings(None, Some(Placement::Bounded))).await;
        let plan = layout.plan.as_ref().expect("a plan");
        assert_eq!((plan.before.placement, plan.goal.placement), (Placement::Rendezvous, Placement::Bounded));
        assert_eq!((plan.state, layout.placement), (PlanState::Running, Placement::Rendezvous));
        assert!((1..60).contains(&plan.replicas), "{} of 512 replicas move", plan.replicas);
        // A file that names it no more wishes nothing; one that names the old one does.
        let again = loaded(&store, &settings(Some(256), None)).await;
        assert_eq!((again.version, again.wanted().placement), (layout.version, Placement::Bounded));
        let back = loaded(&store, &settings(None, Some(Placement::Rendezvous))).await;
        assert_eq!(back.plan.map(|plan| (plan.goal.placement, plan.replicas)), Some((Placement::Rendezvous, 0)));
    }

    #[tokio::test]
    async fn a_new_state_has_few_shards_and_bounds() {
        let store = SqliteStore::open(":memory:", None).expect("a store");
        let layout = loaded(&store, &settings(None, None)).await;
        assert_eq!((layout.shards(), layout.placement), (64, Placement::Bounded));
        for node in ["a", "b", "c"] {
            assert!((42..=43).contains(&layout.owned_by(&NodeId::new(node)).len()));
        }
        let other = SqliteStore::open(":memory:", 256).expect("a store");
        let named = loaded(&other, &settings(Some(256), Some(Placement::Rendezvous))).await;
        let goal = Goal { placement: Placement::Rendezvous, ..layout.wanted() };
        assert_eq!(named.owners, goal.assign(256));
    }
}
