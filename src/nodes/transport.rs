//! How bytes get to a node and back: connections by Pingora's connector, kept and used again, behind a small trait.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use http::header::HeaderValue;
use parking_lot::RwLock;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;

use super::credentials::Credentials;
use super::error::{NodeError, NodeErrorKind};
use super::exchange::{Failure, TOGETHER, exchange};
use super::idle::{Bound, Idle};
use super::message::{NodeReply, Subrequest, Trace};
use crate::placement::topology::Node;
use crate::settings::{Live, Secret};
use crate::tls::nodes::NodeTls;
use crate::traces;

/// A reply that is larger is refused: no answer of a node to the gateway's own requests comes near it.
const MAX_REPLY: usize = 256 << 20;
/// How many idle connections to nodes are kept, over all of them, where `pingora.upstream_keepalive_pool_size` says nothing.
pub const KEEPALIVE_POOL_SIZE: usize = 1024;

/// Carries one subrequest to a node. Whoever calls puts the time limit round it.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    async fn exchange(&self, node: &Node, request: &Subrequest, trace: &Trace) -> Result<NodeReply, NodeError>;

    /// The same by another key than the configured one. Where nodes look at no keys, any will do.
    async fn exchange_as(
        &self,
        node: &Node,
        request: &Subrequest,
        trace: &Trace,
        _key: Option<&Secret>,
    ) -> Result<NodeReply, NodeError> {
        self.exchange(node, request, trace).await
    }

    /// Nodes are shown this key from now on, where another one was configured.
    fn show(&self, _key: Option<&Secret>) {}
}

/// Where a node's url leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As `Host` and, for TLS, as the name the certificate must bear.
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// What the url has before every path, without a trailing slash.
    pub prefix: String,
}

/// The transport of production: HTTP/1.1 over connections that Pingora's connector makes, kept alive.
pub struct PingoraTransport {
    connector: TransportConnector,
    /// Guards what was made of each url: it is parsed and resolved once, not for each subrequest.
    targets: RwLock<HashMap<String, Arc<Target>>>,
    idle: Bound,
    connect_timeout: Duration,
    tls: NodeTls,
    /// `Bearer <node key>`; an error where the key is no header value.
    authorization: Live<Result<Option<Secret>, NotAHeader>>,
    max_reply: usize,
}

#[derive(Debug, Clone, Copy)]
struct NotAHeader;

/// A url, ready to be asked.
struct Target {
    endpoint: Endpoint,
    /// The value of the header `Host`.
    authority: String,
    /// Guards the addresses found for the host, as peers; the one that answered last comes first. Empty before they are looked
    /// for, and after none has answered.
    peers: RwLock<Arc<[HttpPeer]>>,
    idle: Idle,
}

// === impl Endpoint ===

impl Endpoint {
    /// Reads `http://host:port/prefix`. The error says what was expected: another scheme, credentials, a query or a fragment are
    /// refused.
    pub fn parse(url: &str) -> Result<Self, String> {
        let parsed = url::Url::parse(url).map_err(|error| error.to_string())?;
        let tls = match parsed.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("expected http or https, got `{other}`")),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("credentials do not belong into a url".to_owned());
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err("a node's url has no query and no fragment".to_owned());
        }
        let host = parsed.host_str().ok_or("expected a host")?.to_owned();
        let port = parsed.port_or_known_default().ok_or("expected a port")?;
        Ok(Self { host, port, tls, prefix: parsed.path().trim_end_matches('/').to_owned() })
    }

    /// The value of the header `Host`.
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// Asks the resolver, off the caller's thread.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((host, self.port)).await.map_err(|error| error.to_string())?;
        let addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() { Err(format!("`{host}` has no address")) } else { Ok(addresses) }
    }
}

// === impl PingoraTransport ===

impl PingoraTransport {
    /// `connect_timeout` is for TCP, and twice as long with TLS. Up to `keepalive_pool_size` idle connections are kept.
    pub fn new(connect_timeout: Duration, keepalive_pool_size: usize, credentials: &Credentials) -> Self {
        Self {
            tls: credentials.tls.clone(),
            // Its own pool stays empty.
            connector: TransportConnector::new(Some(ConnectorOptions::new(1))),
            targets: RwLock::default(),
            idle: Bound::new(keepalive_pool_size),
            connect_timeout,
            authorization: Live::new(bearer(credentials.key.as_ref())),
            max_reply: MAX_REPLY,
        }
    }

