//! A search as every node of a cover gets it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::facet_rules::{FacetRules, is_pattern};
use super::index_info::ScoredBy;
use super::shown::{Helper, Rules, Shown};
use super::span::Span;
use super::window::{Paging, Window};
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::placement::stable_hash::hash_bytes;
use crate::placement::topology::NodeIx;

use super::Obstacle;
use super::by_frequency::ByFrequency;
use super::filter;
use super::index_info::IndexInfo;
use super::known;
use super::marking::Marking;
use super::mix::Mix;
use super::node_request::NodeRequest;
use super::pins::Pins;
use super::reserved;
use super::scattered::{Covered, Lasting, ReadKind, Scattered};
use super::search_body::{flag, helper, names, paging, present, sorted_field};
use super::threshold::{CountedAbove, ScoreOrder, Threshold};

/// A search of one index.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchPlan {
    pub index: String,
    /// The client's search, in the form of a POST body.
    pub body: Map<String, Value>,
    pub window: Window,
    /// `None` where the client asked for no facets.
    pub facets: Option<FacetRules>,
    pub shown: Shown,
    /// Hits that tie on every rule stand in its order. `None` while it is not known.
    pub primary_key: Option<String>,
    /// Keep only the best hit of each value of this attribute.
    pub distinct: Option<String>,
    /// Whether nodes can be asked for hits whatever their distinct value.
    pub lift: Lift,
    /// True if a filter can name the distinct attribute; that of a request must be filterable, that of the settings need not.
    #[serde(skip)]
    pub filters_distinct: bool,
    /// False if no hit shows the distinct attribute, so that only a node that holds everything can answer. Example: `distinct: "maker"`,
    /// and only `title` is displayed. Two nodes list a hit each, and nobody sees whether both are of one maker.
    pub comparable: bool,
    /// Whether hits are found by words, by a vector, or by both.
    pub mix: Mix,
    /// `None` if no hit is left out for its score.
    pub threshold: Option<Threshold>,
    /// True if the engine looks at hits from the first, also where the page begins behind the last. Example under `distinct: "maker"`:
    /// of three films of one maker a page from the fourth on is asked for. Such an engine says that it found one, others three.
    pub from_the_first: bool,
    pub ranking_rules: Vec<String>,
    /// Whether words are left out by their frequency.
    pub by_frequency: ByFrequency,
    /// What the scores of hits come from.
    pub scored_by: ScoredBy,
    /// True if a hit shows everything that facets are counted of. Example where not: `facets: ["genre"]`, and only `id` is displayed.
    /// Hits that are at hand cannot be counted by genre.
    pub facets_shown: bool,
    /// An attribute that hits are sorted by and do not show, so that those of several nodes cannot be compared by it.
    pub sorted_unseen: Option<String>,
    /// True if nodes have the rule that breaks ties. Example of three films that tie, two of them of one maker, and a page of one: one
    /// node looks at all three and leaves out the maker's second, a node with the rule stops at the first.
    pub breaks_ties: bool,
    /// Attributes to search on that a node knows, where not every node knows all of them.
    pub known_attributes: BTreeMap<NodeIx, Vec<String>>,
    /// The scores below which nodes leave hits out that do not count typos as others do.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_thresholds: BTreeMap<NodeIx, f64>,
    /// How words are marked where that depends on which others nodes know. Not asked where rules pin: what they pin is found whatever the
    /// words.
    pub marking: Option<Marking>,
    /// What dynamic search rules may pin; `None` where there is no such rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pins: Option<Pins>,
}

/// What becomes of `distinct` when a request does not name it. It can choose another attribute than that of the settings, but not
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Lift {
    /// Hits are told apart by nothing.
    ByLeavingItOut,
    /// That of the settings holds. Example: the settings say `maker`, the search `distinct: "series"`. Without it, nodes would leave
    /// out two series of one maker.
    Never,
}

// === impl SearchPlan ===

