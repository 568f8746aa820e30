//! What can be said on the command line, a file each.
//!
//! | module | what lives there |
//! |---|---|
//! | `backup` | `miroir backup` and `miroir restore` |
//! | `check` | `miroir check` |
//! | `client` | asks the admin API |
//! | `cluster` | `miroir cluster set` |
//! | `demo` | `miroir demo` |
//! | `explain` | `miroir explain` |
//! | `import` | `miroir import` |
//! | `leader` | `miroir leader`, `miroir leader step-down` |
//! | `node` | `miroir node add/remove/drain/set/maintenance` |
//! | `objects` | an object store, as backups need it |
//! | `plan` | `miroir plan` |
//! | `rebalance` | `miroir rebalance` |
//! | `scrub` | `miroir scrub` |
//! | `state` | `miroir state move` |
//! | `status` | `miroir status` |
//! | `tasks` | `miroir tasks` |
//! | `try_rules` | `miroir try` |
//! | `upgrade` | `miroir upgrade` |

pub mod backup;
pub mod check;
pub mod client;
pub mod cluster;
#[cfg(feature = "embedded")]
pub mod demo;
pub mod explain;
pub mod import;
pub mod leader;
pub mod node;
mod objects;
pub mod plan;
pub mod rebalance;
pub mod scrub;
pub mod state;
pub mod status;
pub mod tasks;
pub mod try_rules;
pub mod upgrade;
