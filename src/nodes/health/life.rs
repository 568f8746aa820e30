//! Signs of life: when a node was heard of last. A node that answers anything works, however slow it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::placement::topology::NodeId;

/// What probes and traffic know of one node.
#[derive(Debug, Default, Clone, Copy)]
pub struct Signs {
    pub good_in_a_row: usize,
    pub bad_in_a_row: usize,
    /// When it answered anything last, a probe or a request.
    pub heard: Option<Instant>,
    /// When the probe began that is under way.
    pub probing: Option<Instant>,
    /// Since when it is known that nothing is heard of it, for longer than patience lasts.
    pub silent: bool,
    /// When a probe ended last, one way or the other.
    pub looked_at: Option<Instant>,
    /// When a heavy read was sent to it or ended last. The engine may answer nothing, not even a probe, while it works on one.
    pub laden: Option<Instant>,
}

/// The signs of all nodes.
#[derive(Default)]
pub struct Life {
    nodes: RwLock<HashMap<NodeId, Arc<Mutex<Signs>>>>,
    /// When the first node came (back) after none had taken writes.
    revived: Mutex<Option<Instant>>,
}

// === impl Signs ===

impl Signs {
    /// True when a probe has waited for longer than an answer usually takes.
    pub fn waits(&self) -> bool {
        self.probing.is_some_and(|began| began.elapsed() > Duration::from_millis(500))
    }

    /// How long the node may be silent: `usual`, or as long as a search may take after it was given a heavy one.
    ///
    /// Example: `health.patience` is 10 s, `search.timeout` 60 s. A frozen node is down after 10 s. One that was sent a filter
    /// of 2,000 conditions at second 0 and answers nothing until second 25 stays up.
    pub fn patience(&self, usual: Duration, longest_search: Duration, now: Instant) -> Duration {
        if self.is_laden(longest_search, now) { usual.max(longest_search) } else { usual }
    }

    /// True when a heavy read may still be at work on the node, whoever waits for its answer.
    pub fn is_laden(&self, longest_search: Duration, now: Instant) -> bool {
        self.laden.is_some_and(|at| now.saturating_duration_since(at) < longest_search)
    }

    /// True when the node has answered nothing since `since`, and a probe that began after it waits for longer than `patience`.
    pub fn is_mute(&self, since: Instant, now: Instant, patience: Duration) -> bool {
        let heard = self.heard.is_some_and(|heard| heard >= since);
        let asked_in_vain = self.probing.is_some_and(|began| now.saturating_duration_since(began) >= patience);
        !heard && asked_in_vain
    }
}

// === impl Life ===

impl Life {
    pub fn of(&self, node: &NodeId) -> Arc<Mutex<Signs>> {
        if let Some(known) = self.nodes.read().get(node) {
            return Arc::clone(known);
        }
        Arc::clone(self.nodes.write().entry(node.clone()).or_default())
    }

    pub fn signs(&self, node: &NodeId) -> Signs {
        *self.of(node).lock()
    }

    /// The node has answered something.
    pub fn heard(&self, node: &NodeId) {
        let known = self.of(node);
        let mut signs = known.lock();
        signs.heard = Some(Instant::now());
        signs.silent = false;
    }

    /// A heavy read goes to the node, or ends there.
    pub fn laden(&self, node: &NodeId) {
        self.of(node).lock().laden = Some(Instant::now());
    }

    /// A node takes writes, and none did before.
    pub fn revives(&self) {
        *self.revived.lock() = Some(Instant::now());
    }

    pub fn revived(&self) -> Option<Instant> {
        *self.revived.lock()
    }

    /// A node that was marked down must show its good probes from here on.
    pub fn reset(&self, node: &NodeId) {
        self.of(node).lock().good_in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_given_a_heavy_read_may_be_silent_for_as_long_as_a_search_may_take() {
        let (second, life, node) = (Duration::from_secs(1), Life::default(), NodeId::new("n"));
        let patience = |life: &Life| life.signs(&node).patience(second * 10, second * 60, Instant::now());
        assert_eq!(patience(&life), second * 10);
        life.laden(&node);
        tokio::time::advance(second * 59).await;
        assert_eq!(patience(&life), second * 60);
        tokio::time::advance(second).await;
        assert_eq!(patience(&life), second * 10, "no search takes longer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_mute_when_neither_traffic_nor_a_probe_hears_of_it() {
        let second = Duration::from_secs(1);
        let asked = Instant::now();
        let signs = Signs { heard: Some(asked), probing: Some(asked + second), ..Signs::default() };
        assert!(!signs.is_mute(asked, asked + second * 9, second), "it has answered since");
        let later = asked + second;
        assert!(!signs.is_mute(later, later + second / 2, second), "the probe has not waited long");
        assert!(signs.is_mute(later, later + second, second));
        let unprobed = Signs { probing: None, ..signs };
        assert!(!unprobed.is_mute(later, later + second * 9, second), "nobody has asked");
    }
}
