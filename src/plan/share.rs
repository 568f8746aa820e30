//! Which of its hits a node is asked for: its share of the page, with so much to spare that it hardly ever is too little.
//!
//! Documents are spread over shards by a hash, whatever a search finds. So of the first n hits a node that answers for the part p
//! of the shards has n·p, give or take √(n·p·(1-p)): a binomial distribution. It is asked for what lies within some deviations
//! of that. Whether that was enough, the lists themselves tell (`merge/shares.rs`), and a node of which it was not is asked for
//! everything up to the end of the page; so chance decides about the cost only.
//!
//! Example: of the 20 hits of a first page one of three nodes has 6.7 ± 2.1, and is asked for 14. Of the 1,000 hits before a
//! page at offset 1,000 it has 333 ± 15, and is asked for about a hundred hits from its 287th on.

use super::by_frequency::ByFrequency;
use super::mix::Mix;
use super::search::SearchPlan;
use super::span::Span;
use super::window::Paging;
use crate::placement::cover::CoverPart;

// === impl SearchPlan ===

impl SearchPlan {
    /// True if a node's list can be asked for in part: if neither totals, nor facets, nor scores, nor the order of its hits
    /// depend on what else it lists.
    pub fn has_shares(&self) -> bool {
        let by_words = self.mix != Mix::WordsOfMixed && !self.names_a_vector();
        // What is left out for another hit, what is too bad and what is about equally far is told by whole lists; how scores
        // are stated, too.
        let whole = self.distinct.is_some()
            || self.threshold.is_some()
            || self.shown.score
            || self.shown.details
            || self.sorts_by_distance()
            || self.sorted_unseen.is_some()
            || self.pins.is_some();
        by_words && !whole && self.by_frequency == ByFrequency::No && self.window.take() > 0
    }

    /// What a node of several is asked for that answers for `part` of the `shards`.
    pub fn span(&self, part: &CoverPart, shards: u16) -> Span {
        if !self.has_shares() {
            return self.span_of_census().or_else(|| self.span_of_met()).unwrap_or(Span::UpToTheEnd);
        }
        let (before, reach) = (self.window.skip(), self.window.reach());
        let part = part.shards.len() as f64 / f64::from(shards);
        let end = at_most(reach, part).min(reach);
        // Which of several hits that tie lie before the page, only their places tell.
        let start = if self.breaks_ties { at_least(before, part) } else { 0 };
        let (skip, take) = match self.window.paging {
            Paging::Offset { .. } => (start, end - start),
            Paging::Page { .. } => as_page(start, end),
        };
        if skip == 0 && take >= reach { Span::UpToTheEnd } else { Span::Share { skip, take } }
    }
}

/// The smallest page in the words of page mode that has everything from `start` to `end`, as the hits before it and on it: pages
/// are all of one size there. From 287 to 389 it is the third of 130 hits.
fn as_page(start: u64, end: u64) -> (u64, u64) {
    let most_before = (end / (end - start).max(1)).max(1) - 1;
    let pages = (0..=most_before).rev().map(|before| (before, end.div_ceil(before + 1)));
    let fits = pages.map(|(before, size)| (before * size, size)).find(|(skip, _)| *skip <= start);
    fits.unwrap_or((0, end))
}

/// So many deviations are so rarely exceeded on either side that of the searches of any number of nodes less than one in a
/// hundred needs more of one of them.
fn deviations(part: f64) -> f64 {
    2.85 - 0.27 * part.ln()
}

/// How far a binomial distribution leans to the side of its longer tail at so many deviations (Cornish and Fisher).
fn lean(part: f64, deviations: f64) -> f64 {
    (deviations * deviations - 1.0) * (1.0 - 2.0 * part) / 6.0
}

fn deviation(hits: u64, part: f64) -> f64 {
    (hits as f64 * part * (1.0 - part)).sqrt()
}

/// More than a node with this part of all documents has of the first `hits`, in all likelihood.
fn at_most(hits: u64, part: f64) -> u64 {
    let far = deviations(part);
    let lean = lean(part, far).max(0.0);
    (hits as f64 * part + far * deviation(hits, part) + lean).ceil().max(1.0) as u64
}

