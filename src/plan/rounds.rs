//! What a read asks after its first round, and why. All of it is decided here, from the plan and from what the replies tell:
//! the read itself only asks, and `explain` shows what may follow by trying every case.
//!
//! One example of three documents. A search with `distinct: "maker"` and `facets: ["genre"]` finds films 1 and 2 of maker A on
//! node x and film 3 of maker A on node y. Each node keeps one film, and its facets count what it met itself; one node with all
//! three would keep one of them. So a [`Later::Census`] lists the best film of each maker, and [`Later::Rest`] asks what is left
//! without maker A.

use serde::Serialize;

use super::federation::{FederationPlan, IndexQueries};
use super::scatter::Ask;
use super::search::SearchPlan;
use super::window::Paging;

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
}

/// What ends a page of hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEnd {
    /// It is full: one node would have stopped there. A page of no hits is full.
    Full,
    /// There are no more hits.
    Short,
    /// There are so few hits that it has none.
    Empty,
}

/// What the page tells, as far as it decides what is asked for totals and facets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFacts {
    pub end: PageEnd,
    /// Whether there was a census: one node that has everything is asked for none.
    pub counted: bool,
}

/// A way to what is stated of all hits. They are tried in the order in which [`SearchPlan::statings`] has them, until one tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stating {
    /// By all that may be found, if the page begins behind the last of it: one node looks at no hit then.
    Unsearched,
    /// By the best hits of distinct values, and what they leave.
    Census,
    /// By one node's own walk, made again over the documents that nodes list.
    Replay,
    /// As the nodes stated it with the page.
    AsStated(AsStated),
}

/// What is to be heeded where nodes' own statements are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsStated {
    /// Hits below the threshold were left out: all of them, because nobody filled the page.
    pub threshold: bool,
    pub totals_may_differ: bool,
    pub facets_may_differ: bool,
}

/// What the census tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CensusFacts {
    /// Which of two hits stands for a value was chosen, not known.
    pub tied: bool,
    /// A node may have left out hits for one that is left out here.
    pub hides: bool,
    /// No hit counts.
    pub none: bool,
}

/// A way to what is stated under `distinct`, in the order of [`SearchPlan::countings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// By one node's own walk; `known_to_the_end`: which hits it meets is known from the census already.
    Replay { known_to_the_end: bool },
    /// The census alone, and facets as nodes stated them.
    Listed,
    /// The hits of the census, and what nodes count beside them.
    Rest,
}

/// Where totals and facets of a mixture of words and a vector come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixing {
    /// The replies to the search by the vector, which looks at every document.
    OverReplies,
    /// Every document that passes the filter, asked for.
    Everything,
    /// What the search by the vector left: where it stopped, one node need not have.
    Above,
}

// === impl Later ===

impl Later {
    pub const ALL: &'static [Later] = &[
        Self::Judge,
        Self::KnownAttributes,
        Self::QueryVector,
        Self::Frequencies,
        Self::Stages,
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
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::KnownAttributes => "known_attributes",
            Self::QueryVector => "query_vector",
            Self::Frequencies => "frequencies",
            Self::Stages => "stages",
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
            Self::AsStated(how) if plan.threshold && !how.threshold => vec![Later::WithoutThreshold],
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
    /// True where the page begins behind other hits, and the engine does not look at these.
    fn skips(&self) -> bool {
        self.window.skip() > 0 && !self.from_the_first
    }

    /// True if the page begins behind the last hit, so that the engine does not look at any.
    pub fn is_past_the_end(&self, end: PageEnd) -> bool {
        end == PageEnd::Empty && self.skips() && self.window.take() > 0
    }

