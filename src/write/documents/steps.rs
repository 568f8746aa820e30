//! The write that a collected batch becomes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::collect::Collected;
use crate::meili::operation::DocumentMethod;
use crate::meili::query::QueryMap;
use crate::meili::task::TaskKind;
use crate::nodes::spool::Spool;
use crate::placement::shard::ShardSet;
use crate::placement::topology::Topology;
use crate::plan::write::{RegistryChange, Step, StepBody, Target, WriteIntent, copies};

/// What is known of an addition besides its documents.
#[derive(Clone)]
pub(super) struct Addition {
    pub index: String,
    pub method: DocumentMethod,
    pub custom_metadata: Option<String>,
    /// True when the index has no primary key yet.
    pub sets_primary_key: bool,
}

// === impl Addition ===

impl Addition {
    /// The write, and the spools that its steps name.
    pub(super) fn intent(self, collected: Collected, topology: &Topology) -> (WriteIntent, Vec<Spool>) {
        let path = self.path(collected.primary_key.as_deref());
        let nothing = |to| Step {
            to,
            method: self.method(),
            path: path.clone(),
            content_type: Some("application/json"),
            body: StepBody::Json(json!([])),
            shards: ShardSet::new(),
        };
        let mut steps = Vec::new();
        let mut spools = Vec::new();
        if collected.parts.is_empty() {
            // The engine has a task for this too, and takes the primary key from it.
            steps.push(nothing(Target::AllNodes));
        } else if self.sets_primary_key {
            // A node that gets none of these documents must know the key as well: it may get others, by another.
            let without = topology.members().filter(|node| !collected.parts.iter().any(|part| part.node == *node));
            steps.extend(without.map(|node| nothing(Target::Node(node))));
        }
        for part in collected.parts {
            steps.push(Step {
                to: Target::Node(part.node),
                method: self.method(),
                path: path.clone(),
                content_type: Some("application/x-ndjson"),
                body: StepBody::Spool(spools.len()),
                shards: part.shards,
            });
            spools.push(part.spool);
        }
        let registry = match collected.primary_key {
            Some(primary_key) if self.sets_primary_key => {
                RegistryChange::SetPrimaryKey { index: self.index.clone(), primary_key, leading: collected.leading }
            }
            Some(_) | None => RegistryChange::None,
        };
        let details = details(collected.received, Value::Null);
        let copies = copies(topology);
        let (documents, ids) = (collected.checked.documents, collected.checked.ids);
        (WriteIntent { registry, copies, steps, documents, ids, ..self.bare(details) }, spools)
    }

    /// The write of a batch that fails before any node sees it.
    pub(super) fn refused(&self, collected: &Collected) -> WriteIntent {
        self.bare(details(collected.received, json!(0)))
    }

    fn bare(&self, details: Map<String, Value>) -> WriteIntent {
        WriteIntent {
            kind: TaskKind::DocumentAdditionOrUpdate,
            index_uid: Some(self.index.clone()),
            indexes: vec![self.index.clone()],
            details: Some(details),
            custom_metadata: self.custom_metadata.clone(),
            ensure_index: true,
            registry: RegistryChange::None,
            copies: 1,
            documents: BTreeMap::new(),
            ids: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    fn method(&self) -> &'static str {
        match self.method {
            DocumentMethod::Replace => "POST",
            DocumentMethod::Update => "PUT",
        }
    }

    fn path(&self, primary_key: Option<&str>) -> String {
        let path = format!("/indexes/{}/documents", self.index);
        let Some(primary_key) = primary_key else { return path };
        let mut query = QueryMap::default();
        query.set("primaryKey", primary_key);
        format!("{path}?{}", query.encode())
    }
}

fn details(received: u64, indexed: Value) -> Map<String, Value> {
    Map::from_iter([("receivedDocuments".to_owned(), json!(received)), ("indexedDocuments".to_owned(), indexed)])
}
