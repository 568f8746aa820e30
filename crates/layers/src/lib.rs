//! The rooms of the house and their walls: who may import whom, what is pure, how long a file is, what a map names.
//!
//! Reads the sources as text, so it needs nothing built and runs in seconds: `cargo test -p miroir-layers`.
//!
//! | module | what lives there |
//! |---|---|
//! | `tokens` | Rust cut into words, without comments, strings and lifetimes |
//! | `module` | what one file declares, imports and names |
//! | `graph` | which file needs which, through grouped imports, `super::super` and re-exports |
//! | `rules` | the ranks, and what does not hold yet |
//! | `checks` | the rules, applied to a tree of sources |
//! | `planted` | trees with one wrong each, which the checks must find |

#![cfg(test)]

mod checks;
mod graph;
mod module;
mod planted;
mod rules;
mod tokens;

use std::path::Path;
use std::sync::LazyLock;

use checks::Findings;
use graph::{File, Tree};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
static HOUSE: LazyLock<Tree> = LazyLock::new(|| Tree::read(Path::new(ROOT)));
static WORDS: LazyLock<Tree> = LazyLock::new(|| Tree::read(&Path::new(ROOT).join("crates/words")));
static ENGINE: LazyLock<Tree> = LazyLock::new(|| Tree::read(&Path::new(ROOT).join("crates/engine")));
static LAYERS: LazyLock<Tree> = LazyLock::new(|| Tree::read(&Path::new(ROOT).join("crates/layers")));

fn assert_none(findings: Findings, exceptions: &[(&str, &str)]) {
    let wrong = findings.but_for(exceptions);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_room_imports_a_higher_one() {
    assert_none(checks::ranks(&HOUSE, rules::RANKS), rules::UPWARD);
}

#[test]
fn no_circle_of_files_is_larger_than_three() {
    assert_none(checks::circles(&HOUSE, rules::MOST_IN_A_CIRCLE), rules::CIRCLES);
    assert_none(checks::circles(&WORDS, rules::MOST_IN_A_CIRCLE), &[]);
    assert_none(checks::circles(&ENGINE, rules::MOST_IN_A_CIRCLE), &[]);
    assert_none(checks::circles(&LAYERS, rules::MOST_IN_A_CIRCLE), &[]);
}

#[test]
fn inside_a_room_no_folder_imports_a_higher_one() {
    assert_none(checks::inside(&HOUSE, rules::INSIDE), &[]);
    assert_none(checks::inside(&WORDS, &[]), &[]);
    assert_none(checks::inside(&ENGINE, &[]), &[]);
}

#[test]
fn no_two_rooms_import_each_other() {
    assert_none(checks::rooms_in_circles(&HOUSE), rules::ROOMS_IN_CIRCLES);
}

#[test]
fn no_room_is_too_large() {
    assert_none(checks::shares(&HOUSE, rules::MOST_PERCENT), rules::LARGE_ROOMS);
}

#[test]
fn pure_rooms_are_pure() {
    assert_none(checks::purity(&HOUSE, rules::PURE, rules::IMPURE), rules::NOT_PURE);
    let words: Vec<&str> = WORDS.code().map(File::room).collect();
    assert_none(checks::purity(&WORDS, &words, rules::IMPURE), rules::WORDS_NOT_PURE);
}

#[test]
fn reads_need_no_runtime_but_where_nodes_are_asked() {
    assert_none(checks::purity(&HOUSE, &["read"], &["tokio"]), rules::READS_AT_WORK);
}

#[test]
fn only_the_gateway_and_the_binary_see_a_session() {
    assert_none(checks::sessions(&HOUSE, rules::SEE_SESSIONS), &[]);
}

#[test]
fn only_those_at_the_edge_are_handed_the_whole_cluster() {
    assert_none(checks::names(&HOUSE, "Cluster", rules::TAKE_THE_CLUSTER), &[]);
}

#[test]
fn no_file_is_too_long() {
    assert_none(checks::lengths(&HOUSE, rules::MOST_LINES), rules::LONG_FILES);
    assert_none(checks::lengths(&WORDS, rules::MOST_LINES), &[]);
    assert_none(checks::lengths(&ENGINE, rules::MOST_LINES), &[]);
    assert_none(checks::lengths(&LAYERS, rules::MOST_LINES), &[]);
}

#[test]
fn every_map_names_its_modules() {
    assert_none(checks::maps(&HOUSE), rules::MAPLESS);
    assert_none(checks::maps(&WORDS), &[]);
    assert_none(checks::maps(&ENGINE), &[]);
    assert_none(checks::maps(&LAYERS), &[]);
}

/// `cargo test -p miroir-layers figures -- --nocapture` prints how the house stands.
#[test]
fn figures() {
    for (name, tree) in
        [("miroir", &HOUSE), ("miroir-words", &WORDS), ("miroir-engine", &ENGINE), ("miroir-layers", &LAYERS)]
    {
        println!("{name}: {}", checks::figures(tree));
        assert!(tree.files().count() > 5, "the sources of {name} were not found");
    }
}
