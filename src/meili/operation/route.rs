//! The route table: which operation a method and a path ask for.

use std::sync::LazyLock;

use percent_encoding::percent_decode_str;

use super::{Change, DocumentMethod, Documents, Operation, Own, Read, Work};
use crate::meili::action::Action;
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
        && let Some(setting) = Setting::of_route(name)
    {
        return route_setting(method, index, setting);
    }
    let found = TABLE.iter().find(|(parts, _)| fits(parts, &segments)).ok_or(RouteError::NotFound)?;
    let mut same_path = TABLE.iter().filter(|(parts, _)| *parts == found.0);
    let (parts, route) = same_path.find(|(_, route)| route.method == method).ok_or(RouteError::MethodNotAllowed)?;
    let captured = parts.iter().zip(&segments).filter(|(part, _)| is_parameter(part)).map(|(_, segment)| *segment);
    let parameters = &Parameters(captured.collect());
    Ok(built(route, parameters))
}

fn built(route: &Route, parameters: &Parameters<'_>) -> Operation {
    match route.target {
        Target::Own(build) => build(parameters).into(),
        Target::Read(build) => build(parameters).into(),
        Target::Change(build) => build(parameters).into(),
        Target::Documents(build) => build(parameters).into(),
        Target::Work(build) => build(parameters).into(),
        Target::Unsupported(action) => Operation::Unsupported { name: route.path, action },
    }
}

/// One operation of each route that is served, of an index called `a`: for those who ask what kinds there are.
pub fn every() -> Vec<Operation> {
    let setting = Setting::ALL.first().copied();
    let of_settings = setting.into_iter().flat_map(|setting| {
        let index = || "a".to_owned();
        [
            Operation::from(Read::GetSetting { index: index(), setting }),
            Change::UpdateSetting { index: index(), setting }.into(),
            Change::ResetSetting { index: index(), setting }.into(),
        ]
    });
    let of_table = TABLE.iter().map(|(parts, route)| built(route, &Parameters(vec!["a"; parts.len()])));
    let of_table = of_table.filter(|operation| !matches!(operation, Operation::Unsupported { .. }));
    of_table.chain(of_settings).collect()
}

fn route_setting(method: &str, index: &str, setting: Setting) -> Result<Operation, RouteError> {
    let index = index.to_owned();
    match method {
        "GET" => Ok(Read::GetSetting { index, setting }.into()),
        "DELETE" => Ok(Change::ResetSetting { index, setting }.into()),
        verb if verb == setting.update_method() => Ok(Change::UpdateSetting { index, setting }.into()),
        _ => Err(RouteError::MethodNotAllowed),
    }
}

struct Route {
    method: &'static str,
    path: &'static str,
    target: Target,
}

