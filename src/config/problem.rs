//! Why a configuration cannot be used: all reasons at once.

use std::fmt;

use crate::settings::Problem;

/// Everything that is wrong; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

// === impl Problems ===

impl Problems {
    /// The one problem that keeps a file from being read at all.
    pub(super) fn of_file(message: String) -> Self {
        Self(vec![Problem { path: String::new(), message }])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
