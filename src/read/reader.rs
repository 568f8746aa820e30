//! Carries out scattered reads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::gather::{Doubt, Fault, Gathered, Nodes, Round, ask_one};
use crate::cluster::Cluster;
use crate::ledger::refusals::Refusals;
use crate::meili::error::{Code, ResponseError};
use crate::merge;
use crate::merge::error::MergeError;
use crate::nodes::client::{NodeReply, Subrequest, Trace};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::overload::limit::Permit;
use crate::nodes::overload::{self, Traffic, overloaded};
use crate::nodes::settings::{SearchSettings, UnavailableShards};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{Node, NodeIx, NodeState, Topology};
use crate::plan::rounds::Later;
use crate::plan::scatter::{Ask, NodeRequest, Scatter};
use crate::plan::stats::StatsPlan;

use super::embed::QueryVectors;

/// What reads other than searches may take at least: a page of documents can be large.
pub(super) const LONG_READ: Duration = Duration::from_secs(30);

/// A filter of more bytes has hundreds of conditions: a heavy read. Other long bodies are not: a vector is long, too.
pub(super) const HEAVY_FILTER: usize = 16 << 10;
/// As is a page that reaches farther than this.
pub(super) const LONG_PAGE: u64 = 1000;
/// How many times `search.attempt_timeout` a node that works may take, where nothing says how long others would.
pub(super) const ALONE_PATIENCE: u32 = 5;

/// The answer to a read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// JSON, or empty.
    pub body: Bytes,
    /// The shards that are missing in the answer.
    pub degraded: ShardSet,
    pub inexact: Inexact,
}

/// What in an answer may differ from what one node with all documents would state.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Inexact {
    /// Hits are sorted by what nodes do not show.
    pub order: bool,
    pub totals: bool,
    pub facets: bool,
    /// How many documents have a field.
    pub fields: bool,
}

/// Why a read brings no merged answer.
#[derive(Debug)]
pub(super) enum Stop {
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
    cluster.overload.first_attempt();
    let nodes = ClusterNodes::new(cluster, topology, scatter, trace);
    let reply = Reader::new(cluster, topology, &nodes).run(scatter).await;
    cluster.metrics.fan_out.observe(nodes.asked.load(Ordering::Relaxed) as f64);
    reply
}

/// How long any read may take. After that none of its subrequests is under way.
pub fn longest(settings: &SearchSettings) -> Duration {
    settings.timeout.max(LONG_READ)
}

/// The nodes of the cluster, within the time that one read has.
pub(super) struct ClusterNodes<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) topology: &'a Topology,
    pub(super) trace: &'a Trace,
    pub(super) deadline: Instant,
    /// How long a node may take before it is doubted.
    pub(super) attempt: Duration,
    /// Whether its subrequests count as heavy.
    pub(super) traffic: Traffic,
    /// Nodes that requests of this read wait for the turn of: they were not asked yet.
    pub(super) queued: Mutex<Vec<NodeIx>>,
    /// Subrequests so far.
    pub(super) asked: AtomicUsize,
}

// === impl ClusterNodes ===

