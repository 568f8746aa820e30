//! Where the totals and facets of a search come from, once its page is known: the ways to them, and which of them comes first.

use super::search::SearchPlan;
use super::window::Paging;

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
    /// By the hits that one node has met when its page is full, and the documents that have none of their values. Example under `distinct:
    /// "maker"`, a page of two: the best films are of the makers A and B, and four more are of neither. The total is six.
    Met,
    /// As the nodes stated it with the page.
    AsStated(AsStated),
}

/// What is to be heeded where nodes' own statements are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsStated {
    /// Hits below the threshold were left out: all of them, because nobody filled the page. Example: a page of five, and three hits
    /// score above 0.5. One node looks at all hits for two more, and leaves out what is below. With six above 0.5 it stops when the
    /// page is full, and leaves out none behind; but newer engines, in page mode, count all that is above ([`CountedAbove::All`]).
    ///
    /// [`CountedAbove::All`]: super::threshold::CountedAbove::All
    pub threshold: bool,
    /// The sum may differ from one node's total. Example under `distinct: "maker"`, a page of two: node x has films of five makers, and
    /// stops when it has met two of them. It has left out other films of those two only, and one node with all films may have met
    /// others by then.
    pub totals_may_differ: bool,
    /// So may the sums of facets. Example: `price:asc` stands before the words, the threshold is 0.5, a page of two. Node x has films
    /// of the prices 1, 2 and 3 with the scores 0.9, 0.2 and 0.9, node y has one of price 1.5 with 0.9. x looks for a second hit beyond
    /// the film of price 2, and does not count that one. One node's page is full before it, and counts it.
    pub facets_may_differ: bool,
}

/// What the census tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CensusFacts {
    /// Which of two hits stands for a value was chosen, not known. Example: two films of one maker tie; see `Page::tied`.
    pub tied: bool,
    /// A node may have left out hits for one that is left out here; see `Merged::hides`.
    pub hides: bool,
    /// No hit counts. Example: the search finds nothing, so there are no values to be left out of what nodes count.
    pub none: bool,
}

/// A way to what is stated under `distinct`, in the order of [`SearchPlan::countings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// By one node's own walk; `known_to_the_end`: which hits it meets is known from the census already. Example: a page of two from the
    /// first hit on. The census lists the best film of each maker, and the walk meets the first two of these. With an
    /// offset it takes what lies before the page by the bucket, and may keep another film of a maker.
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

// === impl SearchPlan ===

impl SearchPlan {
    /// True where the page begins behind other hits, and the engine does not look at these.
    pub fn skips(&self) -> bool {
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
        let lists = self.walked_window().take() > 0;
        if facts.counted && (lists || paged) {
            ways.push(Stating::Census);
            return ways;
        }
        let counts_all = self.counts_all_above();
        // One node skips hits before the end of the page that nobody here has seen: those that rank well although their
        // score is below the threshold. Where all above are counted, it looks at every hit but those before the page.
        let rises = self.scores_rise_again() && if counts_all { self.skips() && !past } else { full };
        // A page with hits begins among those above the threshold, so that none below is skipped.
        let unscored = self.skips() && facts.end == PageEnd::Empty;
        if self.threshold.is_some() && self.distinct.is_none() && lists && (unscored || rises) {
            ways.push(Stating::Replay);
        }
        // It skips by the bucket, without a look at the scores of what it skips.
        let unscored_past = self.threshold.is_some() && past;
        if unscored_past && !ways.contains(&Stating::Unsearched) {
            ways.push(Stating::Unsearched);
        }
        // Which documents one node has left out for better ones when its page is full depends on what it met by then.
        let walked = self.window.skip() + self.window.take() > 0;
        let estimated = self.distinct.is_some() && full && walked;
        if estimated && self.counts_unmet() {
            ways.push(Stating::Met);
        }
        // Nodes list all up to the end of the page, and a list of all that can be reached ends a node's walk, not that of one node that
        // has everything and lists the page alone.
        let ended = counts_all && self.window.reach() >= self.window.max_total_hits;
        ways.push(Stating::AsStated(AsStated {
            // A full page leaves nothing out; a node that did not fill it alone has left out what it found too bad.
            threshold: self.threshold.is_some() && (!full || counts_all),
            totals_may_differ: rises || estimated || unscored_past || ended,
            facets_may_differ: rises || unscored_past || ended,
        }));
        ways
    }

    /// How many hits of each node will do to make one node's walk again, where it probably does not go through all of them: it
    /// ends at the first hit below the threshold, with the page, or when each value was met. `stated` are the totals of the
    /// nodes. `None` where all are needed, or nothing says that there are more.
    pub fn likely_listing(&self, end: PageEnd, stated: &[u64]) -> Option<u64> {
        let reach = self.reach();
        let enough = match (&self.distinct, self.scores_rise_again(), end) {
            (Some(_), _, _) if self.exceeds(stated) && self.threshold.is_none() => {
                reach.saturating_mul(4).saturating_add(100)
            }
            (Some(_), _, _) | (None, true, PageEnd::Short | PageEnd::Empty) => return None,
            (None, true, PageEnd::Full) if self.counts_all_above() || self.facets.is_some() => return None,
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
        self.distinct.is_none() && self.scores_rise_again() && self.exceeds(found)
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
        let walks_scores =
            self.threshold.is_some() && (self.scores_rise_again() || self.skips() && !full || self.counts_all_above());
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
        match (&self.distinct, self.threshold.is_some()) {
            (None, false) => Mixing::OverReplies,
            (None, true) if full_of_vectors && !self.scores_rise_again() => Mixing::Everything,
            (None, true) | (Some(_), _) => Mixing::Above,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::index_info::IndexInfo;

    fn plan(info: &IndexInfo, body: Value) -> SearchPlan {
        SearchPlan::new(info, body.as_object().unwrap().clone()).unwrap()
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
        assert!(sorted.scores_rise_again());
        assert_eq!(sorted.likely_listing(PageEnd::Full, &[300]), Some(20));
        assert_eq!(sorted.likely_listing(PageEnd::Short, &[3]), None);
        assert!(sorted.is_listed_in_vain(&[1, 1000]) && !sorted.is_listed_in_vain(&[999, 999]));
        let counted = below(json!({"sort": ["price:asc"], "facets": ["maker"]}), &IndexInfo::new("movies"));
        assert_eq!(counted.likely_listing(PageEnd::Full, &[300]), None);
        let distinct = plan(&IndexInfo::new("movies"), json!({"offset": 5, "limit": 5, "distinct": "maker"}));
        assert_eq!(distinct.likely_listing(PageEnd::Full, &[999, 999]), None);
        assert_eq!(distinct.likely_listing(PageEnd::Full, &[999, 1000]), Some(140));
    }
}
