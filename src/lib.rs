//! Miroir: many Meilisearch nodes behind one endpoint.
//!
//! # Layout
//!
//! A request flows downwards; a lower room never imports a higher one (`crates/layers` checks it).
//!
//! | layer | modules | what lives there |
//! |---|---|---|
//! | words | [`meili`], [`settings`] | Meilisearch's API as types: operations, errors, tasks, settings (what an engine says too is the crate `miroir-words`); how the configuration's sections are read. serde only |
//! | pure core | [`placement`], [`split`], [`plan`], [`rebalance`], [`merge`], [`tasks`] | where shards live; a body cut into documents; request → plan; replies → one reply; many statuses → one. No I/O, no clock |
//! | rules | [`rules`] | what operators make of requests and answers. No I/O, no clock |
//! | state | [`store`] | the state file, behind a trait |
//! | TLS | [`tls`] | certificates of listeners, and what nodes are shown |
//! | traces | [`traces`] | spans of requests, sent to who collects them |
//! | logs | [`logging`] | what is logged, on stderr and for a client that listens |
//! | rooms | [`nodes`], [`read`], [`ledger`], [`tracking`], [`write`](mod@write), [`replicas`], [`moves`], [`dumps`] | talk to nodes; each `mod.rs` is a map |
//! | cluster | [`cluster`] | the rooms' parts put together, and their loops |
//! | peers | [`peers`] | other gateways: what the leader tells them, and who has heard it |
//! | gateway | [`gateway`], [`admin`] | the only code that sees Pingora's `Session` |
//! | programs | `main.rs`, [`commands`], [`config`], [`metrics`] | arguments, settings, the composition root |
//! | engine | `miroir_engine`, a crate | cargo feature `embedded`: a Meilisearch-compatible node on milli |

pub mod admin;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod dumps;
pub mod gateway;
pub mod ledger;
pub mod logging;
pub mod meili;
pub mod merge;
pub mod metrics;
pub mod moves;
pub mod nodes;
pub mod peers;
pub mod placement;
pub mod plan;
pub mod read;
pub mod rebalance;
pub mod replicas;
pub mod rules;
pub mod settings;
pub mod split;
pub mod store;
pub mod tasks;
pub mod tls;
pub mod traces;
pub mod tracking;
pub mod write;
