//! Everything that is wrong or doubtful in a configuration, all at once.

use std::cell::RefCell;
use std::fmt;

/// One thing that is wrong, and where: `cluster.nodes[1].url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's path in the file; empty for the file itself.
    pub path: String,
    pub message: String,
}

/// One thing that works but that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub path: String,
    pub message: String,
}

/// Collects what is wrong or doubtful, and which keys there are.
#[derive(Debug, Default)]
pub struct Report {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Warning>>,
    keys: RefCell<Vec<String>>,
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(f, &self.path, &self.message)
    }
}

// === impl Warning ===

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(f, &self.path, &self.message)
    }
}

// === impl Report ===

impl Report {
    /// Notes what keeps the file from being used; all problems are reported at once. `path` is empty for the file as
    /// a whole.
    pub fn problem(&self, path: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { path: path.to_owned(), message: message.into() });
    }

    /// Notes what is doubtful and will be used all the same.
    pub fn warning(&self, path: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Warning { path: path.to_owned(), message: message.into() });
    }

    /// Somebody asked the file for the key at `path`.
    pub(super) fn asked_for(&self, path: String) {
        self.keys.borrow_mut().push(path);
    }

    /// The paths of all keys that were asked for, sections too, in the order of asking: the keys that exist.
    pub fn keys(&self) -> Vec<String> {
        self.keys.borrow().clone()
    }

    /// Problems and warnings, each in the order in which they were noted.
    pub fn into_parts(self) -> (Vec<Problem>, Vec<Warning>) {
        (self.problems.into_inner(), self.warnings.into_inner())
    }
}

fn write_at(f: &mut fmt::Formatter<'_>, path: &str, message: &str) -> fmt::Result {
    if path.is_empty() { f.write_str(message) } else { write!(f, "{path}: {message}") }
}
