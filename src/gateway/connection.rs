//! A client's connection as Pingora gets it: its bytes, and what has to be seen and done before Pingora or in its place.
//!
//! What a connection begins with tells whether it speaks HTTP/2 without TLS. Pingora would wait for all 24 bytes of the
//! preface to say so, and `GET / HTTP/1.0` with its empty line has 18; here the first byte that differs tells.
//!
//! Pingora sees a connection only once its client has said something. It closes at its end whatever it has read nothing of, and the
//! first request of a connection that was taken in would be lost although it is on its way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::listeners::PreTlsProcess as _;
use pingora::protocols::l4::stream::Stream as Tcp;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::entry::Entry;
use super::held::Held;
use super::line::Line;
use super::patience::Patience;
use super::serving::Serving;

/// An application whose connections are watched.
pub struct Watched<A> {
    app: Arc<A>,
    serving: Arc<Serving>,
    /// What connections pass first; with TLS they have passed it before.
    entry: Option<Arc<Entry>>,
}

/// A connection and what is known of the request line that comes next.
#[derive(Debug)]
struct Connection {
    inner: Stream,
    line: Line,
    /// Read to see what the connection speaks, and still to be handed out.
    ahead: Vec<u8>,
    held: Held,
    patience: Patience,
}

/// What a connection that speaks HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a new connection may take to begin.
const BEGIN: Duration = Duration::from_secs(60);

// === impl Watched ===

impl<A> Watched<A> {
    /// Around `app`, which sees each connection, after `entry` where there is one.
    pub fn new(app: A, serving: Arc<Serving>, entry: Option<Arc<Entry>>) -> Self {
        Self { app: Arc::new(app), serving, entry }
    }

    /// A new connection, once its client has begun to speak; `None` for one that is not let in.
    async fn begun(&self, session: Stream) -> Option<Stream> {
        let session: Stream = match &self.entry {
            None => session,
            Some(entry) => {
                let mut tcp = session.into_any().downcast::<Tcp>().ok()?;
                entry.process(&mut tcp).await.ok()?;
                tcp
            }
        };
        let patience = self.serving.app().settings().limits.client_timeout;
        let mut connection = Connection::new(session, patience);
        // An error: it went as it came.
        let began = tokio::time::timeout(BEGIN, connection.begin()).await.is_ok_and(|began| began.is_ok());
        began.then(|| -> Stream { Box::new(connection) })
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Watched<A> {
    async fn process_new(self: &Arc<Self>, session: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        // A kept connection comes back as it went, and is not wrapped twice.
        let watched = (*session).as_any().is::<Connection>();
        let session = if watched { session } else { self.begun(session).await? };
        self.app.process_new(session, shutdown).await
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

// === impl Connection ===

impl Connection {
    fn new(inner: Stream, patience: Duration) -> Self {
        let (line, held, patience) = (Line::new(), Held::default(), Patience::new(patience));
        Self { inner, line, ahead: Vec::new(), held, patience }
    }

    /// Waits for the first byte, or the end.
    async fn begin(&mut self) -> io::Result<()> {
        let mut first = [0];
        let taken = self.inner.read(&mut first).await?;
        self.ahead.extend_from_slice(&first[..taken]);
        Ok(())
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
        let Self { inner, line, held, patience, .. } = &mut *self;
        line.answered(buf);
        let written = held.poll_write(inner, cx, buf);
        patience.poll(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, line, held, patience, .. } = &mut *self;
        line.answered(bufs.first().map(|slice| &**slice).unwrap_or_default());
        let sent = held.poll_send(inner, cx);
        ready!(patience.poll(cx, sent))?;
        let written = Pin::new(inner).poll_write_vectored(cx, bufs);
        patience.poll(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, held, patience, .. } = &mut *self;
        let sent = held.poll_send(inner, cx);
        ready!(patience.poll(cx, sent))?;
        let flushed = Pin::new(inner).poll_flush(cx);
        patience.poll(cx, flushed)
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

    /// A connection of which `sent` has come so far; its other end stays open.
    async fn connection(sent: &[u8]) -> (Connection, tokio::net::TcpStream) {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(sent).await.unwrap();
        let inner: Stream = Box::new(pingora::protocols::l4::stream::Stream::from(listener.accept().await.unwrap().0));
        (Connection::new(inner, Duration::from_secs(60)), client)
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

    #[tokio::test]
    async fn who_takes_nothing_of_what_is_written_is_given_up() {
        use tokio::io::AsyncWriteExt as _;
        let (Connection { inner, .. }, mut client) = connection(b"").await;
        let mut connection = Connection::new(inner, Duration::from_secs(3));
        let (body, mut taken) = (vec![b'x'; 64 << 20], vec![0; 16 << 20]);
        let (written, read) = tokio::join!(connection.write_all(&body), client.read_exact(&mut taken));
        read.unwrap();
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // What was taken before it fell silent.
        assert!(client.peek(&mut [0]).await.unwrap() > 0);
    }
}
