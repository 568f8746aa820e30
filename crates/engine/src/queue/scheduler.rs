//! The one thread that runs tasks: the oldest first, additions to one index together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::Queue;
use super::store::QueueError;
use super::task::{AdditionMethod, Task, TaskContent, TaskEnd};
use crate::engine::Engine;
use crate::error::{Code, ResponseError};
use crate::indexing::{self, IndexOperation, OperationOutcome};

/// How many waiting tasks are looked at, and so the most that run together.
const MAX_BATCH_TASKS: u32 = 500;

/// Bytes of payload after which no further task joins a batch.
const MAX_BATCH_BYTES: u64 = 256 << 20;

/// How long tasks wait that could not be run because their states could not be stored.
const RETRY: Duration = Duration::from_secs(1);

/// What became of a batch.
enum Ended {
    Tasks(Vec<TaskEnd>),
    /// It was told to stop; nothing has changed.
    Stopped,
}

/// Starts the thread. It ends after [`Queue::close`].
pub fn start(queue: Arc<Queue>, engine: Arc<Engine>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("scheduler".to_owned()).spawn(move || run(&queue, &engine))
}

fn run(queue: &Queue, engine: &Engine) {
    let mut broken_off = false;
    loop {
        {
            let mut signals = queue.signals.lock();
            while !signals.work && !signals.closing {
                queue.changed.wait(&mut signals);
            }
            if signals.closing {
                return;
            }
            signals.work = false;
            // A stop that was meant for the last batch must not hit the next.
            queue.must_stop.store(false, Ordering::Release);
        }
        let run = if broken_off { queue.store.resume() } else { Ok(()) };
        match run.and_then(|()| run_next(queue, engine)) {
            Ok(more) => {
                broken_off = false;
                queue.signals.lock().work |= more;
            }
            Err(error) => {
                broken_off = true;
                // A full disk, most likely: nobody says when there is room again.
                tracing::error!(%error, "cannot run tasks; trying again");
                let mut signals = queue.signals.lock();
                signals.work = true;
                if !signals.closing {
                    queue.changed.wait_for(&mut signals, RETRY);
                }
            }
        }
    }
}

/// Runs one batch. False if nothing waits.
fn run_next(queue: &Queue, engine: &Engine) -> Result<bool, QueueError> {
    let batch = next_batch(queue)?;
    let Some(first) = batch.first() else { return Ok(false) };
    let uids: Vec<u32> = batch.iter().map(|task| task.uid).collect();
    {
        let mut signals = queue.signals.lock();
        signals.running = uids.iter().copied().collect();
        signals.running_index = first.index_uid.clone();
    }
    queue.store.begin(&uids)?;
    let outcome = run_batch(queue, engine, &batch);
    {
        let mut signals = queue.signals.lock();
        signals.running.clear();
        signals.running_index = None;
    }
    outcome?;
    // Held, so that no one who looked just before misses the news.
    let _signals = queue.signals.lock();
    queue.changed.notify_all();
    Ok(true)
}

/// The oldest waiting task and those that may run with it. A task of another index is passed over, as order matters
/// within an index only; a swap is not.
fn next_batch(queue: &Queue) -> Result<Vec<Task>, QueueError> {
    let mut waiting = queue.store.waiting(MAX_BATCH_TASKS)?.into_iter();
    let Some(first) = waiting.next() else { return Ok(Vec::new()) };
    let Some(first_operation) = operation(queue, &first.content) else { return Ok(vec![first]) };
    let mut bytes = payload_size(queue, &first);
    let mut batch = vec![first];
    for task in waiting {
        if matches!(task.content, TaskContent::IndexSwap { .. }) {
            break;
        }
        if task.index_uid != batch[0].index_uid {
            continue;
        }
        bytes += payload_size(queue, &task);
        let joins = bytes <= MAX_BATCH_BYTES
            && creates_index(&task.content) == creates_index(&batch[0].content)
            && operation(queue, &task.content).is_some_and(|next| indexing::can_batch(&first_operation, &next));
        if !joins {
            break;
        }
        batch.push(task);
    }
    Ok(batch)
}

