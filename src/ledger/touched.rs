//! Which documents writes have touched.

use std::collections::BTreeSet;

/// Named keys beyond this many are not kept one by one.
pub const MANY_KEYS: usize = 100_000;

/// What writes have touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    Keys(BTreeSet<String>),
    /// A write named no keys, or more than can be kept.
    Everything,
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

    /// Both together; of more than [`MANY_KEYS`] keys it is everything.
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
