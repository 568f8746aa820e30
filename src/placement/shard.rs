//! Shards, sets of shards, and the hidden field by which a node can be asked for some shards only.

use serde::{Deserialize, Serialize};

/// The hidden field that Miroir adds to every document. No client ever sees it.
pub const SHARD_FIELD: &str = "_miroir_shard";

/// One of S fixed slices of the hash space: the unit of placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u16);

/// A set of shards, a bit each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ShardSet {
    bits: Vec<u64>,
}

// === impl ShardSet ===

impl ShardSet {
    /// No shard.
    pub fn new() -> Self {
        Self::default()
    }

    /// All the shards `0..shards`.
    pub fn all(shards: u16) -> Self {
        (0..shards).map(ShardId).collect()
    }

    /// It may be in already.
    pub fn insert(&mut self, shard: ShardId) {
        let (word, bit) = position(shard);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= bit;
    }

    /// It need not be in.
    pub fn remove(&mut self, shard: ShardId) {
        let (word, bit) = position(shard);
        if let Some(bits) = self.bits.get_mut(word) {
            *bits &= !bit;
        }
        self.trim();
    }

    /// True if the shard is in.
    pub fn contains(&self, shard: ShardId) -> bool {
        let (word, bit) = position(shard);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Adds all shards of `other`.
    pub fn union_with(&mut self, other: &ShardSet) {
        if self.bits.len() < other.bits.len() {
            self.bits.resize(other.bits.len(), 0);
        }
        for (mine, theirs) in self.bits.iter_mut().zip(&other.bits) {
            *mine |= theirs;
        }
    }

    /// Takes out every shard that `other` has.
    pub fn subtract(&mut self, other: &ShardSet) {
        for (mine, theirs) in self.bits.iter_mut().zip(&other.bits) {
            *mine &= !theirs;
        }
        self.trim();
    }

    /// Keeps only the shards that `other` has too.
    pub fn intersect_with(&mut self, other: &ShardSet) {
        self.bits.truncate(other.bits.len());
        for (mine, theirs) in self.bits.iter_mut().zip(&other.bits) {
            *mine &= theirs;
        }
        self.trim();
    }

    /// How many shards are in it, not how far it reaches.
    pub fn len(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True if no shard is in.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// True if all are in `other`, too.
    pub fn is_subset(&self, other: &ShardSet) -> bool {
        self.bits.len() <= other.bits.len()
            && self.bits.iter().zip(&other.bits).all(|(mine, theirs)| mine & !theirs == 0)
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.bits
            .iter()
            .enumerate()
            .flat_map(|(word, bits)| bits_of(*bits).map(move |bit| ShardId(word as u16 * 64 + bit)))
    }

    /// Shard `64 * i + b` is bit `b` of word `i`; no zero word at the end.
    pub(super) fn bits(&self) -> &[u64] {
        &self.bits
    }

    /// Bit `b` of word `i` is shard `64 * i + b`.
    pub(super) fn from_bits(bits: Vec<u64>) -> Self {
        let mut set = Self { bits };
        set.trim();
        set
    }

    /// No zero word at the end, so that equal sets are equal values.
    fn trim(&mut self) {
        while self.bits.last() == Some(&0) {
            self.bits.pop();
        }
    }
}

/// The positions of the ones in `word`, ascending.
pub(super) fn bits_of(word: u64) -> impl Iterator<Item = u16> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let bit = (rest != 0).then(|| rest.trailing_zeros() as u16)?;
        rest &= rest - 1;
        Some(bit)
    })
}

fn position(shard: ShardId) -> (usize, u64) {
    (usize::from(shard.0 / 64), 1 << (shard.0 % 64))
}

impl FromIterator<ShardId> for ShardSet {
    fn from_iter<I: IntoIterator<Item = ShardId>>(shards: I) -> Self {
        let mut set = Self::new();
        for shard in shards {
            set.insert(shard);
        }
        set
    }
}

impl Serialize for ShardSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ShardSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<ShardId>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// The value of [`SHARD_FIELD`] for `shard`: the shard's binary digits, most significant first, written with the
/// separators `{` (0) and `}` (1), so that it can be filtered by but never be found by a search. At least eight
/// digits, and as many as `shards` needs.
pub fn shard_value(shard: ShardId, shards: u16) -> String {
    let width = 8.max(16 - u32::from(shards.saturating_sub(1)).leading_zeros().saturating_sub(16));
    (0..width).rev().map(|digit| if shard.0 >> digit & 1 == 1 { '}' } else { '{' }).collect()
}

/// The filter expression that restricts a node to `set`: `_miroir_shard IN ["{{{{{{{}", ...]`.
pub fn shard_filter(set: &ShardSet, shards: u16) -> String {
    let values: Vec<String> = set.iter().map(|shard| format!("\"{}\"", shard_value(shard, shards))).collect();
    format!("{SHARD_FIELD} IN [{}]", values.join(", "))
}
