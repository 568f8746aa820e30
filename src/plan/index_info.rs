//! What planning and merging need to know of an index: the part of its settings that decides about order and limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pins::Pins;
use super::search_body::is_at_or_below;
use super::shown::KeyPlace;
use crate::placement::joins::Key;
use crate::placement::written::{WRITTEN_FIELD, WRITTEN_RULE};
use crate::split::geo::GEO_FIELD;
use crate::split::rules::DocumentRules;
use crate::split::vectors::{Embedder, Source};
use crate::split::words::WordRules;

/// The engine's own `searchCutoffMs`.
const SEARCH_CUTOFF: u64 = 1500;

/// What is known of the indexes that a request names; one that does not exist is absent.
pub type Infos = BTreeMap<String, Arc<IndexInfo>>;

/// How the values of a facet are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FacetOrder {
    #[default]
    Alpha,
    Count,
}

/// Which relevancy rules make the score of a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ScoredBy {
    /// Those before the first rule that sorts between them, as in older engines.
    #[default]
    First,
    /// All of them; a vector alone, where there is one.
    All,
}

/// Settings of an index, as far as reads depend on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexInfo {
    pub uid: String,
    pub primary_key: Option<String>,
    /// How many hits can be reached by any page.
    pub max_total_hits: usize,
    /// True if the engine is known to state totals beyond that, too. Example: 1,500 documents match, and `maxTotalHits` is 1,000. Such an
    /// engine states 1,500, an older one 1,000.
    #[serde(skip)]
    pub states_all_hits: bool,
    /// True if the engine is known to state an offset beyond that as it was asked for. Example: asked for `offset: 5000`, such an engine
    /// states 5,000, an older one the 1,000 of `maxTotalHits`.
    #[serde(skip)]
    pub states_offset_asked: bool,
    /// What the scores of hits come from.
    #[serde(skip)]
    pub scored_by: ScoredBy,
    /// True if the engine looks at hits from the first, whatever the page. Example under `distinct: "maker"`: `offset: 3`, and three films
    /// of one maker match. Such an engine looks at them, and says that it found one; an older one looks at none, and says three.
    #[serde(skip)]
    pub searches_from_the_first: bool,
    /// True if a page states how many hits there are above a threshold, also where it is full. Example: `page: 1`, `hitsPerPage: 2`, five
    /// hits, of which three are above. `totalHits` is 3; an older engine stops when the page is full, and says 5.
    #[serde(skip)]
    pub counts_pages_whole: bool,
    /// True if facets are chosen by patterns, each in the order that is set for it. Example: `sortFacetValuesBy` is `count` for `genre`, and
    /// `facets` is `["*"]`. Such an engine lists genres by count; an older one, which takes no pattern but `*`, as is set for `*`.
    #[serde(skip)]
    pub facets_by_pattern: bool,
    /// True if a hybrid search with a vector and blank words is one by the vector alone. Example: `q: " "` and a vector. An older engine
    /// mixes what the vector finds with what no words find, which is everything.
    #[serde(skip)]
    pub blank_words_are_none: bool,
    pub max_values_per_facet: usize,
    /// By facet; the entry `*` holds for those not named.
    pub facet_order: BTreeMap<String, FacetOrder>,
    pub distinct: Option<String>,
    /// True if a filter can name the distinct attribute. Example where not: `distinctAttribute: "sku"`, and `filterableAttributes:
    /// ["price"]`. How many documents have one of some values only documents tell.
    #[serde(skip)]
    pub filters_distinct: bool,
    /// `None` when every attribute is displayed.
    pub displayed: Option<Vec<String>>,
    pub ranking_rules: Vec<String>,
    /// True when ties stand in the order in which documents were written. Example: film a was written before film b, and no rule tells
    /// them apart. Every node lists a before b.
    pub breaks_ties: bool,
    /// From how many letters on a word may have one typo, and two; `None` where none may have any.
    #[serde(skip)]
    pub typos_from: Option<(usize, usize)>,
    #[serde(skip)]
    pub stop_words: Vec<String>,
    /// True if words end where letters and digits do, whatever the language. Example: `wi-fi` is two words. With `-` among the
    /// `nonSeparatorTokens` it is one, and this is false.
    #[serde(skip)]
    pub splits_words_plainly: bool,
    /// True if the last word of a query is looked up as the beginning of others, too. Example: `par` finds `paris`.
    #[serde(skip)]
    pub looks_up_beginnings: bool,
    /// After how many milliseconds a node answers with what it has found by then, and does not say so.
    #[serde(skip)]
    pub search_cutoff: u64,
    /// What its documents must be. No read asks.
    #[serde(skip)]
    pub rules: DocumentRules,
    /// Where words are found, and what is one. No read asks.
    #[serde(skip)]
    pub words: WordRules,
    /// Where documents show its primary key, if not where nodes show it.
    #[serde(skip)]
    pub key_place: Option<KeyPlace>,
    /// What dynamic search rules may pin in it.
    #[serde(skip)]
    pub pins: Pins,
    /// The fields that hold ids of other indexes' documents, in the order of the settings; empty while the feature is off.
    #[serde(skip)]
    pub joins: Vec<Key>,
}