    fn target(&self, url: &str) -> Result<Arc<Target>, String> {
        if let Some(known) = self.targets.read().get(url) {
            return Ok(Arc::clone(known));
        }
        let endpoint = Endpoint::parse(url)?;
        let target = Arc::new(Target {
            authority: endpoint.authority(),
            endpoint,
            peers: RwLock::new(Arc::new([])),
            idle: Idle::new(self.idle.clone()),
        });
        Ok(Arc::clone(self.targets.write().entry(url.to_owned()).or_insert(target)))
    }

    /// Connections to nodes that have left are asked for by nobody, and must not take the place of others for ever.
    fn make_room(&self) {
        if self.idle.is_reached() {
            self.targets.read().values().for_each(|target| target.idle.forget_old());
        }
    }

    async fn peers_of(&self, target: &Target) -> Result<Arc<[HttpPeer]>, NodeErrorKind> {
        let known = Arc::clone(&target.peers.read());
        if !known.is_empty() {
            return Ok(known);
        }
        let addresses = target.endpoint.resolve().await.map_err(NodeErrorKind::Resolve)?;
        let found: Arc<[HttpPeer]> =
            addresses.into_iter().map(|address| self.peer(&target.endpoint, address)).collect();
        *target.peers.write() = Arc::clone(&found);
        Ok(found)
    }

    /// A connection to the first address that answers. When none does, the next call resolves the name again.
    async fn connect(&self, target: &Target) -> Result<Stream, NodeErrorKind> {
        let peers = self.peers_of(target).await?;
        let mut last = NodeErrorKind::Connect("it has no address".to_owned());
        for (position, peer) in peers.iter().enumerate() {
            match self.connector.new_stream(peer).await {
                Ok(stream) => {
                    if position > 0 {
                        let mut preferred = peers.to_vec();
                        preferred.swap(0, position);
                        *target.peers.write() = preferred.into();
                    }
                    return Ok(stream);
                }
                Err(error) if *error.etype() == pingora::ErrorType::ConnectTimedout => {
                    last = NodeErrorKind::ConnectTimeout(error.to_string());
                }
                Err(error) => last = NodeErrorKind::Connect(error.to_string()),
            }
        }
        *target.peers.write() = Arc::new([]);
        Err(last)
    }

    fn peer(&self, endpoint: &Endpoint, address: SocketAddr) -> HttpPeer {
        let sni = if endpoint.tls { endpoint.host.clone() } else { String::new() };
        let mut peer = HttpPeer::new(address, endpoint.tls, sni);
        peer.options.connection_timeout = Some(self.connect_timeout);
        peer.options.total_connection_timeout = Some(self.connect_timeout.saturating_mul(2));
        self.tls.apply(&mut peer);
        peer
    }

    /// The head of `request` as it goes over the wire, with `key` in the place of the configured one.
    fn head(
        &self,
        target: &Target,
        request: &Subrequest,
        trace: &Trace,
        key: Option<&Secret>,
    ) -> Result<Vec<u8>, NodeErrorKind> {
        let local = |reason: &str| NodeErrorKind::Local(reason.to_owned());
        // Either comes from clients, who must not write a line of their own.
        if !request.path.bytes().all(|byte| byte > b' ' && byte != 0x7f) {
            return Err(local("the path is none"));
        }
        HeaderValue::from_str(&trace.request_id).map_err(|_| local("the request's id is no header value"))?;
        let body = usize::try_from(request.body.len()).unwrap_or(usize::MAX).min(TOGETHER);
        let mut head = Vec::with_capacity(512 + request.path.len() + body);
        let mut add = |parts: &[&str]| parts.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
        let Endpoint { prefix, .. } = &target.endpoint;
        add(&[request.method.as_str(), " ", prefix, &request.path, " HTTP/1.1\r\nhost: ", &target.authority]);
        add(&["\r\nx-request-id: ", &trace.request_id, "\r\naccept: application/json"]);
        if let Some(parent) = traces::told(&trace.parent) {
            add(&["\r\ntraceparent: ", &parent]);
        }
        // An error of the header would quote the value.
        match (key, &**self.authorization.get()) {
            (Some(key), _) if HeaderValue::from_str(key.expose()).is_err() => {
                return Err(local("a node's key is no header value"));
            }
            (Some(key), _) => add(&["\r\nauthorization: Bearer ", key.expose()]),
            (None, Ok(Some(authorization))) => add(&["\r\nauthorization: ", authorization.expose()]),
            (None, Ok(None)) => {}
            (None, Err(NotAHeader)) => return Err(local("the node key is no header value")),
        }
        if let Some(content_type) = request.content_type {
            add(&["\r\ncontent-type: ", content_type]);
        }
        let length = request.body.len();
        if length > 0 || request.method != http::Method::GET {
            add(&["\r\ncontent-length: ", &length.to_string()]);
        }
        add(&["\r\n\r\n"]);
        Ok(head)
    }
}

