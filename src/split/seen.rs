//! The ids of a body, each with whether it came before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};

use super::rules::Meets;
use crate::placement::stable_hash::ByHash;
use crate::placement::text_set::{TextKey, TextSet};

/// So many ids are told apart in one body; later ones count as new.
const MOST_SEEN: usize = 1_800_000;

/// The ids of a body, as hashes. It is looked at for every document, and a table of many is no table of the processor's: so an entry
/// is small, and found and made in one look.
#[derive(Debug)]
pub(super) enum Seen {
    Ids(TextSet),
    /// Each with the place in the body where it came first.
    Places(HashMap<IdHash, u32, ByHash>),
}

/// How an id is met.
pub(super) enum Met {
    First,
    /// With the place where it came first, where that is known.
    Again(Option<u64>),
}

/// The hash of an id, in halves: so an entry of a table takes 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdHash([u32; 2]);

// === impl IdHash ===

impl IdHash {
    fn of(id: TextKey) -> Self {
        let hash = id.number();
        Self([(hash >> 32) as u32, hash as u32])
    }
}

impl Hash for IdHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.0[0]) << 32 | u64::from(self.0[1]));
    }
}

// === impl Seen ===

impl Seen {
    pub(super) fn new(meets: Meets) -> Self {
        match meets {
            Meets::Replacing => Self::Ids(TextSet::default()),
            Meets::LaidOver => Self::Places(HashMap::default()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Places(places) => places.len(),
        }
    }

    /// The id at `place` of the body; it is kept while there are fewer than [`MOST_SEEN`].
    pub(super) fn meet(&mut self, id: TextKey, place: u64) -> Met {
        let keeps = self.len() < MOST_SEEN;
        match self {
            Self::Ids(ids) => {
                let is_new = if keeps { ids.insert(id) } else { !ids.contains(id) };
                if is_new { Met::First } else { Met::Again(None) }
            }
            Self::Places(places) if keeps => match places.entry(IdHash::of(id)) {
                Entry::Occupied(first) => Met::Again(Some(u64::from(*first.get()))),
                Entry::Vacant(new) => {
                    new.insert(u32::try_from(place).unwrap_or(u32::MAX));
                    Met::First
                }
            },
            Self::Places(places) => {
                places.get(&IdHash::of(id)).map_or(Met::First, |first| Met::Again(Some(u64::from(*first))))
            }
        }
    }
}
