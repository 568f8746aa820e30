//! One background poll per unfinished task.
//!
//! Tasks of one index end in the order in which they were enqueued, as an engine's do: whoever has seen the last one end
//! knows that all are over. Example: task 7 is node 1's, task 8 node 2's, which is done first. Task 8 is shown as it was until 7
//! has ended. A swap is of all its indexes, and what names none of all. Two do not wait: one that was canceled, and one before which
//! there are only tasks of nodes that cannot be reached.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore, watch};

use super::poll::{Backoff, poll_parts};
use super::task_host::TaskHost;
use super::task_metrics::TaskMetrics;
use crate::meili::task::TaskStatus;
use crate::store::Store;
use crate::tasks::entry::{MiroirTask, NodeTaskState};
use crate::tasks::filter::TaskRef;
use crate::tasks::fold::fold;
use crate::tasks::swap::swapped_pairs;

/// How many tasks ask their nodes at the same moment. More would not end sooner: nodes work one after the other.
const POLLS_AT_ONCE: usize = 64;

/// The pause before a state that could not be stored is stored again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Polls unfinished tasks, folds what the nodes say, stores it, and knows the freshest state of each.
pub struct Reconciler {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    /// The tasks being polled, by uid.
    live: Mutex<BTreeMap<u32, Live>>,
    polls: Semaphore,
    metrics: TaskMetrics,
}

/// A task being polled.
struct Live {
    task: MiroirTask,
    /// The cancelation that asked for the task's end.
    canceled_by: Option<u32>,
    wake: Arc<Notify>,
    /// Whether those behind it may end.
    passed: Passed,
    /// How many rounds of polling are over; closed when the task has ended.
    rounds: watch::Sender<u64>,
}

/// How far a task is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    Not,
    /// Its end is on its way into the store.
    Yes,
}

// === impl Reconciler ===

