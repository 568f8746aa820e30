//! Counters and gauges of the cluster's traffic and state.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::families::Families;
use crate::placement::topology::{NodeState, Topology};
use crate::plan::rounds::Later;

/// How a subrequest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    ClientError,
    ServerError,
    ConnectError,
    Timeout,
    Closed,
    BadReply,
    LocalError,
}

/// What becomes of asking another node beside one that takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hedge {
    Sent,
    /// The other one was heard.
    Won,
}

/// In what condition a shard is, over all its replicas and indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardCondition {
    /// Every replica is on a node that is up, and in sync.
    InSync,
    /// At least one replica serves, at least one does not.
    Degraded,
    /// No replica serves.
    Unavailable,
}

/// Work in the background that goes round and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loop {
    /// A probe of one node.
    Health,
    /// A look for copies to begin.
    Resilver,
    /// A look for the next step of a plan, taken or not.
    Rebalance,
    /// A look at the words of every index.
    Vocabularies,
    /// A look whether reads of before are still under way, while something waits for their end.
    OlderReads,
    /// A look at all nodes for what a former leader sent them.
    LateArrivals,
}

/// The families of `miroir_*` metrics that the cluster layer counts.
#[derive(Clone)]
pub struct ClusterMetrics {
    pub subrequests: IntCounterVec,
    pub subrequest_seconds: HistogramVec,
    /// How many subrequests one read took.
    pub fan_out: Histogram,
    /// How many rounds of subrequests one read took, by its kind.
    pub read_rounds: HistogramVec,
    /// The rounds after the first, by what they were for.
    pub later_rounds: IntCounterVec,
    /// Times that a node's kept reply stood for a subrequest.
    pub kept_replies: IntCounter,
    pub retries: IntCounterVec,
    hedges: IntCounterVec,
    pub bytes_sent: IntCounterVec,
    pub bytes_received: IntCounterVec,
    pub node_up: IntGaugeVec,
    pub node_state: IntGaugeVec,
    pub shards: IntGaugeVec,
    pub stale_replicas: IntGaugeVec,
    pub indexes_in_repair: IntGaugeVec,
    pub lane_jobs: IntGaugeVec,
    pub coalesced: IntCounterVec,
    pub diverged_parts: IntCounterVec,
    pub resilvered_documents: IntCounterVec,
    /// Tasks that a former leader gave and nodes took after this one led.
    pub late_arrivals: IntCounterVec,
    pub writes_waiting: IntGauge,
    pub topology_epoch: IntGauge,
    pub weight: GaugeVec,
    pub vocabulary_words: IntGauge,
    pub vocabularies_read: IntCounter,
    rounds: IntCounterVec,
}

// === impl Outcome ===

impl Outcome {
    /// Every outcome: each label starts at zero.
    pub const ALL: &'static [Outcome] = &[
        Self::Ok,
        Self::ClientError,
        Self::ServerError,
        Self::ConnectError,
        Self::Timeout,
        Self::Closed,
        Self::BadReply,
        Self::LocalError,
    ];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::ConnectError => "connect_error",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::BadReply => "bad_reply",
            Self::LocalError => "local_error",
        }
    }

    /// By the hundreds; a redirection counts as fine.
    pub fn of_status(status: u16) -> Self {
        match status {
            0..=399 => Self::Ok,
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

// === impl Hedge ===

impl Hedge {
    /// Both: each label starts at zero.
    pub const ALL: &'static [Hedge] = &[Self::Sent, Self::Won];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Won => "won",
        }
    }
}

// === impl ShardCondition ===

impl ShardCondition {
    /// Every condition: each label starts at zero.
    pub const ALL: &'static [ShardCondition] = &[Self::InSync, Self::Degraded, Self::Unavailable];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
        }
    }
}

// === impl Loop ===

impl Loop {
    /// Every loop: each label starts at zero.
    pub const ALL: &'static [Loop] =
        &[Self::Health, Self::Resilver, Self::Rebalance, Self::Vocabularies, Self::OlderReads, Self::LateArrivals];

    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Resilver => "resilver",
            Self::Rebalance => "rebalance",
            Self::Vocabularies => "vocabularies",
            Self::OlderReads => "older_reads",
            Self::LateArrivals => "late_arrivals",
        }
    }
}

