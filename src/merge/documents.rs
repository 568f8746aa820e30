//! Slices of documents laid end to end, or put into the order in which documents were written.

use std::collections::VecDeque;

use super::error::MergeError;
use super::raw::{Members, ObjectWriter, elements};
use super::strip;
use crate::placement::written::WRITTEN_FIELD;

/// How many documents a part of the cover holds.
pub fn total(reply: &[u8]) -> Result<u64, MergeError> {
    let members = Members::of_bytes(reply)?;
    members.count("total").ok_or(MergeError::Missing("a total of documents"))
}

/// One page out of `slices`, in their order, without the first `skip` of their documents.
pub fn page(slices: &[&[u8]], skip: u64, offset: u64, limit: u64, total: u64) -> Result<Vec<u8>, MergeError> {
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    let results = object.key("results");
    results.push(b'[');
    let (mut before, mut taken) = (0, 0);
    for slice in slices {
        let members = Members::of_bytes(slice)?;
        let documents = members.get("results").ok_or(MergeError::Missing("results"))?;
        let documents = elements(documents.get())?;
        for document in documents {
            if before < skip || taken == limit {
                before += 1;
                continue;
            }
            if taken > 0 {
                results.push(b',');
            }
            taken += 1;
            strip::document(document.get(), results)?;
        }
    }
    results.push(b']');
    object.number("offset", offset);
    object.number("limit", limit);
    object.number("total", total);
    object.finish();
    Ok(out)
}

/// The same page of all that the parts hold, in the order in which documents were written, as far as each part lists its own so.
/// Each part is given from its first document to the end of the page at least, so one page follows on the other.
pub fn in_order(parts: &[&[u8]], offset: u64, limit: u64, total: u64) -> Result<Vec<u8>, MergeError> {
    let mut lists = Vec::with_capacity(parts.len());
    for part in parts {
        let members = Members::of_bytes(part)?;
        let documents = members.get("results").ok_or(MergeError::Missing("results"))?;
        let mut list = VecDeque::new();
        for document in elements(documents.get())? {
            // Without places the parts lie end to end.
            let place = Members::parse(document.get())?.get(WRITTEN_FIELD).map_or("", |place| place.get());
            list.push_back((place, document.get()));
        }
        lists.push(list);
    }
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    let results = object.key("results");
    results.push(b'[');
    let (mut before, mut taken) = (0, 0);
    while taken < limit
        && let Some(first) = lists
            .iter_mut()
            .filter(|list| !list.is_empty())
            .min_by_key(|list| list.front().copied().map(|(place, _)| place))
        && let Some((_, document)) = first.pop_front()
    {
        if before < offset {
            before += 1;
            continue;
        }
        if taken > 0 {
            results.push(b',');
        }
        taken += 1;
        strip::document(document, results)?;
    }
    results.push(b']');
    object.number("offset", offset);
    object.number("limit", limit);
    object.number("total", total);
    object.finish();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_become_one_page_without_the_hidden_field() {
        let slices: [&[u8]; 2] = [
            br#"{"results":[{"id":1,"_miroir_shard":"{"}],"offset":3,"limit":1,"total":4}"#,
            br#"{"results":[{"id":2},{"id":3}],"offset":0,"limit":2,"total":9}"#,
        ];
        assert_eq!(
            String::from_utf8(page(&slices, 0, 3, 3, 13).unwrap()).unwrap(),
            r#"{"results":[{"id":1},{"id":2},{"id":3}],"offset":3,"limit":3,"total":13}"#
        );
        assert_eq!(
            String::from_utf8(page(&slices, 1, 1, 1, 13).unwrap()).unwrap(),
            r#"{"results":[{"id":2}],"offset":1,"limit":1,"total":13}"#
        );
        assert_eq!(total(slices[1]).unwrap(), 9);
        assert!(total(b"{}").is_err());
        assert_eq!(page(&[], 0, 0, 20, 0).unwrap(), br#"{"results":[],"offset":0,"limit":20,"total":0}"#);
    }

    #[test]
    fn documents_of_parts_stand_in_the_order_in_which_they_were_written() {
        let parts: [&[u8]; 2] = [
            br#"{"results":[{"id":1,"_miroir_written":"[["},{"id":4,"_miroir_written":"]]"}],"total":2}"#,
            br#"{"results":[{"id":2,"_miroir_written":"[]"},{"id":3,"_miroir_written":"]["}],"total":2}"#,
        ];
        let ids = |offset, limit| {
            let page = in_order(&parts, offset, limit, 4).unwrap();
            let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
            let results = page["results"].as_array().unwrap();
            results.iter().map(|document| document["id"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(ids(0, 9), [1, 2, 3, 4]);
        assert_eq!((ids(1, 2), ids(3, 2), ids(4, 2), ids(0, 0)), (vec![2, 3], vec![4], vec![], vec![]));
        let page = in_order(&parts, 0, 1, 4).unwrap();
        assert_eq!(page, br#"{"results":[{"id":1}],"offset":0,"limit":1,"total":4}"#);
    }

    #[test]
    fn without_places_the_parts_lie_end_to_end() {
        let parts: [&[u8]; 2] = [br#"{"results":[{"id":3},{"id":1}]}"#, br#"{"results":[{"id":2}]}"#];
        let page = in_order(&parts, 0, 3, 3).unwrap();
        assert_eq!(page, br#"{"results":[{"id":3},{"id":1},{"id":2}],"offset":0,"limit":3,"total":3}"#);
    }
}
