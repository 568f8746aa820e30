//! Writes a dump: the whole cluster as one archive in Meilisearch's own format, which one node can be started from.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::task::spawn_blocking;

use super::archive::ArchiveWriter;
use super::copy::{Copied, Source};
use super::error::WorkError;
use super::format::{self, Entry, IndexPart, Metadata};
use super::part::Dumps;
use super::patience::{Patience, no_node};
use super::{rules, tasks};
use crate::meili::chat::Workspaces;
use crate::meili::error::{Code, ResponseError};
use crate::meili::key::Key;
use crate::meili::task::{TaskKind, TaskStatus};
use crate::meili::versions::has_dynamic_rules;
use crate::nodes::client::Trace;
use crate::nodes::dynamic_rules;
use crate::nodes::error::store_failed;
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::{TaskFilter, TaskPage, TaskRef};

/// What a dump is called until it is whole.
const UNFINISHED: &str = ".dump.part";
/// What the snapshot is called: an engine too keeps one, under the same name each time.
const SNAPSHOT: &str = "snapshot";
/// How often a dump is begun anew because indexes changed their names under it.
const ATTEMPTS: usize = 3;
/// How many tasks are read at a time.
const TASKS: u32 = 2000;

type Archive = ArchiveWriter<BufWriter<File>>;

/// A file that is no dump yet; gone with this, unless it is kept. Work on it that is off the runtime's threads has this too: it may go on
/// when nobody waits for it any more.
struct Unfinished {
    path: PathBuf,
    kept: bool,
}

/// Removes what a run that was killed has left of dumps.
pub fn sweep(folder: &Path) {
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        if file.file_name().to_string_lossy().ends_with(UNFINISHED) && fs::remove_file(file.path()).is_ok() {
            tracing::info!(file = ?file.file_name(), "a dump that was never finished is gone");
        }
    }
}

/// Writes a dump; the details of its task in the end.
pub async fn make(dumps: &Dumps, task: &MiroirTask) -> Result<Map<String, Value>, WorkError> {
    let uid = format::dump_uid(OffsetDateTime::now_utc());
    let details = Map::from_iter([("dumpUid".to_owned(), Value::String(uid.clone()))]);
    named(dumps, task, &uid, Some(details.clone())).await?;
    Ok(details)
}

/// Writes a dump in the place of the last snapshot, which stays until this one is whole.
pub async fn renew(dumps: &Dumps, task: &MiroirTask) -> Result<(), WorkError> {
    named(dumps, task, SNAPSHOT, None).await
}

/// Writes a dump called `uid`, in which its own task has these details.
async fn named(
    dumps: &Dumps,
    task: &MiroirTask,
    uid: &str,
    details: Option<Map<String, Value>>,
) -> Result<(), WorkError> {
    let mut own = task.clone();
    own.details = details;
    for _ in 0..ATTEMPTS {
        let before = renames(dumps).await?;
        let unfinished = write(dumps, &own, uid).await?;
        // An index that was read under its old name, or whose new name came too late to be read: the archive would have it
        // twice or not at all.
        if renames(dumps).await? != before {
            tracing::info!(dump = uid, "indexes were swapped or renamed meanwhile: the dump is made anew");
            continue;
        }
        let path = dumps.settings.dir.join(format!("{uid}.dump"));
        off_thread(move || unfinished.name(path)).await?.keep();
        tracing::info!(dump = uid, "a dump was written");
        return Ok(());
    }
    let message = "Indexes were swapped or renamed each time while the dump was made.";
    Err(ResponseError::new(Code::DumpProcessFailed, message).into())
}

/// The newest task that gives indexes other names, or may.
async fn renames(dumps: &Dumps) -> Result<Option<u32>, WorkError> {
    let kinds = Some(vec![TaskKind::IndexSwap, TaskKind::IndexUpdate]);
    let filter = TaskFilter { kinds, ..TaskFilter::default() };
    let uids = dumps.writes.ledger.store.task_uids(filter).await.map_err(|error| store_failed(&error))?;
    Ok(uids.last().copied())
}