/// Makes the operation, of the class that it is of.
enum Target {
    Own(fn(&Parameters) -> Own),
    Read(fn(&Parameters) -> Read),
    Change(fn(&Parameters) -> Change),
    Documents(fn(&Parameters) -> Documents),
    Work(fn(&Parameters) -> Work),
    /// By what a key must allow.
    Unsupported(Action),
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
    own("GET", "/health", |_| Own::Health),
    read("GET", "/version", |_| Read::Version),
    read("GET", "/stats", |_| Read::Stats),
    read("GET", "/indexes", |_| Read::ListIndexes),
    change("POST", "/indexes", |_| Change::CreateIndex),
    read("GET", "/indexes/{index_uid}", |p| Read::GetIndex { index: p.first() }),
    change("PATCH", "/indexes/{index_uid}", |p| Change::UpdateIndex { index: p.first() }),
    change("DELETE", "/indexes/{index_uid}", |p| Change::DeleteIndex { index: p.first() }),
    read("GET", "/indexes/{index_uid}/stats", |p| Read::IndexStats { index: p.first() }),
    change("POST", "/swap-indexes", |_| Change::SwapIndexes),
    change("POST", "/indexes/{index_uid}/compact", |p| Change::CompactIndex { index: p.first() }),
    read("POST", "/indexes/{index_uid}/fields", |p| Read::ListFields { index: p.first() }),
    read("GET", "/indexes/{index_uid}/documents", |p| Read::ListDocuments { index: p.first() }),
    documents("POST", "/indexes/{index_uid}/documents", |p| Documents::Add {
        index: p.first(),
        method: DocumentMethod::Replace,
    }),
    documents("PUT", "/indexes/{index_uid}/documents", |p| Documents::Add {
        index: p.first(),
        method: DocumentMethod::Update,
    }),
    change("DELETE", "/indexes/{index_uid}/documents", |p| Change::DeleteAllDocuments { index: p.first() }),
    change("POST", "/indexes/{index_uid}/documents/delete", |p| Change::DeleteDocumentsByFilter { index: p.first() }),
    documents("POST", "/indexes/{index_uid}/documents/delete-batch", |p| Documents::DeleteBatch { index: p.first() }),
    change("POST", "/indexes/{index_uid}/documents/edit", |p| Change::EditDocuments { index: p.first() }),
    read("POST", "/indexes/{index_uid}/documents/fetch", |p| Read::FetchDocuments { index: p.first() }),
    read("GET", "/indexes/{index_uid}/documents/{document_id}", |p| Read::GetDocument {
        index: p.first(),
        id: p.second(),
    }),
    documents("DELETE", "/indexes/{index_uid}/documents/{document_id}", |p| Documents::Delete {
        index: p.first(),
        id: p.second(),
    }),
    read("GET", "/indexes/{index_uid}/search", |p| Read::SearchGet { index: p.first() }),
    read("POST", "/indexes/{index_uid}/search", |p| Read::SearchPost { index: p.first() }),
    read("POST", "/indexes/{index_uid}/facet-search", |p| Read::FacetSearch { index: p.first() }),
    read("GET", "/indexes/{index_uid}/similar", |p| Read::SimilarGet { index: p.first() }),
    read("POST", "/indexes/{index_uid}/similar", |p| Read::SimilarPost { index: p.first() }),
    read("POST", "/multi-search", |_| Read::MultiSearch),
    read("GET", "/indexes/{index_uid}/settings", |p| Read::GetSettings { index: p.first() }),
    change("PATCH", "/indexes/{index_uid}/settings", |p| Change::UpdateSettings { index: p.first() }),
    change("DELETE", "/indexes/{index_uid}/settings", |p| Change::ResetSettings { index: p.first() }),
    own("GET", "/tasks", |_| Own::ListTasks),
    own("DELETE", "/tasks", |_| Own::DeleteTasks),
    own("POST", "/tasks/cancel", |_| Own::CancelTasks),
    own("POST", "/tasks/compact", |_| Own::CompactTasks),
    own("GET", "/tasks/stream", |_| Own::StreamTasks),
    own("GET", "/tasks/{task_id}", |p| Own::GetTask { id: p.first() }),
    own("GET", "/tasks/{task_id}/documents", |p| Own::TaskDocuments { id: p.first() }),
    // Only Miroir has this one.
    own("DELETE", "/tasks/{task_id}", |p| Own::DeleteTask { id: p.first() }),
    own("GET", "/keys", |_| Own::ListKeys),
    own("POST", "/keys", |_| Own::CreateKey),
    own("GET", "/keys/{key}", |p| Own::GetKey { key: p.first() }),
    own("PATCH", "/keys/{key}", |p| Own::UpdateKey { key: p.first() }),
    own("DELETE", "/keys/{key}", |p| Own::DeleteKey { key: p.first() }),
    own("GET", "/batches", |_| Own::ListBatches),
    own("GET", "/batches/stream", |_| Own::StreamBatches),
    own("GET", "/batches/{batch_id}", |p| Own::GetBatch { id: p.first() }),
    own("GET", "/webhooks", |_| Own::ListWebhooks),
    own("POST", "/webhooks", |_| Own::CreateWebhook),
    own("GET", "/webhooks/{uuid}", |p| Own::GetWebhook { uuid: p.first() }),
    own("PATCH", "/webhooks/{uuid}", |p| Own::UpdateWebhook { uuid: p.first() }),
    own("DELETE", "/webhooks/{uuid}", |p| Own::DeleteWebhook { uuid: p.first() }),
    read("GET", "/experimental-features", |_| Read::GetExperimentalFeatures),
    change("PATCH", "/experimental-features", |_| Change::UpdateExperimentalFeatures),
    own("GET", "/chats", |_| Own::ListChats),
    work("POST", "/dumps", |_| Work::CreateDump),
    read("POST", "/dynamic-search-rules", |_| Read::ListDynamicSearchRules),
    change("DELETE", "/dynamic-search-rules", |_| Change::ClearDynamicSearchRules),
    work("POST", "/export", |_| Work::Export),
    own("POST", "/logs/stderr", |_| Own::SetLogTargets),
    own("POST", "/logs/stream", |_| Own::StreamLogs),
    own("DELETE", "/logs/stream", |_| Own::StopLogs),
    own("GET", "/metrics", |_| Own::Metrics),
    read("GET", "/network", |_| Read::GetNetwork),
    unsupported("PATCH", "/network", Action::NetworkUpdate),
    unsupported("POST", "/network/control", Action::NetworkUpdate),
    read("POST", "/render-template", |_| Read::RenderTemplate),
    work("POST", "/snapshots", |_| Work::CreateSnapshot),
    own("GET", "/chats/{workspace_uid}", |p| Own::GetChat { workspace: p.first() }),
    own("DELETE", "/chats/{workspace_uid}", |p| Own::DeleteChat { workspace: p.first() }),
    unsupported("POST", "/chats/{workspace_uid}/chat/completions", Action::ChatCompletions),
    own("GET", "/chats/{workspace_uid}/settings", |p| Own::GetChatSettings { workspace: p.first() }),
    own("PATCH", "/chats/{workspace_uid}/settings", |p| Own::UpdateChatSettings { workspace: p.first() }),
    own("DELETE", "/chats/{workspace_uid}/settings", |p| Own::ResetChatSettings { workspace: p.first() }),
    read("GET", "/dynamic-search-rules/{uid}", |p| Read::GetDynamicSearchRule { uid: p.first() }),
    change("PATCH", "/dynamic-search-rules/{uid}", |p| Change::UpdateDynamicSearchRule { uid: p.first() }),
    change("DELETE", "/dynamic-search-rules/{uid}", |p| Change::DeleteDynamicSearchRule { uid: p.first() }),
];

