//! A search among the values of a facet.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::placement::stable_hash::hash_bytes;

use super::Obstacle;
use super::filter;
use super::index_info::{FacetOrder, IndexInfo};
use super::known;
use super::node_request::NodeRequest;
use super::probe::{Lister, Probe};
use super::reserved;
use super::scattered::{Covered, Lasting, ReadKind, Scattered};
use super::search::SearchPlan;
use super::search_body::present;

/// What a search for values says of the values.
const OF_VALUES: [&str; 2] = ["facetName", "facetQuery"];

/// What it says of documents, in the words of a search for those.
const OF_DOCUMENTS: [&str; 5] = ["q", "filter", "matchingStrategy", "attributesToSearchOn", "locales"];

/// A search among the values of one facet of one index.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FacetSearchPlan {
    pub index: String,
    pub facet: String,
    /// As the client sent it, without what no engine looks at.
    pub body: Map<String, Value>,
    pub order: FacetOrder,
    pub max_values: usize,
    /// True if values are searched for, false if they are only listed: the engine orders the two differently. Example:
    /// `facetQuery: "a"` searches; without it, or with null, values are listed.
    pub searched: bool,
    /// True if only the best document of each distinct value is counted, of which no node knows those of others. Example: a and b are
    /// of one maker and one genre. One node counts the genre once; with a on node x and b on node y, each counts its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub distinct: bool,
    /// The search that leaves out the same documents for better ones, and counts the facet over what is left. `None` where nothing is left
    /// out, and where the engine looks at a vector.
    #[serde(skip)]
    pub counted_by: Option<Box<SearchPlan>>,
    /// How many documents a node lists at most.
    #[serde(skip)]
    pub max_total_hits: u64,
    /// True if documents show the facet. Example where not: values of `genre`, and only `id` is displayed. Documents that nodes list
    /// do not tell how many are of a genre.
    #[serde(skip)]
    pub shown: bool,
}

// === impl FacetSearchPlan ===

impl Scattered for FacetSearchPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::FacetSearch
    }

    fn seed(&self) -> u64 {
        hash_bytes(&self.identity())
    }

    fn lasting(&self) -> Lasting<'_> {
        Lasting::of_search(&self.index, &self.body)
    }

    fn covers<'a>(&'a self, _: &'a NodeRequest, shards: u16) -> Vec<Covered<'a>> {
        let request = move |part: &CoverPart, _| self.request(part, shards, None);
        let covered = Covered::new(&self.index, ShardSet::all(shards), self.seed(), request);
        vec![Covered { client: vec![&self.body], ..covered }]
    }
}

impl FacetSearchPlan {
    /// Of a POST body. [`Obstacle::Judge`] where it names no facet or the filter is none.
    pub fn new(info: &IndexInfo, mut body: Map<String, Value>) -> Result<Self, Obstacle> {
        body.retain(|name, _| !known::idle_in_facet_search(name));
        let Some(Value::String(facet)) = body.get("facetName") else { return Err(Obstacle::Judge) };
        if body.get("filter").is_some_and(|filter| !filter::has_shape(filter)) {
            return Err(Obstacle::Judge);
        }
        reserved::check_search(&body)?;
        known::check(&body, known::FACET_SEARCH)?;
        let counted_by = if info.distinct.is_some() { counting(info, facet, &body).map(Box::new) } else { None };
        Ok(Self {
            counted_by,
            index: info.uid.clone(),
            facet: facet.clone(),
            order: info.order_of(facet),
            max_values: info.max_values_per_facet,
            distinct: info.distinct.is_some(),
            searched: body.get("facetQuery").is_some_and(|query| !query.is_null()),
            max_total_hits: info.max_total_hits as u64,
            shown: info.shows(facet),
            body,
        })
    }

    /// What the node of `part` is asked, narrowed by one more filter expression if there is one.
    pub fn request(&self, part: &CoverPart, shards: u16, more: Option<&str>) -> NodeRequest {
        let mut body = self.body.clone();
        body.insert("filter".into(), filter::with_shards(body.get("filter"), part, shards));
        if let Some(more) = more {
            filter::and(&mut body, more);
        }
        NodeRequest::post(format!("/indexes/{}/facet-search", self.index), &body)
    }

