//! The indexes of one data folder: which there are, opening, creating, deleting, swapping and counting them.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milli::heed::types::Str;
use milli::heed::{Database, Env, EnvOpenOptions, RoTxn, WithoutTls};
use milli::index::IndexEmbeddingConfig;
use milli::update::IndexerConfig;
use milli::vector::{Embedder, EmbedderOptions, EmbeddingConfigs};
use milli_core as milli;
use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::failure::{in_task, index_not_found};
use super::unsafe_open;
use crate::error::{Code, ResponseError};

/// Sizes and threads of an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Virtual size of each index's memory map in bytes; the file grows only as it fills.
    pub index_map_size: usize,
    /// Threads that index; `None` is half the cores, at least one.
    pub indexing_threads: Option<usize>,
}

/// Experimental features that change how requests are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    pub contains_filter: bool,
    pub edit_documents_by_function: bool,
    pub composite_embedders: bool,
    pub network: bool,
}

/// All indexes of a data folder.
pub struct Engine {
    folder: PathBuf,
    index_map_size: usize,
    env: Env<WithoutTls>,
    /// uid → name of the index's folder, a UUID: a swap exchanges names, not data.
    map: Database<Str, Str>,
    /// Open indexes by folder name. Guards against opening one environment twice.
    open: Mutex<HashMap<String, milli::Index>>,
    pub(super) shared: Arc<Shared>,
}

/// What all handles of an engine have in common.
pub(super) struct Shared {
    pub config: IndexerConfig,
    features: RwLock<Features>,
    embedders: Mutex<HashMap<EmbedderOptions, Arc<Embedder>>>,
}

/// One open index. Cheap to clone; readers see the state of the moment they start.
#[derive(Clone)]
pub struct IndexHandle {
    pub uid: String,
    pub index: milli::Index,
    pub(super) shared: Arc<Shared>,
}

/// What `GET /indexes/{uid}` shows.
#[derive(Debug, Clone)]
pub struct IndexView {
    pub uid: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub primary_key: Option<String>,
}

/// Virtual size of the index map: a line for each index.
const INDEX_MAP_SIZE: usize = 64 << 20;

/// How many readers LMDB allows at once; each search is one.
const MAX_READERS: u32 = 1024;

/// Embeddings of queries that are kept.
const EMBEDDING_CACHE: usize = 0;

// === impl EngineOptions ===

impl Default for EngineOptions {
    fn default() -> Self {
        Self { index_map_size: 100 << 30, indexing_threads: None }
    }
}

// === impl Engine ===

