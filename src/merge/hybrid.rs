//! Hits by words and hits by a vector as one list, mixed as the engine mixes them.
//!
//! The engine holds two lists, each in its own order, and takes the better of their heads. It compares the heads by what
//! the rules say in their order, neighbouring rules about words taken together as one score, and each score weighed by
//! the share of its list. A document that was taken from one list is skipped in the other.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::Value;

use crate::plan::hybrid::{GOOD_ENOUGH, HybridPlan};
use crate::plan::search::SearchPlan;

use super::detail::Details;
use super::error::MergeError;
use super::facets::Facets;
use super::hit;
use super::hits::{self, PrimaryKey};
use super::order::{Rank, Score};
use super::raw::{Members, ObjectWriter};
use super::scores::MostTypos;
use super::search::{SearchReply, most_typos, paging_member, write_hits};
use crate::plan::index_info::ScoredBy;
use crate::plan::values::{Key, values_at};

/// A member that newer engines write. They keep one hit of each distinct value of the mixed list, where older ones do so
/// in each of the two lists only.
const WRITTEN_BY_NEWER: &str = "requestUid";

/// The best hits by words, up to the end of the page.
#[derive(Debug)]
pub struct ByWords<'a> {
    hits: Vec<Hit<'a>>,
    typos: MostTypos,
    /// True if there may be more. Example: a page of two, and the words of a, b and c match: a and b are listed.
    full: bool,
    /// True if hits are missing; see [`Mixed::hides`].
    hides: bool,
}

/// The best hits by the vector, and what the nodes say beside.
#[derive(Debug)]
pub struct ByVector<'a> {
    hits: Vec<Hit<'a>>,
    /// As of [`ByWords`].
    full: bool,
    /// As of [`ByWords`].
    hides: bool,
    replies: Vec<SearchReply<'a>>,
}

/// What is counted where newer engines keep one hit of each distinct value of both lists together: those that are kept up to the end of
/// the page, and what was found besides and has no value of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptOnce {
    /// There is no distinct attribute, or the engine keeps one of each list.
    No,
    /// The lists ended before the page did: there is nothing besides. Example: fourteen films of seven makers, and a page of twenty:
    /// seven.
    Counted(u64),
    /// The page ended first.
    Unknown,
}

/// The page, and what is known of all hits.
#[derive(Debug)]
pub struct Mixed<'a> {
    plan: &'a SearchPlan,
    page: Vec<hit::Hit<'a>>,
    /// Hits of the page that the vector found.
    semantic: u64,
    typos: &'a MostTypos,
    replies: &'a [SearchReply<'a>],
    /// How many documents both lists hold, where neither was cut.
    pub distinct_hits: Option<u64>,
    pub kept_once: KeptOnce,
    /// True if the vector found as many as the page needs, so that nobody knows how many more. Example: a page of two, and
    /// the vector finds a and b; that it finds c, too, is not told.
    pub full_of_vectors: bool,
    /// True if a node left out a hit for one that is left out here, so that it is missing. Example: node-0 has a of maker x;
    /// node-1 has b of makers x and y, and c of maker y, which it leaves out for b. Here a displaces b: c would be shown, and
    /// no list has it.
    pub hides: bool,
}

#[derive(Debug, Clone)]
struct Hit<'a> {
    found: hit::Hit<'a>,
    values: Vec<Said>,
    /// What the engine calls the score of the hit.
    score: f64,
    /// What its first relevancy rules come to.
    first: f64,
    key: Option<PrimaryKey>,
}

/// What ranking rules say, those about words that stand together taken as one.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    /// The first of its hit; a vector's similarity is one of its own.
    Score,
    /// One that stands behind a rule that sorts. No hit by a vector has one.
    LaterScore,
    Sorted(Score),
}

// === impl ByWords ===

impl<'a> ByWords<'a> {
    /// `replies` are those to [`HybridPlan::by_words`].
    pub fn new(plan: &'a HybridPlan, replies: &[&'a [u8]]) -> Result<Self, MergeError> {
        let replies = replies.iter().map(|body| SearchReply::parse(body)).collect::<Result<Vec<_>, _>>()?;
        let lists: Vec<_> = replies.into_iter().map(|reply| reply.hits).collect();
        let typos = most_typos(&lists);
        let (hits, full, hides) = best(&plan.by_words, lists, Some(&typos))?;
        Ok(Self { hits, typos, full, hides })
    }

    /// True if the engine does not look for hits by the vector.
    pub fn are_good_enough(&self, plan: &HybridPlan) -> bool {
        self.full && self.hits.iter().all(|hit| hit.score * plan.share_of_words() >= GOOD_ENOUGH)
    }
}

