//! What rules make of documents that are written, one after the other.

use super::on_document::{Editing, Rejected};
use super::shape::{Fit, Shaped};
use crate::split::Document;

/// What one rule makes of each document of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Making {
    Shape(Shaped),
    Program(Box<Editing>),
}

// === impl Making ===

impl Making {
    /// What becomes of `document`. `primary_key` is `None` where the first document tells it.
    pub fn fit(&self, document: &Document<'_>, primary_key: Option<&str>) -> Result<Fit, Rejected> {
        match self {
            Self::Shape(shape) => shape.fit(document).map_err(Rejected::Document),
            Self::Program(program) => program.fit(document, primary_key),
        }
    }

    /// The rule whose program has failed, how often, and why at first.
    pub fn failures(&self) -> Option<(&str, u64, String)> {
        match self {
            Self::Shape(_) => None,
            Self::Program(program) => program.failures().map(|(count, why)| (program.rule.as_str(), count, why)),
        }
    }
}
