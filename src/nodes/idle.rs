//! Idle connections to one node, kept for its next subrequests.
//!
//! Pingora's pool looks after each of them by a task of its own, which is woken with every use: two switches a subrequest. Here a
//! connection is looked at when it is taken, and the oldest ones go when others come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use pingora::protocols::Stream;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::{self, Handle};
use tokio::time::Instant;

/// How long a connection waits for its next use.
const IDLE: Duration = Duration::from_secs(60);

/// How many connections wait, over all nodes.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    count: Arc<AtomicUsize>,
    most: usize,
}

/// The connections to one node that wait.
pub(super) struct Idle {
    /// Guards them, the one that was used last at the end.
    kept: Mutex<VecDeque<Kept>>,
    bound: Bound,
}

struct Kept {
    stream: Stream,
    since: Instant,
    /// Whose reactor it belongs to: used by another runtime, each of its bytes would wake two threads.
    runtime: runtime::Id,
}

// === impl Bound ===

impl Bound {
    /// At most so many connections are kept, of all that share the bound.
    pub(super) fn new(most: usize) -> Self {
        Self { count: Arc::default(), most }
    }

    /// May be a little late while connections come and go.
    pub(super) fn is_reached(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= self.most
    }
}

// === impl Idle ===

impl Idle {
    pub(super) fn new(bound: Bound) -> Self {
        Self { kept: Mutex::default(), bound }
    }

    /// The connection that was used last and is open still.
    pub(super) fn take(&self) -> Option<Stream> {
        let runtime = Handle::current().id();
        loop {
            let mut stream = {
                let mut kept = self.kept.lock();
                self.drop_old(&mut kept);
                let at = kept.iter().rposition(|kept| kept.runtime == runtime)?;
                self.bound.count.fetch_sub(1, Ordering::Relaxed);
                kept.remove(at)?.stream
            };
            if is_open(&mut stream) {
                return Some(stream);
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(super) fn put(&self, stream: Stream) {
        let mut kept = self.kept.lock();
        self.drop_old(&mut kept);
        if !self.bound.is_reached() {
            self.bound.count.fetch_add(1, Ordering::Relaxed);
            kept.push_back(Kept { stream, since: Instant::now(), runtime: Handle::current().id() });
        }
    }

    /// Lets go of those that waited too long. Nobody else does it for a node that is not asked any more.
    pub(super) fn forget_old(&self) {
        self.drop_old(&mut self.kept.lock());
    }

    fn drop_old(&self, kept: &mut VecDeque<Kept>) {
        while kept.front().is_some_and(|oldest| oldest.since.elapsed() > IDLE) {
            kept.pop_front();
            self.bound.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A node has nothing to say to a connection on which nothing was asked: where something can be read, it has closed it, or is out of
/// step.
fn is_open(stream: &mut Stream) -> bool {
    let mut byte = [0];
    stream.read(&mut byte).now_or_never().is_none()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Both ends of a connection.
    async fn connection() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        (Box::new(pingora::protocols::l4::stream::Stream::from(ours)), theirs)
    }

    #[tokio::test]
    async fn what_was_used_last_is_used_again_while_it_is_open() {
        let idle = Idle::new(Bound::new(8));
        let ((first, _node), (mut second, mut other)) = (connection().await, connection().await);
        let id = first.id();
        other.write_all(b"unasked").await.unwrap();
        second.read_exact(&mut [0; 2]).await.unwrap();
        idle.put(first);
        idle.put(second);
        assert_eq!(idle.take().map(|stream| stream.id()), Some(id), "the other one is out of step");
        assert!(idle.take().is_none());
        assert_eq!(idle.bound.count.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn no_more_are_kept_than_all_nodes_together_may_have() {
        let bound = Bound::new(1);
        let (idle, of_another) = (Idle::new(bound.clone()), Idle::new(bound));
        let ((first, _node), (second, _other)) = (connection().await, connection().await);
        idle.put(first);
        of_another.put(second);
        assert!(of_another.take().is_none());
        assert!(idle.take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_node_that_nobody_asks_makes_room() {
        let bound = Bound::new(1);
        let (gone, other) = (Idle::new(bound.clone()), Idle::new(bound.clone()));
        let ((first, _node), (second, _other)) = (connection().await, connection().await);
        gone.put(first);
        gone.forget_old();
        assert!(bound.is_reached());
        tokio::time::advance(IDLE + Duration::from_secs(1)).await;
        gone.forget_old();
        assert!(!bound.is_reached());
        other.put(second);
        assert!(other.take().is_some() && gone.take().is_none());
    }

    #[tokio::test]
    async fn a_connection_stays_with_its_runtime() {
        let idle = Arc::new(Idle::new(Bound::new(8)));
        let (stream, _node) = connection().await;
        idle.put(stream);
        let shared = Arc::clone(&idle);
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { shared.take().is_none() })
        });
        assert!(elsewhere.join().unwrap());
        assert!(idle.take().is_some());
    }
}
