//! Health checks drive the states of nodes; every change of a state is a new topology.
//!
//! Pingora's `Backends` and `HttpHealthCheck` probe, one of each per node, since each has its own host name and TLS. What
//! Pingora cannot say is that a node has never been seen, or that it is back but not repaired: that is the state here.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::{HealthCheck, HealthObserve, HttpHealthCheck};
use pingora_load_balancing::{Backend, Backends};
use tokio::sync::watch;

use super::Cluster;
use super::client::ConnectObserver;
use super::settings::HealthSettings;
use super::transport::Endpoint;
use crate::placement::topology::{Node, NodeId, NodeState, Topology};

/// What was learnt of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A good probe; how many in a row it makes.
    Good { in_a_row: usize },
    /// As many bad probes in a row as take a node out.
    Fell,
    /// A subrequest could not connect.
    Unconnectable,
    /// It did not take a write long after others had.
    Slow,
}

/// What follows from a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    Nothing,
    /// Takes no traffic from now on.
    Down,
    /// Answers (again): to be repaired, then up.
    Return,
}

/// One node's health check.
pub struct Probe {
    node: NodeId,
    url: String,
    backends: Backends,
    good_in_a_row: Arc<AtomicUsize>,
}

/// All probes, by node.
#[derive(Default)]
pub struct Probes {
    good: parking_lot::RwLock<HashMap<NodeId, Arc<AtomicUsize>>>,
}

/// Finds a node's address; asked again before each round, so that a new address of the same name is found.
struct NodeDiscovery {
    endpoint: Endpoint,
}

/// Pingora's check, with what it learns handed on.
struct Check {
    inner: HttpHealthCheck,
    limit: Duration,
    node: NodeId,
    cluster: Weak<Cluster>,
    good_in_a_row: Arc<AtomicUsize>,
}

struct Observer {
    node: NodeId,
    cluster: Weak<Cluster>,
}

/// Marks a node down as soon as a subrequest cannot connect.
pub(super) struct ConnectWatch(pub Weak<Cluster>);

/// What a sign means for a node in `state`. A node marked down by a failed connection comes back after `rise` good
/// probes like any other; one that is joining after the first.
pub fn consequence(state: NodeState, sign: Sign, rise: usize) -> Consequence {
    match (state, sign) {
        (NodeState::Joining, Sign::Good { .. }) => Consequence::Return,
        (NodeState::Down, Sign::Good { in_a_row }) if in_a_row >= rise => Consequence::Return,
        (NodeState::Down, Sign::Good { .. }) => Consequence::Nothing,
        (NodeState::Up | NodeState::Repairing, Sign::Good { .. }) => Consequence::Nothing,
        (NodeState::Up | NodeState::Repairing, Sign::Fell | Sign::Unconnectable | Sign::Slow) => Consequence::Down,
        // The operator has the word.
        (NodeState::Maintenance, _) => Consequence::Nothing,
        (NodeState::Joining | NodeState::Down, Sign::Fell | Sign::Unconnectable | Sign::Slow) => Consequence::Nothing,
        (NodeState::Removed, _) => Consequence::Nothing,
    }
}

/// Publishes a changed topology under the next epoch. The one place where the topology changes.
pub fn publish(cluster: &Cluster, change: impl FnOnce(&mut Topology)) -> Arc<Topology> {
    let _publishing = cluster.publishing.lock();
    let mut next = Topology::clone(&cluster.topology.load());
    change(&mut next);
    next.epoch += 1;
    let next = Arc::new(next);
    let superseded = cluster.topology.swap(Arc::clone(&next));
    cluster.rebalancer.superseded(&superseded);
    cluster.metrics.show(&next);
    next
}

/// Moves a node from one of `from` to `to`; false when it is in none of them any more.
pub fn move_state(cluster: &Cluster, node: &NodeId, from: &[NodeState], to: NodeState) -> bool {
    let current = |topology: &Topology| topology.nodes.iter().find(|candidate| candidate.id == *node).map(|n| n.state);
    // Most signs change nothing, and an epoch is for changes.
    if !current(&cluster.topology.load()).is_some_and(|state| from.contains(&state)) {
        return false;
    }
    let mut moved = false;
    publish(cluster, |topology| {
        let found = topology.nodes.iter_mut().find(|candidate| candidate.id == *node);
        if let Some(found) = found
            && from.contains(&found.state)
        {
            tracing::info!(node = %node, from = found.state.as_str(), to = to.as_str(), "node changes state");
            found.state = to;
            moved = true;
        }
    });
    moved
}

