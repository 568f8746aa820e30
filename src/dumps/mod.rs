//! What the gateway itself carries out as a task of the whole cluster: dumps, and exports to another Meilisearch. One after the
//! other, as an engine does.
//!
//! | module | what lives there |
//! |---|---|
//! | [`archive`] | the archive that a dump is: written and read as a stream |
//! | `copy` | the documents of one index as they were at one moment, while writes go on |
//! | `dump` | writes a dump |
//! | `error` | why a piece of work fails |
//! | `export` | sends indexes to another Meilisearch |
//! | [`format`](mod@format) | what stands in a dump, and where |
//! | `part` | what this room holds: [`Dumps`] |
//! | `patience` | for how long nodes are asked again what they cannot answer now |
//! | [`remote`] | another Meilisearch, as who sends it documents speaks with it |
//! | [`rules`] | dynamic search rules as a dump has them |
//! | `run` | takes works one after the other, and says how they ended |
//! | [`settings`] | what the operator sets of dumps |
//! | `spool` | documents on disk, a line each |
//! | `tasks` | tasks that have ended, as lines of a dump |

pub mod archive;
mod copy;
mod dump;
mod error;
mod export;
pub mod format;
mod part;
mod patience;
pub mod remote;
pub mod rules;
mod run;
pub mod settings;
mod spool;
mod tasks;

pub use part::Dumps;
pub use run::run;
