//! A PostgreSQL server of the tests' own, from the system's packages, in a temporary folder. It ends with who started it, whatever
//! ends that: a shell that waits for the end of its standard input ends the server.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A server and its data.
pub struct Postgres {
    pub port: u16,
    pub folder: PathBuf,
    server: Option<Child>,
    /// What its end leaves on the disk.
    leaves: Leaves,
}

/// Of a server that nobody drops, because it is one for a whole process, nothing is to be left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    Data,
    Nothing,
}

/// Ends the server when nobody holds the other end of standard input any more.
const WATCH: &str = r#""$@" & server=$!; cat >/dev/null; kill -INT $server 2>/dev/null; wait $server
                     [ -z "$MIROIR_REMOVE" ] || rm -rf "$MIROIR_REMOVE""#;

// === impl Postgres ===

impl Postgres {
    /// Makes a server and waits until it answers.
    pub fn start() -> Self {
        Self::that_leaves(Leaves::Data)
    }

    fn that_leaves(leaves: Leaves) -> Self {
        let folder = tempfile::Builder::new().prefix("miroir-postgres").tempdir().expect("a folder").keep();
        if let Some(user) = other_user() {
            run(Command::new("chown").arg(user).arg(&folder));
        }
        let data = folder.join("data");
        run(unprivileged(&folder, &binary("initdb")).args(["-U", "postgres", "-A", "trust", "-N", "-D"]).arg(&data));
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let mut server = Self { port, folder, server: None, leaves };
        server.restart();
        server
    }

    /// One server for all tests of a process, which share no database.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::that_leaves(Leaves::Nothing))
    }

    /// Starts a server that was stopped.
    pub fn restart(&mut self) {
        let data = self.folder.join("data");
        let port = self.port.to_string();
        let mut command = unprivileged(&self.folder, Path::new("/bin/sh"));
        command.args(["-c", WATCH, "watch"]).arg(binary("postgres")).arg("-D").arg(data);
        // What is tested is not the disk.
        command.args(["-p", &port, "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("server.log"));
        if self.leaves == Leaves::Nothing {
            command.env("MIROIR_REMOVE", &self.folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log.expect("a log"));
        self.server = Some(command.spawn().expect("the server's process"));
        let until = Instant::now() + Duration::from_secs(30);
        while !self.answers() {
            assert!(
                Instant::now() < until,
                "{}",
                std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
            );
            pause();
        }
    }

    fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.try_sql("postgres", "SELECT 1").is_ok()
    }

    /// Ends the server; its data stays.
    pub fn stop(&mut self) {
        let mut server = self.server.take().expect("a running server");
        drop(server.stdin.take());
        server.wait().expect("the server's end");
    }

    /// The server dies as by a crash, or of kill -9: its data stays as it is.
    #[allow(dead_code, reason = "tests of the store share this file")]
    pub fn crash(&mut self, signal: &str) {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("the server's file");
        let process = file.lines().next().expect("its process").to_owned();
        let workers = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
        run(Command::new("kill").args([format!("-{signal}"), process]));
        let mut server = self.server.take().expect("a running server");
        drop(server.stdin.take());
        server.wait().expect("the server's end");
        // While one of them is there the data are in use.
        while workers.split_whitespace().any(|worker| Path::new("/proc").join(worker).exists()) {
            pause();
        }
    }

    /// A copy of the data, and back: what a standby has that had not received everything.
    pub fn copy_data(&self, from: &str, to: &str) {
        assert!(self.server.is_none(), "the server runs");
        let _ = std::fs::remove_dir_all(self.folder.join(to));
        run(Command::new("cp").arg("-a").arg(self.folder.join(from)).arg(self.folder.join(to)));
    }

    /// A new, empty database; its address as `state` names it.
    pub fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("miroir_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// What `psql` prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let port = self.port.to_string();
        let output = Command::new(binary("psql"))
            .args(["-h", "127.0.0.1", "-U", "postgres", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-p", &port])
            .args(["-d", database, "-c", sql])
            .output()
            .expect("psql");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.stop();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The name of the database in an address.
pub fn database_of(address: &str) -> &str {
    address.rsplit_once('/').expect("an address").1
}

fn binary(name: &str) -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    versions.sort();
    // Elsewhere than on Debian it is found by its name.
    versions.pop().unwrap_or_else(|| PathBuf::from(name))
}

/// The server refuses to run as root.
pub fn other_user() -> Option<&'static str> {
    let id =
        |arguments: &[&str]| Command::new("id").args(arguments).output().ok().filter(|output| output.status.success());
    let root = id(&["-u"]).is_some_and(|output| output.stdout.trim_ascii() == b"0");
    root.then(|| if id(&["-u", "postgres"]).is_some() { "postgres" } else { "nobody" })
}

/// Between two looks at a server that starts.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A program as the server runs it.
pub fn unprivileged(folder: &Path, program: &Path) -> Command {
    let mut command = match other_user() {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--clear-groups", "--"]).arg(program);
            command
        }
    };
    command.current_dir(folder);
    command
}

/// Insists that it succeeds.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; is PostgreSQL installed?"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
