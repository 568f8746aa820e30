//! A client's body, read from its session: whole and bounded, or as a stream.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora_proxy::Session;

use super::head::Head;
use crate::meili::error::{Code, ResponseError};
use crate::write::body::{BodySource, Content, ContentEncoding, DecodedBody, too_large};

/// The body of a session. Nothing is read ahead, so a slow reader slows its client and nobody else.
pub struct SessionBody<'a> {
    session: &'a mut Session,
    /// The client waits for `100 Continue` before it sends.
    continue_due: bool,
    idle_timeout: Duration,
    /// In bytes, as sent.
    limit: u64,
    read: u64,
}

/// The most that is thrown away of a body that nobody wanted, so that the client gets to read its answer.
const DISCARD_BYTES: usize = 4 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

// === impl SessionBody ===

impl<'a> SessionBody<'a> {
    /// `limit` is in bytes.
    pub fn new(session: &'a mut Session, head: &Head, idle_timeout: Duration, limit: u64) -> Self {
        Self { session, continue_due: head.expects_continue(), idle_timeout, limit, read: 0 }
    }

    /// True while nothing of it was read.
    pub fn is_fresh(&self) -> bool {
        self.read == 0
    }

    /// Reads all of it into memory, unpacked; `head` promises a length and names the compression.
    pub async fn collect(&mut self, head: &Head) -> Result<Bytes, ResponseError> {
        let limit = self.limit;
        if head.content_length().is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        let encoding = ContentEncoding::parse(head.text(http::header::CONTENT_ENCODING));
        let mut body = DecodedBody::new(self, encoding, Content::Json, limit);
        let Some(first) = body.next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = body.next().await? else {
            return Ok(first);
        };
        let mut whole = BytesMut::with_capacity(first.len() + second.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = body.next().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

#[async_trait]
impl BodySource for SessionBody<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
        if self.continue_due {
            self.continue_due = false;
            let sent = self.session.as_downstream_mut().write_continue_response().await;
            sent.map_err(|_| broken_off())?;
        }
        loop {
            let chunk = tokio::time::timeout(self.idle_timeout, self.session.read_request_body()).await;
            let chunk = chunk.map_err(|_| silent(self.idle_timeout))?.map_err(|_| broken_off())?;
            let Some(chunk) = chunk else {
                return Ok(None);
            };
            if chunk.is_empty() {
                continue;
            }
            self.read += chunk.len() as u64;
            if self.read > self.limit {
                return Err(too_large(self.limit));
            }
            return Ok(Some(chunk));
        }
    }
}

/// Reads on, within bounds, after an answer that was given before the body's end: closing at once would reset the
/// connection, and the client might lose the answer.
pub async fn discard(session: &mut Session) {
    let drain = async {
        let mut left = DISCARD_BYTES;
        while let Ok(Some(chunk)) = session.read_request_body().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whether it got to the end or not, the connection is closed after it.
    let _ = tokio::time::timeout(DISCARD_TIME, drain).await;
}

fn silent(after: Duration) -> ResponseError {
    let message = format!("The client sent nothing for {} seconds in the middle of its payload.", after.as_secs_f32());
    ResponseError { status: 408, ..ResponseError::new(Code::BadRequest, message) }
}

fn broken_off() -> ResponseError {
    ResponseError::new(Code::BadRequest, "The provided payload is incomplete and cannot be parsed")
}