fn run_batch(queue: &Queue, engine: &Engine, batch: &[Task]) -> Result<(), QueueError> {
    let first = &batch[0];
    match &first.content {
        TaskContent::TaskCancelation { tasks, .. } => {
            for payload in queue.store.cancel(first, tasks)? {
                queue.payloads.remove(&payload);
            }
            return Ok(());
        }
        TaskContent::TaskDeletion { tasks, .. } => return queue.store.delete(first, tasks),
        TaskContent::DocumentAddition { .. }
        | TaskContent::DocumentDeletion { .. }
        | TaskContent::DocumentDeletionByFilter { .. }
        | TaskContent::DocumentClear
        | TaskContent::DocumentEdition { .. }
        | TaskContent::Settings { .. }
        | TaskContent::IndexCreation { .. }
        | TaskContent::IndexUpdate { .. }
        | TaskContent::IndexDeletion
        | TaskContent::IndexSwap { .. } => {}
    }
    let memory = Memory::before(queue, engine, first)?;
    let ended = catch_unwind(AssertUnwindSafe(|| run_on_indexes(queue, engine, batch, &memory)))
        .unwrap_or_else(|panic| Ended::Tasks(all_failed(batch, &crash(panic.as_ref()))));
    match ended {
        Ended::Stopped => {
            let uids: Vec<u32> = batch.iter().map(|task| task.uid).collect();
            queue.store.put_back(&uids)
        }
        Ended::Tasks(ends) => {
            match (&first.content, ends.as_slice()) {
                (TaskContent::IndexSwap { swaps }, [end]) if end.error.is_none() => {
                    queue.store.finish_swap(end, swaps)?;
                }
                _ => queue.store.finish(&ends)?,
            }
            for payload in batch.iter().filter_map(|task| task.content.payload()) {
                queue.payloads.remove(payload);
            }
            Ok(())
        }
    }
}

/// What an interrupted run of this task left behind: the index's transaction is committed before the task's row says so,
/// and a task that cannot be done twice must know which of the two it meets.
struct Memory {
    /// The task had begun in an earlier run of the node.
    resumed: bool,
    /// The state of its indexes is another than before that run began.
    changed: bool,
}

// === impl Memory ===

impl Memory {
    /// Looks at the state noted before the first attempt, or notes it now.
    fn before(queue: &Queue, engine: &Engine, task: &Task) -> Result<Self, QueueError> {
        let state = match &task.content {
            TaskContent::IndexSwap { swaps } => {
                let names = swaps.iter().flat_map(|(left, right)| [left, right]);
                Some(json!(names.map(|name| created_at(engine, name)).collect::<Vec<_>>()))
            }
            TaskContent::DocumentEdition { .. } => task.index_uid.as_deref().map(|name| updated_at(engine, name)),
            TaskContent::DocumentAddition { .. }
            | TaskContent::DocumentDeletion { .. }
            | TaskContent::DocumentDeletionByFilter { .. }
            | TaskContent::DocumentClear
            | TaskContent::Settings { .. }
            | TaskContent::IndexCreation { .. }
            | TaskContent::IndexUpdate { .. }
            | TaskContent::IndexDeletion
            | TaskContent::TaskCancelation { .. }
            | TaskContent::TaskDeletion { .. } => None,
        };
        let Some(state) = state else { return Ok(Self { resumed: task.resumed, changed: false }) };
        match queue.store.note(task.uid)? {
            Some(noted) if task.resumed => Ok(Self { resumed: true, changed: noted != state }),
            Some(_) | None => {
                queue.store.set_note(task.uid, &state)?;
                Ok(Self { resumed: task.resumed, changed: false })
            }
        }
    }
}

fn run_on_indexes(queue: &Queue, engine: &Engine, batch: &[Task], memory: &Memory) -> Ended {
    let first = &batch[0];
    let index = first.index_uid.as_deref().unwrap_or_default();
    let done = match &first.content {
        TaskContent::IndexCreation { primary_key } => {
            match engine.create(index, primary_key.as_deref()) {
                // The interrupted run had made it.
                Err(error) if memory.resumed && error.is(Code::IndexAlreadyExists) => {
                    engine.update_primary_key(index, primary_key.as_deref())
                }
                other => other,
            }
            .map(|()| first.content.first_details())
        }
        TaskContent::IndexUpdate { primary_key } => {
            engine.update_primary_key(index, primary_key.as_deref()).map(|()| first.content.first_details())
        }
        TaskContent::IndexDeletion => match engine.delete(index) {
            Err(error) if memory.resumed && error.is(Code::IndexNotFound) => Ok(0),
            other => other,
        }
        .map(|documents| first.content.details_with(&[("deletedDocuments", documents)])),
        TaskContent::IndexSwap { swaps } => {
            let swapped = if memory.changed { Ok(()) } else { engine.swap(swaps) };
            swapped.map(|()| first.content.first_details())
        }
        TaskContent::DocumentEdition { .. } if memory.changed => {
            // The function has run; how often it changed a document went with the node that ran it.
            Ok(first.content.first_details())
        }
        TaskContent::DocumentAddition { .. }
        | TaskContent::DocumentDeletion { .. }
        | TaskContent::DocumentDeletionByFilter { .. }
        | TaskContent::DocumentClear
        | TaskContent::DocumentEdition { .. }
        | TaskContent::Settings { .. } => return run_operations(queue, engine, index, batch),
        TaskContent::TaskCancelation { .. } | TaskContent::TaskDeletion { .. } => {
            unreachable!("tasks about tasks never reach the indexes")
        }
    };
    Ended::Tasks(vec![match done {
        Ok(details) => TaskEnd { uid: first.uid, details: Some(details), error: None },
        Err(error) => failed(first, error),
    }])
}

