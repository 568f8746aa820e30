//! One task id over many node tasks: what is stored, and how many statuses fold into one. Pure.

pub mod entry;
pub mod filter;
pub mod fold;
pub mod query;
pub mod stale;
pub mod view;
