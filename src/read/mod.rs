//! Carries out reads: asks nodes and makes one answer of many.
//!
//! | module | what lives there |
//! |---|---|
//! | [`gather`] | one reply for every shard: asks the nodes of a cover, and others for the shards of those that fail |
//! | `reader` | what all reads have in common: whom to ask, in which time, and what becomes of errors |
//! | `judge` | what any one node answers as well as all of them, and judgement on a wrong request |
//! | `later` | which rounds followed the first |
//! | [`observe`] | a read with an eye on each of its subrequests |
//! | `search`, `similar`, `hybrid`, `federation`, `multi_search`, `facet_search` | the kinds of searches |
//! | `documents`, `fields`, `stats` | the other reads |
//! | `candidates`, `walked` | totals and facets, as one node with all documents would state them |
//! | `attributes`, `frequency`, `marks`, `embed`, `comparable` | what is asked of nodes besides, for some searches |
//! | `tests` | reads over pretended nodes |

mod attributes;
mod candidates;
mod comparable;
mod documents;
mod embed;
mod facet_search;
mod federation;
mod fields;
mod frequency;
pub mod gather;
mod hybrid;
mod judge;
mod later;
mod marks;
mod multi_search;
pub mod observe;
mod reader;
mod search;
mod similar;
mod stats;
#[cfg(test)]
mod tests;
mod walked;

pub use embed::QueryVectors;
pub use reader::*;
