//! Questions about facets as searches of one node.

use serde_json::{Map, Value};

use super::by_frequency::ByFrequency;
use super::mix::Mix;
use super::probe::{FacetValue, HITS_PARTS, Lister, Listing, Probe, quote};
use super::values::Key;
use crate::placement::cover::{Besides, CoverPart};
use crate::placement::shard::{SHARD_FIELD, ShardSet};

use super::filter;
use super::node_request::NodeRequest;
use super::search::{Lift, SearchPlan};

/// The documents over which totals and facets are counted, where these are not simply what a node found for a page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Candidates {
    /// Whether hits below the client's threshold are left out. One node leaves out those it met on its way to the
    /// end of the page: all, if the page is not full, and else none. Example: scores of 0.9, 0.9 and 0.3, and the threshold 0.5. A page
    /// of two is full before the third is met, which still counts; a page of three meets it, and leaves it out.
    pub threshold: bool,
    /// A filter that leaves out the documents whose distinct value was met.
    pub unmet: Option<String>,
}

/// Members of a search that have no bearing on its candidates.
pub(super) const PRESENTATION: [&str; 12] = [
    "page",
    "hitsPerPage",
    "attributesToHighlight",
    "attributesToCrop",
    "cropLength",
    "cropMarker",
    "highlightPreTag",
    "highlightPostTag",
    "showMatchesPosition",
    "showRankingScore",
    "showRankingScoreDetails",
    "retrieveVectors",
];

// === impl SearchPlan ===

impl SearchPlan {
    /// The search that finds `candidates` of `part` and shows none of them.
    fn search_candidates(&self, candidates: &Candidates, part: &CoverPart, shards: u16) -> Map<String, Value> {
        let mut body = self.body.clone();
        for name in PRESENTATION {
            body.remove(name);
        }
        if !candidates.threshold {
            body.remove("rankingScoreThreshold");
        }
        // Only a search that walks to the end of its hits knows which of them are below the threshold.
        let limit = if candidates.threshold { self.reach() } else { 0 };
        if candidates.threshold && self.counts_all_above() {
            body.insert("page".into(), 1.into());
            // A page of all that can be reached would end the walk.
            body.insert("hitsPerPage".into(), limit.min(self.window.max_total_hits.saturating_sub(1)).into());
        } else {
            body.insert("offset".into(), 0.into());
            body.insert("limit".into(), limit.into());
        }
        body.insert("attributesToRetrieve".into(), Value::Array(Vec::new()));
        body.insert("filter".into(), filter::with_shards(body.get("filter"), part, shards));
        if let Some(unmet) = &candidates.unmet {
            filter::and(&mut body, unmet);
        }
        self.fit(&mut body, part);
        body.insert("indexUid".into(), self.index.clone().into());
        body
    }

    /// Asks for the total and all facets of `candidates`.
    pub fn request_candidates(&self, candidates: &Candidates, part: &CoverPart, shards: u16) -> NodeRequest {
        let mut body = self.search_candidates(candidates, part, shards);
        body.remove("indexUid");
        NodeRequest::post(format!("/indexes/{}/search", self.index), &body)
    }

    /// Asks `probes` in one request, each filter of each probe a query of its own, in this order. `None` where a filter
    /// cannot be written.
    pub fn request_probes(
        &self,
        probes: &[&Probe],
        candidates: &Candidates,
        part: &CoverPart,
        shards: u16,
    ) -> Option<NodeRequest> {
        let base = self.search_candidates(candidates, part, shards);
        let mut queries: Vec<Value> = Vec::new();
        for probe in probes {
            for part in parts_of(probe, part) {
                queries.push(self.search_part(probe, candidates, &part, shards).into());
            }
            for expression in probe.filters()? {
                let mut query = base.clone();
                filter::and(&mut query, &expression);
                query.insert("facets".into(), probe.facet().into_iter().collect::<Vec<_>>().into());
                queries.push(query.into());
            }
        }
        let body = Map::from_iter([("queries".to_owned(), queries.into())]);
        Some(NodeRequest::post("/multi-search".to_owned(), &body))
    }

    /// The search that counts or lists the `candidates` of `part`, for a probe that goes by shards.
    fn search_part(&self, probe: &Probe, candidates: &Candidates, part: &CoverPart, shards: u16) -> Map<String, Value> {
        let mut query = self.search_candidates(candidates, part, shards);
        query.remove("facets");
        if let Probe::Documents { facet, .. } = probe {
            for name in ["page", "hitsPerPage", "distinct"] {
                query.remove(name);
            }
            if !candidates.threshold {
                query.remove("sort");
            }
            query.insert("offset".into(), 0.into());
            query.insert("limit".into(), self.window.max_total_hits.into());
            query.insert("attributesToRetrieve".into(), vec![facet.as_str()].into());
        }
        query
    }

