//! Makes replicas and nodes equal again after something went wrong.
//!
//! | module | what lives there |
//! |---|---|
//! | `part` | what this room holds: [`Replicas`] |
//! | [`repair`] | a returning node's indexes, primary keys and settings are made equal to the cluster's before it serves |
//! | [`resilver`] | stale replicas are brought in sync while writes go on |
//! | [`scrub`] | all replicas are compared in the background |
//! | [`identity`] | whose disk a node has |
//! | [`interrupted`] | writes that a stop of the gateway interrupted are decided |
//! | `late` | what a former leader sent, and nodes took after this one led |
//! | [`recover`] | a lost state is made anew from what the nodes hold |

pub mod identity;
pub mod interrupted;
pub(crate) mod late;
mod part;
pub mod recover;
pub mod repair;
pub mod resilver;
pub mod scrub;

pub use part::Replicas;
