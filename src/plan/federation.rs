//! Several searches answered as one list, as every node of a cover gets them.
//!
//! Each index is asked on its own, with the searches that concern it, so that its total and its facets are known apart
//! from those of the others; which documents come first among all is the merge's to say. What the engine checks over
//! all searches at once, one node checks.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::facet_rules::{FacetRules, is_pattern};
use super::window::{Paging, Window};

use super::Obstacle;
use super::by_frequency::ByFrequency;
use super::index_info::{FacetOrder, IndexInfo, Infos};
use super::known;
use super::node_request::NodeRequest;
use super::reserved;
use super::search::SearchPlan;
use super::search_body::{paging, sorted_field};

const PERFORMANCE: &str = "showPerformanceDetails";

/// A multi-search whose answers become one list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FederationPlan {
    pub paging: Paging,
    /// By uid, as the engine goes through them.
    pub indexes: Vec<IndexQueries>,
    /// `None` where each index shows facets of its own.
    pub merge_facets: Option<FacetUnion>,
    /// The attribute of whose values only the best hit of all searches is kept.
    pub distinct: Option<String>,
    /// The whole request without its page, where no single index can tell whether it is right.
    pub check: Option<NodeRequest>,
}

/// The searches of one index.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexQueries {
    pub index: String,
    /// By position.
    pub queries: Vec<FederatedQuery>,
    pub facets: Option<IndexFacets>,
    /// The primary key, where several nodes have to be asked for each search on its own: a node's common list says which
    /// search found a document best, and that is not enough where searches need merging by more than their scores.
    pub apart: Option<String>,
    /// An attribute that hits of several nodes are compared by and do not show.
    pub hidden: Option<String>,
}

/// One search of a federation, without page and facets of its own.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FederatedQuery {
    /// What the client reads as `queriesPosition`; of equal hits the lower goes first.
    pub position: u64,
    /// What its scores are multiplied by; 1 unless the client says otherwise.
    pub weight: f64,
    pub search: SearchPlan,
    /// Its place in the client's list.
    pub at: usize,
    /// How many rules compare its hits, neighbouring ones about words taken together.
    pub rules: usize,
}

/// What `facetsByIndex` asks of one index; a name `*` stands for all its facets.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexFacets {
    pub names: Vec<String>,
    pub rules: FacetRules,
    /// True if hits are left out for others, and each shows everything that facets are counted of. Example where not: `facetsByIndex`
    /// names `genre`, and only `id` is displayed. What is left cannot be counted by genre.
    #[serde(skip)]
    pub told_by_hits: bool,
}

/// How the facets of several indexes become one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FacetUnion {
    /// Of one facet; `None` for as many as there are.
    pub max_values: Option<u64>,
    /// By facet as the client names it; the others are ordered by value.
    pub order: BTreeMap<String, FacetOrder>,
    /// The orders set in each index, where the client chooses facets by patterns.
    #[serde(skip)]
    of_patterns: Option<BTreeMap<String, FacetOrder>>,
}

// === impl FederationPlan ===