// === impl ByVector ===

impl<'a> ByVector<'a> {
    /// `replies` are those to [`HybridPlan::by_vector`].
    pub fn new(plan: &'a HybridPlan, replies: &[&'a [u8]]) -> Result<Self, MergeError> {
        let mut replies = replies.iter().map(|body| SearchReply::parse(body)).collect::<Result<Vec<_>, _>>()?;
        let lists = replies.iter_mut().map(|reply| {
            let hits = std::mem::take(&mut reply.hits);
            hits.into_iter().filter(|hit| is_semantic(hit)).collect()
        });
        let (hits, full, hides) = best(&plan.by_vector, lists.collect(), None)?;
        Ok(Self { hits, full, hides, replies })
    }

    /// True if the vector found nothing: all nodes could say is what words find, or they could not embed the query.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    /// As each node states its own, in the order of the replies.
    pub fn totals(&self) -> Vec<u64> {
        self.replies.iter().map(|reply| reply.total).collect()
    }
}

// === impl Mixed ===

impl<'a> Mixed<'a> {
    /// The page, filled by the engine's rule: the better of two heads, each scaled by its share.
    pub fn new(
        plan: &'a SearchPlan,
        hybrid: &HybridPlan,
        by_words: &'a ByWords<'a>,
        by_vector: &'a ByVector<'a>,
    ) -> Result<Self, MergeError> {
        let across = by_vector.replies.iter().any(|reply| reply.members.get(WRITTEN_BY_NEWER).is_some());
        let distinct = plan.distinct.as_deref().filter(|_| across);
        let mut words = by_words.hits.iter().peekable();
        let mut vectors = by_vector.hits.iter().peekable();
        let mut keys: HashSet<&PrimaryKey> = HashSet::new();
        let mut values: HashSet<Key> = HashSet::new();
        let (mut page, mut semantic, mut passed) = (Vec::new(), 0, 0);
        while (page.len() as u64) < plan.window.take() {
            let by_vector_next = match (vectors.peek(), words.peek()) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(vector), Some(word)) => compare(vector, word, hybrid).is_ge(),
            };
            let Some(hit) = (if by_vector_next { vectors.next() } else { words.next() }) else { break };
            if hit.key.as_ref().is_some_and(|key| !keys.insert(key)) {
                continue;
            }
            if let Some(field) = distinct {
                let own = values_at(&serde_json::from_str(hit.found.text)?, field);
                if own.iter().any(|value| values.contains(value)) {
                    continue;
                }
                values.extend(own);
            }
            passed += 1;
            if passed > plan.window.skip() {
                semantic += u64::from(by_vector_next);
                page.push(hit.found);
            }
        }
        let known = !by_words.full && !by_vector.full;
        let kept_once = match distinct {
            None => KeptOnce::No,
            Some(_) if known && vectors.peek().is_none() && words.peek().is_none() => KeptOnce::Counted(passed),
            Some(_) => KeptOnce::Unknown,
        };
        Ok(Self {
            kept_once,
            plan,
            page,
            semantic,
            typos: &by_words.typos,
            replies: &by_vector.replies,
            distinct_hits: known.then(|| count(by_words, by_vector)),
            full_of_vectors: by_vector.full,
            hides: by_words.hides || by_vector.hides,
        })
    }

    /// The one reply, member by member as the first node wrote its own.
    pub fn write(&self, facets: Option<&Facets>, total: u64, index: Option<&str>) -> Result<Vec<u8>, MergeError> {
        let first = &self.replies.first().ok_or(MergeError::Missing("a reply"))?.members;
        let shows_scores = self.plan.shown.score || self.plan.shown.details;
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        if let Some(index) = index {
            serde_json::to_writer(object.key("indexUid"), index)?;
        }
        for (name, raw) in &first.0 {
            match (name.as_ref(), facets) {
                ("hits", _) => {
                    let typos = shows_scores.then_some(self.typos);
                    write_hits(&self.page, self.plan, typos, object.key(name))?;
                }
                ("processingTimeMs", _) => {
                    let slowest = self.replies.iter().filter_map(|reply| reply.members.count("processingTimeMs")).max();
                    object.number(name, slowest.unwrap_or(0));
                }
                ("estimatedTotalHits" | "totalHits", _) => object.number(name, total),
                ("facetDistribution", Some(facets)) => facets.write_distribution(object.key(name)),
                ("facetStats", Some(facets)) => facets.write_stats(object.key(name)),
                ("semanticHitCount", _) => object.number(name, self.semantic),
                (key, _) => match paging_member(self.plan.window, key, total) {
                    Some(number) => object.number(name, number),
                    None => object.raw(name, raw.get()),
                },
            }
        }
        object.finish();
        Ok(out)
    }
}

