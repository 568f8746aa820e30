//! All documents that a search finds, as far as nodes list them, in the order of one node.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::detail::{Details, KINDS_OF_EXACTNESS, Ranked, together};
use super::error::MergeError;
use super::hit::Hit;
use super::order::Score;
use super::scores::MostTypos;
use super::search::{SearchReply, most_typos};
use crate::plan::index_info::ScoredBy;
use crate::plan::values::{Key, values_at};

/// The lists of several nodes as one.
#[derive(Debug)]
pub struct Listing<'a> {
    /// Best first.
    pub hits: Vec<Listed<'a>>,
    /// False if some node has more than it listed; the hits are the best of all then. Example: lists of two at most. node-0
    /// lists a and b, and may have more; node-1 lists c, which ranks behind b. The hits are a and b: between b and c another
    /// one of node-0 may stand.
    pub complete: bool,
}

/// One document of a listing.
#[derive(Debug)]
pub struct Listed<'a> {
    pub text: &'a str,
    pub steps: Vec<Step>,
    place: Option<Cow<'a, str>>,
    /// Its values of the distinct attribute.
    pub values: Vec<Key>,
}

/// What one step of the engine's sorting says of a hit; some ranking rules sort in two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub score: Score,
    /// The score of a hit of which no more is known than this step and those before it.
    pub so_far: f64,
}

#[derive(Deserialize)]
struct Scores<'a> {
    #[serde(rename = "_rankingScore")]
    score: Option<f64>,
    #[serde(borrow, rename = "_rankingScoreDetails")]
    details: Option<&'a RawValue>,
}

// === impl Listing ===

impl<'a> Listing<'a> {
    /// Out of replies with up to `most` hits each.
    pub fn of(
        replies: &[&'a [u8]],
        most: u64,
        distinct: Option<&str>,
        scored_by: ScoredBy,
    ) -> Result<Self, MergeError> {
        let lists: Vec<Vec<Hit<'a>>> =
            replies.iter().map(|body| Ok(SearchReply::parse(body)?.hits)).collect::<Result<_, MergeError>>()?;
        let typos = most_typos(&lists);
        let mut hits = Vec::with_capacity(lists.iter().map(Vec::len).sum());
        // The last hit of each list that may go on, by its place among all.
        let mut ends = Vec::new();
        for list in lists {
            let is_cut = list.len() as u64 >= most;
            for hit in list {
                hits.push(Listed::parse(hit.text, distinct, &typos, scored_by)?);
            }
            ends.extend(hits.len().checked_sub(1).filter(|_| is_cut));
        }
        let mut order: Vec<usize> = (0..hits.len()).collect();
        order.sort_by(|left, right| hits[*left].compare(&hits[*right]));
        let complete = ends.is_empty();
        // What stands behind the end of a cut list may have been left out by that node.
        if let Some(end) = order.iter().position(|at| ends.contains(at)) {
            order.truncate(end + 1);
        }
        let mut hits: Vec<Option<Listed<'a>>> = hits.into_iter().map(Some).collect();
        let hits = order.into_iter().filter_map(|at| hits[at].take()).collect();
        Ok(Self { hits, complete })
    }
}

// === impl Listed ===

impl<'a> Listed<'a> {
    /// Of a hit with its scores. `distinct` is the field whose values are read, `typos` restates what nodes count
    /// differently.
    pub fn parse(
        text: &'a str,
        distinct: Option<&str>,
        typos: &MostTypos,
        scored_by: ScoredBy,
    ) -> Result<Self, MergeError> {
        let scores: Scores<'a> = serde_json::from_str(text)?;
        let details = scores.details.map(RawValue::get).ok_or(MergeError::Missing("the scores of a hit"))?;
        // Only where all rules count does the score say how many ranks a rule has.
        let score = scores.score.filter(|_| scored_by == ScoredBy::All);
        let own = Details::parse(details)?;
        let place = own.place.clone();
        let steps = match typos.restate(score, details) {
            Some(restated) => {
                let details = restated.details.to_string();
                steps(&Details::parse(&details)?, restated.score, scored_by)?
            }
            None => steps(&own, score, scored_by)?,
        };
        let values = match distinct {
            Some(field) => values_at(&serde_json::from_str(text)?, field).into_iter().collect(),
            None => Vec::new(),
        };
        Ok(Self { text, steps, place, values })
    }

    /// The better goes first, then the one written first.
    fn compare(&self, other: &Self) -> Ordering {
        let ranks = self.steps.iter().zip(&other.steps).map(|(left, right)| right.score.compare(&left.score));
        ranks.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal).then_with(|| self.written(other))
    }

    /// Where it stands in the order of writes.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// True if the two tie on every rule.
    pub fn ranks_like(&self, other: &Self) -> bool {
        self.steps.len() == other.steps.len()
            && self.steps.iter().zip(&other.steps).all(|(left, right)| left.score.compare(&right.score).is_eq())
    }

    /// Which of two was written first. What has no place goes last, as on a node.
    pub fn written(&self, other: &Self) -> Ordering {
        self.place.is_none().cmp(&other.place.is_none()).then_with(|| self.place.cmp(&other.place))
    }
}

