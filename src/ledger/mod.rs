//! What must be remembered, and when it may be forgotten.
//!
//! | module | what lives there |
//! |---|---|
//! | `part` | what this room holds: [`Ledger`] |
//! | [`insync`] | in-sync sets: which replicas have missed a write, and which nodes a change of a whole index |
//! | [`marks`] | what a write may leave behind: replicas that are stale, nodes that have missed a change |
//! | [`bookkeeping`] | all that was missed, and the guard of whoever changes it |
//! | [`watch`], [`touched`] | which documents the writes of an index touch while it is being copied |
//! | `fields` | which fields nodes know from their documents |
//! | `info` | what plans need to know of an index |
//! | [`settle`] | what follows from the nodes' answers to a write: acknowledged or not, and who has missed what |
//! | [`registry`] | which indexes exist, and what is cached of their settings |
//! | [`refusals`] | changes of settings that some node refused and others applied |
//! | [`maintenance`] | nodes taken out of service on purpose |
//! | [`founding`] | whether the state belongs to the nodes |
//! | [`older_reads`] | reads that were planned when a replica was in sync |

pub mod bookkeeping;
mod fields;
pub mod founding;
mod info;
pub mod insync;
pub mod maintenance;
pub mod marks;
pub(crate) mod older_reads;
mod part;
pub mod refusals;
pub mod registry;
pub mod settle;
pub mod touched;
pub mod watch;

pub use fields::Knowledge;
pub use part::{Ledger, LedgerSettings};
