//! Statistics: every node's own, added up.

use std::collections::BTreeMap;

use futures::future::{join, join_all};
use serde_json::Value;

use super::gather::{Fault, Nodes, Round, ask_one, log_failure};
use super::reader::{Inexact, Reader, Reply, Stop, is_object};
use crate::meili::error::{Code, ResponseError};
use crate::meili::query::QueryMap;
use crate::merge;
use crate::nodes::meaning::{ForRead, Meaning};
use crate::placement::shard::ShardSet;
use crate::placement::stable_hash::hash_bytes;
use crate::placement::topology::NodeIx;
use crate::plan::documents::DocumentsPlan;
use crate::plan::scatter::NodeRequest;

/// Statistics read so many documents at most, where they cannot be told from the nodes' own.
const MOST_READ: u64 = 10_000;

/// How sizes are written.
enum SizeFormat {
    Bytes,
    ForPeople,
}

/// The request in which nodes state sizes that can be added up, and how the sums are to be written.
fn with_plain_sizes(original: &NodeRequest) -> (NodeRequest, SizeFormat) {
    let (path, query) = original.path.split_once('?').unwrap_or((&original.path, ""));
    let mut parameters = QueryMap::parse(query);
    // Another value is the nodes' to refuse.
    if parameters.get("sizeFormat") != Some("human") {
        return (original.clone(), SizeFormat::Bytes);
    }
    parameters.set("sizeFormat", "raw");
    (NodeRequest { path: format!("{path}?{}", parameters.encode()), ..original.clone() }, SizeFormat::ForPeople)
}

impl SizeFormat {
    fn write(&self, stats: &mut Value) {
        match self {
            Self::Bytes => {}
            Self::ForPeople => merge::stats::write_sizes_for_people(stats),
        }
    }
}

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// Every node's own answer; at least one.
    async fn ask_all(&self, request: &NodeRequest) -> Result<(Vec<Value>, bool), Stop> {
        let serving: Vec<NodeIx> =
            self.topology.indexes().filter(|node| self.topology.node(*node).state.serves_reads()).collect();
        let round = Round::new(serving.len());
        let several = serving.len() > 1;
        let asked = serving.iter().map(|node| async {
            (*node, ask_one(self.nodes, self.topology, (*node, request.clone()), &round, several).await)
        });
        let mut values = Vec::new();
        let mut fault = None;
        for (node, answer) in join_all(asked).await {
            match (Meaning::of_readable(&answer, is_object).policy().read, answer) {
                (ForRead::Use, Ok(reply)) => values.push(serde_json::from_slice(&reply.body)?),
                (ForRead::Relay | ForRead::OtherReplicaOrRelay, Ok(reply)) => {
                    fault.get_or_insert(Fault { node, reply });
                }
                (_, answer) => log_failure(self.topology, node, &answer),
            }
        }
        match fault {
            Some(fault) if values.is_empty() => Err(Stop::Fault(fault)),
            None if values.is_empty() => {
                Err(ResponseError::new(Code::MiroirNodeUnavailable, "No node answers at the moment.").into())
            }
            Some(_) | None => {
                let complete = values.len() == self.topology.members().count();
                Ok((values, complete))
            }
        }
    }

    /// How many replicas the nodes hold of every document, if it is the same for all: nothing is stale, nothing moves.
    fn copies(&self) -> Option<u64> {
        let topology = self.topology;
        let copies = topology.owners.first().map_or(1, Vec::len);
        let even = topology.owners.iter().all(|owners| owners.len() == copies);
        let at_rest = topology.stale.is_empty() && topology.residue.is_empty();
        (even && at_rest).then_some(copies.max(1) as u64)
    }

    /// How many documents an index holds, each counted once.
    async fn count(&self, index: &str) -> Result<(u64, ShardSet), Stop> {
        let reply = self.documents(&DocumentsPlan::counting(index), hash_bytes(index.as_bytes())).await?;
        Ok((merge::documents::total(&reply.body)?, reply.degraded))
    }

    /// Documents are counted over the shards; the rest is put together from what all nodes say.
    pub(super) async fn index_stats(&self, index: &str, original: &NodeRequest) -> Result<Reply, Stop> {
        let (plain, format) = with_plain_sizes(original);
        let (nodes, counted) = join(self.ask_all(&plain), self.count(index)).await;
        let (nodes, complete) = nodes?;
        let (documents, missing) = counted?;
        let mut budget = MOST_READ;
        let (mut stats, inexact) = self.stats_of(index, &nodes, documents, complete, &mut budget).await?;
        format.write(&mut stats);
        Ok(Reply { inexact, ..Reply::ok(stats.to_string().into_bytes(), missing) })
    }

    /// An index that cannot be counted exactly is marked in the answer.
    pub(super) async fn all_stats(&self, original: &NodeRequest) -> Result<Reply, Stop> {
        let (plain, format) = with_plain_sizes(original);
        let (nodes, complete) = self.ask_all(&plain).await?;
        let copies = self.copies();
        let mut degraded = ShardSet::new();
        let mut inexact = Inexact::default();
        let mut budget = MOST_READ;
        let mut indexes = BTreeMap::new();
        for (index, stats) in merge::stats::by_index(&nodes) {
            let replicas = merge::stats::replicas(&stats);
            // With every replica there is, they need not be counted shard by shard.
            let documents = match copies {
                Some(copies) if complete && replicas.is_multiple_of(copies) => replicas / copies,
                Some(_) | None => {
                    let (documents, missing) = self.count(&index).await?;
                    degraded.union_with(&missing);
                    documents
                }
            };
            let (merged, differs) = self.stats_of(&index, &stats, documents, complete, &mut budget).await?;
            inexact = inexact.or(differs);
            indexes.insert(index, merged);
        }
        let mut all = merge::stats::all(&nodes, indexes);
        format.write(&mut all);
        let body = all.to_string().into_bytes();
        Ok(Reply { inexact, ..Reply::ok(body, degraded) })
    }

    /// The figures of `nodes` about an index of `documents` documents. Where documents have different numbers of replicas
    /// on these nodes, they are read to count their fields, if they are few enough for what is left of `budget`. `complete`: all nodes
    /// answered. Example where not: a and b have two replicas each, and three replicas were counted. Nobody knows which one is missing.
    async fn stats_of(
        &self,
        index: &str,
        nodes: &[Value],
        documents: u64,
        complete: bool,
        budget: &mut u64,
    ) -> Result<(Value, Inexact), Stop> {
        let is_even = complete
            && self.copies().is_some_and(|copies| merge::stats::replicas(nodes) == documents.saturating_mul(copies));
        if is_even {
            return Ok((merge::stats::index(nodes, documents, None)?, Inexact::default()));
        }
        if documents > *budget {
            return Ok((merge::stats::index(nodes, documents, None)?, Inexact { fields: true, ..Inexact::default() }));
        }
        *budget -= documents;
        let seed = hash_bytes(index.as_bytes());
        let read = self.documents(&DocumentsPlan::whole(index, documents), seed).await?;
        let fields = merge::stats::fields_of(&read.body)?;
        Ok((merge::stats::index(nodes, documents, Some(&fields))?, Inexact::default()))
    }
}