/// What each step says of a hit whose `score`, if it is known, comes from all rules.
fn steps(details: &Details<'_>, score: Option<f64>, scored_by: ScoredBy) -> Result<Vec<Step>, serde_json::Error> {
    let mut steps = Vec::with_capacity(details.rules.len() + 2);
    // To older engines the score is that of the first relevancy rules without another one between.
    let mut group: Vec<Ranked> = Vec::new();
    let mut closed = None;
    for ((name, detail), ranked) in details.rules.iter().zip(details.ranked(scored_by, score)) {
        let mut scores = Vec::with_capacity(2);
        detail.push_scores(name, &mut scores)?;
        let first = match (name.as_ref(), ranked) {
            ("exactness", Some(_)) => {
                let kind = detail.kind_of_exactness();
                scores.insert(0, Score::Number(kind));
                Some(kind / KINDS_OF_EXACTNESS)
            }
            (_, Some(_)) if scores.len() > 1 => detail.attribute_ranking_order_score,
            (_, _) => None,
        };
        let so_far = |group: &[Ranked], score: f64| {
            let group: Vec<Ranked> = group.iter().copied().chain([Ranked { score, ranks: Some(1.0) }]).collect();
            together(&group)
        };
        let count = scores.len();
        for (at, score) in scores.into_iter().enumerate() {
            let value = match (closed, ranked) {
                (Some(closed), _) => closed,
                (None, Some(ranked)) if at + 1 < count => so_far(&group, first.unwrap_or(ranked.score)),
                (None, Some(ranked)) => so_far(&group, ranked.score),
                (None, None) if group.is_empty() => 1.0,
                (None, None) => together(&group),
            };
            steps.push(Step { score, so_far: value });
        }
        match ranked {
            Some(ranked) => group.push(ranked),
            None if !group.is_empty() && scored_by == ScoredBy::First => {
                closed = closed.or_else(|| Some(together(&group)))
            }
            None => {}
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many attributes the engine tells apart shows in what all rules come to.
    #[test]
    fn a_rule_that_hides_its_ranks_is_fitted_in_by_the_score() {
        let inner = 0.5 - (1.0 - 13.0 / 21.0) / 4.0;
        let score = 1.0 - (1.0 - inner) / 2.0;
        let hit = format!(
            r#"{{"_rankingScore":{score},"_rankingScoreDetails":{{
            "words":{{"order":0,"matchingWords":2,"maxMatchingWords":2,"score":1.0}},
            "attributeRank":{{"order":1,"score":0.5}},"price:asc":{{"order":2,"value":1.0}},
            "wordPosition":{{"order":3,"score":0.6190476190476191}}}}}}"#
        );
        let listed = Listed::parse(&hit, None, &MostTypos::default(), ScoredBy::All).unwrap();
        let last = listed.steps.last().unwrap().so_far;
        assert!((last - score).abs() < 1e-9, "{last} {score}");
        assert!((listed.steps[1].so_far - 0.75).abs() < 1e-9);
    }

    /// As an engine scored it: two words may be in four ranks of proximity.
    #[test]
    fn what_the_rules_come_to_is_the_score_that_the_engine_states() {
        let hit = r#"{"_rankingScore":0.5992063492063492,"_rankingScoreDetails":{
            "words":{"order":0,"matchingWords":2,"maxMatchingWords":3,"score":0.6666666666666666},
            "typo":{"order":1,"typoCount":0,"maxTypoCount":2,"score":1.0},"proximity":{"order":2,"score":0.5},
            "attribute":{"order":3,"attributeRankingOrderScore":0.6,"queryWordDistanceScore":0.8571428571428571,
                "score":0.5714285714285714},
            "senses:desc":{"order":4,"value":2.0},
            "exactness":{"order":5,"matchType":"noExactMatch","matchingWords":2,"maxMatchingWords":2,"score":0.3333333333333333}}}"#;
        let mut typos = MostTypos::default();
        let members: serde_json::Value = serde_json::from_str(hit).unwrap();
        typos.see(&members["_rankingScoreDetails"].to_string());
        let listed = Listed::parse(hit, None, &typos, ScoredBy::First).unwrap();
        let last = listed.steps.last().unwrap().so_far;
        assert!((last - 0.599_206_349_206_349_2).abs() < 1e-9, "{last}");
    }

    #[test]
    fn a_score_stops_at_a_sort_only_in_older_engines() {
        let hit = r#"{"_rankingScoreDetails":{
            "words":{"order":0,"matchingWords":1,"maxMatchingWords":2,"score":0.5},"price:asc":{"order":1,"value":1.0},
            "wordPosition":{"order":2,"score":0.0}}}"#;
        let so_far = |scored_by| {
            let listed = Listed::parse(hit, None, &MostTypos::default(), scored_by).unwrap();
            listed.steps.iter().map(|step| step.so_far).collect::<Vec<_>>()
        };
        assert_eq!(so_far(ScoredBy::First), [0.5, 0.5, 0.5]);
        assert_eq!(so_far(ScoredBy::All), [0.5, 0.5, 0.0]);
    }
}
