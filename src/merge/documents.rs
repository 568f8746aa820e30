//! Slices of documents laid end to end.

use super::error::MergeError;
use super::raw::{Members, ObjectWriter, elements};
use super::strip;

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
}
