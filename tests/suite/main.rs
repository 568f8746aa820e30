//! Real processes on real sockets. The engine is the judge: what one node answers, the cluster must answer.
//!
//! With `MIROIR_TEST_MEILISEARCH=/path/to/meilisearch` the nodes are that program instead of the embedded engine.

mod alike;
mod bad_input;
mod cache;
mod chaos;
mod client_errors;
mod coalesce;
mod compression;
mod conformance;
mod described;
mod differential;
mod dumps;
mod explain;
mod facets;
mod failures;
mod faults;
mod federation;
mod gateways;
mod http2;
mod maintenance;
mod newer_api;
mod operations;
mod operators;
mod overload;
mod reads;
mod rebalance;
mod recover;
mod repair;
mod resilver;
mod rules;
mod scenarios;
mod scrub;
mod streams;
mod support;
mod tasks;
mod templates;
mod ties;
mod tls;
mod vectors;
mod vocabulary;
mod whole_tasks;
mod writes;
mod wrong;