impl SearchPlan {
    /// Of a body as of a POST. [`Obstacle::Judge`] for what the engine would refuse, or Miroir does not know.
    pub fn new(info: &IndexInfo, body: Map<String, Value>) -> Result<Self, Obstacle> {
        let window = Window {
            paging: paging(&body)?,
            max_total_hits: info.max_total_hits as u64,
            states_all_hits: info.states_all_hits,
            states_offset_asked: info.states_offset_asked,
        };
        if body.get("filter").is_some_and(|filter| !filter::has_shape(filter)) {
            return Err(Obstacle::Judge);
        }
        reserved::check_search(&body)?;
        known::check(&body, known::SEARCH)?;
        let distinct = match body.get("distinct") {
            None | Some(Value::Null) => info.distinct.clone(),
            Some(Value::String(field)) => Some(field.clone()),
            Some(_) => return Err(Obstacle::Judge),
        };
        let mix = Mix::of(info, &body)?;
        // Hits are told apart by the distinct attribute, and those that tie stand in the order of their primary keys.
        let fields = [distinct.as_deref(), info.primary_key.as_deref()];
        let mut helpers: Vec<Helper> = fields.into_iter().flatten().filter_map(|field| helper(&body, field)).collect();
        helpers.dedup();
        let pins = (!info.pins.is_empty()).then(|| info.pins.clone());
        if let Some(pins) = &pins
            && !info.primary_key.as_deref().is_some_and(|key| info.shows(key))
        {
            return Err(Obstacle::Unserved(
                pins.not_placed(&info.uid, "a search whose hits do not show the primary key"),
            ));
        }
        Ok(Self {
            index: info.uid.clone(),
            window,
            facets: present(&body, "facets").then(|| FacetRules::of_named(info, &facet_names(&body))),
            primary_key: info.primary_key.clone(),
            shown: Shown {
                score: flag(&body, "showRankingScore")?,
                details: flag(&body, "showRankingScoreDetails")?,
                helpers,
            },
            threshold: Threshold::of(info, &body, window.paging),
            from_the_first: info.searches_from_the_first,
            ranking_rules: info.ranking_rules.clone(),
            by_frequency: ByFrequency::of(info, &body),
            scored_by: info.scored_by,
            facets_shown: facet_names(&body).iter().all(|facet| info.shows(facet)),
            sorted_unseen: sorted_unseen(info, &body),
            breaks_ties: info.breaks_ties,
            marking: if pins.is_some() { None } else { Marking::of_search(info, &body) },
            pins,
            known_attributes: BTreeMap::new(),
            node_thresholds: BTreeMap::new(),
            comparable: distinct.as_deref().is_none_or(|field| info.shows(field)),
            filters_distinct: info.filters_distinct || present(&body, "distinct"),
            lift: if info.distinct.is_some() { Lift::Never } else { Lift::ByLeavingItOut },
            distinct,
            mix,
            body,
        })
    }

    /// True if hits stand in the order of their distances from a point.
    pub fn sorts_by_distance(&self) -> bool {
        names(&self.body, "sort").unwrap_or_default().iter().any(|rule| rule.starts_with("_geoPoint("))
    }

    /// True if everything is found by words, for want of words.
    pub fn has_no_words(&self) -> bool {
        self.body.get("q").and_then(Value::as_str).is_none_or(|words| words.trim().is_empty())
    }

    /// True also for a vector without words, and for `hybrid` with a ratio that leaves the vector out.
    pub(super) fn names_a_vector(&self) -> bool {
        ["hybrid", "vector"].iter().any(|name| present(&self.body, name))
    }

    /// What the node of `part` is asked for all up to the end of the page. When it is `alone`, its page is the client's page.
    pub fn request(&self, part: &CoverPart, shards: u16, alone: bool) -> NodeRequest {
        self.request_span(part, shards, (!alone).then_some(Span::UpToTheEnd))
    }

    /// The same for its share of the page.
    pub fn request_share(&self, part: &CoverPart, shards: u16, alone: bool) -> NodeRequest {
        self.request_span(part, shards, (!alone).then(|| self.span(part, shards)))
    }

    fn request_span(&self, part: &CoverPart, shards: u16, span: Option<Span>) -> NodeRequest {
        let mut body = self.body.clone();
        body.insert("filter".into(), filter::with_shards(body.get("filter"), part, shards));
        self.fit(&mut body, part);
        if let Some(span) = span {
            self.widen(&mut body, span);
        }
        NodeRequest::post(format!("/indexes/{}/search", self.index), &body)
    }

    /// True if a node that has all documents says what one node would. Where ties are broken, it leaves out fewer documents
    /// for those it has met, which come one after the other and not all that tie at once.
    pub fn relays(&self) -> bool {
        self.distinct.is_none() || !self.breaks_ties || !self.comparable
    }

