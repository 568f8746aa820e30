use std::collections::{BTreeMap, BTreeSet};

use super::route::{RouteError, is_parameter, routes};
use super::{Operation, Own, Read, route};

/// `METHOD path name` of every operation of Meilisearch's API.
const OPERATIONS: &str = include_str!("../../../tests/golden/operations.txt");

/// Method, path and name of each.
pub fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    OPERATIONS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[0], words[1], words[2])
    })
}

fn filled(path: &str) -> String {
    let fill = |part: &'static str| if is_parameter(part) { "some-Thing_1" } else { part };
    path.to_owned().leak().split('/').map(fill).collect::<Vec<_>>().join("/")
}

/// Method and path, as the list has them, of the operation that a request is; the more literal of two paths that fit.
pub fn operation_of(method: &str, path: &str) -> Option<(&'static str, &'static str)> {
    let segments = |path: &'static str| path.split('/');
    let literal = |path: &'static str| segments(path).filter(|part| !is_parameter(part)).count();
    let fits = |known: &'static str| {
        known.split('/').count() == path.split('/').count()
            && segments(known).zip(path.split('/')).all(|(part, text)| is_parameter(part) || part == text)
    };
    let fitting = operations().filter(|(known, path, _)| *known == method && fits(path));
    fitting.max_by_key(|(_, path, _)| literal(path)).map(|(method, path, _)| (method, path))
}

#[test]
fn every_operation_of_the_api_is_known() {
    assert_eq!(operations().count(), 142);
    for (method, path, name) in operations() {
        let operation = route(method, &filled(path)).unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        assert_eq!(operation.name(), name, "{method} {path}");
        assert_eq!(operation.validate(), Ok(()));
        if let Operation::Unsupported { name, .. } = operation {
            assert_eq!(name, path);
        } else {
            assert_eq!(operation.index().is_some(), path.contains("{index_uid}"), "{method} {path}");
        }
    }
}

#[test]
fn the_table_of_operations_in_the_docs_is_the_routes() {
    const PAGE: &str = include_str!("../../../docs/compatibility.md");
    let table = PAGE.split("## Every operation").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    let expected = operations().map(|(method, path, name)| match name {
        "unsupported" => format!("| `{method} {path}` | no |"),
        name => format!("| `{method} {path}` | `{name}` |"),
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
}

#[test]
fn every_other_method_is_not_allowed() {
    let mut methods: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (method, path, _) in operations() {
        methods.entry(path).or_default().insert(method);
    }
    methods.entry("/tasks/{task_id}").or_default().insert("DELETE");
    for (path, known) in methods {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get"] {
            if !known.contains(method) {
                assert_eq!(route(method, &filled(path)), Err(RouteError::MethodNotAllowed), "{method} {path}");
            }
        }
    }
}

#[test]
fn the_table_holds_no_operation_twice() {
    let mut seen = BTreeSet::new();
    assert!(routes().all(|route| seen.insert(route)));
}

#[test]
fn an_unknown_path_is_not_found() {
    for path in [
        "",
        "/",
        "/nothing",
        "/indexes/a/nothing",
        "/indexes/a/documents/1/2",
        "/health/x",
        "/indexes/a/settings/x",
        "*",
    ] {
        assert_eq!(route("GET", path), Err(RouteError::NotFound), "{path}");
    }
    assert_eq!((RouteError::NotFound.status(), RouteError::MethodNotAllowed.status()), (404, 405));
}

#[test]
fn empty_segments_count_for_nothing() {
    let expected = Ok(Read::ListDocuments { index: "a".to_owned() }.into());
    for path in ["/indexes/a/documents", "/indexes/a/documents/", "//indexes///a/documents//"] {
        assert_eq!(route("GET", path), expected);
    }
}

#[test]
fn parameters_are_decoded_once() {
    let id = |path| match route("GET", path) {
        Ok(Operation::Read(Read::GetDocument { id, .. })) => id,
        other => panic!("{other:?}"),
    };
    assert_eq!(id("/indexes/a/documents/caf%C3%A9"), "café");
    assert_eq!(id("/indexes/a/documents/a%2Fb"), "a/b");
    assert_eq!(id("/indexes/a/documents/a%252Fb"), "a%2Fb");
    assert_eq!(id("/indexes/a/documents/a+b"), "a+b");
    assert_eq!(id("/indexes/a/documents/%ff"), "\u{fffd}");
    assert_eq!(route("GET", "/he%61lth"), Ok(Own::Health.into()));
}

#[test]
fn a_literal_path_wins_over_a_parameter() {
    assert_eq!(route("GET", "/tasks/cancel"), Err(RouteError::MethodNotAllowed));
    assert_eq!(route("GET", "/indexes/a/documents/fetch"), Err(RouteError::MethodNotAllowed));
    assert_eq!(route("DELETE", "/tasks/mtask-1"), Ok(Own::DeleteTask { id: "mtask-1".to_owned() }.into()));
}

#[test]
fn a_bad_uid_is_found_in_the_path_and_refused_later() {
    let operation = route("GET", "/indexes/bad%20uid/search").expect("the path is known");
    assert_eq!(operation, Read::SearchGet { index: "bad uid".to_owned() }.into());
    let error = operation.validate().expect_err("a space is not allowed");
    assert!(error.is(crate::meili::error::Code::InvalidIndexUid));
    assert_eq!(
        error.message,
        "`bad uid` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric \
         characters, hyphens (-) and underscores (_), and can not be more than 512 bytes."
    );
}

/// The engine answers 404, and nodes are not asked what none of them can say.
#[test]
fn a_rule_that_can_have_no_such_name_is_not_there() {
    for method in ["GET", "PATCH", "DELETE"] {
        let error =
            route(method, "/dynamic-search-rules/a%20b").expect("the path is known").validate().expect_err("a space");
        assert_eq!((error.status, error.code.as_str()), (404, "invalid_index_uid"), "{method}");
        assert_eq!(route(method, "/dynamic-search-rules/a-b").expect("the path is known").validate(), Ok(()));
    }
}
