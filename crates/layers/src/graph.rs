//! Which file needs which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path as FilePath, PathBuf};

use crate::module::{Module, Path};

/// One source file.
pub struct File {
    /// Below the root of the sources, such as `read/gather/mod.rs`.
    pub name: String,
    /// `["read", "gather"]`; empty for `lib.rs`.
    pub path: Path,
    pub module: Module,
    /// Only compiled for tests.
    pub is_test: bool,
    /// Part of the binary: it names the library by its name.
    pub is_binary: bool,
}

impl File {
    /// The folder of the sources in which it stands, or its own name.
    pub fn room(&self) -> &str {
        self.path.first().map_or("lib", String::as_str)
    }

    /// The folder of its room in which it stands, such as `read/gather`; `None` for a file of the room itself.
    pub fn folder(&self) -> Option<&str> {
        let below = self.name.split_once('/')?.1;
        let length = self.name.len() - below.len() + below.find('/')?;
        Some(&self.name[..length])
    }
}

/// All sources.
pub struct Tree {
    files: Vec<File>,
    /// By module path.
    by_path: BTreeMap<Path, usize>,
    edges: Vec<BTreeMap<usize, BTreeSet<String>>>,
}

/// The name by which binaries know the library.
const LIBRARY: &str = "miroir";
/// Deeper re-exports are followed no further.
const DEEPEST: usize = 8;

impl Tree {
    /// The sources of the package at `root`.
    pub fn read(root: &FilePath) -> Self {
        let sources = root.join("src");
        let mut found = Vec::new();
        rust_files(&sources, &mut found);
        let below = |path: &PathBuf| path.strip_prefix(&sources).expect("below src").to_string_lossy().into_owned();
        Self::of(found.iter().map(|path| (below(path), fs::read_to_string(path).expect("a readable file"))))
    }

    /// Sources given by name and text.
    pub fn of(sources: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut files: Vec<File> = sources.into_iter().map(|(name, text)| file(name, &text)).collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        mark_binaries(&mut files);
        mark_tests(&mut files);
        let by_path = files.iter().enumerate().filter(|(_, file)| !file.is_binary);
        let by_path = by_path.map(|(at, file)| (file.path.clone(), at)).collect();
        let mut tree = Self { files, by_path, edges: Vec::new() };
        tree.edges = (0..tree.files.len()).map(|at| tree.needed_by(at)).collect();
        tree
    }

    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// Files without those that are only compiled for tests.
    pub fn code(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| !file.is_test)
    }

    /// What the code of each file needs of which others: `(from, to, names)`.
    pub fn edges(&self) -> impl Iterator<Item = (&File, &File, &BTreeSet<String>)> {
        self.edges.iter().enumerate().flat_map(move |(from, needed)| {
            needed.iter().map(move |(to, names)| (&self.files[from], &self.files[*to], names))
        })
    }

    /// The groups of files of which each needs each other, by whatever way. Files that stand alone are left out.
    pub fn circles(&self) -> Vec<Vec<&File>> {
        let needs: Vec<Vec<usize>> = self.edges.iter().map(|needed| needed.keys().copied().collect()).collect();
        let named = |circle: Vec<usize>| circle.into_iter().map(|at| &self.files[at]).collect();
        circles(&needs).into_iter().map(named).collect()
    }

    fn needed_by(&self, at: usize) -> BTreeMap<usize, BTreeSet<String>> {
        let mut needed: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        let file = &self.files[at];
        if file.is_test {
            return needed;
        }
        let mut note = |path: Option<Path>| {
            if let Some((target, rest)) = path.and_then(|path| self.resolve(&path, 0))
                && target != at
                && !self.files[target].is_test
            {
                needed.entry(target).or_default().insert(rest.join("::"));
            }
        };
        for import in file.module.imports.iter().filter(|import| !import.in_tests) {
            let path = self.absolute(file, &import.within, &import.path);
            // What a room only hands on of its own is needed by whoever takes it from there.
            let is_own = path.as_ref().and_then(|path| path.first()).is_none_or(|room| *room == file.room());
            if !import.is_public || !is_own {
                note(path);
            }
        }
        for mention in file.module.mentions.iter().filter(|mention| !mention.in_tests) {
            note(self.absolute(file, &mention.within, &mention.path));
        }
        needed
    }

    /// A path as it is written in `file`, from the root of the library; `None` for what is not in it.
    fn absolute(&self, file: &File, within: &[String], path: &[String]) -> Option<Path> {
        let mut here = file.path.clone();
        here.extend(within.iter().cloned());
        match path.first()?.as_str() {
            LIBRARY if file.is_binary => Some(path[1..].to_vec()),
            _ if file.is_binary => None,
            "crate" => Some(path[1..].to_vec()),
            "self" => Some(joined(&here, &path[1..])),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let kept = here.len().checked_sub(ups)?;
                Some(joined(&here[..kept], &path[ups..]))
            }
            // A module that is declared here.
            first => {
                let child = joined(&here, &[first.to_owned()]);
                self.by_path.contains_key(&child).then(|| joined(&here, path))
            }
        }
    }

    /// The file in which what `path` names is defined, and the rest of the path there.
    fn resolve(&self, path: &[String], depth: usize) -> Option<(usize, Path)> {
        let (length, at) =
            (0..=path.len()).rev().find_map(|length| Some((length, *self.by_path.get(&path[..length])?)))?;
        let rest = &path[length..];
        let (Some(name), true) = (rest.first(), depth < DEEPEST) else { return Some((at, rest.to_vec())) };
        let file = &self.files[at];
        let imports = || file.module.imports.iter().filter(|import| import.within.is_empty());
        if !file.module.items.contains(name) {
            for import in imports().filter(|import| import.name == *name && import.name != "*") {
                if let Some(from) = self.absolute(file, &[], &import.path) {
                    return self.resolve(&joined(&from, &rest[1..]), depth + 1);
                }
            }
            for import in imports().filter(|import| import.name == "*" && import.is_public) {
                let from = self.absolute(file, &[], &import.path[..import.path.len() - 1]);
                if let Some((target, _)) = from.as_ref().and_then(|from| self.resolve(from, depth + 1))
                    && self.files[target].module.items.contains(name)
                {
                    return Some((target, rest.to_vec()));
                }
            }
        }
        Some((at, rest.to_vec()))
    }
}

