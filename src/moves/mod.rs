//! Carries out what `crate::rebalance` plans: shards move when nodes come and go.
//!
//! | module | what lives there |
//! |---|---|
//! | `rebalancer` | the loop: the next action by the layout and the facts, carried out |
//! | `facts` | what the planner must know of the cluster at this moment |
//! | [`commit`] | a changed layout: durable first, then published |
//! | `cleanup` | what a node holds of shards that it does not own is deleted |
//! | [`wishes`] | what operators and configurations ask for |
//! | [`figures`] | how much a move is |
//! | [`metrics`] | gauges of the layout and of the plan under way |
//! | `error` | what keeps a wish from being granted, or a step from being taken |

mod cleanup;
pub(crate) mod commit;
mod error;
mod facts;
pub mod figures;
pub mod metrics;
mod rebalancer;
pub mod wishes;

pub use error::RebalanceError;
pub use metrics::RebalanceMetrics;
pub use rebalancer::*;