async fn write(dumps: &Dumps, task: &MiroirTask, uid: &str) -> Result<Unfinished, WorkError> {
    let unfinished = Unfinished { path: dumps.settings.dir.join(format!(".{uid}{UNFINISHED}")), kept: false };
    let head = head(dumps).await?;
    let rules = rules::files(&dynamic_rules(dumps).await?);
    let (unfinished, mut archive) = off_thread(move || {
        let archive = begin(&unfinished.path, &head, &rules)?;
        Ok((unfinished, archive))
    })
    .await?;
    let trace = Trace::background("dump");
    for entry in dumps.writes.ledger.registry.entries() {
        let source = Source {
            reads: &dumps.reads,
            writes: &dumps.writes,
            index: &entry.uid,
            filter: None,
            folder: &dumps.settings.dir,
            trace: &trace,
        };
        if let Some(copied) = source.copy().await? {
            let folder = dumps.settings.dir.clone();
            archive = off_thread(move || add(archive, copied, &folder)).await?;
        }
    }
    let mut queue = queue(dumps, task).await?;
    off_thread(move || {
        let bytes = queue.stream_position()?;
        queue.rewind()?;
        archive.stream(&Entry::Tasks, bytes, queue)?;
        let mut file = archive.finish()?;
        file.flush()?;
        file.get_ref().sync_all()
    })
    .await?;
    Ok(unfinished)
}

/// The files beside the indexes.
async fn head(dumps: &Dumps) -> Result<Vec<(Entry, Vec<u8>)>, WorkError> {
    let store = &dumps.writes.ledger.store;
    let failed = |error| WorkError::Refused(store_failed(&error));
    let db_version = version(dumps).await?;
    let dump_date = OffsetDateTime::now_utc();
    let metadata = Metadata { dump_version: format::VERSION.to_owned(), db_version, dump_date };
    let mut keys = String::new();
    for stored in store.keys().await.map_err(failed)? {
        let key: Key = serde_json::from_value(stored).map_err(|_| WorkError::malformed("an API key"))?;
        keys += &format::key_line(&key);
        keys.push('\n');
    }
    let webhooks = store.get_meta("webhooks").await.map_err(failed)?;
    let webhooks: Value = webhooks.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(|| json!({}));
    let mut files = vec![
        (Entry::Metadata, json!(metadata).to_string()),
        (Entry::Keys, keys),
        (Entry::Features, features(dumps).await?.to_string()),
        (Entry::Webhooks, json!({ "webhooks": webhooks }).to_string()),
        (Entry::Batches, String::new()),
    ];
    // Whether the switch for chats is on or not, as an engine does.
    if let Some(chats) = store.get_meta("chats").await.map_err(failed)? {
        let chats: Workspaces =
            serde_json::from_str(&chats).map_err(|_| WorkError::malformed("a workspace of chats"))?;
        files.extend(format::chat_files(&chats));
    }
    if let Some(cluster) = store.get_meta("cluster_id").await.map_err(failed)? {
        files.push((Entry::InstanceUid, cluster));
    }
    Ok(files.into_iter().map(|(entry, text)| (entry, text.into_bytes())).collect())
}

/// The tasks before this one that have ended: the copies of the indexes waited for what they did. Then this one as it will be if
/// all ends well, as an engine writes its own. One that has not ended is left out: it is not known what of it the dump has.
async fn queue(dumps: &Dumps, own: &MiroirTask) -> Result<File, WorkError> {
    let mut file = BufWriter::new(tempfile::tempfile_in(&dumps.settings.dir)?);
    let mut from = Some(TaskRef::Uid(0));
    while from.is_some() {
        let page = TaskPage { from, limit: TASKS, reverse: true, ..TaskPage::default() };
        let list = dumps.writes.ledger.store.list_tasks(page).await.map_err(|error| store_failed(&error))?;
        let before = list.tasks.iter().filter(|task| task.uid < own.uid);
        let lines: Vec<String> = before.filter_map(tasks::line).collect();
        file = off_thread(move || append(file, &lines)).await?;
        from = list.next.filter(|next| next.uid < own.uid).map(|next| TaskRef::Uid(next.uid));
    }
    let mut own = own.clone();
    (own.status, own.finished_at) = (TaskStatus::Succeeded, Some(OffsetDateTime::now_utc()));
    let lines = Vec::from_iter(tasks::line(&own));
    off_thread(move || Ok(append(file, &lines)?.into_inner()?)).await
}

fn append(mut file: BufWriter<File>, lines: &[String]) -> io::Result<BufWriter<File>> {
    for line in lines {
        writeln!(file, "{line}")?;
    }
    Ok(file)
}

/// Of the nodes' engine; a gateway that has just started does not know it yet.
async fn version(dumps: &Dumps) -> Result<String, WorkError> {
    let mut patience = Patience::new();
    loop {
        let version = dumps.writes.nodes.versions.least();
        match version {
            Some(version) => return Ok(version),
            None => patience.again(no_node()).await?,
        }
    }
}

async fn features(dumps: &Dumps) -> Result<Value, WorkError> {
    let nodes = &dumps.writes.nodes;
    let trace = Trace::background("dump");
    let mut patience = Patience::new();
    loop {
        let topology = nodes.topology();
        for node in topology.serving("") {
            let asked = nodes.client.get_json::<Value>(topology.node(node), "/experimental-features", &trace).await;
            match asked {
                Ok(features) => return Ok(features.unwrap_or_else(|| json!({}))),
                Err(error) => tracing::debug!(%error, "experimental features could not be read"),
            }
        }
        patience.again(no_node()).await?;
    }
}

