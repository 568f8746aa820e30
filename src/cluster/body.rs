//! A client's request body as a stream of chunks, whatever server it comes from, and its decompression.

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;

use crate::meili::error::{Code, ResponseError};

/// How much is decompressed at a time: what a small compressed chunk can grow to in memory.
const DECODED_CHUNK: usize = 64 << 10;

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

/// A body, decompressed.
pub struct DecodedBody<'a> {
    inner: Inner<'a>,
}

enum Inner<'a> {
    Plain(&'a mut dyn BodySource),
    Compressed { reader: Pin<Box<dyn AsyncRead + Send + 'a>>, buffer: BytesMut },
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
    pub fn new(body: &'a mut dyn BodySource, encoding: ContentEncoding) -> Self {
        let compressed = |reader| Inner::Compressed { reader, buffer: BytesMut::new() };
        let inner = match encoding {
            ContentEncoding::Identity => Inner::Plain(body),
            ContentEncoding::Gzip => {
                let mut decoder = GzipDecoder::new(reader(body));
                decoder.multiple_members(true);
                compressed(Box::pin(decoder))
            }
            ContentEncoding::Brotli => compressed(Box::pin(BrotliDecoder::new(reader(body)))),
            ContentEncoding::Deflate => compressed(Box::pin(ZlibDecoder::new(reader(body)))),
            ContentEncoding::Zstd => {
                let mut decoder = ZstdDecoder::new(reader(body));
                decoder.multiple_members(true);
                compressed(Box::pin(decoder))
            }
        };
        Self { inner }
    }
}

#[async_trait]
impl BodySource for DecodedBody<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
        match &mut self.inner {
            Inner::Plain(body) => body.next().await,
            Inner::Compressed { reader, buffer } => {
                buffer.reserve(DECODED_CHUNK);
                let mut window = bytes::BufMut::limit(&mut *buffer, DECODED_CHUNK);
                match reader.read_buf(&mut window).await {
                    Ok(0) => Ok(None),
                    Ok(_) => Ok(Some(buffer.split().freeze())),
                    Err(error) => Err(refused(error)),
                }
            }
        }
    }
}

fn reader(body: &mut dyn BodySource) -> impl tokio::io::AsyncBufRead + Send {
    let chunks = futures::stream::try_unfold(body, |body| async move {
        match body.next().await {
            Ok(Some(chunk)) => Ok(Some((chunk, body))),
            Ok(None) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    });
    StreamReader::new(Box::pin(chunks))
}

/// The client's error: its own, if the body could not be read, else that of the compression.
fn refused(error: io::Error) -> ResponseError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return ResponseError::new(Code::BadRequest, "The provided payload is incomplete and cannot be parsed");
    }
    match error.downcast::<ResponseError>() {
        Ok(own) => own,
        Err(error) => {
            ResponseError::new(Code::BadRequest, format!("The provided payload cannot be decompressed: `{error}`."))
        }
    }
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Hands out its chunks one by one.
    struct Chunks(std::collections::VecDeque<Bytes>);

    #[async_trait]
    impl BodySource for Chunks {
        async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
            Ok(self.0.pop_front())
        }
    }

    fn chunks(bytes: &[u8], size: usize) -> Chunks {
        Chunks(bytes.chunks(size).map(Bytes::copy_from_slice).collect())
    }

    async fn read(body: &mut dyn BodySource, encoding: ContentEncoding) -> Result<Vec<u8>, ResponseError> {
        let mut decoded = DecodedBody::new(body, encoding);
        let mut out = Vec::new();
        while let Some(chunk) = decoded.next().await? {
            assert!(chunk.len() <= DECODED_CHUNK, "a chunk stays small");
            out.extend_from_slice(&chunk);
        }
        Ok(out)
    }

    async fn compress(bytes: &[u8], encoding: ContentEncoding) -> Vec<u8> {
        macro_rules! encode {
            ($encoder:ident) => {{
                let mut encoder = $encoder::new(Vec::new());
                encoder.write_all(bytes).await.unwrap();
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            }};
        }
        match encoding {
            ContentEncoding::Identity => bytes.to_vec(),
            ContentEncoding::Gzip => encode!(GzipEncoder),
            ContentEncoding::Brotli => encode!(BrotliEncoder),
            ContentEncoding::Deflate => encode!(ZlibEncoder),
            ContentEncoding::Zstd => encode!(ZstdEncoder),
        }
    }

    const ALL: [ContentEncoding; 5] = [
        ContentEncoding::Identity,
        ContentEncoding::Gzip,
        ContentEncoding::Brotli,
        ContentEncoding::Deflate,
        ContentEncoding::Zstd,
    ];

    #[tokio::test]
    async fn every_compression_is_undone_in_small_chunks() {
        let plain: Vec<u8> = (0..400_000u32).flat_map(|n| (n / 7).to_string().into_bytes()).collect();
        for encoding in ALL {
            let packed = compress(&plain, encoding).await;
            for size in [1000, 60_000] {
                let mut body = chunks(&packed, size);
                assert!(read(&mut body, encoding).await.unwrap() == plain, "{encoding:?} in pieces of {size}");
            }
        }
    }

    #[tokio::test]
    async fn a_cut_off_or_damaged_stream_is_the_clients_error() {
        let packed = compress(b"[{\"id\": 1}]", ContentEncoding::Gzip).await;
        let error = read(&mut chunks(&packed[..packed.len() - 9], 5), ContentEncoding::Gzip).await.unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, "bad_request"));
        let error = read(&mut chunks(b"no compression at all", 5), ContentEncoding::Gzip).await.unwrap_err();
        assert_eq!(error.status, 400);
        assert!(error.message.starts_with("The provided payload cannot be decompressed"), "{}", error.message);
    }

    #[tokio::test]
    async fn an_error_of_the_body_itself_passes_through() {
        struct Broken;
        #[async_trait]
        impl BodySource for Broken {
            async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
                Err(ResponseError::new(Code::PayloadTooLarge, "too much"))
            }
        }
        let error = read(&mut Broken, ContentEncoding::Zstd).await.unwrap_err();
        assert_eq!(error.message, "too much");
    }

    #[test]
    fn an_unknown_encoding_counts_as_none() {
        assert_eq!(ContentEncoding::parse(Some(" GZIP ")), ContentEncoding::Gzip);
        assert_eq!(ContentEncoding::parse(Some("snappy")), ContentEncoding::Identity);
        assert_eq!(ContentEncoding::parse(None), ContentEncoding::Identity);
    }
}
