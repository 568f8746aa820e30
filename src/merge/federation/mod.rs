//! The replies to a federated search as one list.
//!
//! The order is found as one node finds it: first the hits of each search, then those of all searches of an index, of
//! which a document is the best only once, then those of all indexes.
//!
//! | module | what lives there |
//! |---|---|
//! | `facets` | facets of several indexes as one, as the engine puts them together |
//! | `list` | hits of all searches in one order, each document once |
//! | `met` | hits of all searches told apart by their values of one attribute |
//! | `weigh` | hits of several searches compared as the engine compares them |

mod facets;
mod list;
mod met;
#[cfg(test)]
mod tests;
mod weigh;

use std::borrow::Cow;

use serde_json::Value;

use crate::plan::federation::{FederationPlan, IndexQueries};

use self::facets::IndexFacets;
use self::list::{Best, Candidate, Merger};
use self::met::Met;
use super::error::MergeError;
use super::facets::{Facets, NodeFacets};
use super::hit::Hit;
use super::raw::{Members, ObjectWriter, Raw};
use super::reading;
use crate::plan::window::{Paging, Window};

/// One node's reply to a federated search of one index.
#[derive(Debug)]
pub struct FederatedReply<'a> {
    members: Members<'a>,
    hits: Vec<Hit<'a>>,
    total: u64,
}

/// What nodes reply about one index, in the order of the cover.
#[derive(Debug, Default)]
pub struct IndexReplies<'a> {
    /// Empty where the searches could only be asked apart.
    pub together: Vec<&'a [u8]>,
    /// For each search the replies to it alone; empty where it was not asked alone.
    pub apart: Vec<Vec<&'a [u8]>>,
    /// True if nodes list all hits, also those of one distinct value. Example: a and b have one value, c another. The list
    /// is a, b, c then, and b is left out here; else it is a, c.
    pub list_all: bool,
}

/// The replies of nodes to a federated search, and the page that they make.
#[derive(Debug)]
pub struct Merged<'a> {
    plan: &'a FederationPlan,
    /// By index.
    answers: Vec<IndexAnswer<'a>>,
    page: Vec<Candidate<'a>>,
    /// True if a lone node saw the client's own page. Example: `offset` 1 and `limit` 1 over a, b, c. Its list is b; several
    /// nodes list a and b, and a is skipped here.
    relayed: bool,
}

/// An index's part of the answer.
#[derive(Debug)]
struct IndexAnswer<'a> {
    /// The best of the index, up to the end of the page.
    hits: Vec<Candidate<'a>>,
    total: u64,
    /// True if there may be hits beyond the end of the page. Example: of a, b, c a page of two has a and b, and nobody has
    /// looked whether c has the distinct value of one of them. A page of five has them all.
    goes_on: bool,
    /// True if hits are missing; see [`Best::hides`].
    hides: bool,
    /// Hits that better ones of other indexes displace. Example: a and b are of this index, c of another. c is better than b and has
    /// its distinct value: b is left out, and the total of this index is one.
    displaced: Vec<&'a str>,
    /// The hits over which its facets are counted here: all that nodes found, where these leave out what others displace. `None` where
    /// nodes count them.
    counted: Option<Vec<&'a str>>,
    replies: Vec<FederatedReply<'a>>,
}

// === impl FederatedReply ===

impl<'a> FederatedReply<'a> {
    /// Of a node's whole body; an error where it states no total.
    pub fn parse(body: &'a [u8]) -> Result<Self, MergeError> {
        let (members, hits) = reading::read(body)?;
        Ok(Self { total: reading::total(&members)?, hits, members })
    }

    /// How many hits the node says it has found.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many hits there are in the list.
    pub fn listed(&self) -> usize {
        self.hits.len()
    }

    fn members_of_facets(&self, index: &str) -> Result<Members<'a>, MergeError> {
        let missing = || MergeError::Missing("facets");
        let all = Members::parse(self.members.get("facetsByIndex").ok_or_else(missing)?.get())?;
        Ok(Members::parse(all.get(index).ok_or_else(missing)?.get())?)
    }

    /// The facets of `index`.
    pub fn facets(&self, index: &str) -> Result<NodeFacets<'a>, MergeError> {
        let own = self.members_of_facets(index)?;
        let member = |name| own.get(name).map(|raw| Members::parse(raw.get())).transpose();
        Ok(NodeFacets {
            distribution: member("distribution")?,
            stats: member("stats")?,
            hits: self.total,
            ..NodeFacets::default()
        })
    }
}

