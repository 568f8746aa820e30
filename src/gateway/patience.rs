//! Who does not take what is written is given up after a while: what waits for them is held in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

/// How long a connection may take no byte of what is to be sent.
#[derive(Debug)]
pub(super) struct Patience {
    most: Duration,
    /// Runs while a write waits.
    wait: Option<Pin<Box<Sleep>>>,
}

// === impl Patience ===

impl Patience {
    pub(super) fn new(most: Duration) -> Self {
        Self { most, wait: None }
    }

    /// What became of a write; one that waits too long has failed.
    pub(super) fn poll<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.wait = None;
            return written;
        }
        let most = self.most;
        ready!(self.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(most))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
