//! Documents put in the place of their ids, in hits and in what hits show marked: where, and which ids, as the engine goes by a path
//! such as `author` or `author.id`. What is not touched stays as it is, byte by byte.
//!
//! The values that stand at the path itself, in any hit, are taken down first. Then a document takes the place of each such id, at the
//! path and below it; one of no document becomes an object of nothing, and what else stands there stays.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::error::MergeError;
use super::raw::{Members, ObjectWriter, elements};
use super::strip;
use crate::plan::joins::Foreign;
use crate::split::scanner::Malformed;

/// What a hit shows beside its document.
const BESIDE: [&str; 5] = ["_formatted", "_matchesPosition", "_rankingScore", "_rankingScoreDetails", "_federation"];

/// Documents by index and id, as JSON.
#[derive(Debug, Default)]
pub struct Documents {
    found: HashMap<String, HashMap<String, String>>,
}

// === impl Documents ===

impl Documents {
    /// Adds those of `index` among `ids` that `reply` brings, a page of documents; the others are not there, and show nothing.
    pub fn add(&mut self, index: &str, foreign: &Foreign, ids: &[String], reply: &[u8]) -> Result<(), MergeError> {
        let mut found: HashMap<String, String> = ids.iter().map(|id| (id.clone(), "{}".to_owned())).collect();
        let results = Members::of_bytes(reply)?.get("results").ok_or(MergeError::Missing("a list of documents"))?;
        for document in elements(results.get())? {
            let document = document.get();
            let key = foreign.primary_key.as_deref().ok_or(MergeError::Missing("a primary key"))?;
            let id = id_in(document, key)?.ok_or(MergeError::Missing("a document's id"))?;
            found.insert(id, shown(document, foreign)?);
        }
        self.found.entry(index.to_owned()).or_default().extend(found);
        Ok(())
    }

    /// Says that documents of `index` with these ids are not there.
    pub fn add_none(&mut self, index: &str, ids: Vec<String>) {
        let none = ids.into_iter().map(|id| (id, "{}".to_owned()));
        self.found.entry(index.to_owned()).or_default().extend(none);
    }

    fn get(&self, index: &str, id: &str) -> Option<&str> {
        self.found.get(index)?.get(id).map(String::as_str)
    }
}

/// The ids that stand at `field` of a hit itself. A list is read up to what is no id.
pub fn ids_at(hit: &str, field: &str) -> Result<Vec<String>, Malformed> {
    let mut document = Members::parse(hit)?;
    document.0.retain(|(name, _)| !BESIDE.contains(&name.as_ref()));
    let mut ids = Vec::new();
    values_at(&document, field, &mut |value| {
        if value.starts_with('[') {
            for value in elements(value)? {
                let Some(id) = id_of(value.get()) else { break };
                ids.push(id);
            }
        } else {
            ids.extend(id_of(value));
        }
        Ok(())
    })?;
    Ok(ids)
}

/// The hit with those documents of `index` that are known in the place of their ids, at `field` and below it.
pub fn put_in(hit: &str, field: &str, index: &str, documents: &Documents) -> Result<String, Malformed> {
    rewrite(hit, field, &|leaf| documents.get(index, &id_of(leaf)?).map(str::to_owned))
}

/// The ids of a page of documents under their primary key, in order.
pub fn ids_of(page: &[u8], key: &str) -> Result<Vec<String>, MergeError> {
    let results = Members::of_bytes(page)?.get("results").ok_or(MergeError::Missing("a list of documents"))?;
    let id = |document: &str| id_in(document, key)?.ok_or(MergeError::Missing("a document's id"));
    elements(results.get())?.into_iter().map(|document| id(document.get())).collect()
}

/// The hits of an answer to one search, or of a common list.
pub fn hits(answer: &str) -> Result<Vec<String>, MergeError> {
    let hits = Members::parse(answer)?.get("hits").ok_or(MergeError::Missing("hits"))?;
    Ok(elements(hits.get())?.into_iter().map(|hit| hit.get().to_owned()).collect())
}

/// The answers to several searches.
pub fn results(answer: &str) -> Result<Vec<&str>, MergeError> {
    let results = Members::parse(answer)?.get("results").ok_or(MergeError::Missing("results"))?;
    Ok(elements(results.get())?.into_iter().map(|result| result.get()).collect())
}

/// The answer with other hits.
pub fn with_hits(answer: &str, hits: &[String]) -> Result<String, Malformed> {
    with_list(answer, "hits", hits)
}

/// The answer with other answers to its searches.
pub fn with_results(answer: &str, results: &[String]) -> Result<String, Malformed> {
    with_list(answer, "results", results)
}

/// The index of a hit of a common list.
pub fn index_of(hit: &str) -> Result<Option<String>, MergeError> {
    let Some(federation) = Members::parse(hit)?.get("_federation") else { return Ok(None) };
    let Some(index) = Members::parse(federation.get())?.get("indexUid") else { return Ok(None) };
    Ok(Some(serde_json::from_str(index.get())?))
}

