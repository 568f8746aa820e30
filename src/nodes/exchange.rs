//! One HTTP/1.1 exchange on a connection: a request written at once, an answer read as a whole.
//!
//! Pingora's client sessions serve proxying: they write a head before there is a body, and keep every header. A subrequest's body
//! is known, and of its answer only the status, the length and `Retry-After` matter.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::error::NodeErrorKind;
use super::message::{NodeReply, SubBody};

/// A body up to this size goes out together with its head.
pub(super) const TOGETHER: usize = 64 << 10;
/// A head that is longer is no engine's.
const MOST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 64;
/// What is made room for at a time: most answers with their heads are shorter.
const ROOM: usize = 16 << 10;
/// As much of an answer is made room for at once as its head states, if it is no more.
const EXPECTED: usize = 1 << 20;

/// How far an exchange came.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection ended before a byte of the answer.
    Unanswered(NodeErrorKind),
    Failed(NodeErrorKind),
}

/// A whole answer, and whether the connection may be used again.
pub(super) struct Answered {
    pub reply: NodeReply,
    pub reusable: bool,
}

/// Where an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Of(usize),
    Chunks,
    /// With the connection.
    Open,
}

struct Head {
    status: u16,
    retry_after: Option<Duration>,
    length: Length,
    keeps_alive: bool,
}

/// The part of an answer that was read and not yet understood.
struct Incoming<'a> {
    stream: &'a mut Stream,
    read: BytesMut,
    limit: usize,
}

/// Sends `head` with `body` and reads the answer. A node may answer before it has read everything, and close: its answer says more
/// than a broken pipe.
pub(super) async fn exchange(
    stream: &mut Stream,
    head: Vec<u8>,
    body: &SubBody,
    limit: usize,
) -> Result<Answered, Failure> {
    let sent = write(stream, head, body).await;
    if let Err(WriteFailure::Local(reason)) = sent {
        return Err(Failure::Failed(NodeErrorKind::Local(reason)));
    }
    let mut incoming = Incoming { stream, read: BytesMut::with_capacity(ROOM), limit };
    let head = match incoming.head().await {
        Ok(head) => head,
        Err(Failure::Unanswered(kind)) => {
            let kind = match sent {
                Err(WriteFailure::Connection(reason)) => NodeErrorKind::Closed(reason),
                Err(WriteFailure::Local(_)) | Ok(()) => kind,
            };
            return Err(Failure::Unanswered(kind));
        }
        Err(failure) => return Err(failure),
    };
    let body = incoming.body(head.length).await.map_err(Failure::Failed)?;
    // What follows an answer is no answer to the next request.
    let in_step = incoming.read.is_empty() && head.length != Length::Open;
    let Head { status, retry_after, keeps_alive, .. } = head;
    Ok(Answered { reply: NodeReply { status, body, retry_after }, reusable: keeps_alive && in_step && sent.is_ok() })
}

enum WriteFailure {
    Connection(String),
    Local(String),
}

async fn write(stream: &mut Stream, mut head: Vec<u8>, body: &SubBody) -> Result<(), WriteFailure> {
    let broken = |error: std::io::Error| WriteFailure::Connection(error.to_string());
    if let Some(small) = body.in_memory().filter(|bytes| bytes.len() <= TOGETHER) {
        head.extend_from_slice(&small);
        stream.write_all(&head).await.map_err(broken)?;
        return stream.flush().await.map_err(broken);
    }
    match body {
        SubBody::Empty => stream.write_all(&head).await.map_err(broken)?,
        SubBody::Bytes(bytes) => {
            stream.write_all(&head).await.map_err(broken)?;
            stream.write_all(bytes).await.map_err(broken)?;
        }
        SubBody::Spool(spool, range) => {
            stream.write_all(&head).await.map_err(broken)?;
            let mut reader = spool.slice(range.clone()).reader();
            loop {
                let chunk = reader.next().await.map_err(|error| WriteFailure::Local(error.to_string()))?;
                let Some(chunk) = chunk else { break };
                stream.write_all(&chunk).await.map_err(broken)?;
            }
        }
    }
    stream.flush().await.map_err(broken)
}

// === impl Incoming ===

