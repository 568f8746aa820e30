//! The operators' API, on a listener of its own.
//!
//! | module | what lives there |
//! |---|---|
//! | `dumps` | dumps, piece by piece |
//! | `explain` | how a request is, or was, carried out |
//! | `leader` | who leads, and that another should |
//! | `maintenance` | `POST` and `DELETE /nodes/{id}/maintenance` |
//! | `node` | `GET /nodes/{id}` |
//! | `page` | the page that operators look at: its files, and what browsers may do with them |
//! | `rebalance` | what operators ask of the layout |
//! | `sites` | pages of other sites, which may not act |
//! | `views` | the cluster as operators see it, as JSON |

mod dumps;
mod explain;
mod leader;
mod maintenance;
mod node;
mod page;
mod rebalance;
mod sites;
mod views;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{HeaderValue, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};

use crate::gateway::App;
use crate::gateway::auth::{check, keyring};
use crate::gateway::peers::door::OWN;
use crate::gateway::peers::following::Following;
use crate::gateway::peers::pass;
use crate::gateway::reload;
use crate::gateway::serving::Serving;
use crate::meili::error::{Code, ResponseError};
use crate::meili::versions;
use crate::metrics;
use crate::store::leadership::Leadership;
use crate::tasks::filter::IndexAccess;
use crate::tasks::query::{Asking, parse_list};
use crate::tasks::view::UidFormat;
use crate::tracking::task_ops;

use explain::Question;

/// A request to explain is a request of a client, and those are small where they are not documents.
const MAX_BODY: usize = 1 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const JSON: &str = "application/json";

/// Answers operators.
pub struct AdminApp {
    serving: Arc<Serving>,
    began: Instant,
    leadership: Arc<dyn Leadership>,
}

