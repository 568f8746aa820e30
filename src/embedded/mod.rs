//! A real Meilisearch-compatible node on milli, for trying, testing and small use (cargo feature `embedded`).
//!
//! # Layout
//!
//! | module | what it knows |
//! |---|---|
//! | [`engine`] | the indexes of a data folder: open, list, create, delete, swap, stats |
//! | [`indexing`] | one task's operation applied to an index in one transaction |
//! | [`settings`] | every setting: read, checked, applied |
//! | [`documents`] | reading documents back |
//! | [`search`] | search, facet search, similar, multi-search |
//! | [`locale`] | languages by their codes |
//! | [`failure`] | milli's errors in Meilisearch's words |
//! | [`deser`] | bodies and query strings into types, with Meilisearch's error texts |

pub mod deser;
pub mod documents;
pub mod engine;
pub mod failure;
pub mod indexing;
pub mod locale;
pub mod search;
pub mod settings;
mod unsafe_open;

#[cfg(test)]
mod tests;
