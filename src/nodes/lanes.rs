//! Lanes: one order of writes per (index, node). A lane is a chain of turns, each of which waits for the one before it;
//! a write that concerns several indexes takes its turn in several lanes at once, and so is a barrier in all of them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};

use crate::placement::topology::NodeIx;

/// All lanes. A lane is made by its first turn, and forgotten some time after its last.
#[derive(Default)]
pub struct Lanes {
    /// Guards the last turn of each lane: closed when that turn is over.
    tails: Mutex<HashMap<(String, NodeIx), watch::Receiver<()>>>,
}

/// A place in the order of one node's lanes. Dropping it lets the next one go.
pub struct Turn {
    before: Vec<watch::Receiver<()>>,
    /// Held for its drop: every later turn waits for it.
    done: Option<watch::Sender<()>>,
}

/// The gates before the lanes, one per index: writes pass through, and who must have an index to himself (repair,
/// resilver) closes it, waits for the writes that are under way, and holds back those that come.
#[derive(Default)]
pub struct Gates {
    gates: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

/// The right to write to some indexes.
pub struct Pass {
    _guards: Vec<OwnedRwLockReadGuard<()>>,
}

/// An index closed to writes, until this is dropped.
pub struct Hold {
    _guard: OwnedRwLockWriteGuard<()>,
}

// === impl Lanes ===

impl Lanes {
    /// See [`Lanes::turn_under`].
    fn turn(&self, indexes: &[String], node: NodeIx) -> Turn {
        let (done, tail) = watch::channel(());
        let mut tails = self.tails.lock();
        if tails.len() > 1024 {
            tails.retain(|_, tail| tail.has_changed().is_ok());
        }
        let mut before = Vec::with_capacity(indexes.len());
        for index in indexes {
            if let Some(previous) = tails.insert((index.clone(), node), tail.clone()) {
                before.push(previous);
            }
        }
        Turn { before, done: Some(done) }
    }
}

// === impl Turn ===

impl Turn {
    /// Returns when every earlier turn in the same lanes is over.
    pub async fn wait(&mut self) {
        wait_all(&mut self.before).await;
    }
}

impl Drop for Turn {
    /// A turn given up before it came must not let later ones overtake those before it.
    fn drop(&mut self) {
        if self.before.is_empty() {
            return;
        }
        let (mut before, done) = (std::mem::take(&mut self.before), self.done.take());
        // Without a runtime nothing waits in any lane.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                wait_all(&mut before).await;
                drop(done);
            });
        }
    }
}

async fn wait_all(before: &mut Vec<watch::Receiver<()>>) {
    while let Some(previous) = before.last_mut() {
        // Nothing is ever sent: the only news is that the earlier turn was dropped.
        while previous.changed().await.is_ok() {}
        before.pop();
    }
}

impl Lanes {
    /// Takes the next turn in the lanes of `indexes` on `node`. All turns of one write are taken under one lock, `taking`, or two
    /// nodes might see two orders.
    pub fn turn_under(&self, _taking: &MutexGuard<'_, ()>, indexes: &[String], node: NodeIx) -> Turn {
        self.turn(indexes, node)
    }
}

// === impl Gates ===

impl Gates {
    /// Waits until none of `indexes` is held. Taken in one order by all, so two writes cannot wait for each other.
    pub async fn pass(&self, indexes: &[String]) -> Pass {
        let mut names: Vec<&String> = indexes.iter().collect();
        names.sort();
        names.dedup();
        let mut guards = Vec::with_capacity(names.len());
        for name in names {
            guards.push(self.gate(name).read_owned().await);
        }
        Pass { _guards: guards }
    }

    /// Waits until no write to `index` is under way, and lets none begin before the hold is dropped.
    pub async fn hold(&self, index: &str) -> Hold {
        Hold { _guard: self.gate(index).write_owned().await }
    }

    fn gate(&self, index: &str) -> Arc<RwLock<()>> {
        Arc::clone(self.gates.lock().entry(index.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_node_sees_the_order_in_which_turns_were_taken() {
        let lanes = Arc::new(Lanes::default());
        let order = Arc::new(Mutex::new(()));
        let seen: Arc<Vec<Mutex<Vec<usize>>>> = Arc::new((0..3).map(|_| Mutex::default()).collect());
        let expected = Arc::new(Mutex::new(Vec::new()));
        let mut writers = Vec::new();
        for write in 0..200 {
            let (lanes, order, seen, expected) =
                (Arc::clone(&lanes), Arc::clone(&order), Arc::clone(&seen), Arc::clone(&expected));
            writers.push(tokio::spawn(async move {
                let turns: Vec<Turn> = {
                    let _order = order.lock();
                    expected.lock().push(write);
                    (0..3).map(|node| lanes.turn(&names(&["a"]), NodeIx(node))).collect()
                };
                let runs = turns.into_iter().enumerate().map(|(node, mut turn)| {
                    let seen = Arc::clone(&seen);
                    async move {
                        turn.wait().await;
                        tokio::task::yield_now().await;
                        seen[node].lock().push(write);
                    }
                });
                futures::future::join_all(runs).await;
            }));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        for node in 0..3 {
            assert_eq!(*seen[node].lock(), *expected.lock());
        }
    }

    #[tokio::test]
    async fn a_write_of_two_indexes_is_a_barrier_in_both_lanes() {
        let lanes = Lanes::default();
        let first = lanes.turn(&names(&["a"]), NodeIx(0));
        let mut swap = lanes.turn(&names(&["a", "b"]), NodeIx(0));
        let mut after = lanes.turn(&names(&["b"]), NodeIx(0));
        let mut elsewhere = lanes.turn(&names(&["b"]), NodeIx(1));
        elsewhere.wait().await;
        assert!(futures::poll!(std::pin::pin!(swap.wait())).is_pending());
        assert!(futures::poll!(std::pin::pin!(after.wait())).is_pending());
        drop(first);
        drop(swap);
        after.wait().await;
    }

    #[tokio::test]
    async fn a_turn_given_up_lets_nobody_overtake() {
        let lanes = Lanes::default();
        let first = lanes.turn(&names(&["a"]), NodeIx(0));
        let abandoned = lanes.turn(&names(&["a"]), NodeIx(0));
        let mut next = lanes.turn(&names(&["a"]), NodeIx(0));
        drop(abandoned);
        tokio::task::yield_now().await;
        assert!(futures::poll!(std::pin::pin!(next.wait())).is_pending());
        drop(first);
        next.wait().await;
    }

    #[tokio::test]
    async fn a_held_index_takes_no_write_until_it_is_let_go() {
        let gates = Arc::new(Gates::default());
        let pass = gates.pass(&names(&["a", "a"])).await;
        let held = Arc::new(AtomicBool::new(false));
        let holder = tokio::spawn({
            let (gates, held) = (Arc::clone(&gates), Arc::clone(&held));
            async move {
                let hold = gates.hold("a").await;
                held.store(true, Ordering::SeqCst);
                hold
            }
        });
        tokio::task::yield_now().await;
        assert!(!held.load(Ordering::SeqCst));
        drop(gates.pass(&names(&["b"])).await);
        drop(pass);
        let hold = holder.await.unwrap();
        let a = names(&["a"]);
        assert!(futures::poll!(std::pin::pin!(gates.pass(&a))).is_pending());
        drop(hold);
        drop(gates.pass(&a).await);
    }
}