    /// The ways to totals and facets, the next where one does not tell.
    pub fn statings(&self, facts: PageFacts) -> Vec<Stating> {
        let paged = matches!(self.window.paging, Paging::Page { .. });
        let full = facts.end == PageEnd::Full;
        let past = self.is_past_the_end(facts.end);
        let mut ways = Vec::new();
        // In page mode one node leaves out what is not distinct also where it has nothing to show.
        if self.distinct.is_some() && !paged && past {
            ways.push(Stating::Unsearched);
        }
        if facts.counted && (self.window.take() > 0 || paged) {
            ways.push(Stating::Census);
            return ways;
        }
        // One node skips hits before the end of the page that nobody here has seen: those that rank well although their
        // score is below the threshold.
        let uneven = self.threshold && self.uneven && full;
        // A page with hits begins among those above the threshold, so that none below is skipped.
        let unscored = self.skips() && (facts.end == PageEnd::Empty || full && self.counts_whole);
        if self.threshold && self.distinct.is_none() && self.window.take() > 0 && (unscored || uneven) {
            ways.push(Stating::Replay);
        }
        // It skips by the bucket, without a look at the scores of what it skips.
        let unscored_past = self.threshold && past;
        if unscored_past && !ways.contains(&Stating::Unsearched) {
            ways.push(Stating::Unsearched);
        }
        // Which documents one node has left out for better ones when its page is full depends on what it met by then.
        let walked = self.window.skip() + self.window.take() > 0;
        let estimated = self.distinct.is_some() && full && walked;
        ways.push(Stating::AsStated(AsStated {
            // A full page leaves nothing out; a node that did not fill it alone has left out what it found too bad.
            threshold: self.threshold && (!full || self.counts_whole),
            totals_may_differ: uneven || estimated || unscored_past,
            facets_may_differ: uneven || unscored_past,
        }));
        ways
    }

    /// How many hits of each node will do to make one node's walk again, where it probably does not go through all of them: it
    /// ends at the first hit below the threshold, with the page, or when each value was met. `stated` are the totals of the
    /// nodes. `None` where all are needed, or nothing says that there are more.
    pub fn likely_listing(&self, end: PageEnd, stated: &[u64]) -> Option<u64> {
        let reach = self.window.reach();
        let enough = match (&self.distinct, self.uneven, end) {
            (Some(_), _, _) if self.exceeds(stated) && !self.threshold => reach.saturating_mul(4).saturating_add(100),
            (Some(_), _, _) | (None, true, PageEnd::Short | PageEnd::Empty) => return None,
            (None, true, PageEnd::Full) if self.counts_whole || self.facets.is_some() => return None,
            // What is below the threshold lies between hits that are not: some more show how far it goes.
            (None, true, PageEnd::Full) => reach.saturating_mul(2),
            (None, false, _) => {
                stated.iter().fold(0, |sum: u64, total| sum.saturating_add(*total)).max(self.window.skip()) + 1
            }
        };
        (enough < self.window.max_total_hits).then_some(enough)
    }

    /// True where a listing of all hits does not tell: with more of them than can be listed, what stays uncounted cannot be.
    pub fn is_listed_in_vain(&self, found: &[u64]) -> bool {
        self.distinct.is_none() && self.uneven && self.exceeds(found)
    }

    /// True if one of the nodes has more documents than it can list.
    fn exceeds(&self, found: &[u64]) -> bool {
        found.iter().any(|found| *found >= self.window.max_total_hits)
    }

    /// True where it is told by the order in which one node got its documents which of them stands for a value: one that no
    /// page has met, or one before the page, or one of two that tie. Only the distinct attribute's own counts do not depend
    /// on that.
    pub fn is_unordered(&self, end: PageEnd, census: CensusFacts) -> bool {
        let paged = matches!(self.window.paging, Paging::Page { .. });
        (end == PageEnd::Full && paged) || self.skips() || census.tied || census.hides
    }

    /// True if facets are of documents that only the walk of one node tells.
    pub fn walks_facets(&self, end: PageEnd, census: CensusFacts) -> bool {
        let shown = self.facets.is_some() && self.facets_shown && !self.counts_only_distinct();
        self.is_unordered(end, census) && shown
    }