/// As a node has them that serves; none while their feature is off, as no node shows them then.
async fn dynamic_rules(dumps: &Dumps) -> Result<Vec<Value>, WorkError> {
    let nodes = &dumps.writes.nodes;
    let trace = Trace::background("dump");
    if !has_dynamic_rules(&version(dumps).await?) {
        return Ok(Vec::new());
    }
    let mut patience = Patience::new();
    loop {
        let topology = nodes.topology();
        for node in topology.serving("") {
            match dynamic_rules::read(&nodes.client, topology.node(node), &trace).await {
                Ok(rules) => return Ok(rules.unwrap_or_default()),
                Err(error) => tracing::debug!(%error, "dynamic search rules could not be read"),
            }
        }
        patience.again(no_node()).await?;
    }
}

fn begin(path: &Path, head: &[(Entry, Vec<u8>)], rules: &[(Entry, String)]) -> io::Result<Archive> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = BufWriter::new(File::create_new(path)?);
    let mut archive = ArchiveWriter::new(file, OffsetDateTime::now_utc());
    for (entry, content) in head {
        archive.file(entry, content)?;
    }
    // The engine lists it, also where there is no index.
    archive.folder("indexes/")?;
    for (entry, content) in rules {
        archive.file(entry, content.as_bytes())?;
    }
    Ok(archive)
}

/// Settings come first, so that who reads a dump as a stream can make the index before its documents come.
fn add(mut archive: Archive, copied: Copied, folder: &Path) -> io::Result<Archive> {
    let Copied { metadata, mut settings, documents } = copied;
    let mut documents = documents.compacted(folder)?;
    let entry = |part| Entry::Index { uid: metadata.uid.clone(), part };
    if format::without_masked_keys(&mut settings) {
        tracing::warn!(index = metadata.uid, "nodes do not show the keys of embedders: the dump does not have them");
    }
    archive.file(&entry(IndexPart::Metadata), json!(metadata).to_string().as_bytes())?;
    archive.file(&entry(IndexPart::Settings), Value::Object(settings).to_string().as_bytes())?;
    let (bytes, _) = documents.size()?;
    documents.copy(&mut |lines| archive.stream(&entry(IndexPart::Documents), bytes, lines))?;
    Ok(archive)
}

/// Work on files, off the runtime's threads.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, WorkError> {
    Ok(spawn_blocking(work).await.map_err(io::Error::other)??)
}

// === impl Unfinished ===

impl Unfinished {
    /// Gives the file its name, which says that it is whole. It is still to be kept, unless it has taken the place of another.
    fn name(mut self, path: PathBuf) -> io::Result<Self> {
        let replaces = path.exists();
        fs::rename(&self.path, &path)?;
        let folder = path.parent().map(Path::to_owned);
        (self.path, self.kept) = (path, replaces);
        // The name is on disk once the folder is.
        folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
        Ok(self)
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            // It may not have come to be.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// A task that is canceled waits for no thread: what that still makes goes with it.
    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (part, dump) = (folder.path().join(".a.dump.part"), folder.path().join("a.dump"));
        for names in [false, true] {
            let unfinished = Unfinished { path: part.clone(), kept: false };
            let ((begun, has_begun), (go, may_go), (over, is_over)) = (channel(), channel::<()>(), channel::<()>());
            let dump = dump.clone();
            let waits = tokio::spawn(off_thread(move || {
                let _over = over;
                begun.send(()).unwrap();
                may_go.recv().unwrap();
                drop(begin(&unfinished.path, &[], &[])?);
                if names { unfinished.name(dump) } else { Ok(unfinished) }
            }));
            spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
            waits.abort();
            assert!(waits.await.is_err_and(|error| error.is_cancelled()));
            go.send(()).unwrap();
            spawn_blocking(move || assert!(is_over.recv().is_err())).await.unwrap();
            let gone = async || {
                while fs::read_dir(folder.path()).unwrap().next().is_some() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(10), gone()).await.expect("nothing is left");
        }
    }

    #[test]
    fn a_snapshot_that_has_taken_the_place_of_the_last_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("snapshot.dump");
        for content in ["first", "second", "third"] {
            let path = folder.path().join(".snapshot.dump.part");
            fs::write(&path, content).unwrap();
            let named = Unfinished { path, kept: false }.name(snapshot.clone()).unwrap();
            match content {
                "first" => named.keep(),
                _ => drop(named),
            }
            assert_eq!(fs::read_to_string(&snapshot).unwrap(), content);
        }
    }
}
