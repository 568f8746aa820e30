//! Operations of tasks applied to an index, each batch in one write transaction.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use bumpalo::Bump;
use memmap2::Mmap;
use milli::documents::PrimaryKey;
use milli::heed::RwTxn;
use milli::progress::Progress;
use milli::update::GrenadParameters;
use milli::update::new::indexer::{self, UpdateByFunction};
use milli::{Filter, InternalError, ThreadPoolNoAbort};
use milli_core as milli;
use roaring::RoaringBitmap;
use serde_json::{Map, Value};

use super::engine::{Engine, IndexHandle};
use super::failure::in_task;
use super::{settings, unsafe_open};
use crate::error::{Code, ResponseError};

/// How a document meets one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdditionMethod {
    /// `POST`: the new document replaces the old one.
    Replace,
    /// `PUT`: the new document's fields are laid over the old one's.
    Update,
}

/// What one task does to an index.
#[derive(Debug, Clone)]
pub enum IndexOperation {
    /// `payload` is an NDJSON file (one object a line); it must stay in place until `apply` is back.
    DocumentAddition {
        method: AdditionMethod,
        primary_key: Option<String>,
        payload: PathBuf,
    },
    /// Ids as text: integer 1 and "1" are both "1".
    DocumentDeletion {
        ids: Vec<String>,
    },
    DocumentDeletionByFilter {
        filter: Value,
    },
    DocumentClear,
    DocumentEdition {
        filter: Option<Value>,
        context: Option<Map<String, Value>>,
        function: String,
    },
    /// `settings` is what `settings::parse_update` or `settings::reset` gave (JSON, safe to store with the task).
    Settings {
        settings: Value,
    },
}

/// What came of one operation; counts are for the task's details.
#[derive(Debug, Clone, Default)]
pub struct OperationOutcome {
    pub indexed_documents: Option<u64>,
    pub deleted_documents: Option<u64>,
    pub edited_documents: Option<u64>,
    pub error: Option<ResponseError>,
}

/// Asked now and then while a batch is applied; true cancels it.
pub type MustStop<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// Why a batch was not committed.
enum Broken {
    /// It was cancelled.
    Stopped,
    /// All its operations fail with this.
    Failed(ResponseError),
}

/// Applies `operations` in order to the index `uid` and answers one outcome for each.
///
/// A batch is committed as a whole: several operations are allowed only where `can_batch` lets each join the first. An
/// operation's own mistake (a bad id) is its outcome's error and leaves the others alone. The index is created when
/// absent for additions and settings; for the others an absent index is `index_not_found` in the outcome. `must_stop`
/// cancels: nothing is committed then and the answer is `None`.
pub fn apply(
    engine: &Engine,
    uid: &str,
    operations: &[IndexOperation],
    must_stop: MustStop<'_>,
) -> Option<Vec<OperationOutcome>> {
    let caught = catch_unwind(AssertUnwindSafe(|| run(engine, uid, operations, must_stop)));
    match caught.unwrap_or_else(|panic| Err(Broken::Failed(crashed(panic.as_ref())))) {
        Ok(outcomes) => Some(outcomes),
        Err(Broken::Stopped) => None,
        Err(Broken::Failed(error)) => {
            let failed = |operation: &IndexOperation| OperationOutcome {
                error: Some(error.clone()),
                ..operation.nothing_done()
            };
            Some(operations.iter().map(failed).collect())
        }
    }
}

/// True when `next` may join a batch that starts with `first`.
pub fn can_batch(first: &IndexOperation, next: &IndexOperation) -> bool {
    use IndexOperation::{DocumentAddition, DocumentDeletion};
    match (first, next) {
        (DocumentAddition { primary_key: first, .. }, DocumentAddition { primary_key: next, .. }) => first == next,
        (DocumentDeletion { .. }, DocumentDeletion { .. }) => true,
        _other_pairs => false,
    }
}