    /// Asks for the `candidates` of `part` as documents, or for how many they are. `None` for a probe that a search answers,
    /// and where a filter cannot be written.
    pub fn request_fetched(
        &self,
        probe: &Probe,
        candidates: &Candidates,
        part: &CoverPart,
        shards: u16,
    ) -> Option<NodeRequest> {
        let filter = filter::with_shards(self.body.get("filter"), part, shards);
        let mut body = Map::from_iter([("filter".to_owned(), filter)]);
        if let Some(unmet) = &candidates.unmet {
            filter::and(&mut body, unmet);
        }
        probe.request_fetched(&self.index, body)
    }

    /// Asks for the distinct values of all documents of `part` that the filter finds, of `most` at once.
    pub fn request_distinct_values(&self, most: u64, part: &CoverPart, shards: u16) -> NodeRequest {
        let field: Vec<&str> = self.distinct.as_deref().into_iter().collect();
        let members = [
            ("filter", filter::with_shards(self.body.get("filter"), part, shards)),
            ("fields", field.into()),
            ("offset", 0.into()),
            ("limit", most.into()),
        ];
        let body: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        NodeRequest::post(format!("/indexes/{}/documents/fetch", self.index), &body)
    }

    /// Who can list the `candidates`: these must show what is counted, and it must be possible to ask nodes to leave none out
    /// for another one.
    pub fn lister(&self, candidates: &Candidates) -> Lister {
        let leaves_out = self.lift == Lift::Never;
        if !self.facets_shown || leaves_out {
            return Lister::Nobody;
        }
        let by_words = !self.has_no_words() || self.by_frequency != ByFrequency::No;
        let by_vector = self.names_a_vector() || self.mix == Mix::WordsOfMixed;
        let filtered_only = !by_words && !by_vector && self.distinct.is_none() && !candidates.threshold;
        if filtered_only { Lister::Fetch } else { Lister::Search }
    }

    /// The filters that tell the documents of `values` of the distinct attribute apart. `None` where one cannot be written.
    pub fn filters_of_values(&self, values: &[Key]) -> Option<Vec<String>> {
        let field = self.distinct.as_deref()?;
        values.iter().map(|value| with_value(field, value)).collect()
    }

    /// Asks for each filter, that of a distinct value, what facets say of the one document that stands for the value in
    /// page mode if no page has met it: the first, whatever its rank.
    pub fn request_firsts(&self, filters: &[String], part: &CoverPart, shards: u16) -> NodeRequest {
        let mut base = self.search_candidates(&Candidates::default(), part, shards);
        base.remove("offset");
        base.remove("limit");
        base.insert("page".into(), 1.into());
        base.insert("hitsPerPage".into(), 0.into());
        // The shard helps to find the document again.
        if let Some(Value::Array(facets)) = base.get_mut("facets") {
            facets.push(SHARD_FIELD.into());
        }
        let queries = filters.iter().map(|of_value| {
            let mut query = base.clone();
            filter::and(&mut query, of_value);
            Value::Object(query)
        });
        let body = Map::from_iter([("queries".to_owned(), queries.collect::<Vec<_>>().into())]);
        NodeRequest::post("/multi-search".to_owned(), &body)
    }

    /// Asks for each of `words` whether the node has it anywhere in the index.
    pub fn request_words(&self, words: &[String]) -> NodeRequest {
        let queries = words.iter().map(|word| {
            let members = [
                ("indexUid", Value::from(self.index.clone())),
                ("q", format!("\"{word}\"").into()),
                ("limit", 0.into()),
                ("attributesToRetrieve", Value::Array(Vec::new())),
            ];
            Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        });
        let body = Map::from_iter([("queries".to_owned(), queries.collect::<Vec<_>>().into())]);
        NodeRequest::post("/multi-search".to_owned(), &body)
    }

    /// Lists the documents with `value` of which facets say `said`, to learn when they were written. `None` where a filter
    /// cannot be written, or the search would not list each of them.
    pub fn request_alike(
        &self,
        value: &Key,
        said: &[(String, Key)],
        part: &CoverPart,
        shards: u16,
    ) -> Option<NodeRequest> {
        let mut listing = self.listing()?;
        listing.body.insert("attributesToRetrieve".into(), Value::Array(Vec::new()));
        filter::and(&mut listing.body, &with_value(self.distinct.as_deref()?, value)?);
        for (facet, value) in said {
            filter::and(&mut listing.body, &with_value(facet, value)?);
        }
        Some(listing.request(part, shards, false))
    }
}

