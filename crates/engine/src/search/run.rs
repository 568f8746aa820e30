//! One search on one index, from its parameters to milli and back.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milli::heed::RoTxn;
use milli::score_details::ScoringStrategy;
use milli::vector::Embedder;
use milli::{AscDesc, Filter, SearchForFacetValues, SortError, TimeBudget, UserError};
use milli_core as milli;
use serde_json::{Map, Value, json};

use super::facets;
use super::hits::{HitFormat, make_hits};
use super::params::{DEFAULT_LIMIT, FacetSearchQuery, Hybrid, SearchQuery, SimilarQuery};
use crate::engine::{Features, IndexHandle};
use crate::error::{Code, ResponseError};
use crate::failure::in_index;
use crate::settings::{DEFAULT_MAX_TOTAL_HITS, not_enabled};

/// How long embedding a query may take.
const EMBED_WITHIN: Duration = Duration::from_secs(10);

/// An embedder, ready to be searched with.
pub struct Semantic {
    name: String,
    embedder: Arc<Embedder>,
    quantized: bool,
}

/// Which search answers a query.
pub enum Kind {
    Keyword,
    Semantic(Semantic),
    Hybrid(Semantic, f32),
}

/// A search that milli can run, and what of its page the answer shows.
pub struct Prepared<'t> {
    pub search: milli::Search<'t>,
    pub max_total_hits: usize,
    pub offset: usize,
}

/// The result of a search as the engine sends it.
pub fn search(handle: &IndexHandle, query: &SearchQuery) -> Result<Value, ResponseError> {
    let kind = Kind::of(handle, query)?;
    let started = Instant::now();
    let index = &handle.index;
    let txn = index.read_txn()?;
    let budget = time_budget(handle, &txn)?;
    let prepared = prepare(handle, &txn, query, &kind, budget)?;
    let (result, semantic_hits) = execute(handle, &kind, &prepared.search)?;

    let documents = result.documents_ids.iter().copied().zip(result.document_scores.iter().map(Vec::as_slice));
    let hits = make_hits(index, &txn, HitFormat::of(query), result.matching_words, documents)?;

    let total = (result.candidates.len() as usize).min(prepared.max_total_hits);
    let counted = match &query.facets {
        Some(wanted) => Some(facets::count(wanted, index, &txn, result.candidates)?),
        None => None,
    };

    let mut answer = Map::new();
    answer.insert("hits".to_owned(), Value::Array(hits));
    answer.insert("query".to_owned(), json!(query.q.as_deref().unwrap_or_default()));
    answer.insert("processingTimeMs".to_owned(), millis(started));
    if query.is_paged() {
        let size = query.hits_per_page.unwrap_or(DEFAULT_LIMIT);
        answer.insert("hitsPerPage".to_owned(), json!(size));
        answer.insert("page".to_owned(), json!(query.page.unwrap_or(1)));
        // No page size, no pages.
        let pages = if size == 0 { 0 } else { total.div_ceil(size) };
        answer.insert("totalPages".to_owned(), json!(pages));
        answer.insert("totalHits".to_owned(), json!(total));
    } else {
        answer.insert("limit".to_owned(), json!(query.limit));
        answer.insert("offset".to_owned(), json!(prepared.offset));
        answer.insert("estimatedTotalHits".to_owned(), json!(total));
    }
    if let Some(counted) = counted {
        answer.insert("facetDistribution".to_owned(), counted.distribution_json());
        answer.insert("facetStats".to_owned(), counted.stats_json());
    }
    if let Some(count) = semantic_hits {
        answer.insert("semanticHitCount".to_owned(), json!(count));
    }
    Ok(Value::Object(answer))
}

