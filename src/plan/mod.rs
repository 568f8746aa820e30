//! Request → plan. A plan is printable data and all that lies between understanding a request and doing it.
//!
//! | module | what lives there |
//! |---|---|
//! | `addition` | an addition of documents: what the request says besides its body |
//! | `broadcast` | requests that concern every node |
//! | `by_frequency` | whether a search leaves out words by their frequency, and what its words are |
//! | `census` | the best hit of each distinct value: with the page, or by a search of its own |
//! | `chats` | what requests about workspaces of chats say |
//! | `deletion` | a deletion by ids: each node is told those of its own shards |
//! | `documents` | documents by page, by filter, by ids, and one by its id |
//! | `embed` | the vector of a search's words, asked of one node, so that not every node has to embed them |
//! | `explain` | a plan together with what it would send where, without sending anything |
//! | `export` | which indexes go to another Meilisearch, and how |
//! | `facet_rules` | how facets are ordered and cut |
//! | `facet_search` | a search among the values of a facet |
//! | `facets` | questions about facets as searches of one node |
//! | `federated_request` | what nodes are asked of a federation |
//! | `federation` | several searches answered as one list, as every node of a cover gets them |
//! | `fields` | the fields of an index's documents |
//! | `filter` | a client's filter together with the one that restricts a node to shards |
//! | `foreign_filter` | conditions about documents of other indexes in a filter |
//! | `forward` | a request that any one node can answer for all of them |
//! | `frequency` | a search that leaves out words one after the other, the most frequent first |
//! | `hybrid` | a search that mixes words and vectors, as two searches whose hits Miroir mixes itself |
//! | `index_info` | what planning and merging need to know of an index |
//! | `indexes` | the list of indexes: one node's, of which the gateway shows the page |
//! | `joins` | documents of other indexes in the place of their ids |
//! | `pins` | what dynamic search rules may pin in an index |
//! | `key_request` | what requests about API keys say |
//! | `known` | what searches may say |
//! | `log_wish` | what requests about the gateway's own log lines say |
//! | `marking` | what decides about marks in the text of hits, as far as request and settings say it |
//! | `mix` | whether a search mixes words and vectors |
//! | `multi_search` | several searches in one request, each with an answer of its own |
//! | `node_request` | a request to one node |
//! | `obstacle` | what keeps a request from being planned |
//! | `own` | what Miroir answers itself, from its own state |
//! | `probe` | questions about what a node's cut list of facet values leaves open |
//! | `query_search` | the parameters of `GET /indexes/{uid}/search` as a POST body, by the engine's own rules |
//! | `read` | plans every operation that changes nothing |
//! | `render` | a template rendered, for a look at what an embedder would be given |
//! | `request` | any request planned: the one place that knows all plans |
//! | `reserved` | names that belong to Miroir |
//! | `rewrite` | what a node is asked otherwise than the client asked, and why |
//! | `rounds` | what a read asks after its first round, and why |
//! | `said` | what a request says, where something else must be found wrong before it |
//! | `scatter` | a read that nodes answer for the shards they cover, as data |
//! | `scattered` | what every scattered read says of itself |
//! | `search` | a search as every node of a cover gets it |
//! | `search_body` | what the body of a search says, read name by name |
//! | `search_on` | attributes to search on, where nodes do not know the same |
//! | `several` | what is refused where several nodes have to answer |
//! | `share` | which of its hits a node is asked for: its share of the page, with some to spare |
//! | `span` | which of its hits a node lists |
//! | `shown` | what a hit shows beside its document |
//! | `similar` | documents like one document |
//! | `stated` | where totals and facets of a search come from, once its page is known |
//! | `stats` | figures about indexes |
//! | `threshold` | what it means for a search that hits with a low score are left out |
//! | `unlike` | comparisons that nodes understand otherwise where they do not know the same fields |
//! | `values` | facet values as the engine compares them |
//! | `window` | how many hits there are, and which of them a page shows |
//! | `work` | what the gateway itself carries out as a task |
//! | `write` | a write as the lanes will carry it out |

pub mod addition;
pub mod broadcast;
pub mod by_frequency;
pub mod census;
pub mod chats;
pub mod deletion;
pub mod documents;
pub mod embed;
pub mod explain;
pub mod export;
pub mod facet_rules;
pub mod facet_search;
pub mod facets;
pub mod federated_request;
pub mod federation;
pub mod fields;
pub mod filter;
pub mod foreign_filter;
pub mod forward;
pub mod frequency;
#[cfg(test)]
mod golden;
pub mod hybrid;
pub mod index_info;
pub mod indexes;
pub mod joins;
pub mod key_request;
pub mod known;
pub mod log_wish;
pub mod marking;
pub mod mix;
pub mod multi_search;
pub mod node_request;
pub mod obstacle;
pub mod own;
pub mod pins;
pub mod probe;
pub mod query_search;
pub mod read;
pub mod render;
pub mod request;
pub mod reserved;
pub mod rewrite;
pub mod rounds;
pub mod said;
pub mod scatter;
pub mod scattered;
pub mod search;
mod search_body;
mod search_on;
pub mod several;
pub mod share;
pub mod shown;
pub mod similar;
pub mod span;
pub mod stated;
pub mod stats;
pub mod threshold;
pub mod unlike;
pub mod values;
pub mod window;
pub mod work;
pub mod write;

use serde::Serialize;

use crate::meili::error::ResponseError;

use addition::Split;
use deletion::Deletion;
use forward::Forward;
use indexes::IndexList;
use node_request::NodeRequest;
use own::Answer;
use scatter::Scatter;
use work::Work;
use write::{FailedWrite, WriteIntent};

pub use obstacle::Obstacle;
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
    /// The same of a deletion by a filter, which is tried before any node gets it.
    DeleteMatching(Box<WriteIntent>),
    /// The same of an edit by a function, which is tried before any node gets it.
    Edit(Box<WriteIntent>),
    /// Every node is told the same at once, without a task.
    Everywhere(NodeRequest),
    /// A task that fails before any node sees it.
    Fail(Box<FailedWrite>),
    /// The gateway itself carries it out, as one task of the cluster.
    Work(Work),
    /// Miroir itself knows the answer.
    Answer(Answer),
    Refuse(ResponseError),
}
