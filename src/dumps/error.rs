//! Why a piece of work fails, and what its task says of it.

use std::io;

use crate::meili::error::{Code, ResponseError};

/// Why a piece of work comes to no good end.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Somebody canceled it: the integer of the cancelation.
    #[error("canceled by task {0}")]
    Canceled(u32),
    #[error("a file: {0}")]
    File(#[from] io::Error),
    /// The nodes cannot be read, or whoever gets the documents does not take them.
    #[error("{}", .0.message)]
    Refused(ResponseError),
}

// === impl WorkError ===

impl WorkError {
    /// As the task of a failed work shows it. Codes of files are the engine's; no path is named.
    pub fn shown(self) -> ResponseError {
        match self {
            Self::File(error) => {
                // The numbers are POSIX's.
                let code = match error.raw_os_error() {
                    Some(5) => Code::IoError,
                    Some(24) => Code::TooManyOpenFiles,
                    Some(28) => Code::NoSpaceLeftOnDevice,
                    Some(_) | None => Code::Internal,
                };
                ResponseError::new(code, error.to_string())
            }
            Self::Refused(error) => error,
            Self::Canceled(by) => ResponseError::new(Code::Internal, format!("Canceled by task {by}.")),
        }
    }

    /// What cannot be read of the nodes' answers.
    pub fn malformed(what: &str) -> Self {
        Self::Refused(ResponseError::new(Code::Internal, format!("A node answered without {what}.")))
    }
}

impl From<ResponseError> for WorkError {
    fn from(error: ResponseError) -> Self {
        Self::Refused(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_the_engines_code() {
        let full = WorkError::from(io::Error::from_raw_os_error(28)).shown();
        assert_eq!(
            (full.code.as_str(), full.message.as_str()),
            ("no_space_left_on_device", "No space left on device (os error 28)")
        );
        assert_eq!(WorkError::from(io::Error::from_raw_os_error(13)).shown().code, "internal");
    }
}
