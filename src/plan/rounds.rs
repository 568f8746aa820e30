//! What a read asks after its first round, and why. All of it is decided here, from the plan and from what the replies tell:
//! the read itself only asks, and `explain` shows what may follow by trying every case.
//!
//! One example of three documents. A search with `distinct: "maker"` and `facets: ["genre"]` finds films 1 and 2 of maker A on
//! node x and film 3 of maker A on node y. Each node keeps one film, and its facets count what it met itself; one node with all
//! three would keep one of them. So a [`Later::Census`] lists the best film of each maker, and [`Later::Rest`] asks what is left
//! without maker A.

use serde::Serialize;

use super::federation::{FederationPlan, IndexQueries};
use super::scatter::{Ask, Scatter};
use super::search::SearchPlan;
use super::stated::{CensusFacts, Counting, Mixing, PageEnd, PageFacts, Stating};

/// A round of questions after the first, or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Later {
    /// A node found fault with what Miroir made of the request: one is asked what it says of the client's own.
    Judge,
    /// Not every node knows each attribute to search on: each is asked which it knows, then everything again.
    KnownAttributes,
    /// The words are embedded, once, by one node.
    QueryVector,
    /// How many documents have each word of the query.
    Frequencies,
    /// The documents with all words, with all but the most frequent, and so on.
    Stages,
    /// Hits above the threshold of nodes that relate typos to fewer than others do.
    NodeThresholds,
    /// Hits by the vector, where those by words are not good enough.
    ByVector,
    /// Hits by words alone, in the form of the client's page.
    ByWords,
    /// All hits up to the end of the page, of nodes that have more of it than their likely share.
    LargerShare,
    /// The best hit of each distinct value.
    Census,
    /// All hits, whatever their distinct value, because a node left one out that another one displaces.
    WithoutDistinct,
    /// All that may be found, to learn whether the page begins behind the last of it.
    Unsearched,
    /// Every hit in order, to walk through them as one node does.
    Listing,
    /// What nodes that stopped at the end of the page count without the threshold.
    WithoutThreshold,
    /// What is left beside hits of values that were met.
    Rest,
    /// The first document of each value that no page has met, and which of two that look alike is the first.
    Firsts,
    /// Every document that passes the filter.
    Everything,
    /// Values of facets that a node's own list does not tell.
    FacetValues,
    /// Which words nodes know, for marks that may be too long or missing.
    Marks,
    /// Each search of a federation by itself.
    Apart,
    /// Pairs of searches, to learn whether one node would compare them.
    Pairs,
    /// What lies near the vectors of a document.
    Near,
    /// The slices that make up a page of documents.
    Slices,
    /// Documents of other indexes that hits name.
    Joined,
}

// === impl Later ===

impl Later {
    /// Every round that may follow the first.
    pub const ALL: &'static [Later] = &[
        Self::Judge,
        Self::KnownAttributes,
        Self::QueryVector,
        Self::Frequencies,
        Self::Stages,
        Self::NodeThresholds,
        Self::ByVector,
        Self::ByWords,
        Self::LargerShare,
        Self::Census,
        Self::WithoutDistinct,
        Self::Unsearched,
        Self::Listing,
        Self::WithoutThreshold,
        Self::Rest,
        Self::Firsts,
        Self::Everything,
        Self::FacetValues,
        Self::Marks,
        Self::Apart,
        Self::Pairs,
        Self::Near,
        Self::Slices,
        Self::Joined,
    ];

    /// As metrics name it, in `snake_case`; JSON has `camelCase`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::KnownAttributes => "known_attributes",
            Self::QueryVector => "query_vector",
            Self::Frequencies => "frequencies",
            Self::Stages => "stages",
            Self::NodeThresholds => "node_thresholds",
            Self::ByVector => "by_vector",
            Self::ByWords => "by_words",
            Self::LargerShare => "larger_share",
            Self::Census => "census",
            Self::WithoutDistinct => "without_distinct",
            Self::Unsearched => "unsearched",
            Self::Listing => "listing",
            Self::WithoutThreshold => "without_threshold",
            Self::Rest => "rest",
            Self::Firsts => "firsts",
            Self::Everything => "everything",
            Self::FacetValues => "facet_values",
            Self::Marks => "marks",
            Self::Apart => "apart",
            Self::Pairs => "pairs",
            Self::Near => "near",
            Self::Slices => "slices",
            Self::Joined => "joined",
        }
    }
}