/// The values of one facet that begin like the facet query, with their counts.
pub fn facet_search(handle: &IndexHandle, query: &FacetSearchQuery) -> Result<Value, ResponseError> {
    let search_query = query.to_search();
    let kind = Kind::of(handle, &search_query)?;
    let started = Instant::now();
    let index = &handle.index;
    let txn = index.read_txn()?;
    let budget = time_budget(handle, &txn)?;
    if !index.facet_search(&txn)? {
        let message = "The facet search is disabled for this index";
        return Err(ResponseError::new(Code::FacetSearchDisabled, message));
    }
    // Only a localized facet has languages to choose from; the client's choice narrows them.
    let chosen: Option<Vec<milli::tokenizer::Language>> =
        query.locales.as_ref().map(|locales| locales.iter().map(|locale| locale.language()).collect());
    let rules = index.localized_attributes_rules(&txn)?.unwrap_or_default();
    let rule = rules.into_iter().find(|rule| rule.match_str(&query.facet_name) == milli::PatternMatch::Match);
    let locales = rule.map(|rule| {
        let allowed = |language: &milli::tokenizer::Language| chosen.as_ref().is_none_or(|all| all.contains(language));
        rule.locales.into_iter().filter(allowed).collect::<Vec<_>>()
    });

    let prepared = prepare(handle, &txn, &search_query, &kind, budget)?;
    let hybrid = matches!(kind, Kind::Hybrid(..));
    let mut values = SearchForFacetValues::new(query.facet_name.clone(), prepared.search, hybrid);
    if let Some(prefix) = &query.facet_query {
        values.query(prefix);
    }
    if let Some(max) = index.max_values_per_facet(&txn)? {
        values.max_values(max as usize);
    }
    if let Some(locales) = locales {
        values.locales(locales);
    }
    let hits = values.execute()?;
    Ok(json!({
        "facetHits": hits,
        "facetQuery": query.facet_query,
        "processingTimeMs": millis(started),
    }))
}

/// Documents whose vectors lie nearest to those of a document.
pub fn similar(handle: &IndexHandle, query: &SimilarQuery) -> Result<Value, ResponseError> {
    let unknown = || UserError::InvalidSimilarEmbedder(query.embedder.clone());
    let semantic = Semantic::named(handle, &query.embedder, None, unknown)?;
    let started = Instant::now();
    let index = &handle.index;
    let txn = index.read_txn()?;
    let id = milli::documents::validate_document_id_value(query.id.clone())
        .map_err(|error| ResponseError::new(Code::InvalidSimilarId, format!("Invalid value at `.id`: {error}")))?;
    let Some(internal) = index.external_documents_ids().get(&txn, &id)? else {
        return Err(ResponseError::new(Code::NotFoundSimilarId, format!("Document `{id}` not found.")));
    };
    let mut search = milli::Similar::new(
        internal,
        query.offset,
        query.limit,
        index,
        &txn,
        semantic.name,
        semantic.embedder,
        semantic.quantized,
    );
    if let Some(filter) = &query.filter
        && let Some(filter) = parse_filter(filter, Code::InvalidSimilarFilter, handle.features())?
    {
        search.filter(filter);
    }
    if let Some(threshold) = query.ranking_score_threshold {
        search.ranking_score_threshold(threshold.0);
    }
    let result = search.execute().map_err(|error| filter_error(error, Code::InvalidSimilarFilter))?;
    let format = HitFormat {
        attributes_to_retrieve: query.attributes_to_retrieve.clone(),
        retrieve_vectors: query.retrieve_vectors,
        show_ranking_score: query.show_ranking_score,
        show_ranking_score_details: query.show_ranking_score_details,
        ..HitFormat::default()
    };
    let documents = result.documents_ids.iter().copied().zip(result.document_scores.iter().map(Vec::as_slice));
    let hits = make_hits(index, &txn, format, milli::MatchingWords::default(), documents)?;
    let total = (result.candidates.len() as usize).min(max_total_hits(handle, &txn)?);
    Ok(json!({
        "hits": hits,
        "id": id,
        "processingTimeMs": millis(started),
        "limit": query.limit,
        "offset": query.offset,
        "estimatedTotalHits": total,
    }))
}

