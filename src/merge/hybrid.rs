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

    /// How many hits the page has.
    pub fn shown(&self) -> u64 {
        self.page.len() as u64
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
#[path = "hybrid_tests.rs"]
mod tests;