impl Engine {
    /// Opens the data folder, creating it when absent. Each index is opened when first asked for.
    pub fn open(data_dir: &Path, options: EngineOptions) -> Result<Self, ResponseError> {
        let folder = data_dir.join("indexes");
        std::fs::create_dir_all(&folder)?;
        let map_folder = data_dir.join("index-map");
        std::fs::create_dir_all(&map_folder)?;
        let env = unsafe_open::environment(&map_folder, INDEX_MAP_SIZE)?;
        let mut txn = env.write_txn()?;
        let map = env.create_database(&mut txn, Some("uids"))?;
        txn.commit()?;

        let threads = options.indexing_threads.unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
            (cores / 2).max(1)
        });
        let pool = milli::ThreadPoolNoAbortBuilder::new()
            .thread_name(|number| format!("indexing-{number}"))
            .num_threads(threads)
            .build()
            .map_err(|error| ResponseError::new(Code::Internal, error.to_string()))?;
        let config = IndexerConfig { thread_pool: Some(pool), ..IndexerConfig::default() };

        let engine = Self {
            folder,
            index_map_size: options.index_map_size,
            env,
            map,
            open: Mutex::new(HashMap::new()),
            shared: Arc::new(Shared { config, features: RwLock::default(), embedders: Mutex::default() }),
        };
        engine.remove_orphans()?;
        Ok(engine)
    }

    pub fn features(&self) -> Features {
        *self.shared.features.read()
    }

    pub fn set_features(&self, features: Features) {
        *self.shared.features.write() = features;
    }

    /// The index `uid`, or `index_not_found`.
    pub fn index(&self, uid: &str) -> Result<IndexHandle, ResponseError> {
        // In this order: a folder that was found and is deleted before it is opened would be an internal error, not an index that
        // is not there.
        let mut open = self.open.lock();
        let txn = self.env.read_txn()?;
        let folder = self.map.get(&txn, uid)?.ok_or_else(|| index_not_found(uid))?;
        self.handle_of(&mut open, uid, folder)
    }

    pub fn exists(&self, uid: &str) -> Result<bool, ResponseError> {
        let txn = self.env.read_txn()?;
        Ok(self.map.get(&txn, uid)?.is_some())
    }

    /// Names of all indexes in byte order.
    pub fn names(&self) -> Result<Vec<String>, ResponseError> {
        let txn = self.env.read_txn()?;
        let mut names = Vec::new();
        for entry in self.map.iter(&txn)? {
            names.push(entry?.0.to_owned());
        }
        Ok(names)
    }

    pub fn view(&self, uid: &str) -> Result<IndexView, ResponseError> {
        let handle = self.index(uid)?;
        let txn = handle.index.read_txn()?;
        Ok(IndexView {
            uid: uid.to_owned(),
            created_at: handle.index.created_at(&txn)?,
            updated_at: handle.index.updated_at(&txn)?,
            primary_key: handle.index.primary_key(&txn)?.map(str::to_owned),
        })
    }

    /// The task `indexCreation`: `index_already_exists` when it is there.
    pub fn create(&self, uid: &str, primary_key: Option<&str>) -> Result<(), ResponseError> {
        if self.exists(uid)? {
            return Err(ResponseError::new(Code::IndexAlreadyExists, format!("Index `{uid}` already exists.")));
        }
        self.get_or_create(uid)?;
        self.update_primary_key(uid, primary_key)
    }

    /// The index, created when absent (as document and settings tasks do).
    pub fn get_or_create(&self, uid: &str) -> Result<IndexHandle, ResponseError> {
        let mut txn = self.env.write_txn()?;
        if let Some(folder) = self.map.get(&txn, uid)? {
            let folder = folder.to_owned();
            drop(txn);
            return self.handle(uid, &folder);
        }
        let folder = Uuid::new_v4().to_string();
        std::fs::create_dir_all(self.folder.join(&folder))?;
        let handle = self.handle(uid, &folder)?;
        self.map.put(&mut txn, uid, &folder)?;
        txn.commit()?;
        Ok(handle)
    }

    /// The task `indexUpdate`.
    pub fn update_primary_key(&self, uid: &str, primary_key: Option<&str>) -> Result<(), ResponseError> {
        let handle = self.index(uid)?;
        let Some(primary_key) = primary_key else { return Ok(()) };
        let mut txn = handle.index.write_txn()?;
        let mut builder = milli::update::Settings::new(&mut txn, &handle.index, &self.shared.config);
        builder.set_primary_key(primary_key.to_owned());
        builder.execute(|_| (), || false).map_err(|error| in_task(error, uid))?;
        txn.commit()?;
        Ok(())
    }

    /// The task `indexDeletion`: removes the index and answers how many documents it had.
    pub fn delete(&self, uid: &str) -> Result<u64, ResponseError> {
        let handle = self.index(uid)?;
        let documents = handle.documents()?;
        drop(handle);
        let mut txn = self.env.write_txn()?;
        let folder = self.map.get(&txn, uid)?.ok_or_else(|| index_not_found(uid))?.to_owned();
        self.map.delete(&mut txn, uid)?;
        let mut open = self.open.lock();
        txn.commit()?;
        let closing = open.remove(&folder).map(milli::Index::prepare_for_closing);
        drop(open);
        let path = self.folder.join(folder);
        // Searches that still read the index hold it open, so its end is waited for elsewhere. What a crash leaves
        // behind, `remove_orphans` finds.
        std::thread::Builder::new().name("index-deletion".to_owned()).spawn(move || {
            if let Some(closing) = closing {
                closing.wait();
            }
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(%error, "could not remove the folder of a deleted index");
            }
        })?;
        Ok(documents)
    }

    /// The task `indexSwap`: every pair in one transaction, or none.
    pub fn swap(&self, pairs: &[(String, String)]) -> Result<(), ResponseError> {
        let mut txn = self.env.write_txn()?;
        let mut absent = BTreeSet::new();
        for uid in pairs.iter().flat_map(|(left, right)| [left, right]) {
            if self.map.get(&txn, uid)?.is_none() {
                absent.insert(format!("`{uid}`"));
            }
        }
        match absent.len() {
            0 => {}
            1 => {
                let message = format!("Index {} not found.", absent.into_iter().collect::<String>());
                return Err(ResponseError::new(Code::IndexNotFound, message));
            }
            _ => {
                let names: Vec<String> = absent.into_iter().collect();
                return Err(ResponseError::new(
                    Code::IndexNotFound,
                    format!("Indexes {} not found.", names.join(", ")),
                ));
            }
        }
        for (left, right) in pairs {
            let left_folder = self.map.get(&txn, left)?.ok_or_else(|| index_not_found(left))?.to_owned();
            let right_folder = self.map.get(&txn, right)?.ok_or_else(|| index_not_found(right))?.to_owned();
            self.map.put(&mut txn, left, &right_folder)?;
            self.map.put(&mut txn, right, &left_folder)?;
        }
        txn.commit()?;
        Ok(())
    }

    /// The body of `GET /indexes/{uid}/stats`. `is_indexing` is the queue's to know.
    pub fn index_stats(&self, uid: &str, is_indexing: bool) -> Result<Value, ResponseError> {
        let handle = self.index(uid)?;
        let txn = handle.index.read_txn()?;
        stats_of(&handle.index, &txn, is_indexing)
    }

    /// The body of `GET /stats`, showing the indexes that `allowed` lets through. `processing` is the index of the
    /// running task; `other_sizes` are (size on disk, size in use) of the queue's and the keys' own files.
    pub fn stats(
        &self,
        allowed: &dyn Fn(&str) -> bool,
        processing: Option<&str>,
        other_sizes: (u64, u64),
    ) -> Result<Value, ResponseError> {
        let mut size = other_sizes.0 + self.env.real_disk_size()?;
        let mut used = other_sizes.1 + self.env.non_free_pages_size()?;
        let mut last_update: Option<OffsetDateTime> = None;
        let mut indexes = Map::new();
        for uid in self.names()? {
            let handle = self.index(&uid)?;
            let txn = handle.index.read_txn()?;
            size += handle.index.on_disk_size()?;
            used += handle.index.used_size()?;
            if !allowed(&uid) {
                continue;
            }
            let updated = handle.index.updated_at(&txn)?;
            last_update = Some(last_update.map_or(updated, |last| last.max(updated)));
            let stats = stats_of(&handle.index, &txn, processing == Some(uid.as_str()))?;
            indexes.insert(uid, stats);
        }
        Ok(json!({
            "databaseSize": size,
            "usedDatabaseSize": used,
            "lastUpdate": last_update.map(date),
            "indexes": indexes,
        }))
    }

    fn handle(&self, uid: &str, folder: &str) -> Result<IndexHandle, ResponseError> {
        self.handle_of(&mut self.open.lock(), uid, folder)
    }

    fn handle_of(
        &self,
        open: &mut HashMap<String, milli::Index>,
        uid: &str,
        folder: &str,
    ) -> Result<IndexHandle, ResponseError> {
        let index = match open.get(folder) {
            Some(index) => index.clone(),
            None => {
                let mut options = EnvOpenOptions::new().read_txn_without_tls();
                options.map_size(self.index_map_size).max_readers(MAX_READERS);
                let index = milli::Index::new(options, self.folder.join(folder), true)?;
                open.insert(folder.to_owned(), index.clone());
                index
            }
        };
        Ok(IndexHandle { uid: uid.to_owned(), index, shared: Arc::clone(&self.shared) })
    }

    /// Removes folders that no uid points at: of creations and deletions that a crash cut short.
    fn remove_orphans(&self) -> Result<(), ResponseError> {
        let txn = self.env.read_txn()?;
        let mut known = BTreeSet::new();
        for entry in self.map.iter(&txn)? {
            known.insert(entry?.1.to_owned());
        }
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| !known.contains(name)) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