// === impl Merged ===

impl<'a> Merged<'a> {
    /// `replies` has those about each index of `plan`.
    pub fn new(plan: &'a FederationPlan, replies: &[IndexReplies<'a>], relayed: bool) -> Result<Self, MergeError> {
        let window = plan.window();
        let mut answers = Vec::with_capacity(plan.indexes.len());
        for (index, replies) in plan.indexes.iter().zip(replies) {
            answers.push(IndexAnswer::new(plan, index, replies, relayed)?);
        }
        let lists = answers.iter_mut().map(|answer| std::mem::take(&mut answer.hits)).collect();
        let mut merger = Merger::new(lists);
        let mut met = Met::new(plan.distinct.as_deref().filter(|_| answers.len() > 1));
        let mut page = Vec::new();
        let end = if relayed { window.take() } else { window.reach() };
        // What is displaced behind the page is counted, too.
        while plan.distinct.is_some() || (page.len() as u64) < end {
            let Some((at, hit)) = merger.pop() else { break };
            if met.is_new(hit.text())? {
                page.push(hit);
            } else {
                answers[at].displaced.push(hit.text());
                answers[at].total = answers[at].total.saturating_sub(1);
            }
        }
        let skip = if relayed { 0 } else { window.skip() };
        page.truncate(index_of(end));
        page.drain(..index_of(skip).min(page.len()));
        Ok(Self { plan, answers, page, relayed })
    }

    /// What the nodes say of the facets of the index at `at`; `None` where there is nothing to put together.
    pub fn facets(&self, at: usize) -> Result<Option<Facets>, MergeError> {
        let (index, answer) = (&self.plan.indexes[at], &self.answers[at]);
        let Some(asked) = index.facets.as_ref().filter(|_| answer.replies.len() > 1) else { return Ok(None) };
        let mut facets = Facets::new(&asked.rules);
        for reply in &answer.replies {
            let said = reply.facets(&index.index)?;
            match &answer.counted {
                Some(_) => said.names().for_each(|facet| facets.name(facet)),
                None => facets.add_node(&said)?,
            }
        }
        if let Some(hits) = &answer.counted {
            facets.add_documents(&documents(hits)?);
        }
        Ok(Some(facets))
    }

    /// True if the facets of the index at `at` are counted over hits that are at hand, so that nobody is asked for more.
    pub fn counts_hits(&self, at: usize) -> bool {
        self.answers[at].counted.is_some()
    }

    /// True if hits of the index at `at` may lie beyond the end of the page, so that nobody has looked at all of them.
    pub fn goes_on(&self, at: usize) -> bool {
        self.answers[at].goes_on
    }

    /// True if a node left out hits of the index at `at` for one that is left out here.
    pub fn hides(&self, at: usize) -> bool {
        self.answers[at].hides
    }

    /// True if a better hit of another index displaces one of the index at `at` that does not show what facets count.
    pub fn displaces_unseen(&self, at: usize) -> bool {
        let told = self.plan.indexes[at].facets.as_ref().is_none_or(|facets| facets.told_by_hits);
        !self.answers[at].displaced.is_empty() && !told
    }

    /// How many hits the page has.
    pub fn shown(&self) -> u64 {
        self.page.len() as u64
    }

    /// The one reply, and whether one node's lists of facet values may end otherwise. `facets` are those of each index,
    /// where there were any to put together.
    pub fn write(&self, facets: &[Option<Facets>]) -> Result<(Vec<u8>, bool), MergeError> {
        let window = self.plan.window();
        let total = self.answers.iter().fold(0, |sum: u64, answer| sum.saturating_add(answer.total));
        let all_replies = || self.answers.iter().flat_map(|answer| &answer.replies);
        // Each index may show members that the first does not.
        let mut names: Vec<(&Cow<'_, str>, Raw<'_>)> = Vec::new();
        for reply in all_replies() {
            let mut at = 0;
            for (name, raw) in &reply.members.0 {
                match names.iter().position(|(known, _)| *known == name) {
                    Some(known) => at = known + 1,
                    None => {
                        names.insert(at, (name, *raw));
                        at += 1;
                    }
                }
            }
        }
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        let mut tied = false;
        for (name, raw) in names {
            match name.as_ref() {
                "hits" => self.write_hits(object.key(name))?,
                "processingTimeMs" => {
                    let slowest = all_replies().filter_map(|reply| reply.members.count("processingTimeMs")).max();
                    object.number(name, slowest.unwrap_or(0));
                }
                "estimatedTotalHits" | "totalHits" => object.number(name, total),
                "semanticHitCount" if !self.relayed => {
                    object.number(name, self.page.iter().filter(|hit| hit.is_semantic()).count() as u64);
                }
                "facetsByIndex" => tied = self.write_facets(facets, &mut object)?,
                "queryVectors" => self.write_vectors(object.key(name))?,
                key => match paging_member(window, key, total) {
                    Some(number) => object.number(name, number),
                    None => object.raw(name, raw.get()),
                },
            }
        }
        object.finish();
        Ok((out, tied))
    }

    fn write_hits(&self, out: &mut Vec<u8>) -> Result<(), MergeError> {
        // Nodes count only the searches that they were asked.
        let queries = || self.plan.indexes.iter().flat_map(|index| &index.queries);
        let renumbered = self.plan.indexes.len() > 1
            || self.plan.indexes.iter().any(|index| index.apart.is_some())
            || queries().zip(0..).any(|(query, at)| query.position != at);
        out.push(b'[');
        for (at, hit) in self.page.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            hit.write(renumbered, out)?;
        }
        out.push(b']');
        Ok(())
    }

    fn write_facets(&self, facets: &[Option<Facets>], object: &mut ObjectWriter<'_>) -> Result<bool, MergeError> {
        let mut all = Vec::with_capacity(self.answers.len());
        for ((index, answer), facets) in self.plan.indexes.iter().zip(&self.answers).zip(facets) {
            let own = match (&index.facets, facets, answer.replies.as_slice()) {
                (None, _, _) => continue,
                (Some(_), Some(facets), _) => IndexFacets::of_nodes(facets),
                (Some(_), None, [only]) => IndexFacets::of_one(&only.members_of_facets(&index.index)?)?,
                (Some(_), None, _) => return Err(MergeError::Missing("facets")),
            };
            let own = match &self.plan.merge_facets {
                Some(_) => own,
                None => own.without(&documents(&answer.displaced)?)?,
            };
            all.push((index.index.as_str(), own));
        }
        let displaced: Vec<&str> = self.answers.iter().flat_map(|answer| answer.displaced.iter().copied()).collect();
        let rules = self.plan.indexes.iter().find_map(|index| Some(&index.facets.as_ref()?.rules));
        match (&self.plan.merge_facets, rules) {
            (Some(union), Some(rules)) => {
                let displaced = documents(&displaced)?;
                let tied = facets::write_distribution(&all, union, &displaced, object.key("facetDistribution"))?;
                facets::write_stats(&all, rules, object.key("facetStats"))?;
                // In which order equals were counted is known of an index that one node has whole.
                Ok(tied && facets.iter().any(Option::is_some))
            }
            (Some(_), None) | (None, _) => {
                facets::write_by_index(&all, object.key("facetsByIndex"));
                Ok(false)
            }
        }
    }

    /// The vectors of searches, by position.
    fn write_vectors(&self, out: &mut Vec<u8>) -> Result<(), MergeError> {
        let mut vectors: Vec<(u64, Raw<'_>)> = Vec::new();
        for (index, answer) in self.plan.indexes.iter().zip(&self.answers) {
            for raw in answer.replies.iter().filter_map(|reply| reply.members.get("queryVectors")) {
                for (at, vector) in Members::parse(raw.get())?.0 {
                    let query = at.parse::<usize>().ok().and_then(|at| index.queries.get(at));
                    let query = query.ok_or(MergeError::Missing("the search of a vector"))?;
                    vectors.push((query.position, vector));
                }
            }
        }
        vectors.sort_by_key(|(position, _)| *position);
        vectors.dedup_by_key(|(position, _)| *position);
        let mut object = ObjectWriter::new(out);
        for (position, vector) in vectors {
            object.raw(&position.to_string(), vector.get());
        }
        object.finish();
        Ok(())
    }
}