/// Sets everything but what the answer looks like.
pub fn prepare<'t>(
    handle: &'t IndexHandle,
    txn: &'t RoTxn<'t>,
    query: &'t SearchQuery,
    kind: &Kind,
    budget: TimeBudget,
) -> Result<Prepared<'t>, ResponseError> {
    let mut search = handle.index.search(txn);
    search.time_budget(budget);
    if let Some(threshold) = query.ranking_score_threshold {
        search.ranking_score_threshold(threshold.0);
    }
    if let Some(distinct) = &query.distinct {
        search.distinct(distinct.clone());
    }
    match kind {
        Kind::Keyword => {
            if let Some(words) = &query.q {
                search.query(words);
            }
        }
        Kind::Semantic(semantic) => {
            let vector = match &query.vector {
                Some(vector) => vector.clone(),
                None => {
                    let words = query.q.as_deref().unwrap_or_default();
                    let deadline = Instant::now() + EMBED_WITHIN;
                    let embedded = semantic.embedder.embed_search(words, Some(deadline));
                    embedded.map_err(milli::vector::Error::from).map_err(milli::Error::from)?
                }
            };
            let embedder = Arc::clone(&semantic.embedder);
            search.semantic(semantic.name.clone(), embedder, semantic.quantized, Some(vector));
        }
        Kind::Hybrid(semantic, _) => {
            if let Some(words) = &query.q {
                search.query(words);
            }
            let embedder = Arc::clone(&semantic.embedder);
            search.semantic(semantic.name.clone(), embedder, semantic.quantized, query.vector.clone());
        }
    }
    if let Some(fields) = &query.attributes_to_search_on {
        search.searchable_attributes(fields);
    }
    search.terms_matching_strategy(query.matching_strategy.into());
    let max_total_hits = max_total_hits(handle, txn)?;
    search.exhaustive_number_hits(query.is_paged());
    let scored =
        query.show_ranking_score || query.show_ranking_score_details || query.ranking_score_threshold.is_some();
    search.scoring_strategy(if scored { ScoringStrategy::Detailed } else { ScoringStrategy::Skip });

    let (offset, limit) = if query.is_paged() {
        let size = query.hits_per_page.unwrap_or(DEFAULT_LIMIT);
        // Page 0 has no hits.
        query.page.unwrap_or(1).checked_sub(1).map_or((0, 0), |before| (size.saturating_mul(before), size))
    } else {
        (query.offset, query.limit)
    };
    let offset = offset.min(max_total_hits);
    search.offset(offset);
    search.limit(limit.min(max_total_hits - offset));

    if let Some(filter) = &query.filter
        && let Some(filter) = parse_filter(filter, Code::InvalidSearchFilter, handle.features())?
    {
        search.filter(filter);
    }
    if let Some(sort) = &query.sort {
        search.sort_criteria(parse_sort(sort)?);
    }
    if let Some(locales) = &query.locales {
        search.locales(locales.iter().map(|locale| locale.language()).collect());
    }
    Ok(Prepared { search, max_total_hits, offset })
}

/// Runs a prepared search; also how many hits meaning found, where meaning was searched.
pub fn execute(
    handle: &IndexHandle,
    kind: &Kind,
    search: &milli::Search<'_>,
) -> Result<(milli::SearchResult, Option<u32>), ResponseError> {
    let name = |error| in_index(error, &handle.uid);
    Ok(match kind {
        Kind::Keyword => (search.execute().map_err(name)?, None),
        Kind::Semantic(_) => {
            let result = search.execute().map_err(name)?;
            let count = u32::try_from(result.document_scores.len()).unwrap_or(u32::MAX);
            (result, Some(count))
        }
        Kind::Hybrid(_, ratio) => search.execute_hybrid(*ratio).map_err(name)?,
    })
}

