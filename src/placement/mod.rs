//! Where shards live and whom to ask: hashing, the topology snapshot, covers.
//!
//! | module | what lives there |
//! |---|---|
//! | `balance` | how evenly an assignment spreads replicas |
//! | `bounded` | the same with a bound: no node holds more than its fair share |
//! | `cover` | which node answers for which shards in one query, each shard exactly once |
//! | `document` | which shard a document belongs to |
//! | `few_ids` | the ids of the documents that one write touches, as long as they are few |
//! | `flow` | as much as can flow through a network: where a greedy choice is stuck |
//! | `joins` | the keys of other indexes' documents, as nodes have them |
//! | `rendezvous` | weighted rendezvous (HRW) hashing of shards to nodes, zones spread first |
//! | `settings` | what an operator says of where shards live |
//! | `shard` | shards, sets of shards, and the hidden field by which a node can be asked for some shards only |
//! | `stable_hash` | the one hash that placement rests on |
//! | `templates` | templates of embedders, guarded against hidden fields |
//! | `text_set` | sets of many short texts, as hashes of 64 bits |
//! | `topology` | one snapshot of the cluster: nodes, owners, what is stale and what is apart |
//! | `version` | the versions of placement, side by side |
//! | `vocabulary` | documents that hold words, so that every node knows them |
//! | `written` | the order in which documents were written, as a hidden field |

pub mod balance;
pub mod bounded;
pub mod cover;
pub mod document;
pub mod few_ids;
mod flow;
pub mod joins;
pub mod rendezvous;
pub mod settings;
pub mod shard;
pub mod stable_hash;
pub mod templates;
pub mod text_set;
pub mod topology;
pub mod version;
pub mod vocabulary;
pub mod written;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;
