//! A client's request body as a stream of chunks, whatever server it comes from, and its decompression (`unpack`).

#[cfg(test)]
mod tests;
mod unpack;

use std::io;

use async_trait::async_trait;
use bytes::Bytes;

use self::unpack::Packed;
use crate::meili::error::{Code, ResponseError};
use crate::settings::unit::{self, Fraction};

/// A body that is read as it arrives. Nothing is read ahead: who does not ask holds the client back.
#[async_trait]
pub trait BodySource: Send {
    /// The next chunk, `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError>;
}

/// The compressions that Meilisearch takes, the header `Content-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentEncoding {
    Identity,
    Gzip,
    Brotli,
    /// zlib's format, which is what HTTP calls deflate.
    Deflate,
    Zstd,
}

/// A body that is in memory already.
#[derive(Debug, Default)]
pub struct WholeBody(Option<Bytes>);

/// A body, decompressed, and bounded: what it unpacks to counts, so that a small body cannot become a big one.
pub struct DecodedBody<'a> {
    packed: Packed<'a>,
    content: Content,
    encoding: ContentEncoding,
    /// In bytes.
    limit: u64,
    unpacked: u64,
}

/// What a body holds. The engine words what is wrong with a compressed body by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Documents,
    Json,
}

// === impl ContentEncoding ===

impl ContentEncoding {
    /// Reads the header. As in the engine, what is unknown counts as not compressed.
    pub fn parse(header: Option<&str>) -> Self {
        match header.map(|value| value.trim().to_ascii_lowercase()).as_deref() {
            Some("gzip") => Self::Gzip,
            Some("br") => Self::Brotli,
            Some("deflate") => Self::Deflate,
            Some("zstd") => Self::Zstd,
            Some(_) | None => Self::Identity,
        }
    }
}

// === impl WholeBody ===

impl WholeBody {
    /// A body that is there as a whole, in one piece.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(Some(bytes.into()))
    }
}

#[async_trait]
impl BodySource for WholeBody {
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
        Ok(self.0.take())
    }
}

// === impl DecodedBody ===

impl<'a> DecodedBody<'a> {
    /// `limit` is in bytes.
    pub fn new(body: &'a mut dyn BodySource, encoding: ContentEncoding, content: Content, limit: u64) -> Self {
        Self { packed: Packed::new(body, encoding), content, encoding, limit, unpacked: 0 }
    }
}

#[async_trait]
impl BodySource for DecodedBody<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
        let chunk = self.packed.read().await.map_err(|error| refused(error, self.encoding, self.content))?;
        self.unpacked += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.unpacked > self.limit {
            return Err(too_large(self.limit));
        }
        Ok(chunk)
    }
}

/// The client's error: its own, if the body could not be read, else that of the compression in the engine's words, which
/// tell what is wrong only where the body is JSON.
fn refused(error: io::Error, encoding: ContentEncoding, content: Content) -> ResponseError {
    let cause = match error.downcast::<ResponseError>() {
        Ok(own) => return own,
        Err(error) => match encoding {
            // Their unpackers are the engine's own.
            ContentEncoding::Gzip | ContentEncoding::Deflate | ContentEncoding::Identity => format!("{error:?}"),
            _ if error.kind() == io::ErrorKind::WriteZero => format!("{error:?}"),
            _ if error.kind() == io::ErrorKind::UnexpectedEof => "Kind(UnexpectedEof)".to_owned(),
            ContentEncoding::Brotli => format!("{:?}", io::Error::new(io::ErrorKind::InvalidData, "Invalid Data")),
            ContentEncoding::Zstd => format!("{:?}", io::Error::other("Unknown frame descriptor")),
        },
    };
    let message = match content {
        Content::Documents => "The provided payload is incomplete and cannot be parsed".to_owned(),
        Content::Json => {
            format!("Error that occur during reading payload: payload reached EOF before completing: Some({cause})")
        }
    };
    ResponseError::new(Code::BadRequest, message)
}

/// The engine's words for a body over the limit.
pub fn too_large(limit: u64) -> ResponseError {
    let size = unit::written(limit, Fraction::All);
    ResponseError::new(
        Code::PayloadTooLarge,
        format!("The provided payload reached the size limit. The maximum accepted payload size is {size}."),
    )
}
