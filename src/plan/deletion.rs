//! Deletes documents by id: each node is told the ids of its own shards.

use std::collections::{BTreeMap, HashSet};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::write::{FailedWrite, RegistryChange, Step, StepBody, Target, WriteIntent, copies};
use crate::meili::error::{Code, ResponseError};
use crate::meili::payload;
use crate::meili::task::TaskKind;
use crate::meili::uid::index_not_found;
use crate::meili::unknown::only_custom_metadata;
use crate::placement::document::shard_of;
use crate::placement::few_ids::{FewIds, IdsByShard};
use crate::placement::shard::ShardSet;
use crate::placement::topology::Topology;
use crate::placement::vocabulary::is_words_id;
use crate::split::primary_key::is_valid_id;

/// A deletion by ids, before it is shared out to the owners that shards have when it takes its place: these may be others
/// by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    pub index: String,
    pub ids: Ids,
    pub custom_metadata: Option<String>,
}

/// The documents to delete, as texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ids {
    /// One, which stood in the path.
    InPath(String),
    /// Those of a list. What can be no id is among them, and finds nothing.
    Listed(Vec<String>),
}

/// What may not stand as it is in one segment of a path.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

fn listed(body: &[u8]) -> Result<Ids, ResponseError> {
    match payload::parse(body)? {
        Value::Array(ids) => Ok(Ids::Listed(ids.iter().map(id_text).collect())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Err(not_a_list(body)),
    }
}

/// The engine's words for a list of ids that is none.
fn not_a_list(body: &[u8]) -> ResponseError {
    let error = serde_json::from_slice::<Vec<Value>>(body).err().map(|error| error.to_string()).unwrap_or_default();
    ResponseError::new(Code::BadRequest, format!("Json deserialize error: {error}"))
}

/// The id as the engine reads it: a string as it is, all else as its JSON, so that what can be no id finds nothing.
fn id_text(id: &Value) -> String {
    match id {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => id.to_string(),
    }
}

// === impl Ids ===

impl Ids {
    fn texts(&self) -> &[String] {
        match self {
            Self::InPath(id) => std::slice::from_ref(id),
            Self::Listed(ids) => ids,
        }
    }
}

// === impl Deletion ===

impl Deletion {
    /// Ids are deduplicated later; of the query string only `customMetadata` is known.
    pub fn new(index: &str, ids: Ids, query: &str) -> Result<Self, ResponseError> {
        Ok(Self { index: index.to_owned(), ids, custom_metadata: only_custom_metadata(query)? })
    }

    /// Of one document, whose id stood in the path.
    pub(super) fn one(index: &str, id: &str, query: &str) -> Result<Self, ResponseError> {
        Self::new(index, Ids::InPath(id.to_owned()), query)
    }

    /// Of the documents whose ids `body` lists.
    pub(super) fn batch(index: &str, body: &[u8], query: &str) -> Result<Self, ResponseError> {
        Self::new(index, listed(body)?, query)
    }

    /// The task that fails because there is no such index.
    pub(super) fn without_index(&self, topology: &Topology) -> FailedWrite {
        FailedWrite { error: index_not_found(&self.index), intent: self.bare(json!(0), topology) }
    }

    /// The ids that a client can mean. Documents that hold words are not there for it.
    fn documents(&self) -> impl Iterator<Item = &String> {
        self.ids.texts().iter().filter(|id| !is_words_id(id))
    }

    /// The ids of documents that may be there. What is no id is in no index, and no node can be asked for it.
    pub fn keys(&self) -> Vec<String> {
        self.documents().filter(|text| is_valid_id(text)).cloned().collect()
    }

    /// The write by the owners that shards have in `topology`.
    pub fn intent(&self, topology: &Topology) -> WriteIntent {
        let ids = self.few_ids(topology);
        WriteIntent { steps: self.steps(topology), ids, ..self.bare(Value::Null, topology) }
    }

    fn few_ids(&self, topology: &Topology) -> IdsByShard {
        let mut ids = FewIds::default();
        let mut seen = HashSet::new();
        for id in self.documents() {
            if seen.insert(id) && !ids.add(shard_of(id, topology.shards), id) {
                break;
            }
        }
        ids.finish()
    }

    fn bare(&self, deleted: Value, topology: &Topology) -> WriteIntent {
        WriteIntent {
            kind: TaskKind::DocumentDeletion,
            index_uid: Some(self.index.clone()),
            indexes: vec![self.index.clone()],
            details: Some(Map::from_iter([
                ("providedIds".to_owned(), json!(self.ids.texts().len())),
                ("deletedDocuments".to_owned(), deleted),
                ("originalFilter".to_owned(), Value::Null),
            ])),
            custom_metadata: self.custom_metadata.clone(),
            ensure_index: false,
            registry: RegistryChange::None,
            copies: copies(topology),
            documents: BTreeMap::new(),
            ids: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    fn steps(&self, topology: &Topology) -> Vec<Step> {
        let index = &self.index;
        let batch = |to, ids: Vec<&str>, shards| Step {
            to,
            method: "POST",
            path: format!("/indexes/{index}/documents/delete-batch"),
            content_type: Some("application/json"),
            body: StepBody::Json(json!(ids)),
            shards,
        };
        if self.documents().next().is_none() {
            return vec![batch(Target::AllNodes, Vec::new(), ShardSet::new())];
        }
        let mut of_nodes: Vec<(Vec<&str>, ShardSet)> = vec![Default::default(); topology.nodes.len()];
        for id in self.documents() {
            let shard = shard_of(id, topology.shards);
            for owner in topology.owners_of(shard) {
                let (texts, shards) = &mut of_nodes[owner.0];
                texts.push(id);
                shards.insert(shard);
            }
        }
        let touched = topology.indexes().zip(of_nodes).filter(|(_, (texts, _))| !texts.is_empty());
        touched
            .map(|(node, (texts, shards))| match &self.ids {
                Ids::InPath(id) => Step {
                    to: Target::Node(node),
                    method: "DELETE",
                    path: format!("/indexes/{index}/documents/{}", utf8_percent_encode(id, SEGMENT)),
                    content_type: None,
                    body: StepBody::Empty,
                    shards,
                },
                Ids::Listed(_) => batch(Target::Node(node), texts, shards),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::{Node, NodeId, NodeState};

    fn topology() -> Topology {
        let node = |at: usize| Node {
            id: NodeId::new(&format!("n{at}")),
            url: format!("http://127.0.0.1:{at}"),
            zone: None,
            weight: 1.0,
            state: NodeState::Up,
        };
        Topology::build((0..3).map(node).collect(), 16, 2)
    }

    fn steps(ids: Ids) -> Vec<Step> {
        Deletion::new("books", ids, "").unwrap().intent(&topology()).steps
    }

    #[test]
    fn each_owner_is_told_its_ids_and_nobody_else() {
        let topology = topology();
        let steps = steps(Ids::Listed((0..100).map(|id| id.to_string()).collect()));
        let mut told = BTreeMap::new();
        for step in &steps {
            let Target::Node(node) = step.to else { panic!("one node: {step:?}") };
            let StepBody::Json(Value::Array(ids)) = &step.body else { panic!("ids: {step:?}") };
            assert_eq!((step.method, step.path.as_str()), ("POST", "/indexes/books/documents/delete-batch"));
            for id in ids {
                let shard = shard_of(id.as_str().unwrap(), topology.shards);
                assert!(topology.owners_of(shard).contains(&node) && step.shards.contains(shard));
                *told.entry(id.as_str().unwrap().to_owned()).or_insert(0) += 1;
            }
        }
        assert_eq!(told.len(), 100);
        assert!(told.values().all(|times| *times == 2));
    }

    #[test]
    fn a_deletion_knows_each_of_its_documents_once() {
        let topology = topology();
        let listed = ["1", "a", "1"].map(str::to_owned).to_vec();
        let intent = Deletion::new("books", Ids::Listed(listed), "").unwrap().intent(&topology);
        let known: Vec<(_, &String)> =
            intent.ids.iter().flat_map(|(shard, ids)| ids.iter().map(|id| (*shard, id))).collect();
        assert_eq!(known.len(), 2);
        assert!(known.iter().all(|(shard, id)| shard_of(id, topology.shards) == *shard));
    }

    #[test]
    fn a_single_delete_goes_to_the_owners_by_path() {
        let steps = steps(Ids::InPath("a b/c".to_owned()));
        assert_eq!(steps.len(), 2);
        assert!(steps.iter().all(|step| step.path == "/indexes/books/documents/a%20b%2Fc" && step.method == "DELETE"));
    }

    #[test]
    fn no_ids_are_a_task_all_the_same() {
        let steps = steps(Ids::Listed(Vec::new()));
        assert_eq!(steps.len(), 1);
        assert_eq!(
            (steps[0].to, serde_json::to_value(&steps[0].body).unwrap()),
            (Target::AllNodes, json!({"json": []}))
        );
    }

    #[test]
    fn numbers_strings_and_what_can_be_no_id_are_read_as_the_engine_reads_them() {
        let Ok(Ids::Listed(texts)) = listed(br#"[1, "1", 1.5, {"a": 1}, null]"#) else { panic!("a list") };
        assert_eq!(texts, ["1", "1", "1.5", "{\"a\":1}", "null"]);
        assert_eq!(
            listed(b"{}").unwrap_err().message,
            "Json deserialize error: invalid type: map, expected a sequence at line 1 column 0"
        );
    }
}
