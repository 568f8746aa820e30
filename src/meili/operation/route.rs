//! The route table: which operation a method and a path ask for.

use std::sync::LazyLock;

use percent_encoding::percent_decode_str;

use super::{DocumentMethod, Operation};
use crate::meili::settings::Setting;

/// Why a request names no operation. The engine answers both with an empty body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteError {
    /// 404: no such path.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
}

/// Finds what `method` on `path` asks for; `path` is still percent-encoded and has no query string. As in the engine,
/// empty segments count for nothing, the first path that fits decides, and HEAD and OPTIONS are methods like others.
pub fn route(method: &str, path: &str) -> Result<Operation, RouteError> {
    let decoded: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();

    if let ["indexes", index, "settings", name] = segments[..]
        && let Some(setting) = Setting::ALL.iter().find(|setting| setting.route() == name)
    {
        return route_setting(method, index, *setting);
    }
    let found = TABLE.iter().find(|(parts, _)| fits(parts, &segments)).ok_or(RouteError::NotFound)?;
    let mut same_path = TABLE.iter().filter(|(parts, _)| *parts == found.0);
    let (parts, route) = same_path.find(|(_, route)| route.method == method).ok_or(RouteError::MethodNotAllowed)?;
    let captured = parts.iter().zip(&segments).filter(|(part, _)| is_parameter(part)).map(|(_, segment)| *segment);
    Ok(match route.target {
        Target::Served(build) => build(&Parameters(captured.collect())),
        Target::Unsupported => Operation::Unsupported { name: route.path },
    })
}

fn route_setting(method: &str, index: &str, setting: Setting) -> Result<Operation, RouteError> {
    let index = index.to_owned();
    match method {
        "GET" => Ok(Operation::GetSetting { index, setting }),
        "DELETE" => Ok(Operation::ResetSetting { index, setting }),
        verb if verb == setting.update_method() => Ok(Operation::UpdateSetting { index, setting }),
        _ => Err(RouteError::MethodNotAllowed),
    }
}

struct Route {
    method: &'static str,
    path: &'static str,
    target: Target,
}

enum Target {
    Served(fn(&Parameters) -> Operation),
    Unsupported,
}

/// What stood in the places of a path's `{...}`.
struct Parameters<'a>(Vec<&'a str>);

/// [`ROUTES`], each path cut into its segments.
static TABLE: LazyLock<Vec<(Vec<&'static str>, &'static Route)>> = LazyLock::new(|| {
    ROUTES.iter().map(|route| (route.path.split('/').filter(|part| !part.is_empty()).collect(), route)).collect()
});

