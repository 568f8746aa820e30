//! Replies → one reply, as a single node with all the documents would have given it. Pure.
//!
//! Hits stay raw slices of the replies: each reply is read once, into where its members and hits stand; scores are read of the hits
//! that may be in the page, the winners' bytes are copied, nothing else is built.
//!
//! | module | what lives there |
//! |---|---|
//! | `detail` | `_rankingScoreDetails` as nodes write it |
//! | `documents` | pages of documents of several nodes as one page |
//! | `error` | what a node says is wrong, without the hidden fields in it; and what cannot be merged |
//! | `facet_search` | the facet values that several nodes found, as one list |
//! | `facets` | facet counts and statistics of several nodes as one |
//! | `federation` | the replies to a federated search as one list |
//! | `fields` | the fields that several nodes know, each once, in the order of their names |
//! | `hit` | one hit, and where in it stands what is not the client's |
//! | `hits` | the hits of one page out of the sorted lists of several nodes |
//! | `hybrid` | hits by words and hits by a vector as one list, mixed as the engine mixes them |
//! | `joins` | documents put in the place of their ids |
//! | `key_place` | where the primary key stands in documents that are shown |
//! | `listing` | all documents that a search finds, as far as nodes list them, in the order of one node |
//! | `marks` | which words are marked, and how much of them, as one node that knows all words would mark them |
//! | `nearby` | hits that are about equally far |
//! | `order` | the total order of hits |
//! | `payload` | the documents that nodes have in their queues for one task, as the client sent them |
//! | `pins` | documents that dynamic search rules pin, placed among the hits of all nodes |
//! | `provenance` | which node gave which hit of an answer, for whoever asks how the answer came about |
//! | `raw` | members of a reply as slices of it |
//! | [`reading`] | where in a reply its parts stand, for who judges it and who merges it |
//! | `render` | a rendered template without the hidden fields |
//! | `scores` | the score details of a hit, as they are compared |
//! | `search` | the replies to one search as one reply, member by member in the order in which a node writes them |
//! | `shares` | whether the shares of a page that nodes were asked for were enough of it |
//! | `similar` | documents like one document, out of what several nodes have near its vectors |
//! | `sorted` | one page of documents out of the sorted lists of several nodes |
//! | `stages` | hits of stages, each of which left out more words of the query, as one list |
//! | `stats` | figures of several nodes, each of which holds some replicas, as those of one node that holds every document once |
//! | `strip` | takes Miroir's hidden fields, and what was asked for only to compare, out of what a node sent |
//! | `walk` | which of the documents that a search finds one node still counts when it has filled the page |

pub mod detail;
pub mod documents;
pub mod error;
pub mod facet_search;
pub mod facets;
pub mod federation;
pub mod fields;
#[cfg(test)]
mod golden;
pub mod hit;
pub mod hits;
pub mod hybrid;
pub mod joins;
pub mod key_place;
pub mod listing;
pub mod marks;
pub mod nearby;
pub mod order;
pub mod payload;
mod pins;
pub mod provenance;
pub mod raw;
pub mod reading;
pub mod render;
#[cfg(test)]
mod scan_tests;
pub mod scores;
pub mod search;
pub mod shares;
pub mod similar;
pub mod sorted;
pub mod stages;
pub mod stats;
pub mod strip;
pub mod walk;
