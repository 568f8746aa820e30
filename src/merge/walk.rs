//! Which of the documents that a search finds one node still counts when it has filled the page.
//!
//! The engine sorts by one rule after the other: a rule cuts documents into buckets, and the next rule sorts each of them.
//! What it counts follows from how it walks. A bucket that lies before the page as a whole is taken at once, without a
//! look at the rules that are left: of the documents with one distinct value the first written stays then, not the best,
//! and scores below the threshold are not noticed. It stops at the end of the page, and what it has not met stays
//! counted. So the walk is made again here, over the documents as the nodes list them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::listing::{Listed, Listing};
use super::order::Score;
use crate::plan::search::SearchPlan;
use crate::plan::threshold::ScoreOrder;
use crate::plan::values::Key;
use crate::plan::window::Paging;

/// What decides about how far the engine walks, and over what.
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    pub skip: usize,
    pub take: usize,
    /// Whether only the best of each distinct value is kept. Example: a and b of one maker, c of another: a and c are.
    pub distinct: bool,
    /// What scores less does not count; between 0 and 1.
    pub threshold: Option<f64>,
    /// Whether scores fall with the rank. Example where they rise again: `price:asc` stands before `words`. a costs 1 and scores 0.5, b costs
    /// 2 and scores 0.9, c costs 3 and scores 0.4: with the threshold 0.6, b counts, although a before it does not.
    pub scores: ScoreOrder,
    /// True in page mode, where values that were not met keep only their first document, too. Example: b and c have one
    /// value, and the page ends behind a. Two count in page mode, a and the older one of the others; else all three.
    pub paged: bool,
}

/// What is left after a walk.
#[derive(Debug)]
pub struct Left<'a> {
    /// Documents that count.
    pub documents: Vec<Cow<'a, str>>,
    pub beyond: Beyond,
}

/// What counts beside the documents named.
#[derive(Debug, PartialEq)]
pub enum Beyond {
    Nothing,
    /// Every document that is not listed.
    Unlisted,
    /// Every document without a distinct value, and those whose value is not among these.
    Unmet(HashSet<Key>),
}

/// How a walk ends.
#[derive(Debug)]
pub enum Outcome<'a> {
    Left(Left<'a>),
    /// The listing ends too early. Over one of the documents whose distinct value was not met the walk can go on.
    GoesOn(Stretch),
    /// The listing ends too early, and another would not help.
    Unknown,
}

/// What a walk has come to when it goes on over another listing.
#[derive(Debug, Clone, Default)]
pub struct Stretch {
    /// The documents that stand for the values met.
    added: Vec<String>,
    pub met: HashSet<Key>,
    passed: usize,
    shown: usize,
    /// What the buckets within which it stopped have in common, outermost first: they are not taken as a whole any more.
    within: Vec<Score>,
}

/// The listing ends too early to tell.
#[derive(Debug)]
struct Unknown;

/// A walk under way.
struct Walker<'w, 'a> {
    walk: Walk,
    hits: &'w [Listed<'a>],
    /// The best of each distinct value, for buckets that the listing has only in part.
    best: &'w [Listed<'a>],
    before: &'w Stretch,
    within: Vec<Score>,
    by_value: HashMap<&'w Key, Vec<usize>>,
    /// Left out for another document.
    gone: Vec<bool>,
    counted: Vec<bool>,
    added: Vec<&'w Listed<'a>>,
    met: HashSet<Key>,
    /// How many hits there were, and how many of the page.
    passed: usize,
    shown: usize,
    /// True once only what was added counts. Example: a and b were added, and c scores less than the threshold: what ranks
    /// behind c scores less, too.
    cut_off: bool,
}

// === impl Walk ===

impl Walk {
    /// The walk of one node that is asked what the client asks.
    pub fn of(plan: &SearchPlan) -> Self {
        let window = plan.walked_window();
        Self {
            skip: window.skip() as usize,
            // A walk that counts all hits does not end with a page.
            take: if plan.counts_all_above() { usize::MAX } else { window.take() as usize },
            distinct: plan.distinct.is_some(),
            threshold: plan.least_score(),
            scores: plan.threshold.map_or(ScoreOrder::Falling, |threshold| threshold.scores),
            paged: matches!(plan.window.paging, Paging::Page { .. }),
        }
    }
}

