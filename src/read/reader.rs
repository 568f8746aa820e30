//! Carries out scattered reads.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;

use super::cluster_nodes::ClusterNodes;
use super::gather::{Fault, Gathered, Nodes, Round, ask_one};
use super::kept::Keeping;
use super::metrics;
use super::part::{Reads, Remembered};
use super::query_vectors::QueryVectors;
use crate::meili::error::{Code, ResponseError};
use crate::merge;
use crate::merge::error::MergeError;
use crate::nodes::client::{NodeReply, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::overload::overloaded;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::known::not_understood;
use crate::plan::rounds::Later;
use crate::plan::scatter::{Ask, NodeRequest, Scatter};
use crate::plan::stats::StatsPlan;
use crate::read::settings::UnavailableShards;

/// The answer to a read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// JSON, or empty.
    pub body: Bytes,
    /// The shards that are missing in the answer.
    pub degraded: ShardSet,
    pub inexact: Inexact,
    /// How many hits it shows, if it shows hits.
    pub hits: Option<u64>,
}

/// What in an answer may differ from what one node with all documents would state.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Inexact {
    /// Hits are sorted by what nodes do not show, or some are missing. Example: a and b are on node-0, c is on node-1. Sorted
    /// by a price that is not displayed, c may belong before, between or behind them.
    pub order: bool,
    /// Example: node-0 has a of maker x, node-1 has b of makers x and y, and leaves out c of maker y for it. Under the distinct
    /// maker a displaces b: c counts, but no node has said so.
    pub totals: bool,
    /// The same example: c's values count, too, and nobody has named them.
    pub facets: bool,
    /// How many documents have a field. Example: a has two replicas, b and c have one while copies are made. What nodes count
    /// is added up to four, and does not tell how many of the three have the field.
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
    reads: &Reads,
    topology: &Topology,
    scatter: &Scatter,
    trace: &Trace,
    keeping: Keeping,
) -> Result<Reply, ResponseError> {
    reads.nodes.overload.first_attempt();
    let nodes = ClusterNodes::new(reads, topology, scatter, trace, keeping);
    let reader = Reader::new(reads, topology, &nodes);
    let reply = reader.run(scatter).await;
    metrics::count(&reads.nodes.metrics, &scatter.ask, &reader.later.lock());
    reads.nodes.metrics.fan_out.observe(nodes.asked.load(Ordering::Relaxed) as f64);
    reply
}

/// One read under way.
pub(super) struct Reader<'a, N: ?Sized> {
    pub(super) nodes: &'a N,
    pub(super) topology: &'a Topology,
    pub(super) unavailable: UnavailableShards,
    pub(super) query_vectors: &'a QueryVectors,
    pub(super) remembered: &'a dyn Remembered,
    /// Shards that later rounds had no answer for: what those state is stated of all shards.
    pub(super) uncounted: Mutex<ShardSet>,
    /// The rounds that followed the first.
    pub(super) later: Mutex<Vec<Later>>,
}

// === impl Reply ===

impl Reply {
    /// `error` as the whole answer, with its own status.
    pub fn refusal(error: &ResponseError) -> Self {
        Self { status: error.status, ..Self::ok(error.to_body(), ShardSet::new()) }
    }

    /// Status 200; `degraded` are the shards that the answer lacks.
    pub(super) fn ok(body: Vec<u8>, degraded: ShardSet) -> Self {
        Self { status: 200, body: body.into(), degraded, inexact: Inexact::default(), hits: None }
    }

    /// The same, which shows so many hits.
    #[must_use]
    pub(super) fn of(self, hits: u64) -> Self {
        Self { hits: Some(hits), ..self }
    }
}

// === impl Inexact ===

impl Inexact {
    /// Which documents are found may differ, and with them all that is said of them.
    pub(super) fn all_of_hits() -> Self {
        Self { order: true, totals: true, facets: true, fields: false }
    }

    /// True if the answer is what one node would say.
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

    /// What differs in one of two answers, or in both.
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
    /// For one request: its topology stays this one.
    pub(super) fn new(reads: &'a Reads, topology: &'a Topology, nodes: &'a N) -> Self {
        Self {
            nodes,
            topology,
            unavailable: reads.settings.get().unavailable_shards,
            query_vectors: &reads.query_vectors,
            remembered: reads.remembered.as_ref(),
            uncounted: Mutex::default(),
            later: Mutex::default(),
        }
    }
}

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// An error is for the client as it stands; a node's own words are a [`Reply`] with its status.
    pub(super) async fn run(&self, scatter: &Scatter) -> Result<Reply, ResponseError> {
        let answer = self.answer(scatter).await;
        debug_assert!(self.foreseen(scatter), "{:?} after {:?}", self.later.lock(), scatter.original);
        answer
    }

    async fn answer(&self, scatter: &Scatter) -> Result<Reply, ResponseError> {
        let original = &scatter.original;
        let answer = match &scatter.ask {
            Ask::Judge => return self.judge(original, not_understood()).await,
            Ask::Refused(error) => return self.judge(original, error.clone()).await,
            Ask::Settings => return self.ask_any(original, merge::strip::settings).await,
            Ask::Setting { hidden, .. } => return self.ask_any(original, merge::strip::of_part(*hidden)).await,
            // What nodes are sent of rules is what the client wrote.
            Ask::DynamicSearchRules => return self.ask_any(original, |_| {}).await,
            Ask::Search(plan) => self.search(plan, scatter.seed, None).await,
            Ask::FacetSearch(plan) => self.facet_search(plan, scatter.seed).await,
            Ask::MultiSearch(plan) => self.multi_search(plan).await,
            Ask::Similar(plan) => self.similar(plan, original, scatter.seed).await,
            Ask::Fields(plan) => self.fields(plan, scatter.seed).await,
            Ask::Federation(plan) => self.federation(plan, original, scatter.seed).await,
            Ask::Documents(plan) => self.documents(plan, scatter.seed).await,
            Ask::Document(plan) => self.document(plan, original, scatter.seed).await,
            Ask::Render(plan) => self.render(plan, scatter.seed).await,
            Ask::Stats(StatsPlan::Index { index }) => self.index_stats(index, original).await,
            Ask::Stats(StatsPlan::AllIndexes) => self.all_stats(original).await,
        };
        let answer = match answer {
            Ok(reply) if !scatter.joins.is_empty() && reply.status == 200 => self.with_joined(scatter, reply).await,
            answer => answer,
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

    /// Why nobody answered: all were too busy, or no replica is there.
    pub(super) fn unanswered(&self, gathered: &Gathered) -> ResponseError {
        if gathered.overloaded {
            return overloaded("The nodes have too much to do at the moment.");
        }
        self.no_replica(&gathered.missing)
    }

    /// 504: the nodes work, so asking again may help.
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

    /// 503, with how many of all shards nobody answers for.
    pub(super) fn no_replica(&self, missing: &ShardSet) -> ResponseError {
        ResponseError::new(
            Code::MiroirNoReplica,
            format!("No replica answers for {} of {} shards.", missing.len(), self.topology.shards),
        )
    }
}

/// True for one JSON object and nothing behind it.
pub(super) fn is_object(body: &Bytes) -> bool {
    merge::raw::Members::of_bytes(body).is_ok()
}