fn with_list(answer: &str, name: &str, items: &[String]) -> Result<String, Malformed> {
    let mut out = Vec::with_capacity(answer.len());
    let mut object = ObjectWriter::new(&mut out);
    for (key, value) in Members::parse(answer)?.0 {
        if key == name {
            object.raw(&key, &format!("[{}]", items.join(",")));
        } else {
            object.raw(&key, value.get());
        }
    }
    object.finish();
    Ok(text(out))
}

/// A document's or a number's id as the engine reads it from any field; `None` for what can be no id.
fn id_of(value: &str) -> Option<String> {
    match serde_json::from_str(value).ok()? {
        Value::String(text) => {
            let is_id = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
            (!text.is_empty() && text.len() < 512 && text.chars().all(is_id)).then_some(text)
        }
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The id of a document under its primary key, which may be a path.
fn id_in(document: &str, key: &str) -> Result<Option<String>, Malformed> {
    let mut id = None;
    values_at(&Members::parse(document)?, key, &mut |value| {
        id = id.take().or_else(|| id_of(value));
        Ok(())
    })?;
    Ok(id)
}

/// A fetched document as it is shown.
fn shown(document: &str, foreign: &Foreign) -> Result<String, MergeError> {
    let mut out = Vec::with_capacity(document.len());
    strip::hit(document, &foreign.shown(), None, &mut out)?;
    let mut document = text(out);
    if let Some(place) = &foreign.key_place {
        let mut arranged = Vec::with_capacity(document.len());
        place.write(Members::parse(&document)?, &mut arranged)?;
        document = text(arranged);
    }
    let members = Members::parse(&document)?;
    let Some(vectors) = members.get("_vectors") else { return Ok(document) };
    // What the engine keeps beside a document is not shown with it.
    let mut vectors: Map<String, Value> = serde_json::from_str(vectors.get())?;
    vectors.retain(|name, _| !foreign.embedders.contains(name));
    let mut out = Vec::with_capacity(document.len());
    let mut object = ObjectWriter::new(&mut out);
    for (name, value) in &members.0 {
        if name != "_vectors" {
            object.raw(name, value.get());
        } else if !vectors.is_empty() {
            object.raw(name, &Value::Object(vectors.clone()).to_string());
        }
    }
    object.finish();
    Ok(text(out))
}

/// Calls `found` for each value at `path`: a name with dots is looked for before what lies below its parts.
fn values_at(
    document: &Members<'_>,
    path: &str,
    found: &mut dyn FnMut(&str) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if let Some(value) = document.get(path) {
        found(value.get())?;
    }
    for (dot, _) in path.rmatch_indices('.') {
        let Some(value) = document.get(&path[..dot]) else { continue };
        let rest = &path[dot + 1..];
        match value.get().as_bytes().first() {
            Some(b'{') => values_at(&Members::parse(value.get())?, rest, found)?,
            Some(b'[') => {
                for item in elements(value.get())?.into_iter().filter(|item| item.get().starts_with('{')) {
                    values_at(&Members::parse(item.get())?, rest, found)?;
                }
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// The hit with what `put` gives in the place of values at `field` or below; where it gives nothing the value stays.
fn rewrite(hit: &str, field: &str, put: &dyn Fn(&str) -> Option<String>) -> Result<String, Malformed> {
    let mut out = Vec::with_capacity(hit.len());
    let mut object = ObjectWriter::new(&mut out);
    for (name, value) in Members::parse(hit)?.0 {
        match name.as_ref() {
            "_formatted" => members(value.get(), "", field, put, object.key(&name))?,
            beside if BESIDE.contains(&beside) => object.raw(&name, value.get()),
            path if is_on_the_way(path, field) => inner(value.get(), path, field, put, object.key(&name))?,
            _ => object.raw(&name, value.get()),
        }
    }
    object.finish();
    Ok(text(out))
}

fn members(
    object: &str,
    path: &str,
    field: &str,
    put: &dyn Fn(&str) -> Option<String>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut written = ObjectWriter::new(out);
    for (name, value) in Members::parse(object)?.0 {
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        if is_on_the_way(&path, field) {
            inner(value.get(), &path, field, put, written.key(&name))?;
        } else {
            written.raw(&name, value.get());
        }
    }
    written.finish();
    Ok(())
}

fn inner(
    value: &str,
    path: &str,
    field: &str,
    put: &dyn Fn(&str) -> Option<String>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match value.as_bytes().first() {
        Some(b'{') => members(value, path, field, put, out)?,
        Some(b'[') => {
            out.push(b'[');
            for (place, item) in elements(value)?.into_iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                inner(item.get(), path, field, put, out)?;
            }
            out.push(b']');
        }
        Some(_) | None => out.extend_from_slice(put(value).as_deref().unwrap_or(value).as_bytes()),
    }
    Ok(())
}

/// True for a path that leads to `field`, or lies below it.
fn is_on_the_way(path: &str, field: &str) -> bool {
    let is_below =
        |path: &str, of: &str| path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    is_below(field, path) || is_below(path, field)
}

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("written from strings")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::plan::index_info::{IndexInfo, Infos};
    use crate::plan::joins::Joins;

    fn foreign(settings: Value) -> Foreign {
        let books = json!({"foreignKeys": [{"foreignIndexUid": "authors", "fieldName": "author"}]});
        let infos: Infos = [("books", books), ("authors", settings)]
            .map(|(uid, settings)| {
                (uid.to_owned(), Arc::new(IndexInfo::from_settings(uid, Some("id".into()), &settings)))
            })
            .into();
        Joins::of(["books"].into_iter(), &infos).foreign("authors").unwrap().clone()
    }

    fn authors(settings: Value, found: Value) -> Documents {
        let mut documents = Documents::default();
        let ids = ["a1", "a2", "7", "gone"].map(str::to_owned);
        documents.add("authors", &foreign(settings), &ids, json!({"results": found}).to_string().as_bytes()).unwrap();
        documents
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn documents_take_the_place_of_their_ids_and_of_nothing_else() {
        let documents = authors(json!({}), json!([{"id": "a1", "name": "Alice"}, {"id": 7, "x": 1.50}]));
        let hit = r#"{"title": "a1", "author":"a1","more":{"by":["a1",[7, 7.0,null,"no id!"],{"deep":"gone"}],"at":1.50},
            "_formatted":{"author":"a1","title":"<em>a1</em>"},"_rankingScore":1.0}"#;
        let alice = json!({"id": "a1", "name": "Alice"});
        let put = |hit: &str, index: &str| {
            let hit = put_in(hit, "author", index, &documents).unwrap();
            put_in(&hit, "more.by", index, &documents).unwrap()
        };
        let joined = put(hit, "authors");
        assert_eq!(
            value(&joined),
            json!({"title": "a1", "author": alice, "more": {"by": [alice, [{"id": 7, "x": 1.5}, 7.0, null, "no id!"],
                {"deep": {}}], "at": 1.5}, "_formatted": {"author": alice, "title": "<em>a1</em>"}, "_rankingScore": 1.0})
        );
        assert!(joined.contains(r#""at":1.50"#) && joined.contains(r#""x":1.5"#), "{joined}");
        assert_eq!(value(&put(hit, "others")), value(hit));
    }

    #[test]
    fn what_stands_at_the_path_itself_is_taken_down() {
        let hit = r#"{"author":["a1","a2",true,"a3"],"more":[{"by":"b","in":{"d":"c"}},{"by":7}],"more.by":"d","_formatted":{"author":"x"}}"#;
        assert_eq!(ids_at(hit, "author").unwrap(), ["a1", "a2"]);
        assert_eq!(ids_at(hit, "more.by").unwrap(), ["d", "b", "7"]);
        assert_eq!(ids_at(hit, "more").unwrap(), [""; 0], "what lies below is not taken down");
    }

    #[test]
    fn a_document_shows_what_its_index_displays() {
        let found = json!([{"id": "a1", "name": "Alice", "_vectors": {"e": [1], "other": [2]}}, {"id": "a2", "_vectors": {"e": [1]}}]);
        let embedders = json!({"e": {"source": "userProvided", "dimensions": 1}});
        let all = authors(json!({"embedders": embedders}), found);
        assert_eq!(
            value(all.get("authors", "a1").unwrap()),
            json!({"id": "a1", "name": "Alice", "_vectors": {"other": [2]}})
        );
        assert_eq!(value(all.get("authors", "a2").unwrap()), json!({"id": "a2"}));
        assert_eq!(all.get("authors", "gone"), Some("{}"));
        assert_eq!((all.get("authors", "unasked"), all.get("others", "a1")), (None, None));
        let some = authors(json!({"displayedAttributes": ["name"]}), json!([{"id": "a1", "name": "Alice"}]));
        assert_eq!(value(some.get("authors", "a1").unwrap()), json!({"name": "Alice"}));
    }

    #[test]
    fn an_answer_has_other_hits_and_the_rest_as_it_was() {
        let answer = r#"{"hits":[{"a":1},{"b":2}],"query":"","offset":0}"#;
        assert_eq!(hits(answer).unwrap(), [r#"{"a":1}"#, r#"{"b":2}"#]);
        assert_eq!(with_hits(answer, &["{}".to_owned()]).unwrap(), r#"{"hits":[{}],"query":"","offset":0}"#);
        let several = r#"{"results":[{"hits":[]}]}"#;
        assert_eq!(results(several).unwrap(), [r#"{"hits":[]}"#]);
        let hit = r#"{"_federation":{"indexUid":"books","queriesPosition":0}}"#;
        assert_eq!(index_of(hit).unwrap().as_deref(), Some("books"));
        let page = br#"{"results":[{"id":"a"},{"key":{"id":7}}]}"#;
        assert!(ids_of(page, "id").is_err());
        assert_eq!(ids_of(br#"{"results":[{"key":{"id":7}}]}"#, "key.id").unwrap(), ["7"]);
    }
}
