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

/// A body, decompressed, and bounded: what it unpacks to counts, so that a small body cannot become a big one.
pub struct DecodedBody<'a> {
    inner: Inner<'a>,
    content: Content,
    encoding: ContentEncoding,
    /// In bytes; 0 for none.
    limit: u64,
    unpacked: u64,
}

/// What a body holds. The engine words what is wrong with a compressed body by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Documents,
    Json,
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

    /// What the engine's unpacker says of bytes that were not packed so.
    fn corrupt(self) -> io::Error {
        use io::ErrorKind::{InvalidData, InvalidInput};
        match self {
            Self::Gzip => io::Error::new(InvalidInput, "invalid gzip header"),
            Self::Deflate | Self::Identity => io::Error::new(InvalidInput, "corrupt deflate stream"),
            Self::Brotli => io::Error::new(InvalidData, "Invalid Data"),
            Self::Zstd => io::Error::other("Unknown frame descriptor"),
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
    /// `limit` is in bytes, 0 sets none.
    pub fn new(body: &'a mut dyn BodySource, encoding: ContentEncoding, content: Content, limit: u64) -> Self {
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
        Self { inner, content, encoding, limit, unpacked: 0 }
    }
}

#[async_trait]
impl BodySource for DecodedBody<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
        let chunk = match &mut self.inner {
            Inner::Plain(body) => body.next().await?,
            Inner::Compressed { reader, buffer } => {
                buffer.reserve(DECODED_CHUNK);
                let mut window = bytes::BufMut::limit(&mut *buffer, DECODED_CHUNK);
                match reader.read_buf(&mut window).await {
                    Ok(0) => None,
                    Ok(_) => Some(buffer.split().freeze()),
                    Err(error) => return Err(refused(error, self.encoding, self.content)),
                }
            }
        };
        self.unpacked += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.limit > 0 && self.unpacked > self.limit {
            return Err(too_large(self.limit));
        }
        Ok(chunk)
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

/// The client's error: its own, if the body could not be read, else that of the compression in the engine's words, which
/// tell what is wrong only where the body is JSON.
fn refused(error: io::Error, encoding: ContentEncoding, content: Content) -> ResponseError {
    let cause = match error.downcast::<ResponseError>() {
        Ok(own) => return own,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "Kind(UnexpectedEof)".to_owned(),
        Err(_) => format!("{:?}", encoding.corrupt()),
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
    let size = readable(limit);
    ResponseError::new(
        Code::PayloadTooLarge,
        format!("The provided payload reached the size limit. The maximum accepted payload size is {size}."),
    )
}

/// `104857600` is `100 MiB`.
fn readable(bytes: u64) -> String {
    const UNITS: &[(u64, &str)] = &[(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
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
        read_as(body, encoding, Content::Documents, 0).await
    }

    async fn read_as(
        body: &mut dyn BodySource,
        encoding: ContentEncoding,
        content: Content,
        limit: u64,
    ) -> Result<Vec<u8>, ResponseError> {
        let mut decoded = DecodedBody::new(body, encoding, content, limit);
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
        assert_eq!(error.message, "The provided payload is incomplete and cannot be parsed");
    }

    #[tokio::test]
    async fn what_is_wrong_with_json_is_told_in_the_engines_words() {
        let plain = br#"{"q": "no compression at all"}"#;
        for (encoding, cause) in [
            (ContentEncoding::Gzip, r#"Custom { kind: InvalidInput, error: "invalid gzip header" }"#),
            (ContentEncoding::Deflate, r#"Custom { kind: InvalidInput, error: "corrupt deflate stream" }"#),
            (ContentEncoding::Brotli, r#"Custom { kind: InvalidData, error: "Invalid Data" }"#),
            (ContentEncoding::Zstd, r#"Custom { kind: Other, error: "Unknown frame descriptor" }"#),
        ] {
            let error = read_as(&mut chunks(plain, 9), encoding, Content::Json, 0).await.unwrap_err();
            assert_eq!((error.status, error.code.as_str()), (400, "bad_request"));
            let said = "Error that occur during reading payload: payload reached EOF before completing:";
            assert_eq!(error.message, format!("{said} Some({cause})"));
        }
    }

    #[tokio::test]
    async fn a_small_body_does_not_become_a_big_one() {
        let plain = vec![b' '; 5_000_000];
        for encoding in ALL {
            let packed = compress(&plain, encoding).await;
            let mut body = chunks(&packed, 60_000);
            let error = read_as(&mut body, encoding, Content::Json, 100 << 10).await.unwrap_err();
            assert_eq!((error.status, error.code.as_str()), (413, "payload_too_large"), "{encoding:?}");
            assert!(read_as(&mut chunks(&packed, 60_000), encoding, Content::Json, 5_000_000).await.is_ok());
        }
    }

    #[test]
    fn a_limit_is_named_in_its_unit() {
        assert_eq!(
            too_large(100 << 20).message,
            "The provided payload reached the size limit. The maximum accepted payload size is 100 MiB."
        );
        assert_eq!(readable(1536), "1.5 KiB");
        assert_eq!(readable(10), "10 B");
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