/// Acts on a sign.
pub fn learn(cluster: &Arc<Cluster>, node: &NodeId, sign: Sign) {
    let topology = cluster.topology();
    let Some(state) = topology.find(node.as_str()).map(|found| topology.node(found).state) else { return };
    match consequence(state, sign, cluster.settings.health.rise) {
        Consequence::Nothing => {}
        Consequence::Down => {
            if move_state(cluster, node, &[NodeState::Up, NodeState::Repairing], NodeState::Down) {
                tracing::warn!(node = %node, ?sign, "node is down");
            }
        }
        Consequence::Return => super::repair::start(cluster, node),
    }
}

/// Traffic has found out what probes have not yet: the node is down now, and has to show anew that it is well.
pub fn give_up(cluster: &Arc<Cluster>, node: &NodeId, sign: Sign) {
    cluster.probes.reset(node);
    learn(cluster, node, sign);
}

/// A tick for each round of health checks; a late one moves those after it.
pub(super) fn rounds(cluster: &Cluster) -> tokio::time::Interval {
    let mut rounds = tokio::time::interval(cluster.settings.health.interval.max(Duration::from_millis(10)));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    rounds
}

/// Probes all nodes every `health.interval`, until `shutdown`.
pub async fn run(cluster: Arc<Cluster>, mut shutdown: watch::Receiver<bool>) {
    let mut probes = Vec::new();
    let mut interval = rounds(&cluster);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = super::stopped(&mut shutdown) => return,
        }
        follow_members(&cluster, &mut probes);
        tokio::select! {
            _ = futures::future::join_all(probes.iter().map(Probe::round)) => {}
            _ = super::stopped(&mut shutdown) => return,
        }
    }
}

/// A probe for each node of the cluster: nodes come and go, and their urls change.
fn follow_members(cluster: &Arc<Cluster>, probes: &mut Vec<Probe>) {
    let topology = cluster.topology();
    let members = || topology.members().map(|ix| topology.node(ix));
    probes.retain(|probe| members().any(|node| node.id == probe.node && node.url == probe.url));
    for node in members() {
        if probes.iter().any(|probe| probe.node == node.id) {
            continue;
        }
        match Probe::new(cluster, node) {
            Ok(probe) => probes.push(probe),
            Err(reason) => tracing::error!(node = %node.id, reason, "node cannot be probed"),
        }
    }
}

// === impl Probe ===

impl Probe {
    fn new(cluster: &Arc<Cluster>, node: &Node) -> Result<Self, String> {
        let settings = &cluster.settings.health;
        let endpoint = Endpoint::parse(&node.url)?;
        let good_in_a_row = Arc::new(AtomicUsize::new(0));
        cluster.probes.good.write().insert(node.id.clone(), Arc::clone(&good_in_a_row));
        let inner = http_check(settings, &endpoint, node, cluster)?;
        let check = Check {
            inner,
            limit: settings.timeout,
            node: node.id.clone(),
            cluster: Arc::downgrade(cluster),
            good_in_a_row: Arc::clone(&good_in_a_row),
        };
        let mut backends = Backends::new(Box::new(NodeDiscovery { endpoint }));
        backends.set_health_check(Box::new(check));
        Ok(Self { node: node.id.clone(), url: node.url.clone(), backends, good_in_a_row })
    }

    async fn round(&self) {
        if let Err(error) = self.backends.update(|_| {}).await {
            // The last known address is probed; a name that stays unknown shows as failed probes.
            tracing::debug!(%error, "a node's name cannot be resolved");
            if self.backends.get_backend().is_empty() {
                self.good_in_a_row.store(0, Ordering::Relaxed);
            }
        }
        self.backends.run_health_check(true).await;
    }
}

