//! What must be remembered, and when it may be forgotten.
//!
//! | module | what lives there |
//! |---|---|
//! | [`insync`] | in-sync sets: which replicas have missed a write, and which nodes a change of a whole index |
//! | [`settle`] | what follows from the nodes' answers to a write: acknowledged or not, and who has missed what |
//! | [`registry`] | which indexes exist, and what is cached of their settings |
//! | [`refusals`] | changes of settings that some node refused and others applied |
//! | [`maintenance`] | nodes taken out of service on purpose |
//! | [`founding`] | whether the state belongs to the nodes |
//! | [`older_reads`] | reads that were planned when a replica was in sync |

pub mod founding;
pub mod insync;
pub mod maintenance;
pub(crate) mod older_reads;
pub mod refusals;
pub mod registry;
pub mod settle;