impl FederationPlan {
    /// Of the body of a multi-search. [`Obstacle::Judge`] for all that the engine would refuse, unknown indexes too.
    pub fn new(body: &Map<String, Value>, infos: &Infos) -> Result<Self, Obstacle> {
        let federation = body.get("federation").and_then(Value::as_object).ok_or(Obstacle::Judge)?;
        let of_federation =
            ["limit", "offset", "page", "hitsPerPage", "facetsByIndex", "mergeFacets", "distinct", PERFORMANCE];
        known::check(federation, &of_federation)?;
        shows_performance(federation, infos)?;
        let mut facets = facets_by_index(federation)?;
        let merge_facets = match federation.get("mergeFacets") {
            None | Some(Value::Null) => None,
            Some(Value::Object(merge)) => Some(FacetUnion::new(merge)?),
            Some(_) => return Err(Obstacle::Judge),
        };

        let distinct = match federation.get("distinct") {
            None | Some(Value::Null) => None,
            Some(Value::String(field)) => Some(field.clone()),
            Some(_) => return Err(Obstacle::Judge),
        };

        let queries = body.get("queries").and_then(Value::as_array).ok_or(Obstacle::Judge)?;
        let mut moved = false;
        let mut by_index: BTreeMap<&str, Vec<FederatedQuery>> = BTreeMap::new();
        for (position, query) in queries.iter().enumerate() {
            let query = query.as_object().ok_or(Obstacle::Judge)?;
            let index = query.get("indexUid").and_then(Value::as_str).ok_or(Obstacle::Judge)?;
            let info = infos.get(index).ok_or(Obstacle::Judge)?;
            let query = FederatedQuery::new(position, query, distinct.as_deref(), info)?;
            moved |= query.position != position as u64;
            by_index.entry(index).or_default().push(query);
        }
        let mut indexes = Vec::with_capacity(by_index.len());
        let mut asked: Vec<(String, Vec<String>)> = Vec::new();
        for (index, queries) in by_index {
            let info = infos.get(index).ok_or(Obstacle::Judge)?;
            let names = facets.remove(index).flatten();
            asked.extend(names.iter().map(|names| (index.to_owned(), names.clone())));
            indexes.push(IndexQueries::new(info, queries, names)?);
        }
        let unused = !facets.is_empty();
        asked.extend(facets.into_iter().filter_map(|(index, names)| Some((index, names?))));
        let merge_facets = merge_facets.map(|merge| merge.ordered(&asked, infos)).transpose()?;

        // Not every version of the engine keeps one hit of each value in all searches.
        let judged = moved || unused || indexes.len() > 1 || distinct.is_some();
        let check = judged.then(|| check(body, federation));
        Ok(Self { paging: paging(federation)?, indexes, merge_facets, distinct, check })
    }

    /// The page, of a list that has no end.
    pub fn window(&self) -> Window {
        Window { paging: self.paging, max_total_hits: u64::MAX, states_all_hits: true, states_offset_asked: true }
    }

    /// What is the same for every page of this search.
    pub fn identity(&self) -> Vec<u8> {
        let mut identity = Vec::new();
        for query in self.indexes.iter().flat_map(|index| &index.queries) {
            identity.extend(query.search.identity());
            identity.extend(query.weight.to_bits().to_be_bytes());
        }
        identity
    }

    /// True if a search leaves out words by their frequency.
    pub fn leaves_words_out(&self) -> bool {
        let mut queries = self.indexes.iter().flat_map(|index| &index.queries);
        queries.any(|query| query.search.by_frequency != ByFrequency::No)
    }

    /// The same with up to `most` hits of each search, whatever their distinct values. `None` where a search cannot be asked
    /// so, because its distinct attribute is that of the settings.
    pub fn undistinguished(&self, most: u64) -> Option<Self> {
        let mut plan = self.clone();
        plan.paging = self.paging.up_to(most);
        for query in plan.indexes.iter_mut().flat_map(|index| &mut index.queries) {
            if query.search.distinct.is_some() {
                query.search = query.search.undistinguished()?;
            }
        }
        Some(plan)
    }
}

/// The request as it came but for its page, so that a node can judge it at little cost.
fn check(body: &Map<String, Value>, federation: &Map<String, Value>) -> NodeRequest {
    let mut federation = federation.clone();
    federation.retain(|name, _| !["offset", "page", "hitsPerPage"].contains(&name.as_str()));
    federation.insert("limit".into(), 0.into());
    let mut body = body.clone();
    body.insert("federation".into(), federation.into());
    NodeRequest::post("/multi-search", &body)
}

/// How long a search took the gateway says itself; an engine that does not know the field refuses it.
fn shows_performance(federation: &Map<String, Value>, infos: &Infos) -> Result<(), Obstacle> {
    match federation.get(PERFORMANCE) {
        None => Ok(()),
        Some(Value::Bool(_)) if infos.values().all(|info| info.searches_from_the_first) => Ok(()),
        Some(_) => Err(Obstacle::Judge),
    }
}

fn facets_by_index(federation: &Map<String, Value>) -> Result<BTreeMap<String, Option<Vec<String>>>, Obstacle> {
    let Some(facets) = federation.get("facetsByIndex") else { return Ok(BTreeMap::new()) };
    let facets = facets.as_object().ok_or(Obstacle::Judge)?;
    facets.iter().map(|(index, names)| Ok((index.clone(), facet_names(names)?))).collect()
}

