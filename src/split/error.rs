//! Why a body is refused, in Meilisearch's words.

use super::PayloadFormat;
use crate::meili::error::{Code, ResponseError};
use crate::settings::unit::{self, Fraction};

/// A body that cannot be cut into documents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Syntax that is no JSON, with the position in the body.
    #[error("{}", format.malformed_json(message))]
    Json { format: PayloadFormat, message: String },
    /// A record that does not fit its header.
    #[error("{}", format.malformed_record(message))]
    Csv { format: PayloadFormat, message: String },
    /// Well-formed JSON that is no object where a document is due. The engine calls this an internal error.
    #[error("{message}")]
    NotAnObject { message: String },
    #[error("The provided payload reached the size limit. The maximum accepted payload size is {}.", unit::written(*limit as u64, Fraction::Two))]
    DocumentTooLarge { limit: usize },
}

// === impl SplitError ===

impl SplitError {
    /// What the engine calls it.
    pub fn code(&self) -> Code {
        match self {
            Self::Json { .. } | Self::Csv { .. } => Code::MalformedPayload,
            Self::NotAnObject { .. } => Code::Internal,
            Self::DocumentTooLarge { .. } => Code::PayloadTooLarge,
        }
    }
}

impl From<SplitError> for ResponseError {
    fn from(error: SplitError) -> Self {
        ResponseError::new(error.code(), error.to_string())
    }
}
