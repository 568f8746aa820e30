//! Tells webhooks of tasks that have ended: each task once, with the gateway's own id, in the engine's form (lines of JSON,
//! packed by gzip). A webhook that does not answer is tried again a few times, and keeps nobody else waiting; what it misses
//! then is gone, as with one node.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use uuid::Uuid;

use super::WebhookBook;
use crate::meili::webhook::Webhook;
use crate::nodes::shutdown::stopped;
use crate::tasks::entry::MiroirTask;
use crate::tasks::view::{UidFormat, UidFormatSetting, task_view};

/// How long one attempt may take, as in the engine.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The pauses before further attempts.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];
/// So many tasks wait for one webhook; it misses those beyond.
const MOST_WAITING: usize = 10_000;
/// So many are told in one request.
const AT_ONCE: usize = 1000;

/// Why a webhook was not told; nothing of its address or its headers.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error("it answered {0}")]
    Status(u16),
    #[error("it took longer than {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("it could not be reached")]
    Unreachable,
    #[error("its address or a header is none that a request can have")]
    Request,
}

/// Tells webhooks until `shutdown` turns true. `ended` brings each task that has ended.
pub async fn run(
    book: Arc<WebhookBook>,
    setting: UidFormatSetting,
    mut ended: broadcast::Receiver<Arc<MiroirTask>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let format = match setting {
        // Who listens on a webhook has the engine's models.
        UidFormatSetting::Auto | UidFormatSetting::Integer => UidFormat::Integer,
        UidFormatSetting::Mtask => UidFormat::Mtask,
    };
    let mut queues: HashMap<Uuid, mpsc::Sender<Bytes>> = HashMap::new();
    loop {
        let task = tokio::select! {
            task = ended.recv() => task,
            () = stopped(&mut shutdown) => return,
        };
        let task = match task {
            Ok(task) => task,
            Err(RecvError::Lagged(missed)) => {
                tracing::error!(missed, "webhooks are not told of tasks that ended too fast");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let all = book.all.load_full();
        // One that is gone tells what waits for it, and no more.
        queues.retain(|uuid, _| all.contains_key(uuid));
        if all.is_empty() {
            continue;
        }
        let line = Bytes::from(format!("{}\n", task_view(&task, format)));
        for uuid in all.keys() {
            let queue = queues.entry(*uuid).or_insert_with(|| {
                let (queue, waiting) = mpsc::channel(MOST_WAITING);
                tokio::spawn(tell(Arc::clone(&book), *uuid, waiting));
                queue
            });
            if queue.try_send(line.clone()).is_err() {
                tracing::error!(webhook = %uuid, task = %task.id(), "a webhook is too slow, and is not told of a task");
            }
        }
    }
}

/// Tells one webhook what `waiting` brings, in order, until it is gone.
async fn tell(book: Arc<WebhookBook>, uuid: Uuid, mut waiting: mpsc::Receiver<Bytes>) {
    let mut lines = Vec::new();
    while waiting.recv_many(&mut lines, AT_ONCE).await > 0 {
        let body = packed(&lines);
        let mut pauses = PAUSES.into_iter();
        loop {
            let Some(webhook) = book.all.load().get(&uuid).cloned() else { return };
            let Err(untold) = send(webhook, body.clone()).await else { break };
            match pauses.next().filter(|_| untold.may_pass()) {
                Some(pause) => {
                    tracing::warn!(webhook = %uuid, %untold, "a webhook is told again");
                    tokio::time::sleep(pause).await;
                }
                None => {
                    let tasks = lines.len();
                    tracing::error!(webhook = %uuid, %untold, tasks, "a webhook was not told of tasks that have ended");
                    break;
                }
            }
        }
        lines.clear();
    }
}

fn packed(lines: &[Bytes]) -> Bytes {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    for line in lines {
        packer.write_all(line).expect("memory takes what is written");
    }
    Bytes::from(packer.finish().expect("memory takes what is written"))
}

/// One attempt, on a thread that may block.
async fn send(webhook: Webhook, body: Bytes) -> Result<(), Untold> {
    let sent = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
        let mut request =
            agent.post(&webhook.url).header("Content-Encoding", "gzip").header("Content-Type", "application/x-ndjson");
        for (name, value) in &webhook.headers {
            request = request.header(name, value);
        }
        request.send(&body[..]).map(drop)
    });
    match sent.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Untold::from(error)),
        Err(_) => Err(Untold::Request),
    }
}

// === impl Untold ===

impl Untold {
    /// False for what the same request would meet again.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(status) => *status >= 500 || *status == 429,
            Self::Timeout | Self::Unreachable => true,
            Self::Request => false,
        }
    }
}

impl From<ureq::Error> for Untold {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::StatusCode(status) => Self::Status(status),
            ureq::Error::Timeout(_) => Self::Timeout,
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Self::Request,
            _ => Self::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn lines_are_packed_as_one_body() {
        let body = packed(&[Bytes::from("{\"uid\":1}\n"), Bytes::from("{\"uid\":2}\n")]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"uid\":1}\n{\"uid\":2}\n");
    }

    #[tokio::test]
    async fn what_a_log_shows_holds_no_secret() {
        let webhook = |url: &str| Webhook {
            url: url.to_owned(),
            headers: [("Authorization".to_owned(), "sesame".to_owned())].into(),
        };
        for url in ["http://127.0.0.1:1/sesame?key=sesame", "gopher://sesame"] {
            let untold = send(webhook(url), Bytes::new()).await.unwrap_err();
            assert!(!format!("{untold} {untold:?}").contains("sesame"), "{untold:?}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(
            [Untold::Status(503), Untold::Status(429), Untold::Timeout, Untold::Unreachable]
                .iter()
                .all(Untold::may_pass)
        );
        assert!(![Untold::Status(404), Untold::Status(401), Untold::Request].iter().any(Untold::may_pass));
    }
}
