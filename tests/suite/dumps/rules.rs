//! Dynamic search rules, in dumps and out of them. The embedded engine has none.

use serde_json::{Value, json};

use super::load::{import, miroir, said};
use super::started::Started;
use super::{MASTER, Unpacked, dump};
use crate::support::{Client, Fleet, FleetOptions, Single};

const RULES: &str = "/dynamic-search-rules";

fn fleet() -> Fleet {
    Fleet::with(FleetOptions { nodes: 2, replication_factor: 1, master_key: Some(MASTER), ..Default::default() })
}

fn switch(client: &Client, on: bool) {
    client.json("PATCH", "/experimental-features", &json!({ "dynamicSearchRules": on })).ok();
}

fn is_on(client: &Client) -> bool {
    client.get("/experimental-features").ok()["dynamicSearchRules"] == true
}

/// Two rules of different age, and an index in which one of them pins.
fn furnish(client: &Client) {
    switch(client, true);
    client.add("books", &json!([{"id": 1, "title": "sea"}, {"id": 2, "title": "sea"}, {"id": 3, "title": "sea"}]));
    let pin = json!({"selector": {"indexUid": "books", "id": "3"}, "action": {"type": "pin", "position": 0}});
    let full = json!({
        "description": "Three first", "precedence": 2, "actions": [pin],
        "conditions": {"query": {"words": "sea"}, "time": {"start": "2020-01-01T00:00:00Z"}},
    });
    client.done(&client.json("PATCH", &format!("{RULES}/z"), &full));
    client.done(&client.json("PATCH", &format!("{RULES}/a"), &json!({"active": false, "actions": []})));
}

/// All rules without their moments, the youngest first.
fn rules(client: &Client) -> Vec<Value> {
    let page = client.post(RULES, &json!({})).ok();
    let mut rules = page["results"].as_array().expect("rules").clone();
    rules.iter_mut().for_each(|rule| _ = rule.as_object_mut().expect("a rule").remove("lastUpdatedAt"));
    rules
}

fn hits(client: &Client) -> Vec<Value> {
    let found = client.search("books", &json!({"q": "sea"}));
    found["hits"].as_array().expect("hits").iter().map(|hit| hit["id"].clone()).collect()
}

/// There and back: the cluster's dump starts a node, and that node's own dump is loaded into another cluster.
#[test]
fn rules_are_taken_to_a_node_and_back() {
    let Ok(engine) = std::env::var("MIROIR_TEST_MEILISEARCH") else { return };
    let one = fleet();
    furnish(&one.client);
    assert_eq!(hits(&one.client), [3, 1, 2]);
    let archive = dump(&one);

    let node = Started::from(&engine, &archive);
    assert_eq!(rules(&node.client), rules(&one.client));
    let whole = |client: &Client| client.post(RULES, &json!({})).ok();
    assert_eq!(whole(&node.client), whole(&one.client), "their moments too");
    assert_eq!(hits(&node.client), [3, 1, 2], "the engine finds what it looks rules up by");
    // It keeps its rules in its dump while their switch is off.
    switch(&node.client, false);
    let task = node.client.done(&node.client.post("/dumps", &Value::Null));
    let uid = task["details"]["dumpUid"].as_str().expect("a name");
    let back = node.folder.path().join("dumps").join(format!("{uid}.dump"));
    let file = "indexes/.meili_dsr/documents.jsonl";
    assert_eq!(Unpacked::of(&back).lines(file), Unpacked::of(&archive).lines(file));
    let settings = |archive| Unpacked::of(archive).json("indexes/.meili_dsr/settings.json");
    let (theirs, ours) = (settings(&back), settings(&archive));
    for (name, value) in ours.as_object().expect("settings") {
        let part = |name: &str| (&value[name], &theirs["typoTolerance"][name]);
        match name.as_str() {
            "typoTolerance" => {
                ["enabled", "disableOnNumbers"].map(part).into_iter().for_each(|(a, b)| assert_eq!(a, b))
            }
            _ => assert_eq!(value, &theirs[name], "{name}"),
        }
    }

    let two = fleet();
    let output = import(&back, &two, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!is_on(&two.client), "as it is in the dump");
    switch(&two.client, true);
    let by_uid = |mut rules: Vec<Value>| {
        rules.sort_by_key(|rule| rule["uid"].to_string());
        rules
    };
    assert_eq!(by_uid(rules(&two.client)), by_uid(rules(&one.client)));
    assert_eq!(hits(&two.client), [3, 1, 2]);
    // What is there stays unless that is said, and the difference is found.
    two.client.done(&two.client.json("PATCH", &format!("{RULES}/a"), &json!({"precedence": 9})));
    two.client.done(&two.client.delete("/indexes/books"));
    let output = import(&back, &two, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("dynamic search rule `a` differs"), "{}", said(&output));
    let output = import(&back, &two, &["--overwrite"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(by_uid(rules(&two.client)), by_uid(rules(&one.client)));
}

#[test]
fn rules_of_a_running_node_come_along() {
    if std::env::var("MIROIR_TEST_MEILISEARCH").is_err() {
        return;
    }
    let (node, two) = (Single::with_key(Some(MASTER)), fleet());
    furnish(&node.client);
    let state = two.folder().join("state.json").to_string_lossy().into_owned();
    let arguments =
        ["import", "--from", &node.client.url, "--from-key", MASTER, "--url", &two.client.url, "--key", MASTER];
    let output = miroir(&[&arguments[..], &["--state", &state]].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert!(is_on(&two.client));
    assert_eq!(rules(&two.client), rules(&node.client));
    assert_eq!(hits(&two.client), hits(&node.client));
}