fn run(
    engine: &Engine,
    uid: &str,
    operations: &[IndexOperation],
    must_stop: MustStop<'_>,
) -> Result<Vec<OperationOutcome>, Broken> {
    let Some(first) = operations.first() else { return Ok(Vec::new()) };
    let handle = if first.creates_index() { engine.get_or_create(uid)? } else { engine.index(uid)? };
    let mut txn = handle.index.write_txn().map_err(ResponseError::from)?;
    let outcomes = match first {
        IndexOperation::DocumentAddition { .. } => add(&handle, &mut txn, operations, must_stop)?,
        IndexOperation::DocumentDeletion { .. } => delete_ids(&handle, &mut txn, operations, must_stop)?,
        IndexOperation::DocumentDeletionByFilter { filter } => {
            vec![delete_by_filter(&handle, &mut txn, filter, must_stop)?]
        }
        IndexOperation::DocumentClear => vec![clear(&handle, &mut txn)?],
        IndexOperation::DocumentEdition { filter, context, function } => {
            vec![edit(&handle, &mut txn, filter.as_ref(), context.clone(), function, must_stop)?]
        }
        IndexOperation::Settings { settings } => {
            let mut builder = milli::update::Settings::new(&mut txn, &handle.index, &handle.shared.config);
            settings::apply(settings, &mut builder)?;
            builder.execute(|_| (), must_stop).map_err(|error| broken(error, uid))?;
            vec![OperationOutcome::default()]
        }
    };
    txn.commit().map_err(ResponseError::from)?;
    Ok(outcomes)
}

fn add<'i>(
    handle: &'i IndexHandle,
    txn: &mut RwTxn<'i>,
    operations: &[IndexOperation],
    must_stop: MustStop<'_>,
) -> Result<Vec<OperationOutcome>, Broken> {
    let mut given_key = None;
    let mut payloads: Vec<(AdditionMethod, Option<Mmap>)> = Vec::new();
    for operation in operations {
        if let IndexOperation::DocumentAddition { method, primary_key, payload } = operation {
            given_key = primary_key.as_deref();
            // A file of no bytes cannot be mapped, and holds no document.
            let empty = std::fs::metadata(payload).map_err(ResponseError::from)?.len() == 0;
            let mapped = if empty { None } else { Some(unsafe_open::payload(payload).map_err(ResponseError::from)?) };
            payloads.push((*method, mapped));
        }
    }

    let alloc = Bump::new();
    let mut batch = indexer::DocumentOperation::new();
    let mut joined = Vec::new();
    for (method, payload) in &payloads {
        joined.push(payload.is_some());
        let Some(payload) = payload else { continue };
        match method {
            AdditionMethod::Replace => batch.replace_documents(payload),
            AdditionMethod::Update => batch.update_documents(payload),
        }
        .map_err(|error| broken(error, &handle.uid))?;
    }

    let stats = index_operations(handle, txn, batch, &alloc, given_key, must_stop)?;
    if payloads.iter().all(|(_, payload)| payload.is_none()) {
        set_given_key(handle, txn, given_key)?;
    }
    let mut stats = stats.into_iter();
    Ok(joined
        .into_iter()
        .map(|joined| {
            let own = if joined { stats.next() } else { None };
            match own {
                Some((count, error)) => {
                    OperationOutcome { indexed_documents: Some(count), error, ..OperationOutcome::default() }
                }
                None => OperationOutcome { indexed_documents: Some(0), ..OperationOutcome::default() },
            }
        })
        .collect())
}

/// As in the engine, additions without a document give an index that has no primary key the one they name.
fn set_given_key<'i>(handle: &'i IndexHandle, txn: &mut RwTxn<'i>, given_key: Option<&str>) -> Result<(), Broken> {
    let Some(key) = given_key else { return Ok(()) };
    if handle.index.primary_key(txn).map_err(ResponseError::from)?.is_some() {
        return Ok(());
    }
    let mut builder = milli::update::Settings::new(txn, &handle.index, &handle.shared.config);
    builder.set_primary_key(key.to_owned());
    builder.execute(|_| (), || false).map_err(|error| broken(error, &handle.uid))
}

fn delete_ids(
    handle: &IndexHandle,
    txn: &mut RwTxn<'_>,
    operations: &[IndexOperation],
    must_stop: MustStop<'_>,
) -> Result<Vec<OperationOutcome>, Broken> {
    let known = handle.index.external_documents_ids();
    let mut doomed = RoaringBitmap::new();
    let mut outcomes = Vec::new();
    for operation in operations {
        let before = doomed.len();
        if let IndexOperation::DocumentDeletion { ids } = operation {
            for id in ids {
                if let Some(internal) = known.get(txn, id).map_err(ResponseError::from)? {
                    doomed.insert(internal);
                }
            }
        }
        let deleted = doomed.len() - before;
        outcomes.push(OperationOutcome { deleted_documents: Some(deleted), ..OperationOutcome::default() });
    }
    delete_internal(handle, txn, doomed, must_stop)?;
    Ok(outcomes)
}