// === impl IndexHandle ===

impl IndexHandle {
    /// Number of documents.
    pub fn documents(&self) -> Result<u64, ResponseError> {
        let txn = self.index.read_txn()?;
        Ok(self.index.number_of_documents(&txn)?)
    }

    pub fn features(&self) -> Features {
        *self.shared.features.read()
    }

    /// The embedders that the index is configured with, built once for all indexes.
    pub(super) fn embedders(&self, configs: Vec<IndexEmbeddingConfig>) -> Result<EmbeddingConfigs, milli::Error> {
        let mut found = HashMap::new();
        for IndexEmbeddingConfig { name, config, user_provided: _ } in configs {
            let milli::vector::EmbeddingConfig { embedder_options, prompt, quantized } = config;
            let prompt = Arc::new(prompt.try_into().map_err(milli::Error::from)?);
            let known = self.shared.embedders.lock().get(&embedder_options).cloned();
            let embedder = match known {
                Some(embedder) => embedder,
                None => {
                    let new = Embedder::new(embedder_options.clone(), EMBEDDING_CACHE);
                    let new = Arc::new(new.map_err(milli::vector::Error::from).map_err(milli::Error::from)?);
                    self.shared.embedders.lock().insert(embedder_options, Arc::clone(&new));
                    new
                }
            };
            found.insert(name, (embedder, prompt, quantized.unwrap_or_default()));
        }
        Ok(EmbeddingConfigs::new(found))
    }
}

// === impl IndexView ===

impl IndexView {
    /// `{uid, createdAt, updatedAt, primaryKey}`.
    pub fn to_json(&self) -> Value {
        json!({
            "uid": self.uid,
            "createdAt": date(self.created_at),
            "updatedAt": date(self.updated_at),
            "primaryKey": self.primary_key,
        })
    }
}

fn date(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).expect("a year within 0..=9999 always formats")
}

fn stats_of(index: &milli::Index, txn: &RoTxn<'_>, is_indexing: bool) -> Result<Value, ResponseError> {
    let documents = index.documents_stats(txn)?.unwrap_or_default();
    let vectors = index.arroy_stats(txn)?;
    Ok(json!({
        "numberOfDocuments": index.number_of_documents(txn)?,
        "rawDocumentDbSize": documents.total_size(),
        "avgDocumentSize": documents.average_value_size(),
        "isIndexing": is_indexing,
        "numberOfEmbeddings": vectors.number_of_embeddings,
        "numberOfEmbeddedDocuments": vectors.documents.len(),
        "fieldDistribution": index.field_distribution(txn)?,
    }))
}