/// Walks over `listing`. `best` has the best hit of each distinct value; it is needed where the listing does not have all
/// documents. `before` is what the walk has come to over earlier listings.
pub fn left<'a>(listing: &Listing<'a>, best: &[Listed<'a>], walk: Walk, before: &Stretch) -> Outcome<'a> {
    let hits = &listing.hits;
    if listing.complete && before.passed == 0 && hits.len() < walk.skip {
        // Nothing is looked at, not even for what is not distinct, but in page mode.
        let all = (0..hits.len()).collect();
        let kept = if walk.paged && walk.distinct { first_of_each(hits, all) } else { all };
        let documents = kept.into_iter().map(|at| Cow::Borrowed(hits[at].text)).collect();
        return Outcome::Left(Left { documents, beyond: Beyond::Nothing });
    }
    let steps = hits.first().map_or(0, |hit| hit.steps.len());
    if hits.iter().any(|hit| hit.steps.len() != steps) {
        return Outcome::Unknown;
    }
    let mut walker = Walker::new(hits, best, walk, before);
    let open = !listing.complete;
    let walked = if steps == 0 { walker.in_order(open) } else { walker.sort(0, (0..hits.len()).collect(), open, true) };
    match walked {
        Ok(()) => walker.finish(listing.complete).map_or(Outcome::Unknown, Outcome::Left),
        Err(Unknown) => walker.stretch().map_or(Outcome::Unknown, Outcome::GoesOn),
    }
}

/// Of documents with one distinct value the first written.
fn first_of_each(hits: &[Listed<'_>], mut all: Vec<usize>) -> Vec<usize> {
    all.sort_by(|left, right| hits[*left].written(&hits[*right]));
    let mut seen: HashSet<&Key> = HashSet::new();
    // What was left out leaves out nothing itself.
    all.retain(|at| {
        let values = &hits[*at].values;
        let kept = !values.iter().any(|value| seen.contains(value));
        if kept {
            seen.extend(values);
        }
        kept
    });
    all
}

// === impl Walker ===

impl<'w, 'a> Walker<'w, 'a> {
    fn new(hits: &'w [Listed<'a>], best: &'w [Listed<'a>], walk: Walk, before: &'w Stretch) -> Self {
        let mut by_value: HashMap<&Key, Vec<usize>> = HashMap::new();
        if walk.distinct {
            for (at, hit) in hits.iter().enumerate() {
                hit.values.iter().for_each(|value| by_value.entry(value).or_default().push(at));
            }
        }
        Self {
            walk,
            hits,
            best,
            before,
            within: Vec::new(),
            by_value,
            gone: vec![false; hits.len()],
            counted: vec![true; hits.len()],
            added: Vec::new(),
            met: before.met.clone(),
            passed: before.passed,
            shown: before.shown,
            cut_off: false,
        }
    }

    fn is_done(&self) -> bool {
        self.shown >= self.walk.take || self.cut_off
    }

    /// Without any rule there are no buckets.
    fn in_order(&mut self, open: bool) -> Result<(), Unknown> {
        for at in 0..self.hits.len() {
            if self.is_done() {
                return Ok(());
            }
            if !self.gone[at] {
                self.add(vec![at], false)?;
            }
        }
        if open && !self.is_done() && !self.has_met_all() { Err(Unknown) } else { Ok(()) }
    }

    /// Sorts `members` by the rule at `step`. `open` says that there are more of them than the listing has, `resumed` that
    /// they were being sorted when an earlier listing ended.
    fn sort(&mut self, step: usize, members: Vec<usize>, open: bool, resumed: bool) -> Result<(), Unknown> {
        let mut start = 0;
        while !self.is_done() {
            let Some(skipped) = members[start..].iter().position(|at| !self.gone[*at]) else {
                return if open && !self.has_met_all() { Err(Unknown) } else { Ok(()) };
            };
            start += skipped;
            let first = members[start];
            let score = &self.hits[first].steps[step].score;
            let alike = |at: &&usize| self.hits[**at].steps[step].score.compare(score).is_eq();
            let end = start + members[start..].iter().take_while(alike).count();
            let bucket: Vec<usize> = members[start..end].iter().copied().filter(|at| !self.gone[*at]).collect();
            // Without values, what is left out beyond the listing cannot be told apart.
            let rest_unknown = open && !self.walk.distinct;
            let open = open && end == members.len();
            let resumed = resumed && self.before.within.get(step).is_some_and(|within| within.compare(score).is_eq());
            let below = self.walk.threshold.is_some_and(|least| self.hits[first].steps[step].so_far < least);
            let is_last = step + 1 == self.hits[first].steps.len();
            let is_before = !resumed && self.passed + bucket.len() < self.walk.skip;
            if below && self.walk.scores == ScoreOrder::Falling {
                // What ranks lower scores lower.
                self.cut_off = true;
            } else if below {
                if open || rest_unknown {
                    return Err(Unknown);
                }
                bucket.iter().chain(&members[end..]).for_each(|at| self.counted[*at] = false);
            } else if is_last {
                self.add(bucket, open)?;
            } else if is_before && open {
                return Err(Unknown);
            } else if is_before {
                self.add(bucket, false)?;
            } else {
                let within = score.clone();
                if let Err(unknown) = self.sort(step + 1, bucket, open, resumed) {
                    self.within.insert(0, within);
                    return Err(unknown);
                }
            }
            start = end;
        }
        Ok(())
    }

    /// Takes a bucket as a whole. Where the listing ends within, the best of each distinct value that ranks alike are
    /// the first of the bucket.
    fn add(&mut self, mut bucket: Vec<usize>, open: bool) -> Result<(), Unknown> {
        let hits = self.hits;
        bucket.sort_by(|left, right| hits[*left].written(&hits[*right]));
        let mut kept = Vec::new();
        for at in bucket.iter().copied() {
            if !self.gone[at] {
                self.leave_out(&hits[at].values);
                kept.push(at);
            }
        }
        for at in &kept {
            self.counted[*at] = true;
            self.added.push(&hits[*at]);
        }
        let mut count = kept.len();
        if open {
            // Documents without a value are all kept, and nobody knows how many there are.
            if !self.walk.distinct || self.best.iter().any(|hit| hit.values.is_empty()) {
                if self.count(count) && !self.walk.distinct {
                    return Ok(());
                }
                return Err(Unknown);
            }
            let edge = bucket.first().map(|at| &hits[*at]);
            for hit in self.best {
                let is_unmet = !hit.values.iter().any(|value| self.met.contains(value));
                if is_unmet && edge.is_some_and(|edge| edge.ranks_like(hit)) {
                    self.leave_out(&hit.values);
                    self.added.push(hit);
                    count += 1;
                }
            }
        }
        self.count(count);
        Ok(())
    }

    /// Counts hits towards the page; true if it is full then.
    fn count(&mut self, hits: usize) -> bool {
        let before = self.walk.skip.saturating_sub(self.passed);
        self.shown += hits.saturating_sub(before).min(self.walk.take - self.shown);
        self.passed += hits;
        self.is_done()
    }

    fn leave_out(&mut self, values: &[Key]) {
        if !self.walk.distinct {
            return;
        }
        for value in values {
            for at in self.by_value.get(value).into_iter().flatten() {
                self.gone[*at] = true;
                self.counted[*at] = false;
            }
            self.met.insert(value.clone());
        }
    }

    /// True if documents that the listing does not have are left out, whatever they are. Example: the best hits of all makers are a of
    /// maker A and b of maker B, and both are met. What is not listed is of A or of B, and is left out for these.
    fn has_met_all(&self) -> bool {
        let met = |hit: &Listed<'_>| hit.values.iter().any(|value| self.met.contains(value));
        self.walk.distinct && !self.best.is_empty() && self.best.iter().all(met)
    }

    /// What another listing is walked over with; `None` where none would bring more.
    fn stretch(self) -> Option<Stretch> {
        // Only what has a value can be left out of another listing.
        let all_valued = self.best.iter().all(|hit| !hit.values.is_empty());
        let removed = self.walk.threshold.is_some() && self.walk.scores == ScoreOrder::RisingAgain;
        if !self.walk.distinct || !all_valued || removed || self.met.len() == self.before.met.len() {
            return None;
        }
        let added = self.added.iter().map(|hit| hit.text.to_owned());
        let added = self.before.added.iter().cloned().chain(added).collect();
        Some(Stretch { added, met: self.met, passed: self.passed, shown: self.shown, within: self.within })
    }

    fn finish(self, complete: bool) -> Option<Left<'a>> {
        let before = self.before.added.iter().map(|text| Cow::Owned(text.clone()));
        if self.cut_off {
            // In page mode what was added is distinct already.
            let documents = before.chain(self.added.iter().map(|hit| Cow::Borrowed(hit.text))).collect();
            return Some(Left { documents, beyond: Beyond::Nothing });
        }
        if !complete && !self.walk.distinct {
            let kept = (0..self.hits.len()).filter(|at| self.counted[*at]);
            let documents = kept.map(|at| Cow::Borrowed(self.hits[at].text)).collect();
            return Some(Left { documents, beyond: Beyond::Unlisted });
        }
        if !complete {
            let valued = self.added.iter().filter(|hit| !hit.values.is_empty());
            let documents = before.chain(valued.map(|hit| Cow::Borrowed(hit.text))).collect();
            return Some(Left { documents, beyond: Beyond::Unmet(self.met) });
        }
        let kept: Vec<usize> = (0..self.hits.len()).filter(|at| self.counted[*at]).collect();
        let kept = if self.walk.paged && self.walk.distinct { first_of_each(self.hits, kept) } else { kept };
        let documents = before.chain(kept.into_iter().map(|at| Cow::Borrowed(self.hits[at].text))).collect();
        Some(Left { documents, beyond: Beyond::Nothing })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::merge::scores::MostTypos;
    use crate::plan::index_info::ScoredBy;

    const WALK: Walk =
        Walk { skip: 0, take: 2, distinct: true, threshold: None, scores: ScoreOrder::Falling, paged: false };

    /// A hit by words of two, with typos of at most four.
    fn hit(id: &str, words: u32, typos: u32, written: u32, value: Option<&str>) -> String {
        json!({
            "id": id, "kind": value,
            "_rankingScoreDetails": {
                "words": {"order": 0, "matchingWords": words, "maxMatchingWords": 2, "score": f64::from(words) / 2.0},
                "typo": {"order": 1, "typoCount": typos, "maxTypoCount": 4, "score": f64::from(5 - typos) / 5.0},
                "_miroir_written:asc": {"order": 2, "value": written.to_string()},
            },
        })
        .to_string()
    }

    fn listed(hits: &[String]) -> Vec<Listed<'_>> {
        let typos = MostTypos::default();
        hits.iter().map(|hit| Listed::parse(hit, Some("kind"), &typos, ScoredBy::First).unwrap()).collect()
    }

    fn ids(documents: &[Cow<'_, str>]) -> Vec<String> {
        let mut ids: Vec<String> = documents
            .iter()
            .map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap()["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    }

    fn walked(hits: &[String], walk: Walk) -> Vec<String> {
        let listing = Listing { hits: listed(hits), complete: true };
        match left(&listing, &[], walk, &Stretch::default()) {
            Outcome::Left(Left { documents, beyond: Beyond::Nothing }) => ids(&documents),
            other => panic!("{other:?}"),
        }
    }

    /// Best first: two of one value, of which the worse was written first, then others.
    fn corpus() -> Vec<String> {
        vec![
            hit("a-late", 2, 0, 2, Some("a")),
            hit("a-early", 2, 1, 1, Some("a")),
            hit("b", 1, 0, 3, Some("b")),
            hit("c-late", 1, 1, 9, Some("c")),
            hit("c-early", 1, 2, 4, Some("c")),
            hit("none", 1, 3, 5, None),
        ]
    }

    #[test]
    fn what_the_page_does_not_reach_stays_counted() {
        assert_eq!(walked(&corpus(), WALK), ["a-late", "b", "c-early", "c-late", "none"]);
        assert_eq!(walked(&corpus(), Walk { take: 9, ..WALK }), ["a-late", "b", "c-late", "none"]);
        assert_eq!(walked(&corpus(), Walk { take: 0, ..WALK }).len(), 6);
        let plain = Walk { distinct: false, ..WALK };
        assert_eq!(walked(&corpus(), plain).len(), 6);
    }

    #[test]
    fn a_bucket_before_the_page_keeps_the_first_written_of_a_value() {
        // The two hits with both words lie before the page as a whole: nobody looks at their typos.
        assert_eq!(walked(&corpus(), Walk { skip: 3, take: 1, ..WALK }), ["a-early", "b", "c-late", "none"]);
        // Of hits that all lie before the page nobody looks at anything, and of too few hits not even at their values.
        assert_eq!(walked(&corpus(), Walk { skip: 6, ..WALK }), ["a-early", "b", "c-early", "none"]);
        assert_eq!(walked(&corpus(), Walk { skip: 7, ..WALK }).len(), 6);
    }

    #[test]
    fn in_page_mode_values_that_were_not_met_keep_the_first_written() {
        assert_eq!(walked(&corpus(), Walk { paged: true, ..WALK }), ["a-late", "b", "c-early", "none"]);
        assert_eq!(walked(&corpus(), Walk { skip: 7, paged: true, ..WALK }), ["a-early", "b", "c-early", "none"]);
    }

    #[test]
    fn scores_below_the_threshold_are_not_noticed_before_the_page() {
        let least = Walk { take: 9, distinct: false, threshold: Some(0.85), ..WALK };
        // One of two words is half of the score, and each typo a fifth of that half.
        assert_eq!(walked(&corpus(), least), ["a-early", "a-late"]);
        assert_eq!(walked(&corpus(), Walk { threshold: Some(0.95), ..least }), ["a-late"]);
        assert_eq!(walked(&corpus(), Walk { skip: 3, threshold: Some(0.95), ..least }), ["a-early", "a-late"]);
        assert_eq!(walked(&corpus(), Walk { take: 1, threshold: Some(0.95), ..least }).len(), 6);
    }

    #[test]
    fn a_listing_that_ends_within_a_bucket_says_which_values_were_met() {
        let (hits, best) = (corpus(), [corpus()[0].clone(), corpus()[2].clone(), corpus()[3].clone()]);
        let part = Listing { hits: listed(&hits[..3]), complete: false };
        let full = left(&part, &listed(&best), Walk { take: 1, ..WALK }, &Stretch::default());
        let Outcome::Left(Left { documents, beyond: Beyond::Unmet(met) }) = full else { panic!("{full:?}") };
        assert_eq!((ids(&documents), met), (vec!["a-late".to_owned()], HashSet::from([Key::Text("a".into())])));
    }

    /// What is below the threshold is within the first of two buckets, or goes on beyond the listing.
    #[test]
    fn a_walk_that_ends_with_the_page_needs_no_more_of_the_listing() {
        let hits = corpus();
        let rising = Walk { distinct: false, scores: ScoreOrder::RisingAgain, threshold: Some(0.95), take: 2, ..WALK };
        let part = |count: usize| Listing { hits: listed(&hits[..count]), complete: false };
        let outcome = left(&part(4), &[], Walk { take: 1, ..rising }, &Stretch::default());
        let Outcome::Left(Left { documents, beyond: Beyond::Unlisted }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(ids(&documents), ["a-early", "a-late", "b", "c-late"]);
        let outcome = left(&part(4), &[], rising, &Stretch::default());
        assert!(matches!(outcome, Outcome::Unknown), "how much of the second bucket is left out: {outcome:?}");
        let falling = Walk { scores: ScoreOrder::Falling, take: 9, ..rising };
        let outcome = left(&part(4), &[], falling, &Stretch::default());
        let Outcome::Left(Left { documents, beyond: Beyond::Nothing }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(ids(&documents), ["a-late"]);
    }

    #[test]
    fn a_walk_goes_on_over_what_was_not_met() {
        let hits = corpus();
        let best = [hits[0].clone(), hits[2].clone(), hits[3].clone()];
        let best = listed(&best);
        let walk = Walk { skip: 1, take: 2, ..WALK };
        let part = Listing { hits: listed(&hits[..2]), complete: false };
        let outcome = left(&part, &best, walk, &Stretch::default());
        let Outcome::GoesOn(stretch) = outcome else { panic!("{outcome:?}") };
        assert_eq!(stretch.met, HashSet::from([Key::Text("a".into())]));
        let rest = Listing { hits: listed(&hits[2..5]), complete: true };
        let outcome = left(&rest, &best, walk, &stretch);
        let Outcome::Left(Left { documents, beyond: Beyond::Nothing }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(ids(&documents), ["a-late", "b", "c-late"]);
        // Without a value that was not met before there is nothing to go on with.
        let again = left(&Listing { hits: Vec::new(), complete: false }, &best, walk, &stretch);
        assert!(matches!(again, Outcome::Unknown), "{again:?}");
    }
}
