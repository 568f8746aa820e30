//! Meilisearch's words as types: what its HTTP API says and how it says it.

pub mod action;
pub mod error;
pub mod key;
pub mod operation;
pub mod pattern;
pub mod payload;
pub mod query;
pub mod settings;
pub mod task;
pub mod uid;
pub mod unknown;
pub mod versions;