// === impl ClusterMetrics ===

impl ClusterMetrics {
    /// Registers all families of the rooms at work; an error if one is there already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let families = Families(registry);
        let subrequest_seconds = HistogramVec::new(
            HistogramOpts::new("miroir_subrequest_duration_seconds", "Time of subrequests, by node").buckets(vec![
                0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ]),
            &["node"],
        )?;
        registry.register(Box::new(subrequest_seconds.clone()))?;
        let fan_out = Histogram::with_opts(
            HistogramOpts::new("miroir_fan_out", "Subrequests of one read")
                .buckets(vec![1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0]),
        )?;
        registry.register(Box::new(fan_out.clone()))?;
        let read_rounds = HistogramVec::new(
            HistogramOpts::new("miroir_read_rounds", "Rounds of subrequests of one read, by its kind")
                .buckets(vec![1.0, 2.0, 3.0, 4.0, 6.0, 8.0]),
            &["read"],
        )?;
        registry.register(Box::new(read_rounds.clone()))?;
        let weight = GaugeVec::new(Opts::new("miroir_node_weight", "Configured weight of a node"), &["node"])?;
        registry.register(Box::new(weight.clone()))?;
        Ok(Self {
            subrequests: families.counters(
                "miroir_subrequests_total",
                "Subrequests by node and outcome",
                &["node", "outcome"],
            )?,
            subrequest_seconds,
            fan_out,
            read_rounds,
            later_rounds: families.counters(
                "miroir_read_later_rounds_total",
                "Rounds that followed the first round of a read, by what they were for",
                &["round"],
            )?,
            kept_replies: families.counter(
                "miroir_kept_replies_total",
                "Replies of nodes that were kept and used instead of asking, while the index was written to",
            )?,
            retries: families.counters("miroir_subrequest_retries_total", "Subrequests sent again", &["node"])?,
            hedges: families.counters(
                "miroir_hedges_total",
                "Reads asked of others beside a node that takes its time, and those of them that were heard",
                &["outcome"],
            )?,
            bytes_sent: families.counters("miroir_node_sent_bytes_total", "Body bytes sent to nodes", &["node"])?,
            bytes_received: families.counters(
                "miroir_node_received_bytes_total",
                "Body bytes received from nodes",
                &["node"],
            )?,
            node_up: families.gauges("miroir_node_up", "1 when a node serves reads", &["node"])?,
            node_state: families.gauges("miroir_node_state", "1 for the state a node is in", &["node", "state"])?,
            shards: families.gauges("miroir_shards", "Shards by condition", &["condition"])?,
            stale_replicas: families.gauges(
                "miroir_stale_replicas",
                "Replicas that missed a write, per node over all indexes",
                &["node"],
            )?,
            indexes_in_repair: families.gauges(
                "miroir_indexes_in_repair",
                "Indexes that a node does not have as the cluster does, and is asked for last or not at all",
                &["node"],
            )?,
            lane_jobs: families.gauges("miroir_lane_jobs", "Writes waiting in lanes, by node", &["node"])?,
            coalesced: families.counters(
                "miroir_coalesced_writes_total",
                "Small writes that travelled to a node together with others",
                &["node"],
            )?,
            diverged_parts: families.counters(
                "miroir_diverged_parts_total",
                "Node tasks that failed where another replica succeeded",
                &["node"],
            )?,
            resilvered_documents: families.counters(
                "miroir_resilvered_documents_total",
                "Documents copied to bring replicas in sync",
                &["node"],
            )?,
            late_arrivals: families.counters(
                "miroir_late_arrivals_total",
                "Tasks that a node took of a leader that was one no more; what they touched is compared",
                &["node"],
            )?,
            writes_waiting: families
                .gauge("miroir_writes_in_progress", "Writes that took their place and are not acknowledged yet")?,
            topology_epoch: families.gauge("miroir_topology_epoch", "Epoch of the topology in use")?,
            weight,
            vocabulary_words: families
                .gauge("miroir_vocabulary_words", "Words that nodes were sent, over all indexes")?,
            vocabularies_read: families.counter(
                "miroir_vocabularies_read_total",
                "Times that the documents of an index were read for their words",
            )?,
            rounds: families.counters("miroir_rounds_total", "Rounds of work in the background", &["loop"])?,
        })
    }

    /// Every label starts at zero, so that the first failure shows as a step and not as a new series.
    pub fn start_at_zero(&self, topology: &Topology) {
        for each in Loop::ALL {
            self.rounds.with_label_values(&[each.as_str()]);
        }
        for each in Later::ALL {
            self.later_rounds.with_label_values(&[each.as_str()]);
        }
        for each in Hedge::ALL {
            self.hedges.with_label_values(&[each.as_str()]);
        }
        for node in &topology.nodes {
            let id = node.id.as_str();
            for outcome in Outcome::ALL {
                self.subrequests.with_label_values(&[id, outcome.as_str()]);
            }
            self.retries.with_label_values(&[id]);
            self.bytes_sent.with_label_values(&[id]);
            self.bytes_received.with_label_values(&[id]);
            self.lane_jobs.with_label_values(&[id]);
            self.coalesced.with_label_values(&[id]);
            self.diverged_parts.with_label_values(&[id]);
            self.resilvered_documents.with_label_values(&[id]);
            self.late_arrivals.with_label_values(&[id]);
            self.subrequest_seconds.with_label_values(&[id]);
            self.weight.with_label_values(&[id]).set(node.weight);
        }
        self.show(topology);
    }

    /// Counts a hedge that was sent, or that answered first.
    pub fn hedged(&self, what: Hedge) {
        self.hedges.with_label_values(&[what.as_str()]).inc();
    }

    /// Counts a round that has ended, whatever it found to do.
    pub fn went_round(&self, of: Loop) {
        self.rounds.with_label_values(&[of.as_str()]).inc();
    }

    /// How often the loop has gone round since the start; tests wait for it.
    pub fn rounds(&self, of: Loop) -> u64 {
        self.rounds.with_label_values(&[of.as_str()]).get()
    }

    /// Sets every gauge that follows from the topology.
    pub fn show(&self, topology: &Topology) {
        self.topology_epoch.set(i64::try_from(topology.epoch).unwrap_or(i64::MAX));
        for ix in topology.indexes() {
            let node = topology.node(ix);
            let id = node.id.as_str();
            self.node_up.with_label_values(&[id]).set(i64::from(node.state.serves_reads()));
            for state in NodeState::ALL {
                self.node_state.with_label_values(&[id, state.as_str()]).set(i64::from(node.state == *state));
            }
            if !node.state.is_member() {
                continue;
            }
            let stale: usize =
                topology.stale.iter().filter(|((owner, _), _)| *owner == ix).map(|(_, shards)| shards.len()).sum();
            self.stale_replicas.with_label_values(&[id]).set(i64::try_from(stale).unwrap_or(i64::MAX));
            let apart = topology.apart.keys().filter(|(owner, _)| *owner == ix).count();
            self.indexes_in_repair.with_label_values(&[id]).set(i64::try_from(apart).unwrap_or(i64::MAX));
        }
        for condition in ShardCondition::ALL {
            let count = (0..topology.shards)
                .filter(|shard| condition_of(topology, crate::placement::shard::ShardId(*shard)) == *condition)
                .count();
            self.shards.with_label_values(&[condition.as_str()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// The condition of a shard: a replica counts as serving when its node is up and no index is stale there.
pub fn condition_of(topology: &Topology, shard: crate::placement::shard::ShardId) -> ShardCondition {
    let owners = topology.owners_of(shard);
    let serving = owners
        .iter()
        .filter(|ix| topology.node(**ix).state.serves_reads())
        .filter(|ix| !topology.stale.iter().any(|((owner, _), shards)| owner == *ix && shards.contains(shard)))
        .count();
    if serving == owners.len() {
        ShardCondition::InSync
    } else if serving > 0 {
        ShardCondition::Degraded
    } else {
        ShardCondition::Unavailable
    }
}
