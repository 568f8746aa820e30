//! Documents of other indexes put into hits, once the hits of all nodes are one list: one more round, of a read for each other index.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::try_join_all;

use super::gather::Nodes;
use super::reader::{Reader, Reply, Stop};
use crate::meili::error::ResponseError;
use crate::meili::uid::index_not_found;
use crate::merge::error::MergeError;
use crate::merge::joins::{Documents, hits, ids_at, index_of, put_in, results, with_hits, with_results};
use crate::plan::joins::Joins;
use crate::plan::rounds::Later;
use crate::plan::scatter::{Ask, Scatter};
use crate::plan::scattered::Scattered as _;

/// So many documents are asked for in one request.
const IN_ONE: usize = 1000;

/// Ids of documents by their index.
type Wanted<'j> = BTreeMap<&'j str, BTreeSet<String>>;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// `reply`, a good one, with the documents that its hits name.
    pub(super) async fn with_joined(&self, scatter: &Scatter, reply: Reply) -> Result<Reply, Stop> {
        let answer = std::str::from_utf8(&reply.body).map_err(|_| MergeError::Missing("text in UTF-8"))?;
        let joins = &scatter.joins;
        let body = match &scatter.ask {
            Ask::Search(plan) => self.joined(joins, answer, Some(&plan.index)).await?,
            Ask::MultiSearch(plan) => {
                let each = results(answer)?.into_iter().zip(&plan.queries).enumerate();
                let each = each.map(|(place, (answer, query))| async move {
                    self.joined(joins, answer, Some(&query.index)).await.map_err(|stop| inside(place, stop))
                });
                with_results(answer, &try_join_all(each).await?).map_err(MergeError::from)?
            }
            Ask::Federation(plan) => {
                let only = match plan.indexes.as_slice() {
                    [only] => Some(only.index.as_str()),
                    _ => None,
                };
                self.joined(joins, answer, only).await?
            }
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
        Ok(Reply { body: Bytes::from(body), ..reply })
    }

    /// The answer to one search, or a common list: what all its hits name is taken down first, then each key after the other is
    /// looked at. `only` is the index of hits that do not say theirs.
    async fn joined(&self, joins: &Joins, answer: &str, only: Option<&str>) -> Result<String, Stop> {
        let hits = hits(answer)?;
        let mut found = Vec::with_capacity(hits.len());
        let mut wanted = Wanted::default();
        for hit in hits {
            let own = index_of(&hit)?;
            let index = own.or_else(|| only.map(str::to_owned)).ok_or(MergeError::Missing("the index of a hit"))?;
            for key in joins.of_index(&index) {
                let ids = ids_at(&hit, &key.field).map_err(MergeError::from)?;
                if !ids.is_empty() {
                    wanted.entry(&key.foreign).or_default().extend(ids);
                }
            }
            found.push((index, hit));
        }
        let mut documents = Documents::default();
        self.fetch(joins, wanted, &mut documents).await?;
        let mut joined = Vec::with_capacity(found.len());
        for (index, mut hit) in found {
            for key in joins.of_index(&index) {
                hit = put_in(&hit, &key.field, &key.foreign, &documents).map_err(MergeError::from)?;
            }
            joined.push(hit);
        }
        Ok(with_hits(answer, &joined).map_err(MergeError::from)?)
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

/// What is wrong with one of several searches is told of its place.
fn inside(place: usize, stop: Stop) -> Stop {
    match stop {
        Stop::Error(error) => {
            let message = format!("Inside `.queries[{place}]`: {}", error.message);
            Stop::Error(ResponseError { message, ..error })
        }
        Stop::Fault(fault) => Stop::Fault(fault),
    }
}
