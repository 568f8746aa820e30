//! Overload: bounds on what is under way, and whom reads leave alone, so that a slow node or a flood of requests ends in
//! early refusals instead of growing memory.
//!
//! | file | what |
//! |---|---|
//! | [`circuit`] | when reads avoid a node |
//! | [`retry_budget`] | how many subrequests may be repeated |
//! | [`limit`] | how many subrequests of a kind are under way to a node, and how many wait |
//! | [`long_filters`] | on which nodes long filters are at work, so that other reads keep away |
//! | [`waiting_writes`] | how many writes of an index are under way |
//! | [`spool_budget`] | how much the writes' bodies may take |
//! | [`metrics`] | what is counted of it |

pub mod circuit;
pub mod limit;
pub mod long_filters;
pub mod metrics;
pub mod retry_budget;
pub mod spool_budget;
pub mod waiting_writes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use prometheus::IntGaugeVec;
use tokio::time::Instant;

use crate::meili::error::{Code, ResponseError};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::meaning::{ForCircuit, Meaning};
use crate::placement::topology::{Node, NodeId, NodeIx, Topology};
use crate::settings::unit::{GIB, MIB};
use crate::settings::{FromSection, Live, Section};
use circuit::{Circuit, CircuitSettings};
use limit::{Limit, Permit};
use long_filters::{LongFilters, LongTurn};
use metrics::{OverloadMetrics, Rejection};
use retry_budget::{RetryBudget, RetrySettings};
use spool_budget::SpoolBudget;
use waiting_writes::{Waiting, WaitingWrites};

/// What metrics call the long filters of all nodes together.
const LONG_FILTER: &str = "long_filter";
/// The most that a count may be set to.
const MOST: usize = 1_000_000;

/// Subrequests are bounded apart, so that no kind can starve another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    Read,
    /// A read that is known to be expensive before it is sent: by the length of its filters (thousands of conditions)
    /// or of its page.
    HeavyRead,
    Write,
}

/// What the operator sets of one kind of traffic to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficSettings {
    /// Subrequests under way at once.
    pub in_flight: usize,
    /// Those that wait for their turn; more are turned away.
    pub waiting: usize,
}

/// The section `overload`: all bounds on what is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct OverloadSettings {
    /// Requests of clients that are answered at once; more are turned away.
    pub requests: usize,
    pub reads: TrafficSettings,
    pub heavy: TrafficSettings,
    /// Long filters that nodes work on at once, all nodes together; `None` for one fewer than replicas.
    pub long_filters: Option<usize>,
    pub writes: TrafficSettings,
    /// Writes under way of one index.
    pub index_writes: usize,
    /// Bytes of writes' bodies that all spools may hold, and how many of them in memory.
    pub spooled: u64,
    pub spooled_memory: u64,
    pub circuit: CircuitSettings,
    pub retries: RetrySettings,
}

/// The bounds of the whole gateway, and what is under way.
pub struct Overload {
    settings: Live<OverloadSettings>,
    pub metrics: OverloadMetrics,
    pub spools: Arc<SpoolBudget>,
    /// By node; made when a node is first asked.
    nodes: RwLock<HashMap<NodeId, Arc<NodeTraffic>>>,
    retries: Mutex<RetryBudget>,
    writes: WaitingWrites,
    long_filters: LongFilters,
}

/// What is under way to one node.
struct NodeTraffic {
    reads: Limit,
    heavy: Limit,
    writes: Limit,
    circuit: Mutex<Circuit>,
}

/// What an answer to a read says about its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Good,
    Bad,
    /// Too busy, for as long as it says.
    Busy(Option<Duration>),
    /// Nothing: the node was not asked, or health checks know it already.
    None,
}

// === impl Traffic ===

impl Traffic {
    /// All three: each label starts at zero.
    pub const ALL: &'static [Traffic] = &[Self::Read, Self::HeavyRead, Self::Write];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::HeavyRead => "heavy_read",
            Self::Write => "write",
        }
    }
}

// === impl OverloadSettings ===

