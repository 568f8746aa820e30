//! Documents of other indexes in the place of their ids, as an index's `foreignKeys` ask for them. Nodes hold some shards each, so
//! they join nothing (see [`crate::placement::joins`]): the hits of all are merged, and then the documents they name are fetched.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Map;

use super::documents::DocumentsPlan;
use super::index_info::{IndexInfo, Infos};
use super::shown::{Helper, KeyPlace, Shown};
use crate::placement::document::shard_of;
use crate::placement::joins::Key;

/// What is joined to the hits of an answer. Without keys it is empty, and nothing is looked at.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Joins {
    /// By the index that is searched, in the order of its settings.
    keys: BTreeMap<String, Vec<Key>>,
    /// By uid; one that does not exist is absent.
    foreign: BTreeMap<String, Foreign>,
}

/// An index of which documents are shown in hits of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Foreign {
    /// `None` where it has never had a document.
    pub primary_key: Option<String>,
    /// What is shown of a document; `None` for all.
    displayed: Option<Vec<String>>,
    /// Vectors of these are not part of a document.
    pub embedders: Vec<String>,
    /// What is asked for besides, to tell documents apart.
    helpers: Vec<Helper>,
    #[serde(skip)]
    pub key_place: Option<KeyPlace>,
}

// === impl Joins ===

impl Joins {
    /// Of hits of `indexes`.
    pub fn of<'i>(indexes: impl Iterator<Item = &'i str>, infos: &Infos) -> Self {
        let mut joins = Self::default();
        indexes.for_each(|index| joins.add(index, infos));
        joins
    }

    fn add(&mut self, index: &str, infos: &Infos) {
        let Some(info) = infos.get(index).filter(|info| !info.joins.is_empty()) else { return };
        for key in &info.joins {
            if let Some(info) = infos.get(&key.foreign) {
                self.foreign.insert(key.foreign.clone(), Foreign::new(info));
            }
        }
        self.keys.insert(index.to_owned(), info.joins.clone());
    }

    /// True if nothing is joined.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys of an index.
    pub fn of_index(&self, index: &str) -> &[Key] {
        self.keys.get(index).map_or(&[], Vec::as_slice)
    }

    /// What is known of an index whose documents are shown; `None` if it does not exist.
    pub fn foreign(&self, index: &str) -> Option<&Foreign> {
        self.foreign.get(index)
    }
}

// === impl Foreign ===

impl Foreign {
    fn new(info: &IndexInfo) -> Self {
        let unshown = info.primary_key.as_deref().filter(|key| !info.shows(key));
        Self {
            primary_key: info.primary_key.clone(),
            displayed: info.displayed.clone(),
            embedders: info.rules.embedders.iter().map(|embedder| embedder.name.clone()).collect(),
            helpers: unshown.map(|key| Helper { field: key.to_owned(), formatted: false }).into_iter().collect(),
            key_place: info.key_place.clone(),
        }
    }

    /// What of a fetched document is shown.
    pub fn shown(&self) -> Shown {
        Shown { score: true, details: true, helpers: self.helpers.clone() }
    }

    /// Asks for the documents of `index` with these ids. One shows what a document has of `_vectors` itself, so they are asked for.
    pub fn fetch(&self, index: &str, ids: &[String], shards: u16) -> DocumentsPlan {
        let mut body = Map::new();
        body.insert("ids".into(), ids.into());
        body.insert("retrieveVectors".into(), true.into());
        if let Some(displayed) = &self.displayed {
            let fields = displayed.iter().chain(self.helpers.iter().map(|helper| &helper.field));
            body.insert("fields".into(), fields.cloned().collect());
        }
        DocumentsPlan {
            body,
            shards: Some(ids.iter().map(|id| shard_of(id, shards)).collect()),
            ..DocumentsPlan::whole(index, ids.len() as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_search_of_an_index_with_keys_shows_documents_of_others() {
        let settings = json!({"foreignKeys": [{"foreignIndexUid": "authors", "fieldName": "_miroir_key_author"},
            {"foreignIndexUid": "gone", "fieldName": "_miroir_key_other"}]});
        let books = IndexInfo::from_settings("books", Some("id".into()), &settings);
        let authors =
            json!({"displayedAttributes": ["name", "_miroir_written"], "embedders": {"e": {"source": "userProvided"}}});
        let authors = IndexInfo::from_settings("authors", Some("id".into()), &authors);
        let infos: Infos = [books, authors].map(|info| (info.uid.clone(), Arc::new(info))).into();
        assert!(Joins::of(["authors", "nobody"].into_iter(), &infos).is_empty());
        let joins = Joins::of(["books"].into_iter(), &infos);
        assert_eq!(joins.of_index("books").len(), 2);
        assert!(joins.foreign("gone").is_none());
        let foreign = joins.foreign("authors").unwrap();
        assert_eq!(foreign.embedders, ["e"]);
        let plan = foreign.fetch("authors", &["a".to_owned(), "b".to_owned()], 8);
        let expected = json!({"ids": ["a", "b"], "retrieveVectors": true, "fields": ["name", "id"]});
        assert_eq!((Value::Object(plan.body.clone()), plan.limit), (expected, 2));
        assert!(plan.shards.is_some_and(|shards| shards.len() <= 2));
    }
}