// === impl IndexInfo ===

impl IndexInfo {
    /// Of an index with default settings.
    pub fn new(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            primary_key: None,
            max_total_hits: 1000,
            states_all_hits: false,
            states_offset_asked: false,
            scored_by: ScoredBy::default(),
            searches_from_the_first: false,
            counts_pages_whole: false,
            facets_by_pattern: false,
            blank_words_are_none: false,
            max_values_per_facet: 100,
            facet_order: BTreeMap::new(),
            distinct: None,
            filters_distinct: true,
            displayed: None,
            ranking_rules: ["words", "typo", "proximity", "attribute", "sort", "exactness"].map(str::to_owned).to_vec(),
            breaks_ties: false,
            typos_from: Some((5, 9)),
            stop_words: Vec::new(),
            splits_words_plainly: true,
            looks_up_beginnings: true,
            search_cutoff: SEARCH_CUTOFF,
            rules: DocumentRules::default(),
            words: WordRules::default(),
            key_place: None,
            pins: Pins::default(),
            joins: Vec::new(),
        }
    }

    /// Reads the answer of `GET /indexes/{uid}/settings`. What is missing or has another shape keeps its default,
    /// because a newer engine's settings must not stop searches.
    pub fn from_settings(uid: &str, primary_key: Option<String>, settings: &Value) -> Self {
        let mut info = Self { primary_key, ..Self::new(uid) };
        if let Some(max) = settings.pointer("/pagination/maxTotalHits").and_then(Value::as_u64) {
            info.max_total_hits = usize::try_from(max).unwrap_or(usize::MAX);
        }
        if let Some(max) = settings.pointer("/faceting/maxValuesPerFacet").and_then(Value::as_u64) {
            info.max_values_per_facet = usize::try_from(max).unwrap_or(usize::MAX);
        }
        if let Some(orders) = settings.pointer("/faceting/sortFacetValuesBy").and_then(Value::as_object) {
            for (facet, order) in orders {
                let order = if order.as_str() == Some("count") { FacetOrder::Count } else { FacetOrder::Alpha };
                info.facet_order.insert(facet.clone(), order);
            }
        }
        info.distinct = settings.get("distinctAttribute").and_then(Value::as_str).map(str::to_owned);
        info.filters_distinct = info.distinct.as_deref().is_none_or(|field| is_filterable(settings, field));
        if let Some(mut displayed) = strings(settings.get("displayedAttributes")) {
            displayed.retain(|name| name != WRITTEN_FIELD);
            info.displayed = (!displayed.iter().any(|name| name == "*")).then_some(displayed);
        }
        if let Some(mut rules) = strings(settings.get("rankingRules")) {
            info.breaks_ties = rules.iter().any(|rule| rule == WRITTEN_RULE);
            rules.retain(|rule| rule != WRITTEN_RULE);
            info.ranking_rules = rules;
        }
        let size = |name, default| {
            let size = settings.pointer(&format!("/typoTolerance/minWordSizeForTypos/{name}")).and_then(Value::as_u64);
            size.and_then(|size| usize::try_from(size).ok()).unwrap_or(default)
        };
        let tolerant = settings.pointer("/typoTolerance/enabled").and_then(Value::as_bool) != Some(false);
        info.typos_from = tolerant.then(|| (size("oneTypo", 5), size("twoTypos", 9)));
        info.stop_words = strings(settings.get("stopWords")).unwrap_or_default();
        info.splits_words_plainly = ["nonSeparatorTokens", "separatorTokens", "dictionary", "localizedAttributes"]
            .iter()
            .all(|list| settings.get(list).and_then(Value::as_array).is_none_or(Vec::is_empty));
        info.search_cutoff = settings.get("searchCutoffMs").and_then(Value::as_u64).unwrap_or(SEARCH_CUTOFF);
        info.looks_up_beginnings = settings.get("prefixSearch").and_then(Value::as_str) != Some("disabled");
        let names_geo = |list: &str| {
            let names = settings.get(list).and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|name| name == GEO_FIELD))
        };
        info.rules = DocumentRules {
            geo: names_geo("sortableAttributes") || names_geo("filterableAttributes"),
            embedders: Embedder::of_settings(settings),
        };
        info.words = word_rules(settings);
        info.joins = Key::of_settings(settings);
        info
    }

    /// Where the vectors of its embedder of this name come from, if it has one.
    pub fn source_of(&self, embedder: &str) -> Option<Source> {
        self.rules.embedders.iter().find(|is| is.name == embedder).map(|is| is.source)
    }

    /// Its own order, else that of `*`, else by value.
    pub fn order_of(&self, facet: &str) -> FacetOrder {
        self.facet_order.get(facet).or_else(|| self.facet_order.get("*")).copied().unwrap_or_default()
    }

    /// How many typos a word of so many letters may have.
    pub fn typos_of(&self, letters: usize) -> usize {
        self.typos_from.map_or(0, |(one, two)| usize::from(letters >= one) + usize::from(letters >= two.max(one)))
    }

    /// True if a search looks at words, or at vectors in their place, at all.
    pub fn ranks_words(&self) -> bool {
        let of_words = ["words", "typo", "proximity", "attribute", "attributeRank", "wordPosition", "exactness"];
        self.ranking_rules.iter().any(|rule| of_words.contains(&rule.as_str()))
    }

    /// True when a hit may show `attribute`: it is displayed itself, or lies inside a displayed object.
    pub fn shows(&self, attribute: &str) -> bool {
        match &self.displayed {
            None => true,
            Some(displayed) => displayed.iter().any(|name| {
                attribute == name || attribute.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'))
            }),
        }
    }
}

