//! Bodies and query strings into types, with the engine's error texts.
//!
//! Derive `Deserr` with `error = JsonFailure<InvalidSearchQ>` on a field to give its code; [`body`] and [`query`] do
//! the rest. Values in query strings are always text: [`Param`] parses one, [`CommaList`] and [`Fields`] several.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::str::FromStr;

use deserr::errors::{JsonError, QueryParamError};
use deserr::{
    DeserializeError, Deserr, ErrorKind, IntoValue, MergeWithError, ValueKind, ValuePointerRef, take_cf_content,
};
use serde_json::{Map, Value};

use crate::error::{Code, ResponseError};

/// A type that stands for an error code, as a field's default.
pub trait Mark {
    const CODE: Code;
}

/// Marks errors in JSON bodies.
#[derive(Debug)]
pub struct Json;

/// Marks errors in query strings.
#[derive(Debug)]
pub struct Params;

/// Why a request's parameters were refused. `C` is the code of the place where it happened.
#[derive(Debug)]
pub struct Failure<F, C> {
    pub code: Code,
    pub message: String,
    marker: PhantomData<(F, C)>,
}

pub type JsonFailure<C = codes::BadRequest> = Failure<Json, C>;
pub type QueryFailure<C = codes::BadRequest> = Failure<Params, C>;

/// A value of the right kind that is refused: the reason, without its place.
#[derive(Debug)]
pub struct Invalid(pub String);

/// One value of a query string.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Param<T>(pub T);

/// What [`Param`] can hold.
pub trait FromParam: Sized {
    fn from_param(text: &str) -> Result<Self, Invalid>;
}

/// Values between commas; empty ones are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommaList<T>(pub Vec<T>);

/// Names of fields between commas; a star anywhere, or nothing, means all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Option<Vec<String>>);

macro_rules! marks {
    ($($name:ident)+) => {
        /// One type per error code that a parameter can have.
        pub mod codes {
            use super::Mark;
            use crate::error::Code;
            $(
                #[derive(Debug)]
                pub struct $name;
                impl Mark for $name { const CODE: Code = Code::$name; }
            )+
        }
    };
}

marks! {
    BadRequest
    InvalidDocumentEditionContext InvalidDocumentEditionFunctionFilter InvalidDocumentFields InvalidDocumentFilter
    InvalidDocumentIds InvalidDocumentLimit InvalidDocumentOffset InvalidDocumentRetrieveVectors
    InvalidFacetSearchExhaustiveFacetCount InvalidFacetSearchFacetName InvalidFacetSearchQuery InvalidIndexLimit InvalidIndexOffset InvalidIndexUid
    InvalidIndexFieldsFilter InvalidIndexFieldsFilterAttributePatterns InvalidIndexFieldsFilterDisplayed
    InvalidIndexFieldsFilterDistinct InvalidIndexFieldsFilterFilterable InvalidIndexFieldsFilterRankingRule
    InvalidIndexFieldsFilterSearchable InvalidIndexFieldsFilterSortable
    InvalidMultiSearchFacetsByIndex InvalidMultiSearchMaxValuesPerFacet InvalidMultiSearchMergeFacets
    InvalidMultiSearchQueryPosition InvalidMultiSearchRemote InvalidMultiSearchWeight
    InvalidSearchAttributesToCrop InvalidSearchAttributesToHighlight InvalidSearchAttributesToRetrieve
    InvalidSearchAttributesToSearchOn InvalidSearchCropLength InvalidSearchCropMarker InvalidSearchDistinct
    InvalidSearchEmbedder InvalidSearchFacets InvalidSearchFilter InvalidSearchHighlightPostTag
    InvalidSearchHighlightPreTag InvalidSearchHitsPerPage InvalidSearchHybridQuery InvalidSearchLimit
    InvalidSearchLocales InvalidSearchMatchingStrategy InvalidSearchOffset InvalidSearchPage InvalidSearchQ
    InvalidSearchRankingScoreThreshold InvalidSearchRetrieveVectors InvalidSearchSemanticRatio
    InvalidSearchShowMatchesPosition InvalidSearchShowRankingScore InvalidSearchShowRankingScoreDetails
    InvalidSearchSort InvalidSearchVector
    InvalidSettingsIndexChat InvalidSettingsDictionary InvalidSettingsDisplayedAttributes InvalidSettingsDistinctAttribute
    InvalidSettingsEmbedders InvalidSettingsFacetSearch InvalidSettingsFaceting InvalidSettingsFilterableAttributes
    InvalidSettingsLocalizedAttributes InvalidSettingsNonSeparatorTokens InvalidSettingsPagination
    InvalidSettingsPrefixSearch InvalidSettingsProximityPrecision InvalidSettingsRankingRules
    InvalidSettingsSearchCutoffMs InvalidSettingsSearchableAttributes InvalidSettingsSeparatorTokens
    InvalidSettingsSortableAttributes InvalidSettingsStopWords InvalidSettingsSynonyms InvalidSettingsTypoTolerance
    InvalidSimilarAttributesToRetrieve InvalidSimilarEmbedder InvalidSimilarFilter InvalidSimilarId
    InvalidSimilarLimit InvalidSimilarOffset InvalidSimilarRankingScoreThreshold InvalidSimilarRetrieveVectors
    InvalidSimilarShowRankingScore InvalidSimilarShowRankingScoreDetails
    MissingDocumentEditionFunction MissingDocumentFilter MissingFacetSearchFacetName MissingIndexUid
}

/// Reads a JSON body: malformed text, then unknown fields and wrong types, each with the engine's words.
pub fn body<T: Deserr<JsonFailure<C>>, C: Mark>(bytes: &[u8]) -> Result<T, ResponseError> {
    let value: Value = serde_json::from_slice(bytes).map_err(malformed)?;
    json(value)
}

