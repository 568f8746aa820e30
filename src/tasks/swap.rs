//! Tasks follow their index when it is swapped: what was done to `a` shows under `b` once `a` and `b` have changed
//! places, as the engine shows it.

use super::entry::MiroirTask;
use crate::meili::task::TaskKind;

/// The pairs that a task swaps, in order; none if it is no swap.
pub fn swapped_pairs(task: &MiroirTask) -> Vec<(String, String)> {
    if let Some(pair) = renamed(task) {
        return vec![pair];
    }
    if task.kind != TaskKind::IndexSwap {
        return Vec::new();
    }
    let swaps = task.details.as_ref().and_then(|details| details.get("swaps")).and_then(|swaps| swaps.as_array());
    let pair = |swap: &serde_json::Value| {
        let indexes = swap.get("indexes")?;
        Some((indexes.get(0)?.as_str()?.to_owned(), indexes.get(1)?.as_str()?.to_owned()))
    };
    swaps.into_iter().flatten().filter_map(pair).collect()
}

/// The old and the new name of the index that a task gives another one.
pub fn renamed(task: &MiroirTask) -> Option<(String, String)> {
    if task.kind != TaskKind::IndexUpdate {
        return None;
    }
    let details = task.details.as_ref()?;
    let name = |key: &str| details.get(key)?.as_str().map(str::to_owned);
    name("oldIndexUid").zip(name("newIndexUid")).filter(|(old, new)| old != new)
}

/// Renames the index of a task that came before the swap. True if it has another name now.
pub fn follow_swaps(task: &mut MiroirTask, pairs: &[(String, String)]) -> bool {
    task.index_uid.as_mut().is_some_and(|index| follow_pairs(index, pairs))
}

/// Makes of the name of an index the one that it has after `pairs` were swapped. True if that is another.
pub fn follow_pairs(index: &mut String, pairs: &[(String, String)]) -> bool {
    let before = index.clone();
    for (left, right) in pairs {
        if index == left {
            index.clone_from(right);
        } else if index == right {
            index.clone_from(left);
        }
    }
    *index != before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fold::samples::{T0, task};

    #[test]
    fn pairs_are_read_from_the_details() {
        let mut swap = MiroirTask::new(1, TaskKind::IndexSwap, None, T0);
        swap.details =
            serde_json::json!({ "swaps": [{ "indexes": ["a", "b"] }, { "indexes": ["c", "d"] }] }).as_object().cloned();
        let pair = |left: &str, right: &str| (left.to_owned(), right.to_owned());
        assert_eq!(swapped_pairs(&swap), [pair("a", "b"), pair("c", "d")]);
        swap.kind = TaskKind::SettingsUpdate;
        assert_eq!(swapped_pairs(&swap), []);
        swap.kind = TaskKind::IndexUpdate;
        swap.details =
            serde_json::json!({ "primaryKey": null, "oldIndexUid": "a", "newIndexUid": "c" }).as_object().cloned();
        assert_eq!(swapped_pairs(&swap), [pair("a", "c")]);
        swap.details = serde_json::json!({ "primaryKey": "id" }).as_object().cloned();
        assert_eq!(swapped_pairs(&swap), []);
    }

    #[test]
    fn a_task_follows_its_index_both_ways() {
        let pairs = [("cities".to_owned(), "towns".to_owned())];
        let mut task = task(vec![]);
        assert!(follow_swaps(&mut task, &pairs));
        assert_eq!(task.index_uid.as_deref(), Some("towns"));
        assert!(follow_swaps(&mut task, &pairs));
        assert_eq!(task.index_uid.as_deref(), Some("cities"));
        task.index_uid = Some("other".to_owned());
        assert!(!follow_swaps(&mut task, &pairs));
    }
}
