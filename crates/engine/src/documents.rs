//! Reading documents back: one by id, or pages of them.

use deserr::Deserr;
use milli::heed::RoTxn;
use milli::index::IndexEmbeddingConfig;
use milli::vector::parsed_vectors::ExplicitVectors;
use milli::{Index, InternalError};
use milli_core as milli;
use roaring::RoaringBitmap;
use serde_json::{Map, Value, json};

use super::deser::codes::{
    BadRequest, InvalidDocumentEditionContext, InvalidDocumentEditionFunctionFilter, InvalidDocumentFields,
    InvalidDocumentFilter, InvalidDocumentIds, InvalidDocumentLimit, InvalidDocumentOffset,
    InvalidDocumentRetrieveVectors, MissingDocumentEditionFunction, MissingDocumentFilter,
};
use super::deser::{CommaList, Fields, JsonFailure, Param, QueryFailure, body, missing, query};
use super::engine::{Features, IndexHandle};
use super::search::{filter_error, filter_param, parse_filter, select};
use super::settings::not_enabled;
use crate::error::{Code, ResponseError};

const DEFAULT_LIMIT: usize = 20;
const VECTORS: &str = "_vectors";

/// Parameters of `GET /indexes/{uid}/documents/{id}`.
#[derive(Debug, Clone, Default, Deserr)]
#[deserr(error = QueryFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct GetDocument {
    #[deserr(default, error = QueryFailure<InvalidDocumentFields>)]
    fields: Fields,
    #[deserr(default, error = QueryFailure<InvalidDocumentRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
}

#[derive(Debug, Deserr)]
#[deserr(error = QueryFailure, rename_all = camelCase, deny_unknown_fields)]
struct BrowseParams {
    #[deserr(default, error = QueryFailure<InvalidDocumentOffset>)]
    offset: Param<usize>,
    #[deserr(default = Param(DEFAULT_LIMIT), error = QueryFailure<InvalidDocumentLimit>)]
    limit: Param<usize>,
    #[deserr(default, error = QueryFailure<InvalidDocumentFields>)]
    fields: Fields,
    #[deserr(default, error = QueryFailure<InvalidDocumentRetrieveVectors>)]
    retrieve_vectors: Param<bool>,
    #[deserr(default, error = QueryFailure<InvalidDocumentIds>)]
    ids: Option<CommaList<String>>,
    #[deserr(default, error = QueryFailure<InvalidDocumentFilter>)]
    filter: Option<String>,
}

/// Parameters of `GET /indexes/{uid}/documents` and the body of `POST /indexes/{uid}/documents/fetch`.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct BrowseQuery {
    #[deserr(default, error = JsonFailure<InvalidDocumentOffset>)]
    offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonFailure<InvalidDocumentLimit>)]
    limit: usize,
    #[deserr(default, error = JsonFailure<InvalidDocumentFields>)]
    fields: Option<Vec<String>>,
    #[deserr(default, error = JsonFailure<InvalidDocumentRetrieveVectors>)]
    retrieve_vectors: bool,
    #[deserr(default, error = JsonFailure<InvalidDocumentIds>)]
    ids: Option<Vec<Value>>,
    #[deserr(default, error = JsonFailure<InvalidDocumentFilter>)]
    filter: Option<Value>,
}

#[derive(Debug, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
struct DeleteByFilter {
    #[deserr(error = JsonFailure<InvalidDocumentFilter>, missing_field_error = missing::<MissingDocumentFilter>)]
    filter: Value,
}

/// Body of `POST /indexes/{uid}/documents/edit`.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
struct EditByFunction {
    #[deserr(default, error = JsonFailure<InvalidDocumentFilter>)]
    filter: Option<Value>,
    #[deserr(default, error = JsonFailure<InvalidDocumentEditionContext>)]
    context: Option<Value>,
    #[deserr(
        error = JsonFailure<InvalidDocumentEditionFunctionFilter>,
        missing_field_error = missing::<MissingDocumentEditionFunction>
    )]
    function: String,
}

/// A checked edit, ready to be a task.
#[derive(Debug, Clone)]
pub struct Edition {
    pub filter: Option<Value>,
    pub context: Option<Map<String, Value>>,
    pub function: String,
}

// === impl GetDocument ===

impl GetDocument {
    /// `text` is what follows the `?`.
    pub fn from_query(text: &str) -> Result<Self, ResponseError> {
        query(text)
    }
}

// === impl BrowseQuery ===

