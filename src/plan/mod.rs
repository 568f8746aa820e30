//! Request → plan. A plan is printable data and all that lies between understanding a request and doing it.

pub mod addition;
pub mod broadcast;
pub mod deletion;
pub mod documents;
pub mod embed;
pub mod explain;
pub mod facet_rules;
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
pub mod indexes;
pub mod marking;
pub mod multi_search;
pub mod own;
pub mod probe;
pub mod query_search;
pub mod read;
pub mod request;
pub mod reserved;
pub mod rewrite;
pub mod rounds;
pub mod scatter;
pub mod search;
mod search_on;
pub mod several;
pub mod shown;
pub mod similar;
pub mod stats;
pub mod values;
pub mod window;
pub mod write;

use serde::Serialize;

use crate::meili::error::ResponseError;

use addition::Split;
use deletion::Deletion;
use forward::Forward;
use indexes::IndexList;
use own::Answer;
use scatter::{NodeRequest, Scatter};
use write::{FailedWrite, WriteIntent};

pub use request::{Known, Request};

/// What Miroir does with a request.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase", tag = "plan")]
pub enum Plan {
    /// One node answers, unchanged.
    Forward(Forward),
    /// One node lists its indexes, and the client gets those that it may see.
    List(IndexList),
    /// Nodes answer for the shards they cover, and the answers are merged.
    Scatter(Box<Scatter>),
    /// The body's documents go to the nodes that own their shards, as they arrive.
    Split(Split),
    /// Ids of documents go to the nodes that own their shards.
    Delete(Deletion),
    /// Every node does the same, as one task.
    Broadcast(Box<WriteIntent>),
    /// The same of an edit by a function, which is tried before any node gets it.
    Edit(Box<WriteIntent>),
    /// Every node is told the same at once, without a task.
    Everywhere(NodeRequest),
    /// A task that fails before any node sees it.
    Fail(Box<FailedWrite>),
    /// Miroir itself knows the answer.
    Answer(Answer),
    Refuse(ResponseError),
}

/// Why a request is not planned as what it says it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Obstacle {
    /// The engine would refuse it, in words of its own: a node is asked for them.
    Judge,
    Refuse(ResponseError),
}
