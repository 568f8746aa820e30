//! The documents that nodes have in their queues for one task, as the client sent them.

use std::collections::{BTreeMap, BTreeSet};

use super::error::MergeError;
use super::raw::Members;
use super::strip;
use crate::placement::shard::SHARD_FIELD;
use crate::placement::vocabulary::WORDS_SHARD;
use crate::placement::written::WRITTEN_FIELD;

/// Lines of JSON. Each document once: replicas have the same of it, told by its place in the order of writes. Without such places
/// the first replica's documents come first.
pub fn merge(payloads: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, MergeError> {
    let mut placed: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut others, mut seen) = (Vec::new(), BTreeSet::new());
    for payload in payloads {
        let text = std::str::from_utf8(payload.as_ref()).map_err(|_| MergeError::Missing("text in UTF-8"))?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let members = Members::parse(line)?;
            let value = |name: &str| members.get(name).map(|raw| raw.get().trim_matches('"'));
            if value(SHARD_FIELD) == Some(WORDS_SHARD) {
                continue;
            }
            match value(WRITTEN_FIELD) {
                Some(place) => {
                    placed.insert(place, line);
                }
                None if seen.insert(line) => others.push(line),
                None => {}
            }
        }
    }
    let mut out = Vec::new();
    for line in placed.into_values().chain(others) {
        strip::document(line, &mut out)?;
        out.push(b'\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_one_and_stand_in_the_order_of_writes() {
        let a = "{\"id\":2,\"_miroir_shard\":\"{}\",\"_miroir_written\":\"[]\"}\n\
                 {\"id\":1,\"_miroir_shard\":\"}{\",\"_miroir_written\":\"[[\"}\n";
        let b = "{\"id\":3,\"_miroir_shard\":\"{}\",\"_miroir_written\":\"]]\"}\n\
                 {\"id\":2,\"_miroir_shard\":\"{}\",\"_miroir_written\":\"[]\"}\n\
                 {\"id\":\"--\",\"_miroir_shard\":\"}\",\"_miroir_words\":\"heat\"}\n";
        let merged = String::from_utf8(merge(&[a, b]).unwrap()).unwrap();
        assert_eq!(merged, "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
    }

    #[test]
    fn without_places_each_document_comes_once() {
        let (a, b) = ("{\"id\":1,\"_miroir_shard\":\"{}\"}\n", "{\"id\":1,\"_miroir_shard\":\"{}\"}\n{\"id\":2}\n");
        assert_eq!(merge(&[a, b]).unwrap(), b"{\"id\":1}\n{\"id\":2}\n");
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        assert!(merge(&["{\"id\":"]).is_err());
    }
}
