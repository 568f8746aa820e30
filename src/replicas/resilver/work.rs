//! What a copy has still to compare.

use std::collections::BTreeSet;

use crate::placement::shard::ShardSet;

/// Named keys beyond this many are not kept one by one.
pub const MANY_KEYS: usize = 100_000;

/// What writes have touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    Keys(BTreeSet<String>),
    /// A write named no keys, or more than can be kept.
    Everything,
}

/// Shards to be compared whole, and single documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    pub shards: ShardSet,
    pub keys: BTreeSet<String>,
}

// === impl Touched ===

impl Default for Touched {
    fn default() -> Self {
        Self::Keys(BTreeSet::new())
    }
}

impl Touched {
    /// `None`: a write that names no keys.
    pub fn by(keys: Option<&[String]>) -> Self {
        match keys {
            Some(keys) if keys.len() <= MANY_KEYS => Self::Keys(keys.iter().cloned().collect()),
            Some(_) | None => Self::Everything,
        }
    }

    pub fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Everything, _) => {}
            (_, Self::Everything) => *self = Self::Everything,
            (Self::Keys(mine), Self::Keys(theirs)) => {
                mine.extend(theirs);
                if mine.len() > MANY_KEYS {
                    *self = Self::Everything;
                }
            }
        }
    }
}

// === impl Work ===

impl Work {
    pub fn whole(shards: &ShardSet) -> Self {
        Self { shards: shards.clone(), keys: BTreeSet::new() }
    }

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
