//! An addition of documents: what the request says besides its body, checked in the engine's order and words.

use serde::Serialize;

use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::DocumentMethod;
use crate::meili::query::QueryMap;
use crate::meili::unknown;
use crate::split::PayloadFormat;

const ACCEPTED_TYPES: &str = "`application/json`, `application/x-ndjson`, `text/csv`";

/// A write of documents before its body is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    pub index: String,
    pub method: DocumentMethod,
    #[serde(flatten)]
    pub params: AddParams,
    pub format: PayloadFormat,
}

/// The parameters of the query string.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddParams {
    pub primary_key: Option<String>,
    /// One ASCII character; `None` where the request names none.
    #[serde(skip)]
    pub csv_delimiter: Option<u8>,
    /// The client's own note on the task. Nodes never see it: there Miroir's stamp takes its place.
    pub custom_metadata: Option<String>,
    #[serde(skip_serializing_if = "Missing::are_created")]
    pub missing: Missing,
}

/// What becomes of documents that the index does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    #[default]
    Created,
    /// They are left out, as if the body did not have them.
    Skipped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Param {
    PrimaryKey,
    CsvDelimiter,
    CustomMetadata,
    SkipCreation,
}

// === impl Split ===

impl Split {
    /// Refused, in the engine's words, where the query string has an unknown parameter or the header names no format.
    pub fn new(
        index: &str,
        method: DocumentMethod,
        query: &str,
        content_type: Option<&str>,
    ) -> Result<Self, ResponseError> {
        let params = AddParams::parse(query)?;
        let format = payload_format(content_type, params.csv_delimiter)?;
        Ok(Self { index: index.to_owned(), method, params, format })
    }
}

// === impl Param ===

impl Param {
    const ALL: [Param; 4] = [Self::PrimaryKey, Self::CsvDelimiter, Self::CustomMetadata, Self::SkipCreation];

    fn as_str(self) -> &'static str {
        match self {
            Self::PrimaryKey => "primaryKey",
            Self::CsvDelimiter => "csvDelimiter",
            Self::CustomMetadata => "customMetadata",
            Self::SkipCreation => "skipCreation",
        }
    }
}

// === impl AddParams ===

impl AddParams {
    /// Of the query string without its `?`.
    pub fn parse(query: &str) -> Result<Self, ResponseError> {
        let mut params = Self::default();
        for (name, value) in QueryMap::parse(query).iter() {
            let Some(param) = Param::ALL.into_iter().find(|param| param.as_str() == name) else {
                return Err(unknown_parameter(name));
            };
            match param {
                Param::PrimaryKey => params.primary_key = Some(value.to_owned()),
                Param::CsvDelimiter => params.csv_delimiter = Some(csv_delimiter(value)?),
                Param::CustomMetadata => params.custom_metadata = Some(value.to_owned()),
                Param::SkipCreation => params.missing = Missing::parse(value)?,
            }
        }
        Ok(params)
    }
}

// === impl Missing ===

impl Missing {
    /// The value of `skipCreation`, in letters of any case.
    fn parse(value: &str) -> Result<Self, ResponseError> {
        if value.eq_ignore_ascii_case("true") {
            return Ok(Self::Skipped);
        }
        if value.eq_ignore_ascii_case("false") {
            return Ok(Self::Created);
        }
        let message = format!("skipCreation must be either `true` or `false`. Found: `{value}`");
        Err(ResponseError::new(Code::InvalidSkipCreation, message))
    }

    fn are_created(&self) -> bool {
        *self == Self::Created
    }
}

fn csv_delimiter(value: &str) -> Result<u8, ResponseError> {
    let refused = |message: String| Err(ResponseError::new(Code::InvalidDocumentCsvDelimiter, message));
    let mut chars = value.chars();
    match (chars.next(), chars.next()) {
        (None, _) => refused(
            "Invalid value in parameter `csvDelimiter`: expected a string of one character, but found an empty string"
                .to_owned(),
        ),
        (Some(_), Some(_)) => refused(format!(
            "Invalid value in parameter `csvDelimiter`: expected a string of one character, but found the following \
             string of {} characters: `{value}`",
            2 + chars.count()
        )),
        (Some(only), None) => match u8::try_from(only).ok().filter(u8::is_ascii) {
            Some(byte) => Ok(byte),
            None => refused(format!("csv delimiter must be an ascii character. Found: `{only}`")),
        },
    }
}

fn unknown_parameter(name: &str) -> ResponseError {
    unknown::parameter(name, &Param::ALL.map(Param::as_str))
}

/// The format that the header `Content-Type` names.
pub fn payload_format(content_type: Option<&str>, csv_delimiter: Option<u8>) -> Result<PayloadFormat, ResponseError> {
    let Some(header) = content_type else {
        let message = format!(
            "A Content-Type header is missing. Accepted values for the Content-Type header are: {ACCEPTED_TYPES}"
        );
        return Err(ResponseError::new(Code::MissingContentType, message));
    };
    let invalid = |named: &str| {
        let message = format!(
            "The Content-Type `{named}` is invalid. Accepted values for the Content-Type header are: {ACCEPTED_TYPES}"
        );
        ResponseError::new(Code::InvalidContentType, message)
    };
    let mime = mime_essence(header).ok_or_else(|| invalid(header))?;
    match (mime.as_str(), csv_delimiter) {
        ("application/json", None) => Ok(PayloadFormat::Json),
        ("application/x-ndjson", None) => Ok(PayloadFormat::Ndjson),
        ("text/csv", delimiter) => Ok(PayloadFormat::Csv { delimiter: delimiter.unwrap_or(b',') }),
        ("application/json" | "application/x-ndjson", Some(_)) => {
            let message = format!(
                "The Content-Type `{mime}` does not support the use of a csv delimiter. The csv delimiter can only be \
                 used with the Content-Type `text/csv`."
            );
            Err(ResponseError::new(Code::InvalidContentType, message))
        }
        _ => Err(invalid(&mime)),
    }
}

