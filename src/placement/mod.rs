//! Where shards live and whom to ask: hashing, the topology snapshot, covers.

pub mod balance;
pub mod cover;
pub mod document;
pub mod rendezvous;
pub mod settings;
pub mod shard;
pub mod stable_hash;
pub mod topology;
pub mod vocabulary;
pub mod written;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;
