//! A client's request body as a stream of chunks, whatever server it comes from.

use async_trait::async_trait;
use bytes::Bytes;

use crate::meili::error::ResponseError;

/// A body that is read as it arrives. Nothing is read ahead: who does not ask holds the client back.
#[async_trait]
pub trait BodySource: Send {
    /// The next chunk, `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError>;
}
