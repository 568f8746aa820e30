//! How many writes of one index may be under way at once. Each holds a spool and a place in the lanes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The writes under way, by index.
#[derive(Default)]
pub struct WaitingWrites {
    counts: Arc<Mutex<HashMap<String, usize>>>,
}

/// One write of some indexes, until it is dropped.
pub struct Waiting {
    counts: Arc<Mutex<HashMap<String, usize>>>,
    indexes: Vec<String>,
}

// === impl WaitingWrites ===

impl WaitingWrites {
    /// Counts a write of `indexes`; the name of an index that has `most` already is the error.
    pub fn enter(&self, indexes: &[String], most: usize) -> Result<Waiting, String> {
        let mut counts = self.counts.lock();
        let full = |index: &&String| counts.get(*index).is_some_and(|count| *count >= most);
        if let Some(index) = indexes.iter().find(full) {
            return Err(index.clone());
        }
        for index in indexes {
            *counts.entry(index.clone()).or_default() += 1;
        }
        Ok(Waiting { counts: Arc::clone(&self.counts), indexes: indexes.to_vec() })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        for index in &self.indexes {
            if let Some(count) = counts.get_mut(index) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_with_enough_writes_under_way_takes_no_more_and_others_do() {
        let writes = WaitingWrites::default();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let first = writes.enter(&names(&["a"]), 2).unwrap();
        let _swap = writes.enter(&names(&["a", "b"]), 2).unwrap();
        assert_eq!(writes.enter(&names(&["b", "a"]), 2).err(), Some("a".to_owned()));
        let _other = writes.enter(&names(&["b"]), 2).unwrap();
        drop(first);
        drop(writes.enter(&names(&["a"]), 2).unwrap());
        assert_eq!(writes.counts.lock().len(), 2);
    }
}
