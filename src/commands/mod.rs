//! What can be said on the command line, a file each.
//!
//! | module | what lives there |
//! |---|---|
//! | `check` | `miroir check` |
//! | `client` | asks the admin API |
//! | `cluster` | `miroir cluster set` |
//! | `demo` | `miroir demo` |
//! | `explain` | `miroir explain` |
//! | `node` | `miroir node add/remove/drain/set/maintenance` |
//! | `plan` | `miroir plan` |
//! | `rebalance` | `miroir rebalance` |
//! | `scrub` | `miroir scrub` |
//! | `status` | `miroir status` |
//! | `tasks` | `miroir tasks` |
//! | `try_rules` | `miroir try` |

pub mod check;
pub mod client;
pub mod cluster;
#[cfg(feature = "embedded")]
pub mod demo;
pub mod explain;
pub mod node;
pub mod plan;
pub mod rebalance;
pub mod scrub;
pub mod status;
pub mod tasks;
pub mod try_rules;
