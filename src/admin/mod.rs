//! The operators' API, on a listener of its own.
//!
//! | module | what lives there |
//! |---|---|
//! | `dumps` | dumps, piece by piece |
//! | `explain` | how a request is, or was, carried out |
//! | `maintenance` | `POST` and `DELETE /nodes/{id}/maintenance` |
//! | `rebalance` | what operators ask of the layout |
//! | `views` | the cluster as operators see it, as JSON |

mod dumps;
mod explain;
mod maintenance;
mod rebalance;
mod views;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};

use crate::gateway::App;
use crate::gateway::auth::{check, keyring};
use crate::gateway::reload;
use crate::meili::error::{Code, ResponseError};
use crate::settings::Secret;
use crate::store::leadership::Leadership;
use crate::tasks::filter::IndexAccess;
use crate::tasks::query::parse_list;
use crate::tasks::view::UidFormat;
use crate::tracking::task_ops;

use explain::Question;

/// A request to explain is a request of a client, and those are small where they are not documents.
const MAX_BODY: usize = 1 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers operators.
pub struct AdminApp {
    app: Arc<App>,
    /// Without one, whoever reaches the listener is let in.
    key: Option<Secret>,
    leadership: Arc<dyn Leadership>,
}

/// What an operator asks for.
enum Route<'a> {
    Health,
    Ready,
    Leader,
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
    BeginMaintenance(&'a str),
    EndMaintenance(&'a str),
    Dump(&'a str),
    DeleteDump(&'a str),
}

/// What an operator gets.
enum Answer {
    Json(u16, Value),
    Dump(dumps::Piece),
}

// === impl AdminApp ===

impl AdminApp {
    /// Without a `key` everybody who reaches the listener may use it.
    pub fn new(app: Arc<App>, key: Option<Secret>, leadership: Arc<dyn Leadership>) -> Self {
        Self { app, key, leadership }
    }

    async fn answer(&self, session: &mut ServerSession) -> Result<Answer, ResponseError> {
        let head = session.req_header();
        let path = head.uri.path().trim_end_matches('/').to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let route = route(head.method.as_str(), &path)?;
        let authorization =
            head.headers.get(http::header::AUTHORIZATION).map(http::HeaderValue::as_bytes).map(<[u8]>::to_vec);
        // Probes of load balancers and Kubernetes carry no key and learn nothing of the cluster.
        if !matches!(route, Route::Health | Route::Ready) {
            self.authenticate(authorization.as_deref())?;
        }
        let folder = self.app.cluster.dumps.folder();
        let (status, body) = match route {
            Route::Dump(uid) => return Ok(Answer::Dump(dumps::piece(folder, uid, &query).await?)),
            Route::DeleteDump(uid) => (200, dumps::delete(folder, uid).await.map(|()| json!({ "deleted": true }))?),
            other => self.report(other, &query, session).await?,
        };
        Ok(Answer::Json(status, body))
    }

    async fn report(
        &self,
        route: Route<'_>,
        query: &str,
        session: &mut ServerSession,
    ) -> Result<(u16, Value), ResponseError> {
        let topology = self.app.cluster.nodes.topology();
        match route {
            Route::Health => Ok((200, json!({ "status": "available" }))),
            Route::Ready => Ok(views::ready(&topology)),
            Route::Leader => Ok((200, views::leader(&self.leadership.standing()))),
            Route::Topology => Ok((200, views::topology(&self.app.cluster, &topology))),
            Route::Shards => Ok((200, views::shards(&topology))),
            Route::Resilver => Ok((200, views::resilver(&self.app.cluster))),
            Route::Tasks => {
                let page = parse_list(query, IndexAccess::All)?;
                Ok((200, task_ops::list(&self.app.cluster.tracking, page, UidFormat::Mtask).await?))
            }
            Route::Task(id) => Ok((200, views::task(&self.app.cluster, id).await?)),
            Route::FinishTask(id) => Ok((202, views::finish(&self.app.cluster, id).await?)),
            Route::Explain => {
                let question = Question::parse(&read_body(session).await?)?;
                Ok((200, explain::answer(&self.app, &question).await?))
            }
            Route::ExplainIndex(index) => {
                let question = Question::of_index(index, &read_body(session).await?)?;
                Ok((200, explain::answer(&self.app, &question).await?))
            }
            Route::Reload => {
                // It says nothing, but must not be taken for the next request.
                read_body(session).await?;
                let reloaded = reload::reload(&self.app).await.map_err(|error| error.to_response())?;
                Ok((200, rebalance::reloaded(&self.app.cluster.moves, &reloaded).await))
            }
            Route::Scrub => Ok((200, self.app.cluster.replicas.scrub.reports.view())),
            Route::StartScrub => {
                self.app.cluster.replicas.scrub.start();
                Ok((202, json!({ "started": true })))
            }
            Route::Layout(route) => {
                let body = read_body(session).await?;
                Ok((200, rebalance::answer(&self.app.cluster.moves, route, &body).await?))
            }
            Route::BeginMaintenance(node) => {
                Ok((200, maintenance::begin(&self.app.cluster.ledger, node, query).await?))
            }
            Route::EndMaintenance(node) => Ok((200, maintenance::end(&self.app.cluster.ledger, node).await?)),
            Route::Dump(uid) | Route::DeleteDump(uid) => {
                Err(ResponseError::new(Code::DumpNotFound, format!("Dump `{uid}` not found.")))
            }
        }
    }

    fn authenticate(&self, header: Option<&[u8]>) -> Result<(), ResponseError> {
        let Some(key) = &self.key else { return Ok(()) };
        match check::bearer(header)? {
            Some(token) if keyring::same(key.expose(), token) => Ok(()),
            Some(_) => Err(check::invalid()),
            None => {
                let message = "The Authorization header is missing. It must use the bearer authorization method.";
                Err(ResponseError::new(Code::MissingAuthorizationHeader, message))
            }
        }
    }
}

#[async_trait]
impl ServeHttp for AdminApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (status, body, dump) = match self.answer(session).await {
            Ok(Answer::Json(status, body)) => (status, body.to_string().into_bytes(), None),
            Ok(Answer::Dump(piece)) => (200, piece.bytes, Some(piece.size)),
            Err(error) => (error.status, error.to_body(), None),
        };
        let length = body.len();
        let content_type = if dump.is_some() { "application/octet-stream" } else { "application/json" };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        if let Some(size) = dump {
            headers.insert("x-miroir-dump-size", size.into());
        }
        headers.insert(http::header::CONTENT_LENGTH, length.into());
        response
    }
}

fn route<'a>(method: &str, path: &'a str) -> Result<Route<'a>, ResponseError> {
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
        ("GET", "/shards") => Route::Shards,
        ("GET", "/resilver") => Route::Resilver,
        ("GET", "/tasks") => Route::Tasks,
        ("POST", "/explain") => Route::Explain,
        ("GET", "/scrub") => Route::Scrub,
        ("POST", "/scrub") => Route::StartScrub,
        ("POST", "/reload") => Route::Reload,
        ("POST", path) => match path.strip_prefix("/indexes/").and_then(|rest| rest.strip_suffix("/explain")) {
            Some(index) => Route::ExplainIndex(index),
            None => return Err(no_route(method, path)),
        },
        ("GET", path) => match path.strip_prefix("/tasks/") {
            Some(id) => Route::Task(id),
            None => return Err(no_route(method, path)),
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
        "the admin API has no {method} {path}: expected GET /health, /ready, /leader, /topology, /shards, /resilver, /tasks, \
         /tasks/{{id}}, /rebalance, POST /tasks/{{id}}/finish, /explain, /indexes/{{uid}}/explain, /nodes, /nodes/{{id}}/drain, /rebalance/plan, \
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
