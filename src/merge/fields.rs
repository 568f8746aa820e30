//! The fields that several nodes know, each once, in the order of their names.

use std::collections::BTreeMap;

use super::error::MergeError;
use super::raw::{Members, ObjectWriter, elements};
use crate::split::document::RESERVED_PREFIX;

/// One page of the fields in `replies`.
pub fn merge(replies: &[&[u8]], offset: u64, limit: u64) -> Result<Vec<u8>, MergeError> {
    let mut fields: BTreeMap<String, &str> = BTreeMap::new();
    for reply in replies {
        let members = Members::of_bytes(reply)?;
        let results = members.get("results").ok_or(MergeError::Missing("results"))?;
        let results = elements(results.get())?;
        for field in results {
            let members = Members::parse(field.get())?;
            let name = members.get("name").ok_or(MergeError::Missing("the name of a field"))?;
            let name: String = serde_json::from_str(name.get())?;
            if !name.starts_with(RESERVED_PREFIX) {
                fields.entry(name).or_insert(field.get());
            }
        }
    }
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    let results = object.key("results");
    let (skip, take) = (usize::try_from(offset), usize::try_from(limit));
    let page = fields.values().skip(skip.unwrap_or(usize::MAX)).take(take.unwrap_or(usize::MAX));
    results.push(b'[');
    for (at, field) in page.enumerate() {
        if at > 0 {
            results.push(b',');
        }
        results.extend_from_slice(field.as_bytes());
    }
    results.push(b']');
    object.number("offset", offset);
    object.number("limit", limit);
    object.number("total", fields.len() as u64);
    object.finish();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_all_nodes_are_listed_once_and_paged() {
        let replies: [&[u8]; 2] = [
            br#"{"results":[{"name":"_miroir_shard"},{"name":"b","displayed":{"enabled":true}}],"total":2}"#,
            br#"{"results":[{"name":"a"},{"name":"b","displayed":{"enabled":true}},{"name":"c"}],"total":3}"#,
        ];
        assert_eq!(
            String::from_utf8(merge(&replies, 1, 1).unwrap()).unwrap(),
            r#"{"results":[{"name":"b","displayed":{"enabled":true}}],"offset":1,"limit":1,"total":3}"#
        );
        assert_eq!(merge(&replies, 7, 20).unwrap(), br#"{"results":[],"offset":7,"limit":20,"total":3}"#);
        assert!(merge(&[b"{}"], 0, 1).is_err());
    }
}
