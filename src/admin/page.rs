//! The page for operators: files that are part of the program. It holds no secret, so it is shown to whoever reaches the listener; what it
//! shows it asks for with the operator's key.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};

/// A file of the page.
pub struct File {
    path: &'static str,
    /// Of the answer.
    pub content_type: &'static str,
    /// What it says.
    pub text: &'static str,
}

/// Nothing comes from elsewhere, nothing that is written into the page itself runs, and no text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A path is as the routes have it: without a slash at its end.
const FILES: &[File] = &[
    File { path: "", content_type: HTML, text: include_str!("page/index.html") },
    File { path: "/page/style.css", content_type: "text/css; charset=utf-8", text: include_str!("page/style.css") },
    File { path: "/page/icon.svg", content_type: "image/svg+xml", text: include_str!("page/icon.svg") },
    File { path: "/page/main.js", content_type: SCRIPT, text: include_str!("page/main.js") },
    File { path: "/page/api.js", content_type: SCRIPT, text: include_str!("page/api.js") },
    File { path: "/page/dom.js", content_type: SCRIPT, text: include_str!("page/dom.js") },
    File { path: "/page/figures.js", content_type: SCRIPT, text: include_str!("page/figures.js") },
    File { path: "/page/views.js", content_type: SCRIPT, text: include_str!("page/views.js") },
    File { path: "/page/traffic.js", content_type: SCRIPT, text: include_str!("page/traffic.js") },
    File { path: "/page/acts.js", content_type: SCRIPT, text: include_str!("page/acts.js") },
];

/// The file at `path`, if it is one of the page.
pub fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// What browsers must know of a file of the page.
pub fn protect(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    // The files of a newer program are another page.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the page loads, it has.
    #[test]
    fn every_file_that_one_names_is_served() {
        let named = |text: &'static str, before: &str| -> Vec<&'static str> {
            let at = text.match_indices(before).map(|(at, _)| at + before.len()).collect::<Vec<_>>();
            at.into_iter().map(|at| text[at..].split(['"', '\'']).next().unwrap_or_default()).collect()
        };
        let html = file("").unwrap().text;
        let mut wanted: Vec<String> = ["src=\"", "href=\""]
            .iter()
            .flat_map(|before| named(html, before))
            .map(|path| format!("/{path}"))
            .collect();
        for script in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            wanted.extend(named(script.text, " from './").iter().map(|name| format!("/page/{name}")));
        }
        wanted.retain(|path| !path.starts_with("/#"));
        assert!(wanted.len() >= FILES.len() - 1, "{wanted:?}");
        for path in wanted {
            assert!(file(&path).is_some(), "{path}");
        }
    }
}
