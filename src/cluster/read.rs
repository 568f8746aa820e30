//! Carries out scattered reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{join, join_all};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use tokio::time::Instant;

use super::Cluster;
use super::client::{NodeReply, Subrequest, Trace};
use super::error::NodeError;
use super::gather::{Fault, Gathered, Nodes, Verdict, Wanted, gather, log_failure, verdict};
use super::settings::UnavailableShards;
use crate::meili::error::{Code, ResponseError};
use crate::merge;
use crate::merge::error::MergeError;
use crate::merge::search::SearchReply;
use crate::placement::cover::cover;
use crate::placement::shard::ShardSet;
use crate::placement::stable_hash::hash_bytes;
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::documents::{DocumentPlan, DocumentsPlan};
use crate::plan::facet_search::FacetSearchPlan;
use crate::plan::multi_search::MultiSearchPlan;
use crate::plan::scatter::{Ask, NodeRequest, Scatter};
use crate::plan::search::SearchPlan;
use crate::plan::stats::StatsPlan;

/// How many searches of one multi-search run at a time.
const QUERIES_AT_ONCE: usize = 8;

/// What reads other than searches may take at least: a page of documents can be large.
const LONG_READ: Duration = Duration::from_secs(30);

/// The answer to a read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// JSON, or empty.
    pub body: Bytes,
    /// The shards that are missing in the answer.
    pub degraded: ShardSet,
}

/// Why a read brings no merged answer.
#[derive(Debug)]
enum Stop {
    /// A node says that the request is wrong.
    Fault(Fault),
    Error(ResponseError),
}

/// Carries out `scatter`. Every subrequest runs on the caller's task.
pub async fn run(
    cluster: &Cluster,
    topology: &Topology,
    scatter: &Scatter,
    trace: &Trace,
) -> Result<Reply, ResponseError> {
    let settings = &cluster.settings.search;
    let budget = match &scatter.ask {
        Ask::Search(_) | Ask::FacetSearch(_) | Ask::MultiSearch(_) => settings.timeout,
        Ask::Judge
        | Ask::Settings
        | Ask::FilterableAttributes
        | Ask::Documents(_)
        | Ask::Document(_)
        | Ask::Stats(_) => settings.timeout.max(LONG_READ),
    };
    let asked = AtomicUsize::new(0);
    let nodes = ClusterNodes { cluster, topology, trace, deadline: Instant::now() + budget, asked: &asked };
    let reply = Reader { nodes: &nodes, topology, unavailable: settings.unavailable_shards }.run(scatter).await;
    cluster.metrics.fan_out.observe(asked.load(Ordering::Relaxed) as f64);
    reply
}

/// The nodes of the cluster, within the time that one read has.
struct ClusterNodes<'a> {
    cluster: &'a Cluster,
    topology: &'a Topology,
    trace: &'a Trace,
    deadline: Instant,
    /// Subrequests so far.
    asked: &'a AtomicUsize,
}

#[async_trait]
impl Nodes for ClusterNodes<'_> {
    async fn ask(&self, node: NodeIx, request: NodeRequest, last: bool) -> Result<NodeReply, NodeError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let left = self.deadline.saturating_duration_since(Instant::now());
        // A node that hangs must leave time for another.
        let timeout = if last { left } else { left * 2 / 3 };
        let subrequest = if request.method == "GET" {
            Subrequest::get(request.path, timeout)
        } else {
            Subrequest::json(http::Method::POST, request.path, request.body.into(), timeout, true)
        };
        self.cluster.client.send(self.topology.node(node), subrequest, self.trace).await
    }
}

/// One read under way.
struct Reader<'a, N: ?Sized> {
    nodes: &'a N,
    topology: &'a Topology,
    unavailable: UnavailableShards,
}

// === impl Reply ===

impl Reply {
    fn ok(body: Vec<u8>, degraded: ShardSet) -> Self {
        Self { status: 200, body: body.into(), degraded }
    }
}

// === impl Stop ===

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ResponseError> for Stop {
    fn from(error: ResponseError) -> Self {
        Self::Error(error)
    }
}