fn facet_names(names: &Value) -> Result<Option<Vec<String>>, Obstacle> {
    let names = match names {
        Value::Null => return Ok(None),
        Value::Array(names) => names,
        _ => return Err(Obstacle::Judge),
    };
    let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    let names = names.ok_or(Obstacle::Judge)?;
    reserved::check_search(&Map::from_iter([("facets".to_owned(), names.clone().into())]))?;
    Ok(Some(names))
}

// === impl IndexQueries ===

impl IndexQueries {
    fn new(info: &IndexInfo, mut queries: Vec<FederatedQuery>, facets: Option<Vec<String>>) -> Result<Self, Obstacle> {
        // Nodes break ties by the order in which they are asked.
        queries.sort_by_key(|query| query.position);
        let hidden = queries.iter().find_map(FederatedQuery::hidden);
        let needed = queries.iter().any(FederatedQuery::needs_own_list);
        let key = info.primary_key.as_deref();
        // Nodes would let the rule that breaks ties compare hits of different searches, which one node does not have.
        let better = info.breaks_ties && key.is_some_and(|key| info.shows(key));
        let key = key.filter(|_| queries.len() > 1 && (needed || better));
        Ok(Self {
            index: info.uid.clone(),
            hidden: hidden.or_else(|| key.filter(|key| !info.shows(key)).map(str::to_owned)),
            // An index without a primary key has no documents yet.
            apart: key.map(str::to_owned),
            facets: facets.map(|names| IndexFacets::new(names, info, &mut queries)),
            queries,
        })
    }

    /// True if one node with all documents would leave out some on its way to the end of the page, so that what it says
    /// of all depends on how far it went.
    pub fn leaves_out(&self) -> bool {
        self.has_threshold() || self.has_distinct()
    }

    /// True if one of its searches leaves out hits for their score.
    pub fn has_threshold(&self) -> bool {
        self.queries.iter().any(|query| query.search.threshold.is_some())
    }

    /// True if even a node that has all documents may leave out others than one node does by the end of the page: where ties are broken it
    /// goes hit by hit, and one node takes all that tie at once.
    pub fn goes_hit_by_hit(&self) -> bool {
        self.queries.iter().any(|query| query.search.distinct.is_some() && query.search.breaks_ties)
    }

    /// True if one of its searches keeps only the best hit of each value.
    pub fn has_distinct(&self) -> bool {
        self.queries.iter().any(|query| query.search.distinct.is_some())
    }
}

// === impl FederatedQuery ===

impl FederatedQuery {
    /// `distinct` is the attribute by which the hits of all searches are told apart.
    fn new(at: usize, query: &Map<String, Value>, distinct: Option<&str>, info: &IndexInfo) -> Result<Self, Obstacle> {
        let mut body = query.clone();
        body.remove("indexUid");
        if let Some(distinct) = distinct
            && body.insert("distinct".into(), distinct.into()).is_some_and(|own| !own.is_null())
        {
            return Err(Obstacle::Judge);
        }
        let (mut position, mut weight) = (at as u64, 1.0);
        match body.remove("federationOptions") {
            None | Some(Value::Null) => {}
            Some(Value::Object(options)) => {
                for (name, value) in &options {
                    match (name.as_str(), value) {
                        ("weight", value) => weight = value.as_f64().filter(|w| *w >= 0.0).ok_or(Obstacle::Judge)?,
                        ("queryPosition" | "remote", Value::Null) => {}
                        ("queryPosition", value) => position = value.as_u64().ok_or(Obstacle::Judge)?,
                        (name, _) => return Err(known::unserved(name)),
                    }
                }
            }
            Some(_) => return Err(Obstacle::Judge),
        }
        for name in ["offset", "limit", "page", "hitsPerPage"] {
            match body.remove(name) {
                None | Some(Value::Null) => {}
                Some(_) => return Err(Obstacle::Judge),
            }
        }
        match body.remove("facets") {
            None | Some(Value::Null) => {}
            Some(Value::Array(facets)) if facets.is_empty() => {}
            Some(_) => return Err(Obstacle::Judge),
        }
        let search = SearchPlan::new(info, body)?;
        Ok(Self { position, weight, at, rules: count_rules(info, &search), search })
    }

