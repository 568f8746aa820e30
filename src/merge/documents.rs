//! Slices of documents laid end to end, or put into the order in which documents were written.

use std::collections::VecDeque;

use super::error::MergeError;
use super::facets::NodeFacets;
use super::raw::{Members, ObjectWriter, Raw, elements};
use super::strip;
use crate::placement::written::WRITTEN_FIELD;

/// How many documents a part of the cover holds.
pub fn total(reply: &[u8]) -> Result<u64, MergeError> {
    let members = Members::of_bytes(reply)?;
    members.count("total").ok_or(MergeError::Missing("a total of documents"))
}

/// The documents of a reply and how many there are in all, for their facets to be counted.
pub fn to_count(reply: &[u8]) -> Result<NodeFacets<'_>, MergeError> {
    let documents = listed(reply)?.into_iter().map(Raw::get).collect();
    Ok(NodeFacets { hits: total(reply)?, documents, ..NodeFacets::default() })
}

/// One page out of `slices`, in their order, without the first `skip` of their documents.
pub fn page(slices: &[&[u8]], skip: u64, offset: u64, limit: u64, total: u64) -> Result<Vec<u8>, MergeError> {
    let mut documents = Vec::new();
    for slice in slices {
        documents.extend(listed(slice)?.into_iter().map(|document| document.get()));
    }
    write(documents.into_iter(), skip, Page { offset, limit, total })
}

/// The same page of all that the parts hold, in the order in which documents were written, as far as each part lists its own so.
/// Each part is given from its first document to the end of the page at least, so one page follows on the other.
pub fn in_order(parts: &[&[u8]], offset: u64, limit: u64, total: u64) -> Result<Vec<u8>, MergeError> {
    let mut lists = Vec::with_capacity(parts.len());
    for part in parts {
        let mut list = VecDeque::new();
        for document in listed(part)? {
            // Without places the parts lie end to end.
            let place = Members::parse(document.get())?.get(WRITTEN_FIELD).map_or("", |place| place.get());
            list.push_back((place, document.get()));
        }
        lists.push(list);
    }
    let next = || {
        let waiting = lists.iter_mut().filter(|list| !list.is_empty());
        let first = waiting.min_by_key(|list| list.front().copied().map(|(place, _)| place))?;
        first.pop_front().map(|(_, document)| document)
    };
    write(std::iter::from_fn(next), offset, Page { offset, limit, total })
}

/// What a page says of itself.
struct Page {
    offset: u64,
    limit: u64,
    total: u64,
}

/// The documents of a node's reply.
fn listed(reply: &[u8]) -> Result<Vec<Raw<'_>>, MergeError> {
    let members = Members::of_bytes(reply)?;
    let documents = members.get("results").ok_or(MergeError::Missing("results"))?;
    Ok(elements(documents.get())?)
}

/// The first documents after `skip`, as many as the page takes, each without its hidden fields.
fn write<'a>(documents: impl Iterator<Item = &'a str>, skip: u64, page: Page) -> Result<Vec<u8>, MergeError> {
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    let results = object.key("results");
    results.push(b'[');
    let within = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    for (at, document) in documents.skip(within(skip)).take(within(page.limit)).enumerate() {
        if at > 0 {
            results.push(b',');
        }
        strip::document(document, results)?;
    }
    results.push(b']');
    object.number("offset", page.offset);
    object.number("limit", page.limit);
    object.number("total", page.total);
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
