//! Plans as data, compared with the files in `tests/golden/plans`: the request, and what comes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::broadcast::HiddenSettings;
use super::index_info::{FacetOrder, IndexInfo, Infos};
use super::rounds::Later;
use super::scatter::{Ask, Scatter};
use super::{Known, Plan, Request};
use crate::meili::operation::route;
use crate::meili::operation::tests::{operation_of, operations};
use crate::meili::versions::default_rules;
use crate::placement::topology::{Node, NodeId, NodeState, Topology};

/// One file for each class of operations, one of what is refused, and one that has every operation once.
const FILES: [&str; 6] = ["reads", "changes", "documents", "own", "refused", "every_operation"];

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    says: String,
    method: String,
    path: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    body: Value,
    /// JSON where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
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

/// Two indexes with few settings, one with many, one with a distinct attribute that no hit shows, one whose ranking rules
/// leave no tie, and one with keys to others.
fn infos() -> Infos {
    let plain = |uid: &str| {
        let mut info = IndexInfo::new(uid);
        info.primary_key = Some("id".into());
        info.facet_order.insert("*".into(), FacetOrder::Count);
        info
    };
    let tuned = json!({
        "displayedAttributes": ["id", "title", "maker"], "distinctAttribute": "maker", "stopWords": ["the"],
        "rankingRules": ["price:asc", "words", "typo", "_miroir_written:asc"], "pagination": {"maxTotalHits": 200},
    });
    let tuned = IndexInfo::from_settings("tuned", Some("id".into()), &tuned);
    let secret = json!({"displayedAttributes": ["title"], "distinctAttribute": "maker"});
    let secret = IndexInfo::from_settings("secret", Some("id".into()), &secret);
    let ranked = json!({"rankingRules": ["words", "typo", "_miroir_written:asc"]});
    let ranked = IndexInfo::from_settings("ranked", Some("id".into()), &ranked);
    let key = |foreign: &str| json!({"foreignIndexUid": foreign, "fieldName": format!("_miroir_key_{foreign}.id")});
    let joined = json!({"foreignKeys": [key("tuned"), key("nowhere")]});
    let joined = IndexInfo::from_settings("joined", Some("id".into()), &joined);
    let all = [plain("movies"), plain("books"), tuned, secret, ranked, joined];
    all.into_iter().map(|info| (info.uid.clone(), Arc::new(info))).collect()
}

fn planned(case: &Case) -> Plan {
    let bare = case.path.split('?').next().unwrap_or_default();
    let operation = route(&case.method, bare).unwrap();
    let body = if case.body.is_null() { Vec::new() } else { case.body.to_string().into_bytes() };
    let topology = topology();
    let content_type = Some(case.content_type.as_deref().unwrap_or("application/json"));
    let request = Request { operation: &operation, target: &case.path, body: &body, content_type };
    let (infos, hidden) = (infos(), HiddenSettings::breaking_ties(default_rules("1.50.0")));
    let exists = |index: &str| infos.contains_key(index);
    let version = Some("1.50.0".to_owned());
    let now = OffsetDateTime::UNIX_EPOCH;
    let known = Known {
        topology: &topology,
        infos: infos.clone(),
        version,
        hidden,
        has_master_key: true,
        now,
        exists: &exists,
    };
    let plan = request.check().map_or_else(Plan::Refuse, |request| request.plan(&known));
    if let Plan::Scatter(scatter) = &plan {
        let Scatter { original, .. } = scatter.as_ref();
        assert_eq!((original.path.as_str(), original.body.as_slice()), (case.path.as_str(), body.as_slice()));
    }
    plan
}

fn explained(case: &Case) -> Value {
    super::explain::explain(&planned(case), &topology())
}

fn path_of(file: &str) -> String {
    format!("{}/tests/golden/plans/{file}.json", env!("CARGO_MANIFEST_DIR"))
}

fn cases(file: &str) -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path_of(file)).unwrap()).unwrap();
    assert!(!cases.is_empty(), "{file}");
    cases
}

