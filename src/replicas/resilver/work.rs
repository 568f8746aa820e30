//! What a copy has still to compare.

use std::collections::BTreeSet;

use crate::ledger::touched::Touched;
use crate::placement::shard::ShardSet;

/// Shards to be compared whole, and single documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    pub shards: ShardSet,
    pub keys: BTreeSet<String>,
}

// === impl Work ===

impl Work {
    /// All documents of these shards.
    pub fn whole(shards: &ShardSet) -> Self {
        Self { shards: shards.clone(), keys: BTreeSet::new() }
    }

    /// True if there is nothing to compare.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty() && self.keys.is_empty()
    }

    /// Adds what writes have touched of `shards`, those being copied.
    pub fn touch(&mut self, touched: Touched, shards: &ShardSet) {
        match touched {
            Touched::Keys(keys) => self.keys.extend(keys),
            Touched::Everything => *self = Self::whole(shards),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::touched::MANY_KEYS;

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_write_without_keys_touches_everything() {
        let mut touched = Touched::by(Some(&keys(&["a"])));
        touched.join(Touched::by(Some(&keys(&["b"]))));
        assert_eq!(touched, Touched::Keys(keys(&["a", "b"]).into_iter().collect()));
        touched.join(Touched::by(None));
        touched.join(Touched::by(Some(&keys(&["c"]))));
        assert_eq!(touched, Touched::Everything);
        let mut work = Work { keys: keys(&["x"]).into_iter().collect(), ..Work::default() };
        work.touch(touched, &ShardSet::all(4));
        assert_eq!(work, Work::whole(&ShardSet::all(4)));
    }

    #[test]
    fn too_many_keys_are_everything() {
        let half = |from: usize| Touched::Keys((from..from + MANY_KEYS / 2 + 1).map(|key| key.to_string()).collect());
        let mut touched = half(0);
        touched.join(half(MANY_KEYS));
        assert_eq!(touched, Touched::Everything);
    }
}
