//! The rows of tasks that have not ended, known without a look at the disk: before almost every write it is asked whether some
//! of its index are open.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::meili::task::TaskKind;
use crate::tasks::entry::MiroirTask;
use crate::tasks::swap::{follow_pairs, swapped_pairs};

/// Which tasks are open. A task is from before its row is on disk until the row says that it has ended: what is under way is
/// never taken for over.
#[derive(Default)]
pub(super) struct OpenTasks {
    /// Guards the open tasks, by uid.
    tasks: Mutex<HashMap<u32, Open>>,
}

struct Open {
    kind: TaskKind,
    index: Option<String>,
    /// The pairs of indexes that it swaps, or the old and the new name of one.
    moves: Vec<(String, String)>,
}

// === impl OpenTasks ===

impl OpenTasks {
    /// Of a state file's rows.
    pub fn new(unfinished: &[MiroirTask]) -> Self {
        let open = Self::default();
        unfinished.iter().for_each(|task| open.begin(task));
        open
    }

    /// A row is about to be written. One that says from the start how its task ended is none.
    pub fn begin(&self, task: &MiroirTask) {
        if task.status.is_final() {
            return;
        }
        let open = Open { kind: task.kind, index: task.index_uid.clone(), moves: swapped_pairs(task) };
        self.tasks.lock().insert(task.uid, open);
    }

    /// The row says that the task has ended, or there is none.
    pub fn end(&self, uid: u32) {
        self.tasks.lock().remove(&uid);
    }

    /// True until the row says that the task has ended.
    pub fn is_open(&self, uid: u32) -> bool {
        self.tasks.lock().contains_key(&uid)
    }

    /// Tasks older than a swap follow its indexes, as their rows do.
    pub fn follow(&self, swap: u32, pairs: &[(String, String)]) {
        let mut tasks = self.tasks.lock();
        for (_, task) in tasks.iter_mut().filter(|(uid, _)| **uid < swap) {
            if let Some(index) = &mut task.index {
                follow_pairs(index, pairs);
            }
        }
    }

    /// True if a task of `index` is open, of these kinds or of any, or a swap or a new name that names it.
    pub fn has(&self, index: &str, kinds: Option<&[TaskKind]>) -> bool {
        self.tasks.lock().values().any(|task| {
            let is_of = || task.index.as_deref() == Some(index) && kinds.is_none_or(|kinds| kinds.contains(&task.kind));
            is_of() || task.moves.iter().any(|(left, right)| left == index || right == index)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;
    use crate::meili::task::TaskStatus;

    fn task(uid: u32, kind: TaskKind, index: Option<&str>) -> MiroirTask {
        MiroirTask::new(uid, kind, index.map(str::to_owned), OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_task_is_open_until_it_ends() {
        let open = OpenTasks::new(&[task(1, TaskKind::SettingsUpdate, Some("a"))]);
        let settings = [TaskKind::SettingsUpdate];
        assert!(open.has("a", Some(&settings)) && open.has("a", None) && !open.has("b", None));
        open.begin(&task(2, TaskKind::DocumentAdditionOrUpdate, Some("a")));
        open.end(1);
        assert!(open.is_open(2) && !open.is_open(1) && !open.is_open(3));
        assert!(open.has("a", None) && !open.has("a", Some(&settings)));
        open.end(2);
        assert!(!open.has("a", None));
        open.begin(&MiroirTask { status: TaskStatus::Failed, ..task(3, TaskKind::SettingsUpdate, Some("a")) });
        assert!(!open.has("a", None), "one that has failed from the start never was");
    }

    #[test]
    fn a_swap_concerns_its_indexes_and_older_tasks_follow_it() {
        let open = OpenTasks::default();
        let mut swap = task(2, TaskKind::IndexSwap, None);
        swap.details = json!({"swaps": [{"indexes": ["a", "b"]}]}).as_object().cloned();
        for task in [task(1, TaskKind::SettingsUpdate, Some("a")), swap, task(3, TaskKind::SettingsUpdate, Some("c"))] {
            open.begin(&task);
        }
        assert!(open.has("b", Some(&[TaskKind::IndexDeletion])));
        open.follow(2, &[("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())]);
        open.end(2);
        assert!(open.has("b", None) && !open.has("a", None));
        assert!(open.has("c", None) && !open.has("d", None), "what came after the swap stays");
    }
}