    /// Asks the node of `part` for the documents of which values are counted; `None` where no search finds just them.
    pub fn request_documents(&self, probe: &Probe, part: &CoverPart, shards: u16) -> Option<NodeRequest> {
        if self.lister() == Lister::Nobody {
            return None;
        }
        if probe.is_fetched() {
            let filter = filter::with_shards(self.body.get("filter"), part, shards);
            return probe.request_fetched(&self.index, Map::from_iter([("filter".to_owned(), filter)]));
        }
        let mut body: Map<String, Value> =
            OF_DOCUMENTS.iter().filter_map(|name| Some(((*name).to_owned(), self.body.get(*name)?.clone()))).collect();
        body.insert("filter".into(), filter::with_shards(body.get("filter"), part, shards));
        body.insert("limit".into(), self.max_total_hits.into());
        body.insert("attributesToRetrieve".into(), vec![self.facet.as_str()].into());
        Some(NodeRequest::post(format!("/indexes/{}/search", self.index), &body))
    }

    /// Who finds just the documents of which values are counted.
    pub fn lister(&self) -> Lister {
        let known = |name: &String| OF_VALUES.contains(&name.as_str()) || OF_DOCUMENTS.contains(&name.as_str());
        let by_frequency = self.body.get("matchingStrategy").is_some_and(|strategy| strategy == "frequency");
        let lists = self.shown
            && !self.distinct
            && !by_frequency
            && self.body.iter().all(|(name, value)| value.is_null() || known(name));
        let words = self.body.get("q").and_then(Value::as_str).is_some_and(|words| !words.trim().is_empty());
        match (lists, words) {
            (false, _) => Lister::Nobody,
            (true, true) => Lister::Search,
            (true, false) => Lister::Fetch,
        }
    }

    /// False where a value is surely not among those that the client's words mean: they are the beginning of one, with two
    /// typos at most.
    pub fn may_mean(&self, value: &str) -> bool {
        let Some(query) = self.body.get("facetQuery").and_then(Value::as_str) else { return true };
        let (query, value) = (query.to_ascii_lowercase(), value.to_ascii_lowercase());
        !query.is_ascii() || !value.is_ascii() || begins_nearly(query.as_bytes(), value.trim().as_bytes())
    }

    /// Where a cover sticks: the same search always goes the same way.
    pub fn identity(&self) -> Vec<u8> {
        let mut identity = self.index.as_bytes().to_vec();
        identity.push(0);
        serde_json::to_writer(&mut identity, &self.body).expect("a JSON value always serializes into memory");
        identity
    }
}

/// The search of which a facet search is a part: the engine ranks documents up to the end of a first page, though it shows none.
fn counting(info: &IndexInfo, facet: &str, body: &Map<String, Value>) -> Option<SearchPlan> {
    if ["vector", "hybrid", "media"].iter().any(|name| present(body, name)) {
        return None;
    }
    let same = OF_DOCUMENTS.iter().chain(&["rankingScoreThreshold"]);
    let mut search: Map<String, Value> =
        same.filter_map(|name| Some(((*name).to_owned(), body.get(*name)?.clone()))).collect();
    if body.get("exhaustiveFacetCount").is_some_and(|all| *all == true) {
        // A page without hits, in the mode in which all distinct values are looked at.
        search.insert("page".into(), 0.into());
    }
    search.insert("facets".into(), vec![facet].into());
    search.insert("attributesToRetrieve".into(), Value::Array(Vec::new()));
    SearchPlan::new(info, search).ok()
}

