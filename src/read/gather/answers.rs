//! What came of some shards.

use bytes::Bytes;

use super::Fault;
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
    pub fn missing(shards: ShardSet) -> Self {
        Self { missing: shards, ..Self::default() }
    }

    pub fn late(shards: ShardSet) -> Self {
        Self { missing: shards.clone(), late: shards, ..Self::default() }
    }

    pub fn is_conclusive(&self) -> bool {
        self.missing.is_empty() || self.fault.is_some()
    }

    pub fn add(&mut self, other: Self) {
        self.replies.extend(other.replies);
        self.missing.union_with(&other.missing);
        self.late.union_with(&other.late);
        if self.fault.is_none() {
            self.fault = other.fault;
        }
    }
}