impl FromSection for OverloadSettings {
    fn read(section: &mut Section) -> Self {
        let mut count = |key, least, default| section.integer(key, least..=MOST, default);
        let reads =
            TrafficSettings { in_flight: count("node_reads", 1, 128), waiting: count("node_reads_waiting", 0, 1_024) };
        Self {
            requests: count("requests", 1, 2_048),
            reads,
            // As many of them may wait as of all reads.
            heavy: TrafficSettings { in_flight: count("node_heavy_reads", 1, 2), ..reads },
            long_filters: Some(count("long_filters", 0, 0)).filter(|most| *most > 0),
            writes: TrafficSettings {
                in_flight: count("node_writes", 1, 32),
                waiting: count("node_writes_waiting", 0, 4_096),
            },
            index_writes: count("index_writes", 1, 1_000),
            spooled: section.size("spooled", MIB, 16 * GIB),
            spooled_memory: section.size("spooled_memory", 0, 256 * MIB),
            circuit: CircuitSettings {
                failures: section.integer("circuit_failures", 1..=MOST as u32, 5),
                open_for: section.duration("circuit_open", Duration::from_secs(2)),
            },
            retries: RetrySettings {
                share: section.positive("retry_share", 0.2),
                burst: section.integer("retry_burst", 0..=MOST as u32, 500),
            },
        }
    }
}

// === impl Sign ===

impl Sign {
    /// `retry_after`: for how long the reply asks to be left alone.
    pub fn of(meaning: Meaning, retry_after: Option<Duration>) -> Self {
        match meaning.policy().circuit {
            ForCircuit::Good => Self::Good,
            ForCircuit::Bad => Self::Bad,
            ForCircuit::Busy => Self::Busy(retry_after),
            ForCircuit::Nothing => Self::None,
        }
    }
}

// === impl Overload ===

impl Overload {
    /// Its metrics go to `registry`.
    pub fn new(settings: OverloadSettings, registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let metrics = OverloadMetrics::register(registry)?;
        let gauge = |gauges: &IntGaugeVec| gauges.with_label_values(&["", LONG_FILTER]);
        let long = Limit::new(1, settings.heavy.waiting, gauge(&metrics.in_flight), gauge(&metrics.waiting));
        Ok(Self {
            long_filters: LongFilters::new(long, settings.long_filters),
            spools: SpoolBudget::new(settings.spooled_memory, settings.spooled, metrics.spooled.clone()),
            nodes: RwLock::default(),
            retries: Mutex::new(RetryBudget::new(settings.retries)),
            writes: WaitingWrites::default(),
            metrics,
            settings: Live::new(settings),
        })
    }

    /// Goes by these from now on. What is under way or waits goes on, also where there is less room than it takes.
    pub fn exchange(&self, settings: OverloadSettings) {
        // Held, so that the limits of a node that is asked for the first time are of these settings or are set here.
        let nodes = self.nodes.write();
        let before = OverloadSettings::clone(&self.settings.get());
        self.settings.set(settings.clone());
        for traffic in nodes.values() {
            for (limit, settings) in
                [(&traffic.reads, settings.reads), (&traffic.heavy, settings.heavy), (&traffic.writes, settings.writes)]
            {
                limit.set_most(settings.in_flight);
                limit.set_most_waiting(settings.waiting);
            }
        }
        drop(nodes);
        self.long_filters.exchange(settings.long_filters, settings.heavy.waiting);
        self.retries.lock().exchange(settings.retries);
        let (memory, total) = ((before.spooled_memory, settings.spooled_memory), (before.spooled, settings.spooled));
        self.spools.exchange(memory, total);
    }

    /// Waits until one more subrequest for `path` may be under way to `node`.
    pub async fn enter(&self, node: &Node, traffic: Traffic, path: &str) -> Result<Permit, NodeError> {
        let under_way = self.traffic_of(&node.id);
        let limit = match traffic {
            Traffic::Read => &under_way.reads,
            Traffic::HeavyRead => &under_way.heavy,
            Traffic::Write => &under_way.writes,
        };
        limit.enter(index_of(path)).await.map_err(|full| {
            self.metrics.rejected(Rejection::NodeQueue).inc();
            NodeError::new(&node.id, NodeErrorKind::QueueFull { waiting: full.waiting })
        })
    }

