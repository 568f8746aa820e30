//! PgBouncer in transaction mode, as people put it before their servers.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::server::{Postgres, unprivileged};

/// A pooler that gives each transaction one of a few connections to the server.
pub struct Pooler {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

// === impl Pooler ===

impl Pooler {
    /// Before the server of all tests.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let users = folder.path().join("users.txt");
        std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let config = folder.path().join("pooler.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 3\n",
            Postgres::shared().port,
            users.display()
        );
        std::fs::write(&config, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        let mut command = unprivileged(folder.path(), Path::new("pgbouncer"));
        command.arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("PgBouncer is installed");
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "PgBouncer does not listen");
            std::thread::yield_now();
        }
        Self { process, port, _folder: folder }
    }

    /// The same database, by the pooler.
    pub fn before(&self, address: &str) -> String {
        address.replace(&format!(":{}/", Postgres::shared().port), &format!(":{}/", self.port))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