impl Incoming<'_> {
    /// Reads more; false at the connection's end.
    async fn more(&mut self) -> Result<bool, std::io::Error> {
        if self.read.capacity() == self.read.len() {
            self.read.reserve(ROOM);
        }
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }

    /// The head of the answer, behind those that only say that one will come.
    async fn head(&mut self) -> Result<Head, Failure> {
        loop {
            let parsed = parse_head(&self.read).map_err(|reason| Failure::Failed(NodeErrorKind::Malformed(reason)))?;
            match parsed {
                Some((end, head)) => {
                    self.read.advance(end);
                    if !(100..200).contains(&head.status) {
                        return Ok(head);
                    }
                }
                None if self.read.len() > MOST_HEAD => {
                    return Err(Failure::Failed(NodeErrorKind::Malformed("its head is too long".to_owned())));
                }
                None => {
                    let is_unanswered = self.read.is_empty();
                    let reason = match self.more().await {
                        Ok(true) => continue,
                        Ok(false) => "the connection ended before an answer".to_owned(),
                        Err(error) => error.to_string(),
                    };
                    let kind = NodeErrorKind::Closed(reason);
                    return Err(if is_unanswered { Failure::Unanswered(kind) } else { Failure::Failed(kind) });
                }
            }
        }
    }

    /// The body; what was read behind it stays.
    async fn body(&mut self, length: Length) -> Result<Bytes, NodeErrorKind> {
        match length {
            Length::Of(length) => {
                self.within(length)?;
                let missing = length.saturating_sub(self.read.len());
                // What a node states is no reason to set aside more than it may send.
                self.read.reserve(missing.min(EXPECTED));
                self.until(length).await?;
                Ok(self.read.split_to(length).freeze())
            }
            Length::Chunks => self.chunks().await,
            Length::Open => {
                while self.more().await.map_err(truncated)? {
                    self.within(self.read.len())?;
                }
                Ok(self.read.split().freeze())
            }
        }
    }

    async fn chunks(&mut self) -> Result<Bytes, NodeErrorKind> {
        let mut body = BytesMut::new();
        loop {
            let size = self.chunk_size().await?;
            if size == 0 {
                break;
            }
            self.within(body.len().saturating_add(size))?;
            self.until(size + 2).await?;
            body.extend_from_slice(&self.read[..size]);
            if &self.read[size..size + 2] != b"\r\n" {
                return Err(NodeErrorKind::Truncated("a chunk does not end where it should".to_owned()));
            }
            self.read.advance(size + 2);
        }
        // Trailers, and the empty line behind them.
        loop {
            match memchr::memmem::find(&self.read, b"\r\n") {
                Some(0) => {
                    self.read.advance(2);
                    return Ok(body.freeze());
                }
                Some(end) => self.read.advance(end + 2),
                None => self.until(self.read.len() + 1).await?,
            }
        }
    }

    async fn chunk_size(&mut self) -> Result<usize, NodeErrorKind> {
        loop {
            let bad = || NodeErrorKind::Truncated("the size of a chunk cannot be read".to_owned());
            match httparse::parse_chunk_size(&self.read).map_err(|_| bad())? {
                httparse::Status::Complete((end, size)) => {
                    self.read.advance(end);
                    return usize::try_from(size).map_err(|_| NodeErrorKind::TooLarge { limit: self.limit });
                }
                httparse::Status::Partial if self.read.len() > MOST_HEAD => return Err(bad()),
                httparse::Status::Partial => self.until(self.read.len() + 1).await?,
            }
        }
    }

    /// Reads until there are `length` bytes.
    async fn until(&mut self, length: usize) -> Result<(), NodeErrorKind> {
        while self.read.len() < length {
            if !self.more().await.map_err(truncated)? {
                let read = self.read.len();
                return Err(NodeErrorKind::Truncated(format!("expected {length} bytes, got {read}")));
            }
        }
        Ok(())
    }

    fn within(&self, length: usize) -> Result<(), NodeErrorKind> {
        if length > self.limit { Err(NodeErrorKind::TooLarge { limit: self.limit }) } else { Ok(()) }
    }
}

fn truncated(error: std::io::Error) -> NodeErrorKind {
    NodeErrorKind::Truncated(error.to_string())
}