fn delete_by_filter(
    handle: &IndexHandle,
    txn: &mut RwTxn<'_>,
    filter: &Value,
    must_stop: MustStop<'_>,
) -> Result<OperationOutcome, Broken> {
    let doomed = match Filter::from_json(filter) {
        Ok(None) => Ok(RoaringBitmap::new()),
        Ok(Some(filter)) => filter.evaluate(txn, &handle.index),
        Err(error) => Err(error),
    };
    let doomed = doomed.map_err(|error| broken(error, &handle.uid))?;
    let deleted = doomed.len();
    delete_internal(handle, txn, doomed, must_stop)?;
    Ok(OperationOutcome { deleted_documents: Some(deleted), ..OperationOutcome::default() })
}

fn clear<'i>(handle: &'i IndexHandle, txn: &mut RwTxn<'i>) -> Result<OperationOutcome, Broken> {
    let deleted = milli::update::ClearDocuments::new(txn, &handle.index).execute();
    let deleted = deleted.map_err(|error| broken(error, &handle.uid))?;
    Ok(OperationOutcome { deleted_documents: Some(deleted), ..OperationOutcome::default() })
}

fn edit(
    handle: &IndexHandle,
    txn: &mut RwTxn<'_>,
    filter: Option<&Value>,
    context: Option<Map<String, Value>>,
    function: &str,
    must_stop: MustStop<'_>,
) -> Result<OperationOutcome, Broken> {
    let index = &handle.index;
    let name = |error| broken(error, &handle.uid);
    let candidates = match filter.map(Filter::from_json).transpose().map_err(name)?.flatten() {
        Some(filter) => filter.evaluate(txn, index).map_err(name)?,
        None => index.documents_ids(txn).map_err(ResponseError::from)?,
    };
    // The engine counts what the function was run on, whether or not it changed anything.
    let count = Some(candidates.len());
    let outcome = OperationOutcome { deleted_documents: count, edited_documents: count, ..OperationOutcome::default() };
    if candidates.is_empty() {
        return Ok(outcome);
    }

    let read = index.read_txn().map_err(ResponseError::from)?;
    let old_fields = index.fields_ids_map(&read).map_err(ResponseError::from)?;
    let mut new_fields = old_fields.clone();
    let key = index.primary_key(&read).map_err(ResponseError::from)?;
    let key = key.expect("an index with documents has a primary key");
    let key = PrimaryKey::new_or_insert(key, &mut new_fields).map_err(|error| name(error.into()))?;

    let editor = UpdateByFunction::new(candidates, context, function.to_owned());
    let pool = pool(handle);
    let changes =
        pool.install(|| editor.into_changes(&key)).map_err(|error| name(InternalError::from(error).into()))?;
    let changes = changes.map_err(name)?;
    let embedders = handle.embedders(index.embedding_configs(txn).map_err(ResponseError::from)?).map_err(name)?;
    indexer::index(
        txn,
        index,
        pool,
        memory(handle),
        &old_fields,
        new_fields,
        None,
        &changes,
        embedders,
        &must_stop,
        &Progress::default(),
    )
    .map_err(name)?;
    Ok(outcome)
}