// === impl Stating ===

impl Stating {
    fn rounds(self, plan: &SearchPlan) -> Vec<Later> {
        match self {
            Self::Unsearched => vec![Later::Unsearched],
            Self::Census => Vec::new(),
            Self::Replay => replayed(plan),
            Self::Met => vec![Later::Census, Later::Rest],
            Self::AsStated(how) if plan.threshold.is_some() && !how.threshold => vec![Later::WithoutThreshold],
            Self::AsStated(_) => Vec::new(),
        }
    }
}

// === impl Counting ===

impl Counting {
    fn rounds(self, plan: &SearchPlan) -> Vec<Later> {
        match self {
            Self::Replay { .. } => replayed(plan),
            Self::Listed => Vec::new(),
            Self::Rest => vec![Later::Rest],
        }
    }
}

fn replayed(plan: &SearchPlan) -> Vec<Later> {
    if plan.listing().is_some() { vec![Later::Listing, Later::Rest, Later::Firsts] } else { Vec::new() }
}

// === impl SearchPlan ===

impl SearchPlan {
    /// The rounds that may follow the first.
    pub fn later(&self) -> Vec<Later> {
        let mut rounds = match self.hybrid() {
            None => self.later_one_way(),
            Some(hybrid) => {
                let mut rounds = hybrid.words.later_one_way();
                rounds.extend([Later::ByVector, Later::ByWords]);
                rounds.extend(hybrid.by_vector.request_embedding().map(|_| Later::QueryVector));
                if [false, true].into_iter().any(|full| self.mixing(full) == Mixing::Everything) {
                    rounds.push(Later::Everything);
                }
                rounds
            }
        };
        if self.facets.is_some() {
            rounds.push(Later::FacetValues);
        }
        if self.names_attributes_to_search_on() {
            rounds.push(Later::KnownAttributes);
        }
        rounds.push(Later::Judge);
        in_order(rounds)
    }

    fn later_one_way(&self) -> Vec<Later> {
        let mut rounds = Vec::new();
        let asked = [
            (self.request_embedding().is_some(), Later::QueryVector),
            (self.has_shares(), Later::LargerShare),
            (self.least_by_typos().is_some(), Later::NodeThresholds),
            (self.census().is_some(), Later::Census),
            (self.undistinguished().is_some(), Later::WithoutDistinct),
            (self.marking.is_some(), Later::Marks),
        ];
        rounds.extend(asked.into_iter().filter(|(asked, _)| *asked).map(|(_, round)| round));
        if self.by_frequency.is_known() {
            rounds.extend([Later::Frequencies, Later::Stages]);
        }
        for end in [PageEnd::Full, PageEnd::Short, PageEnd::Empty] {
            for counted in [false, self.census().is_some()] {
                let ways = self.statings(PageFacts { end, counted });
                rounds.extend(ways.iter().flat_map(|way| way.rounds(self)));
                if !ways.contains(&Stating::Census) {
                    continue;
                }
                for facts in 0..8 {
                    let facts = CensusFacts { tied: facts & 1 > 0, hides: facts & 2 > 0, none: facts & 4 > 0 };
                    rounds.extend(self.countings(end, facts).into_iter().flat_map(|way| way.rounds(self)));
                }
            }
        }
        rounds
    }
}

// === impl FederationPlan ===

impl FederationPlan {
    /// The rounds that may follow the first.
    pub fn later(&self) -> Vec<Later> {
        let apart = self.indexes.iter().any(|index| index.apart.is_some());
        let distinct = self.indexes.iter().any(IndexQueries::has_distinct);
        let mut rounds = vec![Later::Judge];
        let asked = [
            (apart, Later::Apart),
            (apart || self.check.is_some(), Later::Pairs),
            (distinct && self.undistinguished(1).is_some(), Later::WithoutDistinct),
            (self.indexes.iter().any(|index| index.facets.is_some()), Later::FacetValues),
        ];
        rounds.extend(asked.into_iter().filter(|(asked, _)| *asked).map(|(_, round)| round));
        in_order(rounds)
    }
}

