//! Deletes documents by id: each node is told the ids of its own shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::steps::copies;
use crate::cluster::Cluster;
use crate::meili::error::{Code, ResponseError};
use crate::meili::task::TaskKind;
use crate::nodes::client::Trace;
use crate::placement::document::shard_of;
use crate::placement::shard::ShardSet;
use crate::placement::topology::Topology;
use crate::plan::write::{RegistryChange, Step, StepBody, Target, WriteIntent};
use crate::split::primary_key::is_valid_id;
use crate::tasks::entry::MiroirTask;

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

/// Deletes the documents with these ids. `single`: there is one, and it stood in the path.
pub async fn delete_ids(
    cluster: &Arc<Cluster>,
    mut topology: Arc<Topology>,
    index: &str,
    ids: Vec<Value>,
    custom_metadata: Option<String>,
    single: bool,
    trace: &Trace,
) -> Result<MiroirTask, ResponseError> {
    let provided = ids.len();
    let replicas = copies(&topology);
    let bare = |deleted: Value| WriteIntent {
        kind: TaskKind::DocumentDeletion,
        index_uid: Some(index.to_owned()),
        indexes: vec![index.to_owned()],
        details: Some(details(provided, deleted)),
        custom_metadata: custom_metadata.clone(),
        ensure_index: false,
        registry: RegistryChange::None,
        copies: replicas,
        documents: BTreeMap::new(),
        steps: Vec::new(),
    };
    if !cluster.registry.exists(index) {
        let error = ResponseError::new(Code::IndexNotFound, format!("Index `{index}` not found."));
        return cluster.writer.record_failed(cluster, bare(json!(0)), error, trace).await;
    }
    let texts: Vec<String> = ids.iter().map(id_text).collect();
    // What is no id is in no index, and no node can be asked for it.
    let keys: Vec<String> = texts.iter().filter(|text| is_valid_id(text)).cloned().collect();
    loop {
        let intent = WriteIntent { steps: steps(&topology, index, &texts, single), ..bare(Value::Null) };
        match cluster.writer.submit_keys(cluster, intent, Vec::new(), Some(keys.clone()), trace).await {
            Err(error) if error.is(Code::MiroirLayoutChanged) => topology = cluster.topology(),
            result => return result,
        }
    }
}

/// The id as the engine reads it: a string as it is, all else as its JSON, so that what can be no id finds nothing.
fn id_text(id: &Value) -> String {
    match id {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => id.to_string(),
    }
}

fn steps(topology: &Topology, index: &str, ids: &[String], single: bool) -> Vec<Step> {
    let batch = |to, ids: Vec<&str>, shards| Step {
        to,
        method: "POST",
        path: format!("/indexes/{index}/documents/delete-batch"),
        content_type: Some("application/json"),
        body: StepBody::Json(json!(ids)),
        shards,
    };
    if ids.is_empty() {
        return vec![batch(Target::AllNodes, Vec::new(), ShardSet::new())];
    }
    let mut of_nodes: Vec<(Vec<&str>, ShardSet)> = vec![Default::default(); topology.nodes.len()];
    for id in ids {
        let shard = shard_of(id, topology.shards);
        for owner in topology.owners_of(shard) {
            let (texts, shards) = &mut of_nodes[owner.0];
            texts.push(id);
            shards.insert(shard);
        }
    }
    let touched = topology.indexes().zip(of_nodes).filter(|(_, (texts, _))| !texts.is_empty());
    touched
        .map(|(node, (texts, shards))| match (single, texts.as_slice()) {
            (true, [id]) => Step {
                to: Target::Node(node),
                method: "DELETE",
                path: format!("/indexes/{index}/documents/{}", utf8_percent_encode(id, SEGMENT)),
                content_type: None,
                body: StepBody::Empty,
                shards,
            },
            _ => batch(Target::Node(node), texts, shards),
        })
        .collect()
}

fn details(provided: usize, deleted: Value) -> Map<String, Value> {
    Map::from_iter([
        ("providedIds".to_owned(), json!(provided)),
        ("originalFilter".to_owned(), Value::Null),
        ("deletedDocuments".to_owned(), deleted),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::documents::tests::topology;

    #[test]
    fn each_owner_is_told_its_ids_and_nobody_else() {
        let topology = topology(3, 2);
        let ids: Vec<String> = (0..100).map(|id| id.to_string()).collect();
        let steps = steps(&topology, "books", &ids, false);
        let mut told = std::collections::BTreeMap::new();
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
    fn a_single_delete_goes_to_the_owners_by_path() {
        let topology = topology(3, 2);
        let steps = steps(&topology, "books", &["a b/c".to_owned()], true);
        assert_eq!(steps.len(), 2);
        assert!(steps.iter().all(|step| step.path == "/indexes/books/documents/a%20b%2Fc" && step.method == "DELETE"));
    }

    #[test]
    fn no_ids_are_a_task_all_the_same() {
        let steps = steps(&topology(3, 2), "books", &[], false);
        assert_eq!(steps.len(), 1);
        assert_eq!(
            (steps[0].to, serde_json::to_value(&steps[0].body).unwrap()),
            (Target::AllNodes, json!({"json": []}))
        );
    }

    #[test]
    fn numbers_strings_and_what_can_be_no_id_are_read_as_the_engine_reads_them() {
        let texts: Vec<String> = json!([1, "1", 1.5, {"a": 1}, null]).as_array().unwrap().iter().map(id_text).collect();
        assert_eq!(texts, ["1", "1", "1.5", "{\"a\":1}", "null"]);
    }
}