/// True if `settings` let filters compare `field` with values; the first item that fits it decides.
fn is_filterable(settings: &Value, field: &str) -> bool {
    let items = settings.get("filterableAttributes").and_then(Value::as_array).into_iter().flatten();
    for item in items {
        if item.as_str().is_some_and(|name| is_at_or_below(field, name)) {
            return true;
        }
        let patterns = item.get("attributePatterns").and_then(Value::as_array).into_iter().flatten();
        if patterns.filter_map(Value::as_str).any(|pattern| fits(field, pattern)) {
            return item.pointer("/features/filter/equality") != Some(&Value::Bool(false));
        }
    }
    false
}

/// True if `pattern`, which may begin or end with `*`, stands for `field`.
fn fits(field: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(end), Some(_)) => end.strip_suffix('*').is_some_and(|within| field.contains(within)),
        (Some(end), None) => field.ends_with(end),
        (None, Some(start)) => field.starts_with(start),
        (None, None) => field == pattern,
    }
}

fn word_rules(settings: &Value) -> WordRules {
    let list = |name: &str| strings(settings.get(name)).unwrap_or_default();
    let is_set = |name: &str| settings.get(name).and_then(Value::as_array).is_some_and(|items| !items.is_empty());
    let searchable = list("searchableAttributes");
    WordRules {
        searchable: (!searchable.is_empty() && !searchable.iter().any(|name| name == "*")).then_some(searchable),
        exact: strings(settings.pointer("/typoTolerance/disableOnAttributes")).unwrap_or_default(),
        localized: is_set("localizedAttributes"),
        joined: list("nonSeparatorTokens").iter().chain(&list("dictionary")).flat_map(|text| text.chars()).collect(),
        embeds: settings.get("embedders").and_then(Value::as_object).is_some_and(|embedders| !embedders.is_empty()),
    }
}

