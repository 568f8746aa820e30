//! What searches may say. A field that is not known here could change what an answer holds, and with it how answers are merged:
//! it is refused by its name, once a node has nothing to say against it.

use serde_json::{Map, Value};

use super::Obstacle;
use crate::meili::error::{Code, ResponseError};

/// The fields of a search, as a body has them.
pub const SEARCH: &[&str] = &[
    "q",
    "offset",
    "limit",
    "page",
    "hitsPerPage",
    "attributesToRetrieve",
    "attributesToCrop",
    "cropLength",
    "cropMarker",
    "attributesToHighlight",
    "highlightPreTag",
    "highlightPostTag",
    "showMatchesPosition",
    "filter",
    "sort",
    "distinct",
    "facets",
    "matchingStrategy",
    "attributesToSearchOn",
    "rankingScoreThreshold",
    "locales",
    "hybrid",
    "vector",
    "retrieveVectors",
    "media",
    "showRankingScore",
    "showRankingScoreDetails",
    "showPerformanceDetails",
];

/// The fields of a search among the values of a facet.
pub const FACET_SEARCH: &[&str] = &[
    "facetQuery",
    "facetName",
    "q",
    "vector",
    "media",
    "hybrid",
    "filter",
    "matchingStrategy",
    "attributesToSearchOn",
    "rankingScoreThreshold",
    "locales",
    "exhaustiveFacetCount",
];

/// What a search among the values of a facet may say because a search may, and no engine looks at. Clients send it along: InstantSearch
/// sends `facets`.
pub fn idle_in_facet_search(name: &str) -> bool {
    SEARCH.contains(&name) && !FACET_SEARCH.contains(&name)
}

/// Known, and refused.
pub const REFUSED: &[(&str, &str)] = &[
    ("personalize", "each node would put its own hits into another order"),
    ("personalizeUserContext", "each node would put its own hits into another order"),
    ("useNetwork", "Miroir connects the nodes, and they must not search each other"),
    ("remote", "Miroir connects the nodes, and they must not search each other"),
];

/// What stands against a body that has a field which is not among the `known`. One that says nothing stands against nothing.
pub fn check(body: &Map<String, Value>, known: &[&str]) -> Result<(), Obstacle> {
    let says = |value: &Value| !value.is_null() && value != &Value::Bool(false);
    match body.iter().find(|(name, value)| !known.contains(&name.as_str()) && says(value)) {
        Some((name, _)) => Err(unserved(name)),
        None => Ok(()),
    }
}

/// The refusal of what the engine understands and Miroir does not.
pub fn not_understood() -> ResponseError {
    ResponseError::new(
        Code::MiroirNotSupported,
        "The request has parameters that this version of Miroir does not know.",
    )
}

/// The refusal of a field or a parameter, if a node does not refuse it first.
pub fn unserved(name: &str) -> Obstacle {
    let message = match REFUSED.iter().find(|(refused, _)| *refused == name) {
        Some((_, reason)) => format!("`{name}` is not supported by Miroir: {reason}."),
        None => format!("`{name}` is not known to this version of Miroir."),
    };
    Obstacle::Unserved(ResponseError::new(Code::MiroirNotSupported, message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `METHOD path where name class` of every parameter and field that the engine describes.
    const FIELDS: &str = include_str!("../../tests/golden/api_fields.txt");

    fn classed(method: &str, path: &str, class: &str) -> Vec<&'static str> {
        let words = FIELDS.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_whitespace());
        let of = words.filter_map(|mut words| {
            let [is, at, _, name, of] = std::array::from_fn(|_| words.next().unwrap_or_default());
            (is == method && at == path && of == class).then_some(name)
        });
        of.collect()
    }

    #[test]
    fn what_searches_may_say_is_what_the_table_of_fields_says() {
        assert_eq!(classed("POST", "/indexes/{index_uid}/search", "read"), SEARCH);
        assert_eq!(classed("POST", "/indexes/{index_uid}/facet-search", "read"), FACET_SEARCH);
        let of_queries = classed("POST", "/multi-search", "read");
        let of_queries = of_queries.iter().filter_map(|name| name.strip_prefix("queries."));
        let of_queries: Vec<&str> = of_queries.filter(|name| *name != "indexUid" && !name.contains('.')).collect();
        assert_eq!(of_queries, SEARCH);
        let known: Vec<&str> = REFUSED.iter().map(|(name, _)| *name).collect();
        for (method, path) in [
            ("POST", "/indexes/{index_uid}/search"),
            ("GET", "/indexes/{index_uid}/search"),
            ("POST", "/indexes/{index_uid}/facet-search"),
            ("POST", "/indexes/{index_uid}/documents/fetch"),
            ("POST", "/multi-search"),
        ] {
            let refused = classed(method, path, "refused");
            assert!(!refused.is_empty(), "{method} {path}");
            for name in refused {
                let name = name.rsplit('.').next().unwrap_or_default();
                assert!(known.contains(&name), "{method} {path} {name}");
            }
        }
    }

    fn refusal(body: Value) -> Option<String> {
        let Value::Object(body) = body else { panic!("an object") };
        match check(&body, SEARCH) {
            Ok(()) => None,
            Err(Obstacle::Unserved(error)) => Some(error.message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_field_that_may_change_a_merge_is_refused_by_its_name() {
        assert_eq!(refusal(json!({"q": "a", "limit": 1})), None);
        assert_eq!(refusal(json!({"newThing": 1})).unwrap(), "`newThing` is not known to this version of Miroir.");
        let personal = refusal(json!({"personalize": {"userContext": "likes dogs"}})).unwrap();
        assert!(personal.starts_with("`personalize` is not supported by Miroir: each node"), "{personal}");
    }

    #[test]
    fn a_facet_search_may_say_what_a_search_may() {
        let idle = ["facets", "limit", "q", "facetName", "newThing"].map(idle_in_facet_search);
        assert_eq!(idle, [true, true, false, false, false]);
    }

    #[test]
    fn a_field_that_says_nothing_changes_nothing() {
        assert_eq!(refusal(json!({"personalize": null, "useNetwork": false})), None);
    }
}
