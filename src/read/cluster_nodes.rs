//! The nodes of the cluster as one read asks them: within its time, in their turn, with an eye on who is slow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::Span;

use super::gather::{Doubt, Nodes, Round};
use super::kept::{Keeping, Looked};
use super::part::Reads;
use crate::nodes::client::{NodeReply, Subrequest, Trace};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::meaning::Meaning;
use crate::nodes::metrics::Hedge;
use crate::nodes::overload::limit::Permit;
use crate::nodes::overload::long_filters::LongTurn;
use crate::nodes::overload::{Sign, Traffic};
use crate::placement::topology::{Node, NodeIx, NodeState, Topology};
use crate::plan::rounds::Later;
use crate::plan::scatter::{Ask, NodeRequest, Scatter};
use crate::plan::scattered::{Budget, Lasting};
use crate::read::settings::SearchSettings;
use crate::traces;

/// What reads other than searches may take at least: a page of documents can be large.
const LONG_READ: Duration = Duration::from_secs(30);

/// A filter that takes an engine longer is sent to few nodes at once.
const LONG_FILTER: Duration = Duration::from_millis(500);
/// A filter of more bytes has hundreds of conditions: a heavy read. Other long bodies are not: a vector is long, too.
const HEAVY_FILTER: usize = 16 << 10;

/// As is a page that reaches farther than this.
const LONG_PAGE: u64 = 1000;

/// Nobody is late before that, however fast he usually is.
const LEAST_LATE: Duration = Duration::from_millis(10);

/// How many times `search.attempt_timeout` a node that works may take, where nothing says how long others would.
const ALONE_PATIENCE: u32 = 5;

/// How long any read may take. After that none of its subrequests is under way.
pub fn longest(settings: &SearchSettings) -> Duration {
    settings.timeout.max(LONG_READ)
}

/// The nodes of the cluster, within the time that one read has.
pub(super) struct ClusterNodes<'a> {
    reads: &'a Reads,
    topology: &'a Topology,
    trace: &'a Trace,
    /// The indexes that are searched, and within what time a node's reply is all it can say; `None` where every node is asked.
    keeps: Option<(Vec<&'a str>, Duration)>,
    deadline: Instant,
    /// How long a node may take before it is doubted.
    attempt: Duration,
    /// Whether its subrequests count as heavy, whatever their filters are.
    traffic: Traffic,
    /// Nodes that requests of this read wait for the turn of: they were not asked yet.
    queued: Mutex<Vec<NodeIx>>,
    /// What the next round is for, if not the first.
    foreseen: Mutex<Option<Later>>,
    /// Subrequests so far.
    pub(super) asked: AtomicUsize,
}

// === impl ClusterNodes ===

impl<'a> ClusterNodes<'a> {
    /// The time of the read begins now.
    pub(super) fn new(
        reads: &'a Reads,
        topology: &'a Topology,
        scatter: &'a Scatter,
        trace: &'a Trace,
        keeping: Keeping,
    ) -> Self {
        let settings = &reads.settings.get();
        let budget = match scatter.ask.plan().kind().budget() {
            Budget::Search => settings.timeout,
            Budget::Long => longest(settings),
        };
        let attempt = settings.attempt_timeout;
        let deadline = Instant::now() + budget;
        let traffic = weight(scatter);
        let keeps = match (keeping, scatter.ask.plan().lasting()) {
            (Keeping::Within(time), Lasting::IfInTime { indexes }) => Some((indexes, time)),
            (Keeping::Within(_), Lasting::Never | Lasting::Always) | (Keeping::Nothing, _) => None,
        };
        Self {
            reads,
            topology,
            trace,
            keeps,
            deadline,
            attempt,
            traffic,
            queued: Mutex::default(),
            foreseen: Mutex::default(),
            asked: AtomicUsize::new(0),
        }
    }

    /// Waits for the turn of a subrequest with such filters.
    async fn enter(&self, node: &Node, traffic: Traffic, filters: &Filters, path: &str) -> Result<Permits, NodeError> {
        let overload = &self.reads.nodes.overload;
        let long = if filters.is_long() {
            overload.enter_long(node, self.topology.replication_factor, path).await?
        } else {
            None
        };
        Ok((long, overload.enter(node, traffic, path).await?))
    }

    /// Looks for a reply that is kept.
    fn look(&self, node: &Node, path: &str, body: &Bytes) -> Looked {
        match &self.keeps {
            Some((indexes, within)) if !body.is_empty() => {
                let request = (path, body, *within);
                self.reads.kept.look(&self.reads.nodes, self.topology.epoch, &node.id, indexes, request)
            }
            Some(_) | None => Looked::Asks(None),
        }
    }
}

