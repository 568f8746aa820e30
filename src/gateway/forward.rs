//! Requests that one node answers: Pingora carries them, with headers by allow-list in both directions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;

use super::head::{Head, REQUEST_ID, TRACEPARENT};
use crate::nodes::client::Trace;
use crate::nodes::meaning::{ForForward, Meaning};
use crate::nodes::overload::Sign;
use crate::nodes::times::{Asked, NodeTimes};
use crate::nodes::transport::retry_after;
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::forward::Forward;
use crate::tls::nodes::NodeTls;
use crate::traces;

/// A request on its way to one of several nodes.
pub struct Forwarding {
    pub(super) topology: Arc<Topology>,
    plan: Forward,
    /// How many candidates were tried.
    tried: usize,
    /// Path and query for the node.
    target: String,
    /// Of a node after which there is another.
    attempt_timeout: Duration,
    timeout: Duration,
    tls: NodeTls,
    /// What the reply of the node that was asked last is a sign of, where it is no answer.
    unanswered: Option<Sign>,
    /// Held while a node is being asked, until the answer is with the client.
    asked: Option<Asked>,
}

/// Headers of a node's answer that clients see; the gateway adds its own.
const ANSWER_HEADERS: &[http::HeaderName] = &[CONTENT_TYPE, CONTENT_LENGTH, TRANSFER_ENCODING, RETRY_AFTER];

// === impl Forwarding ===

impl Forwarding {
    /// A node has `attempt_timeout` to begin its answer while others are left, and `timeout` if it is the last.
    pub fn new(
        topology: Arc<Topology>,
        plan: Forward,
        target: String,
        attempt_timeout: Duration,
        timeout: Duration,
        tls: NodeTls,
    ) -> Self {
        Self { topology, plan, tried: 0, target, attempt_timeout, timeout, tls, unanswered: None, asked: None }
    }

    /// The node that is being asked, or was asked last.
    pub(super) fn current(&self) -> Option<NodeIx> {
        self.plan.candidates.get(self.tried.checked_sub(1)?).copied()
    }

    /// Of the node that is being asked, or was asked last; `None` before the first.
    pub fn node_id(&self) -> Option<&str> {
        self.current().map(|node| self.topology.node(node).id.as_str())
    }

    /// True while there is a node that was not tried.
    pub fn has_more(&self) -> bool {
        self.tried < self.plan.candidates.len()
    }

    /// The next node to try. Pingora asks again after each one that cannot be reached.
    pub async fn next_peer(&mut self, times: &NodeTimes) -> Option<HttpPeer> {
        while self.has_more() {
            self.tried += 1;
            self.unanswered = None;
            let node = self.topology.node(self.current()?);
            match resolve(&node.url).await {
                Ok((address, tls, host)) => {
                    let mut peer = HttpPeer::new(address, tls, host);
                    peer.options.connection_timeout = Some(self.timeout.min(Duration::from_secs(2)));
                    peer.options.total_connection_timeout = Some(self.timeout.min(Duration::from_secs(3)));
                    let patience = if self.has_more() { self.attempt_timeout.min(self.timeout) } else { self.timeout };
                    peer.options.read_timeout = Some(patience);
                    peer.options.write_timeout = Some(self.timeout);
                    self.tls.apply(&mut peer);
                    self.asked = Some(times.ask(&node.id));
                    return Some(peer);
                }
                Err(error) => tracing::warn!(node = node.id.as_str(), %error, "cannot resolve a node's address"),
            }
        }
        None
    }

    /// An error for what is no answer to the client's request: a node's own trouble, or a page of something that stands
    /// in front of it.
    pub fn check_answer(&mut self, answer: &ResponseHeader) -> pingora::Result<()> {
        let content_type = answer.headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let meaning = Meaning::of_head(answer.status.as_u16(), content_type);
        match meaning.policy().forward {
            ForForward::Relay => return Ok(()),
            ForForward::NextNode => {}
        }
        self.unanswered = Some(Sign::of(meaning, retry_after(&answer.headers)));
        tracing::warn!(node = self.node_id(), status = answer.status.as_u16(), ?meaning, "a forwarded request failed");
        Err(pingora::Error::explain(pingora::ErrorType::HTTPStatus(answer.status.as_u16()), "not a node's answer"))
    }

    /// What a node that was given up is a sign of: where no reply came, others are asked in its place, or have to be.
    pub(super) fn sign(&self) -> Sign {
        self.unanswered.unwrap_or(Sign::Bad)
    }

    /// The request as the node sees it: nothing of the client's head but its method and its target.
    pub fn request(&self, head: &Head, node_key: Option<&str>, trace: &Trace) -> pingora::Result<RequestHeader> {
        let mut request = RequestHeader::build(head.method.clone(), self.target.as_bytes(), Some(4))?;
        let host = self.current().map(|node| host(&self.topology.node(node).url)).unwrap_or_default();
        request.insert_header(HOST, host)?;
        request.insert_header(ACCEPT, "application/json")?;
        request.insert_header(REQUEST_ID, &trace.request_id)?;
        if let Some(parent) = traces::told(&trace.parent) {
            request.insert_header(TRACEPARENT, parent)?;
        }
        if let Some(key) = node_key {
            request.insert_header(AUTHORIZATION, format!("Bearer {key}"))?;
        }
        Ok(request)
    }
}

/// Leaves of a node's answer what clients may see, and adds the gateway's own headers.
pub fn clean_answer(answer: &mut ResponseHeader, request_id: &str) -> pingora::Result<()> {
    let foreign: Vec<http::HeaderName> =
        answer.headers.keys().filter(|name| !ANSWER_HEADERS.contains(name)).cloned().collect();
    for name in &foreign {
        answer.remove_header(name);
    }
    answer.insert_header(REQUEST_ID, request_id)?;
    Ok(())
}