/// `type/subtype` in lower case, without parameters and suffix; `None` if the header is no media type.
fn mime_essence(header: &str) -> Option<String> {
    let essence = header.split(';').next().unwrap_or_default().trim_end();
    let (kind, subtype) = essence.split_once('/')?;
    let is_token = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    if !is_token(kind) || !is_token(subtype) {
        return None;
    }
    let subtype = match subtype.rfind('+') {
        Some(suffix) if suffix > 0 => &subtype[..suffix],
        Some(_) | None => subtype,
    };
    Some(format!("{kind}/{subtype}").to_ascii_lowercase())
}

/// The error for a body of no bytes at all.
pub fn missing_payload(format: PayloadFormat) -> ResponseError {
    ResponseError::new(Code::MissingPayload, format!("A {} payload is missing.", format.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_choose_the_format() {
        assert_eq!(payload_format(Some("application/json"), None).unwrap(), PayloadFormat::Json);
        assert_eq!(payload_format(Some("Application/JSON; charset=utf-8"), None).unwrap(), PayloadFormat::Json);
        assert_eq!(payload_format(Some("application/x-ndjson"), None).unwrap(), PayloadFormat::Ndjson);
        assert_eq!(payload_format(Some("text/csv"), None).unwrap(), PayloadFormat::Csv { delimiter: b',' });
        assert_eq!(payload_format(Some("text/csv"), Some(b';')).unwrap(), PayloadFormat::Csv { delimiter: b';' });
    }

    #[test]
    fn other_content_types_are_refused_as_the_engine_refuses_them() {
        let accepted =
            "Accepted values for the Content-Type header are: `application/json`, `application/x-ndjson`, `text/csv`";
        let error = payload_format(None, None).unwrap_err();
        assert_eq!(error.message, format!("A Content-Type header is missing. {accepted}"));
        assert_eq!((error.status, error.code.as_str()), (415, "missing_content_type"));
        let error = payload_format(Some("text/plain; a=b"), Some(b';')).unwrap_err();
        assert_eq!(error.message, format!("The Content-Type `text/plain` is invalid. {accepted}"));
        assert_eq!((error.status, error.code.as_str()), (415, "invalid_content_type"));
        let error = payload_format(Some("json"), None).unwrap_err();
        assert_eq!(error.message, format!("The Content-Type `json` is invalid. {accepted}"));
        let error = payload_format(Some("application/json"), Some(b';')).unwrap_err();
        assert_eq!(
            error.message,
            "The Content-Type `application/json` does not support the use of a csv delimiter. The csv delimiter can \
             only be used with the Content-Type `text/csv`."
        );
        assert_eq!(error.code, "invalid_content_type");
    }

    #[test]
    fn parameters_are_read_and_unknown_ones_refused() {
        let params = AddParams::parse("primaryKey=a.b&csvDelimiter=%3B&customMetadata=mine").unwrap();
        assert_eq!(params.primary_key.as_deref(), Some("a.b"));
        assert_eq!(params.csv_delimiter, Some(b';'));
        assert_eq!(params.custom_metadata.as_deref(), Some("mine"));
        let error = AddParams::parse("primarykey=id").unwrap_err();
        assert_eq!(
            error.message,
            "Unknown parameter `primarykey`: did you mean `primaryKey`? expected one of `primaryKey`, `csvDelimiter`, \
             `customMetadata`, `skipCreation`"
        );
        assert_eq!(error.code, "bad_request");
        let error = AddParams::parse("foo=1").unwrap_err();
        assert!(error.message.starts_with("Unknown parameter `foo`: expected one of"), "{}", error.message);
    }

    #[test]
    fn missing_documents_are_created_or_skipped() {
        let missing = |query: &str| AddParams::parse(query).map(|params| params.missing);
        assert_eq!(missing(""), Ok(Missing::Created));
        assert_eq!(missing("skipCreation=False"), Ok(Missing::Created));
        assert_eq!(missing("skipCreation=TRUE"), Ok(Missing::Skipped));
        let error = missing("skipCreation=1").unwrap_err();
        assert_eq!(error.code, "invalid_skip_creation");
        assert_eq!(error.message, "skipCreation must be either `true` or `false`. Found: `1`");
    }

    #[test]
    fn a_csv_delimiter_is_one_ascii_character() {
        let message = |query: &str| {
            let error = AddParams::parse(query).unwrap_err();
            assert_eq!(error.code, "invalid_document_csv_delimiter");
            error.message
        };
        assert_eq!(
            message("csvDelimiter="),
            "Invalid value in parameter `csvDelimiter`: expected a string of one character, but found an empty string"
        );
        assert_eq!(
            message("csvDelimiter=abc"),
            "Invalid value in parameter `csvDelimiter`: expected a string of one character, but found the following \
             string of 3 characters: `abc`"
        );
        assert_eq!(message("csvDelimiter=%C3%A0"), "csv delimiter must be an ascii character. Found: `à`");
    }
}
