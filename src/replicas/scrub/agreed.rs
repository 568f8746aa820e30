//! The settings that all nodes were last seen to have: what tells who is right when two nodes differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::meili::task::TaskKind;
use crate::store::{StoreError, TaskFilter, TaskPage};

/// The fact of the store that holds [`Agreement`] by index.
const AGREED: &str = "agreed_settings";

/// What changes the settings of an index, or what index a name stands for.
const CHANGES: [TaskKind; 5] = [
    TaskKind::SettingsUpdate,
    TaskKind::IndexCreation,
    TaskKind::IndexUpdate,
    TaskKind::IndexDeletion,
    TaskKind::IndexSwap,
];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Agreement {
    digest: u128,
    /// The newest change before; a later one makes the agreement void.
    after: Option<u32>,
}

/// The digest that all nodes had, unless the settings were changed through Miroir since.
pub(super) async fn last(cluster: &Cluster, index: &str) -> Result<Option<u128>, StoreError> {
    let Some(agreement) = all(cluster).await?.remove(index) else { return Ok(None) };
    let newest = newest_change(cluster, index).await?.map(|change| change.uid);
    Ok((newest <= agreement.after).then_some(agreement.digest))
}

/// All nodes have the settings with this digest. Nothing is remembered while a change is under way.
pub(super) async fn remember(cluster: &Cluster, index: &str, digest: u128) -> Result<(), StoreError> {
    let newest = newest_change(cluster, index).await?;
    if newest.as_ref().is_some_and(|change| !change.ended) {
        return Ok(());
    }
    let mut agreements = all(cluster).await?;
    let agreement = Agreement { digest, after: newest.map(|change| change.uid) };
    if agreements.get(index) == Some(&agreement) {
        return Ok(());
    }
    agreements.insert(index.to_owned(), agreement);
    agreements.retain(|index, _| cluster.registry.exists(index));
    let text = serde_json::to_string(&agreements).expect("digests by name are JSON");
    cluster.store.put_meta(AGREED, text).await
}

async fn all(cluster: &Cluster) -> Result<BTreeMap<String, Agreement>, StoreError> {
    match cluster.store.get_meta(AGREED).await? {
        Some(text) => {
            serde_json::from_str(&text).map_err(|source| StoreError::Corrupt { what: "agreement on settings", source })
        }
        None => Ok(BTreeMap::new()),
    }
}

struct Change {
    uid: u32,
    ended: bool,
}

/// A swap names its indexes in its details only, so any counts.
async fn newest_change(cluster: &Cluster, index: &str) -> Result<Option<Change>, StoreError> {
    let mut newest: Option<Change> = None;
    for kind in CHANGES {
        let index_uids = (kind != TaskKind::IndexSwap).then(|| vec![index.to_owned()]);
        let filter = TaskFilter { kinds: Some(vec![kind]), index_uids, ..TaskFilter::default() };
        let list = cluster.store.list_tasks(TaskPage { filter, limit: 1, ..TaskPage::default() }).await?;
        let change = list.tasks.first().map(|task| Change { uid: task.uid, ended: task.status.is_final() });
        if change.as_ref().map(|change| change.uid) > newest.as_ref().map(|change| change.uid) {
            newest = change;
        }
    }
    Ok(newest)
}
