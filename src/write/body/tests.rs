use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use tokio::io::AsyncWriteExt as _;

use super::unpack::DECODED_CHUNK;
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
    read_as(body, encoding, Content::Documents, u64::MAX).await
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
    let error = read_as(&mut chunks(body, 9), encoding, Content::Json, u64::MAX).await.unwrap_err();
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
    assert!(too_large(1536).message.ends_with("is 1.5 KiB."));
    assert!(too_large(10).message.ends_with("is 10 B."));
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
