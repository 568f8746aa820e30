//! A line to the server that breaks when a commit is done and before its answer is through.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the server says of a commit, as bytes of its protocol.
const COMMITTED: &[u8] = b"COMMIT\0";

#[derive(Default)]
struct Shared {
    breaks: AtomicBool,
    broken: AtomicUsize,
}

/// A proxy before the server.
pub struct Line {
    server: u16,
    port: u16,
    shared: Arc<Shared>,
}

// === impl Line ===

impl Line {
    pub fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to, |_| false));
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || {
                    pass(server, client, |piece| {
                        let commits = piece.windows(COMMITTED.len()).any(|window| window == COMMITTED);
                        let breaks = commits && shared.breaks.swap(false, Ordering::SeqCst);
                        shared.broken.fetch_add(usize::from(breaks), Ordering::SeqCst);
                        breaks
                    });
                });
            }
        });
        Self { server, port, shared }
    }

    /// The same database, over this line.
    pub fn of(&self, address: &str) -> String {
        address.replace(&format!(":{}/", self.server), &format!(":{}/", self.port))
    }

    /// The next commit of anybody is done, and who asked for it does not hear of it.
    pub fn break_after_a_commit(&mut self) {
        self.shared.breaks.store(true, Ordering::SeqCst);
    }

    /// How often that was so.
    pub fn broken(&self) -> usize {
        self.shared.broken.load(Ordering::SeqCst)
    }
}

/// Hands on what comes, until an end of it or a piece at which it `breaks`.
fn pass(mut from: TcpStream, mut to: TcpStream, mut breaks: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if breaks(&buffer[..read]) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
