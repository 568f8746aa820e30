//! The configuration file: read, expanded, checked as a whole, and handed out as plain data.
//!
//! # Layout
//!
//! | file | what |
//! |---|---|
//! | [`model`] | the settings, section by section |
//! | [`secret`] | a key that no log line can show |
//! | [`problem`] | everything that is wrong or doubtful, all at once |

pub mod model;
pub mod problem;
pub mod secret;

use std::path::Path;

pub use model::*;
pub use problem::{Problem, Problems, Warning};
pub use secret::Secret;

// === impl Config ===

impl Config {
    /// Reads the file at `path`. Every problem is reported, not the first one.
    pub fn load(_path: &Path) -> Result<(Self, Vec<Warning>), Problems> {
        todo!()
    }
}
