//! Nodes that take longer than they usually do, or have much before them.

use std::time::Duration;

use parking_lot::Mutex;

use super::tests::{asked_first, covered, topology};
use super::*;

/// Nodes of which one takes its time, and is doubted after a second.
struct Paced {
    slow: NodeIx,
    takes: Duration,
    /// When each is late; never if `None`.
    late_after: Option<Duration>,
    doubt: Doubt,
    may_hedge: bool,
    may_retry: bool,
    laden: Vec<NodeIx>,
    asked: Mutex<Vec<NodeIx>>,
    hedges: Mutex<Vec<Hedge>>,
    outrun: Mutex<Vec<NodeIx>>,
}

impl Paced {
    fn new(takes: Duration, may_hedge: bool) -> Self {
        let (asked, hedges, outrun) = Default::default();
        Self {
            slow: asked_first(&topology(3, 2)),
            takes,
            late_after: Some(Duration::from_millis(50)),
            doubt: Doubt::Slow,
            may_hedge,
            may_retry: true,
            laden: Vec::new(),
            asked,
            hedges,
            outrun,
        }
    }
}

#[async_trait]
impl Nodes for Paced {
    async fn ask(&self, node: NodeIx, _request: NodeRequest) -> Result<NodeReply, NodeError> {
        self.asked.lock().push(node);
        tokio::time::sleep(if node == self.slow { self.takes } else { Duration::from_millis(10) }).await;
        Ok(NodeReply { status: 200, body: "{}".into(), retry_after: None })
    }

    async fn doubt(&self, _node: NodeIx, _round: &Round) -> Doubt {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.doubt
    }

    async fn late(&self, _node: NodeIx) {
        match self.late_after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    }

    fn hedged(&self, what: Hedge) {
        self.hedges.lock().push(what);
    }

    fn laden(&self, _seed: u64) -> Vec<NodeIx> {
        self.laden.clone()
    }

    fn outrun(&self, node: NodeIx) {
        self.outrun.lock().push(node);
    }

    fn may_retry(&self) -> bool {
        self.may_retry
    }

    fn may_hedge(&self) -> bool {
        self.may_hedge
    }
}

/// What they answer, and how long it took.
async fn answered(nodes: &Paced, topology: &Topology) -> (Gathered, Duration) {
    let shards = ShardSet::all(topology.shards);
    let wanted = Wanted { index: "movies", shards: &shards, seed: 7 };
    let request = |_: &CoverPart, _| NodeRequest::get("/");
    let started = Instant::now();
    let gathered = gather(nodes, topology, wanted, &request, &|body| body.starts_with(b"{")).await.unwrap();
    assert!(gathered.missing.is_empty());
    let times = covered(&gathered);
    assert!(times.len() == 64 && times.values().all(|count| *count == 1), "each shard is answered once");
    (gathered, started.elapsed())
}

/// Returns how long it took.
async fn run(nodes: &Paced, topology: &Topology) -> Duration {
    answered(nodes, topology).await.1
}

/// Nobody is late, and the slow one is in `doubt` after a second.
async fn doubted(takes: Duration, may_retry: bool, doubt: Doubt) -> (Paced, Gathered, Duration) {
    let nodes = Paced { late_after: None, doubt, may_retry, ..Paced::new(takes, true) };
    let (gathered, took) = answered(&nodes, &topology(3, 2)).await;
    (nodes, gathered, took)
}

#[tokio::test(start_paused = true)]
async fn another_is_asked_beside_a_node_that_is_late_and_nothing_is_held_against_it() {
    let nodes = Paced::new(Duration::from_secs(60), true);
    assert_eq!(run(&nodes, &topology(3, 2)).await, Duration::from_millis(60));
    assert_eq!(*nodes.hedges.lock(), [Hedge::Sent, Hedge::Won]);
    assert!(nodes.outrun.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_late_node_that_is_first_all_the_same_is_heard() {
    let nodes = Paced::new(Duration::from_millis(55), true);
    assert_eq!(run(&nodes, &topology(3, 2)).await, Duration::from_millis(55));
    assert_eq!(*nodes.hedges.lock(), [Hedge::Sent]);
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_for_haste_a_slow_node_is_doubted_later() {
    let nodes = Paced::new(Duration::from_secs(60), false);
    assert_eq!(run(&nodes, &topology(3, 2)).await, Duration::from_millis(1010));
    assert_eq!(*nodes.outrun.lock(), [nodes.slow]);
}

#[tokio::test(start_paused = true)]
async fn where_no_other_replica_is_left_a_late_node_is_waited_for() {
    let nodes = Paced::new(Duration::from_secs(5), true);
    assert_eq!(run(&nodes, &topology(3, 1)).await, Duration::from_secs(5));
    assert!(nodes.hedges.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_laden_node_is_left_alone_where_as_few_others_answer() {
    let mut nodes = Paced::new(Duration::from_millis(10), true);
    let topology = topology(3, 2);
    let laden = asked_first(&topology);
    nodes.laden = vec![laden];
    run(&nodes, &topology).await;
    assert!(!nodes.asked.lock().contains(&laden), "two others have everything");
    // All that hold something of it are laden: then all are asked as ever.
    nodes.laden = topology.indexes().collect();
    run(&nodes, &topology).await;
    assert!(nodes.asked.lock().contains(&laden));
}

#[tokio::test(start_paused = true)]
async fn others_are_asked_once_beside_a_node_that_is_slow() {
    let (nodes, _, took) = doubted(Duration::from_secs(60), true, Doubt::Slow).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(*nodes.outrun.lock(), [nodes.slow]);
    assert_eq!(nodes.asked.lock().iter().filter(|node| **node == nodes.slow).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_node_that_answers_first_all_the_same_is_heard() {
    let (nodes, gathered, took) = doubted(Duration::from_millis(1005), true, Doubt::Slow).await;
    assert_eq!(took, Duration::from_millis(1005));
    assert!(nodes.outrun.lock().is_empty());
    assert_eq!(gathered.replies[0].0.node, nodes.slow);
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_a_slow_node_is_waited_for() {
    let (nodes, _, took) = doubted(Duration::from_secs(20), false, Doubt::Slow).await;
    assert_eq!(took, Duration::from_secs(20));
    assert_eq!(nodes.asked.lock().len(), 2, "nobody was asked twice");
    let (_, _, took) = doubted(Duration::from_secs(20), false, Doubt::Gone).await;
    assert!(took < Duration::from_secs(2), "a node that is gone costs no retry: {took:?}");
}
