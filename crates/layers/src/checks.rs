//! The rules, applied to a tree of sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::graph::{File, Tree, circles as circles_of};

/// What is wrong: by what an exception would name, and in words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings(pub Vec<(String, String)>);

impl Findings {
    fn add(&mut self, key: impl Into<String>, words: impl Into<String>) {
        self.0.push((key.into(), words.into()));
    }

    /// What is wrong and no exception, and the exceptions that are none any more. An exception is a name and its reason.
    pub fn but_for(self, exceptions: &[(&str, &str)]) -> Vec<String> {
        let keys: BTreeSet<&str> = self.0.iter().map(|(key, _)| key.as_str()).collect();
        let gone = exceptions.iter().filter(|(key, _)| !keys.contains(key));
        let gone =
            gone.map(|(key, _)| format!("`{key}` holds now: delete its exception in crates/layers/src/rules.rs"));
        let known = |key: &str| exceptions.iter().any(|(known, _)| *known == key);
        let wrong = self.0.iter().filter(|(key, _)| !known(key)).map(|(_, words)| words.clone());
        wrong.chain(gone.collect::<Vec<_>>()).collect()
    }
}

/// Who may import whom: each room only those of a lower rank, and of its own where rooms share one.
pub fn ranks(tree: &Tree, ranks: &[&[&str]]) -> Findings {
    let rank = |room: &str| ranks.iter().position(|rank| rank.contains(&room));
    let mut findings = Findings::default();
    for file in tree.code().filter(|file| rank(file.room()).is_none()) {
        findings.add(
            file.room(),
            format!("{}: the room `{}` has no rank in crates/layers/src/rules.rs", file.name, file.room()),
        );
    }
    for (from, to, names) in tree.edges() {
        // The root of a library only declares its rooms.
        if to.room() != "lib" && rank(to.room()) > rank(from.room()) {
            let words = format!("{} imports {} of {}", from.name, list(names), to.name);
            findings.add(format!("{} -> {}", from.name, to.name), words);
        }
    }
    findings
}

/// [`ranks`] for the folders inside rooms: each room that has two and more gives each its rank, and folders import only lower ones.
/// Files beside them are bound by [`circles`].
pub fn inside(tree: &Tree, ranks: &[(&str, &[&str])]) -> Findings {
    let folders: BTreeSet<&str> = tree.code().filter_map(|file| file.folder()).collect();
    let mut by_room: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for folder in folders {
        let room = folder.split('/').next().unwrap_or_default();
        by_room.entry(room).or_default().push(folder);
    }
    let rank = |folder: &str| {
        let (room, name) = folder.split_once('/')?;
        let (_, ranked) = ranks.iter().find(|(ranked, _)| *ranked == room)?;
        ranked.iter().position(|ranked| *ranked == name)
    };
    let mut findings = Findings::default();
    for folder in by_room.values().filter(|folders| folders.len() > 1).flatten() {
        if rank(folder).is_none() {
            findings.add(*folder, format!("`{folder}` has no rank in its room in crates/layers/src/rules.rs"));
        }
    }
    for (from, to, names) in tree.edges().filter(|(from, to, _)| from.room() == to.room()) {
        let (Some(of), Some(at)) = (from.folder(), to.folder()) else { continue };
        if of != at && rank(at) > rank(of) {
            let words = format!("{} imports {} of {}, which is above it", from.name, list(names), to.name);
            findings.add(format!("{} -> {}", from.name, to.name), words);
        }
    }
    findings
}

/// No more than `most` files need each other in a circle. An exception names the folder and the size, such as `plan: 15`.
pub fn circles(tree: &Tree, most: usize) -> Findings {
    let mut findings = Findings::default();
    for circle in tree.circles().into_iter().filter(|circle| circle.len() > most) {
        let names: Vec<&str> = circle.iter().map(|file| file.name.as_str()).collect();
        let key = format!("{}: {}", common_folder(&names), names.len());
        findings.add(key, format!("{} files need each other: {}", names.len(), names.join(", ")));
    }
    findings
}

/// The innermost folder that holds all of these files.
fn common_folder(names: &[&str]) -> String {
    let folders = |name: &str| name.split('/').rev().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let mut common: Vec<String> = names.first().map(|name| folders(name)).unwrap_or_default();
    common.reverse();
    for name in names {
        let mut other = folders(name);
        other.reverse();
        let same = common.iter().zip(&other).take_while(|(mine, theirs)| mine == theirs).count();
        common.truncate(same);
    }
    if common.is_empty() { "src".to_owned() } else { common.join("/") }
}

/// No rooms need each other, whatever their rank.
pub fn rooms_in_circles(tree: &Tree) -> Findings {
    let names: BTreeSet<&str> = tree.code().map(File::room).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let at = |room: &str| names.iter().position(|name| *name == room).unwrap_or_default();
    let mut needs: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); names.len()];
    for (from, to, _) in tree.edges().filter(|(from, to, _)| from.room() != to.room()) {
        needs[at(from.room())].insert(at(to.room()));
    }
    let needs: Vec<Vec<usize>> = needs.into_iter().map(|rooms| rooms.into_iter().collect()).collect();
    let mut findings = Findings::default();
    for circle in circles_of(&needs) {
        let rooms: Vec<&str> = circle.into_iter().map(|room| names[room]).collect();
        findings.add(rooms.join(" "), format!("rooms that need each other: {}", rooms.join(", ")));
    }
    findings
}

