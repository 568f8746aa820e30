//! How often something may be asked: so many times a second, minute or hour, and some at once (GCRA).
//!
//! A caller's state is one moment: when what it has asked so far would have been asked at the rate allowed. Each request moves it on by
//! the time that one request is worth; a request is too much where it would lie further ahead than a burst is worth.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::subject::Subject;
use super::term::Term;
use crate::placement::stable_hash::hash_bytes;
use crate::settings::Section;

/// `limit: { by: key.uid, rate: 50/s, burst: 100 }`.
#[derive(Debug, Clone)]
pub struct Limit {
    by: Term,
    /// What one request is worth.
    interval: Duration,
    burst: u32,
    /// What is too much is only counted.
    pub shadow: bool,
    name: String,
}

/// Who has asked how often, for all limits of a process. Bounded: of more callers at once than it can hold, those that asked longest
/// ago begin anew.
pub struct Limits {
    parts: Vec<Mutex<Generations>>,
}

/// Two generations: when the recent one is old or full, it becomes the older one, and what was in that is forgotten.
#[derive(Default)]
struct Generations {
    recent: HashMap<u64, Duration>,
    older: HashMap<u64, Duration>,
    since: Duration,
}

/// Whether a request may go on, and how many more there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// Requests that may come at once now.
    pub remaining: u64,
    /// Until all of the burst may come again.
    pub reset: Duration,
    /// After how long it may be tried again; zero for what is allowed.
    pub retry: Duration,
}

const PARTS: usize = 16;
/// Of each part and generation. With 24 bytes for each, all of them are about 5 MB.
const MOST: usize = 6_250;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

// === impl Limit ===

impl Limit {
    /// Takes the key `limit` of the rule `name`.
    pub fn read(section: &mut Section, name: &str) -> Option<Self> {
        let expected = "`{ by: key.uid, rate: 50/s, burst: 100, shadow: false }`: a rate of requests per `s`, `m` or `h`, a burst from 1 to \
                        1000000 that comes back within a day";
        let known = ["by", "rate", "burst", "shadow"];
        let (by, interval, burst, shadow) = section.parsed("limit", None, expected, |value| {
            let limit = value.as_object().filter(|limit| limit.keys().all(|key| known.contains(&key.as_str())))?;
            let (count, unit) = limit.get("rate")?.as_str()?.split_once('/')?;
            let unit = match unit.trim() {
                "s" => Duration::from_secs(1),
                "m" => Duration::from_secs(60),
                "h" => Duration::from_secs(3600),
                _ => return None,
            };
            let count: u32 = count.trim().parse().ok().filter(|count| (1..=1_000_000).contains(count))?;
            let burst = match limit.get("burst") {
                None => count,
                Some(burst) => u32::try_from(burst.as_u64()?).ok().filter(|burst| (1..=1_000_000).contains(burst))?,
            };
            let interval = unit / count;
            let shadow = limit.get("shadow").map_or(Some(false), serde_json::Value::as_bool)?;
            let by = limit.get("by")?.as_str()?.to_owned();
            (interval * burst <= LONGEST).then_some(Some((by, interval, burst, shadow)))
        })?;
        match Term::parse(&by) {
            Ok(by) => Some(Self { by, interval, burst, shadow, name: name.to_owned() }),
            Err(message) => {
                section.problem("limit", message);
                None
            }
        }
    }

    /// Counts one request at `now`. Those without the value by which is limited are limited together.
    pub fn take(&self, subject: &Subject<'_>, limits: &Limits, now: Duration) -> Verdict {
        let by = self.by.value(subject).map(|value| value.to_string()).unwrap_or_default();
        let key = hash_bytes(format!("{}\n{by}", self.name).as_bytes());
        let whole = self.interval * self.burst;
        limits.change(key, now, |ahead| {
            let next = ahead.max(now) + self.interval;
            let used = next - now;
            if used > whole {
                let retry = used - whole;
                return (None, Verdict { allowed: false, remaining: 0, reset: used - self.interval, retry });
            }
            let left = (whole - used).as_nanos() / self.interval.as_nanos().max(1);
            let remaining = u64::try_from(left).unwrap_or(u64::MAX);
            (Some(next), Verdict { allowed: true, remaining, reset: used, retry: Duration::ZERO })
        })
    }

    /// `"rate";q=100;w=2`: so many at once, in so many seconds.
    pub fn policy(&self) -> String {
        format!("\"{}\";q={};w={}", self.name, self.burst, seconds(self.interval * self.burst))
    }

