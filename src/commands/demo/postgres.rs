//! A PostgreSQL server of the demo's own, from the system's packages. It ends with the demo, whatever ends that: a shell that waits
//! for the end of its standard input ends the server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use super::process::{DemoError, Process, io, port};

const WATCH: &str = r#""$@" & server=$!; cat >/dev/null; kill -INT $server 2>/dev/null; wait $server"#;

/// The server and its data, which are removed.
pub struct Postgres {
    // Before its data go.
    _server: Process,
    _data: tempfile::TempDir,
    port: u16,
}

// === impl Postgres ===

impl Postgres {
    /// Makes a server and waits until it answers.
    pub fn start(folder: &Path, interrupted: &mpsc::Receiver<()>) -> Result<Self, DemoError> {
        let data = tempfile::Builder::new()
            .prefix("miroir-demo-postgres-")
            .tempdir()
            .map_err(|source| io("create a temporary folder".to_owned(), source))?;
        let home = data.path();
        if let Some(user) = other_user() {
            finish(Command::new("chown").arg(user).arg(home))?;
        }
        let files = home.join("data");
        finish(unprivileged(home, &binary("initdb")).args(["-U", "postgres", "-A", "trust", "-D"]).arg(&files))?;
        let port = port(0)?;
        let number = port.to_string();
        let mut command = unprivileged(home, Path::new("/bin/sh"));
        command.args(["-c", WATCH, "watch"]).arg(binary("postgres")).arg("-D").arg(files);
        command.args(["-p", &number, "-k", "", "-c", "listen_addresses=127.0.0.1"]);
        let mut server = Process::run("postgres", folder, command)?;
        server.await_that(interrupted, || {
            let answer = Command::new(binary("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &number]).status();
            answer.is_ok_and(|status| status.success())
        })?;
        Ok(Self { _server: server, _data: data, port })
    }

    /// What `state` names.
    pub fn state(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

/// The newest that is installed.
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
fn other_user() -> Option<&'static str> {
    let id =
        |arguments: &[&str]| Command::new("id").args(arguments).output().ok().filter(|output| output.status.success());
    let is_root = id(&["-u"]).is_some_and(|output| output.stdout.trim_ascii() == b"0");
    is_root.then(|| if id(&["-u", "postgres"]).is_some() { "postgres" } else { "nobody" })
}

fn unprivileged(folder: &Path, program: &Path) -> Command {
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

fn finish(command: &mut Command) -> Result<(), DemoError> {
    let output = command.output().map_err(|source| {
        let what = format!("run {}; is PostgreSQL installed?", command.get_program().display());
        io(what, source)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(DemoError::Postgres(format!("{}: {said}", command.get_program().display())))
}
