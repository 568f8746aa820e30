//! Where the primary key stands in a document that is shown.
//!
//! An engine shows the fields of a document in the order in which it has met their names. One node that guesses the primary key meets
//! all names of the first document in their order. Nodes behind the gateway are told the key, because the gateway has guessed it
//! from documents that they may not get, so they meet the key first.
//!
//! Example: the first document of an index is `{"title": "Heat", "id": 7}`. One node shows titles before ids, and nodes ids before
//! titles; so the id moves behind the title.

use super::raw::{Members, ObjectWriter, elements};
use crate::plan::shown::KeyPlace;
use crate::split::scanner::Malformed;

/// Where in an answer documents stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Documents<'a> {
    /// It is one.
    Itself,
    /// In the list of that name.
    List(&'a str),
    /// In the `hits` of each of its `results`, which say their indexes.
    OfEachResult,
    /// In `hits`, each of which says its index.
    OfEachHit,
}

/// Writes `answer` with each document as one node shows it. `place_of` knows the place of an index's key, where it is to be moved; the index is
/// empty where the answer is about one.
pub fn arrange(
    answer: &[u8],
    documents: Documents<'_>,
    place_of: &dyn Fn(&str) -> Option<KeyPlace>,
) -> Result<Vec<u8>, Malformed> {
    let members = Members::of_bytes(answer)?;
    let mut out = Vec::with_capacity(answer.len());
    match documents {
        Documents::Itself => match place_of("") {
            Some(place) => place.write(members, &mut out)?,
            None => out.extend_from_slice(answer),
        },
        Documents::List(list) => within(&members, list, &mut out, &|text, out| one(text, place_of(""), out))?,
        Documents::OfEachHit => within(&members, "hits", &mut out, &|text, out| {
            let hit = Members::parse(text)?;
            let index = hit.get("_federation").map(|of| index_of(of.get())).transpose()?.unwrap_or_default();
            one(text, place_of(&index), out)
        })?,
        Documents::OfEachResult => within(&members, "results", &mut out, &|text, out| {
            let place = place_of(&index_of(text)?);
            within(&Members::parse(text)?, "hits", out, &|text, out| one(text, place.clone(), out))
        })?,
    }
    Ok(out)
}

/// Writes `members`, each element of the list `name` by `element`.
fn within(
    members: &Members<'_>,
    name: &str,
    out: &mut Vec<u8>,
    element: &dyn Fn(&str, &mut Vec<u8>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut object = ObjectWriter::new(out);
    for (key, value) in &members.0 {
        if key != name {
            object.raw(key, value.get());
            continue;
        }
        let list = elements(value.get())?;
        let out = object.key(key);
        out.push(b'[');
        for (at, text) in list.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            element(text.get(), out)?;
        }
        out.push(b']');
    }
    object.finish();
    Ok(())
}

fn one(text: &str, place: Option<KeyPlace>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    match place {
        Some(place) => place.write(Members::parse(text)?, out),
        None => {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
}

/// The `indexUid` of an object; empty if it has none.
fn index_of(text: &str) -> Result<String, Malformed> {
    let members = Members::parse(text)?;
    let uid = members.get("indexUid").and_then(|uid| serde_json::from_str(uid.get()).ok());
    Ok(uid.unwrap_or_default())
}

// === impl KeyPlace ===

impl KeyPlace {
    /// Writes a document, and what of it is formatted.
    pub(super) fn write(&self, mut members: Members<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.move_key(&mut members);
        let mut object = ObjectWriter::new(out);
        for (name, value) in members.0 {
            if name == "_formatted" && value.get().starts_with('{') {
                let mut formatted = Members::parse(value.get())?;
                self.move_key(&mut formatted);
                let mut object = ObjectWriter::new(object.key(&name));
                formatted.0.iter().for_each(|(name, value)| object.raw(name, value.get()));
                object.finish();
            } else {
                object.raw(&name, value.get());
            }
        }
        object.finish();
        Ok(())
    }

    fn move_key(&self, members: &mut Members<'_>) {
        let members = &mut members.0;
        let Some(at) = members.iter().position(|(name, _)| *name == self.key) else { return };
        let last = members.iter().rposition(|(name, _)| self.behind.iter().any(|before| name == before));
        if let Some(last) = last.filter(|last| *last > at) {
            members[at..=last].rotate_left(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged(answer: &str, documents: Documents<'_>) -> String {
        let place_of = |index: &str| {
            let behind = vec!["title".to_owned(), "year".to_owned()];
            matches!(index, "" | "films").then(|| KeyPlace { key: "id".to_owned(), behind })
        };
        String::from_utf8(arrange(answer.as_bytes(), documents, &place_of).unwrap()).unwrap()
    }

    #[test]
    fn the_key_moves_behind_what_stood_before_it() {
        let document = |text: &str| arranged(text, Documents::Itself);
        assert_eq!(document(r#"{"id":7,"title":"Heat","cast":1}"#), r#"{"title":"Heat","id":7,"cast":1}"#);
        assert_eq!(document(r#"{"id":7,"cast":1,"year":1.50}"#), r#"{"cast":1,"year":1.50,"id":7}"#);
        assert_eq!(document(r#"{"title":"Heat","id":7}"#), r#"{"title":"Heat","id":7}"#);
        assert_eq!(document(r#"{"id":7,"cast":1}"#), r#"{"id":7,"cast":1}"#);
        assert_eq!(document(r#"{"title":"Heat"}"#), r#"{"title":"Heat"}"#);
    }

    #[test]
    fn all_documents_of_an_answer_are_arranged_and_nothing_else() {
        let (hit, shown) = (r#"{"id":7,"title":"t"}"#, r#"{"title":"t","id":7}"#);
        let search = |hit: &str| format!(r#"{{"hits":[{hit},{hit}],"query":"{{id","limit":2}}"#);
        assert_eq!(arranged(&search(hit), Documents::List("hits")), search(shown));
        let of = |index: &str, hit: &str| format!(r#"{{"indexUid":"{index}","hits":[{hit}],"query":""}}"#);
        let results =
            |hit: &str| format!(r#"{{"results":[{},{}]}}"#, of("films", hit), of("other", r#"{"id":1,"title":2}"#));
        assert_eq!(arranged(&results(hit), Documents::OfEachResult), results(shown));
        let federated = r#"{"hits":[{"id":7,"title":"t","_federation":{"indexUid":"films","queriesPosition":0}},{"id":1,"title":2,"_federation":{"indexUid":"other"}}],"limit":1}"#;
        let expected = r#"{"hits":[{"title":"t","id":7,"_federation":{"indexUid":"films","queriesPosition":0}},{"id":1,"title":2,"_federation":{"indexUid":"other"}}],"limit":1}"#;
        assert_eq!(arranged(federated, Documents::OfEachHit), expected);
        let formatted = r#"{"hits":[{"id":7,"title":"t","_formatted":{"id":"7","title":"<em>t</em>"}}]}"#;
        let expected = r#"{"hits":[{"title":"t","id":7,"_formatted":{"title":"<em>t</em>","id":"7"}}]}"#;
        assert_eq!(arranged(formatted, Documents::List("hits")), expected);
    }
}