    /// Waits until `node` may work on a long filter of the index that `path` names; `None` where there is no bound.
    pub async fn enter_long(&self, node: &Node, replicas: u8, path: &str) -> Result<Option<LongTurn>, NodeError> {
        self.long_filters.enter(&node.id, index_of(path), usize::from(replicas)).await.map_err(|full| {
            self.metrics.rejected(Rejection::NodeQueue).inc();
            NodeError::new(&node.id, NodeErrorKind::QueueFull { waiting: full.waiting })
        })
    }

    /// The nodes that work on long filters, and answer other reads late.
    pub fn occupied(&self, topology: &Topology) -> Vec<NodeIx> {
        self.long_filters.at_work(topology)
    }

    /// True when no subrequest of a client's request is under way to `node`, and none waits for it.
    pub fn is_idle(&self, node: &NodeId) -> bool {
        let traffic = self.traffic_of(node);
        traffic.reads.is_idle() && traffic.heavy.is_idle() && traffic.writes.is_idle()
    }

    /// Counts a write of `indexes` until the guard is dropped; refused where too many are under way.
    pub fn admit_write(&self, indexes: &[String]) -> Result<Waiting, ResponseError> {
        let most = self.settings.get().index_writes;
        self.writes.enter(indexes, most).map_err(|index| {
            self.metrics.rejected(Rejection::Writes).inc();
            overloaded(format!("{most} writes of index `{index}` are under way already."))
        })
    }

    /// The nodes that reads should avoid at the moment, if others can answer.
    pub fn avoided(&self, topology: &Topology) -> Vec<NodeIx> {
        let now = Instant::now();
        let nodes = self.nodes.read();
        let avoid = |node: &NodeIx| {
            nodes.get(&topology.node(*node).id).is_some_and(|traffic| {
                let mut circuit = traffic.circuit.lock();
                // The common case takes no label's lookup.
                if matches!(*circuit, Circuit::Closed { .. }) {
                    return false;
                }
                let admitted = circuit.admits(now, self.settings.get().circuit);
                self.show(&topology.node(*node).id, *circuit);
                !admitted
            })
        };
        let avoided: Vec<NodeIx> = topology.members().filter(avoid).collect();
        // Where most nodes fail there is nobody to spare them for: all are used.
        if avoided.len() * 2 > topology.members().count() { Vec::new() } else { avoided }
    }

    /// Learns from an answer to a read.
    pub fn learn(&self, node: &NodeId, sign: Sign) {
        let traffic = self.traffic_of(node);
        let mut circuit = traffic.circuit.lock();
        let before = *circuit;
        match sign {
            Sign::Good => circuit.succeeded(),
            Sign::Bad | Sign::Busy(None) => circuit.failed(Instant::now(), self.settings.get().circuit),
            Sign::Busy(Some(wait)) => circuit.sent_away(Instant::now(), wait),
            Sign::None => {}
        }
        if before.level() != circuit.level() {
            tracing::info!(node = %node, from = ?before, to = ?*circuit, "the circuit of a node changes");
            self.show(node, *circuit);
        }
    }

    /// A request is sent for the first time.
    pub fn first_attempt(&self) {
        self.retries.lock().deposit();
    }

    /// True when a request that cost a node something may be repeated.
    pub fn may_retry(&self) -> bool {
        let granted = self.retries.lock().withdraw();
        if !granted {
            self.metrics.rejected(Rejection::RetryBudget).inc();
        }
        granted
    }

    /// True when another node may be asked beside one that takes its time.
    pub fn may_hedge(&self) -> bool {
        self.retries.lock().withdraw_spare()
    }

    fn traffic_of(&self, node: &NodeId) -> Arc<NodeTraffic> {
        if let Some(known) = self.nodes.read().get(node) {
            return Arc::clone(known);
        }
        let mut nodes = self.nodes.write();
        if let Some(known) = nodes.get(node) {
            return Arc::clone(known);
        }
        self.metrics.start_at_zero(node.as_str());
        let settings = self.settings.get();
        let limit = |traffic: Traffic, settings: TrafficSettings| {
            let labels = [node.as_str(), traffic.as_str()];
            Limit::new(
                settings.in_flight,
                settings.waiting,
                self.metrics.in_flight.with_label_values(&labels),
                self.metrics.waiting.with_label_values(&labels),
            )
        };
        let made = Arc::new(NodeTraffic {
            reads: limit(Traffic::Read, settings.reads),
            heavy: limit(Traffic::HeavyRead, settings.heavy),
            writes: limit(Traffic::Write, settings.writes),
            circuit: Mutex::new(Circuit::CLOSED),
        });
        nodes.insert(node.clone(), Arc::clone(&made));
        made
    }

