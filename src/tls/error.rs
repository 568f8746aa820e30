//! Why a file is of no use.

use std::path::{Path, PathBuf};

/// Why a file is of no use. No text shows what is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read `{}`: {source}", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("`{}` has no {what} in PEM", file.display())]
    Missing { file: PathBuf, what: &'static str },
    #[error("`{}`: {reason}", file.display())]
    Invalid { file: PathBuf, reason: String },
}

// === impl TlsError ===

impl TlsError {
    /// The file can be read, and what it says cannot be used.
    pub(super) fn invalid(file: &Path, reason: impl ToString) -> Self {
        Self::Invalid { file: file.to_owned(), reason: reason.to_string() }
    }
}
