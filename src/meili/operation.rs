//! Every operation of the HTTP API that Miroir knows, and the route table that finds it.

use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::error::ResponseError;
use super::settings::Setting;
use super::uid::IndexUid;

/// How a document write treats a document that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DocumentMethod {
    /// POST: the new document takes the old one's place.
    Replace,
    /// PUT: the new document's fields are written over the old one's.
    Update,
}

/// What a client asks for, without its query string and body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "operation")]
pub enum Operation {
    Health,
    Version,
    Stats,
    ListIndexes,
    CreateIndex,
    GetIndex {
        index: String,
    },
    UpdateIndex {
        index: String,
    },
    DeleteIndex {
        index: String,
    },
    IndexStats {
        index: String,
    },
    SwapIndexes,
    AddDocuments {
        index: String,
        method: DocumentMethod,
    },
    GetDocument {
        index: String,
        id: String,
    },
    ListDocuments {
        index: String,
    },
    FetchDocuments {
        index: String,
    },
    DeleteDocument {
        index: String,
        id: String,
    },
    DeleteDocumentsBatch {
        index: String,
    },
    DeleteDocumentsByFilter {
        index: String,
    },
    DeleteAllDocuments {
        index: String,
    },
    EditDocuments {
        index: String,
    },
    SearchGet {
        index: String,
    },
    SearchPost {
        index: String,
    },
    FacetSearch {
        index: String,
    },
    MultiSearch,
    SimilarGet {
        index: String,
    },
    SimilarPost {
        index: String,
    },
    GetSettings {
        index: String,
    },
    UpdateSettings {
        index: String,
    },
    ResetSettings {
        index: String,
    },
    GetSetting {
        index: String,
        setting: Setting,
    },
    UpdateSetting {
        index: String,
        setting: Setting,
    },
    ResetSetting {
        index: String,
        setting: Setting,
    },
    ListTasks,
    GetTask {
        id: String,
    },
    CancelTasks,
    DeleteTasks,
    DeleteTask {
        id: String,
    },
    ListKeys,
    CreateKey,
    GetKey {
        key: String,
    },
    UpdateKey {
        key: String,
    },
    DeleteKey {
        key: String,
    },
    GetExperimentalFeatures,
    UpdateExperimentalFeatures,
    /// Part of Meilisearch's API that Miroir does not serve; answered with `miroir_not_supported`.
    Unsupported {
        name: &'static str,
    },
}

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
    unsupported("POST", "/indexes/{index_uid}/fields"),
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

fn fits(parts: &[&str], segments: &[&str]) -> bool {
    parts.len() == segments.len() && parts.iter().zip(segments).all(|(part, text)| is_parameter(part) || part == text)
}