fn documents(hits: &[&str]) -> Result<Vec<Value>, MergeError> {
    Ok(hits.iter().map(|hit| serde_json::from_str(hit)).collect::<Result<_, _>>()?)
}

/// A count as a number of places in memory.
fn index_of(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn paging_member(window: Window, name: &str, total: u64) -> Option<u64> {
    match (window.paging, name) {
        (Paging::Offset { limit, .. }, "limit") => Some(limit),
        (Paging::Offset { offset, .. }, "offset") => Some(offset),
        (Paging::Page { page, .. }, "page") => Some(page),
        (Paging::Page { hits_per_page, .. }, "hitsPerPage") => Some(hits_per_page),
        (Paging::Page { hits_per_page, .. }, "totalPages") => Some(Window::pages(total, hits_per_page)),
        (Paging::Offset { .. } | Paging::Page { .. }, _) => None,
    }
}

// === impl IndexAnswer ===

impl<'a> IndexAnswer<'a> {
    /// `relayed`: as of [`Merged::relayed`].
    fn new(
        plan: &FederationPlan,
        index: &'a IndexQueries,
        replies: &IndexReplies<'a>,
        relayed: bool,
    ) -> Result<Self, MergeError> {
        let (reach, distinct, all_listed) = (plan.window().reach(), plan.distinct.as_deref(), replies.list_all);
        let mut parsed = parse(&replies.together)?;
        let alone = replies.apart.iter().map(|query| parse(query)).collect::<Result<Vec<_>, _>>()?;
        let of_each = || alone.iter().flatten();
        let mut total = if parsed.is_empty() { sum(of_each()) } else { sum(parsed.iter()) };
        let Best { hits, duplicates, hides, cut } = match parsed.as_mut_slice() {
            [only] if replies.apart.is_empty() && !replies.list_all => {
                Best { hits: list::of_one(index, std::mem::take(&mut only.hits), relayed)?, ..Best::default() }
            }
            _ if replies.apart.is_empty() => {
                let lists = parsed.iter_mut().map(|reply| std::mem::take(&mut reply.hits)).collect();
                list::of_nodes(index, list::by_query(index, lists)?, distinct, reach)?
            }
            _ => {
                let lists = alone.iter().map(|query| query.iter().map(|reply| reply.hits.clone()).collect()).collect();
                list::of_nodes(index, lists, distinct, reach)?
            }
        };
        total = total.saturating_sub(duplicates);
        let goes_on = cut || hits.len() as u64 >= if relayed { plan.window().take() } else { reach };
        // Where searches leave hits out, only a list that has come to its end tells how many there are.
        let counted_apart = parsed.is_empty();
        if !goes_on && (counted_apart || (parsed.len() > 1 && index.leaves_out())) {
            total = hits.len() as u64;
        }
        let replies: Vec<_> = if counted_apart { alone.into_iter().flatten().collect() } else { parsed };
        // A list that has come to its end has every hit that counts.
        let ended = !goes_on && (!hides || all_listed);
        let told = index.facets.as_ref().is_some_and(|facets| facets.told_by_hits);
        let counted = (ended && told && replies.len() > 1).then(|| hits.iter().map(Candidate::text).collect());
        Ok(Self { hits, total, goes_on, hides, displaced: Vec::new(), counted, replies })
    }
}

fn sum<'r>(replies: impl Iterator<Item = &'r FederatedReply<'r>>) -> u64 {
    replies.fold(0, |sum: u64, reply| sum.saturating_add(reply.total))
}

fn parse<'a>(bodies: &[&'a [u8]]) -> Result<Vec<FederatedReply<'a>>, MergeError> {
    bodies.iter().map(|body| FederatedReply::parse(body)).collect()
}
