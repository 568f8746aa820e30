//! The node's HTTP API: one function finds the route, one file a family of routes.

mod access;
mod body;
mod documents;
pub mod extract;
mod indexes;
mod instance;
mod keys;
pub mod search;
mod settings;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use self::access::Access;
use super::node::Node;
use super::queue::task::Task;
use super::queue::view;
use crate::meili::action::Action;
use crate::meili::error::{Code, ResponseError};

pub use self::search::SearchQueue;

/// A request on its way to its answer.
pub struct Call {
    pub node: Arc<Node>,
    pub method: Method,
    /// Without `?`, as it came.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Body,
}

type Answer = Result<Response, ResponseError>;

/// The node's routes.
pub fn router(node: Arc<Node>) -> Router {
    Router::new().fallback(handle).with_state(node)
}

async fn handle(State(node): State<Arc<Node>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let origin = parts.headers.contains_key(header::ORIGIN);
    if origin && parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return preflight(&parts.headers);
    }
    let segments = segments(parts.uri.path());
    let call = Call {
        node,
        method: parts.method,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    let mut response = dispatch(call, &segments).await.unwrap_or_else(|error| refused(&error));
    if origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            header::VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
    }
    response
}

async fn dispatch(call: Call, segments: &[String]) -> Answer {
    let method = call.method.clone();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (path.as_slice(), method.as_str()) {
        ([], "GET") => Ok(json(StatusCode::OK, &serde_json::json!({"status": "Meilisearch is running"}))),
        (["health"], "GET") => instance::health(),
        (["version"], "GET") => instance::version(&call),
        (["stats"], "GET") => instance::stats(call).await,
        (["experimental-features"], "GET") => instance::features(&call),
        (["experimental-features"], "PATCH") => instance::update_features(call).await,
        (["swap-indexes"], "POST") => indexes::swap(call).await,
        (["multi-search"], "POST") => search::multi(call).await,

        (["indexes"], "GET") => indexes::list(call).await,
        (["indexes"], "POST") => indexes::create(call).await,
        (["indexes", index], "GET") => indexes::get(call, index).await,
        (["indexes", index], "PATCH") => indexes::update(call, index).await,
        (["indexes", index], "DELETE") => indexes::delete(call, index).await,
        (["indexes", index, "stats"], "GET") => indexes::stats(call, index).await,
        (["indexes", index, "fields"], "POST") => indexes::fields(call, index).await,

        (["indexes", index, "documents"], "GET") => documents::list(call, index).await,
        (["indexes", index, "documents"], "POST") => documents::replace(call, index).await,
        (["indexes", index, "documents"], "PUT") => documents::update(call, index).await,
        (["indexes", index, "documents"], "DELETE") => documents::clear(call, index).await,
        (["indexes", index, "documents", "delete-batch"], "POST") => documents::delete_batch(call, index).await,
        (["indexes", index, "documents", "delete"], "POST") => documents::delete_by_filter(call, index).await,
        (["indexes", index, "documents", "edit"], "POST") => documents::edit(call, index).await,
        (["indexes", index, "documents", "fetch"], "POST") => documents::fetch(call, index).await,
        (["indexes", _, "documents", "delete-batch" | "delete" | "edit" | "fetch"], _) => Ok(wrong_method()),
        (["indexes", index, "documents", id], "GET") => documents::get(call, index, id).await,
        (["indexes", index, "documents", id], "DELETE") => documents::delete(call, index, id).await,

        (["indexes", index, "search"], "GET") => search::get(call, index).await,
        (["indexes", index, "search"], "POST") => search::post(call, index).await,
        (["indexes", index, "facet-search"], "POST") => search::facet(call, index).await,
        (["indexes", index, "similar"], "GET") => search::similar_get(call, index).await,
        (["indexes", index, "similar"], "POST") => search::similar_post(call, index).await,

        (["indexes", index, "settings"], "GET") => settings::get_all(call, index).await,
        (["indexes", index, "settings"], "PATCH") => settings::update_all(call, index).await,
        (["indexes", index, "settings"], "DELETE") => settings::reset_all(call, index).await,
        (["indexes", index, "settings", name], _) => settings::one(call, index, name).await,

        (["tasks"], "GET") => tasks::list(call).await,
        (["tasks"], "DELETE") => tasks::delete(call).await,
        (["tasks", "cancel"], "POST") => tasks::cancel(call).await,
        (["tasks", "cancel"], _) => Ok(wrong_method()),
        (["tasks", uid], "GET") => tasks::get(call, uid).await,
        (["tasks", uid, "documents"], "GET") => tasks::documents(&call, uid),
        (["batches"], "GET") => tasks::list_batches(call).await,
        (["batches", uid], "GET") => tasks::get_batch(call, uid).await,

        (["keys"], "GET") => keys::list(&call),
        (["keys"], "POST") => keys::create(call).await,
        (["keys", key], "GET") => keys::get(&call, key),
        (["keys", key], "PATCH") => keys::update(call, key).await,
        (["keys", key], "DELETE") => keys::delete(call, key).await,

        (["dumps"], "POST") => unsupported(&call, Action::DumpsCreate, "dumps"),
        (["snapshots"], "POST") => unsupported(&call, Action::SnapshotsCreate, "snapshots"),
        (["metrics"], "GET") => unsupported(&call, Action::MetricsGet, "metrics"),
        (["network"], "GET") => unsupported(&call, Action::NetworkGet, "the network"),
        (["network"], "PATCH") => unsupported(&call, Action::NetworkUpdate, "the network"),
        (["chats", ..], "GET") => unsupported(&call, Action::ChatsGet, "chats"),

        (
            []
            | ["health" | "version" | "stats" | "experimental-features" | "swap-indexes" | "multi-search"]
            | ["indexes"]
            | ["indexes", _]
            | ["indexes", _, "stats" | "documents" | "search" | "facet-search" | "similar" | "settings"]
            | ["indexes", _, "documents", _]
            | ["tasks" | "batches" | "keys" | "dumps" | "snapshots" | "metrics" | "network"]
            | ["tasks" | "batches" | "keys", _]
            | ["tasks", _, "documents"],
            _,
        ) => Ok(wrong_method()),
        _ => Ok(empty(StatusCode::NOT_FOUND)),
    }
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

/// The answer to a request that made a task.
fn accepted(task: &Task) -> Response {
    json(StatusCode::ACCEPTED, &view::summary(task))
}

fn ok(value: &Value) -> Response {
    json(StatusCode::OK, value)
}

fn json(status: StatusCode, value: &Value) -> Response {
    with_body(status, value.to_string().into_bytes())
}

fn refused(error: &ResponseError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = with_body(status, error.to_body());
    if error.is(Code::TooManySearchRequests) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    }
    response
}

fn with_body(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn wrong_method() -> Response {
    empty(StatusCode::METHOD_NOT_ALLOWED)
}

fn unsupported(call: &Call, action: Action, what: &str) -> Answer {
    call.authorize(action, None)?;
    Err(ResponseError::new(Code::MiroirNotSupported, format!("The embedded node does not have {what}.")))
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, CONNECT, TRACE"),
    );
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// The parts of a path, decoded. A slash more, at the end or between, changes nothing.
fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect()
}