    fn show(&self, node: &NodeId, circuit: Circuit) {
        self.metrics.circuit.with_label_values(&[node.as_str()]).set(circuit.level());
    }
}

/// The index that a path is about; empty where it is about none, or about several.
pub fn index_of(path: &str) -> &str {
    let rest = path.strip_prefix("/indexes/").unwrap_or_default();
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// 503: try again soon.
pub fn overloaded(message: impl Into<String>) -> ResponseError {
    ResponseError::new(Code::MiroirOverloaded, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::NodeState;

    fn node(id: &str) -> Node {
        Node { id: NodeId::new(id), url: String::new(), zone: None, weight: 1.0, state: NodeState::Up }
    }

    #[test]
    fn a_node_whose_reads_fail_in_a_row_is_avoided_and_others_are_not() {
        let overload = Overload::new(OverloadSettings::defaults(), &prometheus::Registry::new()).unwrap();
        let topology = Topology::build(vec![node("a"), node("b")], 4, 2);
        for _ in 0..5 {
            assert!(overload.avoided(&topology).is_empty());
            overload.learn(&topology.node(NodeIx(1)).id, Sign::Bad);
            overload.learn(&topology.node(NodeIx(0)).id, Sign::Good);
        }
        assert_eq!(overload.avoided(&topology), [NodeIx(1)]);
        assert_eq!(overload.metrics.circuit.with_label_values(&["b"]).get(), 2);
    }

    #[test]
    fn where_most_nodes_fail_all_are_used() {
        let overload = Overload::new(OverloadSettings::defaults(), &prometheus::Registry::new()).unwrap();
        let topology = Topology::build(vec![node("a"), node("b"), node("c")], 4, 2);
        let fails = |at: usize| (0..5).for_each(|_| overload.learn(&topology.node(NodeIx(at)).id, Sign::Bad));
        fails(0);
        assert_eq!(overload.avoided(&topology), [NodeIx(0)]);
        fails(1);
        assert!(overload.avoided(&topology).is_empty());
    }

    #[test]
    fn running_out_of_time_is_no_failure() {
        let late = NodeErrorKind::Timeout(Duration::from_secs(1));
        assert_eq!(Sign::of(Meaning::of_error(&late), None), Sign::None);
    }

    #[test]
    fn a_busy_node_is_left_alone_at_once_for_as_long_as_it_says() {
        let overload = Overload::new(OverloadSettings::defaults(), &prometheus::Registry::new()).unwrap();
        let topology = Topology::build(vec![node("a"), node("b")], 4, 2);
        let sign = Sign::of(Meaning::of_head(503, None), Some(Duration::from_secs(10)));
        overload.learn(&topology.node(NodeIx(0)).id, sign);
        assert_eq!(overload.avoided(&topology), [NodeIx(0)]);
    }

    #[test]
    fn a_path_says_whose_turn_it_is() {
        assert_eq!(index_of("/indexes/movies/search?q=a"), "movies");
        assert_eq!(index_of("/indexes/movies?x"), "movies");
        assert_eq!(index_of("/multi-search"), "");
    }

    #[tokio::test]
    async fn reads_that_wait_do_not_keep_writes_from_a_node() {
        let reads = TrafficSettings { in_flight: 1, waiting: 0 };
        let settings = OverloadSettings { reads, ..OverloadSettings::defaults() };
        let overload = Overload::new(settings, &prometheus::Registry::new()).unwrap();
        let node = node("a");
        let _read = overload.enter(&node, Traffic::Read, "/").await.unwrap();
        let error = overload.enter(&node, Traffic::Read, "/").await.err().unwrap();
        assert!(matches!(error.kind, NodeErrorKind::QueueFull { .. }), "{error}");
        assert!(overload.enter(&node, Traffic::Write, "/").await.is_ok());
    }
}