/// The head that `read` begins with and where it ends; `None` while it is not all there.
fn parse_head(read: &[u8]) -> Result<Option<(usize, Head)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let end = match response.parse(read).map_err(|error| error.to_string())? {
        httparse::Status::Complete(end) => end,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.ok_or("it has no status")?;
    let is_newer = response.version == Some(1);
    let mut head = Head { status, retry_after: None, length: Length::Open, keeps_alive: is_newer };
    let mut stated = None;
    for header in response.headers.iter() {
        let value = || std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = value().parse::<usize>().map_err(|_| "its length is no number")?;
            if stated.is_some_and(|known| known != length) {
                return Err("it has two lengths".to_owned());
            }
            stated = Some(length);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value().eq_ignore_ascii_case("chunked") {
                return Err("it is encoded in a way that was not asked for".to_owned());
            }
            head.length = Length::Chunks;
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.keeps_alive = is_newer && !value().eq_ignore_ascii_case("close");
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            head.retry_after = value().parse().ok().map(Duration::from_secs);
        }
    }
    match (status, stated) {
        (100..200 | 204 | 304, _) => head.length = Length::Of(0),
        // Chunks tell the length better than a length does.
        (_, Some(length)) if head.length != Length::Chunks => head.length = Length::Of(length),
        (_, Some(_) | None) => {}
    }
    Ok(Some((end, head)))
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What becomes of an answer that comes in the given pieces, after which the node closes.
    async fn answered(pieces: &'static [&'static str]) -> Result<Answered, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            peer.set_nodelay(true).unwrap();
            let mut request = [0; 4];
            peer.read_exact(&mut request).await.unwrap();
            for piece in pieces {
                peer.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let gateway = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream: Stream = Box::new(pingora::protocols::l4::stream::Stream::from(stream));
            exchange(&mut stream, b"head".to_vec(), &SubBody::Empty, 100).await
        };
        tokio::join!(node, gateway).1
    }

    #[tokio::test]
    async fn an_answer_is_read_in_whatever_pieces_it_comes() {
        let pieces = &["HTTP/1.1 200 OK\r\nContent-", "Length: 4\r\n\r\n{\"a", "\"}"];
        let Answered { reply, reusable } = answered(pieces).await.unwrap();
        assert_eq!((reply.status, &reply.body[..], reusable), (200, &b"{\"a\""[..], false));
        let Answered { reply, reusable } = answered(&["HTTP/1.1 204 No Content\r\n\r\n"]).await.unwrap();
        assert_eq!((reply.status, reply.body.len(), reusable), (204, 0, true));
        let busy = &["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n"];
        let reply = answered(busy).await.unwrap().reply;
        assert_eq!((reply.status, reply.retry_after), (503, Some(Duration::from_secs(7))));
    }

    #[tokio::test]
    async fn chunks_are_put_together() {
        let pieces = &[
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a",
            "\r\n2;x=y\r\n\"}\r",
            "\n0\r\nx: y\r\n\r\n",
        ];
        let Answered { reply, reusable } = answered(pieces).await.unwrap();
        assert_eq!((&reply.body[..], reusable), (&b"{\"a\"}"[..], true));
        for broken in [
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n"],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"],
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"],
        ] {
            let failure = answered(broken).await.err();
            assert!(matches!(failure, Some(Failure::Failed(NodeErrorKind::Truncated(_)))), "{failure:?}");
        }
        let long = &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"];
        assert!(matches!(answered(long).await.err(), Some(Failure::Failed(NodeErrorKind::TooLarge { limit: 100 }))));
    }

    #[tokio::test]
    async fn only_silence_is_no_answer() {
        let failure = answered(&[]).await.err();
        assert!(matches!(failure, Some(Failure::Unanswered(NodeErrorKind::Closed(_)))), "{failure:?}");
        let failure = answered(&["HTTP/1.1 2"]).await.err();
        assert!(matches!(failure, Some(Failure::Failed(NodeErrorKind::Closed(_)))), "{failure:?}");
        let failure = answered(&["SSH-2.0-OpenSSH_9.2\r\n"]).await.err();
        assert!(matches!(failure, Some(Failure::Failed(NodeErrorKind::Malformed(_)))), "{failure:?}");
    }

    #[tokio::test]
    async fn an_answer_without_a_length_ends_with_the_connection() {
        let Answered { reply, reusable } = answered(&["HTTP/1.0 200 OK\r\n\r\n{}"]).await.unwrap();
        assert_eq!((&reply.body[..], reusable), (&b"{}"[..], false));
        let closing = &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"];
        assert!(!answered(closing).await.unwrap().reusable);
        let two = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"];
        assert!(matches!(answered(two).await.err(), Some(Failure::Failed(NodeErrorKind::Malformed(_)))));
    }
}
