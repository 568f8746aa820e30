//! Ids of requests whose clients name none.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::{Builder, Uuid};
use xxhash_rust::xxh3::xxh3_128;

thread_local! {
    /// Random, and how many ids were made of it.
    static SEED: Cell<(Uuid, u64)> = Cell::new((Uuid::new_v4(), 0));
}

/// A uuid of version 7. It tells requests apart and is no secret: only the first of each thread asks the kernel for random bytes.
pub(super) fn new() -> String {
    let (seed, count) = SEED.get();
    SEED.set((seed, count.wrapping_add(1)));
    let mut from = [0; 24];
    from[..16].copy_from_slice(seed.as_bytes());
    from[16..].copy_from_slice(&count.to_le_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&xxh3_128(&from).to_le_bytes()[..10]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_on_one_thread_and_on_several_and_tell_the_time() {
        let make = || (0..5000).map(|_| new()).collect::<Vec<_>>();
        let other = std::thread::spawn(make);
        let mut all: HashSet<String> = make().into_iter().collect();
        all.extend(other.join().unwrap());
        assert_eq!(all.len(), 10_000);
        let now = Uuid::now_v7().get_timestamp().unwrap().to_unix().0;
        for id in all {
            let id = Uuid::parse_str(&id).unwrap();
            assert_eq!(id.get_version_num(), 7);
            assert!(now.abs_diff(id.get_timestamp().unwrap().to_unix().0) < 60);
        }
    }
}
