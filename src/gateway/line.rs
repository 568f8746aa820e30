//! Request lines that are none, seen before Pingora sees them.
//!
//! Pingora escapes what may not stand in a request's target: `GET /a b HTTP/1.1` becomes a request for `/a%20b`, and nobody
//! can tell any more that it was not. The engine's server refuses it. So the bytes of a connection pass through here, and a
//! request line of that kind is spoiled where it ends: Pingora then refuses it too, with 400, and closes the connection.
//!
//! Only what is surely a request line is touched: the first of a connection, and the next one after an answer as long as no
//! request so far has had a body or another one right behind it. From then on nobody can tell here where a request begins, a
//! line in a body may look like one, and the connection passes as it is.
//!
//! What a connection begins with also tells whether it speaks HTTP/2 without TLS. Pingora would wait for all 24 bytes of the
//! preface to say so, and `GET / HTTP/1.0` with its empty line has 18; here the first byte that differs tells.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::held::Held;

/// An application whose connections are watched.
pub struct Watched<A>(Arc<A>);

/// A connection and what is known of the request line that comes next.
#[derive(Debug)]
struct Connection {
    inner: Stream,
    line: Line,
    /// Read to see what the connection speaks, and still to be handed out.
    ahead: Vec<u8>,
    held: Held,
}

/// A line as it arrives.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// What there is of it so far.
    Open(Vec<u8>),
    /// It ended; headers follow until an empty line. True at the beginning of a line.
    Head { at_start: bool },
    /// The head is over, and nothing has come behind it.
    Asked,
    /// Something has: where the next request begins is not known.
    Unknown,
}

/// What a connection that speaks HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a new connection may take to begin.
const BEGIN: Duration = Duration::from_secs(60);
/// Longer heads are refused for their length.
const LONGEST: usize = 64 << 10;

// === impl Watched ===

