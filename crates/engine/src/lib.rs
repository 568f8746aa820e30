//! A real Meilisearch-compatible node on milli, for trying, testing and small use (cargo feature `embedded`
//! of the gateway's crate).
//!
//! # Layout
//!
//! | module | what it knows |
//! |---|---|
//! | [`engine`] | the indexes of a data folder: open, list, create, delete, swap, stats |
//! | [`indexing`] | one task's operation applied to an index in one transaction |
//! | [`settings`] | every setting: read, checked, applied |
//! | [`documents`] | reading documents back |
//! | [`fields`] | the fields of an index and what its settings make of each |
//! | [`search`] | search, facet search, similar, multi-search |
//! | [`node`] | one node as a process |
//! | [`http`] | the API's routes |
//! | [`queue`] | the durable queue of tasks and the thread that runs them |
//! | [`payload`] | document payloads on disk until their task has ended |
//! | [`keys`], [`features`] | API keys and experimental features, each in a file |
//! | `element` | a document of an array, each key once |
//! | `durable` | files that survive a crash |
//! | [`locale`] | languages by their codes |
//! | [`error`] | what the engine answers when it refuses or fails |
//! | [`failure`] | milli's errors in Meilisearch's words |
//! | `unsafe_open` | the two calls that memory maps need, and why they are sound |
//! | [`deser`] | bodies and query strings into types, with Meilisearch's error texts |

pub mod deser;
pub mod documents;
mod durable;
mod element;
pub mod engine;
pub mod error;
pub mod failure;
pub mod features;
pub mod fields;
pub mod http;
pub mod indexing;
pub mod keys;
pub mod locale;
pub mod node;
pub mod payload;
pub mod queue;
pub mod search;
pub mod settings;
mod unsafe_open;

#[cfg(test)]
mod tests;