/// Runs a batch of payloads; answers count and error of each.
fn index_operations<'pl>(
    handle: &IndexHandle,
    txn: &mut RwTxn<'_>,
    batch: indexer::DocumentOperation<'pl>,
    alloc: &'pl Bump,
    given_key: Option<&'pl str>,
    must_stop: MustStop<'_>,
) -> Result<Vec<(u64, Option<ResponseError>)>, Broken> {
    let index = &handle.index;
    let name = |error| broken(error, &handle.uid);
    let read = index.read_txn().map_err(ResponseError::from)?;
    let old_fields = index.fields_ids_map(&read).map_err(ResponseError::from)?;
    let mut new_fields = old_fields.clone();
    let progress = Progress::default();
    let (changes, stats, key) = batch
        .into_changes(alloc, index, &read, given_key, &mut new_fields, &must_stop, progress.clone())
        .map_err(name)?;
    let outcomes: Vec<(u64, Option<ResponseError>)> =
        stats.into_iter().map(|stats| (stats.document_count, stats.error.map(ResponseError::from))).collect();
    if outcomes.iter().any(|(_, error)| error.is_none()) {
        let embedders = handle.embedders(index.embedding_configs(txn).map_err(ResponseError::from)?).map_err(name)?;
        indexer::index(
            txn,
            index,
            pool(handle),
            memory(handle),
            &old_fields,
            new_fields,
            key,
            &changes,
            embedders,
            &must_stop,
            &progress,
        )
        .map_err(name)?;
    }
    Ok(outcomes)
}

fn delete_internal(
    handle: &IndexHandle,
    txn: &mut RwTxn<'_>,
    doomed: RoaringBitmap,
    must_stop: MustStop<'_>,
) -> Result<(), Broken> {
    if doomed.is_empty() {
        return Ok(());
    }
    let index = &handle.index;
    let name = |error| broken(error, &handle.uid);
    let alloc = Bump::new();
    let read = index.read_txn().map_err(ResponseError::from)?;
    let old_fields = index.fields_ids_map(&read).map_err(ResponseError::from)?;
    let mut new_fields = old_fields.clone();
    let key = index.primary_key(&read).map_err(ResponseError::from)?;
    let key = key.expect("an index with documents has a primary key");
    let key = PrimaryKey::new_or_insert(key, &mut new_fields).map_err(|error| name(error.into()))?;
    let mut deletion = indexer::DocumentDeletion::new();
    deletion.delete_documents_by_docids(doomed);
    let changes = deletion.into_changes(&alloc, key);
    let embedders = handle.embedders(index.embedding_configs(txn).map_err(ResponseError::from)?).map_err(name)?;
    indexer::index(
        txn,
        index,
        pool(handle),
        memory(handle),
        &old_fields,
        new_fields,
        None,
        &changes,
        embedders,
        &must_stop,
        &Progress::default(),
    )
    .map_err(name)?;
    Ok(())
}

/// A panic inside milli fails its task; the transaction is gone with it, and the queue goes on.
fn crashed(panic: &(dyn Any + Send)) -> ResponseError {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("Box<dyn Any>");
    ResponseError::new(Code::Internal, format!("An unexpected crash occurred when processing the task: {text}"))
}

fn pool(handle: &IndexHandle) -> &ThreadPoolNoAbort {
    handle.shared.config.thread_pool.as_ref().expect("the engine is opened with a thread pool")
}

fn memory(handle: &IndexHandle) -> GrenadParameters {
    handle.shared.config.grenad_parameters()
}

fn broken(error: milli::Error, uid: &str) -> Broken {
    match error {
        milli::Error::InternalError(InternalError::AbortedIndexation) => Broken::Stopped,
        error => Broken::Failed(in_task(error, uid)),
    }
}

// === impl IndexOperation ===

impl IndexOperation {
    fn creates_index(&self) -> bool {
        match self {
            Self::DocumentAddition { .. } | Self::Settings { .. } => true,
            Self::DocumentDeletion { .. }
            | Self::DocumentDeletionByFilter { .. }
            | Self::DocumentClear
            | Self::DocumentEdition { .. } => false,
        }
    }

    /// The counts of an operation that failed as a whole.
    fn nothing_done(&self) -> OperationOutcome {
        let none = OperationOutcome::default();
        match self {
            Self::DocumentAddition { .. } => OperationOutcome { indexed_documents: Some(0), ..none },
            Self::DocumentDeletion { .. } | Self::DocumentDeletionByFilter { .. } | Self::DocumentClear => {
                OperationOutcome { deleted_documents: Some(0), ..none }
            }
            Self::DocumentEdition { .. } => {
                // The engine leaves what it deleted open here.
                OperationOutcome { edited_documents: Some(0), ..none }
            }
            Self::Settings { .. } => none,
        }
    }
}

// === impl Broken ===

impl From<ResponseError> for Broken {
    fn from(error: ResponseError) -> Self {
        Self::Failed(error)
    }
}
