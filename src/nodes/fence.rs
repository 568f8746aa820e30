//! The fence: nodes know no epochs, so each leader changes them under keys of its own epoch, and the keys of older ones are gone.
//!
//! A node looks at a request's key when it has read its head, and refuses one that was deleted. So whoever takes over makes a key on each
//! node, deletes those of the epochs before, and from then on the node refuses whatever a former leader still has in some buffer. A
//! request of which the node had read the head before is let in all the same, however late its body comes: a *late arrival*. It is
//! found by its stamp, which carries the epoch, and by its place in the node's tasks: behind the *barrier*, the newest task of the node
//! when the old keys were gone.
//!
//! A leader may end before it has looked, and what was let in under the one before it may come while nobody leads. So how far a node's tasks
//! were looked at is kept in the state, with the epoch whose key the node took then; a node takes part under a new leader once that has
//! looked at what came since, and this is noted for the next one.
//!
//! ```text
//! epoch 7 freezes while it sends a body to node-1; epoch 8 fences it (task 40), writes task 41, dies; the body ends there as task 42
//! state: node-1 { epoch 8, next 41 }      epoch 9: the node's newest task is 42; of 41 and 42 the second is not epoch 8's: it came late
//! ```
//!
//! The key that an operator configures makes and deletes these keys, and reads. Who follows has no other one, and changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::placement::topology::NodeId;
use crate::settings::Secret;
use crate::store::trust::Trust;
use crate::store::{Store, StoreError};

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

/// How far a node's tasks were looked at for late arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// Of whoever looked. Its key was the only one by which the node took changes.
    pub epoch: i64,
    /// The first task that was not looked at.
    pub next: u32,
}

/// By what this gateway changes nodes in its epoch.
pub struct Fence {
    pub reign: Reign,
    pub trust: Trust,
    pub(super) means: Means,
    pub(super) unfenced: Unfenced,
    pub(super) doubt: Doubt,
    /// What the state says of each node. Held while it is changed.
    kept: tokio::sync::Mutex<BTreeMap<NodeId, Looked>>,
    /// What it said when this gateway came to lead.
    before: BTreeMap<NodeId, Looked>,
    /// Guards who is known; each node is guarded by itself.
    nodes: Mutex<HashMap<NodeId, Arc<Post>>>,
}

/// What is known of one node.
#[derive(Default)]
pub(crate) struct Post {
    /// Held while its keys are looked at and made.
    pub(super) making: tokio::sync::Mutex<()>,
    /// How far leaders before this one have looked.
    former: Option<Looked>,
    /// Guards what requests go by.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pass: Option<Pass>,
    /// The first task behind the barrier.
    behind: u32,
    /// The first of the node's tasks that was not looked at for late arrivals.
    next: u32,
}

/// By what a node lets changes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pass {
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

/// The fact of the state that says how far each node was looked at.
const KEPT: &str = "late_arrivals_looked";
/// So many tasks are looked at twice at most where a leader dies, and so many lie on the way of the next one: a page of them. Each time so many
/// came, the state says that they were looked at.
const KEPT_EVERY: u32 = 200;

/// How far each node's tasks were looked at by leaders before.
///
/// # Errors
///
/// When the state cannot be read.
pub async fn looked_before(store: &dyn Store) -> Result<BTreeMap<NodeId, Looked>, StoreError> {
    let corrupt = |source| StoreError::Corrupt { what: "marks of late arrivals", source };
    match store.get_meta(KEPT).await? {
        Some(text) => serde_json::from_str(&text).map_err(corrupt),
        None => Ok(BTreeMap::new()),
    }
}

impl Fence {
    /// Of a gateway that has just come to lead. No node takes a change before [`super::client::NodeClient::fence`]. `before`: see
    /// [`looked_before`].
    pub fn new(
        reign: Reign,
        trust: Trust,
        (means, unfenced): (Means, Unfenced),
        before: BTreeMap<NodeId, Looked>,
        doubt: Doubt,
    ) -> Self {
        let kept = tokio::sync::Mutex::new(before.clone());
        Self { reign, trust, means, unfenced, doubt, kept, before, nodes: Mutex::default() }
    }

    pub(super) fn post(&self, node: &NodeId) -> Arc<Post> {
        let mut nodes = self.nodes.lock();
        if let Some(known) = nodes.get(node) {
            return Arc::clone(known);
        }
        let post = Arc::new(Post::after(self.before.get(node).copied()));
        nodes.insert(node.clone(), Arc::clone(&post));
        post
    }

