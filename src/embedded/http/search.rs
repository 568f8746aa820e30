//! Routes that search. A bounded number of searches runs at once, away from the threads that serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::sync::Semaphore;

use super::access::{Access, invalid_key};
use super::{Answer, Call, blocking, ok};
use crate::embedded::node::Node;
use crate::embedded::search::{self, FacetSearchQuery, MultiSearchQuery, SearchQuery, SimilarQuery};
use crate::meili::action::Action;
use crate::meili::error::{Code, ResponseError};
use crate::meili::uid::IndexUid;

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

    async fn run(
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

pub async fn get(call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let query = SearchQuery::from_query(&call.query)?;
    run(call, index, query, access).await
}

pub async fn post(mut call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let query = SearchQuery::from_json(&call.json_bytes().await?)?;
    run(call, index, query, access).await
}

async fn run(call: Call, index: &str, mut query: SearchQuery, access: Access) -> Answer {
    let index = IndexUid::parse(index)?.into_string();
    query.restrict(access.search_filter(&index));
    let found = SearchQueue::run(&call.node, move |node| search::search(&node.engine.index(&index)?, &query)).await?;
    Ok(ok(&found))
}

pub async fn facet(mut call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let mut query = FacetSearchQuery::from_json(&call.json_bytes().await?)?;
    let index = IndexUid::parse(index)?.into_string();
    query.restrict(access.search_filter(&index));
    let found =
        SearchQueue::run(&call.node, move |node| search::facet_search(&node.engine.index(&index)?, &query)).await?;
    Ok(ok(&found))
}

pub async fn similar_get(call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let query = SimilarQuery::from_query(&call.query)?;
    similar(call, index, query, access).await
}

pub async fn similar_post(mut call: Call, index: &str) -> Answer {
    let access = call.authorize(Action::Search, Some(index))?;
    let query = SimilarQuery::from_json(&call.json_bytes().await?)?;
    similar(call, index, query, access).await
}

async fn similar(call: Call, index: &str, mut query: SimilarQuery, access: Access) -> Answer {
    let index = IndexUid::parse(index)?.into_string();
    query.restrict(access.search_filter(&index));
    let found = SearchQueue::run(&call.node, move |node| search::similar(&node.engine.index(&index)?, &query)).await?;
    Ok(ok(&found))
}

pub async fn multi(mut call: Call) -> Answer {
    let access = call.authorize(Action::Search, None)?;
    let query = MultiSearchQuery::from_json(&call.json_bytes().await?)?;
    let found = SearchQueue::run(&call.node, move |node| {
        let allowed =
            |index: &str| if access.sees(index) { Ok(access.search_filter(index)) } else { Err(invalid_key()) };
        search::multi_search(&node.engine, &query, &allowed)
    })
    .await?;
    Ok(ok(&found))
}
