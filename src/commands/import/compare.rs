//! Whether source and target are alike: settings and counts of every index, and documents from all over it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::chats;
use super::error::{ImportError, during};
use super::joins;
use super::rules;
use super::source::{Source, SourceIndex};
use crate::dumps::format;
use crate::dumps::remote::Remote;
use crate::split::Document;
use crate::split::primary_key::document_id;

/// How many documents of an index are a sample.
const SAMPLE: u64 = 200;
/// How many documents are asked for together.
const CHUNK: usize = 100;

/// Something that differs.
#[derive(Debug, PartialEq)]
pub enum Difference {
    Missing { index: String },
    PrimaryKey { index: String },
    Setting { index: String, name: String },
    Count { index: String, source: u64, target: u64 },
    Document { index: String, id: String },
    Chat { workspace: String },
    Rule { rule: String },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { index } => write!(f, "index `{index}` is missing"),
            Self::PrimaryKey { index } => write!(f, "index `{index}` has another primary key"),
            Self::Setting { index, name } => write!(f, "index `{index}`: the setting `{name}` differs"),
            Self::Count { index, source, target } => {
                write!(f, "index `{index}` has {source} documents in the source and {target} in the target")
            }
            Self::Document { index, id } => write!(f, "index `{index}`: document `{id}` differs or is missing"),
            Self::Rule { rule } => write!(f, "dynamic search rule `{rule}` differs or is missing"),
            Self::Chat { workspace } => write!(f, "workspace `{workspace}` of chats differs or is missing"),
        }
    }
}

/// Which documents are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Compare {
    /// Each of them.
    All,
    /// Two hundred from all over each index.
    Sample,
}

/// Documents of one index that are asked for together.
struct Chunk<'a> {
    remote: &'a Remote,
    index: String,
    primary_key: String,
    documents: Vec<Value>,
}

/// What differs.
pub fn run(source: &mut dyn Source, remote: &Remote, compare: Compare) -> Result<Vec<Difference>, ImportError> {
    let mut found = chats::compare(source, remote)?;
    found.extend(rules::compare(source, remote)?);
    let indexes: BTreeMap<String, SourceIndex> =
        source.indexes().iter().map(|index| (index.uid.clone(), index.clone())).collect();
    for index in indexes.values() {
        compare_index(index, remote, &mut found)?;
    }
    let step = |index: &str| match (compare, indexes.get(index)) {
        (Compare::Sample, Some(index)) => (index.documents / SAMPLE).max(1),
        (Compare::All | Compare::Sample, _) => 1,
    };
    let mut chunk = Chunk { remote, index: String::new(), primary_key: String::new(), documents: Vec::new() };
    source.documents(&|_| 0, &mut |index, place, document| {
        if !place.is_multiple_of(step(index)) {
            return Ok(());
        }
        if chunk.index != index || chunk.documents.len() >= CHUNK {
            chunk.compare(&mut found)?;
            index.clone_into(&mut chunk.index);
            chunk.primary_key = indexes.get(index).and_then(|index| index.primary_key.clone()).unwrap_or_default();
        }
        chunk.documents.push(serde_json::from_str(document).map_err(std::io::Error::from)?);
        Ok(())
    })?;
    chunk.compare(&mut found)?;
    Ok(found)
}

fn compare_index(index: &SourceIndex, remote: &Remote, found: &mut Vec<Difference>) -> Result<(), ImportError> {
    let uid = &index.uid;
    let what = format!("index `{uid}`");
    let Some(there) = during(&what, remote.get(&format!("/indexes/{uid}")))? else {
        found.push(Difference::Missing { index: uid.clone() });
        return Ok(());
    };
    if there["primaryKey"] != json!(index.primary_key) {
        found.push(Difference::PrimaryKey { index: uid.clone() });
    }
    let settings = during(&what, remote.send("GET", &format!("/indexes/{uid}/settings"), None))?;
    let mut settings = settings.as_object().cloned().unwrap_or_default();
    let mut wanted = index.settings.clone();
    // Nobody shows keys.
    format::without_masked_keys(&mut settings);
    format::without_masked_keys(&mut wanted);
    // A target without chats shows none, and that was said.
    if !settings.contains_key("chat") {
        wanted.shift_remove("chat");
    }
    joins::leave_out(&mut wanted, Some(&settings));
    for (name, value) in &wanted {
        if settings.get(name).unwrap_or(&Value::Null) != value {
            found.push(Difference::Setting { index: uid.clone(), name: name.clone() });
        }
    }
    let stats = during(&what, remote.send("GET", &format!("/indexes/{uid}/stats"), None))?;
    let target = stats["numberOfDocuments"].as_u64().unwrap_or(0);
    if target != index.documents {
        found.push(Difference::Count { index: uid.clone(), source: index.documents, target });
    }
    Ok(())
}

