//! What a node says is wrong, without the hidden fields in it; and what cannot be merged.

use crate::placement::shard::SHARD_FIELD;
use crate::placement::written::WRITTEN_FIELD;

/// Why replies do not become one.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("a node's reply is not the JSON expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a node's reply lacks {0}")]
    Missing(&'static str),
}

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
    [SHARD_FIELD, WRITTEN_FIELD].into_iter().fold(message.to_owned(), |text, field| without(&text, field))
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
    }

    #[test]
    fn the_hidden_field_leaves_a_list_of_quoted_names() {
        let list = |names: &str| format!("Available filterable attribute patterns are: {names}.");
        assert_eq!(scrub(&list("`_miroir_shard`, `title`, `year`")), list("`title`, `year`"));
        assert_eq!(scrub(&list("`title`, `_miroir_shard`")), list("`title`"));
    }

    #[test]
    fn other_messages_stay_as_they_are() {
        let text = "Index `movies` not found.";
        assert_eq!(scrub(text), text);
    }
}
