//! Replies → one reply, as a single node with all the documents would have given it. Pure.
//!
//! Hits stay raw slices of the replies: scores are read, the winners' bytes are copied, nothing else is built.

pub mod detail;
pub mod documents;
pub mod error;
pub mod facet_search;
pub mod facets;
pub mod federation;
pub mod fields;
#[cfg(test)]
mod golden;
pub mod hits;
pub mod hybrid;
pub mod listing;
pub mod marks;
pub mod nearby;
pub mod order;
pub mod provenance;
pub mod raw;
pub mod scores;
pub mod search;
pub mod similar;
pub mod sorted;
pub mod stages;
pub mod stats;
pub mod strip;
pub mod walk;
