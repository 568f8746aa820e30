//! One exchange with the leader: the request as the client made it and what this gateway says of it, then the answer's head. The answer's
//! body is the caller's to read.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::TcpKeepalive;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;

use super::following::Following;
use super::passed::Passed;
use super::proof::{self, Asker, PEER, PROTOCOL, SPEAKS};
use crate::meili::error::ResponseError;
use crate::nodes::transport::Endpoint;
use crate::store::leadership::Leader;
use crate::write::body::BodySource;

/// What concerns one connection and not the request. `Keep-Alive` and `Proxy-Connection` have no constants.
const OF_A_CONNECTION: &[HeaderName] = &[CONNECTION, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A leader that cannot be reached any more is noticed within 8 s. One that reads slowly has longer.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(4),
    interval: Duration::from_secs(1),
    count: 4,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::from_secs(30),
};
/// Of a leader that leads no more, in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(5);
/// Shorter than the leader keeps a connection that nothing is asked on.
const IDLE: Duration = Duration::from_secs(20);

/// The request that is passed on, its body aside.
pub(super) struct Message<'a> {
    pub method: &'a http::Method,
    /// Path and query.
    pub target: &'a str,
    pub headers: &'a HeaderMap,
    pub passed: Passed,
}

/// The body that goes with it.
pub(super) enum Body<'a> {
    Whole(Bytes),
    Streamed(&'a mut dyn BodySource),
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(super) enum Missed {
    /// Nothing can have been done: the leader was not reached, or leads no more.
    #[error("{0}")]
    Unsent(String),
    /// Nothing was done.
    #[error("the leader's version speaks protocol {0} to other gateways, this one {PROTOCOL}")]
    Foreign(u32),
    /// Nobody knows what was done.
    #[error("{0}")]
    Broken(String),
    /// The client's own body broke off.
    #[error("{}", .0.message)]
    Client(ResponseError),
}

/// An answer whose body is still to be read.
pub(super) struct Answering {
    pub head: ResponseHeader,
    epoch: i64,
    session: HttpSession,
    peer: HttpPeer,
}

/// Asks `leader`, who is at `url`.
pub(super) async fn ask(
    following: &Following,
    (leader, url): (&Leader, &str),
    message: &Message<'_>,
    body: Body<'_>,
) -> Result<Answering, Missed> {
    let peer = peer(following, url).await.map_err(Missed::Unsent)?;
    let connected = following.connector.get_http_session(&peer).await;
    let (mut session, _) = connected.map_err(|error| Missed::Unsent(error.to_string()))?;
    let (asker, head) = head(following, url, message, &body).map_err(|error| Missed::Unsent(error.to_string()))?;
    let exchanged = async {
        let sent = send(&mut session, head, body).await?;
        session.read_response_header().await.map_err(|error| Missed::Broken(sent.unwrap_or_else(|| error.to_string())))
    };
    tokio::select! {
        exchanged = exchanged => exchanged?,
        () = following.over(leader.epoch) => return Err(Missed::Broken("the leader leads no more".to_owned())),
    }
    let answer = session.response_header().cloned();
    let head = answer.ok_or_else(|| Missed::Broken("an answer without a head".to_owned()))?;
    let proof = head.headers.get(PEER).and_then(|value| value.to_str().ok());
    if !proof::is_answer(&following.secret, &asker, proof) {
        let reason =
            format!("{url} answers {} and does not prove that it knows the cluster's secret", head.status.as_u16());
        // What stands between may have passed the request on.
        return Err(match head.status {
            http::StatusCode::UNAUTHORIZED => Missed::Unsent(reason),
            _ => Missed::Broken(reason),
        });
    }
    let speaks = head.headers.get(SPEAKS).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(protocol) = speaks.filter(|_| head.status == http::StatusCode::UNAUTHORIZED) {
        return Err(Missed::Foreign(protocol));
    }
    if head.status == http::StatusCode::MISDIRECTED_REQUEST {
        return Err(Missed::Unsent(format!("{url} does not lead")));
    }
    Ok(Answering { head, epoch: leader.epoch, session, peer })
}

/// What went wrong on the way is returned as text, not as an error: an answer that has come all the same says more.
async fn send(session: &mut HttpSession, head: RequestHeader, body: Body<'_>) -> Result<Option<String>, Missed> {
    if let Err(error) = session.write_request_header(Box::new(head)).await {
        return Ok(Some(error.to_string()));
    }
    let written = match body {
        Body::Whole(bytes) if bytes.is_empty() => Ok(()),
        Body::Whole(bytes) => session.write_request_body(bytes, false).await,
        Body::Streamed(source) => {
            let mut written = Ok(());
            while let Some(chunk) = source.next().await.map_err(Missed::Client)? {
                written = session.write_request_body(chunk, false).await;
                if written.is_err() {
                    break;
                }
            }
            written
        }
    };
    let written = match written {
        Ok(()) => session.finish_request_body().await,
        Err(error) => Err(error),
    };
    Ok(written.err().map(|error| error.to_string()))
}

fn head(
    following: &Following,
    url: &str,
    message: &Message<'_>,
    body: &Body<'_>,
) -> pingora::Result<(Asker, RequestHeader)> {
    let mut head = RequestHeader::build(message.method.clone(), message.target.as_bytes(), Some(16))?;
    for (name, value) in message.headers {
        let ours = name == PEER || Passed::is_said_by(name);
        let of_a_connection = OF_A_CONNECTION.contains(name) || name == "keep-alive" || name == "proxy-connection";
        if !ours && !of_a_connection && name != CONTENT_LENGTH {
            head.append_header(name.clone(), value.clone())?;
        }
    }
    let endpoint =
        Endpoint::parse(url).map_err(|error| pingora::Error::explain(pingora::ErrorType::InvalidHTTPHeader, error))?;
    head.insert_header(HOST, endpoint.authority())?;
    match body {
        Body::Whole(bytes) => head.insert_header(CONTENT_LENGTH, bytes.len())?,
        Body::Streamed(_) => match message.headers.get(CONTENT_LENGTH) {
            Some(length) => head.insert_header(CONTENT_LENGTH, length.clone())?,
            None => head.insert_header(TRANSFER_ENCODING, "chunked")?,
        },
    }
    let said = message.passed.headers();
    for (name, value) in &said {
        if let Some(value) = value {
            head.insert_header(*name, value.as_str())?;
        }
    }
    let vouched = [message.method.as_str(), message.target, text(&said[0].1), text(&said[1].1)];
    let (asker, proof) = proof::ask(&following.secret, &following.id, &vouched);
    head.insert_header(PEER, proof)?;
    Ok((asker, head))
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

async fn peer(following: &Following, url: &str) -> Result<HttpPeer, String> {
    let endpoint = Endpoint::parse(url)?;
    let address = endpoint.resolve().await?.first().copied().ok_or("no address")?;
    let mut peer = HttpPeer::new(address, endpoint.tls, endpoint.host.clone());
    peer.options.connection_timeout = Some(CONNECT_LIMIT);
    peer.options.total_connection_timeout = Some(CONNECT_LIMIT * 2);
    peer.options.tcp_keepalive = Some(KEEPALIVE);
    peer.options.idle_timeout = Some(IDLE);
    following.tls.apply(&mut peer);
    Ok(peer)
}

// === impl Answering ===

impl Answering {
    /// The next piece of the body; `None` at its end. A leader that has handed over ends what it was at; one that is frozen says nothing.
    pub async fn next(&mut self, following: &Following) -> Result<Option<Bytes>, String> {
        let frozen = async {
            following.over(self.epoch).await;
            tokio::time::sleep(SILENCE).await;
        };
        tokio::select! {
            piece = self.session.read_response_body() => piece.map_err(|error| error.to_string()),
            () = frozen => Err("the leader leads no more, and is silent".to_owned()),
        }
    }

    /// The body was read to its end: the connection serves the next request.
    pub async fn keep(self, following: &Following) {
        following.connector.release_http_session(self.session, &self.peer, Some(IDLE)).await;
    }
}

/// Takes out of an answer's head what concerns the connection that it came on.
pub(super) fn clean(head: &mut ResponseHeader) {
    for name in OF_A_CONNECTION {
        head.remove_header(name);
    }
    head.remove_header("keep-alive");
    head.remove_header(PEER);
}
