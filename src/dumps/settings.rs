//! What an operator sets of dumps.

use std::path::PathBuf;

use crate::settings::{FromSection, Section};

/// The section `dumps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpSettings {
    /// The folder that dumps are written into. It is made where it is missing.
    pub dir: PathBuf,
}

// === impl DumpSettings ===

impl FromSection for DumpSettings {
    fn read(section: &mut Section) -> Self {
        Self { dir: section.text("dir").unwrap_or_else(|| "./data/dumps".to_owned()).into() }
    }
}