#[async_trait]
impl Transport for PingoraTransport {
    async fn exchange(&self, node: &Node, request: &Subrequest, trace: &Trace) -> Result<NodeReply, NodeError> {
        self.exchange_as(node, request, trace, None).await
    }

    fn show(&self, key: Option<&Secret>) {
        self.authorization.set(bearer(key));
    }

    async fn exchange_as(
        &self,
        node: &Node,
        request: &Subrequest,
        trace: &Trace,
        key: Option<&Secret>,
    ) -> Result<NodeReply, NodeError> {
        let failed = |kind| NodeError::new(&node.id, kind);
        let target = self.target(&node.url).map_err(|reason| failed(NodeErrorKind::Resolve(reason)))?;
        loop {
            let head = self.head(&target, request, trace, key).map_err(failed)?;
            let kept = target.idle.take();
            let reused = kept.is_some();
            let mut stream = match kept {
                Some(stream) => stream,
                // Apart: what connecting takes is many times what an exchange takes, and rarely needed.
                None => self.connect(&target).boxed().await.map_err(failed)?,
            };
            match exchange(&mut stream, head, &request.body, self.max_reply).await {
                Ok(answered) => {
                    if answered.reusable {
                        self.make_room();
                        target.idle.put(stream);
                    }
                    return Ok(answered.reply);
                }
                // The node had closed it meanwhile. Each round uses up a kept connection; a fresh one ends the loop.
                Err(Failure::Unanswered(_)) if reused && request.idempotent => {}
                Err(Failure::Unanswered(kind) | Failure::Failed(kind)) => return Err(failed(kind)),
            }
        }
    }
}

/// `Bearer <key>`.
fn bearer(key: Option<&Secret>) -> Result<Option<Secret>, NotAHeader> {
    let bearer = key.map(|key| {
        let value = format!("Bearer {}", key.expose());
        HeaderValue::from_str(&value).map(|_| Secret::new(value)).map_err(|_| NotAHeader)
    });
    bearer.transpose()
}

