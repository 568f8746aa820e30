//! Lanes: one order of writes per (index, node). A lane is a chain of turns, each of which waits for the one before it;
//! a write that concerns several indexes takes its turn in several lanes at once, and so is a barrier in all of them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};

use crate::placement::topology::NodeIx;

/// All lanes. A lane is made by its first turn, and forgotten some time after its last.
///
/// A turn may be given a *parcel*: what its owner wants sent. Whoever has the turn before it may take that along. `P` is a parcel.
pub struct Lanes<P> {
    /// Guards the last turn of each lane.
    tails: Mutex<HashMap<(String, NodeIx), Tail<P>>>,
}

/// The last turn of a lane.
struct Tail<P> {
    /// Closed when that turn is over.
    over: watch::Receiver<()>,
    place: Arc<Mutex<Place<P>>>,
}

/// A place in the order of one node's lanes. Dropping it lets the next one go.
pub struct Turn<P> {
    before: Vec<watch::Receiver<()>>,
    /// Held for its drop: every later turn waits for it.
    done: Option<watch::Sender<()>>,
    place: Arc<Mutex<Place<P>>>,
}

/// What others see of a turn.
struct Place<P> {
    parcel: Option<P>,
    /// The place behind this one, if it is one in this lane alone.
    next: Option<Arc<Mutex<Place<P>>>>,
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

impl<P> Default for Lanes<P> {
    fn default() -> Self {
        Self { tails: Mutex::default() }
    }
}

impl<P> Lanes<P> {
    /// See [`Lanes::turn_under`].
    fn turn(&self, indexes: &[String], node: NodeIx) -> Turn<P> {
        let (done, over) = watch::channel(());
        let place = Arc::new(Mutex::new(Place { parcel: None, next: None }));
        let mut tails = self.tails.lock();
        if tails.len() > 1024 {
            tails.retain(|_, tail| tail.over.has_changed().is_ok());
        }
        let mut before = Vec::with_capacity(indexes.len());
        for index in indexes {
            let tail = Tail { over: over.clone(), place: Arc::clone(&place) };
            let Some(previous) = tails.insert((index.clone(), node), tail) else { continue };
            if indexes.len() == 1 {
                previous.place.lock().next = Some(Arc::clone(&place));
            }
            before.push(previous.over);
        }
        Turn { before, done: Some(done), place }
    }
}

// === impl Turn ===

impl<P> Turn<P> {
    /// Returns when every earlier turn in the same lanes is over.
    pub async fn wait(&mut self) {
        wait_all(&mut self.before).await;
    }

    /// Lets the turns before this one take `parcel` along.
    pub fn offer(&self, parcel: P) {
        self.place.lock().parcel = Some(parcel);
    }

    /// What was offered; `None` if another turn has taken it.
    pub fn take_back(&self) -> Option<P> {
        self.place.lock().parcel.take()
    }

    /// True if the turn behind this one offers a parcel that `fits`.
    pub fn is_followed(&self, fits: impl FnOnce(&P) -> bool) -> bool {
        let next = self.place.lock().next.clone();
        next.is_some_and(|next| next.lock().parcel.as_ref().is_some_and(fits))
    }

    /// Takes the parcels of the turns behind this one, up to the first that offers none or one that does not fit: nobody is
    /// overtaken.
    pub fn take_following(&self, mut fits: impl FnMut(&P) -> bool) -> Vec<P> {
        let mut taken = Vec::new();
        let mut next = self.place.lock().next.clone();
        while let Some(place) = next {
            let mut held = place.lock();
            match held.parcel.take() {
                Some(parcel) if fits(&parcel) => taken.push(parcel),
                other => {
                    held.parcel = other;
                    break;
                }
            }
            next = held.next.clone();
        }
        taken
    }
}

impl<P> Drop for Turn<P> {
    /// A turn given up before it came must not let later ones overtake those before it.
    fn drop(&mut self) {
        {
            let mut place = self.place.lock();
            // Nobody is to send what nobody waits for any more.
            place.parcel = None;
            // What lies behind is held by its own turns; many places must not go one within the other.
            place.next = None;
        }
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

impl<P> Lanes<P> {
    /// Takes the next turn in the lanes of `indexes` on `node`. All turns of one write are taken under one lock, `taking`, or two
    /// nodes might see two orders.
    pub fn turn_under(&self, _taking: &MutexGuard<'_, ()>, indexes: &[String], node: NodeIx) -> Turn<P> {
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
        let lanes = Arc::new(Lanes::<()>::default());
        let order = Arc::new(Mutex::new(()));
        let seen: Arc<Vec<Mutex<Vec<usize>>>> = Arc::new((0..3).map(|_| Mutex::default()).collect());
        let expected = Arc::new(Mutex::new(Vec::new()));
        let mut writers = Vec::new();
        for write in 0..200 {
            let (lanes, order, seen, expected) =
                (Arc::clone(&lanes), Arc::clone(&order), Arc::clone(&seen), Arc::clone(&expected));
            writers.push(tokio::spawn(async move {
                let turns: Vec<Turn<()>> = {
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
        let lanes = Lanes::<()>::default();
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
        let lanes = Lanes::<()>::default();
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
    async fn a_turn_takes_along_what_follows_without_a_gap() {
        let lanes = Lanes::<u32>::default();
        let mut turns: Vec<Turn<u32>> = (0..6).map(|_| lanes.turn(&names(&["a"]), NodeIx(0))).collect();
        for (turn, parcel) in [(1, 10), (2, 20), (4, 40), (5, 50)] {
            turns[turn].offer(parcel);
        }
        assert!(turns[0].is_followed(|parcel| *parcel == 10) && !turns[2].is_followed(|_| true));
        assert_eq!(turns[0].take_following(|parcel| *parcel < 20), [10]);
        assert_eq!((turns[1].take_back(), turns[2].take_back()), (None, Some(20)));
        assert_eq!(turns[0].take_following(|_| true), Vec::<u32>::new(), "nobody is overtaken");
        assert_eq!(turns[3].take_following(|_| true), [40, 50]);
        // Who was given up is not sent, and nobody behind is sent before those that come first.
        turns[4].offer(41);
        turns[5].offer(51);
        drop(turns.remove(4));
        assert_eq!(turns[3].take_following(|_| true), Vec::<u32>::new());
        assert_eq!(turns[4].take_back(), Some(51));
    }

    #[tokio::test]
    async fn nothing_is_taken_along_past_a_write_of_two_indexes() {
        let lanes = Lanes::<u32>::default();
        let first = lanes.turn(&names(&["a"]), NodeIx(0));
        let swap = lanes.turn(&names(&["a", "b"]), NodeIx(0));
        let behind: Vec<Turn<u32>> = ["a", "b"].iter().map(|index| lanes.turn(&names(&[index]), NodeIx(0))).collect();
        let elsewhere = lanes.turn(&names(&["a"]), NodeIx(1));
        for turn in behind.iter().chain([&elsewhere]) {
            turn.offer(1);
        }
        assert!(first.take_following(|_| true).is_empty());
        assert!(swap.take_back().is_none());
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
