//! Lists of hits, and the one they make.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::met::Met;
use super::weigh::Weighed;
use crate::merge::error::MergeError;
use crate::merge::hit::Hit;
use crate::merge::raw::{Members, ObjectWriter};
use crate::merge::{hits, strip};
use crate::plan::federation::{FederatedQuery, IndexQueries};
use crate::plan::values::visit;

/// A hit that may lie in the page.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    text: &'a str,
    query: &'a FederatedQuery,
    weighed: Weighed,
    /// True if the vector of its search found it, not the words. Example: a is found by its words, b by the vector: `semanticHitCount`
    /// counts b.
    semantic: bool,
}

/// What a node adds to a hit.
#[derive(Deserialize)]
struct Marks<'a> {
    #[serde(borrow, rename = "_rankingScoreDetails")]
    details: Option<&'a RawValue>,
    #[serde(rename = "_federation")]
    federation: Origin,
}

#[derive(Deserialize)]
struct Origin {
    #[serde(rename = "queriesPosition")]
    query: usize,
    #[serde(rename = "weightedRankingScore")]
    score: f64,
}

/// Lists as one, by what their heads are compared by; the order within a list is never questioned.
pub struct Merger<'a> {
    lists: Vec<std::iter::Peekable<std::vec::IntoIter<Candidate<'a>>>>,
}

/// The list of the only node asked. `relayed`: it is the client's own page, so that nothing is compared with it, and nodes were not asked
/// for what hits are compared by.
pub fn of_one<'a>(
    index: &'a IndexQueries,
    hits: Vec<Hit<'a>>,
    relayed: bool,
) -> Result<Vec<Candidate<'a>>, MergeError> {
    let candidate = |hit: Hit<'a>| {
        let marks: Marks<'a> = serde_json::from_str(hit.text)?;
        let query = index.queries.get(marks.federation.query).ok_or(UNKNOWN_QUERY)?;
        if relayed {
            let weighed = Weighed::unknown(query.position);
            return Ok(Candidate { text: hit.text, query, weighed, semantic: false });
        }
        Candidate::new(hit.text, query, &marks)
    };
    hits.into_iter().map(candidate).collect()
}

/// For each search its part of the list of each node.
pub fn by_query<'a>(index: &IndexQueries, nodes: Vec<Vec<Hit<'a>>>) -> Result<Vec<Vec<Vec<Hit<'a>>>>, MergeError> {
    let mut lists = vec![vec![Vec::new(); nodes.len()]; index.queries.len()];
    for (node, hits) in nodes.into_iter().enumerate() {
        for hit in hits {
            let marks: Marks<'_> = serde_json::from_str(hit.text)?;
            lists.get_mut(marks.federation.query).ok_or(UNKNOWN_QUERY)?[node].push(hit);
        }
    }
    Ok(lists)
}

const UNKNOWN_QUERY: MergeError = MergeError::Missing("the search of a hit");

/// The best documents of an index.
#[derive(Debug, Default)]
pub struct Best<'a> {
    pub hits: Vec<Candidate<'a>>,
    /// How many hits were left out because a better one of another node has the same distinct value.
    pub duplicates: u64,
    /// True if a node left out a hit for one that is left out here, so that it is missing. Example: node-0 has a of maker x;
    /// node-1 has b of makers x and y, and c of maker y, which it leaves out for b. Here a displaces b: c would be shown, and
    /// no list has it.
    pub hides: bool,
    /// True if the list of a search ends where the page does. Example: a page of two, a search that finds a, b and c: its
    /// list is a and b, and does not tell of c.
    pub cut: bool,
}

