//! A request's head, taken out of the session once: what the rest of the gateway decides by.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::request_id;
use crate::meili::error::{Code, ResponseError};

/// The parts of a request's head that matter.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: http::Method,
    /// Still percent-encoded; without doubled or trailing slashes, which the engine overlooks too.
    pub path: String,
    /// Without the question mark; empty if there is none.
    pub query: String,
    pub headers: HeaderMap,
}

/// The header that ties a request to its log lines, here and on the nodes.
pub const REQUEST_ID: &str = "x-request-id";
/// The trace that a request belongs to.
pub const TRACEPARENT: &str = "traceparent";

/// Lists the shards that an answer lacks.
pub const DEGRADED: &str = "x-miroir-degraded";

/// How an answer came about, by RFC 9211.
pub const CACHE_STATUS: &str = "cache-status";

/// Names what an answer may state otherwise than one node would.
pub const INEXACT: &str = "x-miroir-inexact";

// === impl Head ===

impl Head {
    /// The path is normalised: routes are compared with that.
    pub fn new(method: http::Method, uri: &http::Uri, headers: HeaderMap) -> Self {
        Self { method, path: normalized(uri.path()), query: uri.query().unwrap_or_default().to_owned(), headers }
    }

    /// `None`, too, for a value that is no ASCII.
    pub fn text(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Path and query, for the request line of a subrequest.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// `None` for a value that is no number, too.
    pub fn content_length(&self) -> Option<u64> {
        self.text(CONTENT_LENGTH)?.parse().ok()
    }

    /// True when a body follows the head.
    pub fn has_body(&self) -> bool {
        self.headers.contains_key(TRANSFER_ENCODING) || self.content_length().is_some_and(|length| length > 0)
    }

    /// True if the client waits for `100 Continue` before it sends its body.
    pub fn expects_continue(&self) -> bool {
        self.text(http::header::EXPECT).is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    /// The client's own id for the request if it is a plain word, else a new one.
    pub fn request_id(&self) -> String {
        match self.text(REQUEST_ID) {
            Some(id) if is_plain_word(id) => id.to_owned(),
            Some(_) | None => request_id::new(),
        }
    }

    /// Refuses heads that are too long, that ask for what is no path, and those whose body two readers could cut differently.
    /// `raw` is the head as it arrived: what the server read of it has already lost a `Content-Length` beside a
    /// `Transfer-Encoding`, and a target that it could not read.
    pub fn check(&self, raw: &[u8], max_size: u64) -> Result<(), ResponseError> {
        if raw.len() as u64 > max_size {
            let message = format!("The request's headers are longer than {max_size} bytes.");
            return Err(ResponseError { status: 431, ..ResponseError::new(Code::BadRequest, message) });
        }
        if !names_a_path(raw) {
            let message =
                "The request's target is no path: it begins with `/`, and what is no plain ASCII in it is escaped.";
            return Err(ResponseError::new(Code::BadRequest, message));
        }
        let encodings = self.headers.get_all(TRANSFER_ENCODING).iter().count();
        let lengths = header_lines(raw, "content-length");
        if encodings > 1 || lengths > 1 || (encodings == 1 && lengths > 0) {
            let message = "The request's length is ambiguous: send either one Content-Length or one Transfer-Encoding.";
            return Err(ResponseError::new(Code::BadRequest, message));
        }
        // Other encodings than chunks would have to be undone, and a list of lengths is no length.
        let plain = |name, is_plain: fn(&str) -> bool| {
            self.headers.get(name).is_none_or(|value| value.to_str().is_ok_and(|text| is_plain(text.trim())))
        };
        let chunks = plain(TRANSFER_ENCODING, |encoding| encoding.eq_ignore_ascii_case("chunked"));
        if !chunks || !plain(CONTENT_LENGTH, |length| !length.starts_with('+') && length.parse::<u64>().is_ok()) {
            let message = "The request's length cannot be understood: send a number of bytes, or chunks.";
            return Err(ResponseError::new(Code::BadRequest, message));
        }
        Ok(())
    }
}

/// True if the first line of a raw head asks for a path, or for a whole URL as one does of a proxy, in the characters that
/// the engine's server takes.
fn names_a_path(raw: &[u8]) -> bool {
    let line = raw.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(1);
    let (Some(target), Some(_), None) = (words.next(), words.next(), words.next()) else { return false };
    let starts = |start: &[u8]| target.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let path = parts.next().unwrap_or_default();
    let query = parts.next().unwrap_or_default();
    (target.starts_with(b"/") || starts(b"http://") || starts(b"https://"))
        && path.iter().all(|byte| matches!(byte, 0x21..=0x7E) && !matches!(byte, b'<' | b'>' | b'`'))
        && query.iter().all(|byte| matches!(byte, 0x21..=0x7E) && !matches!(byte, b'"' | b'<' | b'>'))
}

/// `//a//b/` is `/a/b`.
fn normalized(path: &str) -> String {
    if !path.contains("//") && !path.ends_with('/') {
        return path.to_owned();
    }
    let mut clean = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        clean.push('/');
        clean.push_str(part);
    }
    if clean.is_empty() { "/".to_owned() } else { clean }
}

fn is_plain_word(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// How many lines of a raw head start with `name:`.
fn header_lines(raw: &[u8], name: &str) -> usize {
    raw.split(|byte| *byte == b'\n')
        .filter(|line| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
                && line[name.len()..].trim_ascii_start().starts_with(b":")
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, headers: &[(&'static str, &str)]) -> Head {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Head::new(http::Method::POST, &uri.parse().unwrap(), map)
    }

    #[test]
    fn slashes_that_say_nothing_are_dropped() {
        assert_eq!(head("//indexes//a/", &[]).path, "/indexes/a");
        assert_eq!(head("/", &[]).path, "/");
        assert_eq!(head("/indexes?limit=1", &[]).target(), "/indexes?limit=1");
    }

    #[test]
    fn a_sane_request_id_is_kept_and_another_replaced() {
        assert_eq!(head("/", &[(REQUEST_ID, "abc-1.2:3")]).request_id(), "abc-1.2:3");
        let replaced = head("/", &[(REQUEST_ID, "a b; drop")]).request_id();
        assert!(uuid::Uuid::parse_str(&replaced).is_ok());
    }

    #[test]
    fn a_target_that_is_no_path_is_refused() {
        for good in ["/", "/health", "/a?b=c&d={}", "http://x/health"] {
            assert!(names_a_path(format!("GET {good} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()), "{good}");
        }
        for bad in ["health", "\\health", "%20/health", " /health", "/a b", "/caf\u{e9}", "/a?q=\u{e9}", "/a<b", "*"] {
            assert!(!names_a_path(format!("GET {bad} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_length_in_another_form_is_refused() {
        let raw = b"POST / HTTP/1.1\r\n\r\n";
        for (name, value) in [
            ("transfer-encoding", "gzip, chunked"),
            ("transfer-encoding", "chunked, chunked"),
            ("transfer-encoding", "identity"),
            ("content-length", "10, 10"),
            ("content-length", "+10"),
            ("content-length", "ten"),
        ] {
            assert_eq!(head("/", &[(name, value)]).check(raw, 1000).unwrap_err().status, 400, "{name}: {value}");
        }
        assert!(head("/", &[("transfer-encoding", " Chunked ")]).check(raw, 1000).is_ok());
    }

    #[test]
    fn an_ambiguous_length_is_refused() {
        let fine = head("/", &[("content-length", "3")]);
        assert!(fine.check(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", 1000).is_ok());
        let both = head("/", &[("transfer-encoding", "chunked")]);
        let raw = b"POST / HTTP/1.1\r\ncontent-LENGTH : 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(both.check(raw, 1000).unwrap_err().status, 400);
        let twice = head("/", &[("content-length", "3"), ("content-length", "3")]);
        let raw = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(twice.check(raw, 1000).unwrap_err().status, 400);
        assert_eq!(fine.check(&[b'a'; 1001], 1000).unwrap_err().status, 431);
    }
}