    /// The ways to totals and facets under `distinct`, the next where one does not tell.
    pub fn countings(&self, end: PageEnd, census: CensusFacts) -> Vec<Counting> {
        let paged = matches!(self.window.paging, Paging::Page { .. });
        let full = end == PageEnd::Full;
        let walks_facets = self.walks_facets(end, census);
        let walks_scores = self.threshold && (self.uneven || self.skips() && !full || self.counts_whole);
        let known_to_the_end = !self.skips() && !census.hides && !walks_scores;
        let mut ways = Vec::new();
        if walks_facets && (full && paged || !known_to_the_end) || walks_scores || census.hides {
            ways.push(Counting::Replay { known_to_the_end });
        }
        ways.push(if self.facets.is_none() || census.none { Counting::Listed } else { Counting::Rest });
        ways
    }

    /// Where totals and facets of a search by words and a vector come from. `full_of_vectors`: the vector found more than the
    /// page needs, so that it has met none below the threshold, and leaves nothing out.
    pub fn mixing(&self, full_of_vectors: bool) -> Mixing {
        match (&self.distinct, self.threshold) {
            (None, false) => Mixing::OverReplies,
            (None, true) if full_of_vectors && !self.uneven => Mixing::Everything,
            (None, true) | (Some(_), _) => Mixing::Above,
        }
    }

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

// === impl Ask ===

impl Ask {
    /// The rounds that may follow the first, in the order in which they would.
    pub fn later(&self) -> Vec<Later> {
        match self {
            Self::Judge
            | Self::Refused(_)
            | Self::Settings
            | Self::Setting { .. }
            | Self::Document(_)
            | Self::Render(_) => Vec::new(),
            // While copies are made, documents are counted shard by shard.
            Self::Stats(_) => vec![Later::Slices],
            Self::Search(plan) => plan.later(),
            Self::MultiSearch(plan) => in_order(plan.queries.iter().flat_map(SearchPlan::later).collect()),
            Self::FacetSearch(_) => vec![Later::Judge, Later::FacetValues],
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
        let paged = plan(&info, json!({"q": "a", "page": 2, "hitsPerPage": 5, "rankingScoreThreshold": 0.5}));
        assert_eq!(ways(&paged, false)[..2], [replayed, vec!["as stated"]]);
        // Engines that look at hits from the first skip nothing unseen.
        let info = IndexInfo { searches_from_the_first: true, ..IndexInfo::new("movies") };
        let all = vec!["as stated"];
        assert_eq!(ways(&plan(&info, search), false), [all.clone(), all.clone(), all]);
    }

    #[test]
    fn the_walk_is_made_over_few_hits_where_it_ends_early() {
        let below = |more: Value, info: &IndexInfo| {
            let mut body = json!({"q": "a", "offset": 5, "limit": 5, "rankingScoreThreshold": 0.5});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            plan(info, body)
        };
        let even = below(json!({}), &IndexInfo::new("movies"));
        assert_eq!(even.likely_listing(PageEnd::Empty, &[1, 2]), Some(6));
        assert_eq!(even.likely_listing(PageEnd::Full, &[10, 20]), Some(31));
        assert_eq!(even.likely_listing(PageEnd::Full, &[3000, 1]), None);
        assert!(!even.is_listed_in_vain(&[3000]));
        let sorted = below(json!({"sort": ["price:asc"]}), &IndexInfo::new("movies"));
        assert!(sorted.uneven);
        assert_eq!(sorted.likely_listing(PageEnd::Full, &[300]), Some(20));
        assert_eq!(sorted.likely_listing(PageEnd::Short, &[3]), None);
        assert!(sorted.is_listed_in_vain(&[1, 1000]) && !sorted.is_listed_in_vain(&[999, 999]));
        let counted = below(json!({"sort": ["price:asc"], "facets": ["maker"]}), &IndexInfo::new("movies"));
        assert_eq!(counted.likely_listing(PageEnd::Full, &[300]), None);
        let distinct = plan(&IndexInfo::new("movies"), json!({"offset": 5, "limit": 5, "distinct": "maker"}));
        assert_eq!(distinct.likely_listing(PageEnd::Full, &[999, 999]), None);
        assert_eq!(distinct.likely_listing(PageEnd::Full, &[999, 1000]), Some(140));
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