#[async_trait]
impl Nodes for ClusterNodes<'_> {
    async fn ask(&self, node: NodeIx, request: NodeRequest) -> Result<NodeReply, NodeError> {
        let ix = node;
        let node = self.topology.node(ix);
        // Later rounds make filters of their own.
        let filters = Filters::of(&request);
        let NodeRequest { method, path, body } = request;
        let body = Bytes::from(body);
        let keep = match self.look(node, &path, &body) {
            Looked::Kept(reply) => return Ok(reply),
            Looked::Asks(keep) => keep,
        };
        self.asked.fetch_add(1, Ordering::Relaxed);
        let timeout = self.deadline.saturating_duration_since(Instant::now());
        let started = Instant::now();
        let queued = Queued::new(&self.queued, ix);
        let traffic = if filters.length > HEAVY_FILTER { Traffic::HeavyRead } else { self.traffic };
        let entered = tokio::time::timeout(timeout, self.enter(node, traffic, &filters, &path)).await;
        drop(queued);
        // Who has waited in vain has not found out anything about the node.
        let permits = entered.map_err(|_| NodeError::new(&node.id, NodeErrorKind::QueueFull { waiting: 0 }))??;
        let timeout = timeout.saturating_sub(started.elapsed());
        let subrequest = if method == "GET" {
            Subrequest::get(path, timeout)
        } else {
            Subrequest::json(http::Method::POST, path, body, timeout, true)
        };
        let turn = Turn::new(self.reads, node, traffic, permits);
        // What a heavy read takes says nothing of others.
        let asked = (traffic == Traffic::Read).then(|| self.reads.nodes.loads.ask(&node.id));
        let answer = self.reads.nodes.client.send(node, subrequest, self.trace).await;
        drop(asked);
        turn.ends(&answer);
        if let (Some(keep), Ok(reply)) = (keep, &answer) {
            self.reads.kept.end(keep, reply);
        }
        // Whether a success is one its reader knows.
        let meaning = Meaning::of(&answer);
        if meaning != Meaning::Answer {
            let retry_after = answer.as_ref().ok().and_then(|reply| reply.retry_after);
            self.reads.nodes.overload.learn(&node.id, Sign::of(meaning, retry_after));
        }
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
            if self.reads.nodes.topology().node(node).state == NodeState::Down {
                return Doubt::Gone;
            }
            if self.queued.lock().contains(&node) {
                asked = Instant::now();
            }
            let (now, waited) = (Instant::now(), asked.elapsed());
            if waited < self.attempt {
                continue;
            }
            let is_mute = self.reads.nodes.life.signs(id).is_mute(asked, now, self.attempt);
            let is_last = round.others_took().is_some_and(|others| waited >= others * 2);
            if is_mute || is_last || waited >= self.attempt * ALONE_PATIENCE {
                return Doubt::Slow;
            }
        }
    }

    /// A node of which nothing is heard is not late but perhaps gone, which [`Nodes::doubt`] finds out.
    async fn late(&self, node: NodeIx) {
        let id = &self.topology.node(node).id;
        let p95 = self.reads.nodes.loads.p95(id).filter(|_| self.traffic == Traffic::Read);
        let Some(usual) = p95 else { return std::future::pending().await };
        let usual = usual.max(LEAST_LATE);
        tokio::time::sleep(usual).await;
        while self.queued.lock().contains(&node) {
            tokio::time::sleep(usual).await;
        }
        let heard = self.reads.nodes.life.signs(id).heard;
        if heard.is_none_or(|heard| heard.elapsed() > self.attempt) {
            std::future::pending().await
        }
    }

    fn round(&self) -> Span {
        let what = self.foreseen.lock().take().map_or("first", Later::as_str);
        traces::round(&self.trace.parent, what)
    }

    fn foresee(&self, round: Later) {
        *self.foreseen.lock() = Some(round);
    }

    fn merging(&self) -> Span {
        traces::merge(&self.trace.parent)
    }

    fn hedged(&self, what: Hedge) {
        self.reads.nodes.metrics.hedged(what);
    }

    fn laden(&self, seed: u64) -> Vec<NodeIx> {
        self.reads.nodes.loads.spared(self.topology, seed)
    }

    fn may_hedge(&self) -> bool {
        self.reads.nodes.overload.may_hedge()
    }

    fn outrun(&self, node: NodeIx) {
        self.reads.nodes.overload.learn(&self.topology.node(node).id, Sign::Bad);
    }

    fn avoided(&self) -> Vec<NodeIx> {
        self.reads.nodes.overload.avoided(self.topology)
    }

    /// Heavy reads wait for their turn wherever they go.
    fn occupied(&self) -> Vec<NodeIx> {
        if self.traffic == Traffic::HeavyRead { Vec::new() } else { self.reads.nodes.overload.occupied(self.topology) }
    }

    fn learn(&self, node: NodeIx, meaning: Meaning) {
        self.reads.nodes.overload.learn(&self.topology.node(node).id, Sign::of(meaning, None));
    }

    fn may_retry(&self) -> bool {
        self.reads.nodes.overload.may_retry()
    }
}

