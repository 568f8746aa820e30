//! Answers without an end: news of tasks and of batches, and log lines. Each waits for what is told of anyway, so however many
//! clients listen, nobody is asked more often.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use super::app::{Admitted, App};
use super::context::RequestContext;
use super::head::{Head, REQUEST_ID};
use super::{features, logs};
use crate::logging::Listening;
use crate::meili::error::ResponseError;
use crate::meili::feature::Feature;
use crate::meili::task::TaskStatus;
use crate::nodes::shutdown::stopped;
use crate::placement::topology::Topology;
use crate::plan::log_wish::LogWish;
use crate::tasks::batch::leads_batch;
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::IndexAccess;
use crate::tasks::view::{UidFormat, task_view};
use crate::tracking::Tracking;
use crate::tracking::task_ops;

/// What says to a client, and to proxies on the way, that the connection lives.
const ALIVE: (Duration, &[u8]) = (Duration::from_secs(15), b": alive\n\n");

/// An answer without an end.
pub struct Stream {
    source: Source,
    ending: watch::Receiver<bool>,
}

enum Source {
    News(Box<News>),
    Logs(Listening),
}

/// Each new state of tasks, as server-sent events.
struct News {
    of: Unit,
    changed: broadcast::Receiver<Arc<MiroirTask>>,
    access: IndexAccess,
    format: UidFormat,
    tracking: Arc<Tracking>,
    /// What was said last of the tasks that go on.
    said: HashMap<u32, TaskStatus>,
}

/// What news are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Task,
    Batch,
}

/// What becomes of tasks from now on, or of batches.
pub async fn news(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    (of, format): (Unit, UidFormat),
) -> Result<Stream, ResponseError> {
    features::require(app, topology, admitted, Feature::TasksStreaming).await?;
    let ending = app.streams.enter()?;
    let news = News {
        of,
        changed: app.cluster.ledger.store.changed_tasks(),
        access: admitted.access.tasks(),
        format,
        tracking: Arc::clone(&app.cluster.tracking),
        said: HashMap::new(),
    };
    Ok(Stream { source: Source::News(Box::new(news)), ending })
}

/// What the gateway logs from now on.
pub async fn log_lines(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    wish: LogWish,
) -> Result<Stream, ResponseError> {
    let ending = app.streams.enter()?;
    let lines = logs::listen(app, topology, admitted, wish).await?;
    Ok(Stream { source: Source::Logs(lines), ending })
}

/// Sends what comes until the client goes, the source ends, or the process does.
pub async fn write(
    session: &mut Session,
    head: &Head,
    ctx: &RequestContext,
    mut stream: Stream,
    patience: Duration,
) -> pingora::Result<()> {
    let downstream = session.as_downstream_mut();
    // What a client sends meanwhile is not read: nothing of the connection is of use after this.
    downstream.set_keepalive(None);
    downstream.set_write_timeout(Some(patience));
    let mut header = stream.header(ctx.request_id())?;
    ctx.add_headers(head, &mut header)?;
    // Older clients read until the connection is closed, newer ones have frames.
    if session.req_header().version == http::Version::HTTP_11 {
        header.insert_header(http::header::TRANSFER_ENCODING, "chunked")?;
    }
    session.write_response_header(Box::new(header), false).await?;
    let (is_news, (pause, alive)) = (stream.is_news(), ALIVE);
    loop {
        // One future for one chunk: dropped half-way it might lose what it has heard.
        let mut next = std::pin::pin!(stream.next());
        let chunk = loop {
            tokio::select! {
                chunk = &mut next => break chunk,
                // However it ends, the client is gone.
                _ = session.as_downstream_mut().read_body_or_idle(true) => return Ok(()),
                () = tokio::time::sleep(pause), if is_news => {
                    session.write_response_body(Some(Bytes::from_static(alive)), false).await?;
                }
            }
        };
        let Some(chunk) = chunk else { break };
        session.write_response_body(Some(chunk), false).await?;
    }
    session.write_response_body(None, true).await
}

// === impl Stream ===

impl Stream {
    fn header(&self, request_id: &str) -> pingora::Result<ResponseHeader> {
        let mut header = ResponseHeader::build(200, Some(8))?;
        let content_type = if self.is_news() { "text/event-stream" } else { "application/octet-stream" };
        header.insert_header(http::header::CONTENT_TYPE, content_type)?;
        header.insert_header(http::header::CACHE_CONTROL, "no-cache")?;
        header.insert_header("x-accel-buffering", "no")?;
        header.insert_header(REQUEST_ID, request_id)?;
        Ok(header)
    }

    fn is_news(&self) -> bool {
        matches!(self.source, Source::News(_))
    }

    async fn next(&mut self) -> Option<Bytes> {
        let next = async {
            match &mut self.source {
                Source::News(news) => news.next().await,
                Source::Logs(lines) => lines.next().await,
            }
        };
        tokio::select! {
            chunk = next => chunk,
            () = stopped(&mut self.ending) => None,
        }
    }
}

// === impl News ===

impl News {
    /// The next event; `None` when more has happened than could be kept for this client: it comes again, and asks what it missed.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let task = match self.changed.recv().await {
                Ok(task) => task,
                Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
            };
            if !self.access.allows(task.index_uid.as_deref()) || !self.is_new(&task) {
                continue;
            }
            if let Some(view) = self.view(&task).await {
                return Some(Bytes::from(format!("data: {view}\n\n")));
            }
        }
    }

    /// A row is written more often than its task changes for who looks at it.
    fn is_new(&mut self, task: &MiroirTask) -> bool {
        if task.status.is_final() {
            self.said.remove(&task.uid);
            return true;
        }
        self.said.insert(task.uid, task.status) != Some(task.status)
    }

    async fn view(&self, task: &MiroirTask) -> Option<Value> {
        match self.of {
            Unit::Task => Some(task_view(task, self.format)),
            Unit::Batch if !leads_batch(task) => None,
            Unit::Batch => match task_ops::batch_of(&self.tracking, task).await {
                Ok(view) => Some(view),
                Err(error) => {
                    tracing::warn!(task = task.uid, reason = error.message, "a batch could not be shown in a stream");
                    None
                }
            },
        }
    }
}
