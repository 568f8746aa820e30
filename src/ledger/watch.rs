//! Which documents the writes of an index touch while it is being copied.
//!
//! A write is pending from its place in the order until every node has taken it or been given up, and only then counts as
//! touched: who takes the touched keys, waits for the nodes' queues and reads, reads what those writes have left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::touched::Touched;

/// The narrowest window of a watch: writes go on.
const NARROWEST: usize = 8;

/// All watches, and the writes under way.
#[derive(Default)]
pub struct Watchers {
    state: Mutex<State>,
    /// A write is over.
    over: Notify,
}

#[derive(Default)]
struct State {
    next: u64,
    /// The writes under way and the indexes they concern.
    flights: BTreeMap<u32, Vec<String>>,
    watches: BTreeMap<u64, Entry>,
}

#[derive(Default)]
struct Entry {
    index: String,
    /// The writes that were under way when the watch began: what they touch is not known.
    before: BTreeSet<u32>,
    pending: BTreeMap<u32, Touched>,
    touched: Touched,
    /// How many tasks of the index may be open before its writes wait.
    window: Option<usize>,
}

/// A write under way. Dropping it ends it.
pub struct Flight {
    watchers: Arc<Watchers>,
    uid: u32,
}

/// A watch of one index. Dropping it ends it.
pub struct Watch {
    watchers: Arc<Watchers>,
    id: u64,
}

// === impl Watchers ===

impl Watchers {
    /// True when somebody wants to know which documents the writes of `index` touch.
    pub fn is_watched(&self, index: &str) -> bool {
        self.state.lock().watches.values().any(|watch| watch.index == index)
    }

    /// How many tasks of one of `indexes` may be open before its writes wait; `None` where nobody minds.
    pub fn window(&self, indexes: &[String]) -> Option<usize> {
        let state = self.state.lock();
        state.watches.values().filter(|watch| indexes.contains(&watch.index)).filter_map(|watch| watch.window).min()
    }

    /// A write takes its place. `keys` are all the documents that it can touch; `None` when it cannot say.
    pub fn place(self: &Arc<Self>, uid: u32, indexes: &[String], keys: Option<&[String]>) -> Flight {
        let mut state = self.state.lock();
        state.flights.insert(uid, indexes.to_vec());
        for watch in state.watches.values_mut().filter(|watch| indexes.contains(&watch.index)) {
            watch.pending.insert(uid, Touched::by(keys));
        }
        Flight { watchers: Arc::clone(self), uid }
    }

    /// Begins to watch `index`.
    pub fn begin(self: &Arc<Self>, index: &str) -> Watch {
        let mut state = self.state.lock();
        let flights = state.flights.iter().filter(|(_, indexes)| indexes.iter().any(|name| name == index));
        let before = flights.map(|(uid, _)| *uid).collect();
        let id = state.next;
        state.next += 1;
        state.watches.insert(id, Entry { index: index.to_owned(), before, ..Entry::default() });
        Watch { watchers: Arc::clone(self), id }
    }

    fn end(&self, uid: u32) {
        let mut state = self.state.lock();
        state.flights.remove(&uid);
        for watch in state.watches.values_mut() {
            watch.before.remove(&uid);
            if let Some(touched) = watch.pending.remove(&uid) {
                watch.touched.join(touched);
            }
        }
        drop(state);
        self.over.notify_waiters();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.watchers.end(self.uid);
    }
}

// === impl Watch ===

impl Watch {
    /// Returns when no write is under way any more that began before the watch.
    pub async fn complete(&self) {
        loop {
            let over = self.watchers.over.notified();
            if self.with(|entry| entry.before.is_empty()) {
                return;
            }
            over.await;
        }
    }

    /// Nodes are too far behind, with `open` tasks of the index: half as many may be open from here on, and its writes wait for that.
    /// Returns how many that are.
    pub fn narrow(&self, open: usize) -> usize {
        self.with(|entry| {
            let window = (entry.window.unwrap_or(open).min(open) / 2).max(NARROWEST);
            entry.window = Some(window);
            window
        })
    }

    /// What was touched since the last call, by writes that are over.
    pub fn take(&self) -> Touched {
        self.with(|entry| std::mem::take(&mut entry.touched))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Entry) -> T) -> T {
        let mut state = self.watchers.state.lock();
        look(state.watches.get_mut(&self.id).expect("a watch is there until it is dropped"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchers.state.lock().watches.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn keys(list: &[&str]) -> Touched {
        Touched::by(Some(&names(list)))
    }

    #[test]
    fn a_write_counts_as_touching_once_it_is_over() {
        let watchers = Arc::new(Watchers::default());
        let watch = watchers.begin("a");
        let write = watchers.place(1, &names(&["a"]), Some(&names(&["x"])));
        let other = watchers.place(2, &names(&["b"]), None);
        assert_eq!(watch.take(), Touched::default());
        drop((write, other));
        assert_eq!(watch.take(), keys(&["x"]));
        assert_eq!(watch.take(), Touched::default());
        drop(watchers.place(3, &names(&["b", "a"]), None));
        assert_eq!(watch.take(), Touched::Everything);
    }

    #[tokio::test]
    async fn a_watch_is_complete_when_the_writes_before_it_are_over() {
        let watchers = Arc::new(Watchers::default());
        let before = watchers.place(1, &names(&["a"]), Some(&names(&["x"])));
        let watch = watchers.begin("a");
        let _after = watchers.place(2, &names(&["a"]), Some(&names(&["y"])));
        assert!(futures::poll!(std::pin::pin!(watch.complete())).is_pending());
        drop(before);
        watch.complete().await;
        assert_eq!(watch.take(), Touched::default());
    }

    #[test]
    fn a_window_narrows_until_the_watch_ends() {
        let watchers = Arc::new(Watchers::default());
        let (watch, other) = (watchers.begin("a"), watchers.begin("a"));
        assert_eq!(watchers.window(&names(&["a"])), None);
        assert_eq!((watch.narrow(100), watch.narrow(70), watch.narrow(20), watch.narrow(20)), (50, 25, 10, 8));
        assert_eq!(other.narrow(400), 200);
        assert_eq!((watchers.window(&names(&["b", "a"])), watchers.window(&names(&["b"]))), (Some(8), None));
        drop(watch);
        assert_eq!(watchers.window(&names(&["a"])), Some(200));
    }

    #[test]
    fn an_index_is_watched_until_the_last_watch_ends() {
        let watchers = Arc::new(Watchers::default());
        let (first, second) = (watchers.begin("a"), watchers.begin("a"));
        drop(first);
        assert!(watchers.is_watched("a") && !watchers.is_watched("b"));
        drop(second);
        assert!(!watchers.is_watched("a"));
    }
}
