//! One suite for all stores, and what only one of them has.
//!
//! | module | what lives there |
//! |---|---|
//! | `facts` | what every store keeps, forgets and refuses |
//! | `file` | what only a state file has |
//! | `leader` | the lease, the fence, and a server that goes away |
//! | `line` | a line to the server that breaks when a commit is done |
//! | `moving` | a state moved from one store to another |
//! | `place` | where a store under test is |
//! | `pooler` | a pooler before the server |
//! | `properties` | filters and pages of tasks, against a naive model |
//! | `server` | a PostgreSQL server |

mod facts;
mod file;
mod leader;
mod line;
mod moving;
mod place;
mod pooler;
mod properties;
#[path = "../../../tests/suite/support/postgres.rs"]
mod server;