fn strings(value: Option<&Value>) -> Option<Vec<String>> {
    value?.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_of_an_index_are_read() {
        let settings = json!({
            "displayedAttributes": ["id", "name"], "distinctAttribute": "sku", "rankingRules": ["words", "price:asc"],
            "faceting": {"maxValuesPerFacet": 40, "sortFacetValuesBy": {"*": "alpha", "country": "count"}},
            "pagination": {"maxTotalHits": 50},
        });
        let info = IndexInfo::from_settings("shop", Some("id".into()), &settings);
        assert_eq!((info.max_total_hits, info.max_values_per_facet), (50, 40));
        assert_eq!(info.rules, DocumentRules::default());
        assert_eq!([4, 5, 9].map(|letters| info.typos_of(letters)), [0, 1, 2]);
        let strict = json!({"typoTolerance": {"enabled": false}, "prefixSearch": "disabled"});
        let strict = IndexInfo::from_settings("shop", None, &strict);
        assert!(strict.typos_of(20) == 0 && !strict.looks_up_beginnings && strict.splits_words_plainly);
        let words = json!({"nonSeparatorTokens": ["-"], "stopWords": ["the"]});
        let words = IndexInfo::from_settings("shop", None, &words);
        assert!(!words.splits_words_plainly && words.stop_words == ["the"]);
        assert_eq!(words.words, WordRules { joined: vec!['-'], ..WordRules::default() });
        let some = json!({"searchableAttributes": ["a"], "typoTolerance": {"disableOnAttributes": ["b"]}, "embedders": {"e": {}}});
        let some = IndexInfo::from_settings("shop", None, &some).words;
        assert!(some.searchable == Some(vec!["a".into()]) && some.exact == ["b"] && some.embeds && !some.localized);
        for list in ["sortableAttributes", "filterableAttributes"] {
            assert!(IndexInfo::from_settings("shop", None, &json!({list: ["a", "_geo"]})).rules.geo, "{list}");
        }
        assert_eq!(info.order_of("country"), FacetOrder::Count);
        assert_eq!(info.order_of("brand"), FacetOrder::Alpha);
        assert_eq!(info.distinct.as_deref(), Some("sku"));
        assert!(info.shows("name.first") && !info.shows("names") && !info.shows("price"));
    }

    #[test]
    fn a_filter_names_the_distinct_attribute_where_the_first_item_that_fits_it_lets_it() {
        let filters = |filterable: Value| {
            let settings = json!({"distinctAttribute": "maker.name", "filterableAttributes": filterable});
            IndexInfo::from_settings("shop", None, &settings).filters_distinct
        };
        let pattern = |pattern: &str, equality: bool| {
            json!({"attributePatterns": [pattern],
                "features": {"facetSearch": true, "filter": {"equality": equality, "comparison": false}}})
        };
        assert!(filters(json!(["size", "maker"])) && filters(json!([{"attributePatterns": ["*"]}])));
        assert!(!filters(json!(["make"])) && !filters(json!([])) && !filters(json!(["maker.name.first"])));
        for fits in ["*", "maker*", "*name", "*er.n*", "maker.name"] {
            assert!(filters(json!([pattern(fits, true)])), "{fits}");
            assert!(!filters(json!([pattern(fits, false), "maker"])), "{fits}");
        }
        assert!(!filters(json!([pattern("name*", true), pattern("*maker", true), pattern("maker", true)])));
    }

    #[test]
    fn settings_of_another_shape_leave_the_defaults() {
        assert_eq!(IndexInfo::from_settings("shop", None, &json!({"pagination": 3})), IndexInfo::new("shop"));
    }
}
