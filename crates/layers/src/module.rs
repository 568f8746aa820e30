//! What one file declares, imports and names.

use crate::tokens::{Token, Word, words};

/// A path as it is written, `crate`, `super` and `self` included.
pub type Path = Vec<String>;

/// `use path as name;`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The module inside the file in which it stands; empty for the file itself.
    pub within: Path,
    /// Ends in `*` for a glob.
    pub path: Path,
    pub name: String,
    pub is_public: bool,
    pub in_tests: bool,
}

/// A path in code, other than in a `use`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    pub within: Path,
    pub path: Path,
    pub in_tests: bool,
}

/// `mod name;`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub name: String,
    pub in_tests: bool,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Module {
    pub children: Vec<Child>,
    pub imports: Vec<Import>,
    pub mentions: Vec<Mention>,
    /// Names of items at its top level.
    pub items: Vec<String>,
    /// Single names in its code without tests, each once.
    pub names: std::collections::BTreeSet<String>,
    /// How many lines come before its unit tests.
    pub lines: usize,
    /// The text of its `//!` comments.
    pub map: String,
}

/// An inline module that is open while the file is read.
struct Open {
    name: String,
    depth: usize,
    is_test: bool,
}

struct Reader<'a> {
    words: &'a [Word],
    at: usize,
    depth: usize,
    open: Vec<Open>,
    /// `#[cfg(test)]` stands before what comes next.
    test_follows: bool,
    module: Module,
}

impl Module {
    pub fn parse(text: &str) -> Self {
        let words = words(text);
        let map = text.lines().filter_map(|line| line.trim_start().strip_prefix("//!")).collect::<Vec<_>>().join("\n");
        let module = Self { lines: text.lines().count(), map, ..Self::default() };
        let mut reader = Reader { words: &words, at: 0, depth: 0, open: Vec::new(), test_follows: false, module };
        while reader.at < words.len() {
            reader.step();
        }
        reader.module
    }
}

