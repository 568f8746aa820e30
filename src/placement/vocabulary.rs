//! Documents of words: hidden documents by which every node knows all words of an index.
//!
//! A node corrects typos and completes beginnings by the words of its own documents, and stops after so many of them. A node
//! that lacks some words stops elsewhere than one node with all documents would. So each node gets the words of the documents
//! that it does not hold, in documents of their own. They belong to no shard, and every read leaves them out.

use super::shard::{SHARD_FIELD, ShardSet, shard_value};
use super::written::Written;

/// The setting `search.words`: whether every node gets the words of the documents that it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedWords {
    /// `shared`.
    Yes,
    /// `local`: a node goes by the words of its own documents.
    No,
}

/// The hidden field that every document of words has, and only these.
pub const WORDS_FIELD: &str = "_miroir_words";

/// What documents of words have in [`SHARD_FIELD`]: shorter than any shard's value.
pub const WORDS_SHARD: &str = "}";

/// Between two words: ends a phrase, so that the engine does not take two words for neighbours.
pub const WORD_SEPARATOR: &str = ". ";

/// A value that no search finds.
pub const NO_WORD: &str = "{";

/// How the line of every document of words ends.
pub const WORDS_END: &str = "\"_miroir_shard\":\"}\"}\n";

/// The filter that leaves documents of words out.
pub fn no_words() -> String {
    format!("{SHARD_FIELD} != \"{WORDS_SHARD}\"")
}

/// The filter that leaves out the documents of `set`, and those of words.
pub fn filter_without(set: &ShardSet, shards: u16) -> String {
    let values = set.iter().map(|shard| shard_value(shard, shards)).chain([WORDS_SHARD.to_owned()]);
    let values: Vec<String> = values.map(|value| format!("\"{value}\"")).collect();
    format!("{SHARD_FIELD} NOT IN [{}]", values.join(", "))
}

/// The filter that selects documents of words.
pub fn only_words() -> String {
    format!("{SHARD_FIELD} = \"{WORDS_SHARD}\"")
}

/// The field that says, by being there, that a document of words has `field` too: so statistics tell how many have.
pub fn marker_of(field: &str) -> String {
    format!("{WORDS_FIELD}:{field}")
}

/// The field that a marker speaks of.
pub fn marked_field(marker: &str) -> Option<&str> {
    marker.strip_prefix(WORDS_FIELD)?.strip_prefix(':')
}

/// The primary key of a document of words: digits that order as bytes do, of characters that ids may have and that are no
/// words.
pub fn words_id(written: Written) -> String {
    (0..Written::BITS).rev().map(|bit| if written.bit(bit) { '_' } else { '-' }).collect()
}

/// True for what [`words_id`] makes, and for nothing that anybody else would.
pub fn is_words_id(id: &str) -> bool {
    id.len() == Written::BITS as usize && id.bytes().all(|byte| matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::shard::{ShardId, shard_value};
    use crate::placement::written::Places;

    #[test]
    fn ids_order_as_places_do_and_are_recognised() {
        let mut early = Places::of_batch(1_700_000_000_000);
        let ids = [early.take(), early.take(), Places::of_batch(1_700_000_000_001).take()]
            .map(|place| words_id(place.unwrap()));
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| is_words_id(id)));
        assert!(!is_words_id("-_-") && !is_words_id(&ids[0].replacen('-', "a", 1)));
    }

    #[test]
    fn no_shard_has_the_value_of_words() {
        for shards in [1, 256, u16::MAX] {
            assert!((0..shards.min(2000)).all(|shard| shard_value(ShardId(shard), shards) != WORDS_SHARD));
        }
    }

    #[test]
    fn a_marker_names_its_field() {
        assert_eq!(marked_field(&marker_of("a.b")), Some("a.b"));
        assert_eq!(marked_field(WORDS_FIELD), None);
        assert_eq!(marked_field("title"), None);
    }
}
