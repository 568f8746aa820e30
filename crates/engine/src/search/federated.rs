//! Several searches answered as one list, ordered by weighted scores.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use milli::MatcherBuilder;
use milli::heed::RoTxn;
use milli::score_details::{ScoreDetails, ScoringStrategy, WeightedScoreValue};
use milli_core as milli;
use roaring::RoaringBitmap;
use serde_json::{Map, Value, json};

use super::facets::{self, FacetOrders, Facets};
use super::hits::{FacetValue, HitFormat, HitMaker, Words, tokenizer};
use super::multi::{inside, not_in_the_path};
use super::params::{Federation, IndexedQuery, MergeFacets, SearchQuery, Weight};
use super::ranked::{Ranked, merged};
use super::rules::{Asked, Rules};
use super::run::{Kind, execute, millis, parse_sort, prepare, time_budget};
use crate::engine::{Engine, IndexHandle};
use crate::error::{Code, ResponseError};
use crate::settings::not_enabled;

/// One query of a federation.
struct Part {
    position: usize,
    weight: Weight,
    query: SearchQuery,
}

/// The answer of one index.
struct IndexAnswer {
    hits: Vec<Ranked<Hit>>,
    candidates: RoaringBitmap,
    facets: Option<Facets>,
    /// True once a better hit of another index is kept in the place of one of this.
    displaced: bool,
}

struct Hit {
    document: u32,
    shown: Value,
    /// By which it is told from others, if they are to be.
    values: HashSet<FacetValue>,
}

/// What the indexes of a federation share while they are searched.
struct Federated {
    needed: usize,
    /// Pages state how many hits there are, so that all of them are counted.
    exhaustive: bool,
    merge: Option<MergeFacets>,
    distinct: Option<String>,
    orders: FacetOrders,
    /// The rules that constrain most so far.
    rules: Option<Rules>,
    semantic: bool,
}

pub fn search(engine: &Engine, queries: Vec<IndexedQuery>, federation: &Federation) -> Result<Value, ResponseError> {
    let started = Instant::now();
    let mut by_index: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    for (position, query) in queries.into_iter().enumerate() {
        let part = part_of(engine, position, &query, federation.distinct.as_deref())?;
        by_index.entry(query.index_uid.0).or_default().push(part);
    }
    let (skip, take) = federation.window();
    let mut state = Federated {
        needed: skip.saturating_add(take),
        exhaustive: federation.is_paged(),
        merge: federation.merge_facets,
        distinct: federation.distinct.clone(),
        orders: FacetOrders::new(),
        rules: None,
        semantic: false,
    };
    let wanted: BTreeMap<String, Option<Vec<String>>> =
        federation.facets_by_index.iter().map(|(name, facets)| (name.0.clone(), facets.clone())).collect();
    let mut answers: Vec<(String, IndexAnswer)> = Vec::new();
    let mut lists = Vec::new();
    for (uid, parts) in by_index {
        let wanted = wanted.get(&uid).and_then(Option::as_deref);
        let mut answer = state.search_index(engine, &uid, &parts, wanted)?;
        let at = answers.len();
        let hits = std::mem::take(&mut answer.hits);
        lists.push(hits.into_iter().map(|ranked| ranked.map(|hit| (at, hit))).collect());
        answers.push((uid, answer));
    }
    let unused = wanted.iter().filter(|(uid, _)| answers.iter().all(|(searched, _)| searched != *uid));
    state.check_unused_facets(engine, unused)?;

    let page = state.page(lists, &mut answers).into_iter().skip(skip).take(take).collect::<Vec<_>>();
    for (uid, answer) in answers.iter_mut().filter(|(_, answer)| answer.displaced) {
        let Some(wanted) = wanted.get(uid).and_then(Option::as_deref) else { continue };
        let index = &engine.index(uid)?.index;
        let txn = index.read_txn()?;
        let counted = facets::count(wanted, index, &txn, answer.candidates.clone());
        answer.facets = Some(counted.map_err(facets::federated_error)?);
    }
    let total: u64 = answers.iter().map(|(_, answer)| answer.candidates.len()).sum();
    let counted: Vec<(String, Facets)> =
        answers.into_iter().filter_map(|(uid, answer)| Some((uid, answer.facets?))).collect();

    let mut answer = Map::new();
    let by_meaning =
        |hit: &&Ranked<(usize, Hit)>| hit.values.iter().any(|value| matches!(value, WeightedScoreValue::VectorSort(_)));
    let semantic_hits = page.iter().filter(by_meaning).count();
    answer.insert("hits".to_owned(), page.into_iter().map(|hit| hit.item.1.shown).collect());
    answer.insert("processingTimeMs".to_owned(), millis(started));
    if federation.is_paged() {
        let size = federation.page_size() as u64;
        answer.insert("hitsPerPage".to_owned(), json!(size));
        answer.insert("page".to_owned(), json!(federation.page.unwrap_or(1)));
        // No page size, no pages.
        answer.insert("totalPages".to_owned(), json!(if size == 0 { 0 } else { total.div_ceil(size) }));
        answer.insert("totalHits".to_owned(), json!(total));
    } else {
        answer.insert("limit".to_owned(), json!(federation.limit));
        answer.insert("offset".to_owned(), json!(federation.offset));
        answer.insert("estimatedTotalHits".to_owned(), json!(total));
    }
    if state.semantic {
        answer.insert("semanticHitCount".to_owned(), json!(semantic_hits));
    }
    match state.merge {
        Some(_) if counted.is_empty() => {}
        Some(merge) => {
            let all = facets::merged(counted, merge, &state.orders);
            answer.insert("facetDistribution".to_owned(), all.distribution_json());
            answer.insert("facetStats".to_owned(), all.stats_json());
        }
        None if counted.is_empty() => {}
        None => {
            let shown = counted.iter().map(|(uid, facets)| {
                let facets = json!({ "distribution": facets.distribution_json(), "stats": facets.stats_json() });
                (uid.clone(), facets)
            });
            answer.insert("facetsByIndex".to_owned(), Value::Object(shown.collect()));
        }
    }
    Ok(Value::Object(answer))
}