impl<'a> ClusterNodes<'a> {
    pub(super) fn new(cluster: &'a Cluster, topology: &'a Topology, scatter: &Scatter, trace: &'a Trace) -> Self {
        let settings = &cluster.settings.search;
        let timeout = settings.timeout;
        let long = longest(settings);
        let budget = match &scatter.ask {
            Ask::Search(_) | Ask::FacetSearch(_) | Ask::MultiSearch(_) | Ask::Federation(_) | Ask::Similar(_) => {
                timeout
            }
            Ask::Judge
            | Ask::Settings
            | Ask::Setting { .. }
            | Ask::Documents(_)
            | Ask::Fields(_)
            | Ask::Document(_)
            | Ask::Stats(_) => long,
        };
        let attempt = settings.attempt_timeout;
        let deadline = Instant::now() + budget;
        let traffic = weight(scatter);
        Self {
            cluster,
            topology,
            trace,
            deadline,
            attempt,
            traffic,
            queued: Mutex::default(),
            asked: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Nodes for ClusterNodes<'_> {
    async fn ask(&self, node: NodeIx, request: NodeRequest) -> Result<NodeReply, NodeError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let ix = node;
        let node = self.topology.node(ix);
        let timeout = self.deadline.saturating_duration_since(Instant::now());
        let started = Instant::now();
        let queued = Queued::new(&self.queued, ix);
        let entered =
            tokio::time::timeout(timeout, self.cluster.overload.enter(node, self.traffic, &request.path)).await;
        drop(queued);
        // Who has waited in vain has not found out anything about the node.
        let permit = entered.map_err(|_| NodeError::new(&node.id, NodeErrorKind::QueueFull { waiting: 0 }))??;
        let timeout = timeout.saturating_sub(started.elapsed());
        let subrequest = if request.method == "GET" {
            Subrequest::get(request.path, timeout)
        } else {
            Subrequest::json(http::Method::POST, request.path, request.body.into(), timeout, true)
        };
        let turn = Turn::new(self.cluster, node, self.traffic, permit);
        let answer = self.cluster.client.send(node, subrequest, self.trace).await;
        turn.ends(&answer);
        self.cluster.overload.learn(&node.id, overload::Sign::of(&answer));
        answer
    }

    /// A node is slow that takes twice as long as the others did, or that answers nothing, probes neither. One that works
    /// and has nobody to compare it with is given more time.
    async fn doubt(&self, node: NodeIx, round: &Round) -> Doubt {
        let mut asked = Instant::now();
        let id = &self.topology.node(node).id;
        let look = (self.attempt / 4).clamp(Duration::from_millis(10), Duration::from_millis(100));
        loop {
            tokio::time::sleep(look).await;
            if self.cluster.topology().node(node).state == NodeState::Down {
                return Doubt::Gone;
            }
            if self.queued.lock().contains(&node) {
                asked = Instant::now();
            }
            let (now, waited) = (Instant::now(), asked.elapsed());
            if waited < self.attempt {
                continue;
            }
            let is_mute = self.cluster.life.signs(id).is_mute(asked, now, self.attempt);
            let is_last = round.others_took().is_some_and(|others| waited >= others * 2);
            if is_mute || is_last || waited >= self.attempt * ALONE_PATIENCE {
                return Doubt::Slow;
            }
        }
    }

    fn outrun(&self, node: NodeIx) {
        self.cluster.overload.learn(&self.topology.node(node).id, overload::Sign::Bad);
    }

    fn avoided(&self) -> Vec<NodeIx> {
        self.cluster.overload.avoided(self.topology)
    }

    fn unusable(&self, node: NodeIx) {
        self.cluster.overload.learn(&self.topology.node(node).id, overload::Sign::Bad);
    }

    fn may_retry(&self) -> bool {
        self.cluster.overload.may_retry()
    }
}

/// How heavy a read is, as far as its request tells.
pub(super) fn weight(scatter: &Scatter) -> Traffic {
    let long_page = matches!(&scatter.ask, Ask::Search(plan) if plan.window.reach() > LONG_PAGE);
    if long_page || length_of_filters(&scatter.original) > HEAVY_FILTER {
        return Traffic::HeavyRead;
    }
    Traffic::Read
}

/// Of all filters that a request holds, or at least as much as they can be.
pub(super) fn length_of_filters(request: &NodeRequest) -> usize {
    #[derive(Deserialize)]
    pub(super) struct Filtered<'b> {
        #[serde(borrow)]
        filter: Option<&'b RawValue>,
        #[serde(borrow, default)]
        queries: Vec<Filtered<'b>>,
    }
    pub(super) fn length(filtered: &Filtered<'_>) -> usize {
        filtered.filter.map_or(0, |filter| filter.get().len()) + filtered.queries.iter().map(length).sum::<usize>()
    }
    // Most requests are short, and are not looked into.
    if request.body.len() <= HEAVY_FILTER {
        return request.path.len();
    }
    serde_json::from_slice::<Filtered<'_>>(&request.body).map_or(0, |filtered| length(&filtered))
}

