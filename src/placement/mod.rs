//! Where shards live and whom to ask: hashing, the topology snapshot, covers.

pub mod shard;
pub mod topology;