/// Refuses what only a search of its own can have.
fn part_of(
    engine: &Engine,
    position: usize,
    query: &IndexedQuery,
    distinct: Option<&str>,
) -> Result<Part, ResponseError> {
    let uid = &query.index_uid.0;
    if let Some(name) = query.page_parameter() {
        return Err(ResponseError::new(
            Code::InvalidMultiSearchQueryPagination,
            format!(
                "Inside `.queries[{position}]`: Using pagination options is not allowed in federated queries.\n - \
                 Hint: remove `{name}` from query #{position} or remove `federation` from the request\n - Hint: pass \
                 `federation.limit` and `federation.offset` for pagination in federated search"
            ),
        ));
    }
    if let Some(facets) = query.facets() {
        return Err(ResponseError::new(
            Code::InvalidMultiSearchQueryFacets,
            format!(
                "Inside `.queries[{position}]`: Using facet options is not allowed in federated queries.\n - Hint: \
                 remove `facets` from query #{position} or remove `federation` from the request\n - Hint: pass \
                 `federation.facetsByIndex.{uid}: {facets:?}` for facets in federated search"
            ),
        ));
    }
    if distinct.is_some() && query.has_distinct() {
        return Err(ResponseError::new(
            Code::InvalidMultiSearchDistinct,
            format!(
                "Inside `.queries[{position}]`: Using `distinct` options is not allowed in federated queries when it also \
                 appears in `.federation.distinct`.\n - Hint: remove `distinct` from the query or remove `federation` \
                 from the request\n  - Note: `distinct` at the query level is discouraged in federated search."
            ),
        ));
    }
    let options = query.federation_options.as_ref();
    if let Some(remote) = options.and_then(|options| options.remote.as_ref()) {
        if !engine.features().network {
            return Err(not_enabled("Performing a remote federated search", "network", 805));
        }
        return Err(ResponseError::new(
            Code::InvalidMultiSearchRemote,
            format!("Invalid `queries[{position}].federation_options.remote`: remote `{remote}` is not registered"),
        ));
    }
    let query_position = options.and_then(|options| options.query_position);
    if query_position.is_some() && !engine.features().network {
        return Err(not_enabled("Using `federationOptions.queryPosition`", "network", 805));
    }
    let mut search = query.to_search();
    search.distinct = distinct.map(str::to_owned).or(search.distinct);
    Ok(Part {
        position: query_position.unwrap_or(position),
        weight: options.map(|options| options.weight).unwrap_or_default(),
        query: search,
    })
}

