//! Which clients speak of tasks in integers.
//!
//! SDKs send their name with some requests and leave it out of others, which then name only the HTTP library under them: a
//! write is answered `5`, and the next one must not be answered `mtask-…`, which the SDK's types refuse. So a client that
//! named itself, or asked by integers, is remembered by its key and address, and is answered in integers when it names
//! nothing. A tool in a person's hand is no SDK, whatever ran beside it: `curl` is answered by what it asks for itself.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::head::Head;
use crate::placement::stable_hash::hash_bytes;

/// Who asks: its key and address, as a hash, so that no key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller(u64);

/// The callers that spoke in integers within the last hour, or at least the last half of one.
#[derive(Default)]
pub struct Speakers {
    heard: Mutex<Heard>,
}

/// Two generations: when the recent one is old or full, it becomes the older one, and what was in that is forgotten.
#[derive(Default)]
struct Heard {
    recent: HashSet<Caller>,
    older: HashSet<Caller>,
    since: Option<Instant>,
}

const GENERATION: Duration = Duration::from_secs(30 * 60);
const MOST: usize = 50_000;

// === impl Caller ===

impl Caller {
    /// `None` for what people ask with themselves, by its `User-Agent`.
    pub fn of(head: &Head, address: Option<&str>) -> Option<Self> {
        const TOOLS: [&str; 6] = ["curl/", "Wget/", "HTTPie/", "xh/", "PostmanRuntime/", "insomnia/"];
        let agent = head.text(http::header::USER_AGENT).unwrap_or_default();
        if TOOLS.iter().any(|tool| agent.starts_with(tool)) {
            return None;
        }
        let key = head.headers.get(http::header::AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let who = [address.unwrap_or_default().as_bytes(), b"\n", key].concat();
        Some(Self(hash_bytes(&who)))
    }
}

// === impl Speakers ===

impl Speakers {
    /// Remembers how the caller names tasks, for a while.
    pub fn note(&self, caller: Caller) {
        self.heard.lock().note(caller, Instant::now());
    }

    /// True if `caller` spoke in integers of late.
    pub fn knows(&self, caller: Caller) -> bool {
        let mut heard = self.heard.lock();
        heard.turn(Instant::now());
        heard.recent.contains(&caller) || heard.older.contains(&caller)
    }
}

// === impl Heard ===

impl Heard {
    fn note(&mut self, caller: Caller, now: Instant) {
        self.turn(now);
        self.recent.insert(caller);
    }

    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age >= GENERATION || self.recent.len() >= MOST {
            self.older = std::mem::take(&mut self.recent);
            self.since = Some(now);
        }
        if age >= 2 * GENERATION {
            self.older.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(agent: &str, key: &str, address: &str) -> Option<Caller> {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::USER_AGENT, agent.parse().unwrap());
        headers.insert(http::header::AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
        Caller::of(&Head::new(http::Method::GET, &"/".parse().unwrap(), headers), Some(address))
    }

    #[test]
    fn a_client_is_its_key_and_its_address() {
        let sdk = caller("Meilisearch Go (v0.30)", "a", "10.0.0.1").unwrap();
        assert_eq!(caller("Go-http-client/1.1", "a", "10.0.0.1"), Some(sdk));
        assert_ne!(caller("Go-http-client/1.1", "b", "10.0.0.1"), Some(sdk));
        assert_ne!(caller("Go-http-client/1.1", "a", "10.0.0.2"), Some(sdk));
        assert_eq!(caller("curl/8.5.0", "a", "10.0.0.1"), None);
    }

    #[test]
    fn a_client_is_remembered_while_it_speaks_and_for_at_least_half_an_hour() {
        let mut heard = Heard::default();
        let start = Instant::now();
        let (quiet, lively) = (Caller(1), Caller(2));
        heard.note(quiet, start);
        heard.note(lively, start);
        let knows = |heard: &Heard, caller| heard.recent.contains(&caller) || heard.older.contains(&caller);
        heard.note(lively, start + GENERATION);
        assert!(knows(&heard, quiet) && knows(&heard, lively));
        heard.note(lively, start + 2 * GENERATION);
        assert!(!knows(&heard, quiet) && knows(&heard, lively));
        heard.turn(start + 9 * GENERATION);
        assert!(!knows(&heard, lively));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut heard = Heard::default();
        let now = Instant::now();
        for number in 0..3 * MOST as u64 {
            heard.note(Caller(number), now);
        }
        assert!(heard.recent.len() + heard.older.len() <= 2 * MOST);
    }
}
