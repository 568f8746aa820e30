//! Request → plan. A plan is printable data and all that lies between understanding a request and doing it.
//!
//! | module | what lives there |
//! |---|---|
//! | `answer` | what Miroir answers itself, from its own state |
//! | `broadcast` | requests that concern every node |
//! | `documents` | documents by page, by filter, by ids, and one by its id |
//! | `embed` | the vector of a search's words, asked of one node, so that not every node has to embed them |
//! | `explain` | a plan together with what it would send where, without sending anything |
//! | `facet_search` | a search among the values of a facet |
//! | `facets` | questions about facets as searches of one node |
//! | `federation` | several searches answered as one list, as every node of a cover gets them |
//! | `fields` | the fields of an index's documents |
//! | `filter` | a client's filter together with the one that restricts a node to shards |
//! | `forward` | a request that any one node can answer for all of them |
//! | `frequency` | a search that leaves out words one after the other, the most frequent first |
//! | `hybrid` | a search that mixes words and vectors, as two searches whose hits Miroir mixes itself |
//! | `index_info` | what planning and merging need to know of an index |
//! | `multi_search` | several searches in one request, each with an answer of its own |
//! | `query_search` | the parameters of `GET /indexes/{uid}/search` as a POST body, by the engine's own rules |
//! | `read` | plans every operation that changes nothing |
//! | `reserved` | names that belong to Miroir |
//! | `rewrite` | what a node is asked otherwise than the client asked, and why |
//! | `scatter` | a read that nodes answer for the shards they cover, as data |
//! | `search` | a search as every node of a cover gets it |
//! | `search_on` | attributes to search on, where nodes do not know the same |
//! | `similar` | documents like one document |
//! | `stats` | figures about indexes |
//! | `write` | a write as the lanes will carry it out |

pub mod answer;
pub mod broadcast;
pub mod documents;
pub mod embed;
pub mod explain;
pub mod facet_search;
pub mod facets;
pub mod federation;
pub mod fields;
pub mod filter;
pub mod forward;
pub mod frequency;
#[cfg(test)]
mod golden;
pub mod hybrid;
pub mod index_info;
pub mod multi_search;
pub mod query_search;
pub mod read;
pub mod reserved;
pub mod rewrite;
pub mod scatter;
pub mod search;
mod search_on;
pub mod similar;
pub mod stats;
pub mod write;

use serde::Serialize;

use crate::meili::error::ResponseError;
use crate::meili::operation::DocumentMethod;

use answer::Answer;
use forward::Forward;
use scatter::Scatter;
use write::WriteIntent;

/// What Miroir does with a request.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase", tag = "plan")]
pub enum Plan {
    /// One node answers, unchanged.
    Forward(Forward),
    /// The body's documents go to the nodes that own their shards.
    Split(Split),
    /// Nodes answer for the shards they cover, and the answers are merged.
    Scatter(Box<Scatter>),
    /// Every node does the same, as one task.
    Broadcast(Box<WriteIntent>),
    /// Miroir itself knows the answer.
    Answer(Answer),
    Refuse(ResponseError),
}

/// A write of documents, before its body was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    pub index: String,
    pub method: DocumentMethod,
    /// As the query string names it.
    pub primary_key: Option<String>,
}

/// Why a request is not planned as what it says it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Obstacle {
    /// The engine would refuse it, in words of its own: a node is asked for them.
    Judge,
    Refuse(ResponseError),
}