impl BrowseQuery {
    /// `text` is what follows the `?`.
    pub fn from_query(text: &str) -> Result<Self, ResponseError> {
        let params: BrowseParams = query(text)?;
        Ok(Self {
            offset: params.offset.0,
            limit: params.limit.0,
            fields: params.fields.0,
            retrieve_vectors: params.retrieve_vectors.0,
            ids: params.ids.map(|ids| ids.0.into_iter().map(Value::String).collect()),
            filter: params.filter.map(filter_param),
        })
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self, ResponseError> {
        body::<Self, BadRequest>(bytes)
    }
}

/// One document, or `document_not_found`.
pub fn get(handle: &IndexHandle, id: &str, query: &GetDocument) -> Result<Value, ResponseError> {
    let index = &handle.index;
    let txn = index.read_txn()?;
    let absent = || ResponseError::new(Code::DocumentNotFound, format!("Document `{id}` not found."));
    let internal = index.external_documents_ids().get(&txn, id)?.ok_or_else(absent)?;
    let reader = Reader::new(index, &txn, query.retrieve_vectors.0, query.fields.0.as_deref())?;
    Ok(Value::Object(reader.document(internal)?))
}

/// `{results, offset, limit, total}`.
pub fn browse(handle: &IndexHandle, query: &BrowseQuery) -> Result<Value, ResponseError> {
    let ids = match &query.ids {
        Some(ids) => Some(checked_ids(ids)?),
        None => None,
    };
    let index = &handle.index;
    let txn = index.read_txn()?;
    let filter = match &query.filter {
        Some(filter) => parse_filter(filter, Code::InvalidDocumentFilter, handle.features())?,
        None => None,
    };
    let mut candidates = match ids {
        None => index.documents_ids(&txn)?,
        Some(ids) => {
            let known = index.external_documents_ids();
            let mut found = RoaringBitmap::new();
            for id in ids {
                found.extend(known.get(&txn, &id)?);
            }
            found
        }
    };
    if let Some(filter) = filter {
        let matching = filter.evaluate(&txn, index);
        candidates &= matching.map_err(|error| filter_error(error, Code::InvalidDocumentFilter))?;
    }
    let reader = Reader::new(index, &txn, query.retrieve_vectors, query.fields.as_deref())?;
    let page = candidates.iter().skip(query.offset).take(query.limit);
    let results: Result<Vec<Value>, milli::Error> = page.map(|id| reader.document(id).map(Value::Object)).collect();
    Ok(json!({
        "results": results?,
        "offset": query.offset,
        "limit": query.limit,
        "total": candidates.len(),
    }))
}

/// The body of `POST /indexes/{uid}/documents/delete`: the filter, or the engine's error.
pub fn parse_delete_by_filter(bytes: &[u8], features: Features) -> Result<Value, ResponseError> {
    let DeleteByFilter { filter } = body::<DeleteByFilter, BadRequest>(bytes)?;
    not_empty(&filter, features)?;
    Ok(filter)
}

/// The body of `POST /indexes/{uid}/documents/edit`: an experimental feature.
pub fn parse_edition(bytes: &[u8], features: Features) -> Result<Edition, ResponseError> {
    let EditByFunction { filter, context, function } = body::<EditByFunction, BadRequest>(bytes)?;
    if !features.edit_documents_by_function {
        return Err(not_enabled("Using the documents edit route", "edit documents by function", 762));
    }
    if let Err(error) = milli::rhai::Engine::new().compile(&function) {
        return Err(ResponseError::new(Code::BadRequest, error.to_string()));
    }
    if let Some(filter) = &filter {
        not_empty(filter, features)?;
    }
    let context = match context {
        None => None,
        Some(Value::Object(context)) => Some(context),
        Some(_no_object) => {
            return Err(ResponseError::new(Code::InvalidDocumentEditionContext, "The context must be an object"));
        }
    };
    Ok(Edition { filter, context, function })
}

fn not_empty(filter: &Value, features: Features) -> Result<(), ResponseError> {
    match parse_filter(filter, Code::InvalidDocumentFilter, features)? {
        Some(_) => Ok(()),
        None => Err(ResponseError::new(Code::InvalidDocumentFilter, "Sending an empty filter is forbidden.")),
    }
}

fn checked_ids(ids: &[Value]) -> Result<Vec<String>, ResponseError> {
    let mut checked = Vec::new();
    for (position, id) in ids.iter().enumerate() {
        let id = milli::documents::validate_document_id_value(id.clone())
            .map_err(|error| ResponseError::new(Code::InvalidDocumentIds, format!("In `.ids[{position}]`: {error}")))?;
        checked.push(id);
    }
    Ok(checked)
}

/// The field `_vectors` of a hit or document: what the document says of itself, and the stored vectors over it.
pub(super) fn vectors_of(
    index: &Index,
    txn: &RoTxn<'_>,
    id: u32,
    embedders: &[IndexEmbeddingConfig],
    own: Option<Value>,
) -> Result<Map<String, Value>, milli::Error> {
    let mut vectors = match own {
        Some(Value::Object(own)) => own,
        Some(_) | None => Map::new(),
    };
    for (name, stored) in index.embeddings(txn, id)? {
        let given = embedders.iter().find(|config| config.name == name);
        let regenerate = !given.is_some_and(|config| config.user_provided.contains(id));
        let shown = ExplicitVectors { embeddings: Some(stored.into()), regenerate };
        vectors.insert(name, serde_json::to_value(shown).map_err(InternalError::SerdeJson)?);
    }
    Ok(vectors)
}

/// Reads documents of one state of an index.
struct Reader<'a> {
    index: &'a Index,
    txn: &'a RoTxn<'a>,
    fields: milli::FieldsIdsMap,
    all: Vec<milli::FieldId>,
    embedders: Vec<IndexEmbeddingConfig>,
    with_vectors: bool,
    selected: Option<&'a [String]>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn new(
        index: &'a Index,
        txn: &'a RoTxn<'a>,
        with_vectors: bool,
        selected: Option<&'a [String]>,
    ) -> Result<Self, milli::Error> {
        let fields = index.fields_ids_map(txn)?;
        let all = fields.iter().map(|(id, _)| id).collect();
        let embedders = index.embedding_configs(txn)?;
        Ok(Self { index, txn, fields, all, embedders, with_vectors, selected })
    }

    fn document(&self, id: u32) -> Result<Map<String, Value>, milli::Error> {
        let stored = self.index.document(self.txn, id)?;
        let mut document = milli::obkv_to_json(&self.all, &self.fields, stored)?;
        let own = document.remove(VECTORS);
        if self.with_vectors {
            let vectors = vectors_of(self.index, self.txn, id, &self.embedders, own)?;
            document.insert(VECTORS.to_owned(), Value::Object(vectors));
        }
        Ok(match self.selected {
            None => document,
            Some(names) => {
                let names = names.iter().map(String::as_str);
                select(&document, names.chain(self.with_vectors.then_some(VECTORS)))
            }
        })
    }
}