fn is_parameter(part: &str) -> bool {
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

// === impl Operation ===

impl Operation {
    /// The uid in the path, valid or not.
    pub fn index(&self) -> Option<&str> {
        match self {
            Self::GetIndex { index, .. }
            | Self::UpdateIndex { index, .. }
            | Self::DeleteIndex { index, .. }
            | Self::IndexStats { index, .. }
            | Self::AddDocuments { index, .. }
            | Self::GetDocument { index, .. }
            | Self::ListDocuments { index, .. }
            | Self::FetchDocuments { index, .. }
            | Self::DeleteDocument { index, .. }
            | Self::DeleteDocumentsBatch { index, .. }
            | Self::DeleteDocumentsByFilter { index, .. }
            | Self::DeleteAllDocuments { index, .. }
            | Self::EditDocuments { index, .. }
            | Self::SearchGet { index, .. }
            | Self::SearchPost { index, .. }
            | Self::FacetSearch { index, .. }
            | Self::SimilarGet { index, .. }
            | Self::SimilarPost { index, .. }
            | Self::GetSettings { index, .. }
            | Self::UpdateSettings { index, .. }
            | Self::ResetSettings { index, .. }
            | Self::GetSetting { index, .. }
            | Self::UpdateSetting { index, .. }
            | Self::ResetSetting { index, .. } => Some(index),
            Self::Health
            | Self::Version
            | Self::Stats
            | Self::ListIndexes
            | Self::CreateIndex
            | Self::SwapIndexes
            | Self::MultiSearch
            | Self::ListTasks
            | Self::GetTask { .. }
            | Self::CancelTasks
            | Self::DeleteTasks
            | Self::DeleteTask { .. }
            | Self::ListKeys
            | Self::CreateKey
            | Self::GetKey { .. }
            | Self::UpdateKey { .. }
            | Self::DeleteKey { .. }
            | Self::GetExperimentalFeatures
            | Self::UpdateExperimentalFeatures
            | Self::Unsupported { .. } => None,
        }
    }

    /// A word for logs and metric labels, the same for every index.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Version => "version",
            Self::Stats => "stats",
            Self::ListIndexes => "listIndexes",
            Self::CreateIndex => "createIndex",
            Self::GetIndex { .. } => "getIndex",
            Self::UpdateIndex { .. } => "updateIndex",
            Self::DeleteIndex { .. } => "deleteIndex",
            Self::IndexStats { .. } => "indexStats",
            Self::SwapIndexes => "swapIndexes",
            Self::AddDocuments { .. } => "addDocuments",
            Self::GetDocument { .. } => "getDocument",
            Self::ListDocuments { .. } => "listDocuments",
            Self::FetchDocuments { .. } => "fetchDocuments",
            Self::DeleteDocument { .. } => "deleteDocument",
            Self::DeleteDocumentsBatch { .. } => "deleteDocumentsBatch",
            Self::DeleteDocumentsByFilter { .. } => "deleteDocumentsByFilter",
            Self::DeleteAllDocuments { .. } => "deleteAllDocuments",
            Self::EditDocuments { .. } => "editDocuments",
            Self::SearchGet { .. } => "searchGet",
            Self::SearchPost { .. } => "searchPost",
            Self::FacetSearch { .. } => "facetSearch",
            Self::MultiSearch => "multiSearch",
            Self::SimilarGet { .. } => "similarGet",
            Self::SimilarPost { .. } => "similarPost",
            Self::GetSettings { .. } => "getSettings",
            Self::UpdateSettings { .. } => "updateSettings",
            Self::ResetSettings { .. } => "resetSettings",
            Self::GetSetting { .. } => "getSetting",
            Self::UpdateSetting { .. } => "updateSetting",
            Self::ResetSetting { .. } => "resetSetting",
            Self::ListTasks => "listTasks",
            Self::GetTask { .. } => "getTask",
            Self::CancelTasks => "cancelTasks",
            Self::DeleteTasks => "deleteTasks",
            Self::DeleteTask { .. } => "deleteTask",
            Self::ListKeys => "listKeys",
            Self::CreateKey => "createKey",
            Self::GetKey { .. } => "getKey",
            Self::UpdateKey { .. } => "updateKey",
            Self::DeleteKey { .. } => "deleteKey",
            Self::GetExperimentalFeatures => "getExperimentalFeatures",
            Self::UpdateExperimentalFeatures => "updateExperimentalFeatures",
            Self::Unsupported { .. } => "unsupported",
        }
    }

    /// What the engine says of the uid in the path. To be asked after the key was checked, because the engine looks at
    /// the key first.
    pub fn validate(&self) -> Result<(), ResponseError> {
        self.index().map_or(Ok(()), |index| IndexUid::parse(index).map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// `METHOD path name` of every operation of Meilisearch's API.
    const OPERATIONS: &str = include_str!("../../tests/golden/operations.txt");

    fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        OPERATIONS.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[0], words[1], words[2])
        })
    }

    fn filled(path: &str) -> String {
        let fill = |part: &'static str| if is_parameter(part) { "some-Thing_1" } else { part };
        path.to_owned().leak().split('/').map(fill).collect::<Vec<_>>().join("/")
    }

    #[test]
    fn every_operation_of_the_api_is_known() {
        assert_eq!(operations().count(), 142);
        for (method, path, name) in operations() {
            let operation = route(method, &filled(path)).unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
            assert_eq!(operation.name(), name, "{method} {path}");
            assert_eq!(operation.validate(), Ok(()));
            if let Operation::Unsupported { name } = operation {
                assert_eq!(name, path);
            } else {
                assert_eq!(operation.index().is_some(), path.contains("{index_uid}"), "{method} {path}");
            }
        }
    }

    #[test]
    fn every_other_method_is_not_allowed() {
        let mut methods: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (method, path, _) in operations() {
            methods.entry(path).or_default().insert(method);
        }
        methods.entry("/tasks/{task_id}").or_default().insert("DELETE");
        for (path, known) in methods {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get"] {
                if !known.contains(method) {
                    assert_eq!(route(method, &filled(path)), Err(RouteError::MethodNotAllowed), "{method} {path}");
                }
            }
        }
    }

    #[test]
    fn the_table_holds_no_operation_twice() {
        let mut seen = BTreeSet::new();
        assert!(ROUTES.iter().all(|route| seen.insert((route.method, route.path))));
    }

    #[test]
    fn an_unknown_path_is_not_found() {
        for path in [
            "",
            "/",
            "/nothing",
            "/indexes/a/nothing",
            "/indexes/a/documents/1/2",
            "/health/x",
            "/indexes/a/settings/x",
            "*",
        ] {
            assert_eq!(route("GET", path), Err(RouteError::NotFound), "{path}");
        }
        assert_eq!((RouteError::NotFound.status(), RouteError::MethodNotAllowed.status()), (404, 405));
    }

    #[test]
    fn empty_segments_count_for_nothing() {
        let expected = Ok(Operation::ListDocuments { index: "a".to_owned() });
        for path in ["/indexes/a/documents", "/indexes/a/documents/", "//indexes///a/documents//"] {
            assert_eq!(route("GET", path), expected);
        }
    }

    #[test]
    fn parameters_are_decoded_once() {
        let id = |path| match route("GET", path) {
            Ok(Operation::GetDocument { id, .. }) => id,
            other => panic!("{other:?}"),
        };
        assert_eq!(id("/indexes/a/documents/caf%C3%A9"), "café");
        assert_eq!(id("/indexes/a/documents/a%2Fb"), "a/b");
        assert_eq!(id("/indexes/a/documents/a%252Fb"), "a%2Fb");
        assert_eq!(id("/indexes/a/documents/a+b"), "a+b");
        assert_eq!(id("/indexes/a/documents/%ff"), "\u{fffd}");
        assert_eq!(route("GET", "/he%61lth"), Ok(Operation::Health));
    }

    #[test]
    fn a_literal_path_wins_over_a_parameter() {
        assert_eq!(route("GET", "/tasks/cancel"), Err(RouteError::MethodNotAllowed));
        assert_eq!(route("GET", "/indexes/a/documents/fetch"), Err(RouteError::MethodNotAllowed));
        assert_eq!(route("DELETE", "/tasks/mtask-1"), Ok(Operation::DeleteTask { id: "mtask-1".to_owned() }));
    }

    #[test]
    fn a_bad_uid_is_found_in_the_path_and_refused_later() {
        let operation = route("GET", "/indexes/bad%20uid/search").expect("the path is known");
        assert_eq!(operation, Operation::SearchGet { index: "bad uid".to_owned() });
        let error = operation.validate().expect_err("a space is not allowed");
        assert!(error.is(crate::meili::error::Code::InvalidIndexUid));
        assert_eq!(
            error.message,
            "`bad uid` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric \
             characters, hyphens (-) and underscores (_), and can not be more than 512 bytes."
        );
    }
}