/// A subrequest's turn at a node. The engine does not stop working on a search that nobody waits for any more. So the turn of a
/// heavy read that is left without an answer goes on for as long again as it took: else such searches would pile up there.
struct Turn<'a> {
    cluster: &'a Cluster,
    node: &'a Node,
    traffic: Traffic,
    began: Instant,
    permit: Option<Permit>,
}

impl<'a> Turn<'a> {
    fn new(cluster: &'a Cluster, node: &'a Node, traffic: Traffic, permit: Permit) -> Self {
        if traffic == Traffic::HeavyRead {
            cluster.life.laden(&node.id);
        }
        Self { cluster, node, traffic, began: Instant::now(), permit: Some(permit) }
    }

    fn ends(mut self, answer: &Result<NodeReply, NodeError>) {
        if !matches!(answer, Err(error) if matches!(error.kind, NodeErrorKind::Timeout(_))) {
            self.permit = None;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.traffic != Traffic::HeavyRead {
            return;
        }
        self.cluster.life.laden(&self.node.id);
        let as_long_again = self.began.elapsed().min(self.cluster.settings.search.timeout);
        if let (Some(permit), Ok(runtime)) = (self.permit.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(as_long_again).await;
                drop(permit);
            });
        }
    }
}

/// Notes that a request waits for its turn, until it is dropped.
pub(super) struct Queued<'a> {
    pub(super) queued: &'a Mutex<Vec<NodeIx>>,
    pub(super) node: NodeIx,
}

impl<'a> Queued<'a> {
    pub(super) fn new(queued: &'a Mutex<Vec<NodeIx>>, node: NodeIx) -> Self {
        queued.lock().push(node);
        Self { queued, node }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut queued = self.queued.lock();
        if let Some(at) = queued.iter().position(|node| *node == self.node) {
            queued.swap_remove(at);
        }
    }
}

/// One read under way.
pub(super) struct Reader<'a, N: ?Sized> {
    pub(super) nodes: &'a N,
    pub(super) topology: &'a Topology,
    pub(super) unavailable: UnavailableShards,
    pub(super) query_vectors: &'a QueryVectors,
    pub(super) refusals: &'a Refusals,
    /// Shards that later rounds had no answer for: what those state is stated of all shards.
    pub(super) uncounted: Mutex<ShardSet>,
    /// The rounds that followed the first.
    pub(super) later: Mutex<Vec<Later>>,
}

// === impl Reply ===

impl Reply {
    pub fn refusal(error: &ResponseError) -> Self {
        Self { status: error.status, ..Self::ok(error.to_body(), ShardSet::new()) }
    }

    pub(super) fn ok(body: Vec<u8>, degraded: ShardSet) -> Self {
        Self { status: 200, body: body.into(), degraded, inexact: Inexact::default() }
    }
}

// === impl Inexact ===