/// `host:port` of a node's URL.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The address of a node, whether it speaks TLS, and the name to check its certificate by. The name is looked up here,
/// because Pingora would block its thread on it and panic when it is unknown.
async fn resolve(url: &str) -> Result<(SocketAddr, bool, String), std::io::Error> {
    let invalid = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a URL of a host");
    let parsed = url::Url::parse(url).map_err(|_| invalid())?;
    let port = parsed.port_or_known_default().ok_or_else(invalid)?;
    let tls = parsed.scheme() == "https";
    let (address, name) = match parsed.host().ok_or_else(invalid)? {
        url::Host::Ipv4(ip) => (SocketAddr::new(ip.into(), port), ip.to_string()),
        url::Host::Ipv6(ip) => (SocketAddr::new(ip.into(), port), ip.to_string()),
        url::Host::Domain(name) => {
            let found = tokio::net::lookup_host((name, port)).await?.next();
            (found.ok_or_else(|| std::io::Error::other("the name has no address"))?, name.to_owned())
        }
    };
    Ok((address, tls, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::{Node, NodeId, NodeState};

    fn forwarding(urls: &[&str]) -> Forwarding {
        let nodes: Vec<Node> = urls
            .iter()
            .enumerate()
            .map(|(place, url)| Node {
                id: NodeId::new(&format!("node-{place}")),
                url: (*url).to_owned(),
                zone: None,
                weight: 1.0,
                state: NodeState::Up,
            })
            .collect();
        let topology = Topology::build(nodes, 16, 1);
        let plan = Forward::to_any(&topology);
        Forwarding::new(
            Arc::new(topology),
            plan,
            "/indexes?limit=2".into(),
            Duration::from_secs(1),
            Duration::from_secs(5),
            NodeTls::default(),
        )
    }

    fn head() -> Head {
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer the client's own"),
            ("cookie", "a=b"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "1.2.3.4"),
            ("connection", "upgrade"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Head::new(http::Method::GET, &"/indexes?limit=2".parse().unwrap(), headers)
    }

    #[tokio::test]
    async fn candidates_are_tried_in_order() {
        let mut forwarding = forwarding(&["http://127.0.0.1:1", "http://127.0.0.1:2"]);
        assert_eq!(forwarding.next_peer(&NodeTimes::default()).await.unwrap()._address.to_string(), "127.0.0.1:1");
        assert_eq!(forwarding.node_id(), Some("node-0"));
        assert_eq!(forwarding.next_peer(&NodeTimes::default()).await.unwrap()._address.to_string(), "127.0.0.1:2");
        assert!(forwarding.next_peer(&NodeTimes::default()).await.is_none());
    }

    #[tokio::test]
    async fn only_the_last_node_has_all_the_time() {
        let mut forwarding = forwarding(&["http://127.0.0.1:1", "http://127.0.0.1:2"]);
        let mut patience = async || forwarding.next_peer(&NodeTimes::default()).await.unwrap().options.read_timeout;
        assert_eq!(patience().await, Some(Duration::from_secs(1)));
        assert_eq!(patience().await, Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_is_not_json_or_is_a_nodes_own_trouble_is_no_answer() {
        let mut forwarding = forwarding(&["http://127.0.0.1:1"]);
        let mut is_answer = |status: u16, kind: Option<&str>| {
            let mut head = ResponseHeader::build(status, None).unwrap();
            if let Some(kind) = kind {
                head.insert_header(CONTENT_TYPE, kind).unwrap();
            }
            forwarding.check_answer(&head).is_ok()
        };
        let json = Some("application/json; charset=utf-8");
        assert!(is_answer(200, json) && is_answer(404, json) && is_answer(204, None));
        assert!(!is_answer(200, Some("text/html")) && !is_answer(200, None));
        assert!(!is_answer(500, json) && !is_answer(503, json) && !is_answer(403, json));
        assert!(!is_answer(422, json), "a full disk is the node's own trouble");
    }

    #[test]
    fn a_node_that_asks_to_be_left_alone_is_left_alone_as_after_a_read() {
        let mut forwarding = forwarding(&["http://127.0.0.1:1"]);
        assert_eq!(forwarding.sign(), Sign::Bad, "no reply came");
        let mut busy = ResponseHeader::build(503, None).unwrap();
        busy.insert_header(RETRY_AFTER, "7").unwrap();
        assert!(forwarding.check_answer(&busy).is_err());
        assert_eq!(forwarding.sign(), Sign::Busy(Some(Duration::from_secs(7))));
    }

    #[tokio::test]
    async fn nothing_of_the_clients_head_reaches_a_node() {
        let mut forwarding = forwarding(&["http://127.0.0.1:7711"]);
        forwarding.next_peer(&NodeTimes::default()).await.unwrap();
        let request = forwarding.request(&head(), Some("node key"), &Trace::new("r1")).unwrap();
        let mut names: Vec<&str> = request.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization", "host", REQUEST_ID]);
        assert_eq!(request.headers["authorization"], "Bearer node key");
        assert_eq!(request.headers["host"], "127.0.0.1:7711");
        assert_eq!(request.uri, "/indexes?limit=2");
        assert!(!forwarding.request(&head(), None, &Trace::new("r1")).unwrap().headers.contains_key("authorization"));
    }

    #[test]
    fn an_answer_shows_only_what_clients_may_see() {
        let mut answer = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [("content-type", "application/json"), ("content-length", "2"), ("server", "x")] {
            answer.insert_header(name, value).unwrap();
        }
        clean_answer(&mut answer, "r1").unwrap();
        let mut names: Vec<&str> = answer.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "content-type", REQUEST_ID]);
    }
}
