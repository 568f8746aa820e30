//! The ids of the documents that one write touches, by shard, as long as they are few.
//!
//! Should the write be carried out on some shards only, its task can name the documents of the others. Many ids are not
//! worth their room in the row of every task: then counts must do.

use std::collections::BTreeMap;

use super::shard::ShardId;

/// How much room ids may take together: about a thousand of usual length.
const ROOM: usize = 16 << 10;
/// What an id takes besides its own bytes.
const BESIDES: usize = 3;

/// Ids of documents by their shards.
pub type IdsByShard = BTreeMap<ShardId, Vec<String>>;

/// Collects all ids, or none once they are too many.
#[derive(Debug)]
pub struct FewIds {
    by_shard: IdsByShard,
    /// `None` once they were too many.
    left: Option<usize>,
}

// === impl FewIds ===

impl Default for FewIds {
    fn default() -> Self {
        Self { by_shard: BTreeMap::new(), left: Some(ROOM) }
    }
}

impl FewIds {
    /// Each id is to be added once. False once they are too many.
    pub fn add(&mut self, shard: ShardId, id: &str) -> bool {
        self.left = self.left.and_then(|left| left.checked_sub(id.len() + BESIDES));
        if self.left.is_some() {
            self.by_shard.entry(shard).or_default().push(id.to_owned());
        } else {
            // An incomplete list is worse than none.
            self.by_shard.clear();
        }
        self.left.is_some()
    }

    /// Empty if they were too many.
    pub fn finish(self) -> IdsByShard {
        self.by_shard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_ids_are_told_by_shard_and_of_too_many_none() {
        let mut ids = FewIds::default();
        for (shard, id) in [(7, "b"), (3, "c"), (7, "a")] {
            assert!(ids.add(ShardId(shard), id));
        }
        let text = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(ids.finish(), BTreeMap::from([(ShardId(3), text(&["c"])), (ShardId(7), text(&["b", "a"]))]));

        let mut many = FewIds::default();
        let long = "x".repeat(500);
        for number in 0..=ROOM / 500 {
            many.add(ShardId(0), &format!("{long}{number}"));
        }
        assert!(!many.add(ShardId(0), "short"));
        assert_eq!(many.finish(), BTreeMap::new());
    }
}