// === impl Scatter ===

impl Scatter {
    /// The rounds that may follow the first, in the order in which they would.
    pub fn later(&self) -> Vec<Later> {
        let mut rounds = self.ask.later();
        if !self.joins.is_empty() {
            // Many documents are counted first.
            rounds.extend([Later::Slices, Later::Joined]);
        }
        in_order(rounds)
    }
}

// === impl Ask ===

impl Ask {
    /// The rounds that may follow the first, in the order in which they would.
    pub fn later(&self) -> Vec<Later> {
        match self {
            Self::Judge
            | Self::Refused(_)
            | Self::Settings
            | Self::Setting { .. }
            | Self::DynamicSearchRules
            | Self::Document(_)
            | Self::Render(_) => Vec::new(),
            // While copies are made, documents are counted shard by shard.
            Self::Stats(_) => vec![Later::Slices],
            Self::Search(plan) => plan.later(),
            Self::MultiSearch(plan) => in_order(plan.queries.iter().flat_map(SearchPlan::later).collect()),
            Self::FacetSearch(plan) => {
                let counting = plan.counted_by.iter().flat_map(|search| search.later());
                in_order(counting.chain([Later::Judge, Later::FacetValues]).collect())
            }
            Self::Similar(_) => vec![Later::Near],
            Self::Fields(_) => vec![Later::Judge],
            Self::Federation(plan) => plan.later(),
            Self::Documents(plan) if plan.is_counted_first() => vec![Later::Judge, Later::Slices],
            Self::Documents(_) => vec![Later::Judge],
        }
    }
}

