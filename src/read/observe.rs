//! A read with an eye on each of its subrequests, for whoever asks how an answer came about.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::Span;

use super::cluster_nodes::ClusterNodes;
use super::gather::{Doubt, Nodes, Round};
use super::kept::Keeping;
use super::part::Reads;
use super::reader::{Reader, Reply};
use crate::meili::error::ResponseError;
use crate::nodes::client::{NodeReply, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::meaning::Meaning;
use crate::nodes::metrics::Hedge;
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::rounds::Later;
use crate::plan::scatter::{NodeRequest, Scatter};

/// One subrequest as it went.
#[derive(Debug)]
pub struct Observed {
    pub node: NodeIx,
    pub request: NodeRequest,
    /// How long after the read began.
    pub began: Duration,
    /// From the request to the end of its reply, or to the failure.
    pub took: Duration,
    pub outcome: Outcome,
}

/// What came of one subrequest.
#[derive(Debug)]
pub enum Outcome {
    Answered { status: u16, body: Bytes },
    Failed { why: String },
}

/// A read that was carried out.
#[derive(Debug)]
pub struct Observation {
    pub answer: Result<Reply, ResponseError>,
    pub took: Duration,
    /// In the order in which they ended.
    pub subrequests: Vec<Observed>,
    /// The rounds that followed the first, in the order in which they began.
    pub later: Vec<Later>,
}

/// The nodes, and a list of what they were asked.
struct Observer<'a, N: ?Sized> {
    nodes: &'a N,
    start: Instant,
    seen: Mutex<Vec<Observed>>,
}

/// Carries out `scatter` as [`crate::read::reader::run`] does.
pub async fn run(reads: &Reads, topology: &Topology, scatter: &Scatter, trace: &Trace) -> Observation {
    let nodes = ClusterNodes::new(reads, topology, scatter, trace, Keeping::Nothing);
    let observer = Observer { nodes: &nodes, start: Instant::now(), seen: Mutex::default() };
    let reader = Reader::new(reads, topology, &observer);
    let answer = reader.run(scatter).await;
    let (took, later) = (observer.start.elapsed(), reader.later.into_inner());
    Observation { answer, took, subrequests: observer.seen.into_inner(), later }
}

#[async_trait]
impl<N: Nodes + ?Sized> Nodes for Observer<'_, N> {
    async fn ask(&self, node: NodeIx, request: NodeRequest) -> Result<NodeReply, NodeError> {
        let began = self.start.elapsed();
        let answer = self.nodes.ask(node, request.clone()).await;
        let outcome = match &answer {
            Ok(reply) => Outcome::Answered { status: reply.status, body: reply.body.clone() },
            Err(error) => Outcome::Failed { why: error.to_string() },
        };
        let took = self.start.elapsed() - began;
        self.seen.lock().push(Observed { node, request, began, took, outcome });
        answer
    }

    async fn doubt(&self, node: NodeIx, round: &Round) -> Doubt {
        self.nodes.doubt(node, round).await
    }

    async fn late(&self, node: NodeIx) {
        self.nodes.late(node).await;
    }

    fn round(&self) -> Span {
        self.nodes.round()
    }

    fn foresee(&self, round: Later) {
        self.nodes.foresee(round);
    }

    fn merging(&self) -> Span {
        self.nodes.merging()
    }

    fn hedged(&self, what: Hedge) {
        self.nodes.hedged(what);
    }

    fn laden(&self, seed: u64) -> Vec<NodeIx> {
        self.nodes.laden(seed)
    }

    fn may_hedge(&self) -> bool {
        self.nodes.may_hedge()
    }

    fn outrun(&self, node: NodeIx) {
        self.nodes.outrun(node);
    }

    fn avoided(&self) -> Vec<NodeIx> {
        self.nodes.avoided()
    }

    fn occupied(&self) -> Vec<NodeIx> {
        self.nodes.occupied()
    }

    fn learn(&self, node: NodeIx, meaning: Meaning) {
        self.nodes.learn(node, meaning);
    }

    fn may_retry(&self) -> bool {
        self.nodes.may_retry()
    }
}
