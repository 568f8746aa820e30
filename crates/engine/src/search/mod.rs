//! Search, facet search, similar documents and multi-search: JSON in, JSON out, exactly as the engine.
//!
//! | module | what lives there |
//! |---|---|
//! | `facets` | how often each facet value occurs among the candidates |
//! | `federated` | several searches answered as one list |
//! | `hits` | documents as hits |
//! | `multi` | several searches in one request |
//! | `params` | what a search can be asked |
//! | `ranked` | hits of several searches in one order |
//! | `rules` | which searches can share a federated list |
//! | `run` | one search on one index |
//! | `select` | parts of a document by the names of its fields |

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
