//! A client's request body as a stream of chunks, whatever server it comes from, and its decompression.

use std::io::{self, Write as _};
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, ZstdDecoder};
use async_trait::async_trait;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::write::{GzDecoder, ZlibDecoder};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
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
    /// Said to be zstd; its first bytes tell.
    Unseen(&'a mut dyn BodySource),
    /// The first bytes were read already.
    Begun(Bytes, &'a mut dyn BodySource),
    Pulled(Pulled<'a>),
    Pushed(Pushed<'a>),
    Ended,
}

/// Unpacked as it is asked for: a few bytes of brotli can be megabytes.
struct Pulled<'a> {
    decoder: Decoder<'a>,
    buffer: BytesMut,
}

enum Decoder<'a> {
    Brotli(Box<BrotliDecoder<Packed<'a>>>),
    Zstd(Box<ZstdDecoder<Packed<'a>>>),
}

type Packed<'a> = Pin<Box<dyn AsyncBufRead + Send + 'a>>;

/// Unpacked as it comes, by the unpacker that the engine has, which judges by the byte what is cut off and what is too much.
struct Pushed<'a> {
    body: &'a mut dyn BodySource,
    unpacker: Unpacker,
    packed: Bytes,
    unpacked: BytesMut,
    ended: bool,
}

enum Unpacker {
    Gzip(GzDecoder<bytes::buf::Writer<BytesMut>>),
    Deflate(ZlibDecoder<bytes::buf::Writer<BytesMut>>),
}

/// How much goes into an unpacker at a time: it grows to a thousandfold at most.
const PACKED_CHUNK: usize = 64;

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
    /// `limit` is in bytes, 0 sets none.
    pub fn new(body: &'a mut dyn BodySource, encoding: ContentEncoding, content: Content, limit: u64) -> Self {
        let inner = match encoding {
            ContentEncoding::Identity => Inner::Plain(body),
            ContentEncoding::Gzip => Inner::Pushed(Pushed::new(body, Unpacker::Gzip(GzDecoder::new(sink())))),
            ContentEncoding::Deflate => Inner::Pushed(Pushed::new(body, Unpacker::Deflate(ZlibDecoder::new(sink())))),
            ContentEncoding::Brotli => {
                let decoder = BrotliDecoder::new(reader(Bytes::new(), body));
                Inner::Pulled(Pulled::new(Decoder::Brotli(Box::new(decoder))))
            }
            ContentEncoding::Zstd => Inner::Unseen(body),
        };
        Self { inner, content, encoding, limit, unpacked: 0 }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, io::Error> {
        if let Inner::Unseen(_) = &self.inner {
            self.inner = match std::mem::replace(&mut self.inner, Inner::Ended) {
                Inner::Unseen(body) => unpacked_if_zstd(body).await?,
                other => other,
            };
        }
        match &mut self.inner {
            Inner::Plain(body) => body.next().await.map_err(io::Error::other),
            Inner::Begun(first, body) if first.is_empty() => body.next().await.map_err(io::Error::other),
            Inner::Begun(first, _) => Ok(Some(std::mem::take(first))),
            Inner::Pulled(pulled) => pulled.read().await,
            Inner::Pushed(pushed) => pushed.read().await,
            Inner::Unseen(_) | Inner::Ended => Ok(None),
        }
    }
}

#[async_trait]
impl BodySource for DecodedBody<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
        let chunk = self.read().await.map_err(|error| refused(error, self.encoding, self.content))?;
        self.unpacked += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.limit > 0 && self.unpacked > self.limit {
            return Err(too_large(self.limit));
        }
        Ok(chunk)
    }
}

// === impl Pulled ===

impl<'a> Pulled<'a> {
    fn new(decoder: Decoder<'a>) -> Self {
        Self { decoder, buffer: BytesMut::new() }
    }

    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        self.buffer.reserve(DECODED_CHUNK);
        let mut window = bytes::BufMut::limit(&mut self.buffer, DECODED_CHUNK);
        let read = match &mut self.decoder {
            Decoder::Zstd(decoder) => decoder.read_buf(&mut window).await?,
            Decoder::Brotli(decoder) => match decoder.read_buf(&mut window).await {
                // Where brotli ends too early, the engine takes what there is; it takes nothing that comes behind the end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Ok(0) if !decoder.get_mut().fill_buf().await?.is_empty() => return Err(no_room()),
                read => read?,
            },
        };
        Ok((read > 0).then(|| self.buffer.split().freeze()))
    }
}

/// What the engine's unpackers say of bytes behind the end.
fn no_room() -> io::Error {
    let mut nowhere: &mut [u8] = &mut [];
    nowhere.write_all(b"x").err().unwrap_or_else(|| io::ErrorKind::WriteZero.into())
}

// === impl Pushed ===

impl<'a> Pushed<'a> {
    fn new(body: &'a mut dyn BodySource, unpacker: Unpacker) -> Self {
        Self { body, unpacker, packed: Bytes::new(), unpacked: BytesMut::new(), ended: false }
    }

    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        while self.unpacked.len() < DECODED_CHUNK && !self.ended {
            if self.packed.is_empty() {
                match self.body.next().await.map_err(io::Error::other)? {
                    Some(packed) => self.packed = packed,
                    None => {
                        self.unpacker.finish()?;
                        self.ended = true;
                    }
                }
            }
            let length = self.packed.len().min(PACKED_CHUNK);
            self.unpacker.write_all(&self.packed[..length])?;
            self.packed.advance(length);
            self.unpacked.unsplit(self.unpacker.take());
        }
        let length = self.unpacked.len().min(DECODED_CHUNK);
        Ok((length > 0).then(|| self.unpacked.split_to(length).freeze()))
    }
}