impl Reconciler {
    /// Follows nothing yet.
    pub fn new(store: Arc<dyn Store>, prometheus: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let metrics = TaskMetrics::register(prometheus)?;
        let shared = Shared { store, live: Mutex::default(), polls: Semaphore::new(POLLS_AT_ONCE), metrics };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What the following of tasks counts.
    pub fn metrics(&self) -> &TaskMetrics {
        &self.shared.metrics
    }

    /// Starts the poll of a task whose row is stored: `tracking.watch(task)`. A task that has
    /// ended, or that is being polled already, needs none.
    pub fn watch<H: TaskHost>(&self, host: &Arc<H>, task: MiroirTask) {
        if task.status.is_final() {
            return;
        }
        let wake = Arc::new(Notify::new());
        {
            let mut live = self.shared.live.lock();
            if live.contains_key(&task.uid) {
                return;
            }
            let canceled_by = task.canceled_by;
            let entry = Live {
                task: task.clone(),
                canceled_by,
                wake: wake.clone(),
                passed: Passed::Not,
                rounds: watch::Sender::new(0),
            };
            live.insert(task.uid, entry);
            self.shared.metrics.set_live(live.len());
        }
        tokio::spawn(follow(self.shared.clone(), host.clone(), task, wake));
    }

    /// The freshest state of a task that is being polled.
    pub fn live(&self, id: TaskRef) -> Option<MiroirTask> {
        let live = self.shared.live.lock();
        match id {
            TaskRef::Uid(uid) => live.get(&uid).map(|entry| entry.task.clone()),
            TaskRef::Uuid(_) => live.values().find(|entry| id.names(&entry.task)).map(|entry| entry.task.clone()),
        }
    }

    /// The task that was enqueued first of all that are being polled.
    pub fn oldest(&self) -> Option<u32> {
        self.shared.live.lock().keys().next().copied()
    }

    /// The tasks of `index` that are being polled, as far as they are known.
    pub fn live_in(&self, index: &str) -> Vec<MiroirTask> {
        let live = self.shared.live.lock();
        let of_index = live.values().filter(|entry| entry.task.index_uid.as_deref() == Some(index));
        of_index.map(|entry| entry.task.clone()).collect()
    }

    /// How many they are.
    pub fn count_in(&self, index: &str) -> usize {
        let live = self.shared.live.lock();
        live.values().filter(|entry| entry.task.index_uid.as_deref() == Some(index)).count()
    }

    /// Whether one that is not followed yet would have to wait for the end of another.
    pub fn has_to_wait(&self, task: &MiroirTask) -> bool {
        last_before(&self.shared.live.lock(), task).is_some()
    }

    /// Puts fresher states in the place of stored ones.
    pub fn refresh(&self, tasks: &mut [MiroirTask]) {
        let live = self.shared.live.lock();
        for task in tasks {
            if let Some(entry) = live.get(&task.uid) {
                *task = entry.task.clone();
            }
        }
    }

    /// Remembers who asked for the end of a task, should it end canceled. False if it is not being polled.
    pub fn mark_canceled(&self, uid: u32, by: u32) -> bool {
        let mut live = self.shared.live.lock();
        let Some(entry) = live.get_mut(&uid) else { return false };
        entry.canceled_by.get_or_insert(by);
        true
    }

    /// Has the task polled now, and returns when a whole round of it is over, or the task has ended.
    pub async fn poll_now(&self, uid: u32) {
        let Some((wake, mut rounds)) = self.handles(uid) else { return };
        // A round that runs already may have asked before what the caller waits for happened.
        let enough = *rounds.borrow() + 2;
        loop {
            wake.notify_one();
            if *rounds.borrow_and_update() >= enough || rounds.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns when the task is not being polled any more.
    pub async fn ended(&self, uid: u32) {
        let Some((_, mut rounds)) = self.handles(uid) else { return };
        while rounds.changed().await.is_ok() {}
    }

    fn handles(&self, uid: u32) -> Option<(Arc<Notify>, watch::Receiver<u64>)> {
        let live = self.shared.live.lock();
        live.get(&uid).map(|entry| (entry.wake.clone(), entry.rounds.subscribe()))
    }
}

/// Polls until the task has ended.
async fn follow<H: TaskHost>(shared: Arc<Shared>, host: Arc<H>, mut task: MiroirTask, wake: Arc<Notify>) {
    let mut backoff = Backoff::new();
    loop {
        let stored = durable_state(&task);
        {
            let _permit = shared.polls.acquire().await;
            poll_parts(&*host, &mut task, &shared.metrics).await;
        }
        shared.take_marks(&mut task);
        // No node says when it ended.
        if task.parts.is_empty() {
            shared.turn(&task, &wake).await;
        }
        fold(&mut task, OffsetDateTime::now_utc());
        if task.status.is_final() {
            shared.turn(&task, &wake).await;
            shared.take_name(&mut task);
            // Before the row says so: should we crash in between, the task is polled and ends once more, and no
            // replica that stayed behind is forgotten.
            host.clone().ended(&mut task).await;
            shared.pass(task.uid);
            shared.store_end(&task).await;
            shared.metrics.ended(task.status);
            shared.forget(task.uid);
            return;
        }
        if durable_state(&task) != stored {
            shared.store_progress(&task).await;
        }
        shared.publish(&task);
        tokio::select! {
            () = tokio::time::sleep(backoff.step()) => {}
            () = wake.notified() => backoff = Backoff::new(),
        }
    }
}

/// What of a task is worth a write to disk: that a node cannot be reached is not, nor that it works on a part.
fn durable_state(task: &MiroirTask) -> (TaskStatus, Option<u32>, Vec<(Option<u32>, Option<NodeTaskState>)>) {
    let parts =
        task.parts.iter().map(|part| (part.task_uid, Some(part.state).filter(|state| state.is_final()))).collect();
    (task.status, task.canceled_by, parts)
}

/// False where all that is left to do is on nodes that cannot be reached: for how long nobody knows.
fn is_at_work(task: &MiroirTask) -> bool {
    let mut open = task.parts.iter().filter(|part| !part.state.is_final()).peekable();
    open.peek().is_none() || open.any(|part| part.state != NodeTaskState::Unreachable)
}

/// True for tasks that an engine carries out one after the other. One that names no index concerns all.
fn share_an_index(one: &MiroirTask, other: &MiroirTask) -> bool {
    // Of most tasks these are none, and cost nothing.
    let (swapped_by_one, swapped_by_other) = (swapped_pairs(one), swapped_pairs(other));
    let mut ones = indexes(one, &swapped_by_one).peekable();
    let mut others = indexes(other, &swapped_by_other).peekable();
    if ones.peek().is_none() || others.peek().is_none() {
        return true;
    }
    ones.any(|index| indexes(other, &swapped_by_other).any(|other| other == index))
}

fn last_before<'l>(live: &'l BTreeMap<u32, Live>, task: &MiroirTask) -> Option<&'l Live> {
    let mut before = live.range(..task.uid).rev().map(|(_, entry)| entry);
    before.find(|entry| entry.passed == Passed::Not && share_an_index(&entry.task, task) && is_at_work(&entry.task))
}

fn indexes<'t>(task: &'t MiroirTask, swapped: &'t [(String, String)]) -> impl Iterator<Item = &'t str> {
    let swapped = swapped.iter().flat_map(|(left, right)| [left.as_str(), right]);
    task.index_uid.as_deref().into_iter().chain(swapped)
}

// === impl Shared ===

impl Shared {
    /// What others decided about the task while it was being polled.
    fn take_marks(&self, task: &mut MiroirTask) {
        if let Some(entry) = self.live.lock().get(&task.uid) {
            task.canceled_by = entry.canceled_by;
            task.index_uid.clone_from(&entry.task.index_uid);
        }
    }