/// With `MIROIR_BLESS=1` the files are written anew; read the difference before it is committed.
#[test]
fn plans_are_the_golden_ones() {
    for file in FILES {
        let mut cases = cases(file);
        if std::env::var_os("MIROIR_BLESS").is_some() {
            for case in &mut cases {
                case.explained = explained(case);
            }
            std::fs::write(path_of(file), serde_json::to_string_pretty(&cases).unwrap() + "\n").unwrap();
            continue;
        }
        for case in &cases {
            assert_eq!(explained(case), case.explained, "{file}: {}", case.says);
        }
    }
}

#[test]
fn every_operation_of_the_api_has_a_golden_plan_and_every_kind_of_plan_one_that_shows_it() {
    let cases: Vec<Case> = FILES.into_iter().flat_map(cases).collect();
    let bare = |case: &Case| case.path.split('?').next().unwrap_or_default().to_owned();
    let planned: BTreeSet<_> = cases.iter().map(|case| operation_of(&case.method, &bare(case))).collect();
    for (method, path, _) in operations() {
        assert!(planned.contains(&Some((method, path))), "{method} {path}");
    }
    let kinds: BTreeSet<&str> = cases.iter().filter_map(|case| case.explained["plan"]["plan"].as_str()).collect();
    let every = [
        "answer",
        "broadcast",
        "delete",
        "deleteMatching",
        "edit",
        "everywhere",
        "fail",
        "forward",
        "list",
        "refuse",
        "scatter",
        "split",
        "work",
    ];
    assert_eq!(kinds, BTreeSet::from(every));
}

#[test]
fn every_round_and_every_kind_of_read_has_a_golden_plan_that_shows_it() {
    let cases: Vec<Case> = FILES.into_iter().flat_map(cases).collect();
    let rounds: BTreeSet<String> = cases
        .iter()
        .flat_map(|case| case.explained["plan"]["mayFollow"].as_array().into_iter().flatten())
        .map(Value::to_string)
        .collect();
    let every: BTreeSet<String> = Later::ALL.iter().map(|round| json!(round).to_string()).collect();
    assert_eq!(rounds, every);
    let shown: BTreeSet<&str> =
        cases.iter().filter_map(|case| case.explained["plan"]["ask"]["kind"].as_str()).collect();
    let every: BTreeSet<&str> = KINDS.into_iter().collect();
    assert_eq!(shown, every);
    for case in &cases {
        if let Plan::Scatter(scatter) = planned(case) {
            let kind = kind(&scatter.ask);
            assert!(every.contains(kind) && case.explained["plan"]["ask"]["kind"] == kind, "{}", case.says);
        }
    }
}

/// Every kind of scattered read.
const KINDS: [&str; 15] = [
    "judge",
    "refused",
    "settings",
    "dynamicSearchRules",
    "setting",
    "search",
    "facetSearch",
    "multiSearch",
    "similar",
    "fields",
    "federation",
    "documents",
    "document",
    "render",
    "stats",
];

/// A new kind of read is asked for here by the compiler, and then by the test among [`KINDS`].
fn kind(ask: &Ask) -> &'static str {
    match ask {
        Ask::Judge => "judge",
        Ask::Refused(_) => "refused",
        Ask::Settings => "settings",
        Ask::Setting { .. } => "setting",
        Ask::DynamicSearchRules => "dynamicSearchRules",
        Ask::Search(_) => "search",
        Ask::FacetSearch(_) => "facetSearch",
        Ask::MultiSearch(_) => "multiSearch",
        Ask::Similar(_) => "similar",
        Ask::Fields(_) => "fields",
        Ask::Federation(_) => "federation",
        Ask::Documents(_) => "documents",
        Ask::Document(_) => "document",
        Ask::Render(_) => "render",
        Ask::Stats(_) => "stats",
    }
}

/// Whatever a request says, an operation that Miroir serves becomes a plan: `miroir_not_supported` is the answer to others.
#[test]
fn every_operation_that_is_served_is_planned() {
    for (method, path, name) in operations() {
        for case in cases("every_operation") {
            let bare = case.path.split('?').next().unwrap_or_default();
            if operation_of(&case.method, bare) == Some((method, path)) {
                let refused = matches!(planned(&case), Plan::Refuse(_));
                assert_eq!(refused, name == "unsupported", "{method} {path}");
            }
        }
    }
}