    /// The search that lists every document found that can be reached, whatever its distinct value and score; `None`
    /// where that cannot be asked, or its order would not be that of one node.
    pub fn listing(&self) -> Option<SearchPlan> {
        let of_words = !self.names_a_vector() && self.mix != Mix::WordsOfMixed;
        if !of_words
            || self.lift == Lift::Never
            || !self.breaks_ties
            || !self.comparable
            || self.sorted_unseen.is_some()
        {
            return None;
        }
        let mut listing = self.clone();
        listing.window.paging = Paging::Offset { offset: 0, limit: self.window.max_total_hits };
        for name in ["page", "hitsPerPage", "distinct"] {
            listing.body.remove(name);
        }
        listing.show_what_is_counted(self.distinct.as_ref());
        Some(listing)
    }

    /// The same search for every hit that can be reached, whatever its distinct value. `None` where that cannot be asked,
    /// because the settings have a distinct attribute.
    pub fn undistinguished(&self) -> Option<SearchPlan> {
        if self.distinct.is_none() || self.lift == Lift::Never {
            return None;
        }
        let mut plan = self.clone();
        plan.window.paging = self.window.paging.up_to(self.window.max_total_hits);
        plan.body.remove("distinct");
        Some(plan)
    }

    /// Shows of each hit just what it is told apart by and counted by.
    pub(super) fn show_what_is_counted(&mut self, distinct: Option<&String>) {
        // A document is not asked for by a pattern.
        let facets =
            facet_names(&self.body).into_iter().map(|name| if is_pattern(&name) { "*".to_owned() } else { name });
        let facets: Vec<String> = facets.collect();
        for name in [
            "attributesToHighlight",
            "attributesToCrop",
            "showMatchesPosition",
            "facets",
            "retrieveVectors",
            "rankingScoreThreshold",
        ] {
            self.body.remove(name);
        }
        let shown = distinct.cloned().into_iter().chain(self.primary_key.clone()).chain(facets);
        self.body.insert("attributesToRetrieve".into(), shown.map(Value::String).collect());
        self.shown.helpers = Vec::new();
        if self.threshold.is_some() {
            self.body.insert("showRankingScore".into(), true.into());
        }
    }

    /// True if a node's total counts all hits above the threshold, not just those up to the end of the page. A page of as many hits as
    /// can be reached ends the walk as any page does. Example with `maxTotalHits` 1,000: pages of 20 are walked past; one of 1,000 is not.
    pub fn counts_all_above(&self) -> bool {
        let counted = self.threshold.is_some_and(|threshold| threshold.counts == CountedAbove::All);
        counted && self.walked_window().take() < self.window.max_total_hits
    }

    /// How many hits each node is asked for, from its first: those of the page, and those that one node looks at for a page that is empty.
    /// Example with `maxTotalHits` 1,000 and a threshold: for a page behind 1,000 one node of a newer engine looks at as many, and
    /// leaves out what it meets below.
    pub fn reach(&self) -> u64 {
        let judged = self.threshold.is_some() || self.distinct.is_some();
        let reach = if judged { self.walked_window().reach() } else { self.window.reach() };
        // By which typos a node judges only hits tell. Where none is asked for and not all above are counted, nothing is judged.
        let told_by_hits = self.counts_all_above() && self.least_by_typos().is_some();
        reach.max(u64::from(told_by_hits))
    }

    /// True if hits are looked at of which the page shows none.
    pub fn is_walked_unseen(&self) -> bool {
        self.window.reach() < self.reach()
    }

    /// The hits that one node lists on its walk: engines that look at hits from the first list those before the page, too.
    pub fn walked_window(&self) -> Window {
        if self.from_the_first { self.window.from_the_first() } else { self.window }
    }

    /// True if hits above the threshold may come behind hits below it.
    pub fn scores_rise_again(&self) -> bool {
        self.threshold.is_some_and(|threshold| threshold.scores == ScoreOrder::RisingAgain)
    }

    /// The score below which hits are left out.
    pub fn least_score(&self) -> Option<f64> {
        self.body.get("rankingScoreThreshold").and_then(Value::as_f64)
    }

    /// True if every facet asked for is the distinct attribute itself.
    pub fn counts_only_distinct(&self) -> bool {
        facet_names(&self.body).iter().all(|facet| Some(facet) == self.distinct.as_ref())
    }

