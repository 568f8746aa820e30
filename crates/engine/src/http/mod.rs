//! The node's HTTP API: one function finds the route, one file a family of routes.
//!
//! | module | what lives there |
//! |---|---|
//! | `access` | who asks, and what they may do |
//! | `answer` | what is answered: JSON, nothing, or an error |
//! | `body` | content types, decompression, the size limit |
//! | `call` | a request on its way to its answer, and the node that it is made to |
//! | `documents`, `indexes`, `instance`, `keys`, `search`, `settings`, `tasks` | routes, a family each |
//! | `extract` | bodies and query strings as typed values |
//! | `search_queue` | how many searches run at once, and how many wait |

mod access;
mod answer;
mod body;
mod call;
mod documents;
pub mod extract;
mod indexes;
mod instance;
mod keys;
pub mod search;
mod search_queue;
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
use miroir_words::action::Action;
use percent_encoding::percent_decode_str;

use self::answer::{Answer, accepted, empty, json, ok, refused, wrong_method};
use self::call::blocking;
pub use self::call::{Call, Node};
pub use self::search_queue::SearchQueue;
use crate::error::{Code, ResponseError};

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
