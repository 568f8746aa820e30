//! A node that has no engine: it answers searches with replies that real nodes once gave, and the rest as far as a gateway asks.
//!
//! A search is answered by its `q`, which names a recording: `replies/<q>-<node>.json`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

/// What a real node of Meilisearch 1.50 with a third of 20,000 cities answered to the gateway's subrequests.
const RECORDINGS: &[(&str, [&str; 3])] = &[
    (
        "words",
        [
            include_str!("replies/words-0.json"),
            include_str!("replies/words-1.json"),
            include_str!("replies/words-2.json"),
        ],
    ),
    (
        "facets",
        [
            include_str!("replies/facets-0.json"),
            include_str!("replies/facets-1.json"),
            include_str!("replies/facets-2.json"),
        ],
    ),
    (
        "sorted",
        [
            include_str!("replies/sorted-0.json"),
            include_str!("replies/sorted-1.json"),
            include_str!("replies/sorted-2.json"),
        ],
    ),
];

/// One stub; its threads end with the program.
pub struct Stub {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    /// By `q`, as bytes of a whole HTTP answer.
    replies: BTreeMap<&'static str, Vec<u8>>,
    settings: Mutex<BTreeMap<String, Map<String, Value>>>,
    /// The document by which the gateway knows the node.
    identity: Mutex<Option<Value>>,
    tasks: AtomicU64,
    searches: AtomicU64,
}

struct Asked {
    method: String,
    path: String,
    body: Vec<u8>,
}

// === impl Stub ===

