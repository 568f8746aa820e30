//! Follows tasks on the nodes until they have ended, and answers for them.
//!
//! | module | what lives there |
//! |---|---|
//! | `part` | what this room holds: [`Tracking`] |
//! | [`reconcile`] | one background poll per unfinished task |
//! | [`resume`] | the unfinished tasks of the last run |
//! | [`poll`] | one round of questions to the nodes of a task |
//! | `questions` | questions of one moment to one node, as one request |
//! | [`task_ops`] | the task routes |
//! | [`task_cancel`] | tasks canceled |
//! | [`task_delete`] | tasks deleted |
//! | [`task_documents`] | the documents that a task brings, as long as nodes have them in their queues |
//! | [`task_host`] | what the loops need of the cluster, as a trait |
//! | [`task_metrics`] | metrics of the task table and of polling |
//! | [`housekeeping`] | old rows go, and the table is measured |
//! | [`works`] | tasks that the gateway itself carries out |
//! | `task_fleet` | nodes that are made up, for tests |
//! | `task_tests` | all this against nodes that are made up |

pub mod housekeeping;
mod part;
pub mod poll;
mod questions;
pub mod reconcile;
pub mod resume;
pub mod task_cancel;
pub mod task_delete;
pub mod task_documents;
#[cfg(test)]
mod task_fleet;
pub mod task_host;
pub mod task_metrics;
pub mod task_ops;
#[cfg(test)]
mod task_tests;
pub mod works;

pub use part::{Heir, Tracking, TrackingError};
