//! A leader and its followers in one process, over a wire that is cut, and processes that are frozen.
//!
//! | module | what lives there |
//! |---|---|
//! | `barrier` | who is waited for, and for how long |
//! | `histories` | changes, reads and faults at random: no read by a dead view |
//! | `reigns` | gateways over one database: nobody leads beside another, no read by a dead view |
//! | `rooms` | the rooms below wait where they have to |
//! | `telling` | what a follower knows of what the leader knows |

mod barrier;
mod histories;
mod reigns;
mod rooms;
mod telling;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::follower::{Follower, Name};
use super::former::Former;
use super::publisher::Publisher;
use super::talk::{Answer, AskLeader, NoAnswer, Question};
use crate::cluster::Cluster;
use crate::cluster::settings::ClusterSettings;
use crate::nodes::client::{NodeReply, Subrequest, Trace};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::health;
use crate::nodes::transport::Transport;
use crate::placement::settings::{NodeSettings, PlacementSettings};
use crate::placement::topology::{Node, NodeState};
use crate::store::sqlite::SqliteStore;

const SHARDS: u16 = 8;

/// Nobody is there.
struct Void;

/// What lies between a follower and the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Well,
    /// Nothing reaches the leader.
    Dumb,
    /// Nothing comes back.
    Deaf,
    /// Each way takes so long.
    Slow(Duration),
}

/// A follower's way to the leader of the moment.
#[derive(Clone)]
struct Wire {
    leader: watch::Receiver<Option<Arc<Publisher>>>,
    line: watch::Receiver<Line>,
    /// The last answer that came, as it was sent.
    last: Arc<Mutex<Option<Answer>>>,
}

/// A follower, and what can happen to it.
struct Gateway {
    cluster: Arc<Cluster>,
    follower: Arc<Follower>,
    keys: Arc<Mutex<Vec<Value>>>,
    line: watch::Sender<Line>,
    frozen: watch::Sender<bool>,
    last: Arc<Mutex<Option<Answer>>>,
    _stop: watch::Sender<bool>,
}

/// A gateway that leads.
struct Leading {
    cluster: Arc<Cluster>,
    publisher: Arc<Publisher>,
    keys: Arc<Mutex<Vec<Value>>>,
    trusted: Arc<AtomicBool>,
}

/// A process that can be stopped: nothing of it goes on meanwhile, but its clock.
struct Freezable<F> {
    inner: Pin<Box<F>>,
    frozen: watch::Receiver<bool>,
    woken: Pin<Box<dyn Future<Output = ()> + Send>>,
}

// === impl Void ===

#[async_trait]
impl Transport for Void {
    async fn exchange(&self, node: &Node, _request: &Subrequest, _trace: &Trace) -> Result<NodeReply, NodeError> {
        Err(NodeError::new(&node.id, NodeErrorKind::Connect("nobody is there".into())))
    }
}

// === impl Wire ===