/// What an operator asks for.
enum Route<'a> {
    Page(&'static page::File),
    Metrics,
    Gateway,
    Health,
    Ready,
    Leader,
    StepDown,
    Topology,
    Shards,
    Resilver,
    Tasks,
    Task(&'a str),
    FinishTask(&'a str),
    Explain,
    ExplainIndex(&'a str),
    Scrub,
    StartScrub,
    Reload,
    Layout(rebalance::Route<'a>),
    Node(&'a str),
    BeginMaintenance(&'a str),
    EndMaintenance(&'a str),
    Dump(&'a str),
    DeleteDump(&'a str),
}

/// What an operator gets.
enum Answer {
    Json(u16, Value),
    Dump(dumps::Piece),
    Page(&'static page::File),
    Metrics(Vec<u8>),
    /// Of the gateway that leads.
    Passed(Box<ResponseHeader>, Vec<u8>),
}

// === impl Route ===

impl Route<'_> {
    /// True for what concerns the process that is asked, and not the cluster.
    fn is_each_gateways_own(&self) -> bool {
        matches!(
            self,
            Self::Page(_) | Self::Metrics | Self::Gateway | Self::Health | Self::Ready | Self::Leader | Self::Reload
        )
    }
}

// === impl AdminApp ===

impl AdminApp {
    /// By whose key operators are let in the app's settings say.
    pub fn new(serving: Arc<Serving>, leadership: Arc<dyn Leadership>) -> Self {
        Self { serving, began: Instant::now(), leadership }
    }

    async fn answer(&self, session: &mut ServerSession) -> Result<Answer, ResponseError> {
        let head = session.req_header();
        let path = head.uri.path().trim_end_matches('/').to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let route = route(head.method.as_str(), &path)?;
        let authorization = head.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).map(<[u8]>::to_vec);
        let app = self.serving.app();
        let has_key = app.settings().admin_key.is_some();
        if head.method != http::Method::GET && sites::is_foreign(&head.headers, has_key) {
            let message = "a page of another site may not change anything here";
            return Err(ResponseError { status: 403, ..ResponseError::new(Code::BadRequest, message) });
        }
        // Probes of load balancers and Kubernetes carry no key and learn nothing of the cluster; nor does who is shown the page.
        if !matches!(route, Route::Health | Route::Ready | Route::Page(_)) {
            authenticate(&app, authorization.as_deref())?;
        }
        if let Some(following) = app.following().filter(|_| !route.is_each_gateways_own()) {
            return self.pass_on(following, session).await;
        }
        let topology = app.cluster.nodes.topology();
        let folder = app.cluster.dumps.folder();
        let (status, body) = match route {
            Route::Page(file) => return Ok(Answer::Page(file)),
            Route::Metrics => {
                let failed = |error| ResponseError::new(Code::Internal, format!("metrics cannot be encoded: {error}"));
                return Ok(Answer::Metrics(metrics::text(&self.serving).map_err(failed)?));
            }
            Route::Dump(uid) => return Ok(Answer::Dump(dumps::piece(folder, uid, &query).await?)),
            Route::DeleteDump(uid) => (200, dumps::delete(folder, uid).await.map(|()| json!({ "deleted": true }))?),
            Route::Health => (200, json!({ "status": "available" })),
            Route::Ready if self.serving.leaves() => {
                (503, json!({ "ready": false, "reason": "this gateway is about to end" }))
            }
            Route::Ready => views::ready(&app, &topology),
            Route::Leader => (200, leader::view(self.leadership.as_ref(), &app)),
            Route::StepDown => {
                read_body(session).await?;
                (202, leader::step_down(self.leadership.as_ref())?)
            }
            Route::Gateway => (200, views::gateway(&app, self.began.elapsed())),
            Route::Topology => (200, views::topology(&app.cluster, &topology)),
            Route::Shards => (200, views::shards(&topology, app.cluster.moves.layout().wanted().placement)),
            Route::Resilver => (200, views::resilver(&app.cluster)),
            Route::Tasks => {
                let version = app.cluster.nodes.versions.least();
                let release = version.as_deref().and_then(versions::release).unwrap_or(versions::NEWEST);
                let page = parse_list(&query, Asking { access: IndexAccess::All, release })?;
                (200, task_ops::list(&app.cluster.tracking, page, UidFormat::Mtask).await?)
            }
            Route::Task(id) => (200, views::task(&app.cluster, id).await?),
            Route::FinishTask(id) => (202, views::finish(&app.cluster, id).await?),
            Route::Explain => {
                let question = Question::parse(&read_body(session).await?)?;
                (200, explain::answer(&app, &question).await?)
            }
            Route::ExplainIndex(index) => {
                let question = Question::of_index(index, &read_body(session).await?)?;
                (200, explain::answer(&app, &question).await?)
            }
            Route::Reload => {
                // It says nothing, but must not be taken for the next request.
                read_body(session).await?;
                let reloaded = reload::reload(&app).await.map_err(|error| error.to_response())?;
                (200, rebalance::reloaded(&app.cluster.moves, &reloaded).await)
            }
            Route::Scrub => (200, app.cluster.replicas.scrub.reports.view()),
            Route::StartScrub => {
                app.cluster.replicas.scrub.start();
                (202, json!({ "started": true }))
            }
            Route::Layout(route) => {
                let body = read_body(session).await?;
                (200, rebalance::answer(&app.cluster.moves, route, &body).await?)
            }
            Route::Node(node) => (200, node::view(&app.cluster.nodes, node).await?),
            Route::BeginMaintenance(node) => (200, maintenance::begin(&app.cluster.ledger, node, &query).await?),
            Route::EndMaintenance(node) => (200, maintenance::end(&app.cluster.ledger, node).await?),
        };
        Ok(Answer::Json(status, body))
    }

    /// Lets the gateway that leads answer.
    async fn pass_on(&self, following: &Following, session: &mut ServerSession) -> Result<Answer, ResponseError> {
        let head = session.req_header();
        let (method, headers) = (head.method.clone(), head.headers.clone());
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let target = format!("{OWN}admin{target}");
        let body = read_body(session).await?;
        let (head, body) = pass::whole(following, &method, &target, &headers, body.into()).await?;
        Ok(Answer::Passed(head, body))
    }
}

#[async_trait]
impl ServeHttp for AdminApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let answer = self.answer(session).await;
        if let Ok(Answer::Passed(head, body)) = answer {
            let mut response = Response::new(body);
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers.clone();
            return response;
        }
        let is_page = matches!(answer, Ok(Answer::Page(_)));
        let mut size = None;
        let (status, content_type, body) = match answer {
            Ok(Answer::Json(status, body)) => (status, JSON, body.to_string().into_bytes()),
            Ok(Answer::Dump(piece)) => {
                size = Some(piece.size);
                (200, "application/octet-stream", piece.bytes)
            }
            Ok(Answer::Passed(..)) => (200, JSON, Vec::new()),
            Ok(Answer::Page(file)) => (200, file.content_type, file.text.into()),
            Ok(Answer::Metrics(text)) => (200, prometheus::TEXT_FORMAT, text),
            Err(error) => (error.status, JSON, error.to_body()),
        };
        let length = body.len();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_page {
            page::protect(headers);
        }
        if let Some(size) = size {
            headers.insert("x-miroir-dump-size", size.into());
        }
        headers.insert(header::CONTENT_LENGTH, length.into());
        response
    }
}

/// Without a key everybody who reaches the listener may use it.
fn authenticate(app: &App, header: Option<&[u8]>) -> Result<(), ResponseError> {
    let settings = app.settings();
    let Some(key) = &settings.admin_key else { return Ok(()) };
    match check::bearer(header)? {
        Some(token) if keyring::same(key.expose(), token) => Ok(()),
        Some(_) => Err(check::invalid()),
        None => {
            let message = "The Authorization header is missing. It must use the bearer authorization method.";
            Err(ResponseError::new(Code::MissingAuthorizationHeader, message))
        }
    }
}

fn route<'a>(method: &str, path: &'a str) -> Result<Route<'a>, ResponseError> {
    if let ("GET", Some(file)) = (method, page::file(path)) {
        return Ok(Route::Page(file));
    }
    if let Some(route) = rebalance::Route::parse(method, path) {
        return Ok(Route::Layout(route));
    }
    match (method, node_in_maintenance(path)) {
        ("POST", Some(node)) => return Ok(Route::BeginMaintenance(node)),
        ("DELETE", Some(node)) => return Ok(Route::EndMaintenance(node)),
        (_, Some(_) | None) => {}
    }
    match (method, path.strip_prefix("/dumps/")) {
        ("GET", Some(uid)) => return Ok(Route::Dump(uid)),
        ("DELETE", Some(uid)) => return Ok(Route::DeleteDump(uid)),
        (_, Some(_) | None) => {}
    }
    if let ("POST", Some(id)) = (method, task_to_finish(path)) {
        return Ok(Route::FinishTask(id));
    }
    let route = match (method, path) {
        ("GET", "/health") => Route::Health,
        ("GET", "/ready") => Route::Ready,
        ("GET", "/leader") => Route::Leader,
        ("GET", "/topology") => Route::Topology,
        ("GET", "/metrics") => Route::Metrics,
        ("GET", "/gateway") => Route::Gateway,
        ("GET", "/shards") => Route::Shards,
        ("GET", "/resilver") => Route::Resilver,
        ("GET", "/tasks") => Route::Tasks,
        ("POST", "/explain") => Route::Explain,
        ("GET", "/scrub") => Route::Scrub,
        ("POST", "/scrub") => Route::StartScrub,
        ("POST", "/reload") => Route::Reload,
        ("POST", "/leader/step-down") => Route::StepDown,
        ("POST", path) => match path.strip_prefix("/indexes/").and_then(|rest| rest.strip_suffix("/explain")) {
            Some(index) => Route::ExplainIndex(index),
            None => return Err(no_route(method, path)),
        },
        ("GET", path) => match path.strip_prefix("/tasks/") {
            Some(id) => Route::Task(id),
            None => match path.strip_prefix("/nodes/") {
                Some(node) => Route::Node(node),
                None => return Err(no_route(method, path)),
            },
        },
        _ => return Err(no_route(method, path)),
    };
    Ok(route)
}

/// The node of `/nodes/{id}/maintenance`.
fn node_in_maintenance(path: &str) -> Option<&str> {
    path.strip_prefix("/nodes/")?.strip_suffix("/maintenance").filter(|node| !node.is_empty() && !node.contains('/'))
}

/// The task of `/tasks/{id}/finish`.
fn task_to_finish(path: &str) -> Option<&str> {
    path.strip_prefix("/tasks/")?.strip_suffix("/finish").filter(|id| !id.is_empty() && !id.contains('/'))
}

fn no_route(method: &str, path: &str) -> ResponseError {
    let message = format!(
        "the admin API has no {method} {path}: expected GET /, /health, /ready, /metrics, /gateway, /leader, /topology, /shards, \
         /resilver, /tasks, /tasks/{{id}}, /nodes/{{id}}, /rebalance, POST /leader/step-down, /tasks/{{id}}/finish, /explain, \
         /indexes/{{uid}}/explain, /nodes, /nodes/{{id}}/drain, /rebalance/plan, \
         /rebalance/pause, /rebalance/resume, /rebalance/cancel, /rebalance/undo, /reload, PATCH /nodes/{{id}}, /cluster, \
         DELETE /nodes/{{id}}, GET or DELETE /dumps/{{uid}}, GET or POST /scrub, POST or DELETE \
         /nodes/{{id}}/maintenance"
    );
    ResponseError { status: 404, ..ResponseError::new(Code::BadRequest, message) }
}

async fn read_body(session: &mut ServerSession) -> Result<Vec<u8>, ResponseError> {
    let broken = || ResponseError::new(Code::BadRequest, "the request's body is incomplete");
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = session.read_request_body().await.map_err(|_| broken())? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY {
                return Err(ResponseError::new(
                    Code::PayloadTooLarge,
                    format!("the body is longer than {MAX_BODY} bytes"),
                ));
            }
        }
        Ok(body)
    };
    tokio::time::timeout(BODY_TIMEOUT, read).await.map_err(|_| broken())?
}
