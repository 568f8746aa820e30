//! Request bodies and query strings as typed values, refused with the engine's texts.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use deserr::errors::{JsonError, QueryParamError};
use deserr::{
    DeserializeError, Deserr, ErrorKind, IntoValue, MergeWithError, Value, ValueKind, ValuePointerRef, take_cf_content,
};

use crate::error::{Code, ResponseError};

/// Words errors as a JSON body's.
#[derive(Debug)]
pub struct Json;

/// Words errors as a query string's.
#[derive(Debug)]
pub struct Query;

/// How a format words a mistake.
pub trait Wording {
    fn text<V: IntoValue>(kind: ErrorKind<'_, V>, location: ValuePointerRef<'_>) -> String;
}

/// Names the error code that a field's mistakes carry.
pub trait FieldCode {
    const CODE: Code;
}

macro_rules! field_codes {
    ($($name:ident),+ $(,)?) => {
        $(
            #[derive(Debug)]
            pub struct $name;
            impl FieldCode for $name {
                const CODE: Code = Code::$name;
            }
        )+
    };
}

field_codes!(
    BadRequest,
    InvalidApiKeyActions,
    InvalidApiKeyDescription,
    InvalidApiKeyExpiresAt,
    InvalidApiKeyIndexes,
    InvalidApiKeyLimit,
    InvalidApiKeyName,
    InvalidApiKeyOffset,
    InvalidApiKeyUid,
    InvalidBatchUids,
    InvalidDocumentCsvDelimiter,
    InvalidSkipCreation,
    InvalidIndexLimit,
    InvalidIndexOffset,
    InvalidIndexPrimaryKey,
    InvalidIndexUid,
    InvalidSwapIndexes,
    InvalidTaskAfterEnqueuedAt,
    InvalidTaskAfterFinishedAt,
    InvalidTaskAfterStartedAt,
    InvalidTaskBeforeEnqueuedAt,
    InvalidTaskBeforeFinishedAt,
    InvalidTaskBeforeStartedAt,
    InvalidTaskCanceledBy,
    InvalidTaskFrom,
    InvalidTaskLimit,
    InvalidTaskReverse,
    InvalidTaskStatuses,
    InvalidTaskTypes,
    InvalidTaskUids,
);

/// The first mistake found in a body or query string. `C` is the code where the mistake names none itself.
#[derive(Debug)]
pub struct Refusal<F, C = BadRequest> {
    pub message: String,
    pub code: Code,
    marker: PhantomData<(F, C)>,
}

pub type JsonRefusal<C = BadRequest> = Refusal<Json, C>;
pub type QueryRefusal<C = BadRequest> = Refusal<Query, C>;

/// A mistake told in one sentence; it is put after `Invalid value …:`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Sentence(pub String);

// === impl wording ===

impl Wording for Json {
    fn text<V: IntoValue>(kind: ErrorKind<'_, V>, location: ValuePointerRef<'_>) -> String {
        take_cf_content(JsonError::error(None, kind, location)).to_string()
    }
}

impl Wording for Query {
    fn text<V: IntoValue>(kind: ErrorKind<'_, V>, location: ValuePointerRef<'_>) -> String {
        take_cf_content(QueryParamError::error(None, kind, location)).to_string()
    }
}

// === impl Refusal ===

impl<F, C> Refusal<F, C> {
    pub fn new(message: String, code: Code) -> Self {
        Self { message, code, marker: PhantomData }
    }
}

impl<F: Wording, C: FieldCode> DeserializeError for Refusal<F, C> {
    fn error<V: IntoValue>(
        _earlier: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        ControlFlow::Break(Self::new(F::text(error, location), C::CODE))
    }
}

impl<F, C1, C2> MergeWithError<Refusal<F, C2>> for Refusal<F, C1> {
    fn merge(_earlier: Option<Self>, other: Refusal<F, C2>, _location: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        ControlFlow::Break(Self::new(other.message, other.code))
    }
}

impl<F: Wording, C: FieldCode> MergeWithError<Sentence> for Refusal<F, C> {
    fn merge(_earlier: Option<Self>, other: Sentence, location: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        <Self as DeserializeError>::error::<Infallible>(None, ErrorKind::Unexpected { msg: other.0 }, location)
    }
}

impl<F, C> From<Refusal<F, C>> for ResponseError {
    fn from(refusal: Refusal<F, C>) -> Self {
        ResponseError::new(refusal.code, refusal.message)
    }
}

/// The refusal of a body without `field`, under a code of its own.
pub fn missing_field(field: &str, location: ValuePointerRef<'_>, code: Code) -> JsonRefusal {
    JsonRefusal::new(Json::text::<Infallible>(ErrorKind::MissingField { field }, location), code)
}

/// The refusal of a field that exists and may not be changed.
pub fn immutable_field(field: &str, accepted: &[&str], code: Code) -> JsonRefusal {
    let expected: Vec<String> = accepted.iter().map(|name| format!("`{name}`")).collect();
    JsonRefusal::new(format!("Immutable field `{field}`: expected one of {}", expected.join(", ")), code)
}

/// The refusal of a field that does not exist.
pub fn unknown_field(field: &str, accepted: &[&str], location: ValuePointerRef<'_>) -> JsonRefusal {
    let kind = ErrorKind::UnknownKey::<Infallible> { key: field, accepted };
    JsonRefusal::new(Json::text(kind, location), Code::BadRequest)
}