/// How heavy a read is, as far as its request tells.
fn weight(scatter: &Scatter) -> Traffic {
    let long_page = matches!(&scatter.ask, Ask::Search(plan) if plan.window.reach() > LONG_PAGE);
    if long_page || Filters::of(&scatter.original).length > HEAVY_FILTER {
        return Traffic::HeavyRead;
    }
    Traffic::Read
}

/// What the filters of a request ask of an engine.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Filters {
    /// Bytes of all of them, or at least as many as they can have.
    pub length: usize,
    /// About how long an engine reads the longest, on a machine of today; only of those that are heavy.
    work: Duration,
}

impl Filters {
    pub(super) fn of(request: &NodeRequest) -> Self {
        #[derive(Deserialize)]
        struct Filtered<'b> {
            #[serde(borrow)]
            filter: Option<&'b RawValue>,
            #[serde(borrow, default)]
            queries: Vec<Filtered<'b>>,
        }
        fn add(filters: &mut Filters, filtered: &Filtered<'_>) {
            let text = filtered.filter.map_or("", RawValue::get);
            filters.length += text.len();
            if text.len() > HEAVY_FILTER {
                filters.work = filters.work.max(work(text));
            }
            filtered.queries.iter().for_each(|query| add(filters, query));
        }
        let mut filters = Self::default();
        // Most requests are short, and are not looked into.
        if request.body.len() <= HEAVY_FILTER {
            filters.length = request.path.len();
        } else if let Ok(filtered) = serde_json::from_slice::<Filtered<'_>>(&request.body) {
            add(&mut filters, &filtered);
        }
        filters
    }

    /// True where an engine leaves other requests unanswered for too long.
    pub(super) fn is_long(&self) -> bool {
        self.work >= LONG_FILTER
    }
}

/// What an engine takes grows with the number of conditions times the bytes: of those between `OR` and `AND` 42 ns, of values of an `IN`
/// 5 ns. Measured with version 1.50: 1,000 and 1,999 of `population = 37 OR …` 0.9 and 3.6 s, 4,000 and 8,000 numbers in an `IN`
/// 0.4 and 2.3 s, 1,000 and 4,000 uuids 0.16 and 2.6 s.
fn work(filter: &str) -> Duration {
    let words = filter.matches(" OR ").count() + filter.matches(" AND ").count();
    let values = filter.bytes().filter(|byte| *byte == b',').count();
    Duration::from_nanos((filter.len() as u64).saturating_mul(42 * words as u64 + 5 * values as u64))
}

/// A subrequest's turn at a node. The engine does not stop working on a search that nobody waits for any more. So the turn of a
/// heavy read that is left without an answer goes on for as long again as it took: else such searches would pile up there.
struct Turn<'a> {
    reads: &'a Reads,
    node: &'a Node,
    traffic: Traffic,
    began: Instant,
    permits: Option<Permits>,
}

/// A place at a node, and where the filters are long one of those that all nodes have together.
type Permits = (Option<LongTurn>, Permit);

impl<'a> Turn<'a> {
    fn new(reads: &'a Reads, node: &'a Node, traffic: Traffic, permits: Permits) -> Self {
        if traffic == Traffic::HeavyRead {
            reads.nodes.life.heavy_begins(&node.id);
        }
        Self { reads, node, traffic, began: Instant::now(), permits: Some(permits) }
    }

    fn ends(mut self, answer: &Result<NodeReply, NodeError>) {
        if !matches!(answer, Err(error) if matches!(error.kind, NodeErrorKind::Timeout(_))) {
            self.permits = None;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.traffic != Traffic::HeavyRead {
            return;
        }
        let life = &self.reads.nodes.life;
        let Some(permits) = self.permits.take() else {
            life.heavy_ends(&self.node.id);
            return;
        };
        life.heavy_is_left(&self.node.id);
        let as_long_again = self.began.elapsed().min(longest(&self.reads.settings.get()));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(as_long_again).await;
                drop(permits);
            });
        }
    }
}

/// Notes that a request waits for its turn, until it is dropped.
struct Queued<'a> {
    queued: &'a Mutex<Vec<NodeIx>>,
    node: NodeIx,
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