    /// A swap may have renamed the index meanwhile.
    fn take_name(&self, task: &mut MiroirTask) {
        if let Some(entry) = self.live.lock().get(&task.uid) {
            task.index_uid.clone_from(&entry.task.index_uid);
        }
    }

    /// Returns when no other task has to end before this one.
    async fn turn(&self, task: &MiroirTask, wake: &Notify) {
        if task.status == TaskStatus::Canceled {
            return;
        }
        while let Some(mut before) = self.before(task.uid) {
            tokio::select! {
                // An error: it has ended.
                _ = before.changed() => {}
                // Whoever waits for a round does not wait for the end.
                () = wake.notified() => self.went_round(task.uid),
            }
        }
    }

    /// The rounds of the last task before this one that has to end first. It waits for those before it in its turn.
    fn before(&self, uid: u32) -> Option<watch::Receiver<u64>> {
        let live = self.live.lock();
        last_before(&live, &live.get(&uid)?.task).map(|entry| entry.rounds.subscribe())
    }

    fn pass(&self, uid: u32) {
        if let Some(entry) = self.live.lock().get_mut(&uid) {
            entry.passed = Passed::Yes;
        }
        self.went_round(uid);
    }

    fn went_round(&self, uid: u32) {
        if let Some(entry) = self.live.lock().get(&uid) {
            entry.rounds.send_modify(|rounds| *rounds += 1);
        }
    }

    fn publish(&self, task: &MiroirTask) {
        if let Some(entry) = self.live.lock().get_mut(&task.uid) {
            // A swap may have renamed the index after the marks were taken.
            let index_uid = entry.task.index_uid.clone();
            entry.task = MiroirTask { index_uid, ..task.clone() };
            entry.rounds.send_modify(|rounds| *rounds += 1);
        }
    }

    fn forget(&self, uid: u32) {
        let mut live = self.live.lock();
        live.remove(&uid);
        self.metrics.set_live(live.len());
    }

    async fn store_progress(&self, task: &MiroirTask) {
        if let Err(error) = self.store.update_task(task.clone()).await {
            // The next change stores everything again.
            tracing::error!(task = %task.id(), %error, "state of a task could not be stored");
        }
    }

    /// Does not give up: what the nodes know of the task may be gone when the gateway asks the next time.
    async fn store_end(&self, task: &MiroirTask) {
        let swaps = if task.status == TaskStatus::Succeeded { swapped_pairs(task) } else { Vec::new() };
        while let Err(error) = self.store.finish_task(task.clone(), swaps.clone()).await {
            tracing::error!(task = %task.id(), %error, "end of a task could not be stored, trying again");
            tokio::time::sleep(STORE_RETRY).await;
        }
        if !swaps.is_empty() {
            let mut live = self.live.lock();
            for entry in live.values_mut().filter(|entry| entry.task.uid < task.uid) {
                crate::tasks::swap::follow_swaps(&mut entry.task, &swaps);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::meili::task::TaskKind;

    #[test]
    fn swaps_are_of_all_their_indexes_and_what_names_none_is_of_all() {
        let task = |kind, index: Option<&str>, details: serde_json::Value| MiroirTask {
            details: details.as_object().cloned(),
            ..MiroirTask::new(1, kind, index.map(str::to_owned), OffsetDateTime::UNIX_EPOCH)
        };
        let of = |index: &str| task(TaskKind::DocumentAdditionOrUpdate, Some(index), json!({}));
        let swap =
            task(TaskKind::IndexSwap, None, json!({"swaps": [{"indexes": ["a", "b"]}, {"indexes": ["c", "d"]}]}));
        let names = json!({"oldIndexUid": "a", "newIndexUid": "e"});
        let renaming = task(TaskKind::IndexUpdate, Some("a"), names);
        let rules = task(TaskKind::DsrUpdate, None, json!({}));
        for (one, other, shared) in [
            (of("a"), of("a"), true),
            (of("a"), of("b"), false),
            (swap.clone(), of("d"), true),
            (swap.clone(), of("x"), false),
            (renaming.clone(), of("e"), true),
            (renaming.clone(), swap.clone(), true),
            (renaming, of("b"), false),
            (rules.clone(), of("x"), true),
            (rules, swap, true),
        ] {
            assert_eq!(share_an_index(&one, &other), shared, "{:?} {:?}", one.kind, other.kind);
            assert_eq!(share_an_index(&other, &one), shared, "{:?} {:?}", other.kind, one.kind);
        }
    }
}