impl<A> Watched<A> {
    /// Around `app`, which sees each connection.
    pub fn new(app: A) -> Self {
        Self(Arc::new(app))
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Watched<A> {
    async fn process_new(self: &Arc<Self>, session: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // A kept connection comes back as it went, and is not wrapped twice.
        let watched = (*session).as_any().is::<Connection>();
        let session: Stream = if watched { session } else { Box::new(Connection::new(session)) };
        self.0.process_new(session, shutdown).await
    }

    async fn cleanup(&self) {
        self.0.cleanup().await;
    }
}

// === impl Line ===

impl Line {
    fn new() -> Self {
        Self::Open(Vec::new())
    }

    /// Looks at bytes that were read; spoils the line that ends in them if it is no request line.
    fn watch(&mut self, read: &mut [u8]) {
        let Self::Open(line) = self else { return self.follow(read) };
        for at in 0..read.len() {
            if read[at] != b'\n' {
                line.push(read[at]);
                if line.len() > LONGEST {
                    *self = Self::Unknown;
                    return;
                }
                continue;
            }
            // Empty lines may come before a request.
            if line.iter().all(|byte| *byte == b'\r') {
                line.clear();
                continue;
            }
            if has_raw_target(line) {
                // Behind the version nothing but the line's end can stand.
                let end = if at > 0 && read[at - 1] == b'\r' { at - 1 } else { at };
                read[end] = 0;
            }
            *self = Self::Head { at_start: true };
            return self.follow(&read[at + 1..]);
        }
    }

    /// Looks for the end of the head in what follows its first line, and whether anything is behind it.
    fn follow(&mut self, read: &[u8]) {
        for byte in read {
            match (&mut *self, byte) {
                (Self::Head { at_start: true }, b'\n') => *self = Self::Asked,
                (Self::Head { at_start }, b'\n') => *at_start = true,
                (Self::Head { .. }, b'\r') => {}
                (Self::Head { at_start }, _) => *at_start = false,
                (Self::Asked, _) => *self = Self::Unknown,
                (Self::Open(_) | Self::Unknown, _) => return,
            }
        }
    }

    /// An answer was written: the next request may begin. After `100 Continue` comes the body of the same one.
    fn answered(&mut self, written: &[u8]) {
        if *self == Self::Asked && !written.starts_with(b"HTTP/1.1 100") {
            *self = Self::new();
        }
    }
}

/// True for `METHOD /target HTTP/1.x` with a space or a control character in the target, and for nothing that could be
/// anything else but a request line.
fn has_raw_target(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(line) = line.strip_suffix(b" HTTP/1.1").or_else(|| line.strip_suffix(b" HTTP/1.0")) else { return false };
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else { return false };
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    is_method && target.starts_with(b"/") && target.iter().any(|byte| *byte <= b' ' || *byte == 0x7F)
}

// === impl Connection ===

impl Connection {
    fn new(inner: Stream) -> Self {
        Self { inner, line: Line::new(), ahead: Vec::new(), held: Held::default() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        } else {
            let taken = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..taken]);
            self.ahead.drain(..taken);
        }
        self.line.watch(&mut buf.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { inner, line, held, .. } = &mut *self;
        line.answered(buf);
        held.poll_write(inner, cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, line, held, .. } = &mut *self;
        line.answered(bufs.first().map(|slice| &**slice).unwrap_or_default());
        ready!(held.poll_send(inner, cx))?;
        Pin::new(inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, held, .. } = &mut *self;
        ready!(held.poll_send(inner, cx))?;
        Pin::new(inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, held, .. } = &mut *self;
        ready!(held.poll_send(inner, cx))?;
        Pin::new(inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        let Self { inner, held, .. } = self;
        // As much as goes at once: who hung up, or does not read, gets nothing more and holds up nothing.
        std::future::poll_fn(|cx| {
            let _unsent = held.poll_send(inner, cx);
            Poll::Ready(())
        })
        .await;
        inner.shutdown().await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Connection {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

#[async_trait]
impl Peek for Connection {
    /// Fills `buf` with as much as begins like the preface of HTTP/2, and the byte that does not.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let wanted = buf.len().min(PREFACE.len());
        let Self { inner, ahead, .. } = self;
        let read = async {
            while ahead.len() < wanted && PREFACE.starts_with(ahead) {
                let mut piece = [0; PREFACE.len()];
                let taken = inner.read(&mut piece[..wanted - ahead.len()]).await?;
                if taken == 0 {
                    break;
                }
                ahead.extend_from_slice(&piece[..taken]);
            }
            Ok::<_, io::Error>(())
        };
        tokio::time::timeout(BEGIN, read).await??;
        let seen = ahead.len().min(buf.len());
        buf[..seen].copy_from_slice(&ahead[..seen]);
        Ok(true)
    }
}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> std::time::Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> std::time::Duration {
        self.inner.get_write_pending_time()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Pingora gets to read, where it comes in these pieces.
    fn seen(line: &mut Line, pieces: &[&str]) -> Vec<u8> {
        let mut seen = Vec::new();
        for piece in pieces {
            let mut piece = piece.as_bytes().to_vec();
            line.watch(&mut piece);
            seen.extend_from_slice(&piece);
        }
        seen
    }

    #[test]
    fn a_target_with_a_space_spoils_its_line_in_however_many_pieces() {
        let spoiled = b"GET /a b HTTP/1.1\0\nHost: x\r\n\r\n";
        for pieces in [&["GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"][..], &["GET /a", " b HTTP/1.1\r", "\nHost: x\r\n\r\n"]]
        {
            let seen = seen(&mut Line::new(), pieces);
            assert!(seen.contains(&0), "{pieces:?}");
            if pieces.len() == 1 {
                assert_eq!(seen, spoiled);
            }
        }
        for bad in ["GET /a\tb HTTP/1.1\r\n", "POST /health  HTTP/1.0\n", "\r\n\r\nGET /? HTTP/1.1 HTTP/1.1\r\n"] {
            assert!(seen(&mut Line::new(), &[bad]).contains(&0), "{bad:?}");
        }
    }

    /// A connection of which `sent` has come so far; its other end stays open.
    async fn connection(sent: &[u8]) -> (Connection, tokio::net::TcpStream) {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(sent).await.unwrap();
        let inner: Stream = Box::new(pingora::protocols::l4::stream::Stream::from(listener.accept().await.unwrap().0));
        (Connection::new(inner), client)
    }

    /// A request of HTTP/1 may be shorter than what HTTP/2 begins with, and nothing of either is lost.
    #[tokio::test]
    async fn the_first_byte_that_differs_tells_what_a_connection_speaks() {
        for (sent, is_h2) in [
            (&b"GET / HTTP/1.0\r\n\r\n"[..], false),
            (b"P", false),
            (b"PUT / HTTP/1.1\r\nHost: x\r\n\r\n", false),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", true),
        ] {
            let (mut connection, client) = connection(sent).await;
            if sent.len() == 1 {
                // Only its end can tell.
                drop(client);
            }
            let mut seen = [0; PREFACE.len()];
            assert!(connection.try_peek(&mut seen).await.unwrap());
            assert_eq!(seen == PREFACE, is_h2, "{}", sent.escape_ascii());
            let mut read = vec![0; sent.len()];
            connection.read_exact(&mut read).await.unwrap();
            assert_eq!(read, sent);
        }
    }

    #[tokio::test]
    async fn a_head_goes_out_with_its_body_or_when_it_is_flushed() {
        use tokio::io::AsyncWriteExt as _;
        let (mut connection, mut client) = connection(b"").await;
        let (head, body) = (&b"HTTP/1.1 200 OK\r\n\r\n"[..], vec![b'x'; 1 << 20]);
        connection.write_all(head).await.unwrap();
        assert_eq!(client.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut read = vec![0; head.len() + body.len()];
        let (written, _) = tokio::join!(connection.write_all(&body), client.read_exact(&mut read));
        written.unwrap();
        assert!(read == [head, &body].concat());
        let mut short = [0; 5];
        connection.write_all(b"short").await.unwrap();
        connection.flush().await.unwrap();
        client.read_exact(&mut short).await.unwrap();
        assert_eq!(&short, b"short");
        connection.write_all(b"last").await.unwrap();
        Shutdown::shutdown(&mut connection).await;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"last");
    }

    #[tokio::test]
    async fn a_connection_ends_although_its_client_does_not_read() {
        use tokio::io::AsyncWriteExt as _;
        let (mut connection, _client) = connection(b"").await;
        // Until no byte more fits between the two.
        let full = std::time::Duration::from_millis(200);
        while tokio::time::timeout(full, connection.write_all(&vec![b'x'; 1 << 20])).await.is_ok() {}
        connection.write_all(b"held").await.unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(5), Shutdown::shutdown(&mut connection)).await.unwrap();
    }

    #[test]
    fn nothing_else_is_touched() {
        for good in [
            "GET /a%20b?q=c HTTP/1.1\r\nX: a b HTTP/1.1\r\n\r\nGET /a b HTTP/1.1\r\n",
            "{\"a\": \"GET /a b HTTP/1.1\"}\n",
            "id,GET /a b HTTP/1.1\n",
            "GET /health\r\n",
        ] {
            assert_eq!(seen(&mut Line::new(), &[good]), good.as_bytes());
        }
    }

    #[test]
    fn the_line_after_an_answer_is_a_request_line_again() {
        let (good, bad) = ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n");
        let mut line = Line::new();
        for _ in 0..2 {
            assert!(!seen(&mut line, &[&good[..20], &good[20..]]).contains(&0));
            line.answered(b"HTTP/1.1 200 OK\r\n");
        }
        assert!(seen(&mut line, &[bad]).contains(&0));
    }

    #[test]
    fn a_body_is_never_touched_however_it_comes() {
        let head = "POST /indexes/logs/documents HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n";
        let line_of_a_log = "GET /a b HTTP/1.1\n";
        // At once, by itself, after a wait for it, and in the read that follows an answer to a request before.
        assert!(!seen(&mut Line::new(), &[&format!("{head}{line_of_a_log}"), line_of_a_log]).contains(&0));
        let mut line = Line::new();
        assert!(!seen(&mut line, &[head]).contains(&0));
        line.answered(b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(!seen(&mut line, &[line_of_a_log, line_of_a_log]).contains(&0));
        let mut line = Line::new();
        assert!(!seen(&mut line, &[&format!("GET / HTTP/1.1\r\n\r\n{head}half")]).contains(&0));
        line.answered(b"HTTP/1.1 200 OK\r\n");
        assert!(!seen(&mut line, &[line_of_a_log]).contains(&0));
    }
}
