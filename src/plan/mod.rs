//! Request → plan. A plan is printable data and all that lies between understanding a request and doing it.

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
