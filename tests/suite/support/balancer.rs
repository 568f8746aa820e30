//! What stands before several gateways: it sends each request to one that says that it is ready.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::client::{Client, Reply, pause};

/// Between two looks at a gateway.
const EVERY: Duration = Duration::from_millis(100);
/// A look that takes longer has failed.
const LOOK: Duration = Duration::from_secs(2);

/// As load balancers are: they look at `/ready`, and where a connection is refused or breaks they turn to another gateway.
pub struct Balancer {
    behind: Vec<Behind>,
    next: AtomicUsize,
    /// How often one turned to another gateway.
    pub turned: AtomicUsize,
}

struct Behind {
    client: Client,
    /// Where it is looked at.
    looked_at: Client,
    ready: AtomicBool,
}

// === impl Balancer ===

impl Balancer {
    /// Before gateways with these listeners for clients and for operators.
    pub fn new(gateways: impl Iterator<Item = (Client, Client)>) -> Self {
        let behind = gateways.map(|(client, admin)| {
            let looked_at = Client::with_limit(&admin.url, LOOK).seeing_hidden();
            Behind { client, looked_at, ready: AtomicBool::new(true) }
        });
        Self { behind: behind.collect(), next: AtomicUsize::new(0), turned: AtomicUsize::new(0) }
    }

    /// Looks at all gateways again and again.
    pub fn watch(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            for one in &self.behind {
                let reply = one.looked_at.try_send("GET", "/ready", &[], b"");
                one.ready.store(reply.is_ok_and(|reply| reply.status == 200), Ordering::Relaxed);
            }
            pause(EVERY);
        }
    }

    /// One after the other, first those that are ready; the error is the last one's.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Reply, String> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turns = (0..self.behind.len()).map(|turn| &self.behind[(first + turn) % self.behind.len()]);
        let (ready, rest): (Vec<_>, Vec<_>) = turns.partition(|one| one.ready.load(Ordering::Relaxed));
        let mut last = String::new();
        for one in ready.into_iter().chain(rest) {
            match one.client.try_send(method, path, &[("Content-Type", "application/json")], body) {
                Ok(reply) => return Ok(reply),
                Err(error) => last = format!("{method} {}{path}: {error}", one.client.url),
            }
            self.turned.fetch_add(1, Ordering::Relaxed);
        }
        Err(last)
    }
}
