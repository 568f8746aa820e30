//! Cross-origin requests: any origin, any method, any header, for a day, as Meilisearch allows them.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_ENCODING, ORIGIN, RETRY_AFTER, VARY,
};
use pingora::http::ResponseHeader;

use super::head::{Head, REQUEST_ID};
use super::respond::{DEGRADED, INEXACT};

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT, TRACE";

/// True when a browser asks what it may do, before the request itself.
pub fn is_preflight(head: &Head) -> bool {
    head.method == http::Method::OPTIONS && head.headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(is_token)
}

/// Whatever is a word to HTTP.
fn is_token(method: &http::HeaderValue) -> bool {
    http::Method::from_bytes(method.as_bytes()).is_ok()
}

/// A preflight that asks for what can be no method: 400 as the engine has it.
pub fn asks_for_no_method(head: &Head) -> bool {
    let method = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD).map(http::HeaderValue::as_bytes).unwrap_or_default();
    !METHODS.split(", ").any(|known| known.as_bytes() == method)
}

/// The answer to a preflight that asks for no method opens nothing.
pub fn refusal(request_id: &str) -> pingora::Result<ResponseHeader> {
    let mut header = ResponseHeader::build(400, Some(2))?;
    header.insert_header(http::header::CONTENT_LENGTH, "0")?;
    header.insert_header(REQUEST_ID, request_id)?;
    Ok(header)
}

/// The answer to a preflight. One that names no page is let pass as the engine lets it.
pub fn preflight(head: &Head, request_id: &str) -> pingora::Result<ResponseHeader> {
    let mut header = ResponseHeader::build(200, Some(8))?;
    header.insert_header(ACCESS_CONTROL_ALLOW_METHODS, METHODS)?;
    if let Some(wanted) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        header.insert_header(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone())?;
    }
    header.insert_header(ACCESS_CONTROL_MAX_AGE, "86400")?;
    header.insert_header(http::header::CONTENT_LENGTH, "0")?;
    header.insert_header(REQUEST_ID, request_id)?;
    allow(head, &mut header)?;
    header.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")?;
    Ok(header)
}

/// Opens an answer to the page that asked for it. Requests that come from no page learn only that pages get more, for caches.
pub fn allow(head: &Head, header: &mut ResponseHeader) -> pingora::Result<()> {
    if head.headers.contains_key(ORIGIN) {
        header.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")?;
        let own = format!("{REQUEST_ID}, {DEGRADED}, {INEXACT}, {RETRY_AFTER}, {CONTENT_ENCODING}, {VARY}");
        header.insert_header(ACCESS_CONTROL_EXPOSE_HEADERS, own)?;
    }
    header.append_header(VARY, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_page_may_ask() {
        let mut headers = http::HeaderMap::new();
        headers.insert(ORIGIN, "https://shop.example".parse().unwrap());
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, "PUT".parse().unwrap());
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, "authorization,x-anything".parse().unwrap());
        let head = Head::new(http::Method::OPTIONS, &"/indexes".parse().unwrap(), headers);
        assert!(is_preflight(&head));
        let answer = preflight(&head, "r1").unwrap();
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["access-control-allow-headers"], "authorization,x-anything");
        assert_eq!(answer.headers["access-control-max-age"], "86400");
        let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
        assert!([REQUEST_ID, DEGRADED, INEXACT, "retry-after"].iter().all(|name| exposed.contains(name)), "{exposed}");
    }

    #[test]
    fn only_methods_can_be_asked_for() {
        for (method, is_none) in [("PATCH", false), ("OPTIONS", false), ("NOPE", true), ("get", true), ("a b", true)] {
            let mut headers = http::HeaderMap::new();
            headers.insert(ACCESS_CONTROL_REQUEST_METHOD, method.parse().unwrap());
            let head = Head::new(http::Method::OPTIONS, &"/indexes".parse().unwrap(), headers);
            assert_eq!(asks_for_no_method(&head), is_none, "{method}");
        }
    }

    #[test]
    fn a_request_from_no_page_learns_only_that_pages_get_more() {
        let head = Head::new(http::Method::GET, &"/".parse().unwrap(), http::HeaderMap::new());
        let mut header = ResponseHeader::build(200, None).unwrap();
        allow(&head, &mut header).unwrap();
        assert_eq!(header.headers.keys().collect::<Vec<_>>(), [&VARY]);
    }
}