fn run_operations(queue: &Queue, engine: &Engine, index: &str, batch: &[Task]) -> Ended {
    if !creates_index(&batch[0].content) {
        let missing = match engine.exists(index) {
            Ok(true) => None,
            Ok(false) => Some(ResponseError::new(Code::IndexNotFound, format!("Index `{index}` not found."))),
            Err(error) => Some(error),
        };
        if let Some(error) = missing {
            return Ended::Tasks(all_failed(batch, &error));
        }
    }
    let operations: Vec<IndexOperation> = batch.iter().filter_map(|task| operation(queue, &task.content)).collect();
    let must_stop = || queue.must_stop.load(Ordering::Acquire);
    let Some(outcomes) = indexing::apply(engine, index, &operations, &must_stop) else { return Ended::Stopped };
    Ended::Tasks(batch.iter().zip(outcomes).map(|(task, outcome)| end_of(task, outcome)).collect())
}

fn end_of(task: &Task, outcome: OperationOutcome) -> TaskEnd {
    if let Some(error) = outcome.error {
        return failed(task, error);
    }
    let counts = [
        ("indexedDocuments", outcome.indexed_documents),
        ("editedDocuments", outcome.edited_documents),
        ("deletedDocuments", outcome.deleted_documents),
    ];
    let known = task.content.first_details();
    let counts: Vec<(&str, u64)> = counts
        .into_iter()
        .filter(|(name, _)| known.get(*name).is_some())
        .filter_map(|(name, count)| count.map(|count| (name, count)))
        .collect();
    TaskEnd { uid: task.uid, details: Some(task.content.details_with(&counts)), error: None }
}

fn failed(task: &Task, error: ResponseError) -> TaskEnd {
    TaskEnd { uid: task.uid, details: Some(task.content.failed_details()), error: Some(error) }
}

fn all_failed(batch: &[Task], error: &ResponseError) -> Vec<TaskEnd> {
    batch.iter().map(|task| failed(task, error.clone())).collect()
}

fn crash(panic: &(dyn std::any::Any + Send)) -> ResponseError {
    let text = panic
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "Box<dyn Any>".to_owned());
    ResponseError::new(Code::Internal, format!("An unexpected crash occurred when processing the task: {text}"))
}

/// What the task does to the documents or settings of its index, `None` for other tasks.
fn operation(queue: &Queue, content: &TaskContent) -> Option<IndexOperation> {
    match content {
        TaskContent::DocumentAddition { method, primary_key, payload, .. } => Some(IndexOperation::DocumentAddition {
            method: match method {
                AdditionMethod::Replace => indexing::AdditionMethod::Replace,
                AdditionMethod::Update => indexing::AdditionMethod::Update,
            },
            primary_key: primary_key.clone(),
            payload: queue.payloads.path(payload),
        }),
        TaskContent::DocumentDeletion { ids } => Some(IndexOperation::DocumentDeletion { ids: ids.clone() }),
        TaskContent::DocumentDeletionByFilter { filter } => {
            Some(IndexOperation::DocumentDeletionByFilter { filter: filter.clone() })
        }
        TaskContent::DocumentClear => Some(IndexOperation::DocumentClear),
        TaskContent::DocumentEdition { filter, context, function } => Some(IndexOperation::DocumentEdition {
            filter: filter.clone(),
            context: context.clone(),
            function: function.clone(),
        }),
        TaskContent::Settings { settings, .. } => Some(IndexOperation::Settings { settings: settings.clone() }),
        TaskContent::IndexCreation { .. }
        | TaskContent::IndexUpdate { .. }
        | TaskContent::IndexDeletion
        | TaskContent::IndexSwap { .. }
        | TaskContent::TaskCancelation { .. }
        | TaskContent::TaskDeletion { .. } => None,
    }
}

/// True when the task makes its index where there is none.
fn creates_index(content: &TaskContent) -> bool {
    match content {
        TaskContent::DocumentAddition { allow_index_creation, .. } => *allow_index_creation,
        TaskContent::Settings { allow_index_creation, is_deletion, .. } => *allow_index_creation && !is_deletion,
        TaskContent::DocumentDeletion { .. }
        | TaskContent::DocumentDeletionByFilter { .. }
        | TaskContent::DocumentClear
        | TaskContent::DocumentEdition { .. }
        | TaskContent::IndexCreation { .. }
        | TaskContent::IndexUpdate { .. }
        | TaskContent::IndexDeletion
        | TaskContent::IndexSwap { .. }
        | TaskContent::TaskCancelation { .. }
        | TaskContent::TaskDeletion { .. } => false,
    }
}

fn payload_size(queue: &Queue, task: &Task) -> u64 {
    let path = task.content.payload().map(|name| queue.payloads.path(name));
    path.and_then(|path| std::fs::metadata(path).ok()).map_or(0, |data| data.len())
}

fn created_at(engine: &Engine, index: &str) -> Value {
    engine.view(index).map_or(Value::Null, |view| json!(view.created_at.unix_timestamp_nanos().to_string()))
}

fn updated_at(engine: &Engine, index: &str) -> Value {
    engine.view(index).map_or(Value::Null, |view| json!(view.updated_at.unix_timestamp_nanos().to_string()))
}
