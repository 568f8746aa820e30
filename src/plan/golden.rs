//! Plans of reads as data, compared with `tests/golden/plans/reads.json`: the request, and what comes of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::broadcast::HiddenSettings;
use super::index_info::{FacetOrder, IndexInfo};
use super::read::{Infos, plan};
use super::scatter::Scatter;
use super::{Plan, broadcast};
use crate::meili::operation::tests::every_operation;
use crate::meili::operation::{Class, Operation, route};
use crate::placement::topology::{Node, NodeId, NodeState, Topology};

#[derive(Debug, Deserialize, Serialize)]
struct Case {
    says: String,
    method: String,
    path: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    body: Value,
    explained: Value,
}

fn topology() -> Topology {
    let node = |at: usize| Node {
        id: NodeId::new(&format!("node-{at}")),
        url: format!("http://node-{at}:7700"),
        zone: None,
        weight: 1.0,
        state: NodeState::Up,
    };
    Topology::build((0..4).map(node).collect(), 8, 2)
}

fn infos() -> Infos {
    let info = |uid: &str| {
        let mut info = IndexInfo::new(uid);
        info.primary_key = Some("id".into());
        info.facet_order.insert("*".into(), FacetOrder::Count);
        (uid.to_owned(), Arc::new(info))
    };
    [info("movies"), info("books")].into()
}

fn explained(case: &Case) -> Value {
    let bare = case.path.split('?').next().unwrap_or_default();
    let operation = route(&case.method, bare).unwrap();
    let body = if case.body.is_null() { Vec::new() } else { case.body.to_string().into_bytes() };
    let topology = topology();
    let plan = plan(&operation, &case.path, &body, &infos(), &topology);
    if let Plan::Scatter(scatter) = &plan {
        let Scatter { original, .. } = scatter.as_ref();
        assert_eq!((original.path.as_str(), original.body.as_slice()), (case.path.as_str(), body.as_slice()));
    }
    super::explain::explain(&plan, &topology)
}

/// With `MIROIR_BLESS=1` the file is written anew; read the difference before it is committed.
#[test]
fn plans_are_the_golden_ones() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/plans/reads.json");
    let mut cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(!cases.is_empty());
    if std::env::var_os("MIROIR_BLESS").is_some() {
        for case in &mut cases {
            case.explained = explained(case);
        }
        std::fs::write(path, serde_json::to_string_pretty(&cases).unwrap() + "\n").unwrap();
        return;
    }
    for case in &cases {
        assert_eq!(explained(case), case.explained, "{}", case.says);
    }
}

/// The last arm of each planner is for the operations of other classes.
#[test]
fn every_operation_is_known_to_the_planner_of_its_class() {
    for operation in every_operation() {
        let plan = match operation.facts().class {
            Class::Read | Class::Own => plan(&operation, "/", b"{}", &Infos::new(), &topology()),
            // A setting of the whole node, which no task carries out.
            Class::Change if operation == Operation::UpdateExperimentalFeatures => continue,
            Class::Change => broadcast::plan(&operation, "", b"{}", &topology(), &HiddenSettings::default(), &|_| true),
            Class::Documents => continue,
        };
        if let Plan::Refuse(error) = plan {
            let others = ["A write planned as a read", "is not carried out by all nodes as a task"];
            assert!(!others.iter().any(|words| error.message.contains(words)), "{}", operation.name());
        }
    }
}
