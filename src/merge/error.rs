//! What a node says is wrong, without the hidden fields in it; and what cannot be merged.

use crate::meili::error::{Code, ResponseError};
use crate::placement::shard::SHARD_FIELD;
use crate::placement::vocabulary::WORDS_FIELD;
use crate::placement::written::WRITTEN_FIELD;

use crate::split::scanner::Malformed;

/// Why replies do not become one.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("a node's reply is not the JSON expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a node's reply is not the JSON expected: {0}")]
    Malformed(#[from] Malformed),
    #[error("a node's reply lacks {0}")]
    Missing(&'static str),
}

const HIDDEN: [&str; 3] = [SHARD_FIELD, WRITTEN_FIELD, WORDS_FIELD];

/// The lists of attributes that the engine puts into messages when it has an alternative for an empty one: how the
/// sentence begins, and the sentence that takes its place.
const LISTS: &[(&str, &str)] = &[
    ("Available filterable attributes patterns are: ", "This index does not have configured filterable attributes."),
    ("Available filterable attribute patterns are: ", "This index does not have configured filterable attributes."),
    (
        "Available facet-searchable attributes patterns are: ",
        "This index does not have configured facet-searchable attributes.",
    ),
];

/// Takes the hidden fields out of an error message, as if the index never had them.
pub fn scrub(message: &str) -> String {
    // Fields of words are one for each field of the client's. They begin alike: longer ones go first.
    let mut words: Vec<&str> = message
        .match_indices(WORDS_FIELD)
        .map(|(start, _)| message[start..].split([',', '`', '\n']).next().unwrap_or_default())
        .collect();
    words.sort_unstable_by_key(|field| std::cmp::Reverse(field.len()));
    let text = words.into_iter().fold(message.to_owned(), |text, field| without(&text, field));
    [SHARD_FIELD, WRITTEN_FIELD].into_iter().fold(text, |text, field| without(&text, field))
}

/// A node's error as a client may see it. One that is about what Miroir added to the request tells the client nothing: the
/// node has not all of the index yet, and another may.
pub fn shown(error: ResponseError) -> ResponseError {
    let message = scrub(&error.message);
    let is_own = |text: &str| HIDDEN.into_iter().any(|field| text.contains(field));
    if is_own(&message) || error.message.lines().any(is_own_excerpt) || is_own_attribute(&error.message) {
        return ResponseError::new(Code::MiroirNodeUnavailable, "A node is not ready to answer for the index yet.");
    }
    ResponseError { message, ..error }
}

/// True for a node's error about the very field that Miroir asks for shards by: the node has not all of the index yet.
pub fn is_unready(error: &ResponseError) -> bool {
    error.message.contains(&format!("ttribute `{SHARD_FIELD}`"))
}

/// True for the line that shows where in a filter the fault is, if the filter is Miroir's: `1:14 _miroir_shard IN ["{{"]`.
fn is_own_excerpt(line: &str) -> bool {
    let is_place = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == ':');
    let filter = line.split_once(' ').filter(|(place, _)| is_place(place)).map(|(_, filter)| filter);
    filter.is_some_and(|filter| HIDDEN.into_iter().any(|field| filter.starts_with(field)))
}

/// True where the sentence is about a hidden field, which no client can have asked for.
fn is_own_attribute(message: &str) -> bool {
    HIDDEN.into_iter().any(|field| message.contains(&format!("ttribute `{field}`")))
}

fn without(message: &str, field: &str) -> String {
    let mut text = message.to_owned();
    for (list, none) in LISTS {
        text = text.replace(&format!("{list}`{field}`."), none);
    }
    // Some lists quote each name, others the whole list.
    text.replace(&format!("`{field}`, "), "")
        .replace(&format!(", `{field}`"), "")
        .replace(&format!("{field}, "), "")
        .replace(&format!(", {field}"), "")
        .replace(&format!("`{field}`"), "``")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_only_the_hidden_field_is_no_list() {
        assert_eq!(
            scrub(
                "Attribute `a` is not filterable. Available filterable attribute patterns are: `_miroir_shard`.\n1:2 a = 1"
            ),
            "Attribute `a` is not filterable. This index does not have configured filterable attributes.\n1:2 a = 1"
        );
    }

    #[test]
    fn the_hidden_field_leaves_a_list_of_more() {
        let list = |names: &str| format!("Available searchable attributes are: `{names}`.");
        assert_eq!(scrub(&list("_miroir_shard, id")), list("id"));
        assert_eq!(scrub(&list("a, _miroir_shard, id")), list("a, id"));
        assert_eq!(scrub(&list("a, _miroir_shard")), list("a"));
        assert_eq!(scrub(&list("_miroir_words:a.b, a, _miroir_words, b, _miroir_words:b")), list("a, b"));
    }

    #[test]
    fn the_hidden_field_leaves_a_list_of_quoted_names() {
        let list = |names: &str| format!("Available filterable attribute patterns are: {names}.");
        assert_eq!(scrub(&list("`_miroir_shard`, `title`, `year`")), list("`title`, `year`"));
        assert_eq!(scrub(&list("`title`, `_miroir_shard`")), list("`title`"));
    }

    #[test]
    fn what_a_node_says_of_miroirs_own_filter_is_not_for_the_client() {
        let said = "Attribute `_miroir_shard` is not filterable. Available filterable attribute patterns are: `a`.\n1:14 \
                    _miroir_shard IN [\"{{{{{{{{\"]";
        let error = shown(ResponseError::new(Code::InvalidSearchFilter, said));
        assert_eq!((error.status, error.message.as_str()), (503, "A node is not ready to answer for the index yet."));
        assert!(is_unready(&ResponseError::new(Code::InvalidSearchFilter, said)));
        let said =
            "Attribute `b` is not filterable. Available filterable attribute patterns are: `_miroir_shard`, `a`.";
        let error = shown(ResponseError::new(Code::InvalidSearchFilter, said));
        assert_eq!(error.message, "Attribute `b` is not filterable. Available filterable attribute patterns are: `a`.");
        assert!(!is_unready(&ResponseError::new(Code::InvalidSearchFilter, said)));
        let error = shown(ResponseError::new(Code::DocumentNotFound, "Document `_miroir` not found."));
        assert_eq!(error.message, "Document `_miroir` not found.");
    }

    #[test]
    fn other_messages_stay_as_they_are() {
        let text = "Index `movies` not found.";
        assert_eq!(scrub(text), text);
    }
}