impl Wire {
    async fn pass(&self, is_lost: impl Fn(Line) -> bool) {
        let line = *self.line.borrow();
        match line {
            lost if is_lost(lost) => std::future::pending().await,
            Line::Slow(time) => tokio::time::sleep(time).await,
            Line::Well | Line::Dumb | Line::Deaf => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

#[async_trait]
impl AskLeader for Wire {
    async fn ask(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let leader = self.leader.borrow().clone().ok_or_else(|| NoAnswer("nobody leads".to_owned()))?;
        let sent = serde_json::to_string(question).unwrap();
        self.pass(|line| line == Line::Dumb).await;
        // The leader's own task: it answers, whether somebody still waits for it or not.
        let answered = tokio::spawn(async move { leader.answer(serde_json::from_str(&sent).unwrap()).await });
        let answer = serde_json::to_string(&answered.await.unwrap()).unwrap();
        self.pass(|line| line == Line::Deaf).await;
        let answer: Answer = serde_json::from_str(&answer).unwrap();
        *self.last.lock() = Some(answer.clone());
        Ok(answer)
    }
}

// === impl Freezable ===

impl<F: Future> Freezable<F> {
    fn new(inner: F, frozen: watch::Receiver<bool>) -> Self {
        Self { inner: Box::pin(inner), frozen, woken: Box::pin(std::future::ready(())) }
    }
}

impl<F: Future> Future for Freezable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        while *self.frozen.borrow() {
            let mut frozen = self.frozen.clone();
            self.woken = Box::pin(async move {
                // The sender is gone with the test.
                let _ = frozen.wait_for(|frozen| !frozen).await;
            });
            if self.woken.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.inner.as_mut().poll(context)
    }
}

// === impl Gateway ===

impl Gateway {
    async fn start(name: &str, zone: Option<&str>, leader: &watch::Sender<Option<Arc<Publisher>>>) -> Self {
        // It is configured with the nodes in another order, and lacks one: that is of no concern.
        let cluster = cluster(&["n2", "n0"], zone).await;
        let keys: Arc<Mutex<Vec<Value>>> = Arc::default();
        let taken = Arc::clone(&keys);
        let take = move |told: &[Value]| {
            *taken.lock() = told.to_vec();
            Ok(())
        };
        let began = Instant::now();
        let name = Name { gateway: name.to_owned(), version: "1.0.0".to_owned() };
        let clock = Box::new(move || Duration::from_secs(1000) + began.elapsed());
        let follower = Follower::new(Arc::clone(&cluster.ledger), name, Box::new(take), clock);
        let (line, frozen, stop) =
            (watch::Sender::new(Line::Well), watch::Sender::new(false), watch::Sender::new(false));
        let last = Arc::default();
        let wire = Wire { leader: leader.subscribe(), line: line.subscribe(), last: Arc::clone(&last) };
        let run = Arc::clone(&follower).run(Box::new(wire), stop.subscribe());
        tokio::spawn(Freezable::new(run, frozen.subscribe()));
        Self { cluster, follower, keys, line, frozen, last, _stop: stop }
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !what(self) {
            assert!(Instant::now() < limit, "it does not come about");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

// === impl Leading ===

impl Leading {
    async fn start(epoch: i64) -> Self {
        Self::after(epoch, Former::anybody()).await
    }

    async fn after(epoch: i64, former: Former) -> Self {
        let cluster = cluster(&["n0", "n1", "n2"], None).await;
        for node in ["n0", "n1", "n2"] {
            set_state(&cluster, node, NodeState::Up);
        }
        let keys: Arc<Mutex<Vec<Value>>> = Arc::default();
        let trusted = Arc::new(AtomicBool::new(true));
        let (told, may) = (Arc::clone(&keys), Arc::clone(&trusted));
        let publisher = Publisher::after(
            former,
            Arc::clone(&cluster.ledger),
            epoch,
            Box::new(move || told.lock().clone()),
            Box::new(move || may.load(Ordering::SeqCst)),
        );
        publisher.open();
        Self { cluster, publisher, keys, trusted }
    }

    /// Something changes.
    fn change(&self) {
        set_state(&self.cluster, "n1", NodeState::Repairing);
    }
}

fn set_state(cluster: &Cluster, node: &str, state: NodeState) {
    health::publish(&cluster.nodes, |topology| {
        let ix = topology.find(node).unwrap();
        topology.nodes[ix.0].state = state;
    });
}

async fn cluster(nodes: &[&str], zone: Option<&str>) -> Arc<Cluster> {
    let node =
        |id: &&str| NodeSettings { id: (*id).to_owned(), url: format!("http://{id}:1"), zone: None, weight: 1.0 };
    let nodes = nodes.iter().map(node).collect();
    let placement = PlacementSettings { shards: Some(SHARDS), placement: None, replication_factor: 2, nodes };
    let mut settings = ClusterSettings::new(placement);
    settings.search.zone = zone.map(str::to_owned);
    let store = Arc::new(SqliteStore::open(":memory:", SHARDS).unwrap());
    Cluster::with_transport(settings, store, &prometheus::Registry::new(), Box::new(Void)).await.unwrap()
}