// === impl Chunk ===

impl Chunk<'_> {
    /// Compares the documents, and forgets them.
    fn compare(&mut self, found: &mut Vec<Difference>) -> Result<(), ImportError> {
        let documents = std::mem::take(&mut self.documents);
        if documents.is_empty() {
            return Ok(());
        }
        let by_id = |documents: &[Value]| -> BTreeMap<String, Value> {
            documents.iter().map(|document| (id(document, &self.primary_key), document.clone())).collect()
        };
        let wanted = by_id(&documents);
        let ids: Vec<&String> = wanted.keys().collect();
        let body = json!({ "ids": ids, "limit": ids.len(), "retrieveVectors": true });
        let path = format!("/indexes/{}/documents/fetch", self.index);
        let page = during(format!("documents of `{}`", self.index), self.remote.send("POST", &path, Some(&body)))?;
        let there = by_id(page["results"].as_array().map(Vec::as_slice).unwrap_or_default());
        for (id, document) in wanted {
            if !there.get(&id).is_some_and(|there| alike(&document, there)) {
                found.push(Difference::Document { index: self.index.clone(), id });
            }
        }
        Ok(())
    }
}

fn id(document: &Value, primary_key: &str) -> String {
    let text = document.to_string();
    let parsed = Document::parse(&text).ok();
    parsed.and_then(|document| document_id(&document, primary_key).ok().map(|id| id.into_owned())).unwrap_or_default()
}

/// Vectors that nobody has given are each node's own, and one that has an embedder's is shown in one of two forms.
fn alike(source: &Value, target: &Value) -> bool {
    let plain = |document: &Value| {
        let mut document = document.clone();
        let vectors = document.as_object_mut().and_then(|fields| fields.shift_remove("_vectors"));
        (document, vectors)
    };
    let ((source, source_vectors), (target, target_vectors)) = (plain(source), plain(target));
    let given = source_vectors.as_ref().and_then(Value::as_object).into_iter().flatten();
    let same = |(name, vector): (&String, &Value)| {
        let there = target_vectors.as_ref().map_or(&Value::Null, |vectors| &vectors[name.as_str()]);
        numbers(vector).is_none_or(|given| numbers(there).is_some_and(|there| given == there))
    };
    source == target && given.into_iter().all(same)
}

/// The numbers of a vector in any of the forms in which it is written; `None` where it is not given.
fn numbers(vector: &Value) -> Option<Vec<f32>> {
    let embeddings = if vector.is_object() { &vector["embeddings"] } else { vector };
    let flat = |value: &Value| value.as_f64().map(|number| number as f32);
    match embeddings.as_array()?.as_slice() {
        [] => None,
        several if several[0].is_array() => {
            several.iter().flat_map(|one| one.as_array().into_iter().flatten()).map(flat).collect()
        }
        one => one.iter().map(flat).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_compared_in_whatever_form() {
        let source = json!({"id": 1, "a": 2.5, "_vectors": {"own": {"embeddings": [[0.5, 1]], "regenerate": false}}});
        assert!(alike(&source, &json!({"_vectors": {"own": [0.5, 1.0]}, "a": 2.5, "id": 1})));
        assert!(!alike(&source, &json!({"id": 1, "a": 2.5, "_vectors": {"own": [0.5, 2.0]}})));
        assert!(!alike(&source, &json!({"id": 1, "a": 2.5})));
        assert!(!alike(&source, &json!({"id": 1, "a": 2, "_vectors": {"own": [0.5, 1.0]}})));
        let without = json!({"id": 1, "_vectors": {"own": null}});
        assert!(alike(&without, &json!({"id": 1, "_vectors": {}})));
    }
}