/// True if `value` begins with `query`, up to two letters that are missing, other ones, too many or swapped.
fn begins_nearly(query: &[u8], value: &[u8]) -> bool {
    const MOST: usize = 2;
    // How far the first letters of the query are from each beginning of the value; of the last two such rows.
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=value.len()).collect();
    for (at, letter) in query.iter().enumerate() {
        let mut next = vec![at + 1];
        for (to, other) in value.iter().enumerate() {
            let mut least = (row[to] + usize::from(letter != other)).min(row[to + 1] + 1).min(next[to] + 1);
            let swapped = at > 0 && to > 0 && *letter == value[to - 1] && query[at - 1] == *other;
            if swapped {
                least = least.min(before[to - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.iter().any(|distance| *distance <= MOST)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::placement::cover::Besides;
    use crate::placement::shard::ShardId;
    use crate::placement::topology::NodeIx;
    use crate::plan::probe::{Listing, MOST_LISTED};

    fn plan(body: Value) -> FacetSearchPlan {
        FacetSearchPlan::new(&IndexInfo::new("movies"), body.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn values_that_cannot_be_meant_are_known_without_a_node() {
        let colours = plan(json!({"facetName": "colour", "facetQuery": "Greeen"}));
        assert_eq!(
            ["green", "Greenish", "egreen", "gren", "blue", "grey"].map(|value| colours.may_mean(value)),
            [true, true, true, true, false, false]
        );
        assert!(colours.may_mean("gr\u{fc}n") && plan(json!({"facetName": "colour"})).may_mean("blue"));
    }

    #[test]
    fn documents_are_listed_by_a_search_for_the_same() {
        let part = CoverPart { node: NodeIx(0), shards: [ShardId(1)].into_iter().collect(), besides: Besides::Unknown };
        let some = plan(json!({"facetName": "colour", "facetQuery": "gr", "q": "car", "filter": "size = 1"}));
        let found = Probe::Documents { facet: "colour".into(), listing: Listing::Found };
        let request = some.request_documents(&found, &part, 2).unwrap();
        assert_eq!(request.path, "/indexes/movies/search");
        assert_eq!(
            serde_json::from_slice::<Value>(&request.body).unwrap(),
            json!({"q": "car", "filter": ["size = 1", "_miroir_shard IN [\"{{{{{{{}\"]"], "limit": 1000,
                "attributesToRetrieve": ["colour"]})
        );
        let near = plan(json!({"facetName": "colour", "vector": [1], "hybrid": {"embedder": "e"}}));
        assert!(near.request_documents(&found, &part, 2).is_none());
        let all = plan(json!({"facetName": "colour", "filter": "size = 1"}));
        let fetched = Probe::Documents { facet: "colour".into(), listing: Listing::Fetched { apart: Vec::new() } };
        let request = all.request_documents(&fetched, &part, 2).unwrap();
        assert_eq!((all.lister(), some.lister(), near.lister()), (Lister::Fetch, Lister::Search, Lister::Nobody));
        assert_eq!(request.path, "/indexes/movies/documents/fetch");
        assert_eq!(
            serde_json::from_slice::<Value>(&request.body).unwrap(),
            json!({"filter": ["size = 1", "_miroir_shard IN [\"{{{{{{{}\"]"], "fields": ["colour"], "offset": 0,
                "limit": MOST_LISTED})
        );
    }

    #[test]
    fn under_distinct_the_facet_is_counted_by_a_search_for_the_same_documents() {
        let info = IndexInfo { distinct: Some("maker".into()), ..IndexInfo::new("movies") };
        let counting = |body: Value| {
            let plan = FacetSearchPlan::new(&info, body.as_object().unwrap().clone()).unwrap();
            plan.counted_by.map(|search| Value::Object(search.body))
        };
        let words = json!({"facetName": "colour", "facetQuery": "gr", "q": "car", "filter": "size = 1"});
        let search = json!({"q": "car", "filter": "size = 1", "facets": ["colour"], "attributesToRetrieve": []});
        assert_eq!(counting(words), Some(search));
        let all = json!({"facetName": "colour", "exhaustiveFacetCount": true});
        assert_eq!(counting(all), Some(json!({"page": 0, "facets": ["colour"], "attributesToRetrieve": []})));
        assert_eq!(counting(json!({"facetName": "colour", "vector": [1], "hybrid": {"embedder": "e"}})), None);
        assert!(plan(json!({"facetName": "colour"})).counted_by.is_none());
    }
}
