//! Explained requests: the plan, and each node's part in the result.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::corpus::cities;
use crate::support::parity::load;
use crate::support::{Fleet, FleetOptions};

fn loaded(replication_factor: usize) -> Fleet {
    let fleet = Fleet::with(FleetOptions { replication_factor, ..FleetOptions::default() });
    load(&fleet.client, "cities", &cities(400));
    fleet
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// True if the node of that name holds the city `id`.
fn holds(fleet: &Fleet, node: &Value, id: &Value) -> bool {
    let node = fleet.nodes.iter().find(|known| known.name == *node).expect("a node of the fleet");
    node.client.get(&format!("/indexes/cities/documents/{id}")).status == 200
}

#[test]
fn a_search_that_is_run_traces_each_hit_to_the_node_that_holds_it() {
    let fleet = loaded(1);
    let search = json!({"q": "a", "limit": 12, "attributesToRetrieve": ["name"], "facets": ["country"]});
    let explained = fleet.admin.post("/indexes/cities/explain", &json!({"body": search, "run": true})).ok();
    let rewrites: Vec<&str> = list(&explained["plan"]["covers"][0], "rewrites")
        .iter()
        .filter_map(|rewrite| rewrite["why"].as_str())
        .collect();
    for why in ["ranksToCompare", "fieldToCompare"] {
        assert!(rewrites.contains(&why), "{rewrites:?}");
    }
    let run = &explained["run"];
    assert_eq!(run["status"], 200);
    let hits = list(run, "hits");
    assert_eq!(hits.len(), 12);
    for hit in hits {
        assert!(holds(&fleet, &hit["node"], &hit["id"]), "{hit}");
    }
    // What is shown is what a client gets, but for the primary keys.
    let names = |answer: &Value| list(answer, "hits").iter().map(|hit| hit["name"].clone()).collect::<Vec<_>>();
    let answer = fleet.client.search("cities", &search);
    assert_eq!(names(&run["answer"]), names(&answer));
    assert_eq!(run["answer"]["facetDistribution"], answer["facetDistribution"]);

    let mut given = BTreeMap::new();
    for hit in hits {
        *given.entry(hit["node"].to_string()).or_insert(0) += 1;
    }
    for node in list(run, "nodes") {
        assert_eq!(node["given"], json!(given.get(&node["node"].to_string()).copied().unwrap_or(0)), "{node}");
        assert!(node["offered"].as_u64() >= node["given"].as_u64(), "{node}");
    }
    let searches: Vec<&Value> =
        list(run, "subrequests").iter().filter(|sub| sub["path"] == "/indexes/cities/search").collect();
    assert_eq!(searches.len(), 3);
    for sub in searches {
        assert!(sub["status"] == 200 && sub["milliseconds"].as_f64() > Some(0.0), "{sub}");
    }
    assert!(!run.to_string().contains("_miroir_shard\":"), "{run}");
}

#[test]
fn every_kind_of_read_can_be_run_and_a_write_cannot() {
    let fleet = loaded(2);
    let run = |method: &str, path: &str, body: Value| {
        fleet.admin.post("/explain", &json!({"method": method, "path": path, "body": body, "run": true}))
    };
    let from_nodes = |explained: &Value| list(&explained["run"], "hits").iter().all(|hit| hit["node"].is_string());
    let queries =
        json!([{"indexUid": "cities", "q": "al"}, {"indexUid": "cities", "q": "la", "attributesToRetrieve": ["name"]}]);
    for (path, body, hits) in [
        ("/indexes/cities/search", json!({"q": "a", "distinct": "country"}), true),
        ("/indexes/cities/documents/fetch", json!({"filter": "country = IR", "fields": ["name"]}), true),
        ("/multi-search", json!({"queries": queries}), true),
        ("/multi-search", json!({"queries": queries, "federation": {"limit": 9}}), true),
        ("/indexes/cities/facet-search", json!({"facetName": "country", "facetQuery": "i"}), false),
    ] {
        let explained = run("POST", path, body.clone()).ok();
        assert_eq!(explained["run"]["status"], 200, "{path} {body}: {explained}");
        assert!(from_nodes(&explained), "{path} {body}: {}", explained["run"]);
        assert_eq!(list(&explained["run"], "hits").is_empty(), !hits, "{path} {body}");
        assert!(!list(&explained["run"], "subrequests").is_empty(), "{path} {body}");
        let may_follow = list(&explained["plan"], "mayFollow");
        for followed in list(&explained["run"], "followed") {
            assert!(may_follow.contains(followed), "{path} {body}: {followed}");
        }
    }
    let counted = json!({"q": "a", "distinct": "country", "facets": ["country"], "limit": 3});
    let explained = run("POST", "/indexes/cities/search", counted).ok();
    assert!(list(&explained["run"], "followed").contains(&json!("census")), "{explained}");
    let explained = run("POST", "/indexes/cities/search", json!({"filter": "nothing = 1"})).ok();
    assert_eq!(explained["run"]["status"], 400);
    assert_eq!(explained["run"]["answer"]["code"], "invalid_search_filter");

    let documents = fleet.client.get("/indexes/cities/stats").ok()["numberOfDocuments"].clone();
    let refused = run("POST", "/indexes/cities/documents/delete", json!({"filter": "country = FR"}));
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert_eq!(fleet.client.get("/indexes/cities/stats").ok()["numberOfDocuments"], documents);
    assert_eq!(fleet.admin.post("/indexes/cities/explain", &json!({"operation": "swap"})).status, 400);
    assert_eq!(fleet.admin.post("/indexes/cities/explain", &json!({})).ok()["run"], Value::Null);
}

#[test]
fn what_the_gateway_serves_is_explained_and_nothing_is_done() {
    let fleet = loaded(1);
    let explain = |method: &str, path: &str, body: Value| {
        let explained = fleet.admin.post("/explain", &json!({"method": method, "path": path, "body": body})).ok();
        explained["plan"].clone()
    };
    // Whether nodes work is no sign: they get each other's words beside.
    let figures = || {
        let mut figures = fleet.client.get("/indexes/cities/stats").ok();
        figures.as_object_mut().expect("figures").shift_remove("isIndexing");
        figures
    };
    let before = figures();
    let first = fleet.client.get("/indexes/cities/documents?limit=2").ok();
    let ids: Vec<&Value> = list(&first, "results").iter().map(|city| &city["id"]).collect();

    let one = explain("DELETE", &format!("/indexes/cities/documents/{}", ids[0]), Value::Null);
    assert_eq!(one["plan"], "delete", "{one}");
    let [step] = list(&one["intent"], "steps") else { panic!("one owner: {one}") };
    assert!(holds(&fleet, &step["nodes"][0], ids[0]), "{one}");

    let batch = explain("POST", "/indexes/cities/documents/delete-batch", json!(ids));
    for step in list(&batch["intent"], "steps") {
        for id in step["body"]["json"].as_array().expect("a list of ids") {
            let id: Value = id.as_str().expect("a text").parse().expect("a number");
            assert!(holds(&fleet, &step["nodes"][0], &id), "{batch}");
        }
    }
    assert_eq!(explain("POST", "/indexes/nope/documents/delete-batch", json!([1]))["plan"], "fail");

    let addition = explain("PUT", "/indexes/cities/documents?primaryKey=id", json!([{"id": 1}]));
    assert_eq!(
        (&addition["plan"], &addition["method"], &addition["primaryKey"]),
        (&json!("split"), &json!("update"), &json!("id"))
    );
    let features = explain("PATCH", "/experimental-features", json!({"containsFilter": true}));
    assert_eq!((&features["plan"], list(&features, "nodes").len()), (&json!("everywhere"), 3));
    let indexes = explain("GET", "/indexes?limit=3", Value::Null);
    assert_eq!((&indexes["plan"], &indexes["page"]["limit"]), (&json!("list"), &json!(3)));
    let refused = explain("DELETE", "/indexes/_miroir", Value::Null);
    assert_eq!((&refused["plan"], &refused["code"]), (&json!("refuse"), &json!("invalid_index_uid")));
    assert_eq!(figures(), before);
}

#[test]
fn a_failed_subrequest_is_shown_with_what_made_up_for_it() {
    let mut fleet = Fleet::with(FleetOptions {
        // The gateway does not notice by itself that a node is gone.
        more: "health: { interval: 60s, timeout: 2s, rise: 1, fall: 3 }\n".to_owned(),
        ..FleetOptions::default()
    });
    load(&fleet.client, "cities", &cities(400));
    let search = json!({"body": {"q": "a", "limit": 15}, "run": true});
    let asked = fleet.admin.post("/indexes/cities/explain", &search).ok();
    let first = list(&asked["run"], "subrequests")[0]["node"].clone();
    let victim = fleet.nodes.iter().position(|node| node.name == first).expect("a node of the fleet");
    fleet.nodes[victim].kill();
    let explained = fleet.admin.post("/indexes/cities/explain", &search).ok();
    let failed: Vec<&Value> =
        list(&explained["run"], "subrequests").iter().filter(|sub| sub.get("failed").is_some()).collect();
    assert!(!failed.is_empty() && failed.iter().all(|sub| sub["node"] == first), "{explained}");
    let hits = list(&explained["run"], "hits");
    assert_eq!(hits.len(), 15);
    assert!(hits.iter().all(|hit| hit["node"].is_string() && hit["node"] != first), "{explained}");
}

#[test]
fn the_command_line_shows_covers_and_the_nodes_part_as_tables() {
    let fleet = loaded(1);
    let explain = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_miroir"))
            .args(["explain", "POST", "/indexes/cities/search", r#"{"q":"a","limit":3}"#, "--admin", &fleet.admin.url])
            .args(arguments)
            .output()
            .expect("the program runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let plan = explain(&[]);
    assert!(plan.starts_with("plan scatter search, topology "), "{plan}");
    assert!(plan.contains("upToTheEndOfThePage") || plan.contains("ranksToCompare"), "{plan}");
    assert!(!plan.contains("answered"), "{plan}");
    let run = explain(&["--run"]);
    assert!(run.contains("answered 200 in ") && run.contains("offered"), "{run}");
    let hits = run.lines().skip_while(|line| !line.starts_with("hit ")).skip(1).filter(|line| line.contains("node-"));
    assert_eq!(hits.count(), 3, "{run}");
    let json: Value = serde_json::from_str(&explain(&["--run", "--json"])).expect("JSON");
    assert_eq!(list(&json["run"], "hits").len(), 3);
}