    /// Asks for the hits of `span`, and for what tells hits apart.
    fn widen(&self, body: &mut Map<String, Value>, span: Span) {
        let reach = self.reach();
        if self.is_walked_unseen() {
            // None of them is shown.
            for name in ["attributesToHighlight", "attributesToCrop", "showMatchesPosition", "retrieveVectors"] {
                body.remove(name);
            }
            if self.distinct.is_none() {
                body.insert("attributesToRetrieve".into(), Value::Array(Vec::new()));
            }
        }
        let (skip, take) = match span {
            Span::UpToTheEnd => (0, self.pins.as_ref().map_or(reach, |pins| pins.reach(reach))),
            Span::Share { skip, take } => (skip, take),
            Span::Beyond { take } => (0, take),
        };
        match self.window.paging {
            // An empty page stays as it is: only its totals matter.
            Paging::Page { .. } if reach == 0 => {}
            Paging::Page { .. } => {
                body.insert("page".into(), (skip / take + 1).into());
                body.insert("hitsPerPage".into(), take.into());
            }
            Paging::Offset { .. } => {
                body.insert("offset".into(), skip.into());
                body.insert("limit".into(), take.into());
            }
        }
        self.show_ranks(body);
    }

    /// Asks for what hits are compared by.
    pub(super) fn show_ranks(&self, body: &mut Map<String, Value>) {
        body.insert("showRankingScoreDetails".into(), true.into());
        if let Some(Value::Array(attributes)) = body.get_mut("attributesToRetrieve") {
            attributes.extend(self.shown.helpers.iter().map(|helper| Value::String(helper.field.clone())));
        }
    }

    /// How hits of several lists are told apart and ordered.
    pub fn rules(&self) -> Rules {
        Rules { distinct: self.distinct.clone(), primary_key: self.primary_key.clone() }
    }

    /// What is the same for every page of this search: whatever the client wrote but the page.
    pub fn identity(&self) -> Vec<u8> {
        let mut body = self.body.clone();
        for name in ["offset", "limit", "page", "hitsPerPage"] {
            body.remove(name);
        }
        let mut identity = self.index.as_bytes().to_vec();
        identity.push(0);
        serde_json::to_writer(&mut identity, &body).expect("a JSON value always serializes into memory");
        identity
    }
}

impl Scattered for SearchPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::Search
    }

    fn seed(&self) -> u64 {
        hash_bytes(&self.identity())
    }

    fn lasting(&self) -> Lasting<'_> {
        if self.pins.as_ref().is_some_and(|pins| pins.timed) {
            return Lasting::Never;
        }
        Lasting::of_search(&self.index, &self.body)
    }

    fn covers<'a>(&'a self, _: &'a NodeRequest, shards: u16) -> Vec<Covered<'a>> {
        let request = move |part: &CoverPart, alone| self.request_share(part, shards, alone);
        let covered = Covered::new(&self.index, ShardSet::all(shards), self.seed(), request);
        vec![Covered { client: vec![&self.body], span: Box::new(move |part| self.span(part, shards)), ..covered }]
    }
}

/// The facets asked for; `*` stands for all.
fn facet_names(body: &Map<String, Value>) -> Vec<String> {
    names(body, "facets").unwrap_or_default().into_iter().map(str::to_owned).collect()
}

