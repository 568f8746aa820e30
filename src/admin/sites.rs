//! Whether a browser asks on behalf of a page of somebody else.
//!
//! An operator's browser reaches the listener, and so does every page that is open in it: without a key on the listener such a page could
//! drain a node. Programs that are no browsers send none of these headers.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// True for a request that a page of another site sends. `keyed`: the listener asks for a key, which such a page does not know.
pub fn is_foreign(headers: &HeaderMap, keyed: bool) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => return false,
        Some(_) => return true,
        // Older browsers, and those that do not trust the listener's address.
        None => {}
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return false };
    let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
    let same = text(HOST.as_str()).is_some_and(|host| host.eq_ignore_ascii_case(authority));
    // Who owns a name may let it lead to this machine, and then the two are the same; without a key the listener is this machine's.
    !same || (!keyed && !is_local(authority))
}

fn is_local(authority: &str) -> bool {
    let port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let host = authority.rsplit_once(':').filter(|(_, end)| port(end)).map_or(authority, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn foreign(keyed: bool, headers: &[(&'static str, &'static str)]) -> bool {
        let pairs =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        is_foreign(&pairs.collect(), keyed)
    }

    #[test]
    fn a_page_of_another_site_is_foreign_and_a_program_is_not() {
        let host = ("host", "127.0.0.1:7701");
        assert!(!foreign(false, &[host]));
        assert!(!foreign(false, &[host, ("origin", "http://127.0.0.1:7701")]));
        assert!(!foreign(false, &[host, ("origin", "http://127.0.0.1:7701"), ("sec-fetch-site", "same-origin")]));
        for origin in ["http://127.0.0.1:8080", "https://evil.example", "null", "", "127.0.0.1:7701"] {
            assert!(foreign(false, &[host, ("origin", origin)]), "{origin}");
            assert!(foreign(true, &[host, ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "what comes"] {
            assert!(foreign(true, &[host, ("sec-fetch-site", site)]), "{site}");
        }
    }

    /// A name that leads here is not enough where no key is asked for.
    #[test]
    fn without_a_key_only_names_of_this_machine_are_its_own() {
        let asked = |keyed, authority: &'static str, origin: &'static str| {
            foreign(keyed, &[("host", authority), ("origin", origin)])
        };
        assert!(asked(false, "evil.example:7701", "http://evil.example:7701"));
        assert!(!asked(true, "miroir.example:7701", "http://miroir.example:7701"));
        assert!(!asked(false, "localhost:7701", "http://localhost:7701"));
        assert!(!asked(false, "[::1]:7701", "http://[::1]:7701"));
        assert!(asked(false, "localhost.evil.example", "http://localhost.evil.example"));
    }
}
