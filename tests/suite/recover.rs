//! The state file is lost: nothing is served on a guess, and `miroir recover` finds out what the nodes hold.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::overload::{replicas_are_equal, settled};
use crate::support::client::eventually;
use crate::support::corpus::cities;
use crate::support::parity::load;
use crate::support::{Fleet, FleetOptions};

const MASTER: &str = "a-master-key-of-tests";

fn recover(fleet: &Fleet) -> Output {
    let folder = fleet.config.parent().expect("a folder");
    Command::new(env!("CARGO_BIN_EXE_miroir"))
        .args(["recover", "--config"])
        .arg(&fleet.config)
        .current_dir(folder)
        .output()
        .expect("the program runs")
}

fn lose_state(fleet: &Fleet) {
    let folder = fleet.config.parent().expect("a folder");
    for file in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        if file.file_name().to_string_lossy().starts_with("miroir.db") {
            std::fs::remove_file(file.path()).expect("a file that can be removed");
        }
    }
}

#[test]
fn a_lost_state_is_rebuilt_from_the_nodes() {
    let documents = cities(400);
    let mut fleet = Fleet::with(FleetOptions {
        master_key: Some(MASTER),
        node_key: Some("the-node-key-of-tests"),
        ..Default::default()
    });
    load(&fleet.client, "cities", &documents);
    let key = fleet
        .client
        .post("/keys", &json!({"name": "of a client", "actions": ["search"], "indexes": ["*"], "expiresAt": null}))
        .ok();

    // One node misses writes: what it holds is not what was acknowledged last.
    fleet.nodes[2].kill();
    let written = fleet.client.post("/indexes/cities/documents", &json!([{"id": 40_000_000, "name": "the newest"}]));
    fleet.client.done(&written);
    let changed = documents[7]["id"].clone();
    fleet.client.done(&fleet.client.json(
        "PUT",
        "/indexes/cities/documents",
        &json!([{"id": changed, "name": "changed"}]),
    ));
    for document in &documents[..40] {
        fleet.client.done(&fleet.client.delete(&format!("/indexes/cities/documents/{}", document["id"])));
    }
    let last = fleet.client.json(
        "PUT",
        "/indexes/cities/documents",
        &json!([{"id": documents[50]["id"], "name": "new name"}]),
    );
    let last = fleet.client.done(&last);
    fleet.kill_gateway();
    fleet.nodes[2].restart();
    lose_state(&fleet);

    // A gateway with an empty state before nodes that are not empty serves nothing and takes nothing.
    fleet.spawn_gateway();
    eventually("the gateway says what is wrong", || {
        let body = json!([{"id": 1}]).to_string();
        let headers = [("Content-Type", "application/json")];
        let reply = fleet.client.try_send("POST", "/indexes/cities/documents", &headers, body.as_bytes()).ok()?;
        assert_eq!(reply.status, 503, "{}", reply.text);
        (reply.value()["code"] == "miroir_state_lost").then_some(())
    });
    assert_eq!(fleet.admin.get("/ready").status, 503);
    assert_ne!(fleet.client.post("/indexes/cities/search", &json!({"q": ""})).status, 200);
    fleet.kill_gateway();

    let output = recover(&fleet);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("recovered 1 indexes") && said.contains("on node-2 differ"), "{said}");
    let again = recover(&fleet);
    assert!(String::from_utf8_lossy(&again.stderr).contains("it is not lost"), "a second time overwrites nothing");

    fleet.start_gateway();
    settled(&fleet);
    replicas_are_equal(&fleet, "cities", 2, documents.len() - 40 + 1);
    let newest = fleet.client.search("cities", &json!({"q": "the newest"}));
    assert_eq!(newest["hits"][0]["id"], 40_000_000);
    let renamed = fleet.client.get(&format!("/indexes/cities/documents/{}", documents[50]["id"])).ok();
    assert_eq!(renamed["name"], "new name");
    // Tasks are found by the ids that clients were given, and keys open what they did.
    let id = last["uid"].as_str().expect("an id of text");
    let task = fleet.client.get(&format!("/tasks/{id}")).ok();
    assert_eq!((&task["status"], &task["type"]), (&json!("succeeded"), &json!("documentAdditionOrUpdate")));
    let secret = key["key"].as_str().expect("a secret");
    let reply = fleet.client.with_key(secret).post("/indexes/cities/search", &json!({"q": ""}));
    assert_eq!(reply.status, 200, "{}", reply.text);
    // Life goes on.
    fleet.client.add("cities", &json!([{"id": 40_000_001, "name": "after"}]));
    let total = fleet.client.search("cities", &json!({"q": "", "hitsPerPage": 1}))["totalHits"].clone();
    assert_eq!(total, Value::from(documents.len() - 40 + 2));
}

#[test]
fn with_another_configuration_nothing_is_recovered() {
    let mut fleet = Fleet::start();
    load(&fleet.client, "cities", &cities(200));
    fleet.kill_gateway();
    lose_state(&fleet);
    let config = std::fs::read_to_string(&fleet.config).expect("the configuration");
    let other = config.replacen("id: node-0", "id: node-7", 1);
    std::fs::write(&fleet.config, other).expect("a file");
    let output = recover(&fleet);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is not that of the lost state"), "{said}");
    // With another number of shards documents would be looked for where they are not.
    lose_state(&fleet);
    std::fs::write(&fleet.config, config.replacen("  shards: 256\n", "", 1)).expect("a file");
    let output = recover(&fleet);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is in another shard than it would be with 64 shards"), "{said}");
    lose_state(&fleet);
    std::fs::write(&fleet.config, config).expect("a file");
    assert!(recover(&fleet).status.success());
    fleet.start_gateway();
    settled(&fleet);
    replicas_are_equal(&fleet, "cities", 2, 200);
}