/// How many replies a probe gets.
pub fn replies_to(probe: &Probe, part: &CoverPart) -> usize {
    match probe {
        Probe::Hits | Probe::Sizes => parts_of(probe, part).len(),
        Probe::Documents { .. } if !probe.is_fetched() => parts_of(probe, part).len(),
        Probe::Total | Probe::Documents { .. } => 1,
        Probe::Rest { .. } => 2,
        Probe::UpTo { .. } | Probe::Digits { .. } => 1,
        Probe::Counts { values, .. } => values.len(),
        Probe::Twice { values, .. } => 2 * values.len(),
    }
}

/// What a probe that goes by shards asks of `part`, one after the other; nothing of the others.
fn parts_of(probe: &Probe, part: &CoverPart) -> Vec<CoverPart> {
    let count = match probe {
        Probe::Hits => HITS_PARTS,
        Probe::Sizes => usize::MAX,
        Probe::Documents { listing, .. } => match listing {
            Listing::Found => return vec![part.clone()],
            Listing::FoundInGroups(count) => {
                // None gets more shards than another, but for the last.
                let each = (part.shards.len() / (*count).max(1)).max(1);
                part.shards.len().div_ceil(each)
            }
            Listing::FoundByShard => usize::MAX,
            Listing::Fetched { .. } => return Vec::new(),
        },
        Probe::Total
        | Probe::Rest { .. }
        | Probe::UpTo { .. }
        | Probe::Counts { .. }
        | Probe::Digits { .. }
        | Probe::Twice { .. } => return Vec::new(),
    };
    let groups = groups(&part.shards, count);
    groups.into_iter().map(|shards| CoverPart { node: part.node, shards, besides: Besides::Unknown }).collect()
}

fn groups(shards: &ShardSet, most: usize) -> Vec<ShardSet> {
    let mut groups = vec![ShardSet::new(); most.min(shards.len())];
    let count = groups.len().max(1);
    for (at, shard) in shards.iter().enumerate() {
        groups[at % count].insert(shard);
    }
    groups
}

/// The documents that have none of `values` in `field`. `None` where the engine's language cannot say it.
pub fn without_values<'a>(field: &str, values: impl IntoIterator<Item = &'a Key>) -> Option<String> {
    let values = values.into_iter().map(in_filter).collect::<Option<Vec<_>>>()?;
    Some(format!("NOT {} IN [{}]", quote(field)?, values.join(", ")))
}

fn with_value(field: &str, value: &Key) -> Option<String> {
    Some(format!("{} = {}", quote(field)?, in_filter(value)?))
}

/// The value alone. A filter `= 9` means the number and the text "9" to the engine, but `distinct` tells them apart.
fn in_filter(value: &Key) -> Option<String> {
    match value {
        Key::Number(bits) => FacetValue::number(f64::from_bits(*bits)).in_filter_as_number(),
        Key::Text(text) if text.parse::<f64>().is_ok() => FacetValue::text(text.clone()).in_filter_as_text(),
        Key::Text(text) => quote(text),
    }
}

#[cfg(test)]
mod tests {
    use crate::placement::vocabulary::no_words;
    use serde_json::json;

    use super::*;
    use crate::placement::shard::ShardId;
    use crate::placement::topology::NodeIx;
    use crate::plan::index_info::IndexInfo;
    use crate::plan::probe::MOST_LISTED;

    fn plan(body: Value) -> SearchPlan {
        let Value::Object(body) = body else { panic!("a search is an object") };
        SearchPlan::new(&IndexInfo::new("movies"), body).unwrap()
    }

    fn whole() -> CoverPart {
        CoverPart { node: NodeIx(0), shards: [ShardId(0), ShardId(1)].into_iter().collect(), besides: Besides::Nothing }
    }