// === impl Federated ===

impl Federated {
    fn search_index(
        &mut self,
        engine: &Engine,
        uid: &str,
        parts: &[Part],
        wanted: Option<&[String]>,
    ) -> Result<IndexAnswer, ResponseError> {
        let first = parts.first().map(|part| part.position);
        let handle = engine.index(uid).map_err(|error| {
            let error = not_in_the_path(error);
            match first {
                Some(position) => inside(error, position),
                None => error,
            }
        })?;
        let index = &handle.index;
        let txn = index.read_txn()?;
        let note =
            first.map_or(String::new(), |position| format!("\n - Note: index `{uid}` used in `.queries[{position}]`"));
        let in_facets = |mut error: ResponseError| {
            error.message = format!("Inside `.federation.facetsByIndex.{uid}`: {}{note}", error.message);
            error
        };
        self.check_order(&handle, &txn, wanted).map_err(in_facets)?;

        let words = Words::of(index, &txn)?;
        let (dictionary, separators) = words.borrowed();
        let mut candidates = RoaringBitmap::new();
        let mut makers: Vec<HitMaker<'_>> = Vec::new();
        let mut lists: Vec<Vec<Ranked<(usize, u32, Vec<ScoreDetails>)>>> = Vec::new();
        for part in parts {
            let result = self.run_part(&handle, &txn, part).map_err(|error| inside(error, part.position))?;
            candidates |= result.candidates;
            let matcher =
                MatcherBuilder::new(result.matching_words, tokenizer(dictionary.as_deref(), separators.as_deref()));
            let maker = makers.len();
            makers.push(HitMaker::new(index, &txn, HitFormat::of(&part.query), matcher)?);
            let weight = part.weight.0;
            let found = result.documents_ids.into_iter().zip(result.document_scores);
            lists.push(
                found
                    .map(|(id, scores)| Ranked {
                        values: ScoreDetails::weighted_score_values(scores.iter(), weight).collect(),
                        global: ScoreDetails::global_score(scores.iter()) * weight,
                        position: part.position,
                        item: (maker, id, scores),
                    })
                    .collect(),
            );
        }

        let mut seen = HashSet::new();
        let mut met = HashSet::new();
        let mut hits = Vec::new();
        for ranked in merged(lists, usize::MAX) {
            let (maker, id, ref scores) = ranked.item;
            if hits.len() >= self.needed {
                break;
            }
            if !seen.insert(id) {
                continue;
            }
            let values = match &self.distinct {
                Some(attribute) => makers[maker].distinct_values(id, attribute)?,
                None => HashSet::new(),
            };
            if !values.is_disjoint(&met) {
                candidates.remove(id);
                continue;
            }
            met.extend(values.iter().cloned());
            let mut shown = makers[maker].make(id, scores)?;
            insert_federation(&mut shown, uid, ranked.position, ranked.global);
            hits.push(ranked.map(|_| Hit { document: id, shown: Value::Object(shown), values }));
        }
        let facets = match wanted {
            Some(wanted) => {
                let counted = facets::count(wanted, index, &txn, candidates.clone());
                Some(counted.map_err(|error| in_facets(facets::federated_error(error)))?)
            }
            None => None,
        };
        Ok(IndexAnswer { hits, candidates, facets, displaced: false })
    }

    /// The best hits of all indexes. What they leave out for a better hit of another index is no longer among the `answers`'
    /// candidates.
    fn page(
        &self,
        lists: Vec<Vec<Ranked<(usize, Hit)>>>,
        answers: &mut [(String, IndexAnswer)],
    ) -> Vec<Ranked<(usize, Hit)>> {
        if self.distinct.is_none() {
            return merged(lists, self.needed);
        }
        let mut met = HashSet::new();
        let mut hits = merged(lists, usize::MAX);
        hits.retain(|ranked| {
            let (at, hit) = &ranked.item;
            let is_new = hit.values.is_disjoint(&met);
            met.extend(hit.values.iter().filter(|_| is_new).cloned());
            if !is_new {
                let answer = &mut answers[*at].1;
                answer.candidates.remove(hit.document);
                answer.displaced = true;
            }
            is_new
        });
        hits
    }