impl From<MergeError> for Stop {
    fn from(error: MergeError) -> Self {
        tracing::error!(%error, "replies cannot be merged");
        Self::Error(ResponseError::new(Code::Internal, format!("The nodes' replies cannot be merged: {error}.")))
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Self {
        MergeError::Json(error).into()
    }
}

// === impl Reader ===

impl<N: Nodes + ?Sized> Reader<'_, N> {
    async fn run(&self, scatter: &Scatter) -> Result<Reply, ResponseError> {
        let original = &scatter.original;
        let answer = match &scatter.ask {
            Ask::Judge => return self.judge(original).await,
            Ask::Settings => return self.ask_any(original, merge::strip::settings).await,
            Ask::FilterableAttributes => return self.ask_any(original, merge::strip::filterable_attributes).await,
            Ask::Search(plan) => self.search(plan, scatter.seed, None).await,
            Ask::FacetSearch(plan) => self.facet_search(plan, scatter.seed).await,
            Ask::MultiSearch(plan) => self.multi_search(plan).await,
            Ask::Documents(plan) => self.documents(plan, scatter.seed).await,
            Ask::Document(plan) => self.document(plan, original, scatter.seed).await,
            Ask::Stats(StatsPlan::Index { index }) => self.index_stats(index, original).await,
            Ask::Stats(StatsPlan::AllIndexes) => self.all_stats(original).await,
        };
        match answer {
            Ok(reply) => Ok(reply),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Fault(fault)) => Ok(self.explain(fault, scatter).await),
        }
    }

    /// The engine's words about the client's own request, where a node found fault with what Miroir made of it.
    async fn explain(&self, fault: Fault, scatter: &Scatter) -> Reply {
        let same = match &scatter.ask {
            Ask::Document(_) | Ask::Stats(_) | Ask::Judge | Ask::Settings | Ask::FilterableAttributes => true,
            Ask::Search(_) | Ask::FacetSearch(_) | Ask::MultiSearch(_) | Ask::Documents(_) => false,
        };
        if !same
            && let Ok(reply) = self.nodes.ask(fault.node, scatter.original.clone(), true).await
            && (400..500).contains(&reply.status)
        {
            return relay_error(&reply);
        }
        relay_error(&fault.reply)
    }

    /// Asks the nodes in their order until one can say something.
    async fn any(&self, request: &NodeRequest) -> Result<NodeReply, ResponseError> {
        let candidates: Vec<NodeIx> =
            self.topology.indexes().filter(|node| self.topology.node(*node).state.serves_reads()).collect();
        let mut lagging = None;
        for (at, node) in candidates.iter().enumerate() {
            let answer = self.nodes.ask(*node, request.clone(), at + 1 == candidates.len()).await;
            match (verdict(&answer, |_| true), answer) {
                (Verdict::Use | Verdict::Relay, Ok(reply)) => return Ok(reply),
                (Verdict::OtherReplicaOrRelay, Ok(reply)) => lagging = lagging.or(Some(reply)),
                (_, answer) => log_failure(self.topology, *node, &answer),
            }
        }
        lagging.ok_or_else(|| ResponseError::new(Code::MiroirNodeUnavailable, "No node answers at the moment."))
    }

    async fn judge(&self, original: &NodeRequest) -> Result<Reply, ResponseError> {
        let reply = self.any(original).await?;
        if reply.is_success() {
            // One node's answer covers its own shards only, so it must not pass for the cluster's.
            return Err(ResponseError::new(
                Code::MiroirNotSupported,
                "The request has parameters that this version of Miroir does not know.",
            ));
        }
        Ok(relay_error(&reply))
    }

    async fn ask_any(&self, original: &NodeRequest, strip: fn(&mut Value)) -> Result<Reply, ResponseError> {
        let reply = self.any(original).await?;
        if !reply.is_success() {
            return Ok(relay_error(&reply));
        }
        let mut value: Value = serde_json::from_slice(&reply.body).map_err(|error| {
            ResponseError::new(Code::Internal, format!("A node's settings cannot be read: {error}."))
        })?;
        strip(&mut value);
        Ok(Reply::ok(value.to_string().into_bytes(), ShardSet::new()))
    }

    /// Checks what is missing against the operator's choice.
    fn complete(&self, gathered: &Gathered) -> Result<(), ResponseError> {
        if gathered.missing.is_empty() {
            return Ok(());
        }
        match self.unavailable {
            UnavailableShards::Partial if !gathered.replies.is_empty() => Ok(()),
            UnavailableShards::Partial | UnavailableShards::Error => Err(self.no_replica(&gathered.missing)),
        }
    }

    fn no_replica(&self, missing: &ShardSet) -> ResponseError {
        ResponseError::new(
            Code::MiroirNoReplica,
            format!("No replica answers for {} of {} shards.", missing.len(), self.topology.shards),
        )
    }

    async fn search(&self, plan: &SearchPlan, seed: u64, index: Option<&str>) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let request = |part: &_, alone| plan.request(part, shards, alone);
        let gathering = gather(self.nodes, self.topology, wanted, &request, &is_search);
        // Pages of distinct hits state how many there are in all, which no node knows of the others.
        let census = plan.census();
        let counting = async {
            match &census {
                Some(census) => self.count_distinct(census, wanted).await,
                None => Ok(None),
            }
        };
        let (gathered, distinct) = join(gathering, counting).await;
        let (gathered, distinct) = (gathered?, distinct?);
        self.complete(&gathered)?;
        let bodies: Vec<&[u8]> = gathered.replies.iter().map(|(_, body)| body.as_ref()).collect();
        let body = match bodies.as_slice() {
            [only] if gathered.alone => merge::search::relay(plan, only, index)?,
            [_, _, ..] if !plan.comparable => return Err(hidden_distinct(plan).into()),
            bodies => merge::search::merge(plan, bodies, distinct, index)?,
        };
        Ok(Reply::ok(body, gathered.missing))
    }

    async fn count_distinct(&self, census: &SearchPlan, wanted: Wanted<'_>) -> Result<Option<u64>, Stop> {
        let shards = self.topology.shards;
        if cover(self.topology, wanted.index, wanted.shards, &[], wanted.seed).parts.len() < 2 {
            return Ok(None);
        }
        let request = |part: &_, _| census.request(part, shards, false);
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_search).await?;
        let bodies: Vec<&[u8]> = gathered.replies.iter().map(|(_, body)| body.as_ref()).collect();
        Ok(Some(merge::search::count(census, &bodies)?))
    }

    async fn facet_search(&self, plan: &FacetSearchPlan, seed: u64) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let request = |part: &_, _| plan.request(part, shards);
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_object).await?;
        self.complete(&gathered)?;
        let bodies: Vec<&[u8]> = gathered.replies.iter().map(|(_, body)| body.as_ref()).collect();
        Ok(Reply::ok(merge::facet_search::merge(plan, &bodies)?, gathered.missing))
    }

    async fn multi_search(&self, plan: &MultiSearchPlan) -> Result<Reply, Stop> {
        let mut searches = Vec::with_capacity(plan.queries.len());
        for query in &plan.queries {
            let seed = hash_bytes(&query.identity());
            searches.push(self.search(query, seed, Some(&query.index)).boxed());
        }
        let replies: Vec<Reply> = futures::stream::iter(searches).buffered(QUERIES_AT_ONCE).try_collect().await?;
        let mut degraded = ShardSet::new();
        let mut body = br#"{"results":["#.to_vec();
        for (at, reply) in replies.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&reply.body);
            degraded.union_with(&reply.degraded);
        }
        body.extend_from_slice(b"]}");
        Ok(Reply::ok(body, degraded))
    }

    /// Counts what each part of the cover holds, then fetches the slices that make up the page. A node that fails
    /// half-way starts it all over without that node, because another cover holds the documents in another order.
    async fn documents(&self, plan: &DocumentsPlan, seed: u64) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = plan.shards.as_ref().unwrap_or(&all);
        let mut failed: Vec<NodeIx> = Vec::new();
        let mut fault = None;
        loop {
            let cover = cover(self.topology, &plan.index, wanted, &failed, seed);
            if !cover.missing.is_empty() {
                if let Some(fault) = fault {
                    return Err(Stop::Fault(fault));
                }
                if cover.parts.is_empty() || self.unavailable == UnavailableShards::Error {
                    return Err(self.no_replica(&cover.missing).into());
                }
            }
            let alone = cover.parts.len() == 1;
            let (offset, limit) = if alone { (plan.offset, plan.limit) } else { (0, 0) };
            let first: Vec<_> =
                cover.parts.iter().map(|part| (part.node, plan.request(part, shards, offset, limit))).collect();
            let counted = match self.all_of(first, &mut failed, &mut fault).await? {
                Some(bodies) => bodies,
                None => continue,
            };
            let totals = counted.iter().map(|body| merge::documents::total(body)).collect::<Result<Vec<_>, _>>()?;
            let bodies = if alone {
                counted
            } else {
                let second: Vec<_> = cover
                    .parts
                    .iter()
                    .zip(plan.slices(&totals))
                    .filter_map(|(part, slice)| {
                        let (offset, limit) = slice?;
                        Some((part.node, plan.request(part, shards, offset, limit)))
                    })
                    .collect();
                match self.all_of(second, &mut failed, &mut fault).await? {
                    Some(bodies) => bodies,
                    None => continue,
                }
            };
            let slices: Vec<&[u8]> = bodies.iter().map(Bytes::as_ref).collect();
            let page = merge::documents::page(&slices, plan.offset, plan.limit, totals.iter().sum())?;
            return Ok(Reply::ok(page, cover.missing));
        }
    }

    /// The bodies of all replies, or `None` after noting whose failed.
    async fn all_of(
        &self,
        requests: Vec<(NodeIx, NodeRequest)>,
        failed: &mut Vec<NodeIx>,
        lagging: &mut Option<Fault>,
    ) -> Result<Option<Vec<Bytes>>, Stop> {
        let asked = requests.into_iter().map(|(node, request)| async move {
            let last = self.topology.replication_factor < 2;
            (node, self.nodes.ask(node, request, last).await)
        });
        let mut bodies = Vec::new();
        let mut complete = true;
        for (node, answer) in join_all(asked).await {
            match (verdict(&answer, is_object), answer) {
                (Verdict::Use, Ok(reply)) => bodies.push(reply.body),
                (Verdict::Relay, Ok(reply)) => return Err(Stop::Fault(Fault { node, reply })),
                (judged, answer) => {
                    log_failure(self.topology, node, &answer);
                    failed.push(node);
                    complete = false;
                    if let (Verdict::OtherReplicaOrRelay, Ok(reply)) = (judged, answer) {
                        lagging.get_or_insert(Fault { node, reply });
                    }
                }
            }
        }
        Ok(complete.then_some(bodies))
    }

    async fn document(&self, plan: &DocumentPlan, original: &NodeRequest, seed: u64) -> Result<Reply, Stop> {
        let wanted = [plan.shard].into_iter().collect();
        let wanted = Wanted { index: &plan.index, shards: &wanted, seed };
        let gathered = gather(self.nodes, self.topology, wanted, &|_, _| original.clone(), &is_object).await?;
        let Some((_, document)) = gathered.replies.first() else {
            return Err(self.no_replica(&gathered.missing).into());
        };
        let document = std::str::from_utf8(document).map_err(|_| MergeError::Missing("text in UTF-8"))?;
        let mut body = Vec::with_capacity(document.len());
        merge::strip::document(document, &mut body)?;
        Ok(Reply::ok(body, ShardSet::new()))
    }

    /// Every node's own answer; at least one.
    async fn ask_all(&self, request: &NodeRequest) -> Result<(Vec<Value>, bool), Stop> {
        let serving: Vec<NodeIx> =
            self.topology.indexes().filter(|node| self.topology.node(*node).state.serves_reads()).collect();
        let asked = serving.iter().map(|node| async { (*node, self.nodes.ask(*node, request.clone(), true).await) });
        let mut values = Vec::new();
        let mut fault = None;
        for (node, answer) in join_all(asked).await {
            match (verdict(&answer, is_object), answer) {
                (Verdict::Use, Ok(reply)) => values.push(serde_json::from_slice(&reply.body)?),
                (Verdict::Relay | Verdict::OtherReplicaOrRelay, Ok(reply)) => {
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
                let complete = values.len() == self.topology.nodes.len();
                Ok((values, complete))
            }
        }
    }

    /// How many documents an index holds, each counted once.
    async fn count(&self, index: &str) -> Result<(u64, ShardSet), Stop> {
        let reply = self.documents(&DocumentsPlan::counting(index), hash_bytes(index.as_bytes())).await?;
        Ok((merge::documents::total(&reply.body)?, reply.degraded))
    }

    async fn index_stats(&self, index: &str, original: &NodeRequest) -> Result<Reply, Stop> {
        let (nodes, counted) = join(self.ask_all(original), self.count(index)).await;
        let (nodes, _) = nodes?;
        let (documents, missing) = counted?;
        Ok(Reply::ok(merge::stats::index(&nodes, documents)?.to_string().into_bytes(), missing))
    }

    async fn all_stats(&self, original: &NodeRequest) -> Result<Reply, Stop> {
        let (nodes, complete) = self.ask_all(original).await?;
        let copies = u64::from(self.topology.replication_factor).min(self.topology.nodes.len() as u64).max(1);
        let in_sync = complete && self.topology.stale.is_empty();
        let mut degraded = ShardSet::new();
        let mut indexes = BTreeMap::new();
        for (index, stats) in merge::stats::by_index(&nodes) {
            let replicas = merge::stats::replicas(&stats);
            // With every replica there is, they need not be counted shard by shard.
            let documents = if in_sync && replicas.is_multiple_of(copies) {
                replicas / copies
            } else {
                let (documents, missing) = self.count(&index).await?;
                degraded.union_with(&missing);
                documents
            };
            let merged = merge::stats::index(&stats, documents)?;
            indexes.insert(index, merged);
        }
        Ok(Reply::ok(merge::stats::all(&nodes, indexes).to_string().into_bytes(), degraded))
    }
}

