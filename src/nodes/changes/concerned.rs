//! Which indexes a request to a node may change. What is not known to change nothing counts as changing all.

use serde::Deserialize;

/// What a request may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concerned {
    Nothing,
    Indexes(Vec<String>),
    /// What holds for all indexes, such as experimental features.
    Everything,
}

/// What a body may name.
#[derive(Deserialize)]
struct Named {
    uid: Option<String>,
}

#[derive(Deserialize)]
struct Swap {
    indexes: Vec<String>,
}

/// True for a request that leaves a node as it is. `path` may have a query behind it.
pub fn is_read(method: &http::Method, path: &str) -> bool {
    if *method == http::Method::GET || *method == http::Method::HEAD {
        return true;
    }
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("indexes"), Some(_), Some("search" | "facet-search" | "similar" | "fields"), None)
        | (Some("indexes"), Some(_), Some("documents"), Some("fetch"))
        | (Some("multi-search" | "render-template"), None, None, None) => true,
        // It lists them.
        (Some("dynamic-search-rules"), None, None, None) => *method == http::Method::POST,
        _ => false,
    }
}

// === impl Concerned ===

impl Concerned {
    /// `path` may have a query behind it; `body` is `None` where it is not at hand.
    pub fn by(method: &http::Method, path: &str, body: Option<&[u8]>) -> Self {
        if is_read(method, path) {
            return Self::Nothing;
        }
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let mut parts = path.trim_start_matches('/').split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            // No index's answers.
            (Some("keys" | "tasks" | "dumps" | "snapshots" | "logs"), ..) => Self::Nothing,
            (Some("indexes"), None, None, None) => Self::named(None, body),
            // Its body may give it another name.
            (Some("indexes"), Some(index), None, None) => Self::named(Some(index), body),
            (Some("indexes"), Some(index), Some(_), _) => Self::Indexes(vec![index.to_owned()]),
            (Some("swap-indexes"), None, None, None) => match read::<Vec<Swap>>(body) {
                Some(swaps) => Self::Indexes(swaps.into_iter().flat_map(|swap| swap.indexes).collect()),
                None => Self::Everything,
            },
            _ => Self::Everything,
        }
    }

    fn named(index: Option<&str>, body: Option<&[u8]>) -> Self {
        let uid = match body {
            Some([]) => None,
            body => match read::<Named>(body) {
                Some(named) => named.uid,
                None => return Self::Everything,
            },
        };
        let mut indexes: Vec<String> = index.map(str::to_owned).into_iter().chain(uid).collect();
        indexes.dedup();
        if indexes.is_empty() { Self::Everything } else { Self::Indexes(indexes) }
    }
}

fn read<'b, T: Deserialize<'b>>(body: Option<&'b [u8]>) -> Option<T> {
    serde_json::from_slice(body?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meili::operation::{Operation, route, routes};

    fn concerned(method: &str, path: &str, body: &str) -> Concerned {
        Concerned::by(&method.parse().unwrap(), path, Some(body.as_bytes()))
    }

    fn indexes(names: &[&str]) -> Concerned {
        Concerned::Indexes(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn reads_change_nothing() {
        for path in ["/indexes/a/search", "/indexes/a/documents/fetch", "/indexes/a/similar?x=1", "/multi-search"] {
            assert_eq!(concerned("POST", path, "{}"), Concerned::Nothing, "{path}");
        }
        assert_eq!(concerned("GET", "/indexes/a/settings", ""), Concerned::Nothing);
        assert_eq!(concerned("POST", "/tasks/cancel?uids=1", ""), Concerned::Nothing);
        assert_eq!(concerned("POST", "/dynamic-search-rules", "{}"), Concerned::Nothing);
    }

    #[test]
    fn what_leaves_a_node_as_it_is_needs_no_right_to_change_it() {
        let reads = |method: &str, path: &str| is_read(&method.parse().unwrap(), path);
        let mut posts = 0;
        for (method, path) in routes() {
            let operation = route(method, &path.replace(['{', '}'], "")).unwrap();
            if let Operation::Read(_) = operation {
                assert!(reads(method, path), "{method} {path}");
                posts += usize::from(method == "POST");
            }
        }
        assert!(posts >= 8, "searches of all kinds, lists and templates are asked for by POST");
        assert!(reads("GET", "/keys") && reads("HEAD", "/indexes/a"));
        for (method, path) in [
            ("POST", "/keys"),
            ("DELETE", "/keys/7"),
            ("POST", "/tasks/cancel?uids=1"),
            ("DELETE", "/tasks?uids=1"),
            ("POST", "/indexes/a/documents?customMetadata=search"),
            ("DELETE", "/dynamic-search-rules"),
            ("PATCH", "/experimental-features"),
        ] {
            assert!(!reads(method, path), "{method} {path}");
        }
    }

    #[test]
    fn a_write_changes_the_indexes_that_it_names() {
        for (method, path) in [
            ("POST", "/indexes/a/documents?customMetadata=x"),
            ("POST", "/indexes/a/documents/delete-batch"),
            ("PUT", "/indexes/a/settings/stop-words"),
            ("DELETE", "/indexes/a/documents/7"),
        ] {
            assert_eq!(concerned(method, path, "[]"), indexes(&["a"]), "{path}");
        }
        assert_eq!(concerned("PATCH", "/indexes/a", r#"{"uid": "b"}"#), indexes(&["a", "b"]));
        assert_eq!(concerned("POST", "/indexes", r#"{"uid": "a"}"#), indexes(&["a"]));
        let swap = r#"[{"indexes": ["a", "b"], "rename": false}]"#;
        assert_eq!(concerned("POST", "/swap-indexes", swap), indexes(&["a", "b"]));
        assert_eq!(concerned("DELETE", "/indexes/a", ""), indexes(&["a"]));
    }

    #[test]
    fn what_cannot_be_told_changes_everything() {
        assert_eq!(concerned("PATCH", "/experimental-features", "{}"), Concerned::Everything);
        assert_eq!(concerned("POST", "/swap-indexes", "{"), Concerned::Everything);
        assert_eq!(concerned("POST", "/indexes", "{"), Concerned::Everything);
        assert_eq!(Concerned::by(&http::Method::POST, "/indexes", None), Concerned::Everything);
        assert_eq!(concerned("POST", "/a/new/route", "{}"), Concerned::Everything);
        for (method, path) in [("PATCH", "/dynamic-search-rules/r"), ("DELETE", "/dynamic-search-rules")] {
            assert_eq!(concerned(method, path, "{}"), Concerned::Everything, "{path}");
        }
    }
}