/// Reads a body that was parsed as JSON already.
pub fn from_json<T: Deserr<JsonRefusal>>(value: serde_json::Value) -> Result<T, ResponseError> {
    deserr::deserialize::<T, _, JsonRefusal>(value).map_err(ResponseError::from)
}

/// Reads a query string. Of a parameter that is given twice the last one counts.
pub fn from_query<T: Deserr<QueryRefusal>>(query: &str) -> Result<T, ResponseError> {
    let mut parameters = serde_json::Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        parameters.insert(name.into_owned(), serde_json::Value::String(value.into_owned()));
    }
    deserr::deserialize::<T, _, QueryRefusal>(serde_json::Value::Object(parameters)).map_err(ResponseError::from)
}

/// A type that can be written as the value of a query parameter.
pub trait Parameter: Sized {
    fn read(text: &str) -> Result<Self, Sentence>;
}

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<T>(pub T);

/// A comma-separated list; `*` in it is the same as giving no list.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub enum StarList<T> {
    #[default]
    Absent,
    Star,
    List(Vec<T>),
}

// === impl Parameter ===

macro_rules! whole_number {
    ($($number:ty),+) => {
        $(
            impl Parameter for $number {
                fn read(text: &str) -> Result<Self, Sentence> {
                    text.parse().map_err(|_| Sentence(format!("could not parse `{text}` as a positive integer")))
                }
            }
        )+
    };
}

whole_number!(u32, usize);

impl Parameter for bool {
    fn read(text: &str) -> Result<Self, Sentence> {
        text.parse()
            .map_err(|_| Sentence(format!("could not parse `{text}` as a boolean, expected either `true` or `false`")))
    }
}

// === impl Param ===

impl<T: Parameter, F: Wording, C: FieldCode> Deserr<Refusal<F, C>> for Param<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Refusal<F, C>> {
        let text = expect_string::<V, F, C>(value, location)?;
        T::read(&text).map(Param).map_err(|sentence| take_cf_content(Refusal::merge(None, sentence, location)))
    }
}

// === impl StarList ===

impl<T> StarList<T> {
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The values, `None` where all are meant.
    pub fn into_list(self) -> Option<Vec<T>> {
        match self {
            Self::Absent | Self::Star => None,
            Self::List(values) => Some(values),
        }
    }
}

impl<T: Parameter, F: Wording, C: FieldCode> Deserr<Refusal<F, C>> for StarList<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Refusal<F, C>> {
        let text = expect_string::<V, F, C>(value, location)?;
        let parts: Vec<&str> = text.split(',').filter(|part| !part.is_empty()).collect();
        let mut values = Vec::with_capacity(parts.len());
        let mut star = false;
        for (position, part) in parts.iter().enumerate() {
            if *part == "*" {
                star = true;
                continue;
            }
            let place = if parts.len() > 1 { location.push_index(position) } else { location };
            match T::read(part) {
                Ok(value) => values.push(value),
                Err(sentence) => return Err(take_cf_content(Refusal::merge(None, sentence, place))),
            }
        }
        Ok(if star { Self::Star } else { Self::List(values) })
    }
}

fn expect_string<V: IntoValue, F: Wording, C: FieldCode>(
    value: Value<V>,
    location: ValuePointerRef<'_>,
) -> Result<String, Refusal<F, C>> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null
        | Value::Boolean(_)
        | Value::Integer(_)
        | Value::NegativeInteger(_)
        | Value::Float(_)
        | Value::Sequence(_)
        | Value::Map(_) => {
            let kind = ErrorKind::IncorrectValueKind { actual: value, accepted: &[ValueKind::String] };
            Err(take_cf_content(Refusal::error::<V>(None, kind, location)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserr)]
    #[deserr(error = QueryRefusal, rename_all = camelCase, deny_unknown_fields)]
    struct Page {
        #[deserr(default = Param(20), error = QueryRefusal<InvalidTaskLimit>)]
        limit: Param<u32>,
        #[deserr(default, error = QueryRefusal<InvalidTaskUids>)]
        uids: StarList<u32>,
    }

    #[test]
    fn a_number_that_is_none_names_its_parameter() {
        let error = from_query::<Page>("limit=doggo").unwrap_err();
        assert_eq!(error.message, "Invalid value in parameter `limit`: could not parse `doggo` as a positive integer");
        assert_eq!(error.code, "invalid_task_limit");
    }

    #[test]
    fn a_bad_item_of_a_list_names_its_position() {
        let error = from_query::<Page>("uids=1,dogo").unwrap_err();
        assert_eq!(error.message, "Invalid value in parameter `uids[1]`: could not parse `dogo` as a positive integer");
        assert_eq!(error.code, "invalid_task_uids");
    }

    #[test]
    fn an_unknown_parameter_lists_the_known_ones() {
        let error = from_query::<Page>("doggo=1").unwrap_err();
        assert_eq!(error.message, "Unknown parameter `doggo`: expected one of `limit`, `uids`");
        assert_eq!(error.code, "bad_request");
    }

    #[test]
    fn a_star_means_all_and_defaults_fill_the_rest() {
        let page = from_query::<Page>("uids=1,*").unwrap();
        assert_eq!(page.limit.0, 20);
        assert_eq!(page.uids.into_list(), None);
    }
}