fn joined(first: &[String], second: &[String]) -> Path {
    first.iter().chain(second).cloned().collect()
}

fn rust_files(folder: &FilePath, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn file(name: String, text: &str) -> File {
    let stem = name.trim_end_matches(".rs");
    let mut path: Path = stem.split('/').map(str::to_owned).collect();
    path.pop_if(|last| matches!(last.as_str(), "mod" | "lib"));
    File { path, module: Module::parse(text), name, is_test: false, is_binary: false }
}

/// `main.rs` and the modules that it declares are no part of the library.
fn mark_binaries(files: &mut [File]) {
    let Some(main) = files.iter().position(|file| file.name == "main.rs") else { return };
    let declared: Vec<String> = files[main].module.children.iter().map(|child| child.name.clone()).collect();
    let in_library: Vec<String> = match files.iter().find(|file| file.name == "lib.rs") {
        Some(library) => library.module.children.iter().map(|child| child.name.clone()).collect(),
        None => Vec::new(),
    };
    for file in files {
        let room = file.path.first().cloned().unwrap_or_default();
        file.is_binary = file.name == "main.rs" || (declared.contains(&room) && !in_library.contains(&room));
    }
}

/// What is declared under `#[cfg(test)]`, and everything below it.
fn mark_tests(files: &mut [File]) {
    let mut tests: Vec<Path> = Vec::new();
    for file in files.iter() {
        let children = file.module.children.iter().filter(|child| child.in_tests);
        tests.extend(children.map(|child| joined(&file.path, std::slice::from_ref(&child.name))));
    }
    for file in files {
        file.is_test = tests.iter().any(|test| file.path.starts_with(test));
    }
}

/// The strongly connected components of more than one node, by Tarjan's way.
pub fn circles(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut search = Search { needs, seen: vec![None; needs.len()], low: vec![0; needs.len()], ..Search::default() };
    for node in 0..needs.len() {
        if search.seen[node].is_none() {
            search.visit(node);
        }
    }
    search.found
}

#[derive(Default)]
struct Search<'a> {
    needs: &'a [Vec<usize>],
    next: usize,
    seen: Vec<Option<usize>>,
    low: Vec<usize>,
    stack: Vec<usize>,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    fn visit(&mut self, node: usize) {
        self.seen[node] = Some(self.next);
        self.low[node] = self.next;
        self.next += 1;
        self.stack.push(node);
        for &other in self.needs[node].iter() {
            match self.seen[other] {
                None => {
                    self.visit(other);
                    self.low[node] = self.low[node].min(self.low[other]);
                }
                Some(seen) if self.stack.contains(&other) => self.low[node] = self.low[node].min(seen),
                Some(_) => {}
            }
        }
        if self.seen[node] == Some(self.low[node]) {
            let start = self.stack.iter().position(|other| *other == node).unwrap_or(0);
            let mut circle = self.stack.split_off(start);
            circle.sort_unstable();
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
    }
}
