//! The fence: nodes know no epochs, so each leader changes them under keys of its own epoch, and the keys of older ones are gone.
//!
//! A node looks at a request's key when it has read its head, and refuses one that was deleted. So whoever takes over makes a key on each
//! node, deletes those of the epochs before, and from then on the node refuses whatever a former leader still has in some buffer. A
//! request of which the node had read the head before is let in all the same, however late its body comes: a *late arrival*. It is
//! found by its stamp, which carries the epoch, and by its place in the node's tasks: behind the *barrier*, the newest task of the node
//! when the old keys were gone.
//!
//! The key that an operator configures makes and deletes these keys, and reads. Who follows has no other one, and changes nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::placement::topology::NodeId;
use crate::settings::Secret;
use crate::store::trust::Trust;

/// What such a key is called on a node.
pub const NAME: &str = "Miroir writes";
/// How its description begins; cluster and epoch stand behind it.
const DESCRIBED: &str = "The key by which the leading gateway of Miroir changes this node, made anew by each: cluster ";
const EPOCH: &str = ", epoch ";

/// What to do about a node that takes no keys, so that a former leader's last requests cannot be kept from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfenced {
    /// It takes no part.
    Refuse,
    /// It is used without.
    Allow,
}

/// What a gateway among several may do to nodes.
pub enum Right {
    /// Change them, while its lease lasts.
    Leads(Fence),
    /// Read.
    Follows,
}

/// What an operator has given to make keys with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A key of the nodes.
    NodeKey,
    /// Nothing.
    None,
}

/// An epoch of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reign {
    pub cluster: Uuid,
    pub epoch: i64,
}

/// Asks the database at once whether the lease is still this gateway's, and trusts nothing before it has said so.
pub type Doubt = Box<dyn Fn() + Send + Sync>;

/// By what this gateway changes nodes in its epoch.
pub struct Fence {
    pub reign: Reign,
    pub trust: Trust,
    pub(super) means: Means,
    pub(super) unfenced: Unfenced,
    pub(super) doubt: Doubt,
    /// Guards who is known; each node is guarded by itself.
    nodes: Mutex<HashMap<NodeId, Arc<Post>>>,
}

/// What is known of one node.
#[derive(Default)]
pub(super) struct Post {
    /// Held while its keys are looked at and made.
    pub(super) making: tokio::sync::Mutex<()>,
    /// Guards what requests go by.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pass: Option<Pass>,
    /// The first of the node's tasks that was not looked at for late arrivals.
    next: u32,
}

/// By what a node lets changes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pass {
    /// This epoch's key.
    Key { uid: Uuid, secret: Secret },
    /// What the operator has configured, or nothing.
    Unfenced,
}

// === impl Reign ===

impl fmt::Display for Reign {
    /// As the description of a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DESCRIBED}{}{EPOCH}{}", self.cluster, self.epoch)
    }
}

impl Reign {
    /// Whose key this is, by its description; `None` for a key that is not of Miroir's making.
    pub fn of_key(description: &str) -> Option<Self> {
        let (cluster, epoch) = description.strip_prefix(DESCRIBED)?.split_once(EPOCH)?;
        Some(Self { cluster: Uuid::parse_str(cluster).ok()?, epoch: epoch.parse().ok()? })
    }
}

// === impl Fence ===

impl Fence {
    /// Of a gateway that has just come to lead. No node takes a change before [`super::client::NodeClient::fence`].
    pub fn new(reign: Reign, trust: Trust, means: Means, unfenced: Unfenced, doubt: Doubt) -> Self {
        Self { reign, trust, means, unfenced, doubt, nodes: Mutex::default() }
    }

    pub(super) fn post(&self, node: &NodeId) -> Arc<Post> {
        let mut nodes = self.nodes.lock();
        if let Some(known) = nodes.get(node) {
            return Arc::clone(known);
        }
        Arc::clone(nodes.entry(node.clone()).or_default())
    }
}

// === impl Post ===

impl Post {
    pub(super) fn pass(&self) -> Option<Pass> {
        self.state.lock().pass.clone()
    }

    /// From now on the node lets changes in by `pass`, and by nothing older. `newest` is its newest task after that. What was not
    /// looked at yet stays to be looked at, unless the node counts anew.
    pub(super) fn lets_in(&self, pass: Pass, newest: Option<u32>) {
        let after = newest.map_or(0, |newest| newest.saturating_add(1));
        let mut state = self.state.lock();
        state.next = if state.pass.is_some() { state.next.min(after) } else { after };
        state.pass = Some(pass);
    }

    /// The first task that may be a late arrival; `None` before the node was fenced.
    pub(super) fn next(&self) -> Option<u32> {
        let state = self.state.lock();
        state.pass.is_some().then_some(state.next)
    }

    /// All tasks up to `newest` were looked at, since `next` was the first that was not.
    pub(super) fn looked(&self, next: u32, newest: u32) {
        let mut state = self.state.lock();
        // Else the node has begun to count anew meanwhile.
        if state.next == next {
            state.next = newest.saturating_add(1);
        }
    }
}

impl Pass {
    pub(super) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Key { secret, .. } => Some(secret),
            Self::Unfenced => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_whose_it_is() {
        let reign = Reign { cluster: Uuid::from_u128(7), epoch: 12 };
        assert_eq!(Reign::of_key(&reign.to_string()), Some(reign));
        for other in ["", "Use it to search from the frontend", "cluster 7, epoch 12", &format!("{reign}x")] {
            assert_eq!(Reign::of_key(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_not_looked_at_stays_to_be_looked_at() {
        let post = Post::default();
        assert_eq!((post.pass(), post.next()), (None, None));
        post.lets_in(Pass::Unfenced, None);
        assert_eq!(post.next(), Some(0));
        post.looked(0, 41);
        assert_eq!(post.next(), Some(42));
        // The key was made anew, while ten tasks came.
        post.lets_in(Pass::Unfenced, Some(51));
        assert_eq!(post.next(), Some(42));
        // The disk was lost.
        post.lets_in(Pass::Unfenced, Some(2));
        assert_eq!(post.next(), Some(3));
        // Who had looked before that says nothing of what is there now.
        post.looked(42, 51);
        assert_eq!(post.next(), Some(3));
        assert_eq!(format!("{:?}", Pass::Key { uid: Uuid::nil(), secret: Secret::new("sesame") }).find("sesame"), None);
    }
}
