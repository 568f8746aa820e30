//! Request bodies: content types, decompression, the size limit.

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use axum::http::{HeaderMap, header};
use futures::TryStreamExt as _;
use miroir_words::format::PayloadFormat;
use miroir_words::unit::{self, Fraction};
use serde_json::Value;
use serde_json::error::Category;
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::io::StreamReader;

use super::Call;
use crate::error::{Code, ResponseError};
use crate::payload::io_failure;

/// What a body of documents may be written in.
const DOCUMENT_TYPES: &str = "`application/json`, `application/x-ndjson`, `text/csv`";

const CHUNK: usize = 64 << 10;

// === impl Call ===

impl Call {
    /// The whole body of a request that must say it is JSON.
    pub async fn json_bytes(&mut self) -> Result<Vec<u8>, ResponseError> {
        check_json_type(&self.headers)?;
        let limit = self.node.max_payload_size;
        let brotli = self.is_brotli();
        let mut reader = self.reader();
        let mut bytes = Vec::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = read_some(&mut reader, &mut chunk, brotli).await?;
            if length == 0 {
                return Ok(bytes);
            }
            if (bytes.len() + length) as u64 > limit {
                return Err(too_large(limit));
            }
            bytes.extend_from_slice(&chunk[..length]);
        }
    }

    /// The body as JSON.
    pub async fn json_value(&mut self) -> Result<Value, ResponseError> {
        parse_json(&self.json_bytes().await?)
    }

    /// Writes a body of documents to `file`. Bounded memory, whatever its size.
    pub async fn receive(&mut self, file: &NamedTempFile, format: PayloadFormat) -> Result<(), ResponseError> {
        let limit = self.node.max_payload_size;
        let brotli = self.is_brotli();
        let mut reader = self.reader();
        let handle = file.as_file().try_clone().map_err(|error| io_failure(&error))?;
        let mut file = tokio::fs::File::from_std(handle);
        let mut chunk = vec![0; CHUNK];
        let mut total = 0;
        loop {
            let length = read_some(&mut reader, &mut chunk, brotli).await?;
            if length == 0 {
                break;
            }
            total += length as u64;
            if total > limit {
                return Err(too_large(limit));
            }
            file.write_all(&chunk[..length]).await.map_err(|error| io_failure(&error))?;
        }
        file.flush().await.map_err(|error| io_failure(&error))?;
        if total == 0 {
            let message = format!("A {} payload is missing.", format.as_str());
            return Err(ResponseError::new(Code::MissingPayload, message));
        }
        Ok(())
    }

    fn is_brotli(&self) -> bool {
        let encoding = self.headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        encoding.is_some_and(|name| name.trim().eq_ignore_ascii_case("br"))
    }

    fn reader(&mut self) -> Pin<Box<dyn AsyncRead + Send>> {
        let body = std::mem::take(&mut self.body);
        let raw = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
        let encoding = self.headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        match encoding.map(|name| name.trim().to_ascii_lowercase()).as_deref() {
            Some("gzip") => {
                let mut decoder = GzipDecoder::new(raw);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            Some("br") => Box::pin(BrotliDecoder::new(raw)),
            Some("deflate") => Box::pin(ZlibDecoder::new(raw)),
            Some("zstd") => {
                let mut decoder = ZstdDecoder::new(raw);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            Some(_) | None => Box::pin(raw),
        }
    }
}

/// Reads what there is next, 0 at the end. Brotli that ends too early has ended, as in Meilisearch.
async fn read_some(
    reader: &mut Pin<Box<dyn AsyncRead + Send>>,
    chunk: &mut [u8],
    brotli: bool,
) -> Result<usize, ResponseError> {
    match reader.read(chunk).await {
        Err(error) if brotli && error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read.map_err(|error| receive_failure(&error)),
    }
}

/// The format that the headers and `csvDelimiter` name.
pub fn document_format(headers: &HeaderMap, csv_delimiter: Option<u8>) -> Result<PayloadFormat, ResponseError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        let message = format!(
            "A Content-Type header is missing. Accepted values for the Content-Type header are: {DOCUMENT_TYPES}"
        );
        return Err(ResponseError::new(Code::MissingContentType, message));
    };
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let essence = essence(&text);
    match (essence.as_deref(), csv_delimiter) {
        (Some("application/json"), None) => Ok(PayloadFormat::Json),
        (Some("application/x-ndjson"), None) => Ok(PayloadFormat::Ndjson),
        (Some("text/csv"), delimiter) => Ok(PayloadFormat::Csv { delimiter: delimiter.unwrap_or(b',') }),
        (Some(name @ ("application/json" | "application/x-ndjson")), Some(_)) => {
            let message = format!(
                "The Content-Type `{name}` does not support the use of a csv delimiter. The csv delimiter can only be \
                 used with the Content-Type `text/csv`."
            );
            Err(ResponseError::new(Code::InvalidContentType, message))
        }
        (other, _) => Err(invalid_type(other.unwrap_or(&text), DOCUMENT_TYPES)),
    }
}

