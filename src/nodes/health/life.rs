//! Signs of life: when a node was heard of last. A node that answers anything works, however slow it is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::placement::topology::NodeId;

/// What probes and traffic know of one node.
#[derive(Debug, Default, Clone, Copy)]
pub struct Signs {
    /// Probes that were answered since one failed.
    pub good_in_a_row: usize,
    /// Probes that failed since one was answered.
    pub bad_in_a_row: usize,
    /// When it answered anything last, a probe or a request.
    pub heard: Option<Instant>,
    /// When the probe began that is under way.
    pub probing: Option<Instant>,
    /// Since when it is known that nothing is heard of it, for longer than patience lasts.
    pub silent: bool,
    /// When a probe ended last, one way or the other.
    pub looked_at: Option<Instant>,
    /// Heavy reads under way to it. The engine may answer nothing, not even a probe, while it works on one.
    pub heavy: usize,
    /// When one was left without an answer last: the engine goes on with it.
    pub left: Option<Instant>,
}

/// What requests want to know that wait for a node; see [`super::wait_for`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prospects {
    /// A probe has ended, one way or the other.
    pub looked_at: bool,
    /// The last probe was good.
    pub good: bool,
    /// Its last repair did not bring it up.
    pub stuck: bool,
}

/// The signs of all nodes.
#[derive(Default)]
pub struct Life {
    nodes: RwLock<HashMap<NodeId, Arc<Mutex<Signs>>>>,
    /// When a node came (back) last after none had taken writes.
    revived: Mutex<Option<Instant>>,
    /// Nodes whose last repair did not bring them up: nobody waits for these.
    stuck: Mutex<HashSet<NodeId>>,
}

// === impl Signs ===

impl Signs {
    /// True when a probe has waited for longer than an answer usually takes.
    pub fn waits(&self) -> bool {
        self.probing.is_some_and(|began| began.elapsed() > Duration::from_millis(500))
    }

    /// How long the node may be silent: `usual`, or as long as a read may take while it works on a heavy one.
    ///
    /// Example: `health.patience` is 10 s, `search.timeout` 60 s. A frozen node is down after 10 s. One that was sent a filter
    /// of 2,000 conditions at second 0 and answers nothing until second 25 stays up.
    pub fn patience(&self, usual: Duration, longest_read: Duration, now: Instant) -> Duration {
        if self.is_laden(longest_read, now) { usual.max(longest_read) } else { usual }
    }

    /// True when a heavy read may still be at work on the node, whoever waits for its answer.
    pub fn is_laden(&self, longest_read: Duration, now: Instant) -> bool {
        self.heavy > 0 || self.left.is_some_and(|at| now.saturating_duration_since(at) < longest_read)
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
    /// The signs of `node` to be changed; those of a node that nobody has heard of are empty.
    pub fn of(&self, node: &NodeId) -> Arc<Mutex<Signs>> {
        if let Some(known) = self.nodes.read().get(node) {
            return Arc::clone(known);
        }
        Arc::clone(self.nodes.write().entry(node.clone()).or_default())
    }

    /// The signs of `node` as they are now.
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

    /// A heavy read goes to the node.
    pub fn heavy_begins(&self, node: &NodeId) {
        self.of(node).lock().heavy += 1;
    }

    /// One was answered.
    pub fn heavy_ends(&self, node: &NodeId) {
        let known = self.of(node);
        let mut signs = known.lock();
        signs.heavy = signs.heavy.saturating_sub(1);
    }

    /// Nobody waits for the answer to one any more.
    pub fn heavy_is_left(&self, node: &NodeId) {
        self.heavy_ends(node);
        self.of(node).lock().left = Some(Instant::now());
    }

    /// A node takes writes that did not before. It is news where `none` did, and then of each other one that comes back no
    /// later than `within` after the one before it.
    pub fn comes_back(&self, none: bool, within: Duration) {
        let mut revived = self.revived.lock();
        if none || revived.is_some_and(|at| at.elapsed() < within) {
            *revived = Some(Instant::now());
        }
    }

    /// When [`Life::comes_back`] was last news.
    pub fn revived(&self) -> Option<Instant> {
        *self.revived.lock()
    }

    /// True when the last repair of a node did not bring it up, and it is not to be expected soon.
    pub fn is_stuck(&self, node: &NodeId) -> bool {
        self.stuck.lock().contains(node)
    }

    /// A repair is over.
    pub fn repaired(&self, node: &NodeId, is_coming: bool) {
        let mut stuck = self.stuck.lock();
        if is_coming {
            stuck.remove(node);
        } else {
            stuck.insert(node.clone());
        }
    }

    /// What is to be expected of `node`.
    pub fn prospects(&self, node: &NodeId) -> Prospects {
        let (signs, stuck) = (self.signs(node), self.is_stuck(node));
        Prospects { looked_at: signs.looked_at.is_some(), good: signs.good_in_a_row > 0, stuck }
    }

    /// What another gateway expects of `node`, whose probes it is that are meant.
    pub fn expect(&self, node: &NodeId, prospects: Prospects) {
        let known = self.of(node);
        let mut signs = known.lock();
        signs.looked_at = prospects.looked_at.then(Instant::now);
        signs.good_in_a_row = usize::from(prospects.good);
        drop(signs);
        self.repaired(node, !prospects.stuck);
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
    async fn a_cluster_comes_back_until_no_other_node_does_for_a_while() {
        let (second, life) = (Duration::from_secs(1), Life::default());
        life.comes_back(false, second * 10);
        assert_eq!(life.revived(), None, "one of several was away");
        life.comes_back(true, second * 10);
        let first = life.revived();
        tokio::time::advance(second * 9).await;
        life.comes_back(false, second * 10);
        assert_eq!(life.revived(), first.map(|at| at + second * 9));
        tokio::time::advance(second * 11).await;
        life.comes_back(false, second * 10);
        assert_eq!(life.revived(), first.map(|at| at + second * 9), "that one was away by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_works_on_a_heavy_read_may_be_silent_for_as_long_as_one_may_take() {
        let (second, life, node) = (Duration::from_secs(1), Life::default(), NodeId::new("n"));
        let patience = |life: &Life| life.signs(&node).patience(second * 10, second * 60, Instant::now());
        assert_eq!(patience(&life), second * 10);
        life.heavy_begins(&node);
        life.heavy_begins(&node);
        assert_eq!(patience(&life), second * 60);
        life.heavy_ends(&node);
        assert_eq!(patience(&life), second * 60, "one is under way");
        life.heavy_ends(&node);
        assert_eq!(patience(&life), second * 10, "all were answered");
        life.heavy_begins(&node);
        life.heavy_is_left(&node);
        tokio::time::advance(second * 59).await;
        assert_eq!(patience(&life), second * 60, "the engine goes on with it");
        tokio::time::advance(second).await;
        assert_eq!(patience(&life), second * 10, "none takes longer");
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
