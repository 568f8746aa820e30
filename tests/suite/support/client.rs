//! A small blocking HTTP client that never hides a status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::strict;

/// One endpoint: a node or a gateway.
#[derive(Clone)]
pub struct Client {
    pub url: String,
    pub key: Option<String>,
    hidden: Hidden,
    agent: ureq::Agent,
    /// All that it may go to, where they are several.
    choice: Option<Arc<Choice>>,
}

/// Several that do the same.
struct Choice {
    urls: Vec<String>,
    turn: AtomicUsize,
}

/// Whether answers may name Miroir's own fields, where the request did not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// Nodes and operators see them.
    Shows,
    Stays,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

// === impl Client ===

impl Client {
    pub fn new(url: &str) -> Self {
        Self::with_limit(url, Duration::from_secs(60))
    }

    /// A client that waits no longer than `limit` for an answer.
    pub fn with_limit(url: &str, limit: Duration) -> Self {
        Self::with_tls(url, limit, ureq::tls::TlsConfig::default())
    }

    pub fn with_tls(url: &str, limit: Duration, tls: ureq::tls::TlsConfig) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(limit))
            .allow_non_standard_methods(true)
            .tls_config(tls)
            .build();
        Self { url: url.to_owned(), key: None, hidden: Hidden::Stays, agent: config.into(), choice: None }
    }

    /// A client of all that `urls` name: each request goes to another one, by chance, and where nobody listens to the next.
    pub fn of_any(&self, urls: Vec<String>) -> Self {
        Self { choice: Some(Arc::new(Choice { urls, turn: AtomicUsize::new(0) })), ..self.clone() }
    }

    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// A client that sees what clients must not.
    pub fn seeing_hidden(&self) -> Self {
        Self { hidden: Hidden::Shows, ..self.clone() }
    }

    fn check_hidden(&self, path: &str, body: &[u8], answer: &str) {
        let names = |text: &str| text.contains("_miroir");
        let asked = names(path) || names(&String::from_utf8_lossy(body));
        let shows = self.hidden == Hidden::Stays && !asked && names(answer);
        assert!(!shows, "{}{path}: a name of Miroir's own shows: {answer}", self.url);
    }

    /// Sends a request; `Err` only when no answer came.
    pub fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, String> {
        let Some(choice) = &self.choice else {
            return self.send_to(&self.url, method, path, headers, body).map_err(|error| error.to_string());
        };
        let mut last = String::new();
        for url in choice.order() {
            match self.send_to(url, method, path, headers, body) {
                Err(error) if nobody_listens(&error) => last = error.to_string(),
                result => return result.map_err(|error| format!("{url}: {error}")),
            }
        }
        Err(last)
    }

    fn send_to(
        &self,
        url: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{url}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let bodiless = body.is_empty() && matches!(method, "GET" | "DELETE" | "HEAD" | "OPTIONS");
        let answer =
            if bodiless { self.agent.run(request.body(())?) } else { self.agent.run(request.body(body.to_vec())?) };
        let mut answer = answer?;
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string()?;
        self.check_hidden(path, body, &text);
        Ok(Reply { status, headers, text })
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {}{path}: {error}", self.url))
    }

    /// A body as it comes, with the value of its `Content-Encoding`.
    pub fn get_encoded(&self, path: &str, accept: &str) -> (Option<String>, Vec<u8>) {
        let request = self.agent.get(format!("{}{path}", self.url)).header("Accept-Encoding", accept);
        let mut answer = request.call().expect("an answer");
        let encoding = answer.headers().get("content-encoding").map(|value| value.to_str().expect("text").to_owned());
        (encoding, answer.body_mut().read_to_vec().expect("a body"))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], b"")
    }

    pub fn json(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.json("POST", path, body)
    }

    /// Waits until the task that `reply` announces has ended, and returns it.
    pub fn wait(&self, reply: &Reply) -> Value {
        // Writes are accepted with 202, cancelations and deletions of tasks with 200.
        assert!(matches!(reply.status, 200 | 202), "{}: not accepted: {}", self.url, reply.text);
        let id = &reply.value()["taskUid"];
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        self.wait_id(&id)
    }

    pub fn wait_id(&self, id: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let task = self.get(&format!("/tasks/{id}")).ok();
            match task["status"].as_str() {
                Some("succeeded" | "failed" | "canceled") => return task,
                _ if Instant::now() > until => panic!("{}: task {id} does not end: {task}", self.url),
                _ => pause(Duration::from_millis(15)),
            }
        }
    }

    /// Waits for the task and insists that it succeeded.
    pub fn done(&self, reply: &Reply) -> Value {
        let task = self.wait(reply);
        assert_eq!(task["status"], "succeeded", "{}: {task}", self.url);
        task
    }

    pub fn add(&self, index: &str, documents: &Value) -> Value {
        self.done(&self.post(&format!("/indexes/{index}/documents"), documents))
    }

    /// Every document of an index by id.
    pub fn documents(&self, index: &str) -> BTreeMap<String, Value> {
        eventually("a list that lacks no shard", || self.all_documents(index))
    }

    /// `None` where an answer says that it lacks shards.
    fn all_documents(&self, index: &str) -> Option<BTreeMap<String, Value>> {
        let mut found = BTreeMap::new();
        let mut offset = 0;
        loop {
            let reply = self.get(&format!("/indexes/{index}/documents?limit=1000&offset={offset}"));
            if reply.header("x-miroir-degraded").is_some() {
                return None;
            }
            let page = reply.ok();
            let results = page["results"].as_array().expect("results");
            for document in results {
                let id = id_of(document);
                assert!(found.insert(id, document.clone()).is_none(), "a document is listed twice: {document}");
            }
            if results.is_empty() || found.len() as u64 >= page["total"].as_u64().unwrap_or(0) {
                return Some(found);
            }
            offset += results.len();
        }
    }

    pub fn search(&self, index: &str, query: &Value) -> Value {
        self.post(&format!("/indexes/{index}/search"), query).ok()
    }
}

// === impl Choice ===

impl Choice {
    /// One after the other, from one that chance names.
    fn order(&self) -> impl Iterator<Item = &String> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as u64;
        let first = (turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize % self.urls.len();
        self.urls.iter().cycle().skip(first).take(self.urls.len())
    }
}

/// Nothing of the request was sent.
pub fn nobody_listens(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        error => matches!(error, ureq::Error::ConnectionFailed),
    }
}

// === impl Reply ===

impl Reply {
    pub fn value(&self) -> Value {
        strict::parse(&self.text).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text))
    }

    /// The JSON of a successful answer.
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "status {}: {}", self.status, self.text);
        if self.text.is_empty() { Value::Null } else { self.value() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// True for a document of words, which only nodes show.
pub fn holds_words(document: &Value) -> bool {
    document.get("_miroir_words").is_some()
}

/// A document's id as text.
pub fn id_of(document: &Value) -> String {
    document["id"].as_str().map_or_else(|| document["id"].to_string(), str::to_owned)
}

/// Waits between two looks at something that another process does; never used to make a test pass by itself.
#[allow(clippy::disallowed_methods)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Waits until whoever counts has come so much further.
pub fn more(count: &AtomicUsize, by: usize) {
    let before = count.load(Ordering::Relaxed);
    eventually(&format!("{by} more"), || (count.load(Ordering::Relaxed) >= before + by).then_some(()));
}

/// Looks until `look` gives something.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(60), what, look)
}

/// Looks until `look` gives something, not longer than `limit`.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "did not happen within {limit:?}: {what}");
        pause(Duration::from_millis(20));
    }
}