/// JSON, or the engine's refusal of what is not.
pub fn parse_json(bytes: &[u8]) -> Result<Value, ResponseError> {
    serde_json::from_slice(bytes).map_err(|error| json_failure(&error))
}

/// The refusal of a body that is not JSON, or not of the shape that `serde` expected.
pub fn json_failure(error: &serde_json::Error) -> ResponseError {
    if error.classify() == Category::Eof && error.line() == 1 && error.column() == 0 {
        return ResponseError::new(Code::MissingPayload, "A json payload is missing.");
    }
    if error.classify() == Category::Data {
        return ResponseError::new(Code::BadRequest, format!("Json deserialize error: {error}"));
    }
    ResponseError::new(Code::MalformedPayload, format!("The json payload provided is malformed. `{error}`."))
}

fn check_json_type(headers: &HeaderMap) -> Result<(), ResponseError> {
    const ACCEPTED: &str = "`application/json`";
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        let message =
            format!("A Content-Type header is missing. Accepted values for the Content-Type header are: {ACCEPTED}");
        return Err(ResponseError::new(Code::MissingContentType, message));
    };
    let text = value.to_str().unwrap_or("unknown");
    let is_json = essence(text).is_some_and(|name| name.ends_with("/json") || name.ends_with("+json"));
    if is_json { Ok(()) } else { Err(invalid_type(text, ACCEPTED)) }
}

/// `type/subtype` in lower case, `None` if the text has no such form.
fn essence(content_type: &str) -> Option<String> {
    let name = content_type.split(';').next().unwrap_or_default().trim();
    let (kind, subtype) = name.split_once('/')?;
    let is_token = |text: &str| !text.is_empty() && !text.contains(['/', ' ', ',']);
    (is_token(kind) && is_token(subtype)).then(|| name.to_ascii_lowercase())
}

fn invalid_type(name: &str, accepted: &str) -> ResponseError {
    let message =
        format!("The Content-Type `{name}` is invalid. Accepted values for the Content-Type header are: {accepted}");
    ResponseError::new(Code::InvalidContentType, message)
}

fn too_large(limit: u64) -> ResponseError {
    let message = format!(
        "The provided payload reached the size limit. The maximum accepted payload size is {}.",
        unit::written(limit, Fraction::All)
    );
    ResponseError::new(Code::PayloadTooLarge, message)
}

fn receive_failure(error: &io::Error) -> ResponseError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return ResponseError::new(Code::BadRequest, "The provided payload is incomplete and cannot be parsed");
    }
    ResponseError::new(Code::BadRequest, format!("Error while receiving the playload. `{error}`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        headers
    }

    #[test]
    fn a_charset_does_not_change_the_format() {
        let format = document_format(&headers("application/json; charset=utf-8"), None).unwrap();
        assert_eq!(format, PayloadFormat::Json);
    }

    #[test]
    fn a_delimiter_is_for_csv_only() {
        assert_eq!(document_format(&headers("text/csv"), Some(b';')).unwrap(), PayloadFormat::Csv { delimiter: b';' });
        let error = document_format(&headers("application/x-ndjson"), Some(b';')).unwrap_err();
        assert_eq!(
            error.message,
            "The Content-Type `application/x-ndjson` does not support the use of a csv delimiter. The csv delimiter can \
             only be used with the Content-Type `text/csv`."
        );
    }

    #[test]
    fn words_that_are_no_content_type_are_shown_as_they_came() {
        for wrong in ["text/plain", "json", "application", "json/application", "application/x-ndjson"] {
            let error = check_json_type(&headers(wrong)).unwrap_err();
            assert_eq!(error.code, "invalid_content_type");
            assert_eq!(
                error.message,
                format!(
                    "The Content-Type `{wrong}` is invalid. Accepted values for the Content-Type header are: \
                     `application/json`"
                )
            );
        }
    }

    #[test]
    fn sizes_are_shown_in_binary_units() {
        for (limit, shown) in [(3, "3 B"), (100 << 20, "100 MiB"), (1536, "1.5 KiB")] {
            assert!(too_large(limit).message.ends_with(&format!(" is {shown}.")), "{limit}");
        }
    }
}
