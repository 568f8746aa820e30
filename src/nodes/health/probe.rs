//! One node's probe: Pingora's health check in a loop of its own, and what its outcome is a sign of.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pingora::ErrorType;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::{HealthCheck, HttpHealthCheck};
use pingora_load_balancing::{Backend, Backends};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Sign, learn, most_are_silent, noting, rounds};
use crate::nodes::health::settings::HealthSettings;
use crate::nodes::metrics::Loop;
use crate::nodes::part::Nodes;
use crate::nodes::transport::Endpoint;
use crate::placement::topology::{Node, NodeId};
use crate::tls::nodes::NodeTls;

/// Probes a node for as long as it lives.
pub(super) struct Probe {
    node: NodeId,
    url: String,
    task: JoinHandle<()>,
}

/// Finds a node's address; asked again before each round, so that a new address of the same name is found.
struct NodeDiscovery {
    endpoint: Endpoint,
}

/// Pingora's check, with what it learns handed on.
struct Check {
    inner: HttpHealthCheck,
    patience: Duration,
    fall: usize,
    node: NodeId,
    nodes: Weak<Nodes>,
}

// === impl Probe ===

impl Probe {
    /// Asks the node again and again from now on, until it is dropped. The error says why its URL or certificates
    /// will not do.
    pub(super) fn start(nodes: &Arc<Nodes>, node: &Node) -> Result<Self, String> {
        let settings = &nodes.settings;
        let endpoint = Endpoint::parse(&node.url)?;
        let check = Check {
            inner: http_check(settings, &endpoint, node, &nodes.credentials.get().tls)?,
            patience: settings.patience,
            fall: settings.fall.max(1),
            node: node.id.clone(),
            nodes: Arc::downgrade(nodes),
        };
        let mut backends = Backends::new(Box::new(NodeDiscovery { endpoint }));
        backends.set_health_check(Box::new(check));
        let (id, weak, mut interval) = (node.id.clone(), Arc::downgrade(nodes), rounds(nodes));
        let task = tokio::spawn(async move {
            loop {
                interval.tick().await;
                round(&backends, &id, &weak).await;
            }
        });
        Ok(Self { node: node.id.clone(), url: node.url.clone(), task })
    }

    /// False, too, for the same node at another URL.
    pub(super) fn is_of(&self, node: &Node) -> bool {
        self.node == node.id && self.url == node.url
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn round(backends: &Backends, node: &NodeId, nodes: &Weak<Nodes>) {
    if let Err(error) = backends.update(|_| {}).await {
        // The last known address is probed; a name that stays unknown shows as failed probes.
        tracing::debug!(%error, "a node's name cannot be resolved");
        if backends.get_backend().is_empty()
            && let Some(nodes) = nodes.upgrade()
        {
            noting(&nodes, node, || {
                let known = nodes.life.of(node);
                let mut signs = known.lock();
                signs.good_in_a_row = 0;
                signs.looked_at = Some(Instant::now());
            });
        }
    }
    backends.run_health_check(true).await;
    if let Some(nodes) = nodes.upgrade() {
        nodes.metrics.went_round(Loop::Health);
    }
}

fn http_check(
    settings: &HealthSettings,
    endpoint: &Endpoint,
    node: &Node,
    tls: &NodeTls,
) -> Result<HttpHealthCheck, String> {
    let mut check = HttpHealthCheck::new(&endpoint.host, endpoint.tls);
    check.consecutive_success = settings.rise.max(1);
    check.consecutive_failure = settings.fall.max(1);
    check.peer_template.options.connection_timeout = Some(settings.timeout);
    check.peer_template.options.read_timeout = Some(settings.patience);
    tls.apply(&mut check.peer_template);
    check.reuse_connection = false;
    let path = format!("{}/health", endpoint.prefix);
    let uri = path.parse().map_err(|_| format!("`{path}` is no path"))?;
    check.req.set_uri(uri);
    check.req.insert_header("Host", endpoint.authority()).map_err(|error| error.to_string())?;
    let id = node.id.clone();
    check.set_backend_summary(move |backend| format!("node {id} at {}", backend.addr));
    Ok(check)
}

#[async_trait]
impl ServiceDiscovery for NodeDiscovery {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let addresses = self.endpoint.resolve().await.map_err(|reason| {
            pingora::Error::explain(ErrorType::ConnectNoRoute, format!("{}: {reason}", self.endpoint.host))
        })?;
        // One address is one node; of several the first IPv4 one, as engines listen on that by default.
        let chosen = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let backends = chosen.map(|address| Backend::new(&address.to_string())).transpose()?;
        Ok((backends.into_iter().collect(), HashMap::new()))
    }
}

/// True for an error that says only that there was no answer yet.
fn is_late(error: &pingora::Error) -> bool {
    matches!(error.etype(), ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::TLSHandshakeTimedout)
}

impl Check {
    /// What the outcome of a probe that began at `began` is a sign of; `None`: of nothing yet.
    fn sign(&self, nodes: &Nodes, began: Instant, result: &pingora::Result<()>) -> Option<Sign> {
        let known = nodes.life.of(&self.node);
        let mut signs = known.lock();
        signs.probing = None;
        signs.looked_at = Some(Instant::now());
        match result {
            Ok(()) => {
                signs.good_in_a_row += 1;
                signs.bad_in_a_row = 0;
                signs.heard = Some(Instant::now());
                signs.silent = false;
                Some(Sign::Good { in_a_row: signs.good_in_a_row })
            }
            Err(error) if is_late(error) => {
                signs.good_in_a_row = 0;
                let heard = signs.heard.unwrap_or(began);
                let longest_read = nodes.longest_read();
                // A probe waits for the patience as a whole, or gives up connecting much earlier.
                if heard.elapsed() < signs.patience(self.patience, longest_read, Instant::now()) {
                    return None;
                }
                signs.silent = true;
                drop(signs);
                Some(Sign::Silent { most: most_are_silent(nodes) })
            }
            Err(_) => {
                signs.good_in_a_row = 0;
                signs.bad_in_a_row += 1;
                (signs.bad_in_a_row >= self.fall).then_some(Sign::Fell)
            }
        }
    }
}

#[async_trait]
impl HealthCheck for Check {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let began = Instant::now();
        if let Some(nodes) = self.nodes.upgrade() {
            let known = nodes.life.of(&self.node);
            let mut signs = known.lock();
            signs.probing = Some(began);
            // What was never heard of is silent from the first look on.
            signs.heard.get_or_insert(began);
        }
        let checked = tokio::time::timeout(self.patience, self.inner.check(target)).await;
        let result = checked.unwrap_or_else(|_| {
            Err(pingora::Error::explain(ErrorType::ReadTimedout, format!("no answer within {:?}", self.patience)))
        });
        let Some(nodes) = self.nodes.upgrade() else { return result };
        let sign = noting(&nodes, &self.node, || self.sign(&nodes, began, &result));
        if let Some(sign) = sign {
            learn(&nodes, &self.node, sign);
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
