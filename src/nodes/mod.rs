//! Talks to nodes, and knows how they are.
//!
//! | module | what lives there |
//! |---|---|
//! | `part` | what this room holds: [`Nodes`] |
//! | [`changes`] | what was sent to nodes that may change what an index answers, until it is carried out |
//! | [`credentials`] | what nodes are shown, and what they must show |
//! | [`client`] | subrequests to nodes, and the few calls of Meilisearch's API that Miroir makes on its own account |
//! | [`transport`] | how bytes get to a node and back: a small trait, and Pingora's connector behind it |
//! | `exchange` | a request and its answer on a connection |
//! | `idle` | connections that wait for their next use |
//! | [`elsewhere`] | other gateways, which answer reads by what this one has told them |
//! | [`error`] | what can go wrong between the gateway and a node |
//! | [`meaning`] | what a reply means, or that none came, and what each of those who ask makes of it |
//! | `message` | a request to a node and its answer |
//! | `fate` | what an answer says of the change that it answers |
//! | [`fence`] | nodes take changes of the epoch that leads, and of no other |
//! | [`fencing`] | the keys by which they do |
//! | [`health`] | health checks, which drive the states of nodes; where the topology is published |
//! | [`overload`] | bounds on what is under way, and whom reads leave alone |
//! | `older` | topologies that were replaced and are still in somebody's hands |
//! | [`lanes`] | one order of writes for each index and node |
//! | [`dynamic_rules`] | dynamic search rules as a node has them |
//! | [`node_queue`] | a node's queue of tasks: whether it is empty, and waiting until it is |
//! | [`spool`] | bytes collected for a node, in memory up to a bound and then in a file |
//! | [`stamp`] | by what a node's task tells who gave it |
//! | [`load`] | how long nodes take for reads, and how many are before them |
//! | [`metrics`] | counters and gauges of the cluster's traffic and state |
//! | [`families`] | families of metrics, registered as they are made |
//! | [`times`] | how long nodes were being asked for one request of a client |
//! | [`versions`] | which version of the engine each node runs |
//! | [`shutdown`] | the end of the process, as its loops see it |

pub mod changes;
pub mod client;
pub mod credentials;
pub mod dynamic_rules;
pub mod elsewhere;
pub mod error;
mod exchange;
pub(crate) mod families;
mod fate;
pub mod fence;
pub mod fencing;
pub mod health;
mod idle;
pub mod lanes;
pub mod load;
pub mod meaning;
mod message;
pub mod metrics;
pub(crate) mod node_queue;
mod older;
pub mod overload;
mod part;
pub(crate) mod shutdown;
pub mod spool;
pub mod stamp;
pub mod times;
pub mod transport;
pub mod versions;

pub use part::{Nodes, Repairer};
