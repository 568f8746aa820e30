//! Where in a reply its parts stand: found in the one look at each of its bytes, and kept apart from them.
//!
//! Whoever judges a reply reads it, and whoever merges it later needs to know what was found: [`Reading::reply`] makes a reply of both
//! without a second look.

use std::ops::Range;

use super::error::MergeError;
use super::hit::{Hit, Place};
use super::raw::Members;
use super::search::SearchReply;
use crate::split::scanner::{Malformed, Scanner, string};

/// A reply with hits and a total, as places in its body.
#[derive(Debug)]
pub struct Reading(Parts);

/// Names with their quotes, and values, in their order; and the hits of the first member that is called so.
#[derive(Debug)]
struct Parts {
    members: Vec<(Range<usize>, Range<usize>)>,
    hits: Vec<Place>,
}

// === impl Reading ===

impl Reading {
    /// An error where `body` is not one JSON object with a list of hits and a total.
    pub fn of(body: &[u8]) -> Result<Self, MergeError> {
        let text = text(body)?;
        let parts = Parts::of(text)?;
        total(&parts.members(text)?)?;
        Ok(Self(parts))
    }

    /// The reply whose parts were found in `body`.
    pub fn reply<'a>(&self, body: &'a [u8]) -> Result<SearchReply<'a>, MergeError> {
        let text = text(body)?;
        let members = self.0.members(text)?;
        Ok(SearchReply { total: total(&members)?, hits: self.0.hits(text), members })
    }
}

/// Reads a reply with hits, whether it states a total or not.
pub(super) fn read(body: &[u8]) -> Result<(Members<'_>, Vec<Hit<'_>>), MergeError> {
    let text = text(body)?;
    let parts = Parts::of(text)?;
    Ok((parts.members(text)?, parts.hits(text)))
}

fn text(body: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(body).map_err(|_| Malformed::Encoding)
}

/// The total that a reply states, of whichever kind.
pub(super) fn total(members: &Members<'_>) -> Result<u64, MergeError> {
    let total = members.count("estimatedTotalHits").or_else(|| members.count("totalHits"));
    total.ok_or(MergeError::Missing("a total of hits"))
}

// === impl Parts ===

impl Parts {
    fn of(text: &str) -> Result<Self, MergeError> {
        let mut scanner = Scanner::new(text);
        let mut members = Vec::with_capacity(8);
        let mut hits = None;
        let mut within = scanner.enter(b'{')?;
        while let Some((from, quoted)) = scanner.quoted_member(&mut within)? {
            let name = from..from + quoted.len();
            let is_hits = string(quoted).ok_or(Malformed::Value)? == "hits";
            scanner.peek()?;
            let from = scanner.at();
            if is_hits && hits.is_none() {
                hits = Some(Place::read_list(&mut scanner)?);
            } else {
                scanner.value()?;
            }
            members.push((name, from..scanner.at()));
        }
        scanner.end()?;
        Ok(Self { members, hits: hits.ok_or(MergeError::Missing("hits"))? })
    }

    fn members<'a>(&self, text: &'a str) -> Result<Members<'a>, Malformed> {
        let mut members = Members(Vec::with_capacity(self.members.len()));
        for (name, value) in &self.members {
            members.push(string(&text[name.clone()]).ok_or(Malformed::Value)?, &text[value.clone()]);
        }
        Ok(members)
    }

    fn hits<'a>(&self, text: &'a str) -> Vec<Hit<'a>> {
        self.hits.iter().map(|place| place.of(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = concat!(
        r#" {"hits" : [{"id":1, "_rankingScoreDetails":{"words":{}}, "_miroir_shard":"{"} , {"id":2}],"#,
        r#""q\u0075ery":"x","estimatedTotalHits":7,"totalHits":9,"hits":[3]} "#
    );

    #[test]
    fn what_is_put_together_of_places_is_what_stands_there() {
        let reading = Reading::of(REPLY.as_bytes()).unwrap();
        let copy = REPLY.to_owned();
        let reply = reading.reply(copy.as_bytes()).unwrap();
        let members: Vec<(&str, &str)> =
            reply.members.0.iter().map(|(name, value)| (name.as_ref(), value.get())).collect();
        assert_eq!(
            members[1..],
            [("query", "\"x\""), ("estimatedTotalHits", "7"), ("totalHits", "9"), ("hits", "[3]")]
        );
        assert!(members[0].1.starts_with("[{") && members[0].1.ends_with("}]"));
        assert_eq!((reply.total, reply.hits.len()), (7, 2));
        assert_eq!(reply.hits[0].details().unwrap(), Some(r#"{"words":{}}"#));
        let mut bare = Vec::new();
        assert!(reply.hits[0].write_bare(&mut bare));
        assert_eq!(bare, br#"{"id":1}"#);
    }

    #[test]
    fn what_is_no_reply_with_hits_and_a_total_is_refused() {
        for wrong in [
            r#"{"hits":[],"query":"x"}"#,
            r#"{"hits":{},"totalHits":1}"#,
            r#"{"totalHits":1}"#,
            r#"{"hits":[],"totalHits":-1}"#,
            r#"{"hits":[],"totalHits":1"#,
            r#"{"hits":[],"totalHits":1} x"#,
            r#"{"hits":[],"\ud800":0,"totalHits":1}"#,
            "[]",
            "",
        ] {
            assert!(Reading::of(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Reading::of(b"{\"hits\":[],\"totalHits\":1,\"q\":\"\xff\"}").is_err());
    }
}
