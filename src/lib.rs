//! Miroir: many Meilisearch nodes behind one endpoint.
//!
//! # Layout
//!
//! A request flows downwards; a lower layer never imports a higher one (`tests/suite/layers.rs` checks it).
//!
//! | layer | modules | what lives there |
//! |---|---|---|
//! | words | [`meili`] | Meilisearch's API as types: operations, errors, tasks, settings. serde only |
//! | pure core | [`placement`], [`split`], [`plan`], [`rebalance`], [`merge`], [`tasks`] | where shards live; a body cut into documents; request → plan; replies → one reply; many statuses → one. No I/O, no clock |
//! | state | [`store`] | the state file, behind a trait |
//! | rooms | [`nodes`], [`read`], [`ledger`], [`tracking`], [`write`], [`replicas`], [`moves`] | talk to nodes; each `mod.rs` is a map |
//! | cluster | [`cluster`] | the rooms' parts put together, and their loops |
//! | gateway | [`gateway`], [`admin`] | the only code that sees Pingora's `Session` |
//! | programs | `main.rs`, [`commands`], [`config`], [`metrics`] | arguments, settings, the composition root |

#![deny(unsafe_code)]

pub mod admin;
pub mod cluster;
pub mod commands;
pub mod config;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod gateway;
pub mod ledger;
pub mod logging;
pub mod meili;
pub mod merge;
pub mod metrics;
pub mod moves;
pub mod nodes;
pub mod placement;
pub mod plan;
pub mod read;
pub mod rebalance;
pub mod replicas;
pub mod split;
pub mod store;
pub mod tasks;
pub mod tracking;
pub mod write;