    fn run_part(
        &mut self,
        handle: &IndexHandle,
        txn: &RoTxn<'_>,
        part: &Part,
    ) -> Result<milli::SearchResult, ResponseError> {
        let query = &part.query;
        let kind = Kind::of(handle, query)?;
        let asked = match (&kind, query.q.as_deref()) {
            (Kind::Semantic(_), _) => Asked::Meaning,
            (Kind::Keyword | Kind::Hybrid(..), Some(words)) if !words.is_empty() => {
                Asked::Words(query.matching_strategy)
            }
            (Kind::Keyword | Kind::Hybrid(..), Some(_) | None) => Asked::Nothing,
        };
        let sort = query.sort.as_deref().map(parse_sort).transpose()?;
        let criteria = handle.index.criteria(txn)?;
        let rules = Rules::new(&criteria, sort.as_deref(), asked, part.position, &handle.uid);
        match &self.rules {
            Some(previous) => {
                rules.check(previous)?;
                if previous.count() <= rules.count() {
                    self.rules = Some(rules);
                }
            }
            None => self.rules = Some(rules),
        }
        match kind {
            Kind::Keyword => {}
            Kind::Semantic(_) | Kind::Hybrid(..) => self.semantic = true,
        }
        let mut prepared = prepare(handle, txn, query, &kind, time_budget(handle, txn)?)?;
        prepared.search.scoring_strategy(ScoringStrategy::Detailed);
        prepared.search.exhaustive_number_hits(self.exhaustive);
        prepared.search.offset(0);
        prepared.search.limit(self.needed);
        Ok(execute(handle, &kind, &prepared.search)?.0)
    }

    /// Facets can be merged only where all their indexes order them alike.
    fn check_order(
        &mut self,
        handle: &IndexHandle,
        txn: &RoTxn<'_>,
        wanted: Option<&[String]>,
    ) -> Result<(), ResponseError> {
        let (Some(_), Some(wanted)) = (self.merge, wanted) else { return Ok(()) };
        let orders = handle.index.sort_facet_values_by(txn)?;
        for facet in wanted {
            let order = orders.get(facet);
            let (first, first_order) = self.orders.entry(facet.clone()).or_insert_with(|| (handle.uid.clone(), order));
            if *first_order != order {
                let uid = &handle.uid;
                return Err(ResponseError::new(
                    Code::InvalidMultiSearchFacetOrder,
                    format!(
                        "Inconsistent order for values in facet `{facet}`: index `{first}` orders {first_order}, but \
                         index `{uid}` orders {order}.\n - Hint: Remove `federation.mergeFacets` or change \
                         `faceting.sortFacetValuesBy` to be consistent in settings."
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Facets of indexes that no query searches are not shown, but must still make sense.
    fn check_unused_facets<'u>(
        &mut self,
        engine: &Engine,
        unused: impl Iterator<Item = (&'u String, &'u Option<Vec<String>>)>,
    ) -> Result<(), ResponseError> {
        for (uid, wanted) in unused {
            let in_facets = |mut error: ResponseError| {
                error.message = format!(
                    "Inside `.federation.facetsByIndex.{uid}`: {}\n - Note: index `{uid}` is not used in queries",
                    error.message
                );
                error
            };
            let handle = engine.index(uid).map_err(|error| in_facets(not_in_the_path(error)))?;
            let txn = handle.index.read_txn()?;
            self.check_order(&handle, &txn, wanted.as_deref()).map_err(in_facets)?;
            if let Some(wanted) = wanted {
                facets::count(wanted, &handle.index, &txn, RoaringBitmap::new())
                    .map_err(|error| in_facets(facets::federated_error(error)))?;
            }
        }
        Ok(())
    }
}

/// Adds `_federation` behind the document's own fields, before what the search adds.
fn insert_federation(hit: &mut Map<String, Value>, uid: &str, position: usize, score: f64) {
    let federation = json!({ "indexUid": uid, "queriesPosition": position, "weightedRankingScore": score });
    let mut added = Map::new();
    for name in ["_formatted", "_matchesPosition", "_rankingScore", "_rankingScoreDetails"] {
        if let Some(value) = hit.shift_remove(name) {
            added.insert(name.to_owned(), value);
        }
    }
    hit.insert("_federation".to_owned(), federation);
    hit.extend(added);
}
