//! What an operator sets of writes.

use std::time::Duration;

use crate::settings::unit::{KIB, MIB};
use crate::settings::{FromSection, Section};

/// The section `write`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteSettings {
    /// How many replicas of each touched shard must accept a write before it is acknowledged.
    pub min_in_sync: u8,
    /// How long a node may take to accept one part of a write before its replica is given up as stale.
    pub timeout: Duration,
    /// How long a write that enough replicas have accepted waits for the others: then these are stale, and their nodes
    /// down until health checks bring them back.
    pub slow_after: Duration,
    /// A larger body of documents goes to a node in several parts, cut between documents.
    pub max_payload_size: u64,
    /// How much of a write is held in memory before it goes to a temporary file.
    pub spool_memory: u64,
    pub coalesce: Coalesce,
}

/// Whether small writes of an index that wait for the same node travel as one task of that node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coalesce {
    Yes,
    No,
}

// === impl WriteSettings ===

impl FromSection for WriteSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            min_in_sync: section.integer("min_in_sync", 1..=16, 1),
            timeout: section.duration("timeout", Duration::from_secs(30)),
            slow_after: section.duration("slow_after", Duration::from_secs(10)),
            max_payload_size: section.size("max_payload_size", 64 * KIB, 64 * MIB),
            spool_memory: section.size("spool_memory", 0, 4 * MIB),
            coalesce: section.choice("coalesce", &[("yes", Coalesce::Yes), ("no", Coalesce::No)], Coalesce::Yes),
        }
    }
}