/// Every operation but those of single settings, which [`Setting`] lists. A literal path comes before one with a parameter
/// in the same place.
const ROUTES: &[Route] = &[
    get("/health", |_| Operation::Health),
    get("/version", |_| Operation::Version),
    get("/stats", |_| Operation::Stats),
    get("/indexes", |_| Operation::ListIndexes),
    post("/indexes", |_| Operation::CreateIndex),
    get("/indexes/{index_uid}", |p| Operation::GetIndex { index: p.first() }),
    patch("/indexes/{index_uid}", |p| Operation::UpdateIndex { index: p.first() }),
    delete("/indexes/{index_uid}", |p| Operation::DeleteIndex { index: p.first() }),
    get("/indexes/{index_uid}/stats", |p| Operation::IndexStats { index: p.first() }),
    post("/swap-indexes", |_| Operation::SwapIndexes),
    post("/indexes/{index_uid}/fields", |p| Operation::ListFields { index: p.first() }),
    get("/indexes/{index_uid}/documents", |p| Operation::ListDocuments { index: p.first() }),
    post("/indexes/{index_uid}/documents", |p| Operation::AddDocuments {
        index: p.first(),
        method: DocumentMethod::Replace,
    }),
    put("/indexes/{index_uid}/documents", |p| Operation::AddDocuments {
        index: p.first(),
        method: DocumentMethod::Update,
    }),
    delete("/indexes/{index_uid}/documents", |p| Operation::DeleteAllDocuments { index: p.first() }),
    post("/indexes/{index_uid}/documents/delete", |p| Operation::DeleteDocumentsByFilter { index: p.first() }),
    post("/indexes/{index_uid}/documents/delete-batch", |p| Operation::DeleteDocumentsBatch { index: p.first() }),
    post("/indexes/{index_uid}/documents/edit", |p| Operation::EditDocuments { index: p.first() }),
    post("/indexes/{index_uid}/documents/fetch", |p| Operation::FetchDocuments { index: p.first() }),
    get("/indexes/{index_uid}/documents/{document_id}", |p| Operation::GetDocument {
        index: p.first(),
        id: p.second(),
    }),
    delete("/indexes/{index_uid}/documents/{document_id}", |p| Operation::DeleteDocument {
        index: p.first(),
        id: p.second(),
    }),
    get("/indexes/{index_uid}/search", |p| Operation::SearchGet { index: p.first() }),
    post("/indexes/{index_uid}/search", |p| Operation::SearchPost { index: p.first() }),
    post("/indexes/{index_uid}/facet-search", |p| Operation::FacetSearch { index: p.first() }),
    get("/indexes/{index_uid}/similar", |p| Operation::SimilarGet { index: p.first() }),
    post("/indexes/{index_uid}/similar", |p| Operation::SimilarPost { index: p.first() }),
    post("/multi-search", |_| Operation::MultiSearch),
    get("/indexes/{index_uid}/settings", |p| Operation::GetSettings { index: p.first() }),
    patch("/indexes/{index_uid}/settings", |p| Operation::UpdateSettings { index: p.first() }),
    delete("/indexes/{index_uid}/settings", |p| Operation::ResetSettings { index: p.first() }),
    get("/tasks", |_| Operation::ListTasks),
    delete("/tasks", |_| Operation::DeleteTasks),
    post("/tasks/cancel", |_| Operation::CancelTasks),
    unsupported("POST", "/tasks/compact"),
    unsupported("GET", "/tasks/stream"),
    get("/tasks/{task_id}", |p| Operation::GetTask { id: p.first() }),
    // Only Miroir has this one.
    delete("/tasks/{task_id}", |p| Operation::DeleteTask { id: p.first() }),
    get("/keys", |_| Operation::ListKeys),
    post("/keys", |_| Operation::CreateKey),
    get("/keys/{key}", |p| Operation::GetKey { key: p.first() }),
    patch("/keys/{key}", |p| Operation::UpdateKey { key: p.first() }),
    delete("/keys/{key}", |p| Operation::DeleteKey { key: p.first() }),
    get("/experimental-features", |_| Operation::GetExperimentalFeatures),
    patch("/experimental-features", |_| Operation::UpdateExperimentalFeatures),
    unsupported("GET", "/batches"),
    unsupported("GET", "/batches/stream"),
    unsupported("GET", "/chats"),
    unsupported("POST", "/dumps"),
    unsupported("POST", "/dynamic-search-rules"),
    unsupported("DELETE", "/dynamic-search-rules"),
    unsupported("POST", "/export"),
    unsupported("POST", "/logs/stderr"),
    unsupported("POST", "/logs/stream"),
    unsupported("DELETE", "/logs/stream"),
    unsupported("GET", "/metrics"),
    unsupported("GET", "/network"),
    unsupported("PATCH", "/network"),
    unsupported("POST", "/network/control"),
    unsupported("POST", "/render-template"),
    unsupported("POST", "/snapshots"),
    unsupported("GET", "/webhooks"),
    unsupported("POST", "/webhooks"),
    unsupported("GET", "/batches/{batch_id}"),
    unsupported("GET", "/chats/{workspace_uid}"),
    unsupported("DELETE", "/chats/{workspace_uid}"),
    unsupported("POST", "/chats/{workspace_uid}/chat/completions"),
    unsupported("GET", "/chats/{workspace_uid}/settings"),
    unsupported("PATCH", "/chats/{workspace_uid}/settings"),
    unsupported("DELETE", "/chats/{workspace_uid}/settings"),
    unsupported("GET", "/dynamic-search-rules/{uid}"),
    unsupported("PATCH", "/dynamic-search-rules/{uid}"),
    unsupported("DELETE", "/dynamic-search-rules/{uid}"),
    unsupported("POST", "/indexes/{index_uid}/compact"),
    unsupported("GET", "/indexes/{index_uid}/settings/chat"),
    unsupported("PATCH", "/indexes/{index_uid}/settings/chat"),
    unsupported("DELETE", "/indexes/{index_uid}/settings/chat"),
    unsupported("GET", "/indexes/{index_uid}/settings/foreign-keys"),
    unsupported("PUT", "/indexes/{index_uid}/settings/foreign-keys"),
    unsupported("DELETE", "/indexes/{index_uid}/settings/foreign-keys"),
    unsupported("GET", "/tasks/{task_id}/documents"),
    unsupported("GET", "/webhooks/{uuid}"),
    unsupported("PATCH", "/webhooks/{uuid}"),
    unsupported("DELETE", "/webhooks/{uuid}"),
];

const fn get(path: &'static str, build: fn(&Parameters) -> Operation) -> Route {
    Route { method: "GET", path, target: Target::Served(build) }
}

const fn post(path: &'static str, build: fn(&Parameters) -> Operation) -> Route {
    Route { method: "POST", path, target: Target::Served(build) }
}

const fn put(path: &'static str, build: fn(&Parameters) -> Operation) -> Route {
    Route { method: "PUT", path, target: Target::Served(build) }
}

const fn patch(path: &'static str, build: fn(&Parameters) -> Operation) -> Route {
    Route { method: "PATCH", path, target: Target::Served(build) }
}

const fn delete(path: &'static str, build: fn(&Parameters) -> Operation) -> Route {
    Route { method: "DELETE", path, target: Target::Served(build) }
}

const fn unsupported(method: &'static str, path: &'static str) -> Route {
    Route { method, path, target: Target::Unsupported }
}

/// The method and the path of each route.
#[cfg(test)]
pub(super) fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|route| (route.method, route.path))
}

fn fits(parts: &[&str], segments: &[&str]) -> bool {
    parts.len() == segments.len() && parts.iter().zip(segments).all(|(part, text)| is_parameter(part) || part == text)
}

pub(super) fn is_parameter(part: &str) -> bool {
    part.starts_with('{')
}

// === impl Parameters ===

impl Parameters<'_> {
    fn first(&self) -> String {
        self.0[0].to_owned()
    }

    fn second(&self) -> String {
        self.0[1].to_owned()
    }
}

// === impl RouteError ===

impl RouteError {
    pub fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
        }
    }
}