/// Reads parsed JSON.
pub fn json<T: Deserr<JsonFailure<C>>, C: Mark>(value: Value) -> Result<T, ResponseError> {
    deserr::deserialize::<T, Value, JsonFailure<C>>(value).map_err(ResponseError::from)
}

/// Reads a query string (without `?`). A parameter that is there twice counts as its last.
pub fn query<T: Deserr<QueryFailure>>(query: &str) -> Result<T, ResponseError> {
    let mut pairs = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        pairs.insert(name.into_owned(), Value::String(value.into_owned()));
    }
    deserr::deserialize::<T, Value, QueryFailure>(Value::Object(pairs)).map_err(ResponseError::from)
}

/// The error for a body that is no JSON.
pub fn malformed(error: serde_json::Error) -> ResponseError {
    let empty = error.is_eof() && error.line() == 1 && error.column() == 0;
    match empty {
        true => ResponseError::new(Code::MissingPayload, "A json payload is missing."),
        false => {
            ResponseError::new(Code::MalformedPayload, format!("The json payload provided is malformed. `{error}`."))
        }
    }
}

/// A field that must be there and is not, with its own code.
pub fn missing<C: Mark>(field: &str, location: ValuePointerRef<'_>) -> JsonFailure<C> {
    take_cf_content(JsonFailure::<C>::error::<Infallible>(None, ErrorKind::MissingField { field }, location))
}

// === impl Failure ===

impl<F, C: Mark> Failure<F, C> {
    fn here(message: String) -> Self {
        Self { code: C::CODE, message, marker: PhantomData }
    }
}

impl<F, C> From<Failure<F, C>> for ResponseError {
    fn from(failure: Failure<F, C>) -> Self {
        Self::new(failure.code, failure.message)
    }
}

impl<C: Mark> DeserializeError for Failure<Json, C> {
    fn error<V: IntoValue>(
        _so_far: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        ControlFlow::Break(Self::here(take_cf_content(JsonError::error(None, error, location)).to_string()))
    }
}

impl<C: Mark> DeserializeError for Failure<Params, C> {
    fn error<V: IntoValue>(
        _so_far: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        ControlFlow::Break(Self::here(take_cf_content(QueryParamError::error(None, error, location)).to_string()))
    }
}

impl<F, C, D> MergeWithError<Failure<F, D>> for Failure<F, C> {
    fn merge(_so_far: Option<Self>, inner: Failure<F, D>, _place: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        // The inner place knows best which code fits.
        ControlFlow::Break(Self { code: inner.code, message: inner.message, marker: PhantomData })
    }
}

impl<F, C: Mark> MergeWithError<Invalid> for Failure<F, C>
where
    Failure<F, C>: DeserializeError,
{
    fn merge(_so_far: Option<Self>, reason: Invalid, place: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        Self::error::<Infallible>(None, ErrorKind::Unexpected { msg: reason.0 }, place)
    }
}

// === impl Invalid ===

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

// === impl Param ===

impl FromParam for usize {
    fn from_param(text: &str) -> Result<Self, Invalid> {
        text.parse().map_err(|_| Invalid(format!("could not parse `{text}` as a positive integer")))
    }
}

impl FromParam for bool {
    fn from_param(text: &str) -> Result<Self, Invalid> {
        text.parse()
            .map_err(|_| Invalid(format!("could not parse `{text}` as a boolean, expected either `true` or `false`")))
    }
}

impl FromParam for String {
    fn from_param(text: &str) -> Result<Self, Invalid> {
        Ok(text.to_owned())
    }
}

impl<T: FromParam, E: DeserializeError + MergeWithError<Invalid>> Deserr<E> for Param<T> {
    fn deserialize_from_value<V: IntoValue>(value: deserr::Value<V>, place: ValuePointerRef<'_>) -> Result<Self, E> {
        let text = text::<V, E>(value, place)?;
        T::from_param(&text).map(Param).map_err(|reason| take_cf_content(E::merge(None, reason, place)))
    }
}

// === impl CommaList ===

impl<T, E> Deserr<E> for CommaList<T>
where
    T: FromStr,
    T::Err: fmt::Display,
    E: DeserializeError,
{
    fn deserialize_from_value<V: IntoValue>(value: deserr::Value<V>, place: ValuePointerRef<'_>) -> Result<Self, E> {
        let text = text::<V, E>(value, place)?;
        let parsed: Result<Vec<T>, T::Err> = text.split(',').filter(|part| !part.is_empty()).map(T::from_str).collect();
        parsed.map(CommaList).map_err(|error| {
            let kind = ErrorKind::Unexpected { msg: error.to_string() };
            take_cf_content(E::error::<Infallible>(None, kind, place))
        })
    }
}

// === impl Fields ===

impl<E: DeserializeError> Deserr<E> for Fields {
    fn deserialize_from_value<V: IntoValue>(value: deserr::Value<V>, place: ValuePointerRef<'_>) -> Result<Self, E> {
        let text = text::<V, E>(value, place)?;
        let names: Vec<String> = text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Ok(Fields(if names.iter().any(|name| name == "*") { None } else { Some(names) }))
    }
}

fn text<V: IntoValue, E: DeserializeError>(value: deserr::Value<V>, place: ValuePointerRef<'_>) -> Result<String, E> {
    match value {
        deserr::Value::String(text) => Ok(text),
        actual => {
            let kind = ErrorKind::IncorrectValueKind { actual, accepted: &[ValueKind::String] };
            Err(take_cf_content(E::error(None, kind, place)))
        }
    }
}