/// Less than a node with this part of all documents has of the first `hits`, in all likelihood.
fn at_least(hits: u64, part: f64) -> u64 {
    let far = deviations(part);
    // Of few hits the lean would promise more than there are.
    let lean = lean(part, far).min(0.0);
    (hits as f64 * part - far * deviation(hits, part) + lean - 0.5).floor().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::placement::cover::Besides;
    use crate::placement::shard::{ShardId, ShardSet};
    use crate::placement::topology::NodeIx;
    use crate::plan::index_info::IndexInfo;

    fn plan(body: Value) -> SearchPlan {
        let info = IndexInfo { breaks_ties: true, ..IndexInfo::new("movies") };
        SearchPlan::new(&info, body.as_object().unwrap().clone()).unwrap()
    }

    fn part(shards: u16) -> CoverPart {
        CoverPart { node: NodeIx(0), shards: (0..shards).map(ShardId).collect(), besides: Besides::Unknown }
    }

    fn span(body: Value) -> Span {
        plan(body).span(&part(85), 256)
    }

    /// The chances of 0, 1, … of `hits`.
    fn binomial(hits: u64, part: f64) -> Vec<f64> {
        let mut logarithm = hits as f64 * (1.0 - part).ln();
        let mut chances = Vec::new();
        for count in 0..=hits {
            chances.push(logarithm.exp());
            let (count, hits) = (count as f64, hits as f64);
            logarithm += ((hits - count) / (count + 1.0)).ln() + (part / (1.0 - part)).ln();
        }
        chances
    }

    #[test]
    fn less_than_one_search_in_a_hundred_needs_more_than_shares() {
        // With two replicas one of two nodes answers for about two thirds.
        let parts = [2u16, 3, 4, 5, 6, 8, 12, 16, 32, 64].map(|nodes| 1.0 / f64::from(nodes));
        for part in parts.into_iter().chain([2.0 / 3.0]) {
            for (before, page) in
                [(0, 1), (0, 3), (0, 10), (0, 20), (0, 100), (20, 20), (60, 20), (200, 20), (980, 20), (1000, 100)]
            {
                let reach = before + page;
                let end = at_most(reach, part).min(reach);
                let start = at_least(before, part);
                let over: f64 = binomial(reach, part).iter().skip(end as usize).sum();
                let over = if end == reach { 0.0 } else { over };
                let under: f64 = binomial(before, part).iter().take(start as usize + 1).sum();
                let under = if start == 0 { 0.0 } else { under };
                let of_all = (over + under) / part;
                assert!(of_all < 0.01, "a part of {part}, {before}+{page}: {of_all}");
            }
        }
    }

    #[test]
    fn a_node_of_three_is_asked_for_its_share_and_some() {
        assert_eq!(span(json!({"q": "a"})), Span::Share { skip: 0, take: 14 });
        assert_eq!(span(json!({"q": "a", "limit": 2})), Span::UpToTheEnd);
        let Span::Share { skip, take } = span(json!({"q": "a", "offset": 900, "limit": 20})) else { panic!() };
        assert!((240..280).contains(&skip) && skip + take > 340 && take < 120, "{skip} {take}");
        // What cannot be reached is asked of nobody.
        assert_eq!(span(json!({"offset": 1000})), Span::UpToTheEnd);
    }

    #[test]
    fn a_share_in_page_mode_is_a_page_of_another_size() {
        for (page, size) in [(1, 20), (2, 20), (4, 20), (10, 50), (50, 20), (1000, 1)] {
            let paged = span(json!({"q": "a", "page": page, "hitsPerPage": size}));
            let plain = span(json!({"q": "a", "offset": (page - 1) * size, "limit": size}));
            match (paged, plain) {
                (Span::Share { skip, take }, Span::Share { skip: start, take: wanted }) => {
                    assert_eq!(skip % take, 0, "{page} {size}");
                    assert!(skip <= start && skip + take >= start + wanted, "{page} {size}");
                    assert!(take <= wanted * 2, "{page} {size}: {take} for {wanted}");
                }
                (paged, plain) => assert_eq!(paged, plain),
            }
        }
    }

    #[test]
    fn the_smallest_page_is_found_however_narrow_the_span() {
        assert_eq!(as_page(287, 389), (260, 130));
        assert_eq!(as_page(0, 14), (0, 14));
        for (start, end) in [(966, 1000), (5, 6), (998, 1000), (1, 1000), (300, 401)] {
            let (skip, take) = as_page(start, end);
            assert!(skip <= start && skip + take >= end && skip % take == 0, "{start} {end}: {skip} {take}");
            assert!(take <= (end - start) * 2, "{start} {end}: {skip} {take}");
        }
    }

    #[test]
    fn lists_that_tell_something_else_are_whole() {
        for body in [
            json!({"distinct": "maker"}),
            json!({"rankingScoreThreshold": 0.1}),
            json!({"showRankingScore": true}),
            json!({"showRankingScoreDetails": true}),
            json!({"sort": ["_geoPoint(1, 2):asc"]}),
            json!({"vector": [1.0], "hybrid": {"embedder": "e", "semanticRatio": 1.0}}),
            json!({"q": "a b", "matchingStrategy": "frequency"}),
            json!({"limit": 0}),
        ] {
            assert_eq!(span(body.clone()), Span::UpToTheEnd, "{body}");
        }
        let unseen = IndexInfo { displayed: Some(vec!["id".into()]), ..IndexInfo::new("movies") };
        let body = json!({"sort": ["price:asc"]});
        let sorted = SearchPlan::new(&unseen, body.as_object().unwrap().clone()).unwrap();
        assert_eq!(sorted.span(&part(85), 256), Span::UpToTheEnd);
    }

    #[test]
    fn without_places_nobody_leaves_out_hits_before_the_page() {
        let body = json!({"offset": 500});
        let plan = SearchPlan::new(&IndexInfo::new("movies"), body.as_object().unwrap().clone()).unwrap();
        let span = plan.span(&part(64), 256);
        assert!(matches!(span, Span::Share { skip: 0, take } if take < 200), "{span:?}");
        assert_eq!(plan.span(&CoverPart { shards: ShardSet::all(256), ..part(1) }, 256), Span::UpToTheEnd);
    }
}
