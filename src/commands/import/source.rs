//! What can be imported from.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::ImportError;

/// An index of a source.
#[derive(Debug, Clone)]
pub struct SourceIndex {
    pub uid: String,
    pub primary_key: Option<String>,
    /// Without keys that are masked.
    pub settings: Map<String, Value>,
    pub documents: u64,
}

/// What is given each document: index, its place among the index's documents from 0, and the document.
pub type Visit<'v> = &'v mut dyn FnMut(&str, u64, &str) -> Result<(), ImportError>;

/// A dump, or a running Meilisearch.
pub trait Source {
    /// Tells it from others; no key is in it.
    fn identity(&self) -> String;
    /// Of the engine that it is of.
    fn version(&self) -> &str;
    /// Bodies that create its API keys, or why there are none.
    fn keys(&self) -> Result<&[Value], &str>;
    fn features(&self) -> &Map<String, Value>;
    /// Bodies that create its webhooks.
    fn webhooks(&self) -> &[Value];
    /// The settings of its workspaces of chats, as they are changed to these; without keys that are masked.
    fn chats(&self) -> &BTreeMap<String, Value>;
    /// Its dynamic search rules, and the bodies that write them.
    fn rules(&self) -> &[(String, Value)];
    fn indexes(&self) -> &[SourceIndex];
    /// Brings the documents of all indexes, each time in one order. Of an index those at places before `from(index)` may be
    /// left out.
    fn documents(&mut self, from: &dyn Fn(&str) -> u64, visit: Visit<'_>) -> Result<(), ImportError>;
}
