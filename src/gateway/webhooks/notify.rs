//! Tells webhooks of tasks that have ended: each task once, with the gateway's own id, in the engine's form (lines of JSON,
//! packed by gzip, in chunks). A webhook that does not answer is tried again a few times, and keeps nobody else waiting; what it misses
//! then is gone, as with one node. How far each has been told is on disk.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use ureq::SendBody;
use uuid::Uuid;

use super::WebhookBook;
use crate::gateway::rule_metrics::Told;
use crate::meili::webhook::Webhook;
use crate::nodes::shutdown::stopped;
use crate::tasks::entry::MiroirTask;
use crate::tasks::view::{UidFormat, UidFormatSetting, task_view};

/// How long one attempt may take, as in the engine.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Of so many tasks it is known that a webhook has heard of them.
const MOST_HEARD: usize = 10_000;
/// The pauses before further attempts.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

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

/// Tells webhooks until `shutdown` turns true. `ended` says when a task has ended; which, the book knows.
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
    let news = watch::Sender::new(());
    let mut told: HashMap<Uuid, JoinHandle<()>> = HashMap::new();
    loop {
        // One that has found its listener gone may have one again since.
        told.retain(|_, telling| !telling.is_finished());
        for uuid in book.everybody() {
            told.entry(uuid).or_insert_with(|| tokio::spawn(tell(Arc::clone(&book), uuid, format, news.subscribe())));
        }
        let end = tokio::select! {
            end = ended.recv() => end,
            () = stopped(&mut shutdown) => return,
        };
        match end {
            // What came too fast to be heard is on disk all the same.
            Ok(_) | Err(RecvError::Lagged(_)) => news.send_replace(()),
            Err(RecvError::Closed) => return,
        };
    }
}

/// Tells one webhook of all that it was not told of, in order, until it is gone. What it has not heard when the gateway stops,
/// it hears after the next start.
async fn tell(book: Arc<WebhookBook>, uuid: Uuid, format: UidFormat, mut news: watch::Receiver<()>) {
    // A task whose row is written again after its end ends twice for the book.
    let mut heard: HashSet<u32> = HashSet::new();
    loop {
        news.mark_unchanged();
        let untold = match book.untold(uuid).await {
            Ok(Some(untold)) => untold,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(webhook = %uuid, %error, "what a webhook is to be told cannot be read");
                Vec::new()
            }
        };
        let Some((last, _)) = untold.last() else {
            if news.changed().await.is_err() {
                return;
            }
            continue;
        };
        let last = *last;
        let Some(listener) = book.listener(uuid) else { return };
        if heard.len() > MOST_HEARD {
            heard.clear();
        }
        let wanted = untold.iter().map(|(_, task)| task).filter(|task| listener.wants(task) && heard.insert(task.uid));
        let lines: Vec<String> = wanted.map(|task| format!("{}\n", task_view(task, format))).collect();
        if !lines.is_empty() && !tell_at_once(&book, uuid, &lines).await {
            return;
        }
        if let Err(error) = book.note_told(uuid, last).await {
            tracing::error!(webhook = %uuid, %error, "that a webhook was told could not be stored");
        }
    }
}

/// Tries a few times; what fails them all is missed. False when the webhook is gone.
async fn tell_at_once(book: &WebhookBook, uuid: Uuid, lines: &[String]) -> bool {
    let body = packed(lines);
    let mut pauses = PAUSES.into_iter();
    loop {
        let Some(listener) = book.listener(uuid) else { return false };
        let Err(untold) = send(listener.webhook().clone(), body.clone()).await else {
            book.count(&listener, lines.len(), Told::Heard);
            return true;
        };
        let rule = listener.rule();
        match pauses.next().filter(|_| untold.may_pass()) {
            Some(pause) => {
                tracing::warn!(webhook = %uuid, rule, %untold, "a webhook is told again");
                tokio::time::sleep(pause).await;
            }
            None => {
                let tasks = lines.len();
                book.count(&listener, tasks, Told::Missed);
                tracing::error!(webhook = %uuid, rule, %untold, tasks, "a webhook was not told of tasks that have ended");
                return true;
            }
        }
    }
}

fn packed(lines: &[String]) -> Bytes {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    for line in lines {
        packer.write_all(line.as_bytes()).expect("memory takes what is written");
    }
    Bytes::from(packer.finish().expect("memory takes what is written"))
}

/// One attempt, on a thread that may block.
async fn send(webhook: Webhook, body: Bytes) -> Result<(), Untold> {
    let sent = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
        let mut request =
            agent.post(&webhook.url).header("Content-Encoding", "gzip").header("Content-Type", "application/x-ndjson");
        if !webhook.headers.keys().any(|name| name.eq_ignore_ascii_case("Accept-Encoding")) {
            request = request.header("Accept-Encoding", "gzip");
        }
        for (name, value) in &webhook.headers {
            request = request.header(name, value);
        }
        // Of unknown length, and so chunked, as the engine sends it: receivers were written for that.
        request.send(SendBody::from_reader(&mut &body[..])).map(drop)
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
        let body = packed(&["{\"uid\":1}\n".to_owned(), "{\"uid\":2}\n".to_owned()]);
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
