//! Cross-origin requests: any origin, any method, any header, for a day, as Meilisearch allows them; or those that the operator names.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_ENCODING, ORIGIN, RETRY_AFTER, VARY,
};
use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use std::time::Duration;

use super::head::{CACHE_STATUS, DEGRADED, Head, INEXACT, REQUEST_ID};
use crate::rules::answers::REORDERED;
use crate::rules::book::{RATE_LIMIT, RATE_LIMIT_POLICY};
use crate::settings::{FromSection, Section};

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT, TRACE";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The section `cors`: which pages of browsers may ask, and what they see of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsSettings {
    origins: Origins,
    /// Headers that pages may see besides Miroir's own.
    expose: Vec<String>,
    /// How long a browser may remember what it may do.
    max_age: Duration,
    /// Whether pages may send cookies and the like, which a gateway in front may ask for.
    credentials: bool,
}

/// Pages by where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origins {
    All,
    Named(Vec<Origin>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// `https://shop.example`
    Exact(String),
    /// `https://*.shop.example`: scheme, and the end of the host. One label or more stand before it.
    Below(String, String),
}

// === impl CorsSettings ===

impl FromSection for CorsSettings {
    fn read(section: &mut Section) -> Self {
        let expected =
            "`[\"*\"]`, or origins such as `https://shop.example`, `https://*.shop.example` or `http://localhost:3000`";
        let origins = section.parsed("origins", Origins::All, expected, |value| {
            let texts: Vec<&str> = value.as_array()?.iter().map(serde_json::Value::as_str).collect::<Option<_>>()?;
            if texts == ["*"] {
                return Some(Origins::All);
            }
            texts.into_iter().map(Origin::parse).collect::<Option<_>>().map(Origins::Named)
        });
        let expose = section.parsed("expose", Vec::new(), "a list of names of headers", |value| {
            let names = value.as_array()?.iter().map(|name| {
                let name = name.as_str()?;
                HeaderName::try_from(name).ok().map(|_| name.to_owned())
            });
            names.collect()
        });
        let max_age = section.duration("max_age", DAY);
        let credentials = section.parsed("credentials", false, "true or false", serde_json::Value::as_bool);
        if credentials && origins == Origins::All {
            section.problem(
                "credentials",
                "browsers want the origins named by which they send credentials: set `origins`",
            );
        }
        Self { origins, expose, max_age, credentials }
    }
}

impl CorsSettings {
    /// What is allowed to the page that asks; `None` where it may not, or no page asks.
    fn allowed(&self, head: &Head) -> Option<HeaderValue> {
        let origin = head.headers.get(ORIGIN)?;
        match &self.origins {
            Origins::All => Some(HeaderValue::from_static("*")),
            Origins::Named(named) => {
                let text = origin.to_str().ok()?;
                named.iter().any(|known| known.is(text)).then(|| origin.clone())
            }
        }
    }

    /// True for any page.
    fn are_all(&self) -> bool {
        self.origins == Origins::All
    }
}

// === impl Origin ===

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, host) = text.split_once("://")?;
        let is_host =
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte));
        match host.strip_prefix("*.") {
            Some(end) if !end.is_empty() && !end.contains('*') => {
                Some(Self::Below(scheme.to_lowercase(), format!(".{end}").to_lowercase()))
            }
            Some(_) => None,
            None => is_host.then(|| Self::Exact(text.to_lowercase())),
        }
    }

    /// Browsers send origins in small letters.
    fn is(&self, origin: &str) -> bool {
        match self {
            Self::Exact(text) => text == origin,
            Self::Below(scheme, end) => origin.split_once("://").is_some_and(|(of, host)| {
                let label = host.strip_suffix(end.as_str());
                of == scheme && label.is_some_and(|label| !label.is_empty() && !label.starts_with('.'))
            }),
        }
    }
}

/// True when a browser asks what it may do, before the request itself.
pub fn is_preflight(head: &Head) -> bool {
    head.method == http::Method::OPTIONS && head.headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(is_token)
}

/// Whatever is a word to HTTP.
fn is_token(method: &HeaderValue) -> bool {
    http::Method::from_bytes(method.as_bytes()).is_ok()
}

/// A preflight that asks for what can be no method: 400 as the engine has it.
fn asks_for_no_method(head: &Head) -> bool {
    let method = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD).map(HeaderValue::as_bytes).unwrap_or_default();
    !METHODS.split(", ").any(|known| known.as_bytes() == method)
}

/// The answer to a preflight.
pub fn answer(settings: &CorsSettings, head: &Head, request_id: &str) -> pingora::Result<ResponseHeader> {
    // One that names no page is let pass as the engine lets it, while any page may ask.
    let may_ask = settings.are_all() || settings.allowed(head).is_some();
    if asks_for_no_method(head) || !may_ask {
        return refusal(request_id);
    }
    let mut header = ResponseHeader::build(200, Some(8))?;
    header.insert_header(ACCESS_CONTROL_ALLOW_METHODS, METHODS)?;
    if let Some(wanted) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        header.insert_header(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone())?;
    }
    header.insert_header(ACCESS_CONTROL_MAX_AGE, settings.max_age.as_secs().to_string())?;
    header.insert_header(http::header::CONTENT_LENGTH, "0")?;
    header.insert_header(REQUEST_ID, request_id)?;
    allow(settings, head, &mut header)?;
    if settings.are_all() {
        header.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")?;
    }
    Ok(header)
}