/// The best `reach` documents of an index, told apart by `distinct`. `queries` has for each search the list of each node.
pub fn of_nodes<'a>(
    index: &'a IndexQueries,
    queries: Vec<Vec<Vec<Hit<'a>>>>,
    distinct: Option<&str>,
    reach: u64,
) -> Result<Best<'a>, MergeError> {
    let mut best = Best::default();
    let mut lists = Vec::with_capacity(queries.len());
    for (query, nodes) in index.queries.iter().zip(queries) {
        let page = hits::merge(nodes, &query.search.rules(), 0, reach)?;
        best.duplicates += page.duplicates;
        best.hides |= page.hides;
        best.cut |= page.hits.len() as u64 >= reach;
        let list: Result<Vec<_>, MergeError> = page
            .hits
            .into_iter()
            .map(|hit| Candidate::new(hit.text, query, &serde_json::from_str(hit.text)?))
            .collect();
        lists.push(list?);
    }
    let mut seen = HashSet::new();
    let mut met = Met::new(distinct);
    for hit in Merger::new(lists) {
        if best.hits.len() as u64 >= reach {
            break;
        }
        // Of searches asked apart, each finds a document again.
        if let Some(field) = &index.apart
            && !seen.insert(key(hit.text, field)?)
        {
            continue;
        }
        if !met.is_new(hit.text)? {
            best.duplicates += 1;
            continue;
        }
        best.hits.push(hit);
    }
    Ok(best)
}

/// The primary key of a hit, whose path is `field`.
fn key(text: &str, field: &str) -> Result<String, MergeError> {
    let document: Value = serde_json::from_str(text)?;
    let mut key = None;
    visit(&document, field, &mut |leaf| key = Some(leaf.to_string()));
    key.ok_or(MergeError::Missing("a primary key"))
}

// === impl Candidate ===

impl<'a> Candidate<'a> {
    fn new(text: &'a str, query: &'a FederatedQuery, marks: &Marks<'_>) -> Result<Self, MergeError> {
        let details = marks.details.ok_or(MergeError::Missing("the scores of a hit"))?;
        let weighed = Weighed::parse(details.get(), query, marks.federation.score)?;
        Ok(Self { text, query, weighed, semantic: details.get().contains(r#""vectorSort":"#) })
    }

    /// The hit as its node wrote it.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// True if the vector found it, not the words.
    pub fn is_semantic(&self) -> bool {
        self.semantic
    }

    /// Writes the hit as the client asked for it; `renumbered` if nodes may count the searches otherwise.
    pub fn write(&self, renumbered: bool, out: &mut Vec<u8>) -> Result<(), MergeError> {
        let shown = &self.query.search.shown;
        if !renumbered {
            return Ok(strip::hit(self.text, shown, None, out)?);
        }
        let mut text = Vec::with_capacity(self.text.len());
        strip::hit(self.text, shown, None, &mut text)?;
        let text = std::str::from_utf8(&text).map_err(|_| MergeError::Missing("text in UTF-8"))?;
        let mut hit = ObjectWriter::new(out);
        for (name, value) in &Members::parse(text)?.0 {
            if name != "_federation" {
                hit.raw(name, value.get());
                continue;
            }
            let mut origin = ObjectWriter::new(hit.key(name));
            for (name, value) in &Members::parse(value.get())?.0 {
                match name.as_ref() {
                    "queriesPosition" => origin.number(name, self.query.position),
                    _ => origin.raw(name, value.get()),
                }
            }
            origin.finish();
        }
        hit.finish();
        Ok(())
    }
}

// === impl Merger ===

impl<'a> Merger<'a> {
    /// Each list is in its own order, best first.
    pub fn new(lists: Vec<Vec<Candidate<'a>>>) -> Self {
        Self { lists: lists.into_iter().map(|list| list.into_iter().peekable()).collect() }
    }

    /// The next, and the place of its list among the lists.
    pub fn pop(&mut self) -> Option<(usize, Candidate<'a>)> {
        let mut best: Option<(usize, &Weighed)> = None;
        for (at, list) in self.lists.iter_mut().enumerate() {
            let Some(head) = list.peek() else { continue };
            if best.is_none_or(|(_, leader)| head.weighed.goes_before(leader)) {
                best = Some((at, &head.weighed));
            }
        }
        let best = best?.0;
        Some((best, self.lists[best].next()?))
    }
}

impl<'a> Iterator for Merger<'a> {
    type Item = Candidate<'a>;

    fn next(&mut self) -> Option<Candidate<'a>> {
        self.pop().map(|(_, hit)| hit)
    }
}