// === impl Unpacker ===

impl Unpacker {
    fn write_all(&mut self, packed: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(unpacker) => unpacker.write_all(packed),
            Self::Deflate(unpacker) => unpacker.write_all(packed),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        // The engine's version of the library takes deflate that ends too early, and finds no checksum in such gzip.
        match self {
            Self::Gzip(unpacker) => unpacker.try_finish().map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    io::Error::new(io::ErrorKind::InvalidInput, "corrupt gzip stream does not have a matching checksum")
                }
                _ => error,
            }),
            Self::Deflate(unpacker) => match unpacker.try_finish() {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                finished => finished,
            },
        }
    }

    fn take(&mut self) -> BytesMut {
        match self {
            Self::Gzip(unpacker) => unpacker.get_mut().get_mut().split(),
            Self::Deflate(unpacker) => unpacker.get_mut().get_mut().split(),
        }
    }
}

fn sink() -> bytes::buf::Writer<BytesMut> {
    BytesMut::new().writer()
}

/// The engine does not know zstd, and takes a body that is said to be so as it is. Miroir reads those that are.
async fn unpacked_if_zstd(body: &mut dyn BodySource) -> io::Result<Inner<'_>> {
    const FRAME: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
    let mut first = BytesMut::new();
    while first.len() < FRAME.len() {
        match body.next().await.map_err(io::Error::other)? {
            Some(chunk) => first.extend_from_slice(&chunk),
            None => break,
        }
    }
    if !first.starts_with(&FRAME) {
        return Ok(Inner::Begun(first.freeze(), body));
    }
    let mut decoder = ZstdDecoder::new(reader(first.freeze(), body));
    decoder.multiple_members(true);
    Ok(Inner::Pulled(Pulled::new(Decoder::Zstd(Box::new(decoder)))))
}

/// What is left of a body of which `first` was read.
fn reader(first: Bytes, body: &mut dyn BodySource) -> Packed<'_> {
    let chunks = futures::stream::try_unfold((first, body), |(first, body)| async move {
        if !first.is_empty() {
            return Ok(Some((first, (Bytes::new(), body))));
        }
        match body.next().await {
            Ok(Some(chunk)) => Ok(Some((chunk, (Bytes::new(), body)))),
            Ok(None) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    });
    Box::pin(StreamReader::new(Box::pin(chunks)))
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
        ] {
            assert_eq!(refusal(plain, encoding).await, cause, "{encoding:?}");
        }
        // Seen of version 1.50.
        let ended = r#"Custom { kind: InvalidInput, error: "corrupt gzip stream does not have a matching checksum" }"#;
        for short in [&b""[..], b"[]", b"[\"the\"]"] {
            assert_eq!(refusal(short, ContentEncoding::Gzip).await, ended);
        }
        let more = r#"Error { kind: WriteZero, message: "failed to write whole buffer" }"#;
        for encoding in [ContentEncoding::Deflate, ContentEncoding::Brotli] {
            let packed = [compress(plain, encoding).await, b"x".to_vec()].concat();
            assert_eq!(refusal(&packed, encoding).await, more, "{encoding:?}");
        }
        let damaged = [&compress(plain, ContentEncoding::Zstd).await[..5], b"damaged, and more"].concat();
        let cause = r#"Custom { kind: Other, error: "Unknown frame descriptor" }"#;
        assert_eq!(refusal(&damaged, ContentEncoding::Zstd).await, cause);
    }

    async fn refusal(body: &[u8], encoding: ContentEncoding) -> String {
        let error = read_as(&mut chunks(body, 9), encoding, Content::Json, 0).await.unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, "bad_request"));
        let said = "Error that occur during reading payload: payload reached EOF before completing: Some(";
        let cause = error.message.strip_prefix(said).and_then(|rest| rest.strip_suffix(')'));
        cause.expect("the engine's words").to_owned()
    }

    /// As version 1.50 does.
    #[tokio::test]
    async fn what_ends_too_early_is_taken_where_the_engine_takes_it() {
        let plain = br#"[{"id": 1, "title": "a title that is a title"}]"#;
        for encoding in [ContentEncoding::Deflate, ContentEncoding::Brotli] {
            assert_eq!(read(&mut chunks(b"", 5), encoding).await.unwrap(), b"", "{encoding:?}");
        }
        let packed = compress(plain, ContentEncoding::Deflate).await;
        assert_eq!(read(&mut chunks(&packed[..packed.len() - 4], 5), ContentEncoding::Deflate).await.unwrap(), plain);
        assert_eq!(read(&mut chunks(b"[\"the\"]", 5), ContentEncoding::Brotli).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn what_is_said_to_be_zstd_and_is_not_is_taken_as_it_is() {
        for plain in [&b""[..], b"[]", b"[{\"id\": 1}]"] {
            assert_eq!(read(&mut chunks(plain, 3), ContentEncoding::Zstd).await.unwrap(), plain);
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