/// A node's error as the client may see it.
fn relay_error(reply: &NodeReply) -> Reply {
    let body = match ResponseError::from_node(reply.status, &reply.body) {
        Some(error) => ResponseError { message: merge::error::scrub(&error.message), ..error }.to_body().into(),
        None => reply.body.clone(),
    };
    Reply { status: reply.status, body, degraded: ShardSet::new() }
}

fn is_search(body: &[u8]) -> bool {
    SearchReply::parse(body).is_ok()
}

fn is_object(body: &[u8]) -> bool {
    serde_json::from_slice::<merge::raw::Members<'_>>(body).is_ok()
}

fn hidden_distinct(plan: &SearchPlan) -> ResponseError {
    let field = plan.distinct.as_deref().unwrap_or_default();
    ResponseError::new(
        Code::MiroirNotSupported,
        format!(
            "The distinct attribute `{field}` is not among the displayed attributes, which Miroir needs to compare hits of several nodes."
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::gather::tests::{FakeNodes, broken, topology};
    use super::*;
    use crate::meili::operation::Operation;
    use crate::placement::shard::{ShardId, shard_value};
    use crate::plan::index_info::IndexInfo;
    use crate::plan::{Plan, read};

    const DOCUMENTS: u16 = 20;

    /// Which shards a subrequest's body asks for; all if it has no filter.
    fn shards_asked(request: &NodeRequest, topology: &Topology) -> ShardSet {
        let body = String::from_utf8(request.body.clone()).unwrap();
        let all = ShardSet::all(topology.shards);
        if !body.contains("_miroir_shard IN") {
            return all;
        }
        all.iter().filter(|shard| body.contains(&format!("\\\"{}\\\"", shard_value(*shard, 64)))).collect()
    }

    /// A node that holds document n in shard n, scored by n: it answers searches and fetches as an engine would.
    fn node(at: NodeIx, request: &NodeRequest, topology: &Topology) -> String {
        let asked = shards_asked(request, topology);
        let own = topology.shards_of(at);
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut held: Vec<u16> =
            (0..DOCUMENTS).filter(|id| asked.contains(ShardId(*id)) && own.contains(ShardId(*id))).collect();
        let offset = body["offset"].as_u64().unwrap_or(0) as usize;
        let limit = body["limit"].as_u64().unwrap_or(20) as usize;
        let total = held.len();
        if request.path.ends_with("/stats") {
            let stats = json!({"numberOfDocuments": own.iter().filter(|shard| shard.0 < DOCUMENTS).count(),
                "isIndexing": false, "fieldDistribution": {"id": total, "_miroir_shard": total}});
            return if request.path == "/stats" {
                json!({"databaseSize": 1, "usedDatabaseSize": 1, "lastUpdate": null, "indexes": {"movies": stats}})
                    .to_string()
            } else {
                stats.to_string()
            };
        }
        if request.path.ends_with("/fetch") {
            let results: Vec<Value> =
                held.iter().skip(offset).take(limit).map(|id| json!({"id": id, "_miroir_shard": "{"})).collect();
            return json!({"results": results, "offset": offset, "limit": limit, "total": total}).to_string();
        }
        held.reverse();
        let hits: Vec<Value> = held
            .iter()
            .skip(offset)
            .take(limit)
            .map(|id| {
                json!({"id": id, "_miroir_shard": "{",
                    "_rankingScoreDetails": {"words": {"order": 0, "score": f64::from(*id) / 100.0}}})
            })
            .collect();
        json!({"hits": hits, "query": "x", "processingTimeMs": at.0, "limit": limit, "offset": offset,
            "estimatedTotalHits": total, "facetDistribution": {"kind": {"a": total}, "_miroir_shard": {"{": total}},
            "facetStats": {}})
        .to_string()
    }

    async fn read<N: Nodes>(
        nodes: &N,
        topology: &Topology,
        unavailable: UnavailableShards,
        operation: Operation,
        path: &str,
        body: &str,
    ) -> Result<Reply, ResponseError> {
        let infos = [("movies".to_owned(), Arc::new(IndexInfo::new("movies")))].into();
        match read::plan(&operation, path, body.as_bytes(), &infos, topology) {
            Plan::Scatter(scatter) => Reader { nodes, topology, unavailable }.run(&scatter).await,
            other => panic!("no scatter: {other:?}"),
        }
    }

    fn search() -> Operation {
        Operation::SearchPost { index: "movies".into() }
    }

    fn ids(reply: &Reply, list: &str) -> Vec<u64> {
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        body[list].as_array().unwrap().iter().map(|hit| hit["id"].as_u64().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_search_reads_as_one_nodes_answer_whichever_node_is_dead() {
        let topology = topology(4, 2);
        for dead in [None, Some(NodeIx(0)), Some(NodeIx(3))] {
            let nodes =
                FakeNodes::new(
                    |at, request| {
                        if Some(at) == dead { Err(broken()) } else { Ok((200, node(at, request, &topology))) }
                    },
                );
            let body = r#"{"q":"x","offset":3,"limit":4,"facets":["*"]}"#;
            let reply = read(&nodes, &topology, UnavailableShards::Error, search(), "/indexes/movies/search", body)
                .await
                .unwrap();
            assert_eq!(ids(&reply, "hits"), [16, 15, 14, 13]);
            let mut shown: Value = serde_json::from_slice(&reply.body).unwrap();
            let keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
            assert_eq!(
                keys,
                [
                    "hits",
                    "query",
                    "processingTimeMs",
                    "limit",
                    "offset",
                    "estimatedTotalHits",
                    "facetDistribution",
                    "facetStats"
                ]
            );
            assert_eq!(shown["hits"][0], json!({"id": 16}));
            shown["hits"].take();
            shown["processingTimeMs"].take();
            assert_eq!(
                shown,
                json!({"hits": null, "query": "x", "processingTimeMs": null, "limit": 4, "offset": 3,
                    "estimatedTotalHits": 20, "facetDistribution": {"kind": {"a": 20}}, "facetStats": {}})
            );
        }
    }

    #[tokio::test]
    async fn lost_shards_are_named_or_refused_as_configured() {
        let topology = topology(3, 1);
        let nodes =
            FakeNodes::new(
                |at, request| {
                    if at == NodeIx(1) { Err(broken()) } else { Ok((200, node(at, request, &topology))) }
                },
            );
        let path = "/indexes/movies/search";
        let partial = read(&nodes, &topology, UnavailableShards::Partial, search(), path, "{}").await.unwrap();
        assert_eq!(&partial.degraded, topology.shards_of(NodeIx(1)));
        assert!(ids(&partial, "hits").iter().all(|id| !partial.degraded.contains(ShardId(*id as u16))));
        let error = read(&nodes, &topology, UnavailableShards::Error, search(), path, "{}").await.unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (503, "miroir_no_replica"));
    }

    #[tokio::test]
    async fn pages_of_documents_walk_through_every_document_once() {
        let topology = topology(3, 2);
        for dead in [None, Some(NodeIx(2))] {
            let nodes =
                FakeNodes::new(
                    |at, request| {
                        if Some(at) == dead { Err(broken()) } else { Ok((200, node(at, request, &topology))) }
                    },
                );
            let mut seen = Vec::new();
            for offset in (0..DOCUMENTS).step_by(3) {
                let path = format!("/indexes/movies/documents?offset={offset}&limit=3");
                let list = Operation::ListDocuments { index: "movies".into() };
                let reply = read(&nodes, &topology, UnavailableShards::Error, list, &path, "").await.unwrap();
                assert!(!reply.body.windows(7).any(|bytes| bytes == b"_miroir"));
                seen.extend(ids(&reply, "results"));
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..u64::from(DOCUMENTS)).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn statistics_count_each_document_once() {
        let topology = topology(3, 2);
        let nodes = FakeNodes::new(|at, request| Ok((200, node(at, request, &topology))));
        let one = Operation::IndexStats { index: "movies".into() };
        let reply = read(&nodes, &topology, UnavailableShards::Error, one, "/indexes/movies/stats", "").await.unwrap();
        let stats: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(stats, json!({"numberOfDocuments": 20, "isIndexing": false, "fieldDistribution": {"id": 20}}));
        let reply = read(&nodes, &topology, UnavailableShards::Error, Operation::Stats, "/stats", "").await.unwrap();
        let all: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(all["indexes"]["movies"]["numberOfDocuments"], json!(20));
        assert_eq!(all["databaseSize"], json!(3));
    }

    #[tokio::test]
    async fn a_wrong_request_is_answered_with_the_engines_words_about_it() {
        let topology = topology(3, 1);
        let nodes = FakeNodes::new(|_, request| {
            let text = if request.body == br#"{"filter":"a = 1"}"# { "own words" } else { "other words" };
            let message = format!("{text}: Available filterable attribute patterns are: `_miroir_shard`.");
            Ok((
                400,
                json!({"message": message, "code": "invalid_search_filter", "type": "invalid_request", "link": ""})
                    .to_string(),
            ))
        });
        let path = "/indexes/movies/search";
        for (body, words) in [(r#"{"filter":"a = 1"}"#, "own words"), (r#"{"limit":-1}"#, "other words")] {
            let reply = read(&nodes, &topology, UnavailableShards::Error, search(), path, body).await.unwrap();
            assert_eq!(reply.status, 400);
            let shown: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(
                shown["message"],
                json!(format!("{words}: This index does not have configured filterable attributes."))
            );
        }
    }

    #[tokio::test]
    async fn one_nodes_answer_never_passes_for_the_clusters() {
        let topology = topology(3, 1);
        let nodes = FakeNodes::new(|_, _| Ok((200, "{}".into())));
        let error =
            read(&nodes, &topology, UnavailableShards::Error, search(), "/indexes/movies/search", r#"{"limit":"x"}"#)
                .await
                .unwrap_err();
        assert_eq!(error.code, "miroir_not_supported");
    }

    #[tokio::test]
    async fn several_searches_answer_in_their_order() {
        let topology = topology(3, 1);
        let nodes = FakeNodes::new(|at, request| Ok((200, node(at, request, &topology))));
        let body = r#"{"queries":[{"indexUid":"movies","limit":1},{"indexUid":"movies","offset":1,"limit":2}]}"#;
        let reply = read(&nodes, &topology, UnavailableShards::Error, Operation::MultiSearch, "/multi-search", body)
            .await
            .unwrap();
        let shown: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(shown["results"][0]["indexUid"], json!("movies"));
        assert_eq!(shown["results"][0]["hits"], json!([{"id": 19}]));
        assert_eq!(shown["results"][1]["hits"], json!([{"id": 18}, {"id": 17}]));
    }

    #[tokio::test]
    async fn a_document_comes_from_any_replica_without_the_hidden_field() {
        let topology = topology(3, 2);
        let shard = crate::placement::document::shard_of("7", 64);
        let owner = topology.owners_of(shard)[0];
        let nodes = FakeNodes::new(|at, _| {
            if at == owner { Err(broken()) } else { Ok((200, r#"{"id":7,"_miroir_shard":"{"}"#.into())) }
        });
        let one = Operation::GetDocument { index: "movies".into(), id: "7".into() };
        let reply =
            read(&nodes, &topology, UnavailableShards::Error, one, "/indexes/movies/documents/7", "").await.unwrap();
        assert_eq!(reply.body, r#"{"id":7}"#);
    }
}
