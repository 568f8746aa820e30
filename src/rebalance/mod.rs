//! What moves when nodes come and go, and in which order. Pure: facts in, the next action out.
//!
//! # How a replica moves
//!
//! | step | what changes | when |
//! |---|---|---|
//! | announce | the new owner may hold documents of the shard, so no answer of its is taken whole | the node is up, and there is room |
//! | add | it becomes an owner, stale in every index: it gets the shard's writes, and the resilver copies the rest | no request is older than the announcement |
//! | drop | the shard has the owners that the goal gives it; those that leave may still hold its documents | every new owner is up and in sync, and no request is older than the addition |
//! | give up | a new owner that is not wanted any more is none | another owner serves |
//! | clean up | what a node holds of shards that it does not own is deleted there | no request is older than the drop |
//!
//! Every step is durable before it is published, and can be done again. A crash forgets nothing but which requests were
//! under way, and those have ended with it.
//!
//! | module | what lives there |
//! |---|---|
//! | `apply` | how actions and wishes change the layout |
//! | `diff` | the difference between the owners that are and those that are to be |
//! | `goal` | the owners that each shard is to have |
//! | `layout` | the durable layout |
//! | `step` | the next action, out of the facts |

pub mod apply;
pub mod diff;
pub mod goal;
pub mod layout;
pub mod step;

#[cfg(test)]
mod properties;

pub use diff::Moves;
pub use goal::{Change, Goal, NodePatch, NodeSpec, Refusal};
pub use layout::{Cause, Finished, Layout, Outcome, Plan, PlanState};
pub use step::{Action, Facts, Waiting};
