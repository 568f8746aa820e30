//! One task id over many node tasks: what is stored, and how many statuses fold into one. Pure.

pub mod adopt;
pub mod details;
pub mod entry;
pub mod filter;
pub mod fold;
pub mod interrupted;
pub mod params;
pub mod query;
pub mod replicas;
pub mod settings;
pub mod stale;
pub mod swap;
pub mod verdict;
pub mod view;
