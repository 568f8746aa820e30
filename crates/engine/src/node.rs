//! One node as a process: its parts opened in order, served until it is told to stop.

use std::fs::{self, File, TryLockError};
use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use clap::Args;
use miroir_words::unit;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::engine::{Engine, EngineOptions};
use super::features::FeatureStore;
use super::http::{self, Node, SearchQueue};
use super::keys::KeyStore;
use super::queue::{OpenQueueError, Queue, scheduler};
use crate::error::ResponseError;

/// Virtual size of an index's memory map; its file grows only as it fills.
const INDEX_MAP_SIZE: usize = 256 << 30;

/// How long requests may take to end once the node is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The arguments of `miroir node`.
#[derive(Debug, Clone, Args)]
pub struct NodeOptions {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7710", env = "MIROIR_NODE_LISTEN")]
    pub listen: SocketAddr,
    /// Folder of indexes, tasks and keys; made when it is absent.
    #[arg(long, value_name = "DIR", default_value = "./data.node")]
    pub data_dir: PathBuf,
    /// Key that allows everything and from which the secrets of API keys come. Without one the node is open to all.
    #[arg(long, value_name = "KEY", env = "MEILI_MASTER_KEY", hide_env_values = true)]
    pub master_key: Option<String>,
    /// Largest request body after decompression, as `104857600`, `100MiB` or `100MB`.
    #[arg(long, value_name = "SIZE", default_value = "100MiB", value_parser = parse_size)]
    pub max_payload_size: u64,
    /// Threads that index; half the cores when not given.
    #[arg(long, value_name = "N")]
    pub indexing_threads: Option<usize>,
    /// File to write the node's URL to once it listens.
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// Stop when standard input is closed, so that the node does not outlive what started it.
    #[arg(long, hide = true)]
    pub exit_on_stdin_close: bool,
}

/// A node whose tasks run. Dropping it stops them; what was interrupted runs again at the next start.
pub struct OpenNode {
    pub node: Arc<Node>,
    scheduler: Option<JoinHandle<()>>,
    /// Held so that no second node opens the folder.
    _lock: File,
}

/// Why a node could not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("cannot use the data folder {folder}: {source}")]
    DataDir { folder: PathBuf, source: io::Error },
    #[error("another node uses the data folder {folder}")]
    InUse { folder: PathBuf },
    #[error("cannot open the indexes: {0}")]
    Engine(ResponseError),
    #[error(transparent)]
    Queue(#[from] OpenQueueError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot write {file}: {source}")]
    PortFile { file: PathBuf, source: io::Error },
    #[error("cannot start: {0}")]
    Start(io::Error),
}

// === impl NodeOptions ===

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: PathBuf::from("./data.node"),
            master_key: None,
            max_payload_size: 100 << 20,
            indexing_threads: None,
            port_file: None,
            exit_on_stdin_close: false,
        }
    }
}

// === impl OpenNode ===

impl OpenNode {
    /// Opens the data folder and starts to run its tasks. Blocks on the disk.
    pub fn open(options: &NodeOptions) -> Result<Self, NodeError> {
        let folder = options.data_dir.as_path();
        let failure = |source| NodeError::DataDir { folder: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failure)?;
        let lock = lock(folder)?;
        let engine_options =
            EngineOptions { index_map_size: INDEX_MAP_SIZE, indexing_threads: options.indexing_threads };
        let engine = Arc::new(Engine::open(folder, engine_options).map_err(NodeError::Engine)?);
        let queue = Arc::new(Queue::open(folder)?);
        let master_key = options.master_key.clone().filter(|key| !key.is_empty());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let features = FeatureStore::open(folder).map_err(failure)?;
        engine.set_features(features.get().for_engine());
        let node = Arc::new(Node {
            engine: Arc::clone(&engine),
            queue: Arc::clone(&queue),
            keys: KeyStore::open(folder, master_key).map_err(failure)?,
            features,
            searches: SearchQueue::new(cores),
            max_payload_size: options.max_payload_size,
        });
        let scheduler = scheduler::start(queue, engine).map_err(NodeError::Start)?;
        Ok(Self { node, scheduler: Some(scheduler), _lock: lock })
    }

    /// Serves on `listener` until `stop` is ready.
    pub async fn serve(
        &self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let (told, begun) = oneshot::channel();
        let stopping = async move {
            stop.await;
            // The other side is gone only if serving has failed before.
            let _ = told.send(());
        };
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot send small answers at once");
            }
        });
        let serving = axum::serve(listener, http::router(Arc::clone(&self.node))).with_graceful_shutdown(stopping);
        let too_long = async move {
            match begun.await {
                Ok(()) => tokio::time::sleep(GRACE).await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            served = serving => served,
            () = too_long => Ok(()),
        }
    }
}

impl Drop for OpenNode {
    fn drop(&mut self) {
        self.node.queue.close();
        if let Some(scheduler) = self.scheduler.take()
            && scheduler.join().is_err()
        {
            tracing::error!("the scheduler's thread had crashed");
        }
    }
}

/// Runs a node until SIGTERM, SIGINT or, if asked for, the end of standard input.
pub fn run_node(options: NodeOptions) -> Result<(), NodeError> {
    let open = OpenNode::open(&options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(NodeError::Start)?;
    let outcome = runtime.block_on(async {
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|source| NodeError::Listen { address: options.listen, source })?;
        announce(&listener, &options)?;
        let stop = stop_signal(options.exit_on_stdin_close).map_err(NodeError::Start)?;
        open.serve(listener, stop).await.map_err(NodeError::Start)
    });
    // Requests that outlived the grace must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    drop(open);
    outcome
}

fn lock(folder: &Path) -> Result<File, NodeError> {
    let failure = |source| NodeError::DataDir { folder: folder.to_owned(), source };
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(failure)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NodeError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failure(source)),
    }
}

/// Tells where the node listens: a line on standard output, and the file that was asked for.
fn announce(listener: &TcpListener, options: &NodeOptions) -> Result<(), NodeError> {
    let url = format!("http://{}", listener.local_addr().map_err(NodeError::Start)?);
    if let Some(file) = &options.port_file {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut temporary| {
            writeln!(temporary, "{url}")?;
            temporary.persist(file).map_err(|error| error.error)
        });
        written.map_err(|source| NodeError::PortFile { file: file.clone(), source })?;
    }
    let mut out = io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = writeln!(out, "listening on {url}").and_then(|()| out.flush());
    Ok(())
}

fn stop_signal(on_stdin_close: bool) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (closed, stdin_closed) = oneshot::channel();
    if on_stdin_close {
        // A thread of its own: a read of standard input cannot be canceled and would hold up the runtime's end.
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let mut buffer = [0; 256];
            let mut stdin = io::stdin().lock();
            while stdin.read(&mut buffer).is_ok_and(|length| length > 0) {}
            let _ = closed.send(());
        })?;
    } else {
        std::mem::forget(closed);
    }
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = stdin_closed => {}
        }
    })
}

/// A size over zero, as the configuration of the gateway writes sizes.
fn parse_size(text: &str) -> Result<u64, String> {
    let size = unit::size(text).filter(|size| *size > 0);
    size.ok_or_else(|| "expected a size over 0 such as `64MiB` or `500MB`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(parse_size("100MiB"), Ok(100 << 20));
        assert_eq!(parse_size("100 MB"), Ok(100_000_000));
        assert_eq!(parse_size("1536"), Ok(1536));
        assert!(parse_size("0").is_err());
        assert!(parse_size("many").is_err());
        assert!(parse_size("5 parsecs").is_err());
    }
}