impl Stub {
    /// The `at`th node of a cluster; recordings are of three, further nodes answer as one of these.
    pub fn start(at: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            replies: RECORDINGS.iter().map(|(name, of)| (*name, answer(200, of[at % 3].trim_end()))).collect(),
            settings: Mutex::default(),
            identity: Mutex::default(),
            tasks: AtomicU64::new(0),
            searches: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Self { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many searches it has answered.
    pub fn searches(&self) -> u64 {
        self.state.searches.load(Ordering::Relaxed)
    }
}

// === impl State ===

impl State {
    /// Answers one request after the other.
    fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).expect("an open socket");
        let mut writer = stream.try_clone().expect("a second handle");
        let mut reader = BufReader::with_capacity(1 << 16, stream);
        while let Some(asked) = read_request(&mut reader) {
            let sent = match self.recorded(&asked) {
                Some(reply) => writer.write_all(reply),
                None => {
                    let (status, body) = self.other(&asked);
                    writer.write_all(&answer(status, &body.to_string()))
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn recorded(&self, asked: &Asked) -> Option<&[u8]> {
        if !asked.path.ends_with("/search") {
            return None;
        }
        self.searches.fetch_add(1, Ordering::Relaxed);
        let body = std::str::from_utf8(&asked.body).ok()?;
        let (_, rest) = body.split_once(r#""q":""#)?;
        self.replies.get(rest.split_once('"')?.0).map(Vec::as_slice)
    }

    /// What a gateway asks beside searches. Tasks have succeeded as soon as they are there.
    fn other(&self, asked: &Asked) -> (u16, Value) {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let body = || serde_json::from_slice::<Value>(&asked.body).unwrap_or_default();
        match (asked.method.as_str(), parts.as_slice()) {
            (_, ["health"]) => (200, json!({"status": "available"})),
            (_, ["version"]) => (200, json!({"commitSha": "unknown", "commitDate": "unknown", "pkgVersion": "1.50.0"})),
            (_, ["experimental-features"]) => (200, json!({})),
            ("GET", ["tasks", uid]) => (200, ended(uid.parse().unwrap_or(0))),
            ("GET", ["tasks"]) => (200, tasks(query)),
            ("GET", ["indexes"]) => (200, self.indexes()),
            ("POST", ["indexes"]) => {
                let uid = body()["uid"].as_str().unwrap_or_default().to_owned();
                self.settings.lock().insert(uid.clone(), default_settings());
                self.accepted("indexCreation", &uid)
            }
            ("GET", ["indexes", "_miroir", "documents", _]) => match self.identity.lock().clone() {
                Some(identity) => (200, identity),
                None => not_found("index_not_found"),
            },
            ("POST" | "PUT", ["indexes", "_miroir", "documents"]) => {
                *self.identity.lock() = body().get(0).cloned();
                self.accepted("documentAdditionOrUpdate", "_miroir")
            }
            ("POST" | "PUT", ["indexes", uid, "documents"]) => self.accepted("documentAdditionOrUpdate", uid),
            ("POST", ["indexes", _, "documents", "fetch"]) => {
                (200, json!({"results": [], "offset": 0, "limit": 20, "total": 0}))
            }
            ("GET", ["indexes", uid, "settings"]) => match self.settings.lock().get(*uid) {
                Some(settings) => (200, Value::Object(settings.clone())),
                None => not_found("index_not_found"),
            },
            ("PATCH", ["indexes", uid, "settings"]) => {
                let mut settings = self.settings.lock();
                let own = settings.entry((*uid).to_owned()).or_insert_with(default_settings);
                own.extend(body().as_object().cloned().unwrap_or_default());
                self.accepted("settingsUpdate", uid)
            }
            _ => not_found("not_found"),
        }
    }

    fn indexes(&self) -> Value {
        let of = |uid: &str, key: Value| json!({"uid": uid, "createdAt": DATE, "updatedAt": DATE, "primaryKey": key});
        let mut all: Vec<Value> = self.settings.lock().keys().map(|uid| of(uid, json!("id"))).collect();
        all.extend(self.identity.lock().is_some().then(|| of("_miroir", json!("id"))));
        json!({"total": all.len(), "results": all, "offset": 0, "limit": 100_000})
    }

    fn accepted(&self, kind: &str, index: &str) -> (u16, Value) {
        let uid = self.tasks.fetch_add(1, Ordering::Relaxed);
        (202, json!({"taskUid": uid, "indexUid": index, "status": "enqueued", "type": kind, "enqueuedAt": DATE}))
    }
}

const DATE: &str = "2026-01-01T00:00:00Z";

/// A task as it is shown.
fn ended(uid: u64) -> Value {
    json!({"uid": uid, "batchUid": uid, "indexUid": null, "status": "succeeded", "type": "documentAdditionOrUpdate",
        "canceledBy": null, "details": {}, "error": null, "duration": "PT0.001S", "enqueuedAt": DATE,
        "startedAt": DATE, "finishedAt": DATE})
}

/// Those that are asked for by their uids.
fn tasks(query: &str) -> Value {
    let named = query.split('&').find_map(|parameter| parameter.strip_prefix("uids=")).unwrap_or_default();
    let results: Vec<Value> = named.split(',').filter_map(|uid| uid.parse().ok()).map(ended).collect();
    json!({"total": results.len(), "results": results, "limit": 20, "from": null, "next": null})
}

fn not_found(code: &str) -> (u16, Value) {
    let message = "It is not there.";
    (404, json!({"message": message, "code": code, "type": "invalid_request", "link": ""}))
}

/// Those of a new index.
fn default_settings() -> Map<String, Value> {
    let settings = json!({"displayedAttributes": ["*"], "searchableAttributes": ["*"], "filterableAttributes": [],
        "sortableAttributes": [], "rankingRules":
        ["words", "typo", "proximity", "attributeRank", "sort", "wordPosition", "exactness"],
        "stopWords": [], "nonSeparatorTokens": [], "separatorTokens": [], "dictionary": [], "synonyms": {},
        "distinctAttribute": null, "proximityPrecision": "byWord", "typoTolerance": {"enabled": true,
        "minWordSizeForTypos": {"oneTypo": 5, "twoTypos": 9}, "disableOnWords": [], "disableOnAttributes": [],
        "disableOnNumbers": false}, "faceting": {"maxValuesPerFacet": 100, "sortFacetValuesBy": {"*": "alpha"}},
        "pagination": {"maxTotalHits": 1000}, "embedders": {}, "searchCutoffMs": null, "localizedAttributes": null,
        "facetSearch": true, "prefixSearch": "indexingTime"});
    settings.as_object().cloned().unwrap_or_default()
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} Of A Stub\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body.as_bytes()].concat()
}

/// `None` when the connection ends.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end().to_ascii_lowercase();
        match header.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("transfer-encoding", value)) => chunked = value == "chunked",
            Some(_) => {}
            None => break,
        }
    }
    let is_large = length > 1 << 20;
    let mut body = Vec::new();
    if chunked {
        read_chunks(reader)?;
    } else if is_large {
        std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    } else {
        reader.take(length).read_to_end(&mut body).ok()?;
    }
    Some(Asked { method, path, body })
}

/// What comes in chunks are documents, which a stub does not look at.
fn read_chunks(reader: &mut BufReader<TcpStream>) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = u64::from_str_radix(line.trim(), 16).ok()?;
        std::io::copy(&mut reader.take(length + 2), &mut std::io::sink()).ok()?;
        if length == 0 {
            return Some(());
        }
    }
}