/// The answer to a search by words as that to a hybrid search to which the vector added nothing; `vector` is that of the query, where
/// the engine looked for hits by it in vain and shows it.
pub fn without_vectors(mut body: Vec<u8>, vector: Option<&str>) -> Vec<u8> {
    if body.pop() == Some(b'}') {
        if let Some(vector) = vector {
            body.extend_from_slice(br#","queryVector":"#);
            body.extend_from_slice(vector.as_bytes());
        }
        body.extend_from_slice(br#","semanticHitCount":0}"#);
    }
    body
}

fn is_semantic(hit: &hit::Hit<'_>) -> bool {
    // The engine writes names without white space; a rule that sorts by a field of that name has its direction in it.
    hit.text.contains(r#""vectorSort":"#)
        && hit
            .details()
            .ok()
            .flatten()
            .is_some_and(|details| Members::parse(details).is_ok_and(|details| details.get("vectorSort").is_some()))
}

/// The best hits of all nodes up to the end of the page, whether there may be more, and whether nodes left out some for one
/// of another node.
fn best<'a>(
    plan: &SearchPlan,
    lists: Vec<Vec<hit::Hit<'a>>>,
    typos: Option<&MostTypos>,
) -> Result<(Vec<Hit<'a>>, bool, bool), MergeError> {
    let reach = plan.window.take();
    let page = hits::merge(lists, &plan.rules(), 0, reach)?;
    let (full, hides) = (page.hits.len() as u64 >= reach, page.hides);
    let key = plan.primary_key.as_deref();
    let hits = page.hits.into_iter().map(|hit| Hit::parse(hit, key, typos, plan.scored_by));
    let hits = hits.collect::<Result<_, _>>()?;
    Ok((hits, full, hides))
}

/// Whether the engine takes the hit by the vector before the one by words: it does unless that is less.
fn compare(vector: &Hit<'_>, word: &Hit<'_>, plan: &HybridPlan) -> Ordering {
    let mut of_word = word.values.iter();
    for of_vector in &vector.values {
        let Some(of_word) = of_word.next() else { return Ordering::Greater };
        let order = match (of_vector, of_word) {
            (Said::Score, Said::Score) => {
                let left = vector.first * f64::from(plan.ratio);
                let right = word.first * plan.share_of_words();
                if (left - right).abs() <= f64::EPSILON { Ordering::Equal } else { left.total_cmp(&right) }
            }
            (Said::Sorted(left), Said::Sorted(right)) => left.compare(right),
            (Said::Score, Said::LaterScore | Said::Sorted(_)) => worth(vector.first),
            (Said::Sorted(_), Said::Score) => worth(word.first).reverse(),
            (Said::Sorted(_) | Said::LaterScore, Said::LaterScore) => Ordering::Less,
            (Said::LaterScore, Said::Score | Said::Sorted(_)) => Ordering::Greater,
        };
        if order.is_ne() {
            return order;
        }
    }
    if of_word.next().is_some() { Ordering::Less } else { Ordering::Equal }
}

/// A score against a rule that sorts: any is better, but none is worse.
fn worth(score: f64) -> Ordering {
    if score == 0.0 { Ordering::Less } else { Ordering::Greater }
}

fn count(by_words: &ByWords<'_>, by_vector: &ByVector<'_>) -> u64 {
    let keys: HashSet<_> = by_words.hits.iter().chain(&by_vector.hits).map(|hit| &hit.key).collect();
    keys.len() as u64
}

// === impl Hit ===

impl<'a> Hit<'a> {
    fn parse(
        found: hit::Hit<'a>,
        key: Option<&str>,
        typos: Option<&MostTypos>,
        scored_by: ScoredBy,
    ) -> Result<Self, MergeError> {
        let members = Members::parse(found.text)?;
        let details = found.details()?.ok_or(MergeError::Missing("the scores of a hit"))?;
        let score: Option<f64> =
            members.get("_rankingScore").map(|score| serde_json::from_str(score.get())).transpose()?;
        let restated = typos.and_then(|typos| typos.restate(score, details));
        let first = match &restated {
            Some(restated) => Details::parse(&restated.details.to_string())?.first_score(scored_by, restated.score),
            None => Details::parse(details)?.first_score(scored_by, score),
        };
        let score = restated.and_then(|restated| restated.score).or(score).unwrap_or_default();
        let document: Value = serde_json::from_str(found.text)?;
        Ok(Self {
            found,
            values: said(Rank::parse(details)?),
            score,
            first: first.unwrap_or(score),
            key: key.and_then(|field| PrimaryKey::of(&document, field)),
        })
    }
}

fn said(rank: Rank) -> Vec<Said> {
    let mut values: Vec<Said> = Vec::new();
    let mut scored = false;
    for score in rank.0 {
        match (score, values.last()) {
            (Score::Number(_), Some(Said::Score | Said::LaterScore)) => {}
            (Score::Number(_), Some(Said::Sorted(_)) | None) => {
                values.push(if scored { Said::LaterScore } else { Said::Score });
                scored = true;
            }
            (sorted @ (Score::Sort { .. } | Score::Distance { .. }), _) => values.push(Said::Sorted(sorted)),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::index_info::IndexInfo;

    fn plan(body: Value) -> SearchPlan {
        let Value::Object(body) = body else { panic!("a search is an object") };
        let info = IndexInfo { primary_key: Some("id".into()), ..IndexInfo::new("movies") };
        SearchPlan::new(&info, body).unwrap()
    }

    fn search(ratio: f64, limit: u64) -> SearchPlan {
        plan(json!({"q": "x", "limit": limit, "hybrid": {"embedder": "e", "semanticRatio": ratio}}))
    }

    fn word(id: u32, score: f64) -> Value {
        json!({"id": id, "by": "words", "_rankingScore": score,
            "_rankingScoreDetails": {"words": {"order": 0, "score": score}, "typo": {"order": 1, "score": 1.0}}})
    }

    fn near(id: u32, score: f64) -> Value {
        json!({"id": id, "by": "vector", "_rankingScore": score,
            "_rankingScoreDetails": {"vectorSort": {"order": 0, "similarity": score}}})
    }

    fn reply(hits: &[Value], total: u64) -> Vec<u8> {
        json!({"hits": hits, "query": "x", "processingTimeMs": 1, "limit": 9, "offset": 0, "estimatedTotalHits": total,
            "semanticHitCount": 9})
        .to_string()
        .into_bytes()
    }

    /// Ids and their lists as mixed from one node's hits by words and another's by vector, and the answer's own count.
    fn mixed(plan: &SearchPlan, words: &[Value], vectors: &[Value]) -> (Vec<(u64, String)>, u64) {
        let hybrid = plan.hybrid().unwrap();
        let (words, vectors) = (reply(words, 2), reply(vectors, 9));
        let by_words = ByWords::new(&hybrid, &[&words]).unwrap();
        let by_vector = ByVector::new(&hybrid, &[&vectors]).unwrap();
        let mixed = Mixed::new(plan, &hybrid, &by_words, &by_vector).unwrap();
        let body: Value = serde_json::from_slice(&mixed.write(None, 9, None).unwrap()).unwrap();
        let hits = body["hits"].as_array().unwrap();
        let listed = |hit: &Value| (hit["id"].as_u64().unwrap(), hit["by"].as_str().unwrap().to_owned());
        assert!(hits.iter().all(|hit| hit.get("_rankingScoreDetails").is_none()));
        (hits.iter().map(listed).collect(), body["semanticHitCount"].as_u64().unwrap())
    }

    fn pairs(of: &[(u64, &str)]) -> Vec<(u64, String)> {
        of.iter().map(|(id, by)| (*id, (*by).to_owned())).collect()
    }

    #[test]
    fn scores_are_weighed_by_the_share_of_their_list() {
        let (words, vectors) = ([word(1, 0.9), word(2, 0.8)], [near(3, 0.85), near(4, 0.1)]);
        let at = |ratio| mixed(&search(ratio, 10), &words, &vectors);
        assert_eq!(at(0.5), (pairs(&[(1, "words"), (3, "vector"), (2, "words"), (4, "vector")]), 2));
        assert_eq!(at(0.95), (pairs(&[(3, "vector"), (4, "vector"), (1, "words"), (2, "words")]), 2));
    }

    #[test]
    fn a_document_of_both_lists_is_shown_once_as_the_better_of_them() {
        let (words, vectors) = ([word(1, 0.9), word(2, 0.2)], [near(2, 0.8), near(1, 0.7)]);
        assert_eq!(mixed(&search(0.5, 10), &words, &vectors), (pairs(&[(1, "words"), (2, "vector")]), 1));
    }

    #[test]
    fn of_equal_hits_the_vector_goes_first_and_none_is_worth_nothing() {
        let none = json!({"id": 5, "by": "vector", "_rankingScore": 0.0,
            "_rankingScoreDetails": {"vectorSort": {"order": 0, "similarity": null}}});
        let (words, vectors) = ([word(1, 0.5)], [near(2, 0.5), none]);
        // By the number of rules: a hit by words has as many as one by a vector, since those of words count as one.
        assert_eq!(mixed(&search(0.5, 10), &words, &vectors).0, pairs(&[(2, "vector"), (1, "words"), (5, "vector")]));
    }

    #[test]
    fn a_rule_that_sorts_first_decides_first() {
        let sorted = |mut hit: Value, value: f64| {
            let details = hit["_rankingScoreDetails"].as_object_mut().unwrap();
            details.values_mut().for_each(|rule| rule["order"] = json!(rule["order"].as_u64().unwrap() + 1));
            details.insert("price:asc".into(), json!({"order": 0, "value": value}));
            hit
        };
        let words = [sorted(word(1, 0.1), 1.0), sorted(word(2, 0.9), 3.0)];
        let vectors = [sorted(near(3, 0.9), 2.0), sorted(near(4, 0.1), 3.0)];
        assert_eq!(
            mixed(&search(0.5, 10), &words, &vectors).0,
            pairs(&[(1, "words"), (3, "vector"), (2, "words"), (4, "vector")])
        );
    }

    #[test]
    fn words_alone_will_do_if_all_hits_up_to_the_end_of_the_page_are_good() {
        let good = |ratio, limit, hits: &[Value]| {
            let plan = search(ratio, limit);
            let hybrid = plan.hybrid().unwrap();
            let body = reply(hits, 2);
            ByWords::new(&hybrid, &[&body]).unwrap().are_good_enough(&hybrid)
        };
        assert!(good(0.5, 2, &[word(1, 1.0), word(2, 0.9)]));
        assert!(!good(0.5, 2, &[word(1, 1.0), word(2, 0.89)]));
        assert!(!good(0.5, 3, &[word(1, 1.0), word(2, 0.9)]));
        assert!(!good(0.6, 2, &[word(1, 1.0), word(2, 1.0)]));
    }

    #[test]
    fn newer_engines_keep_a_distinct_value_once_in_both_lists_together() {
        let plan = plan(json!({"q": "x", "distinct": "id2", "hybrid": {"embedder": "e"}}));
        let hybrid = plan.hybrid().unwrap();
        let with = |mut hit: Value| {
            hit["id2"] = json!("same");
            hit
        };
        let words = reply(&[with(word(1, 0.9))], 1);
        let old = reply(&[with(near(2, 0.5))], 1);
        let mut new: Value = serde_json::from_slice(&old).unwrap();
        new["requestUid"] = json!("0190");
        let new = new.to_string().into_bytes();
        let hits = |vectors: &[u8]| {
            let by_words = ByWords::new(&hybrid, &[&words]).unwrap();
            let by_vector = ByVector::new(&hybrid, &[vectors]).unwrap();
            let mixed = Mixed::new(&plan, &hybrid, &by_words, &by_vector).unwrap();
            (mixed.page.len(), mixed.kept_once)
        };
        assert_eq!((hits(&old), hits(&new)), ((2, KeptOnce::No), (1, KeptOnce::Counted(1))));
    }

    #[test]
    fn what_neither_list_cut_is_counted() {
        let plan = search(0.5, 3);
        let hybrid = plan.hybrid().unwrap();
        let count = |words: &[Value], vectors: &[Value]| {
            let (words, vectors) = (reply(words, 9), reply(vectors, 9));
            let by_words = ByWords::new(&hybrid, &[&words]).unwrap();
            let by_vector = ByVector::new(&hybrid, &[&vectors]).unwrap();
            Mixed::new(&plan, &hybrid, &by_words, &by_vector).unwrap().distinct_hits
        };
        assert_eq!(count(&[word(1, 0.5), word(2, 0.4)], &[near(2, 0.3), near(3, 0.2)]), Some(3));
        assert_eq!(count(&[word(1, 0.5)], &[near(2, 0.3), near(3, 0.2), near(4, 0.1)]), None);
    }
}