fn http_check(
    settings: &HealthSettings,
    endpoint: &Endpoint,
    node: &Node,
    cluster: &Arc<Cluster>,
) -> Result<HttpHealthCheck, String> {
    let mut check = HttpHealthCheck::new(&endpoint.host, endpoint.tls);
    check.consecutive_success = settings.rise.max(1);
    check.consecutive_failure = settings.fall.max(1);
    check.peer_template.options.connection_timeout = Some(settings.timeout);
    check.peer_template.options.read_timeout = Some(settings.timeout);
    check.reuse_connection = false;
    let path = format!("{}/health", endpoint.prefix);
    let uri = path.parse().map_err(|_| format!("`{path}` is no path"))?;
    check.req.set_uri(uri);
    check.req.insert_header("Host", endpoint.authority()).map_err(|error| error.to_string())?;
    let observer = Observer { node: node.id.clone(), cluster: Arc::downgrade(cluster) };
    check.health_changed_callback = Some(Box::new(observer));
    let id = node.id.clone();
    check.set_backend_summary(move |backend| format!("node {id} at {}", backend.addr));
    Ok(check)
}

// === impl Probes ===

impl Probes {
    /// A node that was marked down must show `rise` good probes from here on.
    fn reset(&self, node: &NodeId) {
        if let Some(good) = self.good.read().get(node) {
            good.store(0, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl ServiceDiscovery for NodeDiscovery {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let addresses = self.endpoint.resolve().await.map_err(|reason| {
            pingora::Error::explain(pingora::ErrorType::ConnectNoRoute, format!("{}: {reason}", self.endpoint.host))
        })?;
        // One address is one node; of several the first IPv4 one, as engines listen on that by default.
        let chosen = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let backends = chosen.map(|address| Backend::new(&address.to_string())).transpose()?;
        Ok((backends.into_iter().collect(), HashMap::new()))
    }
}

#[async_trait]
impl HealthCheck for Check {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let checked = tokio::time::timeout(self.limit, self.inner.check(target)).await;
        let result = checked.unwrap_or_else(|_| {
            Err(pingora::Error::explain(pingora::ErrorType::ReadTimedout, format!("no answer within {:?}", self.limit)))
        });
        let Some(cluster) = self.cluster.upgrade() else { return result };
        if result.is_ok() {
            let in_a_row = self.good_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
            learn(&cluster, &self.node, Sign::Good { in_a_row });
        } else {
            self.good_in_a_row.store(0, Ordering::Relaxed);
        }
        result
    }

    async fn health_status_change(&self, target: &Backend, healthy: bool) {
        self.inner.health_status_change(target, healthy).await;
    }

    fn backend_summary(&self, target: &Backend) -> String {
        self.inner.backend_summary(target)
    }

    fn health_threshold(&self, success: bool) -> usize {
        self.inner.health_threshold(success)
    }
}

#[async_trait]
impl HealthObserve for Observer {
    async fn observe(&self, _target: &Backend, healthy: bool) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        // Coming back is decided by the count of good probes, which also counts after an instant mark-down.
        if !healthy {
            learn(&cluster, &self.node, Sign::Fell);
        }
    }
}

impl ConnectObserver for ConnectWatch {
    fn connect_failed(&self, node: &NodeId) {
        if let Some(cluster) = self.0.upgrade() {
            give_up(&cluster, node, Sign::Unconnectable);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RISE: usize = 2;

    #[test]
    fn a_joining_node_returns_with_its_first_good_probe() {
        assert_eq!(consequence(NodeState::Joining, Sign::Good { in_a_row: 1 }, RISE), Consequence::Return);
        assert_eq!(consequence(NodeState::Joining, Sign::Fell, RISE), Consequence::Nothing);
    }

    #[test]
    fn a_node_that_went_down_returns_after_enough_good_probes() {
        assert_eq!(consequence(NodeState::Down, Sign::Good { in_a_row: 1 }, RISE), Consequence::Nothing);
        assert_eq!(consequence(NodeState::Down, Sign::Good { in_a_row: 2 }, RISE), Consequence::Return);
    }

    #[test]
    fn a_node_in_maintenance_is_left_alone() {
        for sign in [Sign::Good { in_a_row: 9 }, Sign::Fell, Sign::Unconnectable, Sign::Slow] {
            assert_eq!(consequence(NodeState::Maintenance, sign, RISE), Consequence::Nothing);
        }
    }

    #[test]
    fn a_failed_connection_takes_a_node_down_at_once() {
        for state in [NodeState::Up, NodeState::Repairing] {
            assert_eq!(consequence(state, Sign::Unconnectable, RISE), Consequence::Down);
            assert_eq!(consequence(state, Sign::Fell, RISE), Consequence::Down);
            assert_eq!(consequence(state, Sign::Slow, RISE), Consequence::Down);
            assert_eq!(consequence(state, Sign::Good { in_a_row: 9 }, RISE), Consequence::Nothing);
        }
    }
}
