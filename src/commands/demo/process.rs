//! The processes of a demo, and why it could not go on.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::commands::client::{self, ClientError};

const PATIENCE: Duration = Duration::from_secs(60);

/// Why the demo could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("cannot {what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("port {port} is taken: {source}; choose another one with --port")]
    PortTaken { port: u16, source: std::io::Error },
    #[error("{name} ended with {status} before it was ready; its log: {log}")]
    Ended { name: String, status: std::process::ExitStatus, log: String },
    #[error("{name} was not ready within {seconds} s; its log: {log}")]
    NotReady { name: String, seconds: u64, log: String },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("task {id} ended as {status}: {error}")]
    Task { id: String, status: String, error: String },
    #[error("the gateways answer differently: {0}")]
    Differ(String),
    #[error("{0}")]
    Postgres(String),
    #[error(
        "several gateways have their state on a server that ends with the demo, so nothing can be kept: leave --dir out"
    )]
    NothingKept,
    #[error("interrupted")]
    Interrupted,
}

/// A child process. Its standard input stays open as long as the demo lives, and the child ends when it closes, so that
/// even a killed demo leaves nothing behind.
pub struct Process {
    pub name: String,
    pub child: Child,
    log: PathBuf,
}

/// An error of the system.
pub fn io(what: String, source: std::io::Error) -> DemoError {
    DemoError::Io { what, source }
}

/// `wanted`, or a free port when it is 0.
pub fn port(wanted: u16) -> Result<u16, DemoError> {
    let listener =
        TcpListener::bind(("127.0.0.1", wanted)).map_err(|source| DemoError::PortTaken { port: wanted, source })?;
    let address = listener.local_addr().map_err(|source| io("read a port".to_owned(), source))?;
    Ok(address.port())
}

// === impl Process ===

impl Process {
    /// This program, as a node or a gateway.
    pub fn start(name: &str, folder: &Path, arguments: &[String]) -> Result<Self, DemoError> {
        let program = std::env::current_exe().map_err(|source| io("find this program".to_owned(), source))?;
        let mut command = Command::new(program);
        command.args(arguments);
        Self::run(name, folder, command)
    }

    /// A program that ends when its standard input closes. What it prints is in a file of the folder.
    pub fn run(name: &str, folder: &Path, mut command: Command) -> Result<Self, DemoError> {
        let log = folder.join(format!("{name}.log"));
        let out = std::fs::File::create(&log).map_err(|source| io(format!("create {}", log.display()), source))?;
        let err = out.try_clone().map_err(|source| io("share a log file".to_owned(), source))?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| io(format!("start {name}"), source))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until `url` answers 200.
    pub fn await_ready(&mut self, url: &str, interrupted: &mpsc::Receiver<()>) -> Result<(), DemoError> {
        self.await_that(interrupted, || client::send(url, "GET", None, None).is_ok())
    }

    /// Waits until it is `ready`.
    pub fn await_that(&mut self, interrupted: &mpsc::Receiver<()>, ready: impl Fn() -> bool) -> Result<(), DemoError> {
        let until = Instant::now() + PATIENCE;
        loop {
            if ready() {
                return Ok(());
            }
            let ended = self.child.try_wait().map_err(|source| io(format!("look after {}", self.name), source))?;
            if let Some(status) = ended {
                return Err(DemoError::Ended { name: self.name.clone(), status, log: self.last_words() });
            }
            if Instant::now() > until {
                let seconds = PATIENCE.as_secs();
                return Err(DemoError::NotReady { name: self.name.clone(), seconds, log: self.last_words() });
            }
            pause(interrupted, Duration::from_millis(50))?;
        }
    }

    /// As a power cut ends it.
    pub fn kill(&mut self) {
        // An error: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closing its standard input asks the child to end; a child that does not listen is killed.
        drop(self.child.stdin.take());
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            let (_never, wait) = mpsc::channel::<()>();
            let _ = wait.recv_timeout(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits, unless Ctrl-C comes first.
pub fn pause(interrupted: &mpsc::Receiver<()>, time: Duration) -> Result<(), DemoError> {
    match interrupted.recv_timeout(time) {
        Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => Err(DemoError::Interrupted),
    }
}