    fn body(request: &NodeRequest) -> Value {
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn candidates_are_searched_without_showing_any() {
        let plan = plan(json!({
            "q": "x", "page": 2, "hitsPerPage": 3, "facets": ["a"], "rankingScoreThreshold": 0.5, "filter": "b = 1",
            "showRankingScore": true, "attributesToHighlight": ["*"],
        }));
        let all = plan.request_candidates(&Candidates::default(), &whole(), 2);
        assert_eq!(
            body(&all),
            json!({"q": "x", "facets": ["a"], "filter": ["b = 1", no_words()], "offset": 0, "limit": 0, "attributesToRetrieve": []})
        );
        let some = Candidates { threshold: true, unmet: Some("NOT c IN [1]".into()) };
        let some = body(&plan.request_candidates(&some, &whole(), 2));
        assert_eq!(
            (&some["limit"], &some["rankingScoreThreshold"], &some["filter"]),
            (&json!(6), &json!(0.5), &json!(["b = 1", no_words(), "NOT c IN [1]"]))
        );
    }

    #[test]
    fn probes_are_queries_of_one_request() {
        let plan = plan(json!({"facets": ["a"], "filter": ["b = 1"]}));
        let probes = [Probe::Hits, Probe::UpTo { facet: "a".into(), bound: 2.0 }];
        let probes: Vec<&Probe> = probes.iter().collect();
        let request = plan.request_probes(&probes, &Candidates::default(), &whole(), 2).unwrap();
        assert_eq!(request.path, "/multi-search");
        let query = |filter: Value| json!({"indexUid": "movies", "filter": filter, "offset": 0, "limit": 0, "attributesToRetrieve": []});
        let mut up_to = query(json!(["b = 1", no_words(), "\"a\" <= 2"]));
        up_to["facets"] = json!(["a"]);
        assert_eq!(
            body(&request)["queries"],
            json!([
                query(json!(["b = 1", "_miroir_shard IN [\"{{{{{{{{\"]"])),
                query(json!(["b = 1", "_miroir_shard IN [\"{{{{{{{}\"]"])),
                up_to,
            ])
        );
        assert_eq!(probes.iter().map(|probe| replies_to(probe, &whole())).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn what_a_filter_finds_is_fetched() {
        let plan = plan(json!({"facets": ["a"], "filter": "b = 1", "sort": ["c:asc"], "limit": 3}));
        let base = Candidates { threshold: false, unmet: Some("NOT d IN [1]".into()) };
        let ask = |probe: &Probe| plan.request_fetched(probe, &base, &whole(), 2);
        let apart = vec![FacetValue::text("X".into())];
        let documents = Probe::Documents { facet: "a".into(), listing: Listing::Fetched { apart } };
        let request = ask(&documents).unwrap();
        assert_eq!((request.path.as_str(), replies_to(&documents, &whole())), ("/indexes/movies/documents/fetch", 1));
        assert_eq!(
            body(&request),
            json!({"filter": ["b = 1", no_words(), "NOT d IN [1]", "NOT \"a\" IN [\"x\"]"], "fields": ["a"], "offset": 0,
                "limit": MOST_LISTED})
        );
        assert_eq!(body(&ask(&Probe::Total).unwrap())["limit"], 0);
        assert!(ask(&Probe::Hits).is_none());
        assert!(plan.request_probes(&[&Probe::Hits], &base, &whole(), 2).is_some());
    }

    #[test]
    fn documents_are_fetched_only_where_a_filter_finds_just_them() {
        let lister = |body: Value, threshold| plan(body).lister(&Candidates { threshold, unmet: None });
        assert_eq!(lister(json!({"facets": ["a"], "filter": "b = 1", "q": " "}), false), Lister::Fetch);
        for body in [
            json!({"q": "x", "facets": ["a"]}),
            json!({"distinct": "a", "facets": ["a"]}),
            json!({"facets": ["a"], "vector": [1.0], "hybrid": {"embedder": "e"}}),
        ] {
            assert_eq!(lister(body.clone(), false), Lister::Search, "{body}");
        }
        assert_eq!(lister(json!({"facets": ["a"], "rankingScoreThreshold": 0.5}), true), Lister::Search);
        let hidden = IndexInfo { displayed: Some(vec!["id".into()]), ..IndexInfo::new("movies") };
        let body = json!({"facets": ["a"]}).as_object().unwrap().clone();
        assert_eq!(SearchPlan::new(&hidden, body).unwrap().lister(&Candidates::default()), Lister::Nobody);
    }

    #[test]
    fn groups_of_shards_are_of_one_size() {
        let part = CoverPart { shards: (0..85).map(ShardId).collect(), ..whole() };
        let groups = |count| {
            let listing = Listing::FoundInGroups(count);
            parts_of(&Probe::Documents { facet: "a".into(), listing }, &part)
        };
        let most = |count| groups(count).iter().map(|part| part.shards.len()).max().unwrap();
        assert_eq!(
            [(groups(18).len(), most(18)), (groups(17).len(), most(17)), (groups(90).len(), most(90))],
            [(22, 4), (17, 5), (85, 1)]
        );
    }

    #[test]
    fn values_are_left_out_by_a_filter() {
        let values = [Key::Text("fr".into()), Key::Number(2.5f64.to_bits())];
        assert_eq!(without_values("country", &values).unwrap(), "NOT \"country\" IN [\"fr\", \"2.5e0000\"]");
        let digits = [Key::Text("9".into()), Key::Number(9f64.to_bits())];
        assert_eq!(without_values("price", &digits).unwrap(), "NOT \"price\" IN [\" 9\", \"9e0000\"]");
        assert_eq!(without_values("country", &[Key::Text("\\".into())]), None);
    }
}
