//! A lower layer never imports a higher one.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `src/` from the lowest layer up. Those of one line share a rank and may import each other.
const LAYERS: &[&[&str]] = &[
    &["meili"],
    &["placement", "rebalance", "split", "plan", "merge", "tasks"],
    &["store"],
    &["nodes", "read", "ledger", "tracking", "write", "replicas", "moves", "cluster"],
    &["gateway", "admin"],
    &["config", "metrics", "embedded", "logging"],
    &["commands", "proxy", "recover", "server"],
];

/// Crates that a pure layer must not name: it has no I/O, no clock of its own, no proxy.
const IMPURE: &[&str] =
    &["tokio::", "pingora", "rusqlite", "std::net", "std::fs", "Instant::now", "SystemTime::now", "now_utc"];
const PURE_RANKS: usize = 2;

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is there") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The code of a file without its unit tests and comments.
fn code(text: &str) -> String {
    let opens_tests = |rest: &str| rest.lines().nth(1).is_some_and(|line| line.contains("mod ") && line.ends_with('{'));
    let tests = text.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|at| opens_tests(&text[*at..]));
    let text = &text[..tests.unwrap_or(text.len())];
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let mut found = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        let module = name.split(['/', '.']).next().unwrap_or_default().to_owned();
        if matches!(module.as_str(), "lib" | "main")
            || ["tests.rs", "golden.rs", "properties.rs"].iter().any(|end| name.ends_with(end))
            || name.contains("/tests/")
        {
            continue;
        }
        found.push((name, module, code(&fs::read_to_string(&file).expect("a readable file"))));
    }
    found
}

#[test]
fn every_folder_has_a_layer() {
    for (name, module, _) in sources() {
        assert!(rank(&module).is_some(), "{name}: the folder `{module}` stands in no layer of tests/suite/layers.rs");
    }
}

#[test]
fn no_layer_imports_a_higher_one() {
    let mut wrong = Vec::new();
    for (name, module, text) in sources() {
        let own = rank(&module).unwrap_or_default();
        for part in text.split("crate::").skip(1) {
            let used: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if rank(&used).is_some_and(|theirs| theirs > own) {
                wrong.push(format!("{name} imports crate::{used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for (name, module, text) in sources() {
        if rank(&module).is_some_and(|rank| rank < PURE_RANKS) {
            wrong.extend(IMPURE.iter().filter(|word| text.contains(*word)).map(|word| format!("{name} names {word}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_gateway_and_the_binary_see_a_session() {
    for (name, module, text) in sources() {
        if !matches!(module.as_str(), "gateway" | "admin" | "server" | "metrics" | "proxy") {
            assert!(
                !text.contains("pingora_proxy::Session") && !text.contains("proxy::Session"),
                "{name} sees a Session"
            );
        }
    }
}
