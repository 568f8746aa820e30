//! A request on its way to its answer, and the node that it is made to.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method};
use miroir_words::action::Action;

use super::access::{self, Access};
use super::search_queue::SearchQueue;
use crate::engine::Engine;
use crate::error::{Code, ResponseError};
use crate::features::FeatureStore;
use crate::keys::KeyStore;
use crate::queue::Queue;

/// The parts of a node that requests use.
pub struct Node {
    pub engine: Arc<Engine>,
    pub queue: Arc<Queue>,
    pub keys: KeyStore,
    pub features: FeatureStore,
    pub searches: SearchQueue,
    pub max_payload_size: u64,
}

/// A request on its way to its answer.
pub struct Call {
    pub node: Arc<Node>,
    pub method: Method,
    /// Without `?`, as it came.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Body,
}

// === impl Call ===

impl Call {
    /// What the request's key allows, or the engine's refusal. `index` is the one that the path names.
    pub fn authorize(&self, action: Action, index: Option<&str>) -> Result<Access, ResponseError> {
        access::authorize(&self.node.keys, &self.headers, action, index)
    }

    /// A parameter that is read without checking the others, as where the engine reads none.
    pub fn loose_parameter(&self, name: &str) -> Option<String> {
        let mut parameters = url::form_urlencoded::parse(self.query.as_bytes());
        parameters.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// Runs what waits for disks or computes for long, away from the threads that serve.
pub async fn blocking<T: Send + 'static>(
    node: &Arc<Node>,
    work: impl FnOnce(&Node) -> Result<T, ResponseError> + Send + 'static,
) -> Result<T, ResponseError> {
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || work(&node))
        .await
        .unwrap_or_else(|error| Err(ResponseError::new(Code::Internal, error.to_string())))
}