const fn own(method: &'static str, path: &'static str, build: fn(&Parameters) -> Own) -> Route {
    Route { method, path, target: Target::Own(build) }
}

const fn read(method: &'static str, path: &'static str, build: fn(&Parameters) -> Read) -> Route {
    Route { method, path, target: Target::Read(build) }
}

const fn change(method: &'static str, path: &'static str, build: fn(&Parameters) -> Change) -> Route {
    Route { method, path, target: Target::Change(build) }
}

const fn documents(method: &'static str, path: &'static str, build: fn(&Parameters) -> Documents) -> Route {
    Route { method, path, target: Target::Documents(build) }
}

const fn work(method: &'static str, path: &'static str, build: fn(&Parameters) -> Work) -> Route {
    Route { method, path, target: Target::Work(build) }
}

const fn unsupported(method: &'static str, path: &'static str, action: Action) -> Route {
    Route { method, path, target: Target::Unsupported(action) }
}

/// The method and the path of each route.
#[cfg(test)]
pub(crate) fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|route| (route.method, route.path))
}

fn fits(parts: &[&str], segments: &[&str]) -> bool {
    parts.len() == segments.len() && parts.iter().zip(segments).all(|(part, text)| is_parameter(part) || part == text)
}

/// True for a part such as `{index}`, which any segment fits.
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
    /// 404 or 405, with an empty body as the engine has it.
    pub fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
        }
    }
}
