//! Golden scenarios: `tests/golden/scenarios/*.json`, each run against one node and against clusters.
//!
//! A scenario has indexes and requests. The whole answers are compared, but for what no two answers share (times and ids
//! of requests); and what a request `expects`, by JSON pointer, both must say.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::parity::leaks;
use crate::support::{Client, Fleet, FleetOptions, Single};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    says: String,
    indexes: BTreeMap<String, Contents>,
    requests: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Contents {
    primary_key: String,
    #[serde(default)]
    settings: Value,
    documents: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    says: String,
    #[serde(default = "post")]
    method: String,
    path: String,
    #[serde(default)]
    body: Value,
    #[serde(default = "ok")]
    status: u16,
    /// By JSON pointer into the answer.
    expects: BTreeMap<String, Value>,
}

fn post() -> String {
    "POST".to_owned()
}

fn ok() -> u16 {
    200
}

fn scenarios() -> Vec<(String, Scenario)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/scenarios");
    let mut all: Vec<(String, Scenario)> = std::fs::read_dir(folder)
        .expect("the folder of scenarios")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a readable file");
            (name.clone(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect();
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

fn set_up(client: &Client, scenario: &Scenario) {
    for (index, contents) in &scenario.indexes {
        client.done(&client.post("/indexes", &json!({"uid": index, "primaryKey": contents.primary_key})));
        if contents.settings.is_object() {
            client.done(&client.json("PATCH", &format!("/indexes/{index}/settings"), &contents.settings));
        }
        client.add(index, &contents.documents);
    }
}

fn tear_down(client: &Client, scenario: &Scenario) {
    for index in scenario.indexes.keys() {
        client.done(&client.delete(&format!("/indexes/{index}")));
    }
}

/// Without what no two answers share.
fn comparable(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.retain(|name, _| {
                !["processingTimeMs", "requestUid", "createdAt", "updatedAt"].contains(&name.as_str())
            });
            members.values_mut().for_each(|member| *member = comparable(member.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = comparable(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// The answer of `client`, checked against what the scenario expects of it.
fn answer(client: &Client, asked: &Asked, place: &str) -> Value {
    let reply = match asked.method.as_str() {
        "GET" => client.get(&asked.path),
        method => client.json(method, &asked.path, &asked.body),
    };
    let value = reply.value();
    assert_eq!(reply.status, asked.status, "{place}: {value}");
    for (pointer, expected) in &asked.expects {
        let found = value.pointer(pointer).cloned().unwrap_or(Value::Null);
        assert_eq!(&found, expected, "{place}: {pointer} of {value}");
    }
    assert!(reply.header("x-miroir-degraded").is_none(), "{place}");
    value
}

#[test]
fn scenarios_play_alike_on_one_node_and_on_clusters() {
    let single = Single::start();
    let fleets = [(3, 1), (3, 2), (4, 3)].map(|(nodes, replication_factor)| {
        Fleet::with(FleetOptions { nodes, replication_factor, ..FleetOptions::default() })
    });
    let scenarios = scenarios();
    assert!(!scenarios.is_empty());
    for (name, scenario) in &scenarios {
        set_up(&single.client, scenario);
        for fleet in &fleets {
            set_up(&fleet.client, scenario);
        }
        for asked in &scenario.requests {
            let place = format!("{name} ({}): {}", scenario.says, asked.says);
            assert!(!asked.expects.is_empty(), "{place}: expects nothing");
            let want = comparable(answer(&single.client, asked, &format!("one node, {place}")));
            for (fleet, nodes) in fleets.iter().zip(["3 nodes, RF 1", "3 nodes, RF 2", "4 nodes, RF 3"]) {
                let got = answer(&fleet.client, asked, &format!("{nodes}, {place}"));
                assert!(!leaks(&got), "{nodes}, {place}: {got}");
                // The order of members counts: facets have one.
                assert_eq!(comparable(got).to_string(), want.to_string(), "{nodes}, {place}");
            }
        }
        for client in [&single.client].into_iter().chain(fleets.iter().map(|fleet| &fleet.client)) {
            tear_down(client, scenario);
        }
    }
}
