//! What a search can be asked, in a body or a query string.
//!
//! | module | what lives there |
//! |---|---|
//! | `facet` | a search among the values of a facet |
//! | `multi` | several searches in one body |
//! | `query_string` | searches written as query strings |
//! | `search` | a search, from either form of request |
//! | `similar` | a search for documents like one document |
//! | `values` | values that several requests share |

mod facet;
mod multi;
mod query_string;
mod search;
mod similar;
mod values;

use serde_json::Value;

pub use self::facet::FacetSearchQuery;
pub use self::multi::{Federation, IndexedQuery, MergeFacets, MultiSearchQuery, Weight};
pub use self::query_string::filter_param;
pub use self::search::SearchQuery;
pub use self::similar::SimilarQuery;
pub use self::values::{Hybrid, MatchingStrategy};

pub const DEFAULT_LIMIT: usize = 20;
pub const DEFAULT_CROP_LENGTH: usize = 10;

fn pre_tag() -> String {
    "<em>".to_owned()
}

fn post_tag() -> String {
    "</em>".to_owned()
}

fn crop_marker() -> String {
    "…".to_owned()
}

/// Both filters must hold; each may be a list already.
fn join_filters(own: Option<Value>, rules: Option<Value>) -> Option<Value> {
    let as_list = |filter: Value| match filter {
        Value::Array(list) => list,
        single => vec![single],
    };
    match (own, rules) {
        (None, rules) => rules,
        (own, None) => own,
        (Some(own), Some(rules)) => Some(Value::Array([as_list(own), as_list(rules)].concat())),
    }
}
