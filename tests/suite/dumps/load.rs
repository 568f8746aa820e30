//! Loading what was dumped, backed up, exported, or what another Meilisearch has.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{MASTER, dump, files, furnished, whole};
use crate::support::client::eventually;
use crate::support::corpus::cities;
use crate::support::object_store::{ACCESS_KEY, ObjectStore, SECRET_KEY};
use crate::support::parity::load;
use crate::support::{Client, Fleet, FleetOptions, Single};

fn miroir(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_miroir")).args(arguments).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `miroir import FILE` into `fleet`.
fn import(dump: &Path, fleet: &Fleet, more: &[&str]) -> Output {
    let dump = dump.to_string_lossy().into_owned();
    let mut arguments = vec!["import", &dump, "--url", &fleet.client.url];
    if let Some(key) = &fleet.client.key {
        arguments.extend(["--key", key]);
    }
    arguments.extend(more);
    miroir(&arguments)
}

fn assert_alike(there: &Client, here: &Client) {
    for index in ["cities", "empty", "vectors"] {
        assert_eq!(whole(there, index), whole(here, index), "{index}");
        let settings = format!("/indexes/{index}/settings");
        assert_eq!(there.get(&settings).ok(), here.get(&settings).ok(), "{index}");
        let key = |client: &Client| client.get(&format!("/indexes/{index}")).ok()["primaryKey"].clone();
        assert_eq!(key(there), key(here), "{index}");
    }
}

#[test]
fn a_dump_is_imported_into_another_topology() {
    let (fleet, key) = furnished();
    let archive = dump(&fleet);
    let other =
        Fleet::with(FleetOptions { nodes: 4, replication_factor: 1, master_key: Some(MASTER), ..Default::default() });
    let output = import(&archive, &other, &["--batch-size", "20000"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_alike(&other.client, &fleet.client);
    let there = other.client.get(&format!("/keys/{}", key["uid"].as_str().expect("a uid"))).ok();
    assert_eq!(there["key"], key["key"], "one master key and one uid are one secret");
    assert_eq!(other.client.get("/webhooks").ok()["results"].as_array().map(Vec::len), Some(1));
    assert!(!archive.with_extension("dump.import.json").exists());

    // What is there is not written over unless that is said.
    let again = import(&archive, &other, &[]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    assert!(said(&again).contains("`cities` is there already"), "{}", said(&again));
    let state = archive.with_extension("dump.import.json");
    std::fs::remove_file(&state).expect("the state of the import that was stopped");
    let over = import(&archive, &other, &["--overwrite"]);
    assert!(over.status.success(), "{}", said(&over));
    assert_alike(&other.client, &fleet.client);

    // What is there besides is found by the comparison, and the exit code says so.
    other.client.add("vectors", &json!([{"id": "x-3"}]));
    let differs = import(&archive, &other, &["--overwrite"]);
    assert_eq!(differs.status.code(), Some(2), "{}", said(&differs));
    let count = "index `vectors` has 2 documents in the source and 3 in the target";
    assert!(said(&differs).contains(count), "{}", said(&differs));
}

#[test]
fn an_import_that_was_stopped_goes_on() {
    let (fleet, _) = furnished();
    let archive = dump(&fleet);
    let mut other = Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, ..Default::default() });
    let state = archive.with_extension("dump.import.json");
    let arguments = ["import", &archive.to_string_lossy(), "--url", &other.client.url, "--batch-size", "2000"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_miroir")).args(arguments).spawn().expect("the program runs");
    let reached = |state: &Path| -> u64 {
        let text = std::fs::read_to_string(state).unwrap_or_default();
        let done: Value = serde_json::from_str(&text).unwrap_or_default();
        done["indexes"]["cities"]["documents"].as_u64().unwrap_or(0)
    };
    eventually("some documents are there", || (reached(&state) > 20).then_some(()));
    child.kill().expect("a running program");
    child.wait().expect("an end");
    let before = reached(&state);
    assert!(before < 1500, "it was stopped half way");
    other.kill_gateway();
    other.start_gateway();
    let tasks = |client: &Client| {
        let all = client.get("/tasks?types=documentAdditionOrUpdate&indexUids=cities&limit=1").ok();
        all["total"].as_u64().expect("a total")
    };
    let sent = tasks(&other.client);
    let output = import(&archive, &other, &["--batch-size", "200000"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("going on from"), "{}", said(&output));
    assert!(tasks(&other.client) - sent <= 3, "what was there is not sent again");
    assert_alike(&other.client, &fleet.client);
}

#[test]
fn a_broken_dump_loads_nothing() {
    let fleet = Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, ..Default::default() });
    fleet.client.add("books", &json!([{"id": 1}, {"id": 2}]));
    let archive = dump(&fleet);
    fleet.client.done(&fleet.client.delete("/indexes/books"));
    let whole = std::fs::read(&archive).expect("the dump");
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken.dump");
    for bytes in [&whole[..whole.len() / 2], &whole[..whole.len() - 4], b"no archive", b""] {
        std::fs::write(&broken, bytes).expect("a file");
        let output = import(&broken, &fleet, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("is no dump, or it is broken"), "{}", said(&output));
        assert_eq!(fleet.client.get("/indexes").ok()["total"], 0);
    }
    let missing = import(&folder.path().join("missing.dump"), &fleet, &[]);
    assert!(said(&missing).contains("cannot read"), "{}", said(&missing));
}

#[test]
fn a_running_node_is_imported() {
    let node = Single::with_key(Some(MASTER));
    load(&node.client, "cities", &cities(1200));
    node.client.done(&node.client.post("/indexes", &json!({"uid": "empty"})));
    let settings = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 2}}});
    node.client.done(&node.client.json("PATCH", "/indexes/vectors/settings", &settings));
    node.client
        .add("vectors", &json!([{"id": 1, "_vectors": {"own": [0.5, 1.0]}}, {"id": 2, "_vectors": {"own": null}}]));
    let key = node.client.post("/keys", &json!({"actions": ["search"], "indexes": ["*"], "expiresAt": null})).ok();
    let fleet = Fleet::with(FleetOptions { master_key: Some(MASTER), ..Default::default() });
    let state = fleet.folder().join("state.json").to_string_lossy().into_owned();
    let from = node.client.url.clone();
    let arguments = [
        "import",
        "--from",
        &from,
        "--from-key",
        MASTER,
        "--url",
        &fleet.client.url,
        "--key",
        MASTER,
        "--state",
        &state,
    ];
    let output = miroir(&arguments);
    assert!(output.status.success(), "{}", said(&output));
    assert_alike(&fleet.client, &node.client);
    let secret = key["key"].as_str().expect("a key");
    assert_eq!(
        fleet.client.with_key(secret).search("cities", &json!({"q": "san", "limit": 3}))["hits"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    assert!(!said(&output).contains(MASTER) && !said(&output).contains(secret));
}

#[test]
fn a_backup_is_restored_into_another_topology() {
    let (fleet, _) = furnished();
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("backups").to_string_lossy().into_owned();
    let backup = |to: &str, more: &[&str]| {
        let mut arguments = vec!["backup", "--to", to, "--url", &fleet.client.url, "--key", MASTER];
        arguments.extend(["--admin", &fleet.admin.url, "--admin-key", MASTER]);
        arguments.extend(more);
        miroir(&arguments)
    };
    let first = backup(&to, &[]);
    assert!(first.status.success(), "{}", said(&first));
    assert_eq!(files(&fleet), Vec::<String>::new(), "the gateway's own copy is gone");
    fleet.client.add("cities", &json!([{"id": 900_000_001, "name": "later"}]));
    let second = backup(&to, &["--keep"]);
    assert!(second.status.success() && files(&fleet).len() == 1, "{}", said(&second));
    assert_eq!(std::fs::read_dir(&to).expect("backups").count(), 2);

    let other =
        Fleet::with(FleetOptions { nodes: 2, replication_factor: 2, master_key: Some(MASTER), ..Default::default() });
    let output = miroir(&["restore", "--from", &to, "--url", &other.client.url, "--key", MASTER]);
    assert!(output.status.success(), "{}", said(&output));
    assert_alike(&other.client, &fleet.client);
    assert_eq!(other.client.get("/indexes/cities/documents/900000001").ok()["name"], "later", "the newest is taken");
}

#[test]
fn an_export_brings_the_merged_indexes_to_another_meilisearch() {
    let (fleet, _) = furnished();
    let target = Single::with_key(Some("another-master-key"));
    let body = json!({"url": target.client.url, "apiKey": "another-master-key", "payloadSize": "64KiB"});
    let reply = fleet.client.post("/export", &body);
    assert_eq!(reply.status, 200, "{}", reply.text);
    let task = fleet.client.done(&reply);
    assert_eq!((&task["type"], &task["indexUid"]), (&json!("export"), &Value::Null), "{task}");
    let details = &task["details"];
    assert_eq!((&details["url"], &details["payloadSize"]), (&json!(target.client.url), &json!("64 KiB")), "{task}");
    assert_eq!(
        details["indexes"]["cities"],
        json!({"filter": null, "overrideSettings": false, "matchedDocuments": 1500})
    );
    eventually("the target has worked it off", || {
        (target.client.get("/tasks?statuses=enqueued,processing").ok()["total"] == 0).then_some(())
    });
    assert_alike(&target.client, &fleet.client);

    let some = json!({"url": target.client.url, "apiKey": "another-master-key", "indexes": {
        "cit*": {"filter": "country = FR"}, "nothing": {},
    }});
    target.client.done(&target.client.delete("/indexes/cities"));
    let task = fleet.client.done(&fleet.client.post("/export", &some));
    let matched = task["details"]["indexes"]["cities"]["matchedDocuments"].as_u64().expect("a count");
    assert_eq!(task["details"]["indexes"].as_object().map(serde_json::Map::len), Some(1), "{task}");
    eventually("the target has worked it off", || {
        (target.client.get("/tasks?statuses=enqueued,processing").ok()["total"] == 0).then_some(())
    });
    let there = whole(&target.client, "cities");
    assert!(there.values().all(|city| city["country"] == "FR") && there.len() as u64 == matched && matched > 0);

    let wrong = json!({"url": target.client.url, "apiKey": "a-wrong-key-of-somebody"});
    let task = fleet.client.wait(&fleet.client.post("/export", &wrong));
    assert_eq!((&task["status"], &task["error"]["code"]), (&json!("failed"), &json!("invalid_api_key")), "{task}");
    for secret in ["another-master-key", "a-wrong-key-of-somebody"] {
        assert!(!fleet.gateway().log().contains(secret) && !fleet.client.get("/tasks").text.contains(secret));
    }
}

#[test]
fn a_backup_lies_in_an_object_store() {
    let (fleet, _) = furnished();
    let store = ObjectStore::start();
    let program = |access_key: &str, arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_miroir"))
            .args(arguments)
            .env("AWS_ENDPOINT_URL", &store.url)
            .env("AWS_ACCESS_KEY_ID", access_key)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("MIROIR_KEY", MASTER)
            .env("MIROIR_ADMIN_KEY", MASTER)
            .current_dir(fleet.folder())
            .output()
            .expect("the program runs")
    };
    let backup = ["backup", "--to", "s3://bucket/nightly/", "--url", &fleet.client.url, "--admin", &fleet.admin.url];
    let refused = program("another-key", &backup);
    assert!(!refused.status.success() && said(&refused).contains("answered 403"), "{}", said(&refused));
    assert!(!said(&refused).contains("X-Amz") && !said(&refused).contains(SECRET_KEY), "{}", said(&refused));
    let output = program(ACCESS_KEY, &backup);
    assert!(output.status.success(), "{}", said(&output));
    let place = said(&output).trim().to_owned();
    let objects = store.objects();
    assert_eq!(objects.keys().map(|path| format!("s3:/{path}")).collect::<Vec<_>>(), [place.clone()]);

    let other =
        Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, master_key: Some(MASTER), ..Default::default() });
    let restored = program(ACCESS_KEY, &["restore", "--from", &place, "--url", &other.client.url]);
    assert!(restored.status.success(), "{}", said(&restored));
    assert_alike(&other.client, &fleet.client);
    let missing = program(ACCESS_KEY, &["restore", "--from", "s3://bucket/nothing", "--url", &other.client.url]);
    assert!(!missing.status.success() && said(&missing).contains("answered 404"), "{}", said(&missing));
}
