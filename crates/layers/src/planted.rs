//! Small trees with one wrong each: a check that does not find it is no check.

use std::collections::BTreeSet;

use crate::checks::{self, Findings};
use crate::graph::Tree;
use crate::rules;

fn tree(sources: &[(&str, &str)]) -> Tree {
    Tree::of(sources.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
}

fn keys(findings: &Findings) -> Vec<&str> {
    findings.0.iter().map(|(key, _)| key.as_str()).collect()
}

const RANKS: &[&[&str]] = &[&["low"], &["high"], &["lib", "main"]];

/// The upward imports of `low/a.rs`, if it says `text`.
fn upward(text: &str) -> Vec<String> {
    let tree = tree(&[
        ("lib.rs", "pub mod low;\npub mod high;"),
        ("low/mod.rs", "pub mod a;\npub mod b;"),
        ("low/a.rs", text),
        ("low/b.rs", "pub struct B;"),
        ("high/mod.rs", "pub mod c;\nmod d;\npub use c::C;\npub use d::*;\n"),
        ("high/c.rs", "pub struct C;\npub fn go() {}"),
        ("high/d.rs", "pub struct D;"),
    ]);
    keys(&checks::ranks(&tree, RANKS)).into_iter().map(str::to_owned).collect()
}

#[test]
fn an_import_of_a_higher_room_is_found_however_it_is_written() {
    let c = ["low/a.rs -> high/c.rs"];
    assert_eq!(upward("use crate::high::c::C;"), c);
    assert_eq!(upward("use crate::{low::b::B, high::{c::{self, go}}};"), c);
    assert_eq!(upward("use super::super::high::c as other;"), c);
    assert_eq!(upward("fn f() { crate::high::c::go() }"), c);
    assert_eq!(upward("mod inner { fn f() { super::super::super::high::c::go() } }"), c);
    assert_eq!(upward("pub(crate) use crate::high::c::C;\nfn f(_: C) {}"), c);
    assert_eq!(upward("pub use crate::high::c::C as E;\nfn f() { crate::high::c::go() }"), c);
    // Through re-exports, single and of everything.
    assert_eq!(upward("use crate::high::C;"), c);
    assert_eq!(upward("use crate::high::D;"), ["low/a.rs -> high/d.rs"]);
}

#[test]
fn what_is_no_import_is_not_found() {
    let none: [&str; 0] = [];
    assert_eq!(upward("use super::b::B;\nuse std::fmt;"), none);
    assert_eq!(upward("// use crate::high::c::C;\nconst A: &str = \"crate::high::c\";"), none);
    assert_eq!(upward("#[cfg(test)]\nmod tests {\n    use crate::high::C;\n}"), none);
    assert_eq!(upward("#[cfg(test)]\nuse crate::high::C;"), none);
}

#[test]
fn a_room_without_a_rank_is_found() {
    let tree = tree(&[("lib.rs", "mod new;"), ("new.rs", "")]);
    assert_eq!(keys(&checks::ranks(&tree, RANKS)), ["new"]);
}

#[test]
fn a_folder_that_imports_a_higher_one_of_its_room_is_found() {
    let found = |low: &str, high: &str| {
        let tree = tree(&[
            ("lib.rs", "pub mod room;\npub mod other;"),
            ("room/mod.rs", "pub mod low;\npub mod high;\npub mod file;"),
            ("room/low/mod.rs", low),
            ("room/high/mod.rs", high),
            ("room/file.rs", "use super::high::H;"),
            ("other/mod.rs", "pub mod only;"),
            ("other/only/mod.rs", "use crate::room::high::H;"),
        ]);
        checks::inside(&tree, &[("room", &["low", "high"])])
    };
    assert_eq!(keys(&found("use super::high::H;", "")), ["room/low/mod.rs -> room/high/mod.rs"]);
    assert_eq!(found("use super::file::F;", "use crate::room::low::L;"), Findings::default());
    let unranked = tree(&[("room/low/mod.rs", ""), ("room/new/mod.rs", "")]);
    assert_eq!(keys(&checks::inside(&unranked, &[("room", &["low"])])), ["room/new"]);
}

#[test]
fn a_circle_of_files_is_found_and_a_small_one_is_let_be() {
    let ring = |size: usize| {
        let names: Vec<String> = (0..size).map(|at| format!("low/f{at}.rs")).collect();
        let texts: Vec<String> = (0..size).map(|at| format!("use super::f{};", (at + 1) % size)).collect();
        let declared: String = (0..size).map(|at| format!("mod f{at};")).collect();
        let mut sources = vec![("lib.rs", "mod low;"), ("low/mod.rs", declared.as_str())];
        sources.extend(names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())));
        checks::circles(&tree(&sources), 3)
    };
    assert_eq!(keys(&ring(4)), ["low: 4"]);
    assert!(ring(4).0[0].1.contains("low/f0.rs, low/f1.rs, low/f2.rs, low/f3.rs"));
    assert_eq!(ring(3), Findings::default());
}

