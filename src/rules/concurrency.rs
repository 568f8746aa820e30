//! How much may be under way at once: a request takes a place for each search that a rule counts, and gives it back when it is over.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::subject::Subject;
use super::term::Term;
use crate::placement::stable_hash::hash_bytes;
use crate::settings::Section;

/// `concurrent: { by: key.uid, most: 10 }`.
#[derive(Debug, Clone)]
pub struct Concurrency {
    by: Term,
    pub most: u32,
    /// What is too much is only counted.
    pub shadow: bool,
    name: String,
}

/// What is under way, for all rules of a process. Who has nothing under way takes no memory.
#[derive(Debug, Clone, Default)]
pub struct UnderWay(Arc<Mutex<HashMap<u64, u32>>>);

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    key: u64,
    of: UnderWay,
}

// === impl Concurrency ===

impl Concurrency {
    /// Takes the key `concurrent` of the rule `name`.
    pub fn read(section: &mut Section, name: &str) -> Option<Self> {
        let expected = "`{ by: key.uid, most: 10, shadow: false }`: from 1 to 1000000 at once";
        let known = ["by", "most", "shadow"];
        let (by, most, shadow) = section.parsed("concurrent", None, expected, |value| {
            let given = value.as_object().filter(|given| given.keys().all(|key| known.contains(&key.as_str())))?;
            let most = u32::try_from(given.get("most")?.as_u64()?).ok();
            let shadow = given.get("shadow").map_or(Some(false), serde_json::Value::as_bool)?;
            let most = most.filter(|most| (1..=1_000_000).contains(most))?;
            Some(Some((given.get("by")?.as_str()?.to_owned(), most, shadow)))
        })?;
        match Term::parse(&by) {
            Ok(by) => Some(Self { by, most, shadow, name: name.to_owned() }),
            Err(message) => {
                section.problem("concurrent", message);
                None
            }
        }
    }

    /// A place for one request, `None` where all are taken. Those without the value by which is counted are counted together.
    pub fn take(&self, subject: &Subject<'_>, under_way: &UnderWay) -> Option<Place> {
        let by = self.by.value(subject).map(|value| value.to_string()).unwrap_or_default();
        let key = hash_bytes(format!("{}\n{by}", self.name).as_bytes());
        let mut all = under_way.0.lock();
        let own = all.entry(key).or_default();
        if *own >= self.most {
            return None;
        }
        *own += 1;
        Some(Place { key, of: under_way.clone() })
    }
}

// === impl Place ===

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.of.0.lock();
        if let Some(own) = all.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::subject::tests::caller;
    use crate::settings::Report;

    fn concurrency(value: serde_json::Value) -> Option<Concurrency> {
        let report = Report::default();
        let read = Concurrency::read(&mut Section::new("r", json!({"concurrent": value}), &report), "r");
        assert_eq!(read.is_none(), !report.into_parts().0.is_empty());
        read
    }

    #[test]
    fn so_many_are_under_way_at_once_for_each_caller() {
        let rule = concurrency(json!({"by": "client.ip", "most": 2})).unwrap();
        let under_way = UnderWay::default();
        let (one, other) = (caller(json!({}), "10.0.0.1", &[]), caller(json!({}), "10.0.0.2", &[]));
        let take = |caller| rule.take(&Subject::of(caller, "search", None), &under_way);
        let (first, second) = (take(&one), take(&one));
        assert!(first.is_some() && second.is_some() && take(&one).is_none());
        assert!(take(&other).is_some());
        drop(first);
        let third = take(&one);
        assert!(third.is_some() && take(&one).is_none());
        drop((second, third));
        assert!(under_way.0.lock().is_empty(), "who has nothing under way is forgotten");
    }

    #[test]
    fn what_is_no_bound_is_a_problem() {
        for value in [
            json!({"most": 1}),
            json!({"by": "client.ip"}),
            json!({"by": "client.ip", "most": 0}),
            json!({"by": "client", "most": 1}),
            json!({"by": "client.ip", "most": 1, "rate": "1/s"}),
            json!({"by": "client.ip", "most": 1, "shadow": 1}),
        ] {
            assert!(concurrency(value.clone()).is_none(), "{value}");
        }
    }
}