    /// Keeps in the state how far `node` was looked at, where that says much more than the state does.
    pub(super) async fn keep(&self, node: &NodeId, store: &dyn Store) -> Result<(), StoreError> {
        let Some(next) = self.post(node).next() else { return Ok(()) };
        let looked = Looked { epoch: self.reign.epoch, next };
        let mut kept = self.kept.lock().await;
        if kept.get(node).is_some_and(|known| looked.says_little_more_than(*known)) {
            return Ok(());
        }
        let mut all = kept.clone();
        all.insert(node.clone(), looked);
        let corrupt = |source| StoreError::Corrupt { what: "marks of late arrivals", source };
        store.put_meta(KEPT, serde_json::to_string(&all).map_err(corrupt)?).await?;
        *kept = all;
        Ok(())
    }
}

// === impl Looked ===

impl Looked {
    /// A node that counts anew has fewer tasks than before.
    fn says_little_more_than(self, known: Self) -> bool {
        self.epoch == known.epoch && (known.next..known.next.saturating_add(KEPT_EVERY)).contains(&self.next)
    }
}

// === impl Post ===

impl Post {
    /// Of a node that leaders before this one have looked at so far; `None` where none is known to have looked.
    pub(crate) fn after(former: Option<Looked>) -> Self {
        Self { former, ..Self::default() }
    }

    pub(super) fn pass(&self) -> Option<Pass> {
        self.state.lock().pass.clone()
    }

    /// From now on the node lets changes in by `pass`, and by nothing older. `newest` is its newest task after that. What was not
    /// looked at yet stays to be looked at, unless the node counts anew.
    pub(crate) fn lets_in(&self, pass: Pass, newest: Option<u32>) {
        let after = newest.map_or(0, |newest| newest.saturating_add(1));
        let mut state = self.state.lock();
        if state.pass.is_some() {
            (state.next, state.behind) = (state.next.min(after), state.behind.min(after));
        } else {
            state.behind = after;
            state.next = self.former.map_or(after, |former| former.next.min(after));
        }
        state.pass = Some(pass);
    }

    /// The first task that may be a late arrival; `None` before the node was fenced.
    pub(crate) fn next(&self) -> Option<u32> {
        let state = self.state.lock();
        state.pass.is_some().then_some(state.next)
    }

    /// By whose key the node let changes in when it took this task, while `epoch` leads: what was given in another epoch came late.
    pub(crate) fn led(&self, task: u32, epoch: i64) -> i64 {
        let is_behind = task >= self.state.lock().behind;
        self.former.filter(|_| !is_behind).map_or(epoch, |former| former.epoch)
    }

    /// All tasks up to `newest` were looked at, since `next` was the first that was not.
    pub(crate) fn looked(&self, next: u32, newest: u32) {
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

    #[test]
    fn what_came_while_nobody_led_is_looked_at_by_the_next_leader() {
        let post = Post::after(Some(Looked { epoch: 8, next: 41 }));
        post.lets_in(Pass::Unfenced, Some(42));
        assert_eq!(post.next(), Some(41));
        // Until the barrier of epoch 9 the node took changes of epoch 8, and behind it of 9.
        assert_eq!([40, 41, 42, 43, 90].map(|task| post.led(task, 9)), [8, 8, 8, 9, 9]);
        post.looked(41, 42);
        post.lets_in(Pass::Unfenced, Some(50));
        assert_eq!((post.next(), post.led(44, 9)), (Some(43), 9));
        // One that has lost its disk counts anew.
        let post = Post::after(Some(Looked { epoch: 8, next: 41 }));
        post.lets_in(Pass::Unfenced, Some(3));
        assert_eq!((post.next(), post.led(3, 9), post.led(4, 9)), (Some(4), 8, 9));
    }

    #[test]
    fn the_state_is_told_where_it_knows_much_less() {
        let known = Looked { epoch: 8, next: 41 };
        for (epoch, next, is_told) in [(8, 41, false), (8, 240, false), (8, 241, true), (8, 40, true), (9, 41, true)] {
            assert_eq!(!Looked { epoch, next }.says_little_more_than(known), is_told, "{epoch} {next}");
        }
    }
}
