//! The beginning of an answer, held until there is more of it: head and body then go out by one write.
//!
//! Pingora writes a head by itself and flushes where nothing follows. Its own buffer would send the head first as soon as a body comes
//! that does not fit beside it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pingora::protocols::Stream;
use tokio::io::AsyncWrite as _;

/// As many bytes as a segment takes: what is longer goes out at once.
const MOST: usize = 1460;

/// Bytes that were written and not sent yet.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<u8>);

// === impl Held ===

impl Held {
    /// Takes `written`, to be sent with what comes next or by [`Held::poll_send`].
    pub(super) fn poll_write(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        written: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.0.len() + written.len() <= MOST {
            self.0.extend_from_slice(written);
            return Poll::Ready(Ok(written.len()));
        }
        while !self.0.is_empty() {
            let both = [io::IoSlice::new(&self.0), io::IoSlice::new(written)];
            let sent = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &both))?;
            match sent.checked_sub(self.0.len()) {
                Some(more) => {
                    self.0.clear();
                    if more > 0 {
                        return Poll::Ready(Ok(more));
                    }
                }
                None => self.sent(sent)?,
            }
        }
        Pin::new(stream).poll_write(cx, written)
    }

    /// Sends all that is held.
    pub(super) fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.0.is_empty() {
            let sent = ready!(Pin::new(&mut *stream).poll_write(cx, &self.0))?;
            self.sent(sent)?;
        }
        Poll::Ready(Ok(()))
    }

    fn sent(&mut self, sent: usize) -> io::Result<()> {
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.0.drain(..sent);
        Ok(())
    }
}
