//! What came of some shards.

use bytes::Bytes;

use super::fault::Fault;
use super::{Gathered, Seen};
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;

/// What came of some shards. The fault is the first in the order of the parts.
#[derive(Default)]
pub(super) struct Answers {
    pub replies: Vec<(CoverPart, Bytes, bool)>,
    pub missing: ShardSet,
    pub late: ShardSet,
    pub fault: Option<Fault>,
}

// === impl Answers ===

impl Answers {
    /// No node was left to ask for these shards.
    pub fn missing(shards: ShardSet) -> Self {
        Self { missing: shards, ..Self::default() }
    }

    /// The time was up before any node had answered for these shards.
    pub fn late(shards: ShardSet) -> Self {
        Self { missing: shards.clone(), late: shards, ..Self::default() }
    }

    /// A fault is a node's error that is the client's answer; shards may be missing without one.
    pub fn gathered(self, seen: Seen) -> Result<Gathered, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if let Some(fault) = seen.lagging.filter(|_| !self.missing.is_empty()) {
            return Err(fault);
        }
        if let Some(fault) = seen.internal.agreed(self.replies.is_empty()).filter(|_| !self.missing.is_empty()) {
            return Err(fault);
        }
        let alone = self.replies.len() == 1 && self.replies.iter().all(|(.., alone)| *alone);
        let replies = self.replies.into_iter().map(|(part, body, _)| (part, body)).collect();
        Ok(Gathered { replies, missing: self.missing, late: self.late, alone, overloaded: seen.overloaded })
    }

    /// True if nobody else need be asked.
    pub fn is_conclusive(&self) -> bool {
        self.missing.is_empty() || self.fault.is_some()
    }

    /// Of two faults the first stays.
    pub fn add(&mut self, other: Self) {
        self.replies.extend(other.replies);
        self.missing.union_with(&other.missing);
        self.late.union_with(&other.late);
        if self.fault.is_none() {
            self.fault = other.fault;
        }
    }
}
