//! How documents of an answer show their fields: in the order in which one node would.

use bytes::Bytes;

use crate::ledger::registry::Registry;
use crate::merge::key_place::{Documents, arrange};
use crate::plan::scatter::Ask;
use crate::plan::shown::KeyPlace;

/// `body` is the answer to `ask`. Indexes whose keys stand right on nodes, which are most, cost nothing.
pub(super) fn as_one_node_shows(registry: &Registry, ask: &Ask, body: Bytes) -> Bytes {
    let (documents, indexes) = match ask {
        Ask::Search(plan) => (Documents::List("hits"), vec![plan.index.as_str()]),
        Ask::Similar(plan) => (Documents::List("hits"), vec![plan.index.as_str()]),
        Ask::Documents(plan) => (Documents::List("results"), vec![plan.index.as_str()]),
        Ask::Document(plan) => (Documents::Itself, vec![plan.index.as_str()]),
        Ask::MultiSearch(plan) => {
            (Documents::OfEachResult, plan.queries.iter().map(|query| query.index.as_str()).collect())
        }
        Ask::Federation(plan) => (Documents::OfEachHit, plan.indexes.iter().map(|of| of.index.as_str()).collect()),
        Ask::Judge
        | Ask::Refused(_)
        | Ask::Settings
        | Ask::Setting { .. }
        | Ask::FacetSearch(_)
        | Ask::Fields(_)
        | Ask::Render(_)
        | Ask::DynamicSearchRules
        | Ask::Stats(_) => return body,
    };
    let places: Vec<(&str, KeyPlace)> =
        indexes.iter().filter_map(|index| Some((*index, registry.key_place(index)?))).collect();
    if places.is_empty() {
        return body;
    }
    let place_of = |index: &str| {
        let index = if index.is_empty() { indexes[0] } else { index };
        places.iter().find(|(of, _)| *of == index).map(|(_, place)| place.clone())
    };
    // What a node wrote and cannot be read here goes out as it is.
    arrange(&body, documents, &place_of).map_or(body, Bytes::from)
}