impl Reader<'_> {
    fn name(&self, ahead: usize) -> Option<&str> {
        match self.words.get(self.at + ahead).map(|word| &word.token) {
            Some(Token::Name(name)) => Some(name),
            _ => None,
        }
    }

    fn is(&self, ahead: usize, token: &Token) -> bool {
        self.words.get(self.at + ahead).is_some_and(|word| word.token == *token)
    }

    fn within(&self) -> Path {
        self.open.iter().map(|open| open.name.clone()).collect()
    }

    fn in_tests(&self) -> bool {
        self.open.iter().any(|open| open.is_test)
    }

    fn step(&mut self) {
        match &self.words[self.at].token {
            Token::Mark('#') => self.attribute(),
            Token::Mark('{') => {
                self.depth += 1;
                self.at += 1;
            }
            Token::Mark('}') => {
                self.depth = self.depth.saturating_sub(1);
                self.open.pop_if(|open| open.depth == self.depth);
                self.at += 1;
            }
            Token::Mark(';') => {
                self.test_follows = false;
                self.at += 1;
            }
            Token::Name(name) if name == "mod" => self.declaration(),
            Token::Name(name) if name == "use" => self.imports(),
            Token::Name(_) => self.path(),
            Token::Path | Token::Literal | Token::Mark(_) => self.at += 1,
        }
    }

    /// `#[cfg(test)]` and its like: `cfg(any(test, …))`, `cfg(all(test, …))`.
    fn attribute(&mut self) {
        self.at += 1;
        if self.is(0, &Token::Mark('!')) {
            self.at += 1;
        }
        if !self.is(0, &Token::Mark('[')) {
            return;
        }
        let is_cfg = self.name(1) == Some("cfg");
        let mut depth = 0;
        let mut says_test = false;
        while self.at < self.words.len() {
            match &self.words[self.at].token {
                Token::Mark('[') => depth += 1,
                Token::Mark(']') => depth -= 1,
                Token::Name(name) => says_test |= name == "test",
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        self.test_follows |= is_cfg && says_test;
    }

    /// `mod name;` and `mod name {`.
    fn declaration(&mut self) {
        let Some(name) = self.name(1).map(str::to_owned) else {
            self.at += 1;
            return;
        };
        let is_test = std::mem::take(&mut self.test_follows);
        if self.is(2, &Token::Mark(';')) {
            let in_tests = is_test || self.in_tests();
            self.module.children.push(Child { name, in_tests });
        } else if self.is(2, &Token::Mark('{')) {
            if is_test && self.depth == 0 {
                self.module.lines = self.module.lines.min(self.words[self.at].line.saturating_sub(1));
            }
            self.open.push(Open { name, depth: self.depth, is_test });
            self.depth += 1;
        }
        self.at += 3;
    }

    fn imports(&mut self) {
        let is_public = self.is_public();
        self.at += 1;
        let mut found = Vec::new();
        self.tree(Vec::new(), &mut found);
        let (within, in_tests) = (self.within(), self.in_tests() || std::mem::take(&mut self.test_follows));
        for (path, name) in found {
            self.module.imports.push(Import { within: within.clone(), path, name, is_public, in_tests });
        }
    }

    /// True if `pub` or `pub(…)` stands before the current word.
    fn is_public(&self) -> bool {
        let before = &self.words[..self.at];
        match before.last().map(|word| &word.token) {
            Some(Token::Name(name)) => name == "pub",
            Some(Token::Mark(')')) => {
                let opens = before.iter().rposition(|word| word.token == Token::Mark('('));
                let word = opens.and_then(|at| before.get(at.checked_sub(1)?));
                word.is_some_and(|word| word.token == Token::Name("pub".to_owned()))
            }
            _ => false,
        }
    }

    /// `a::{b, c as d, e::*}`.
    fn tree(&mut self, mut path: Path, found: &mut Vec<(Path, String)>) {
        while self.at < self.words.len() {
            match &self.words[self.at].token {
                Token::Name(name) if name == "as" => {
                    let name = self.name(1).unwrap_or("_").to_owned();
                    self.at += 2;
                    return found.push((path, name));
                }
                Token::Name(name) => {
                    path.push(name.clone());
                    self.at += 1;
                }
                Token::Mark('*') => {
                    path.push("*".to_owned());
                    self.at += 1;
                }
                Token::Path => self.at += 1,
                Token::Mark('{') => {
                    self.at += 1;
                    while self.at < self.words.len() && !self.is(0, &Token::Mark('}')) {
                        self.tree(path.clone(), found);
                        if self.is(0, &Token::Mark(',')) {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                _ => break,
            }
        }
        // `use a::{self}` names `a`.
        if path.len() > 1 {
            path.pop_if(|last| last == "self");
        }
        if let Some(name) = path.last().cloned() {
            found.push((path, name));
        }
    }

    /// A name, with the path that goes on from it.
    fn path(&mut self) {
        let mut path = vec![self.name(0).unwrap_or_default().to_owned()];
        self.item(&path[0].clone());
        self.at += 1;
        while self.is(0, &Token::Path) {
            let Some(next) = self.name(1) else { break };
            path.push(next.to_owned());
            self.at += 2;
        }
        let in_tests = self.in_tests();
        if !in_tests {
            self.module.names.extend(path.iter().cloned());
        }
        if path.len() > 1 {
            let within = self.within();
            self.module.mentions.push(Mention { within, path, in_tests });
        }
    }

    /// Notes what an item is called.
    fn item(&mut self, word: &str) {
        let kinds = ["fn", "struct", "enum", "trait", "const", "static", "type", "union"];
        if kinds.contains(&word) {
            self.test_follows = false;
            if self.depth == 0
                && let Some(name) = self.name(1)
            {
                let name = name.to_owned();
                self.module.items.push(name);
            }
        }
    }
}
