//! The rooms below wait where they rely on what no request of any gateway can see.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Gateway, Leading};
use crate::ledger::marks::{Marks, Missed};
use crate::ledger::{insync, maintenance, older_reads};
use crate::moves::{self, wishes};
use crate::nodes::health;
use crate::peers::publisher::Publisher;
use crate::placement::topology::{Apart, NodeId, NodeIx, NodeState, Topology};
use crate::rebalance::Change;

/// Much longer than it takes a follower to hear of something, and shorter than any read may take.
const WHILE: Duration = Duration::from_secs(5);

async fn two() -> (Leading, watch::Sender<Option<Arc<Publisher>>>, Gateway) {
    let leading = Leading::start(1).await;
    let leader = watch::Sender::new(Some(Arc::clone(&leading.publisher)));
    let gateway = Gateway::start("b", None, &leader).await;
    gateway.until(|gateway| gateway.follower.is_leased()).await;
    leading.publisher.former_views_are_over().await;
    (leading, leader, gateway)
}

fn n1(topology: &Topology) -> NodeIx {
    topology.find("n1").unwrap()
}

#[tokio::test(start_paused = true)]
async fn whoever_marks_a_replica_goes_on_when_all_have_heard() {
    let (leading, _leader, gateway) = two().await;
    let ledger = &leading.cluster.ledger;
    let topology = ledger.nodes.topology();
    let stale = vec![(n1(&topology), "a".to_owned(), topology.shards_of(n1(&topology)).clone())];
    insync::mark(ledger, &Marks { stale, missed: Vec::new() }).await.unwrap();
    let told = gateway.cluster.nodes.topology();
    assert!(told.has_stale(n1(&told), "a"));
    let outdated = Missed { outdated: ["b".to_owned()].into(), ..Missed::default() };
    let missed = vec![(n1(&topology), outdated)];
    insync::mark_gone(ledger, &Marks { stale: Vec::new(), missed }).await.unwrap();
    let told = gateway.cluster.nodes.topology();
    assert_eq!(told.apart_of(n1(&told), "b"), Some(Apart::Absent));
}

#[tokio::test(start_paused = true)]
async fn a_node_is_out_of_service_when_all_have_heard() {
    let (leading, _leader, gateway) = two().await;
    let ledger = Arc::clone(&leading.cluster.ledger);
    let planned = gateway.cluster.nodes.topology();
    maintenance::begin(&ledger, "n1", false).await.unwrap();
    let told = gateway.cluster.nodes.topology();
    assert_eq!(told.node(n1(&told)).state, NodeState::Maintenance);
    let node = NodeId::new("n1");
    assert!(!maintenance::idle(&ledger, &node, WHILE).await, "a request of the follower may be before it");
    drop(planned);
    assert!(maintenance::idle(&ledger, &node, WHILE).await);
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_not_written_over_while_a_follower_may_read_it() {
    let (leading, _leader, gateway) = two().await;
    let planned = gateway.cluster.nodes.topology();
    let ledger = Arc::clone(&leading.cluster.ledger);
    health::publish(&ledger.nodes, |topology| {
        let n1 = n1(topology);
        let all = topology.shards_of(n1).clone();
        Arc::make_mut(&mut topology.stale).insert((n1, "a".to_owned()), all);
    });
    let waits = tokio::spawn(async move {
        let topology = ledger.nodes.topology();
        let n1 = n1(&topology);
        older_reads::end(&ledger, n1, "a", topology.shards_of(n1)).await;
    });
    tokio::time::sleep(WHILE).await;
    assert!(!waits.is_finished() && gateway.follower.holds(&planned));
    drop(planned);
    waits.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_step_of_a_move_is_taken_while_a_request_of_a_follower_goes_by_an_older_layout() {
    let (leading, _leader, gateway) = two().await;
    let planned = gateway.cluster.nodes.topology();
    let moves = Arc::clone(&leading.cluster.moves);
    assert!(wishes::change(&moves, vec![Change::Drain(NodeId::new("n2"))]).await.unwrap());
    let wished = moves.layout().version;
    let (_stop, stop) = watch::channel(false);
    let running = tokio::spawn(moves::run(Arc::clone(&moves), stop));
    tokio::time::sleep(WHILE).await;
    assert_eq!(moves.layout().version, wished, "{:?}", moves.waiting());
    drop(planned);
    gateway.until(|_| moves.layout().version > wished).await;
    running.abort();
}
