//! Carries out reads: asks nodes and makes one answer of many.
//!
//! | module | what lives there |
//! |---|---|
//! | [`gather`] | one reply for every shard: asks the nodes of a cover, and others for the shards of those that fail |
//! | `part` | what this room holds: [`Reads`] |
//! | `reader` | what all reads have in common: what kind it is, and what becomes of errors |
//! | `cluster_nodes` | the nodes of the cluster as one read asks them |
//! | `kept` | replies of nodes that are kept while an index is written to |
//! | `readings` | what was found in replies when they were judged |
//! | `judge` | what any one node answers as well as all of them, and judgement on a wrong request |
//! | `later` | which rounds followed the first |
//! | `metrics` | how many rounds reads took |
//! | [`observe`] | a read with an eye on each of its subrequests |
//! | `search`, `similar`, `hybrid`, `federation`, `multi_search`, `facet_search` | the kinds of searches |
//! | `documents`, `fields`, `render`, `stats` | the other reads |
//! | `joins` | documents of other indexes put into hits |
//! | `candidates`, `walked`, `unmet` | totals and facets, as one node with all documents would state them |
//! | `attributes`, `frequency`, `marks`, `embed`, `query_vectors`, `comparable` | what is asked of nodes besides, for some searches |
//! | `thresholds` | one threshold for all nodes, also where they count typos otherwise |
//! | `shares` | nodes that have more of a page than their likely share are asked for all of it |
//! | [`settings`] | what the operator sets of reads |
//! | `tests`, `joins_tests` | reads over pretended nodes |

mod attributes;
mod candidates;
mod cluster_nodes;
mod comparable;
mod documents;
mod embed;
mod facet_search;
mod federation;
mod fields;
mod frequency;
pub mod gather;
mod hybrid;
mod joins;
#[cfg(test)]
mod joins_tests;
mod judge;
mod kept;
mod later;
mod marks;
mod metrics;
mod multi_search;
pub mod observe;
mod part;
mod query_vectors;
mod reader;
mod readings;
mod render;
mod search;
pub mod settings;
mod shares;
mod similar;
mod stats;
#[cfg(test)]
mod tests;
mod thresholds;
mod unmet;
mod walked;

pub use cluster_nodes::longest;
pub use kept::Keeping;
pub use part::{Reads, Remembered};
pub use reader::{Inexact, Reply, run};