/// No room has more than `most` percent of all lines.
pub fn shares(tree: &Tree, most: usize) -> Findings {
    let mut findings = Findings::default();
    let (rooms, all) = sizes(tree);
    for (room, lines) in rooms {
        if lines * 100 > all * most {
            let percent = lines * 100 / all;
            findings.add(room, format!("the room `{room}` has {percent} % of the lines, more than {most} %"));
        }
    }
    findings
}

fn sizes(tree: &Tree) -> (BTreeMap<&str, usize>, usize) {
    let mut rooms: BTreeMap<&str, usize> = BTreeMap::new();
    for file in tree.code() {
        *rooms.entry(file.room()).or_default() += file.module.lines;
    }
    let all = rooms.values().sum();
    (rooms, all)
}

/// What pure rooms must not name: `word` is the beginning of a path, such as `std::fs`, or one name, such as `now_utc`.
pub fn purity(tree: &Tree, pure: &[&str], impure: &[&str]) -> Findings {
    let mut findings = Findings::default();
    for file in tree.code().filter(|file| pure.contains(&file.room())) {
        let imports = file.module.imports.iter().filter(|import| !import.in_tests).map(|import| &import.path);
        let mentions = file.module.mentions.iter().filter(|mention| !mention.in_tests).map(|mention| &mention.path);
        let paths: Vec<String> = imports.chain(mentions).map(|path| path.join("::")).collect();
        for word in impure {
            let begins = |path: &String| {
                let rest = path.strip_prefix(word);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            if paths.iter().any(begins) || (!word.contains("::") && file.module.names.contains(*word)) {
                findings.add(&*file.name, format!("{} is in a pure room and names `{word}`", file.name));
            }
        }
    }
    findings
}

/// Pingora's session is seen only in the rooms `seers`.
pub fn sessions(tree: &Tree, seers: &[&str]) -> Findings {
    let mut findings = Findings::default();
    for file in tree.code().filter(|file| !seers.contains(&file.room())) {
        let is_session = |path: &[String]| path.iter().any(|part| part == "Session") && path[0].starts_with("pingora");
        let imports = file.module.imports.iter().any(|import| is_session(&import.path));
        if imports || file.module.mentions.iter().any(|mention| is_session(&mention.path)) {
            findings.add(&*file.name, format!("{} sees a Session", file.name));
        }
    }
    findings
}

/// A type is named only in the rooms `users`.
pub fn names(tree: &Tree, name: &str, users: &[&str]) -> Findings {
    let mut findings = Findings::default();
    for file in tree.code().filter(|file| !users.contains(&file.room())) {
        let imports = |import: &crate::module::Import| !import.in_tests && import.path.iter().any(|part| part == name);
        if file.module.names.contains(name) || file.module.imports.iter().any(imports) {
            findings.add(&*file.name, format!("{} names `{name}`", file.name));
        }
    }
    findings
}

/// A file has no more than `most` lines before its unit tests.
pub fn lengths(tree: &Tree, most: usize) -> Findings {
    let mut findings = Findings::default();
    for file in tree.files().filter(|file| file.module.lines > most) {
        findings.add(&*file.name, format!("{} has {} lines, more than {most}", file.name, file.module.lines));
    }
    findings
}

/// The first comment of a `mod.rs` or of `lib.rs` names every module that it declares.
pub fn maps(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for file in tree.code().filter(|file| file.name.ends_with("mod.rs") || file.name == "lib.rs") {
        // Names stand in backticks: a word of the prose is no row.
        let names = file.module.map.split('`').skip(1).step_by(2);
        let words: BTreeSet<&str> =
            names.flat_map(|name| name.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
        let children = file.module.children.iter().filter(|child| !child.in_tests);
        let missing: Vec<&str> =
            children.map(|child| child.name.as_str()).filter(|name| !words.contains(name)).collect();
        if !missing.is_empty() {
            let words = format!("the map of {} does not name {}", file.name, missing.join(", "));
            findings.add(&*file.name, words);
        }
    }
    findings
}

/// How the house stands.
pub fn figures(tree: &Tree) -> String {
    let mut text = String::new();
    let circles = tree.circles();
    let (rooms, all) = sizes(tree);
    let largest =
        rooms.iter().max_by_key(|(_, lines)| **lines).map(|(room, lines)| (*room, *lines)).unwrap_or_default();
    let in_circles: usize = circles.iter().map(Vec::len).sum();
    let longest = circles.iter().map(Vec::len).max().unwrap_or_default();
    let _ = writeln!(text, "{all} lines in {} rooms", rooms.len());
    let _ = writeln!(text, "{in_circles} files in {} circles, the largest of {longest}", circles.len());
    let _ = writeln!(text, "largest room: {} with {} % of the lines", largest.0, largest.1 * 100 / all.max(1));
    for (room, lines) in rooms {
        let _ = writeln!(text, "{lines:6} {room}");
    }
    text
}

fn list(names: &BTreeSet<String>) -> String {
    let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    shown.join(", ")
}
