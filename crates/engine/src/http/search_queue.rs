//! A bounded number of searches runs at once, away from the threads that serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::sync::Semaphore;

use super::call::{Node, blocking};
use crate::error::{Code, ResponseError};

/// How many searches may wait for their turn.
const MAX_WAITING: usize = 1000;

/// Lets as many searches run as there are cores, and as many wait as is sensible.
pub struct SearchQueue {
    running: Semaphore,
    waiting: AtomicUsize,
}

/// Counts one that waits, for as long as it exists.
struct Waiting<'a>(&'a AtomicUsize);

// === impl SearchQueue ===

impl SearchQueue {
    pub fn new(parallel: usize) -> Self {
        Self { running: Semaphore::new(parallel.max(1)), waiting: AtomicUsize::new(0) }
    }

    /// Does `work` when its turn has come, or refuses it when too many wait.
    pub async fn run(
        node: &Arc<Node>,
        work: impl FnOnce(&Node) -> Result<Value, ResponseError> + Send + 'static,
    ) -> Result<Value, ResponseError> {
        let queue = &node.searches;
        let turn = {
            let _waiting = Waiting::enter(&queue.waiting)?;
            queue.running.acquire().await.map_err(|error| ResponseError::new(Code::Internal, error.to_string()))?
        };
        let answer = blocking(node, work).await;
        drop(turn);
        answer
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Self, ResponseError> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let waiting = Self(count);
        if before < MAX_WAITING {
            return Ok(waiting);
        }
        Err(ResponseError::new(
            Code::TooManySearchRequests,
            format!("Too many search requests running at the same time: {MAX_WAITING}. Retry after 10s."),
        ))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