    /// True where one node's order, or its choice among hits, does not follow from weighted scores alone.
    fn needs_own_list(&self) -> bool {
        let sort = self.search.body.get("sort").and_then(Value::as_array);
        let mut sort = sort.into_iter().flatten().filter_map(Value::as_str);
        // The engine merges the nearest and the farthest in one direction, whichever was asked for.
        self.search.distinct.is_some() || self.search.mix.is_of_both() || sort.any(|rule| rule.contains("_geoPoint("))
    }

    /// The first attribute that hits are ordered or told apart by and that the engine would not show.
    fn hidden(&self) -> Option<String> {
        let unseen = self.search.sorted_unseen.clone();
        unseen.or_else(|| self.search.distinct.clone().filter(|_| !self.search.comparable))
    }
}

/// How many rules the engine compares hits of `search` by.
fn count_rules(info: &IndexInfo, search: &SearchPlan) -> usize {
    let sorts = search.body.get("sort").and_then(Value::as_array).map_or(0, Vec::len);
    let ranks = search.mix.is_of_both() || !search.has_no_words();
    let (mut count, mut joins) = (0, false);
    for rule in &info.ranking_rules {
        match (rule.as_str(), sorted_field(rule)) {
            ("sort", _) if sorts == 0 => {}
            ("sort", _) => (count, joins) = (count + sorts, false),
            (_, Some(_)) => (count, joins) = (count + 1, false),
            (_, None) if ranks && !joins => (count, joins) = (count + 1, true),
            (_, None) => {}
        }
    }
    count
}

// === impl IndexFacets ===

impl IndexFacets {
    /// Of the hits of `queries`, which show more where that is needed.
    fn new(names: Vec<String>, info: &IndexInfo, queries: &mut [FederatedQuery]) -> Self {
        // The total of a federation is not capped.
        let rules = FacetRules { max_total_hits: u64::MAX, ..FacetRules::of_named(info, &names) };
        let distinct = queries.iter().any(|query| query.search.distinct.is_some());
        let told_by_hits = distinct && queries.iter_mut().all(|query| query.search.show_facets(info, &names));
        Self { names, rules, told_by_hits }
    }
}

// === impl FacetUnion ===

impl FacetUnion {
    fn new(merge: &Map<String, Value>) -> Result<Self, Obstacle> {
        let mut union = Self::default();
        for (name, value) in merge {
            match (name.as_str(), value) {
                ("maxValuesPerFacet", Value::Null) => {}
                ("maxValuesPerFacet", value) => union.max_values = Some(value.as_u64().ok_or(Obstacle::Judge)?),
                _ => return Err(Obstacle::Judge),
            }
        }
        Ok(union)
    }

    /// With the order of each facet in `asked`; where indexes disagree, the engine has words for that.
    fn ordered(mut self, asked: &[(String, Vec<String>)], infos: &Infos) -> Result<Self, Obstacle> {
        for (index, names) in asked {
            // That an index does not exist is found by the check.
            let Some(info) = infos.get(index) else { continue };
            if info.facets_by_pattern && names.iter().any(|name| is_pattern(name)) {
                let orders = self.of_patterns.get_or_insert_with(|| info.facet_order.clone());
                // Whether a pattern fits a facet on whose order they disagree only documents tell.
                if *orders != info.facet_order {
                    return Err(Obstacle::Judge);
                }
            }
            for name in names {
                let order = info.order_of(name);
                if *self.order.entry(name.clone()).or_insert(order) != order {
                    return Err(Obstacle::Judge);
                }
            }
        }
        Ok(self)
    }

    /// In which order the values of `facet` stand.
    pub fn order_of(&self, facet: &str) -> FacetOrder {
        let set = || self.of_patterns.as_ref().and_then(|orders| orders.get(facet).or_else(|| orders.get("*")));
        self.order.get(facet).or_else(set).copied().unwrap_or_default()
    }
}
