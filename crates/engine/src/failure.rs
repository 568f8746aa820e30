//! milli's errors in Meilisearch's words: code and message.

use milli::{Error, UserError};
use milli_core as milli;
use milli_core::heed;

use crate::error::{Code, ResponseError};

/// The code that the engine gives to an error of milli.
pub fn code_of(error: &Error) -> Code {
    match error {
        Error::InternalError(_) => Code::Internal,
        Error::IoError(error) => io_code(error),
        Error::UserError(error) => user_code(error),
    }
}

fn user_code(error: &UserError) -> Code {
    match error {
        UserError::SerdeJson(_)
        | UserError::EnvAlreadyOpened
        | UserError::DocumentLimitReached
        | UserError::UnknownInternalDocumentId { .. } => Code::Internal,
        UserError::InvalidStoreFile => Code::InvalidStoreFile,
        UserError::NoSpaceLeftOnDevice => Code::NoSpaceLeftOnDevice,
        UserError::MaxDatabaseSizeReached => Code::DatabaseSizeLimitReached,
        UserError::AttributeLimitReached => Code::MaxFieldsLimitExceeded,
        UserError::InvalidFilter(_)
        | UserError::InvalidFilterExpression(..)
        | UserError::FilterOperatorNotAllowed { .. } => Code::InvalidSearchFilter,
        UserError::MissingDocumentId { .. } => Code::MissingDocumentId,
        UserError::InvalidDocumentId { .. } | UserError::TooManyDocumentIds { .. } => Code::InvalidDocumentId,
        UserError::MissingDocumentField(_) => Code::InvalidDocumentFields,
        UserError::InvalidFieldForSource { .. }
        | UserError::MissingFieldForSource { .. }
        | UserError::InvalidOpenAiModel { .. }
        | UserError::InvalidOpenAiModelDimensions { .. }
        | UserError::InvalidOpenAiModelDimensionsMax { .. }
        | UserError::InvalidSettingsDimensions { .. }
        | UserError::InvalidUrl { .. }
        | UserError::InvalidSettingsDocumentTemplateMaxBytes { .. }
        | UserError::InvalidPrompt(_)
        | UserError::InvalidDisableBinaryQuantization { .. }
        | UserError::InvalidSourceForNested { .. }
        | UserError::MissingSourceForNested { .. }
        | UserError::InvalidSettingsEmbedder { .. }
        | UserError::TooManyEmbedders(_)
        | UserError::InvalidPromptForEmbeddings(..) => Code::InvalidSettingsEmbedders,
        UserError::NoPrimaryKeyCandidateFound => Code::IndexPrimaryKeyNoCandidateFound,
        UserError::MultiplePrimaryKeyCandidatesFound { .. } => Code::IndexPrimaryKeyMultipleCandidatesFound,
        UserError::PrimaryKeyCannotBeChanged(_) => Code::IndexPrimaryKeyAlreadyExists,
        UserError::InvalidDistinctAttribute { .. } => Code::InvalidSearchDistinct,
        UserError::InvalidFacetsDistribution { .. } => Code::InvalidSearchFacets,
        UserError::SortRankingRuleMissing | UserError::InvalidSortableAttribute { .. } | UserError::SortError(_) => {
            Code::InvalidSearchSort
        }
        UserError::InvalidSearchableAttribute { .. } => Code::InvalidSearchAttributesToSearchOn,
        UserError::InvalidFacetSearchFacetName { .. } => Code::InvalidFacetSearchFacetName,
        UserError::CriterionError(_) => Code::InvalidSettingsRankingRules,
        UserError::InvalidGeoField { .. } => Code::InvalidDocumentGeoField,
        UserError::InvalidVectorDimensions { .. } | UserError::InvalidIndexingVectorDimensions { .. } => {
            Code::InvalidVectorDimensions
        }
        UserError::InvalidVectorsMapType { .. } | UserError::InvalidVectorsEmbedderConf { .. } => {
            Code::InvalidVectorsType
        }
        UserError::TooManyVectors(..) => Code::TooManyVectors,
        UserError::InvalidMinTypoWordLenSetting(..) => Code::InvalidSettingsTypoTolerance,
        UserError::InvalidSearchEmbedder(_) => Code::InvalidSearchEmbedder,
        UserError::InvalidSimilarEmbedder(_) => Code::InvalidSimilarEmbedder,
        UserError::VectorEmbeddingError(_) | UserError::DocumentEmbeddingError(_) => Code::VectorEmbeddingError,
        UserError::DocumentEditionCannotModifyPrimaryKey
        | UserError::DocumentEditionDocumentMustBeObject
        | UserError::DocumentEditionRuntimeError(_)
        | UserError::DocumentEditionCompilationError(_) => Code::EditDocumentsByFunctionError,
    }
}

/// The engine tells three system errors apart by their number.
fn io_code(error: &std::io::Error) -> Code {
    match error.raw_os_error() {
        Some(5) => Code::IoError,
        Some(24) => Code::TooManyOpenFiles,
        Some(28) => Code::NoSpaceLeftOnDevice,
        Some(_) | None => Code::Internal,
    }
}

/// An error of a search: the engine names the index in front of the message.
pub fn in_index(error: Error, uid: &str) -> ResponseError {
    ResponseError::new(code_of(&error), format!("Index `{uid}`: {error}"))
}

/// An error of a task: named as `in_index` does, and a filter's mistake is one of documents, not of a search.
pub fn in_task(error: Error, uid: &str) -> ResponseError {
    let code = match &error {
        Error::UserError(UserError::InvalidFilter(_) | UserError::InvalidFilterExpression(..)) => {
            Code::InvalidDocumentFilter
        }
        Error::UserError(_) | Error::InternalError(_) | Error::IoError(_) => code_of(&error),
    };
    ResponseError::new(code, format!("Index `{uid}`: {error}"))
}

pub fn index_not_found(uid: &str) -> ResponseError {
    ResponseError::new(Code::IndexNotFound, format!("Index `{uid}` not found."))
}

impl From<Error> for ResponseError {
    fn from(error: Error) -> Self {
        Self::new(code_of(&error), error.to_string())
    }
}

impl From<UserError> for ResponseError {
    fn from(error: UserError) -> Self {
        Self::from(Error::UserError(error))
    }
}

impl From<heed::Error> for ResponseError {
    fn from(error: heed::Error) -> Self {
        Self::from(Error::from(error))
    }
}

impl From<std::io::Error> for ResponseError {
    fn from(error: std::io::Error) -> Self {
        Self::new(io_code(&error), error.to_string())
    }
}
