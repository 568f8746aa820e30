//! Another Meilisearch, or a gateway, as who sends it documents speaks with it. Blocking.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::meili::error::ResponseError;
use crate::settings::Secret;

/// How long one request may take: a body of documents on a slow line.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How long a request that may succeed another time is tried again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where it is, and the key that it asks for.
pub struct Remote {
    url: String,
    key: Option<Secret>,
    agent: ureq::Agent,
}

/// Why it did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("{}", .0.message)]
    Refused(ResponseError),
    /// No answer, or none that is one of Meilisearch's.
    #[error("{0}")]
    Unreachable(String),
}

// === impl Remote ===

impl Remote {
    /// Nothing is sent yet. `url` may end with a slash.
    pub fn new(url: &str, key: Option<Secret>) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        Self { url: url.trim_end_matches('/').to_owned(), key, agent: config.build().into() }
    }

    /// `None` where there is no such thing.
    pub fn get(&self, path: &str) -> Result<Option<Value>, RemoteError> {
        match self.send("GET", path, None) {
            Ok(found) => Ok(Some(found)),
            Err(RemoteError::Refused(error)) if error.code.ends_with("_not_found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends JSON and reads JSON; null for an answer without a body.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, RemoteError> {
        let bytes = body.map(|body| body.to_string().into_bytes());
        self.patiently(method, path, bytes.as_deref(), &[("Content-Type", "application/json")])
    }

    /// Adds documents, a line each; the answer announces the task.
    pub fn add(&self, index: &str, query: &str, lines: &[u8]) -> Result<Value, RemoteError> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let packed = packed.write_all(lines).and_then(|()| packed.finish());
        let packed = packed.map_err(|error| RemoteError::Unreachable(error.to_string()))?;
        let headers = [("Content-Type", "application/x-ndjson"), ("Content-Encoding", "gzip")];
        self.patiently("POST", &format!("/indexes/{index}/documents{query}"), Some(&packed), &headers)
    }

    /// Waits until the task that `accepted` announces has ended; the task.
    pub fn wait(&self, accepted: &Value) -> Result<Value, RemoteError> {
        let id = accepted.get("taskUid").or_else(|| accepted.get("uid")).unwrap_or(&Value::Null);
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let mut pause = Duration::from_millis(20);
        loop {
            let task = self.send("GET", &format!("/tasks/{id}"), None)?;
            if !matches!(task["status"].as_str(), Some("enqueued" | "processing")) {
                return Ok(task);
            }
            rest(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    fn patiently(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) -> Result<Value, RemoteError> {
        let until = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(200);
        loop {
            let (error, passes) = match self.once(method, path, body, headers) {
                Ok((200..300, text)) if text.is_empty() => return Ok(Value::Null),
                Ok((200..300, text)) => {
                    return serde_json::from_str(&text)
                        .map_err(|_| RemoteError::Unreachable("the answer is no JSON".to_owned()));
                }
                Ok((status, text)) => {
                    let error = serde_json::from_str::<ResponseError>(&text);
                    let error = error.map_or_else(
                        |_| RemoteError::Unreachable(format!("answered {status}")),
                        |error| RemoteError::Refused(ResponseError { status, ..error }),
                    );
                    (error, matches!(status, 408 | 429 | 500 | 502..=504))
                }
                Err(error) => (RemoteError::Unreachable(error), true),
            };
            if !passes || Instant::now() + pause > until {
                return Err(error);
            }
            rest(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    fn once(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) -> Result<(u16, String), String> {
        let told = |error: ureq::Error| error.to_string();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {}", key.expose()));
        }
        let answer = match body {
            None => self.agent.run(request.body(()).map_err(|error| error.to_string())?),
            Some(body) => {
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                self.agent.run(request.body(body).map_err(|error| error.to_string())?)
            }
        };
        let mut answer = answer.map_err(told)?;
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().map_err(told)?;
        Ok((answer.status().as_u16(), text))
    }
}

/// A pause of a thread of its own.
#[allow(clippy::disallowed_methods, reason = "no runtime waits for this thread")]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}
