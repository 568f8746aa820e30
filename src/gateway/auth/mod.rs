//! Who may do what: the master key, API keys, and tenant tokens, as Meilisearch has them.
//!
//! # Layout
//!
//! | file | what |
//! |---|---|
//! | [`keyring`] | all keys, in memory, each with its secret computed once |
//! | [`tenant`] | tenant tokens and the search rules in them |
//! | [`access`] | what a checked request may touch |
//! | [`check`] | the decision |

pub mod access;
pub mod check;
pub mod keyring;
pub mod tenant;

pub use access::Access;
pub use keyring::Keyring;