/// A filter's expression, or the mistake in it under `code`.
pub fn parse_filter(filter: &Value, code: Code, features: Features) -> Result<Option<Filter<'_>>, ResponseError> {
    let parsed = Filter::from_json(filter).map_err(|error| match error {
        milli::Error::UserError(UserError::InvalidFilterExpression(expected, found)) => {
            let expected = expected.join(", ");
            let message = format!("Invalid syntax for the filter parameter: `expected {expected}, found: {found}`.");
            ResponseError::new(code, message)
        }
        other => ResponseError::new(code, other.to_string()),
    })?;
    if let Some(parsed) = &parsed
        && !features.contains_filter
        && let Some(token) = parsed.use_contains_operator()
    {
        let off = not_enabled("Using `CONTAINS` or `STARTS WITH` in a filter", "contains filter", 763);
        return Err(ResponseError::new(Code::FeatureNotEnabled, token.as_external_error(off).to_string()));
    }
    Ok(parsed)
}

pub fn parse_sort(sort: &[String]) -> Result<Vec<AscDesc>, ResponseError> {
    let parsed: Result<Vec<AscDesc>, _> = sort.iter().map(|criterion| AscDesc::from_str(criterion)).collect();
    parsed.map_err(|error| ResponseError::from(milli::Error::from(SortError::from(error))))
}

pub fn time_budget(handle: &IndexHandle, txn: &RoTxn<'_>) -> Result<TimeBudget, ResponseError> {
    Ok(match handle.index.search_cutoff(txn)? {
        Some(cutoff) => TimeBudget::new(Duration::from_millis(cutoff)),
        None => TimeBudget::default(),
    })
}

/// A mistake in a filter under `code`, everything else under its own.
pub fn filter_error(error: milli::Error, code: Code) -> ResponseError {
    match &error {
        milli::Error::UserError(UserError::InvalidFilter(_)) => ResponseError::new(code, error.to_string()),
        milli::Error::UserError(_) | milli::Error::InternalError(_) | milli::Error::IoError(_) => error.into(),
    }
}

pub fn millis(since: Instant) -> Value {
    json!(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
}

fn max_total_hits(handle: &IndexHandle, txn: &RoTxn<'_>) -> Result<usize, ResponseError> {
    Ok(handle.index.pagination_max_total_hits(txn)?.map_or(DEFAULT_MAX_TOTAL_HITS, |max| max as usize))
}

// === impl Kind ===

impl Kind {
    /// The order of these cases is the engine's, and matters.
    pub fn of(handle: &IndexHandle, query: &SearchQuery) -> Result<Self, ResponseError> {
        let words = query.q.as_deref();
        let vector = query.vector.as_deref().map(<[f32]>::len);
        if vector.is_none() && words.is_none_or(|words| words.trim().is_empty()) {
            return Ok(Self::Keyword);
        }
        let Some(Hybrid { semantic_ratio, embedder }) = &query.hybrid else {
            return match vector {
                None => Ok(Self::Keyword),
                Some(_) => Err(ResponseError::new(
                    Code::MissingSearchHybrid,
                    "Invalid request: missing `hybrid` parameter when `vector` is present.",
                )),
            };
        };
        let ratio = semantic_ratio.0;
        if ratio == 0.0 {
            return Ok(Self::Keyword);
        }
        let unknown = || UserError::InvalidSearchEmbedder(embedder.clone());
        let semantic = Semantic::named(handle, embedder, vector, unknown)?;
        Ok(if ratio == 1.0 || words.is_none() { Self::Semantic(semantic) } else { Self::Hybrid(semantic, ratio) })
    }
}

// === impl Semantic ===

impl Semantic {
    fn named(
        handle: &IndexHandle,
        name: &str,
        vector: Option<usize>,
        unknown: impl Fn() -> UserError,
    ) -> Result<Self, ResponseError> {
        let txn = handle.index.read_txn()?;
        let embedders = handle.embedders(handle.index.embedding_configs(&txn)?)?;
        let (embedder, _, quantized) = embedders.get(name).ok_or_else(unknown)?;
        let expected = embedder.dimensions();
        match vector {
            Some(found) if found != expected => Err(UserError::InvalidVectorDimensions { expected, found }.into()),
            Some(_) | None => Ok(Self { name: name.to_owned(), embedder, quantized }),
        }
    }
}