fn in_order(mut rounds: Vec<Later>) -> Vec<Later> {
    rounds.sort_unstable();
    rounds.dedup();
    rounds
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::index_info::IndexInfo;

    fn plan(info: &IndexInfo, body: Value) -> SearchPlan {
        SearchPlan::new(info, body.as_object().unwrap().clone()).unwrap()
    }

    /// The ways by name, those to the end of each page one after the other.
    fn ways(plan: &SearchPlan, counted: bool) -> [Vec<&'static str>; 3] {
        [PageEnd::Full, PageEnd::Short, PageEnd::Empty].map(|end| {
            let ways = plan.statings(PageFacts { end, counted });
            let names = ways.iter().map(|way| match way {
                Stating::Unsearched => "unsearched",
                Stating::Census => "census",
                Stating::Replay => "replay",
                Stating::Met => "met",
                Stating::AsStated(_) => "as stated",
            });
            names.collect()
        })
    }

    #[test]
    fn what_nodes_state_of_a_plain_search_is_summed() {
        let plain = plan(&IndexInfo::new("movies"), json!({"q": "a", "offset": 5, "limit": 5, "facets": ["genre"]}));
        assert_eq!(ways(&plain, false), [["as stated"], ["as stated"], ["as stated"]]);
        assert_eq!(plain.later(), [Later::Judge, Later::LargerShare, Later::FacetValues]);
    }

    #[test]
    fn a_threshold_behind_the_first_page_needs_the_walk_of_one_node() {
        let search = json!({"q": "a", "offset": 5, "limit": 5, "rankingScoreThreshold": 0.5});
        let below = plan(&IndexInfo::new("movies"), search.clone());
        let replayed = ["replay", "as stated"].to_vec();
        let past = ["replay", "unsearched", "as stated"].to_vec();
        assert_eq!(ways(&below, false), [vec!["as stated"], vec!["as stated"], past]);
        let info = IndexInfo { counts_pages_whole: true, ..IndexInfo::new("movies") };
        let page = json!({"q": "a", "page": 2, "hitsPerPage": 5, "rankingScoreThreshold": 0.5});
        // All above are counted, and a page with hits lies among these.
        assert_eq!(ways(&plan(&info, page.clone()), false)[..2], [["as stated"], ["as stated"]]);
        // What is sorted before all is scored lies before the page whatever it scores.
        let rising = IndexInfo { ranking_rules: ["words", "sort", "exactness"].map(str::to_owned).to_vec(), ..info };
        let mut sorted = page.clone();
        sorted["sort"] = json!(["year:asc"]);
        assert_eq!(ways(&plan(&rising, sorted.clone()), false)[..2], [replayed.clone(), replayed]);
        let newer = IndexInfo { searches_from_the_first: true, ..rising };
        assert_eq!(ways(&plan(&newer, sorted), false), [["as stated"]; 3]);
        let all_that_can_be_reached =
            plan(&newer, json!({"page": 1, "hitsPerPage": 1000, "rankingScoreThreshold": 0.5}));
        assert!(!all_that_can_be_reached.counts_all_above() && plan(&newer, page).counts_all_above());
        // Engines that look at hits from the first skip nothing unseen.
        let info = IndexInfo { searches_from_the_first: true, ..IndexInfo::new("movies") };
        let all = vec!["as stated"];
        assert_eq!(ways(&plan(&info, search), false), [all.clone(), all.clone(), all]);
    }

    #[test]
    fn distinct_values_are_counted_by_a_census_where_nodes_took_one() {
        let distinct =
            plan(&IndexInfo::new("movies"), json!({"q": "a", "distinct": "maker", "facets": ["genre"], "offset": 5}));
        assert_eq!(ways(&distinct, true), [vec!["census"], vec!["census"], vec!["unsearched", "census"]]);
        assert_eq!(ways(&distinct, false)[0], ["as stated"]);
        let counting = |end, tied, none| distinct.countings(end, CensusFacts { tied, hides: false, none });
        assert_eq!(counting(PageEnd::Short, false, true).last(), Some(&Counting::Listed));
        // The page begins behind others: which documents stood for their values there only the walk tells.
        let replay = Counting::Replay { known_to_the_end: false };
        assert_eq!(counting(PageEnd::Full, false, false), [replay, Counting::Rest]);
        for round in [Later::Census, Later::WithoutDistinct, Later::Unsearched, Later::Rest, Later::FacetValues] {
            assert!(distinct.later().contains(&round), "{round:?}");
        }
    }

    #[test]
    fn the_total_of_a_full_page_under_distinct_is_counted_beside_what_was_met() {
        let info = IndexInfo::new("movies");
        let page = plan(&info, json!({"q": "a", "distinct": "maker", "limit": 5}));
        assert_eq!(ways(&page, false), [vec!["met", "as stated"], vec!["as stated"], vec!["as stated"]]);
        assert!([Later::Census, Later::Rest].iter().all(|round| page.later().contains(round)));
        let sorted_unseen = IndexInfo { displayed: Some(vec!["maker".into()]), ..info };
        let unseen = plan(&sorted_unseen, json!({"distinct": "maker", "sort": ["year:asc"], "limit": 5}));
        assert_eq!(ways(&unseen, false)[0], ["as stated"]);
    }

    #[test]
    fn a_request_that_names_no_distinct_attribute_has_that_of_the_settings() {
        let without = IndexInfo { breaks_ties: true, ..IndexInfo::new("movies") };
        let settings = IndexInfo { distinct: Some("maker".into()), ..without.clone() };
        for (info, body, lifted) in [
            (&without, json!({"distinct": "series"}), true),
            (&settings, json!({"distinct": "series"}), false),
            (&settings, json!({"q": "a"}), false),
        ] {
            let plan = plan(info, body.clone());
            assert_eq!((plan.undistinguished().is_some(), plan.listing().is_some()), (lifted, lifted), "{body}");
        }
    }

    #[test]
    fn a_mixture_is_counted_over_the_replies_where_no_hit_is_left_out() {
        let mix = |more: Value| {
            let mut body = json!({"q": "a", "vector": [1], "hybrid": {"embedder": "e"}});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            plan(&IndexInfo::new("movies"), body)
        };
        assert_eq!(mix(json!({})).mixing(true), Mixing::OverReplies);
        let below = mix(json!({"rankingScoreThreshold": 0.2}));
        assert_eq!((below.mixing(true), below.mixing(false)), (Mixing::Everything, Mixing::Above));
        assert_eq!(mix(json!({"distinct": "maker"})).mixing(true), Mixing::Above);
        assert!(below.later().contains(&Later::Everything) && !mix(json!({})).later().contains(&Later::Everything));
    }
}