/// The answer to a preflight that asks for no method, or from a page that may not ask, opens nothing.
fn refusal(request_id: &str) -> pingora::Result<ResponseHeader> {
    let mut header = ResponseHeader::build(400, Some(2))?;
    header.insert_header(http::header::CONTENT_LENGTH, "0")?;
    header.insert_header(REQUEST_ID, request_id)?;
    Ok(header)
}

/// Opens an answer to the page that asked for it. Requests that come from no page learn only that pages get more, for caches.
pub fn allow(settings: &CorsSettings, head: &Head, header: &mut ResponseHeader) -> pingora::Result<()> {
    if let Some(origin) = settings.allowed(head) {
        header.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, origin)?;
        if settings.credentials {
            header.insert_header(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")?;
        }
        let mut shown = format!(
            "{REQUEST_ID}, {DEGRADED}, {INEXACT}, {REORDERED}, {CACHE_STATUS}, {RATE_LIMIT}, {RATE_LIMIT_POLICY}, {RETRY_AFTER}, {CONTENT_ENCODING}, \
             {VARY}"
        );
        for name in &settings.expose {
            shown.push_str(", ");
            shown.push_str(name);
        }
        header.insert_header(ACCESS_CONTROL_EXPOSE_HEADERS, shown)?;
    }
    header.append_header(VARY, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::settings::Report;

    fn settings(value: Value) -> CorsSettings {
        let report = Report::default();
        let settings = CorsSettings::read(&mut Section::new("cors", value, &report));
        assert!(report.into_parts().0.is_empty());
        settings
    }

    fn asked_by(origin: &str) -> Head {
        let mut headers = http::HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, "PUT".parse().unwrap());
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, "authorization,x-anything".parse().unwrap());
        Head::new(http::Method::OPTIONS, &"/indexes".parse().unwrap(), headers)
    }

    #[test]
    fn any_page_may_ask() {
        let head = asked_by("https://shop.example");
        assert!(is_preflight(&head));
        let answer = answer(&CorsSettings::defaults(), &head, "r1").unwrap();
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["access-control-allow-headers"], "authorization,x-anything");
        assert_eq!(answer.headers["access-control-max-age"], "86400");
        let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
        let own = [REQUEST_ID, DEGRADED, INEXACT, REORDERED, CACHE_STATUS, RATE_LIMIT, "retry-after"];
        assert!(own.iter().all(|name| exposed.contains(name)), "{exposed}");
    }

    #[test]
    fn pages_that_are_named_may_ask_and_no_others() {
        let named = json!({"origins": ["https://shop.example", "https://*.shop.example", "http://localhost:3000"],
            "expose": ["X-Variant"], "max_age": "10m", "credentials": true});
        let settings = settings(named);
        for origin in ["https://shop.example", "https://a.b.shop.example", "http://localhost:3000"] {
            let answer = answer(&settings, &asked_by(origin), "r1").unwrap();
            assert_eq!(
                (answer.status.as_u16(), &answer.headers["access-control-allow-origin"]),
                (200, &origin.parse().unwrap())
            );
            assert_eq!(answer.headers["access-control-allow-credentials"], "true");
            assert_eq!(answer.headers["access-control-max-age"], "600");
            assert!(answer.headers["access-control-expose-headers"].to_str().unwrap().ends_with(", X-Variant"));
        }
        for origin in [
            "http://shop.example",
            "https://evilshop.example",
            "https://shop.example.evil",
            "https://.shop.example",
            "http://localhost",
            "null",
        ] {
            let answer = answer(&settings, &asked_by(origin), "r1").unwrap();
            assert_eq!(
                (answer.status.as_u16(), answer.headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)),
                (400, false),
                "{origin}"
            );
            let mut header = ResponseHeader::build(200, None).unwrap();
            allow(&settings, &asked_by(origin), &mut header).unwrap();
            assert_eq!(header.headers.keys().collect::<Vec<_>>(), [&VARY], "{origin}");
        }
    }

    #[test]
    fn what_names_no_page_is_a_problem() {
        for value in [
            json!({"origins": ["shop.example"]}),
            json!({"origins": ["https://*"]}),
            json!({"origins": ["https://shop.example/path"]}),
            json!({"origins": "*"}),
            json!({"origins": ["*"], "credentials": true}),
            json!({"expose": ["a b"]}),
        ] {
            let report = Report::default();
            CorsSettings::read(&mut Section::new("cors", value.clone(), &report));
            assert_eq!(report.into_parts().0.len(), 1, "{value}");
        }
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
        allow(&CorsSettings::defaults(), &head, &mut header).unwrap();
        assert_eq!(header.headers.keys().collect::<Vec<_>>(), [&VARY]);
    }
}
