//! Search, facet search, similar documents and multi-search: JSON in, JSON out, exactly as the engine.

mod facets;
mod federated;
mod hits;
mod multi;
mod params;
mod ranked;
mod rules;
mod run;
mod select;

pub use multi::{Authorize, multi_search};
pub use params::{FacetSearchQuery, MultiSearchQuery, SearchQuery, SimilarQuery};
pub use run::{facet_search, search, similar};

pub(super) use params::filter_param;
pub(super) use run::{filter_error, parse_filter};
pub(super) use select::select;