#[test]
fn rooms_that_import_each_other_are_found() {
    let tree = tree(&[
        ("lib.rs", "mod low; mod high; mod other;"),
        ("low.rs", "use crate::high::H;"),
        ("high.rs", "use crate::low::L;"),
        ("other.rs", "use crate::low::L;"),
    ]);
    assert_eq!(keys(&checks::rooms_in_circles(&tree)), ["high low"]);
}

#[test]
fn a_room_that_is_too_large_is_found() {
    let long = "fn f() {}\n".repeat(90);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}");
    let tree = tree(&[("lib.rs", "mod low;\nmod high;"), ("low.rs", &long), ("high.rs", &tests)]);
    assert_eq!(keys(&checks::shares(&tree, 15)), ["low"]);
}

#[test]
fn what_is_impure_is_found_in_pure_rooms_alone() {
    let found = |text: &str| {
        let tree = tree(&[("lib.rs", "mod low; mod high;"), ("low.rs", text), ("high.rs", "use tokio::spawn;")]);
        let files: BTreeSet<String> =
            keys(&checks::purity(&tree, &["low"], rules::IMPURE)).into_iter().map(str::to_owned).collect();
        files.len()
    };
    for word in rules::IMPURE {
        assert_eq!(found(&format!("fn f() {{ {word}::x() }}")), 1, "{word}");
    }
    for text in [
        "use tokio::sync::Mutex;",
        "use std::{fs, fmt};",
        "fn f() { std::fs::read(\"x\"); }",
        "use std::time::{Duration, Instant};",
        "fn f() { time::OffsetDateTime::now_utc() }",
        "use pingora_proxy::http_proxy;",
        "use std::{env::var, fmt};",
        "use std::io::{self, Write};\nfn f() { io::stderr() }",
        "fn f() { println!(\"x\") }",
    ] {
        assert_eq!(found(text), 1, "{text}");
    }
    for text in [
        "use std::fmt;\nuse std::time::Duration;",
        "use std::io::{Read, Write};\nfn f(process: &str, environment: u8) {}",
        "use tokio_stream::x;",
        "// tokio::spawn",
        "#[cfg(test)]\nmod tests { use tokio::spawn; }",
    ] {
        assert_eq!(found(text), 0, "{text}");
    }
}

#[test]
fn a_session_outside_the_gateway_is_found() {
    let found = |text: &str| {
        let tree = tree(&[("lib.rs", "mod low; mod gateway;"), ("low.rs", text), ("gateway.rs", text)]);
        checks::sessions(&tree, &["gateway"]).0.len()
    };
    assert_eq!(found("use pingora_proxy::{Session, http_proxy};"), 1);
    assert_eq!(found("fn f(s: &mut pingora::proxy::Session) {}"), 1);
    assert_eq!(found("struct Session;"), 0);
}

#[test]
fn a_type_that_is_handed_where_it_must_not_be_is_found() {
    let found = |text: &str| {
        let tree = tree(&[("lib.rs", "mod low; mod high;"), ("low.rs", text), ("high.rs", "struct Cluster;")]);
        checks::names(&tree, "Cluster", &["high"]).0.len()
    };
    assert_eq!(found("fn f(cluster: &crate::high::Cluster) {}"), 1);
    assert_eq!(found("use crate::high::{Cluster as Everything};"), 1);
    assert_eq!(found("#[cfg(test)]\nmod tests { use crate::high::Cluster; }"), 0);
}

#[test]
fn a_file_that_is_too_long_is_found_but_for_its_tests() {
    let long = |lines: usize| "fn f() {}\n".repeat(lines);
    let with_tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}", long(5), long(20));
    let tree = tree(&[("a.rs", &long(11)), ("b.rs", &long(10)), ("c.rs", &with_tests)]);
    assert_eq!(keys(&checks::lengths(&tree, 10)), ["a.rs"]);
}

#[test]
fn a_map_that_leaves_a_module_out_is_found() {
    let found = |map: &str| {
        let text = format!("//! A room.\n{map}\nmod alpha;\nmod beta;\n#[cfg(test)]\nmod tests;");
        let tree = tree(&[("lib.rs", "//! `low`\nmod low;"), ("low/mod.rs", &text)]);
        checks::maps(&tree).0
    };
    assert_eq!(found("//! | `alpha` | first |\n//! | [`beta`] | second |"), []);
    assert_eq!(found("//! `alpha`, `betamax`").len(), 1);
    assert!(found("//! `alpha`")[0].1.ends_with("does not name beta"));
}

#[test]
fn an_exception_that_holds_nothing_back_any_more_is_found() {
    let wrong = || Findings(vec![("a".to_owned(), "a is wrong".to_owned()), ("b".to_owned(), "b is wrong".to_owned())]);
    assert_eq!(wrong().but_for(&[("a", "known"), ("b", "known")]), Vec::<String>::new());
    assert_eq!(wrong().but_for(&[("a", "known")]), ["b is wrong"]);
    let left = wrong().but_for(&[("a", "known"), ("b", "known"), ("c", "mended long ago")]);
    assert_eq!(left, ["`c` holds now: delete its exception in crates/layers/src/rules.rs"]);
}