    /// `"rate";r=99;t=1`: so many are left, and all are back in so many seconds.
    pub fn state(&self, verdict: &Verdict) -> String {
        format!("\"{}\";r={};t={}", self.name, verdict.remaining, seconds(verdict.reset))
    }
}

/// Whole seconds, rounded up.
pub fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect() }
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Limits {
    fn change(&self, key: u64, now: Duration, change: impl FnOnce(Duration) -> (Option<Duration>, Verdict)) -> Verdict {
        let part = usize::try_from(key % PARTS as u64).unwrap_or(0);
        let mut generations = self.parts[part].lock();
        generations.turn(now);
        let before = generations.recent.get(&key).or_else(|| generations.older.get(&key)).copied();
        let (after, verdict) = change(before.unwrap_or_default());
        if let Some(after) = after {
            generations.recent.insert(key, after);
        }
        verdict
    }

    /// How many callers are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        let of = |part: &Mutex<Generations>| {
            let part = part.lock();
            part.recent.len() + part.older.len()
        };
        self.parts.iter().map(of).sum()
    }
}

// === impl Generations ===

impl Generations {
    fn turn(&mut self, now: Duration) {
        // What is older than the longest burst has come back whole.
        if now.saturating_sub(self.since) > LONGEST || self.recent.len() >= MOST {
            self.older = std::mem::take(&mut self.recent);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::subject::tests::caller;
    use crate::settings::Report;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(value: serde_json::Value) -> Option<Limit> {
        let report = Report::default();
        let read = Limit::read(&mut Section::new("r", json!({"limit": value}), &report), "r");
        assert_eq!(read.is_none(), !report.into_parts().0.is_empty());
        read
    }

    #[test]
    fn a_burst_may_come_at_once_and_then_the_rate() {
        let (limit, limits) =
            (limit(json!({"by": "client.ip", "rate": "2/s", "burst": 3})).unwrap(), Limits::default());
        let (one, other) = (caller(json!({}), "10.0.0.1", &[]), caller(json!({}), "10.0.0.2", &[]));
        let ask = |caller, now| limit.take(&Subject::of(caller, "search", None), &limits, now);
        let start = SECOND * 1000;
        let remaining: Vec<u64> = (0..3).map(|_| ask(&one, start).remaining).collect();
        assert_eq!(remaining, [2, 1, 0]);
        let refused = ask(&one, start);
        assert_eq!((refused.allowed, refused.retry, refused.reset), (false, SECOND / 2, SECOND * 3 / 2));
        assert!(ask(&other, start).allowed);
        assert!(
            !ask(&one, start + SECOND / 2 - Duration::from_nanos(1)).allowed,
            "a refusal costs nothing, and gives nothing"
        );
        assert!(ask(&one, start + SECOND / 2).allowed);
        assert!(!ask(&one, start + SECOND / 2).allowed);
        assert_eq!(ask(&one, start + SECOND * 10).remaining, 2);
    }

    #[test]
    fn many_callers_take_bounded_memory() {
        let (limit, limits) = (limit(json!({"by": "claims.user", "rate": "1/h"})).unwrap(), Limits::default());
        for user in 0..300_000 {
            let caller = caller(json!({"user": user}), "", &[]);
            assert!(limit.take(&Subject::of(&caller, "search", None), &limits, SECOND).allowed);
        }
        assert!(limits.len() <= PARTS * MOST * 2, "{}", limits.len());
    }

    #[test]
    fn headers_say_what_is_allowed_and_left() {
        let limit = limit(json!({"by": "key.uid", "rate": "60/m", "burst": 90})).unwrap();
        let nobody = caller(json!({}), "", &[]);
        let verdict = limit.take(&Subject::of(&nobody, "search", None), &Limits::default(), SECOND);
        assert_eq!((limit.policy(), limit.state(&verdict)), ("\"r\";q=90;w=90".into(), "\"r\";r=89;t=1".into()));
    }

    #[test]
    fn what_is_no_limit_is_a_problem() {
        for value in [
            json!({"rate": "1/s"}),
            json!({"by": "client.ip", "rate": "1"}),
            json!({"by": "client.ip", "rate": "0/s"}),
            json!({"by": "client.ip", "rate": "1/d"}),
            json!({"by": "client", "rate": "1/s"}),
            json!({"by": "client.ip", "rate": "1/s", "burst": 0}),
            json!({"by": "client.ip", "rate": "1/h", "burst": 25}),
            json!({"by": "client.ip", "rate": "1/s", "shadow": 1}),
            json!({"by": "client.ip", "rate": "1/s", "each": 1}),
        ] {
            assert!(limit(value.clone()).is_none(), "{value}");
        }
    }
}