/// How long a node asks to be left alone; a date is not read.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::meaning::{ForWrite, Meaning};
    use super::super::message::SubBody;
    use super::super::spool::SpoolWriter;
    use super::*;
    use crate::placement::topology::{NodeId, NodeState};
    use crate::settings::Secret;

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

    fn node(url: String) -> Node {
        Node { id: NodeId::new("n"), url, zone: None, weight: 1.0, state: NodeState::Up }
    }

    fn transport() -> PingoraTransport {
        let credentials = Credentials { key: Some(Secret::new("key")), ..Credentials::default() };
        PingoraTransport::new(Duration::from_secs(2), 8, &credentials)
    }

    fn trace() -> Trace {
        Trace::new("r1")
    }

    /// Reads one request whole and returns it, `None` when the peer closed.
    async fn request(stream: &mut TcpStream) -> Option<String> {
        let mut read = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |value| value.parse().unwrap());
                if read.len() >= end + 4 + length {
                    return Some(String::from_utf8(read).unwrap());
                }
            }
            let count = stream.read(&mut buffer).await.unwrap();
            if count == 0 {
                return None;
            }
            read.extend_from_slice(&buffer[..count]);
        }
    }

    /// A server whose n-th connection answers with the n-th list, one answer for each request, then closes.
    async fn serve(
        connections: Vec<Vec<&'static str>>,
    ) -> (String, Arc<AtomicUsize>, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let accepted = Arc::new(AtomicUsize::new(0));
        let (seen, requests) = tokio::sync::mpsc::unbounded_channel();
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            for answers in connections {
                let (mut stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                for answer in answers {
                    let Some(request) = request(&mut stream).await else { break };
                    seen.send(request).unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        (url, accepted, requests)
    }

    #[tokio::test]
    async fn a_connection_is_used_again_and_names_host_key_and_request() {
        let (url, accepted, mut requests) = serve(vec![vec![OK, OK]]).await;
        let transport = transport();
        for _ in 0..2 {
            let get = Subrequest::get("/health?x=1", Duration::from_secs(5));
            let reply = transport.exchange(&node(url.clone()), &get, &trace()).await.unwrap();
            assert_eq!((reply.status, &reply.body[..]), (200, &b"{}"[..]));
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 1);
        let request = requests.recv().await.unwrap().to_ascii_lowercase();
        assert!(request.starts_with("get /health?x=1 http/1.1\r\n"), "{request}");
        for line in [&format!("host: {}", &url[7..]), "authorization: bearer key", "x-request-id: r1"] {
            assert!(request.contains(line), "{line} in {request}");
        }
    }

    #[tokio::test]
    async fn a_kept_connection_that_the_node_closed_is_replaced_when_repeating_is_safe() {
        let (url, accepted, _requests) = serve(vec![vec![OK], vec![OK]]).await;
        let transport = transport();
        let get = Subrequest::get("/", Duration::from_secs(5));
        for _ in 0..2 {
            assert_eq!(transport.exchange(&node(url.clone()), &get, &trace()).await.unwrap().status, 200);
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_reply_that_breaks_off_is_an_error() {
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"half\":";
        let (url, _, _requests) = serve(vec![vec![cut]]).await;
        let get = Subrequest::get("/", Duration::from_secs(5));
        let error = transport().exchange(&node(url), &get, &trace()).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::Truncated(_)), "{error}");
        assert_eq!(Meaning::of_error(&error.kind).policy().write, ForWrite::MaybeApplied);
    }

    #[tokio::test]
    async fn bytes_behind_a_reply_are_not_taken_for_the_next_one() {
        let split = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        let (url, accepted, _requests) = serve(vec![vec![split, split], vec![OK]]).await;
        let transport = transport();
        let get = Subrequest::get("/", Duration::from_secs(5));
        for _ in 0..2 {
            assert_eq!(transport.exchange(&node(url.clone()), &get, &trace()).await.unwrap().body, "{}");
        }
        assert_eq!(accepted.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_reply_shorter_than_its_length_is_an_error_and_no_json() {
        let short = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1, 2]";
        let (url, _, _requests) = serve(vec![vec![short]]).await;
        let get = Subrequest::get("/", Duration::from_secs(5));
        let reply = transport().exchange(&node(url), &get, &trace()).await.unwrap();
        assert_eq!(reply.body, "[1,");
        assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
    }

    #[tokio::test]
    async fn a_write_on_a_fresh_connection_that_closes_silently_is_not_repeated() {
        let (url, accepted, _requests) = serve(vec![vec![""], vec![OK]]).await;
        let post = Subrequest::json(http::Method::POST, "/", Bytes::from_static(b"[]"), Duration::from_secs(5), false);
        let error = transport().exchange(&node(url), &post, &trace()).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::Closed(_)), "{error}");
        assert_eq!(accepted.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_spool_is_sent_with_its_length() {
        let (url, _, mut requests) = serve(vec![vec![OK]]).await;
        let mut writer = SpoolWriter::new(10, u64::MAX);
        let record = vec![b'x'; 300_000];
        writer.append(&record);
        writer.spill().await.unwrap();
        let spool = writer.finish().await.unwrap().remove(0);
        let post = Subrequest {
            method: http::Method::POST,
            path: "/documents".into(),
            content_type: Some("application/x-ndjson"),
            body: SubBody::Spool(spool.clone(), 0..spool.len()),
            timeout: Duration::from_secs(5),
            idempotent: false,
        };
        transport().exchange(&node(url), &post, &trace()).await.unwrap();
        let request = requests.recv().await.unwrap();
        assert!(request.to_ascii_lowercase().contains("content-length: 300000\r\n"));
        assert!(request.ends_with(&"x".repeat(1000)));
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_has_surely_not_seen_the_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let get = Subrequest::get("/", Duration::from_secs(5));
        let error = transport().exchange(&node(url), &get, &trace()).await.unwrap_err();
        assert_eq!(Meaning::of_error(&error.kind).policy().write, ForWrite::NotSent);
    }

    #[tokio::test]
    async fn a_reply_over_the_limit_is_refused() {
        let (url, _, _requests) = serve(vec![vec![OK]]).await;
        let mut transport = transport();
        transport.max_reply = 1;
        let get = Subrequest::get("/", Duration::from_secs(5));
        let error = transport.exchange(&node(url), &get, &trace()).await.unwrap_err();
        assert!(matches!(error.kind, NodeErrorKind::TooLarge { limit: 1 }), "{error}");
    }

    #[test]
    fn urls_lead_to_endpoints() {
        let endpoint = Endpoint::parse("https://search.example/meili/").unwrap();
        assert_eq!(endpoint.authority(), "search.example");
        assert_eq!((endpoint.port, endpoint.tls, endpoint.prefix.as_str()), (443, true, "/meili"));
        assert_eq!(Endpoint::parse("http://h:7700").unwrap().authority(), "h:7700");
        assert!(Endpoint::parse("ftp://h").is_err());
        assert!(Endpoint::parse("http://user:pw@h").is_err());
    }
}
