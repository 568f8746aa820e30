//! Documents of other indexes put into hits, once the hits of all nodes are one list: one more round, of a read for each other index.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::try_join_all;

use super::gather::Nodes;
use super::reader::{Reader, Reply, Stop};
use crate::meili::uid::index_not_found;
use crate::merge::error::MergeError;
use crate::merge::joins::{Documents, hits, ids_at, ids_below, index_of, joined, results, with_hits, with_results};
use crate::plan::federation::FederationPlan;
use crate::plan::joins::Joins;
use crate::plan::rounds::Later;
use crate::plan::scatter::{Ask, Scatter};
use crate::plan::scattered::Scattered as _;

/// So many documents are asked for in one request.
const IN_ONE: usize = 1000;

/// Ids of documents by their index.
type Wanted<'j> = BTreeMap<&'j str, BTreeSet<String>>;

/// A hit, and the index in which it was found.
struct Found {
    index: String,
    hit: String,
}

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// `reply`, a good one, with the documents that its hits name.
    pub(super) async fn with_joined(&self, scatter: &Scatter, reply: Reply) -> Result<Reply, Stop> {
        let answer = std::str::from_utf8(&reply.body).map_err(|_| MergeError::Missing("text in UTF-8"))?;
        let joins = &scatter.joins;
        let body = match &scatter.ask {
            Ask::Search(plan) => with_hits(answer, &self.join_each(joins, of_index(&plan.index, answer)?).await?),
            Ask::MultiSearch(plan) => {
                let answers = results(answer)?;
                let mut found = Vec::new();
                let mut ends = Vec::with_capacity(answers.len());
                for (answer, query) in answers.iter().zip(&plan.queries) {
                    found.extend(of_index(&query.index, answer)?);
                    ends.push(found.len());
                }
                let hits = self.join_each(joins, found).await?;
                let begins = std::iter::once(0).chain(ends.iter().copied());
                let answers: Vec<String> = answers
                    .iter()
                    .zip(begins.zip(&ends))
                    .map(|(answer, (from, to))| with_hits(answer, &hits[from..*to]))
                    .collect::<Result<_, _>>()
                    .map_err(MergeError::from)?;
                with_results(answer, &answers)
            }
            Ask::Federation(plan) => with_hits(answer, &self.join_common(joins, plan, hits(answer)?).await?),
            Ask::Judge
            | Ask::Refused(_)
            | Ask::Settings
            | Ask::Setting { .. }
            | Ask::FacetSearch(_)
            | Ask::Similar(_)
            | Ask::Fields(_)
            | Ask::Documents(_)
            | Ask::Document(_)
            | Ask::Render(_)
            | Ask::DynamicSearchRules
            | Ask::Stats(_) => return Ok(reply),
        };
        Ok(Reply { body: Bytes::from(body.map_err(MergeError::from)?), ..reply })
    }

    /// The hits of searches, each as the engine joins those of a search of its own: one other index after the other.
    async fn join_each(&self, joins: &Joins, mut found: Vec<Found>) -> Result<Vec<String>, Stop> {
        let mut documents = Documents::default();
        let most = found.iter().map(|found| steps(joins, &found.index).len()).max().unwrap_or_default();
        self.fetch(joins, unknown(joins, &found, 0..most, &documents)?, &mut documents).await?;
        for step in 0..most {
            // What was put in may hold ids itself, at a field of another key.
            if step > 0 {
                self.fetch(joins, unknown(joins, &found, step..step + 1, &documents)?, &mut documents).await?;
            }
            for Found { index, hit } in &mut found {
                if let Some((foreign, fields)) = steps(joins, index).get(step) {
                    *hit = joined(hit, fields, foreign, &documents).map_err(MergeError::from)?;
                }
            }
        }
        Ok(found.into_iter().map(|found| found.hit).collect())
    }

    /// The hits of a common list: what all of them name is taken down first, then each key after the other is looked at.
    async fn join_common(&self, joins: &Joins, plan: &FederationPlan, hits: Vec<String>) -> Result<Vec<String>, Stop> {
        let only = match plan.indexes.as_slice() {
            [only] => Some(&only.index),
            _ => None,
        };
        let mut found = Vec::with_capacity(hits.len());
        let mut wanted = Wanted::default();
        for hit in hits {
            let index = index_of(&hit)?.or_else(|| only.cloned()).ok_or(MergeError::Missing("the index of a hit"))?;
            for key in joins.of_index(&index) {
                let ids = ids_at(&hit, &key.field).map_err(MergeError::from)?;
                if !ids.is_empty() {
                    wanted.entry(&key.foreign).or_default().extend(ids);
                }
            }
            found.push(Found { index, hit });
        }
        let mut documents = Documents::default();
        self.fetch(joins, wanted, &mut documents).await?;
        for Found { index, hit } in &mut found {
            for key in joins.of_index(index) {
                *hit = joined(hit, &[&key.field], &key.foreign, &documents).map_err(MergeError::from)?;
            }
        }
        Ok(found.into_iter().map(|found| found.hit).collect())
    }

    /// Adds what `wanted` names to `documents`. One of an index that does not exist is an error.
    async fn fetch(&self, joins: &Joins, wanted: Wanted<'_>, documents: &mut Documents) -> Result<(), Stop> {
        let mut asked = Vec::new();
        for (index, ids) in wanted {
            let foreign = joins.foreign(index).ok_or_else(|| index_not_found(index))?;
            let ids: Vec<String> = ids.into_iter().collect();
            if foreign.primary_key.is_none() {
                documents.add_none(index, ids);
                continue;
            }
            for ids in ids.chunks(IN_ONE) {
                let plan = foreign.fetch(index, ids, self.topology.shards);
                let ids = ids.to_vec();
                let read = async move {
                    let reply = self.documents(&plan, plan.seed()).await?;
                    Ok::<_, Stop>((index, foreign, ids, reply))
                };
                asked.push(read.boxed());
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        self.note(Later::Joined);
        for (index, foreign, ids, reply) in try_join_all(asked).await? {
            documents.add(index, foreign, &ids, &reply.body)?;
            self.uncounted.lock().union_with(&reply.degraded);
        }
        Ok(())
    }
}

/// The hits of an answer to a search of `index`.
fn of_index(index: &str, answer: &str) -> Result<Vec<Found>, MergeError> {
    Ok(hits(answer)?.into_iter().map(|hit| Found { index: index.to_owned(), hit }).collect())
}

/// What the hits name for these steps, as far as it was not asked for yet.
fn unknown<'j>(
    joins: &'j Joins,
    found: &[Found],
    of: Range<usize>,
    documents: &Documents,
) -> Result<Wanted<'j>, MergeError> {
    let mut wanted = Wanted::default();
    for Found { index, hit } in found {
        for (foreign, fields) in steps(joins, index).into_iter().take(of.end).skip(of.start) {
            for id in ids_below(hit, &fields)? {
                if !documents.knows(foreign, &id) {
                    wanted.entry(foreign).or_default().insert(id);
                }
            }
        }
    }
    Ok(wanted)
}

/// The other indexes of `index`, each with the fields that hold its documents' ids.
fn steps<'j>(joins: &'j Joins, index: &str) -> Vec<(&'j str, Vec<&'j str>)> {
    let mut steps: Vec<(&str, Vec<&str>)> = Vec::new();
    for key in joins.of_index(index) {
        match steps.iter_mut().find(|(foreign, _)| *foreign == key.foreign) {
            Some((_, fields)) => fields.push(&key.field),
            None => steps.push((key.foreign.as_str(), vec![key.field.as_str()])),
        }
    }
    steps
}