fn sorted_unseen(info: &IndexInfo, body: &Map<String, Value>) -> Option<String> {
    let displayed = info.displayed.as_ref()?;
    let of_search = names(body, "sort").unwrap_or_default();
    let mut fields =
        of_search.into_iter().chain(info.ranking_rules.iter().map(String::as_str)).filter_map(sorted_field);
    // The engine redacts a sort value by its exact name.
    fields.find(|field| !displayed.iter().any(|name| name == field)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::placement::cover::Besides;
    use crate::placement::shard::ShardId;
    use crate::placement::topology::NodeIx;

    fn plan(body: Value) -> Result<SearchPlan, Obstacle> {
        let Value::Object(body) = body else { panic!("a search is an object") };
        SearchPlan::new(&IndexInfo::new("movies"), body)
    }

    fn asked(body: Value, alone: bool) -> Value {
        let part = CoverPart { node: NodeIx(0), shards: [ShardId(1)].into_iter().collect(), besides: Besides::Unknown };
        let request = plan(body).unwrap().request(&part, 2, alone);
        assert_eq!(request.path, "/indexes/movies/search");
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn every_node_is_asked_for_all_that_may_lie_in_the_page() {
        assert_eq!(
            asked(json!({"q": "x", "offset": 10, "limit": 5, "cropLength": 3}), false),
            json!({"q": "x", "offset": 0, "limit": 15, "cropLength": 3, "filter": "_miroir_shard IN [\"{{{{{{{}\"]",
                "showRankingScoreDetails": true})
        );
        let page = asked(json!({"page": 3, "hitsPerPage": 4}), false);
        assert_eq!((&page["page"], &page["hitsPerPage"]), (&json!(1), &json!(12)));
        let past = asked(json!({"page": 300, "hitsPerPage": 400}), false);
        assert_eq!((&past["page"], &past["hitsPerPage"]), (&json!(300), &json!(400)));
    }

    #[test]
    fn a_search_for_no_hits_asks_for_one_only_where_all_above_a_threshold_are_counted() {
        let info = IndexInfo { counts_pages_whole: true, ..IndexInfo::new("movies") };
        let reach = |body: Value| SearchPlan::new(&info, body.as_object().unwrap().clone()).unwrap().reach();
        assert_eq!(reach(json!({"q": "ice cream", "rankingScoreThreshold": 0.7, "limit": 0})), 0);
        assert_eq!(reach(json!({"q": "ice cream", "rankingScoreThreshold": 0.7, "hitsPerPage": 0})), 1);
        assert_eq!(reach(json!({"q": "ice", "rankingScoreThreshold": 0.7, "hitsPerPage": 0})), 0);
    }

    #[test]
    fn a_lone_node_is_asked_for_the_clients_page() {
        let body = asked(json!({"offset": 10, "limit": 5}), true);
        assert_eq!(body, json!({"offset": 10, "limit": 5, "filter": "_miroir_shard IN [\"{{{{{{{}\"]"}));
    }

    #[test]
    fn what_the_engine_would_refuse_is_left_to_the_engine() {
        for body in [
            json!({"limit": -1}),
            json!({"offset": 1.5}),
            json!({"page": "1"}),
            json!({"limit": null}),
            json!({"filter": 7}),
            json!({"distinct": []}),
            json!({"showRankingScore": "yes"}),
            json!({"hybrid": 1}),
        ] {
            assert!(matches!(plan(body.clone()), Err(Obstacle::Judge)), "{body}");
        }
    }

    #[test]
    fn reserved_names_are_refused() {
        for body in [
            json!({"filter": "_miroir_shard = 1"}),
            json!({"facets": ["_miroir_shard"]}),
            json!({"sort": ["_miroir_shard:asc"]}),
            json!({"distinct": "_miroir_shard"}),
            json!({"attributesToRetrieve": ["_miroir_shard"]}),
            json!({"attributesToCrop": ["_miroir_shard:3"]}),
        ] {
            assert!(matches!(plan(body.clone()), Err(Obstacle::Refuse(_))), "{body}");
        }
    }

    #[test]
    fn the_distinct_attribute_is_asked_for_and_remembered_as_a_helper() {
        let body = json!({"distinct": "maker.name", "attributesToRetrieve": ["id"], "attributesToHighlight": ["id"]});
        let helpers = plan(body.clone()).unwrap().shown.helpers;
        assert_eq!(helpers, [Helper { field: "maker.name".into(), formatted: true }]);
        assert_eq!(asked(body, false)["attributesToRetrieve"], json!(["id", "maker.name"]));
        let brought = json!({"distinct": "maker.name", "attributesToRetrieve": ["maker"]});
        assert_eq!(plan(brought).unwrap().shown.helpers, []);
        let star = json!({"distinct": "a", "attributesToRetrieve": [], "attributesToHighlight": ["*"]});
        assert_eq!(plan(star).unwrap().shown.helpers, [Helper { field: "a".into(), formatted: false }]);
    }

    #[test]
    fn pages_of_one_search_share_an_identity() {
        let identity = |body| plan(body).unwrap().identity();
        assert_eq!(identity(json!({"q": "x", "page": 1})), identity(json!({"q": "x", "offset": 20})));
        assert_ne!(identity(json!({"q": "x"})), identity(json!({"q": "y"})));
    }
}