impl Inexact {
    /// Which documents are found may differ, and with them all that is said of them.
    pub(super) fn all_of_hits() -> Self {
        Self { order: true, totals: true, facets: true, fields: false }
    }

    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// What may differ, by name.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            ("order", self.order),
            ("totals", self.totals),
            ("facets", self.facets),
            ("fieldDistribution", self.fields),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    pub fn or(self, other: Self) -> Self {
        Self {
            order: self.order || other.order,
            totals: self.totals || other.totals,
            facets: self.facets || other.facets,
            fields: self.fields || other.fields,
        }
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

impl<'a, N: Nodes + ?Sized> Reader<'a, N> {
    pub(super) fn new(cluster: &'a Cluster, topology: &'a Topology, nodes: &'a N) -> Self {
        Self {
            nodes,
            topology,
            unavailable: cluster.settings.search.unavailable_shards,
            query_vectors: &cluster.query_vectors,
            refusals: &cluster.refusals,
            uncounted: Mutex::default(),
            later: Mutex::default(),
        }
    }
}

impl<N: Nodes + ?Sized> Reader<'_, N> {
    pub(super) async fn run(&self, scatter: &Scatter) -> Result<Reply, ResponseError> {
        let answer = self.answer(scatter).await;
        debug_assert!(self.foreseen(&scatter.ask), "{:?} after {:?}", self.later.lock(), scatter.original);
        answer
    }

    async fn answer(&self, scatter: &Scatter) -> Result<Reply, ResponseError> {
        let original = &scatter.original;
        let answer = match &scatter.ask {
            Ask::Judge => return self.judge(original).await,
            Ask::Settings => return self.ask_any(original, merge::strip::settings).await,
            Ask::Setting { hidden, .. } => return self.ask_any(original, merge::strip::of_part(*hidden)).await,
            Ask::Search(plan) => self.search(plan, scatter.seed, None).await,
            Ask::FacetSearch(plan) => self.facet_search(plan, scatter.seed).await,
            Ask::MultiSearch(plan) => self.multi_search(plan).await,
            Ask::Similar(plan) => self.similar(plan, original, scatter.seed).await,
            Ask::Fields(plan) => self.fields(plan, scatter.seed).await,
            Ask::Federation(plan) => self.federation(plan, original, scatter.seed).await,
            Ask::Documents(plan) => self.documents(plan, scatter.seed).await,
            Ask::Document(plan) => self.document(plan, original, scatter.seed).await,
            Ask::Stats(StatsPlan::Index { index }) => self.index_stats(index, original).await,
            Ask::Stats(StatsPlan::AllIndexes) => self.all_stats(original).await,
        };
        match answer {
            Ok(mut reply) => {
                reply.degraded.union_with(&self.uncounted.lock());
                Ok(reply)
            }
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Fault(fault)) => Ok(self.explain(fault, scatter).await),
        }
    }

    /// Asks one node, in whose place nobody is asked.
    pub(super) async fn ask_alone(&self, node: NodeIx, request: NodeRequest) -> Result<NodeReply, NodeError> {
        ask_one(self.nodes, self.topology, (node, request), &Round::new(1), false).await
    }

    /// Checks what is missing against the operator's choice.
    pub(super) fn complete(&self, gathered: &Gathered) -> Result<(), ResponseError> {
        if gathered.missing.is_empty() {
            return Ok(());
        }
        // Slowness alone makes no answer a partial one: its replicas are there.
        if !gathered.late.is_empty() {
            return Err(self.late(&gathered.late));
        }
        match self.unavailable {
            UnavailableShards::Partial if !gathered.replies.is_empty() && !gathered.overloaded => Ok(()),
            UnavailableShards::Partial | UnavailableShards::Error => Err(self.unanswered(gathered)),
        }
    }

    /// The same of a round after the first: what it lacks is missing in the answer too.
    pub(super) fn complete_later(&self, gathered: &Gathered) -> Result<(), ResponseError> {
        self.complete(gathered)?;
        self.uncounted.lock().union_with(&gathered.missing);
        Ok(())
    }

    pub(super) fn unanswered(&self, gathered: &Gathered) -> ResponseError {
        if gathered.overloaded {
            return overloaded("The nodes have too much to do at the moment.");
        }
        self.no_replica(&gathered.missing)
    }

    pub(super) fn late(&self, late: &ShardSet) -> ResponseError {
        ResponseError::new(
            Code::MiroirTimeout,
            format!(
                "The nodes have not answered in time for {} of {} shards; they work.",
                late.len(),
                self.topology.shards
            ),
        )
    }

    pub(super) fn no_replica(&self, missing: &ShardSet) -> ResponseError {
        ResponseError::new(
            Code::MiroirNoReplica,
            format!("No replica answers for {} of {} shards.", missing.len(), self.topology.shards),
        )
    }
}

pub(super) fn is_object(body: &[u8]) -> bool {
    serde_json::from_slice::<merge::raw::Members<'_>>(body).is_ok()
}
