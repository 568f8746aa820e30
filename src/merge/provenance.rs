//! Which node gave which hit of an answer, for whoever asks how the answer came about.
//!
//! Answers are small here and nobody waits for them in a hurry, so that they are read as values.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::Value;

use crate::plan::values::visit;

/// What a node answered to one subrequest.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    pub node: &'a str,
    /// Of the subrequest.
    pub path: &'a str,
    pub body: &'a [u8],
}

/// Primary keys by index.
pub type Keys = BTreeMap<String, String>;

/// A hit of the answer and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    pub index: String,
    /// `null` where the hit does not show its primary key.
    pub id: Value,
    /// `None` where no node is known to have listed it.
    pub node: Option<String>,
}

/// A node's part in the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    pub node: String,
    /// Documents that it listed.
    pub offered: usize,
    /// Those of them that the answer shows.
    pub given: usize,
}

/// Whence the hits of an answer came, as `explain` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Provenance {
    /// In the order of the answer.
    pub hits: Vec<Origin>,
    pub nodes: Vec<Share>,
}

// === impl Provenance ===

impl Provenance {
    /// `path` and `answer` are those of the client.
    pub fn new(path: &str, answer: &[u8], answered: &[Answered<'_>], keys: &Keys) -> Self {
        let mut listed_by: HashMap<(String, String), &str> = HashMap::new();
        let mut nodes: BTreeMap<&str, BTreeSet<(String, String)>> = BTreeMap::new();
        for reply in answered {
            let offered = nodes.entry(reply.node).or_default();
            for (index, id) in documents(reply.path, reply.body, keys) {
                let document = (index, id.to_string());
                if !id.is_null() {
                    listed_by.insert(document.clone(), reply.node);
                }
                offered.insert(document);
            }
        }
        let hits: Vec<Origin> = documents(path, answer, keys)
            .into_iter()
            .map(|(index, id)| {
                let node = listed_by.get(&(index.clone(), id.to_string())).map(|node| (*node).to_owned());
                Origin { index, id, node }
            })
            .collect();
        let shares = nodes.into_iter().map(|(node, offered)| Share {
            node: node.to_owned(),
            offered: offered.len(),
            given: hits.iter().filter(|hit| hit.node.as_deref() == Some(node)).count(),
        });
        Self { nodes: shares.collect(), hits }
    }
}

/// The documents that an answer to a request of `path` lists: index and primary key.
fn documents(path: &str, body: &[u8], keys: &Keys) -> Vec<(String, Value)> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let index = path.strip_prefix("/indexes/").and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
    let key_of = |index: &str, document: &Value| {
        let mut id = Value::Null;
        if let Some(key) = keys.get(index) {
            visit(document, key, &mut |leaf| id = leaf.clone());
        }
        (index.to_owned(), id)
    };
    let hits_of = |index: &str, hits: &Value| -> Vec<(String, Value)> {
        let hits = hits.as_array().into_iter().flatten();
        hits.map(|hit| key_of(hit["_federation"]["indexUid"].as_str().unwrap_or(index), hit)).collect()
    };
    if let Some(hits) = body.get("hits") {
        return hits_of(index, hits);
    }
    let results = body.get("results").and_then(Value::as_array).into_iter().flatten();
    results
        .flat_map(|result| match result.get("hits") {
            Some(hits) => hits_of(result["indexUid"].as_str().unwrap_or(index), hits),
            None => vec![key_of(index, result)],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys() -> Keys {
        [("films".to_owned(), "id".to_owned()), ("books".to_owned(), "about.isbn".to_owned())].into()
    }

    #[test]
    fn a_hit_is_traced_to_the_node_that_listed_it() {
        let bodies = [
            json!({"hits": [{"id": 1}, {"id": 2}, {"id": 5}]}).to_string(),
            json!({"hits": [{"id": "x"}, {"id": 4}]}).to_string(),
        ];
        let answered = [("a", &bodies[0]), ("b", &bodies[1])].map(|(node, body)| Answered {
            node,
            path: "/indexes/films/search",
            body: body.as_bytes(),
        });
        let answer = json!({"hits": [{"id": "x"}, {"id": 1}, {"id": 9}, {"name": "no key"}]}).to_string();
        let traced = Provenance::new("/indexes/films/search?q=a", answer.as_bytes(), &answered, &keys());
        let nodes: Vec<Option<&str>> = traced.hits.iter().map(|hit| hit.node.as_deref()).collect();
        assert_eq!(nodes, [Some("b"), Some("a"), None, None]);
        assert_eq!(
            traced.nodes,
            [Share { node: "a".into(), offered: 3, given: 1 }, Share { node: "b".into(), offered: 2, given: 1 },]
        );
    }

    #[test]
    fn documents_of_several_indexes_are_told_apart() {
        let federated = json!({"hits": [
            {"id": 1, "_federation": {"indexUid": "films"}},
            {"about": {"isbn": 1}, "_federation": {"indexUid": "books"}},
        ]});
        let listed = |path: &str, body: Value| documents(path, body.to_string().as_bytes(), &keys());
        let both = [("films".to_owned(), json!(1)), ("books".to_owned(), json!(1))];
        assert_eq!(listed("/multi-search", federated), both);
        let several = json!({"results": [
            {"indexUid": "films", "hits": [{"id": 1}]}, {"indexUid": "books", "hits": [{"about": {"isbn": 1}}]},
        ]});
        assert_eq!(listed("/multi-search", several), both);
        let fetched = json!({"results": [{"id": 1}], "total": 1});
        assert_eq!(listed("/indexes/films/documents/fetch", fetched), both[..1]);
        assert_eq!(documents("/indexes/films/search", b"broken", &keys()), []);
    }
}
