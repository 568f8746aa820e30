//! The whole cluster as one archive in Meilisearch's own format.

mod chats;
mod load;
mod rules;
mod started;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::client::{Reply, eventually, id_of, more};
use crate::support::corpus::cities;
use crate::support::fleet::is_embedded;
use crate::support::parity::load;
use crate::support::small_disk::SmallDisk;
use crate::support::stop::StopOnDrop;
use crate::support::{Client, Fleet, FleetOptions, Single};

const MASTER: &str = "a-master-key-of-16";

/// A dump, unpacked by the system's own tar.
struct Unpacked {
    folder: tempfile::TempDir,
}

impl Unpacked {
    fn of(dump: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let status = Command::new("tar").arg("-xzf").arg(dump).arg("-C").arg(folder.path()).status();
        assert!(status.expect("tar runs").success(), "{} is no archive", dump.display());
        Self { folder }
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn lines(&self, path: &str) -> Vec<Value> {
        self.text(path).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    fn documents(&self, index: &str) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        for document in self.lines(&format!("indexes/{index}/documents.jsonl")) {
            let id = id_of(&document);
            assert!(found.insert(id.clone(), document).is_none(), "{id} is there twice");
        }
        found
    }

    fn indexes(&self) -> BTreeSet<String> {
        let folder = std::fs::read_dir(self.folder.path().join("indexes")).expect("a folder of indexes");
        folder.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

fn dumps_of(fleet: &Fleet) -> PathBuf {
    fleet.folder().join("dumps")
}

/// What is in the folder of dumps.
fn files(fleet: &Fleet) -> Vec<String> {
    let entries = std::fs::read_dir(dumps_of(fleet)).into_iter().flatten();
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// Has a dump made; where it is.
fn dump(fleet: &Fleet) -> PathBuf {
    let task = fleet.client.done(&fleet.client.post("/dumps", &Value::Null));
    assert_eq!((&task["type"], &task["indexUid"]), (&json!("dumpCreation"), &Value::Null), "{task}");
    let uid = task["details"]["dumpUid"].as_str().unwrap_or_else(|| panic!("no name: {task}"));
    dumps_of(fleet).join(format!("{uid}.dump"))
}

/// Cities with settings, documents with vectors, an index without documents; a key and a webhook.
fn furnish(client: &Client) -> Value {
    load(client, "cities", &cities(1500));
    client.done(&client.post("/indexes", &json!({"uid": "empty"})));
    let settings = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 2}}, "synonyms": {"a": ["b"]}});
    client.done(&client.json("PATCH", "/indexes/vectors/settings", &settings));
    client.add("vectors", &json!([
        {"name": "first", "id": "x-1", "_vectors": {"own": [0.5, 1.0]}},
        {"id": "x-2", "name": "without", "_vectors": {"own": null}, "nested": {"a": [1, 2.5, null], "ü": "\u{1f600}"}},
    ]));
    client.post("/webhooks", &json!({"url": "http://127.0.0.1:9/", "headers": {"Authorization": "a secret"}})).ok();
    let key =
        json!({"name": "mine", "actions": ["search"], "indexes": ["cities"], "expiresAt": "2099-01-01T00:00:00Z"});
    client.post("/keys", &key).ok()
}

/// The secrets of all keys.
fn keys(client: &Client) -> BTreeSet<String> {
    let all = client.get("/keys?limit=100").ok();
    all["results"].as_array().expect("keys").iter().map(|key| key["key"].to_string()).collect()
}

/// Tasks of every kind and end that a cluster has.
fn each_kind_of_task(client: &Client) {
    let settle = |reply: Reply| {
        client.wait(&reply);
    };
    client.add("other", &json!([{"id": 1, "a": 1}, {"id": 2, "a": 2}, {"id": 3, "a": 3}, {"id": 4, "a": 4}]));
    let settings = json!({
        "filterableAttributes": ["a", {"attributePatterns": ["b*"], "features": {"facetSearch": false}}],
        "typoTolerance": {"minWordSizeForTypos": {"oneTypo": 4}}, "rankingRules": ["words", "a:asc"], "stopWords": null,
        "embedders": {"own": {"source": "userProvided", "dimensions": 3}}, "faceting": {"maxValuesPerFacet": 7},
    });
    settle(client.json("PATCH", "/indexes/other/settings", &settings));
    settle(client.delete("/indexes/other/settings"));
    settle(client.json("PUT", "/indexes/other/settings/filterable-attributes", &json!(["a"])));
    settle(client.json("PUT", "/indexes/other/settings/searchable-attributes", &json!(["a"])));
    settle(client.json("PUT", "/indexes/other/documents", &json!([{"id": 1, "b": 1}])));
    settle(client.post("/indexes/other/documents", &json!([{"no": "id"}])));
    settle(client.delete("/indexes/other/documents/1"));
    settle(client.post("/indexes/other/documents/delete-batch", &json!([2, 99])));
    settle(client.post("/indexes/other/documents/delete", &json!({"filter": "a = 3"})));
    settle(client.post("/indexes/other/documents/delete", &json!({"filter": ["a = 3", ["a = 5", "a = 6"]]})));
    client.json("PATCH", "/experimental-features", &json!({"editDocumentsByFunction": true})).ok();
    let edit = json!({"function": "doc.a = 9", "filter": "a = 4", "context": {"x": 1}});
    settle(client.post("/indexes/other/documents/edit", &edit));
    settle(client.delete("/indexes/other/documents"));
    settle(client.json("PATCH", "/indexes/other", &json!({"primaryKey": "id"})));
    settle(client.post("/indexes", &json!({"uid": "other"})));
    settle(client.post("/indexes", &json!({"uid": "gone", "primaryKey": "k"})));
    settle(client.post("/swap-indexes", &json!([{"indexes": ["gone", "other"]}])));
    settle(client.json("PATCH", "/indexes/other", &json!({"uid": "renamed"})));
    settle(client.delete("/indexes/gone"));
    settle(client.delete("/indexes/gone"));
    settle(client.post("/export", &json!({"url": "http://127.0.0.1:9", "indexes": {"nothing*": {"filter": "a = 1"}}})));
    settle(client.post("/snapshots", &Value::Null));
    settle(client.post("/tasks/cancel?statuses=enqueued", &Value::Null));
    settle(client.delete("/tasks?statuses=canceled"));
}

/// Tasks as an official client sees them, but for what a dump of a cluster does not have: batches, and the times of its own task.
fn tasks(client: &Client) -> Vec<Value> {
    let client_header = ("X-Meilisearch-Client", "Meilisearch Rust (v0.30.0)");
    let all = client.send("GET", "/tasks?limit=1000&reverse=true", &[client_header], b"").ok();
    let mut found = all["results"].as_array().expect("tasks").clone();
    for task in &mut found {
        let is_dump = task["type"] == "dumpCreation";
        let members = task.as_object_mut().expect("an object");
        members.remove("batchUid");
        members.retain(|name, _| !is_dump || !matches!(name.as_str(), "startedAt" | "finishedAt" | "duration"));
    }
    found
}

/// Every document with its vectors.
fn whole(client: &Client, index: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    loop {
        let path = format!("/indexes/{index}/documents?retrieveVectors=true&limit=1000&offset={}", found.len());
        let page = client.get(&path).ok();
        for document in page["results"].as_array().expect("results") {
            let mut document = document.clone();
            if document["_vectors"] == json!({}) {
                document.as_object_mut().expect("a document").remove("_vectors");
            }
            assert!(found.insert(id_of(&document), document).is_none());
        }
        if found.len() as u64 >= page["total"].as_u64().expect("a total") {
            return found;
        }
    }
}

fn furnished() -> (Fleet, Value) {
    let fleet = Fleet::with(FleetOptions { master_key: Some(MASTER), ..Default::default() });
    let key = furnish(&fleet.client);
    (fleet, key)
}

#[test]
fn a_dump_has_everything_and_nothing_of_miroirs_own() {
    let (fleet, key) = furnished();
    let unpacked = Unpacked::of(&dump(&fleet));
    assert_eq!(files(&fleet).len(), 1, "{:?}", files(&fleet));

    let metadata = unpacked.json("metadata.json");
    assert_eq!(metadata["dumpVersion"], "V6");
    assert_eq!(metadata["dbVersion"], fleet.client.get("/version").ok()["pkgVersion"]);
    assert_eq!(unpacked.indexes(), ["cities", "empty", "vectors"].map(str::to_owned).into());
    for index in unpacked.indexes() {
        assert_eq!(unpacked.documents(&index), whole(&fleet.client, &index), "{index}");
        let shown = fleet.client.get(&format!("/indexes/{index}")).ok();
        assert_eq!(unpacked.json(&format!("indexes/{index}/metadata.json")), shown);
        let settings = fleet.client.get(&format!("/indexes/{index}/settings")).ok();
        assert_eq!(unpacked.json(&format!("indexes/{index}/settings.json")), settings);
    }
    assert_eq!(unpacked.documents("cities").len(), 1500);
    assert_eq!(unpacked.documents("vectors")["x-1"]["_vectors"]["own"]["embeddings"], json!([[0.5, 1.0]]));

    let keys = unpacked.lines("keys.jsonl");
    assert_eq!(keys.len() as u64, fleet.client.get("/keys").ok()["total"].as_u64().expect("a total"));
    let mine = keys.iter().find(|line| line["uid"] == key["uid"]).expect("the key is there");
    assert_eq!((&mine["expires_at"], &mine["actions"]), (&json!("2099-01-01T00:00:00Z"), &json!(["search"])));
    let webhooks = unpacked.json("webhooks.json");
    let webhook = webhooks["webhooks"].as_object().and_then(|all| all.values().next()).expect("a webhook");
    assert_eq!(webhook["headers"]["Authorization"], "a secret", "who starts from the dump needs it as it is");
    assert_eq!(unpacked.json("experimental-features.json"), fleet.client.get("/experimental-features").ok());

    let status = Command::new("grep").args(["-rq", "_miroir"]).arg(unpacked.folder.path()).status();
    assert_eq!(status.expect("grep runs").code(), Some(1), "a name of Miroir's own is in the dump");
    let tasks = fleet.client.get("/tasks?types=dumpCreation").ok();
    assert_eq!(tasks["total"], 1);
    // All that came before it, and itself.
    let queue = unpacked.lines("tasks/queue.jsonl");
    assert_eq!(queue.len() as u64, fleet.client.get("/tasks").ok()["total"].as_u64().expect("a total"));
    let own = queue.last().expect("a task");
    assert_eq!((&own["status"], own["details"]["Dump"]["dump_uid"].is_string()), (&json!("succeeded"), true), "{own}");
    assert!(!fleet.gateway().log().contains("a secret"));
}

#[test]
fn a_snapshot_takes_the_place_of_the_last_one() {
    let fleet = Fleet::with(FleetOptions { master_key: Some(MASTER), ..Default::default() });
    let snapshot = || fleet.client.done(&fleet.client.post("/snapshots", &Value::Null));
    load(&fleet.client, "cities", &cities(20));
    snapshot();
    fleet.client.add("cities", &json!(cities(300)));
    let task = snapshot();
    assert_eq!((&task["type"], &task["indexUid"]), (&json!("snapshotCreation"), &Value::Null), "{task}");
    assert_eq!(task.get("details"), None, "{task}");
    assert_eq!(files(&fleet), ["snapshot.dump"]);
    let unpacked = Unpacked::of(&dumps_of(&fleet).join("snapshot.dump"));
    assert_eq!(unpacked.documents("cities"), whole(&fleet.client, "cities"));
    let queue = unpacked.lines("tasks/queue.jsonl");
    assert_eq!(queue.iter().filter(|line| line["type"] == "snapshotCreation").count(), 2, "{queue:?}");

    let search = json!({"actions": ["search"], "indexes": ["*"], "expiresAt": null});
    let search = fleet.client.post("/keys", &search).ok();
    let denied = fleet.client.with_key(search["key"].as_str().expect("a key")).post("/snapshots", &Value::Null);
    assert_eq!((denied.status, &denied.value()["code"]), (403, &json!("invalid_api_key")));

    // The judge of what such a task shows; the embedded engine makes no snapshots.
    if !is_embedded() {
        let single = Single::start();
        let (here, there) =
            (fleet.client.post("/snapshots", &Value::Null), single.client.post("/snapshots", &Value::Null));
        assert_eq!(here.status, there.status);
        let members = |client: &Client, reply: &Reply| -> BTreeSet<String> {
            client.done(reply).as_object().expect("a task").keys().cloned().collect()
        };
        assert_eq!(members(&fleet.client, &here), members(&single.client, &there));
    }
}

/// Each write changes three documents together and adds one; each tenth deletes by filter. What a dump shows is what there was
/// after some write, whole.
#[test]
fn a_dump_is_of_one_moment_while_writes_go_on() {
    let fleet = Fleet::start();
    let all = cities(0);
    load(&fleet.client, "cities", &all);
    let tied = [900_000_001_u64, 900_000_002, 900_000_003];
    let (stop, writes) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut archives = Vec::new();
    std::thread::scope(|scope| {
        let ending = StopOnDrop(&stop);
        let (stop, writes, client) = (&stop, &writes, fleet.client.clone());
        scope.spawn(move || {
            for round in 1_u64.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let mut body: Vec<Value> = tied.iter().map(|id| json!({"id": id, "population": round})).collect();
                body.push(json!({"id": 910_000_000 + round, "name": "added", "feature": format!("r{round}")}));
                client.post("/indexes/cities/documents", &json!(body)).ok();
                if round.is_multiple_of(10) {
                    // What was added in the round before.
                    let filter = json!({"filter": format!("feature = r{}", round - 1)});
                    client.post("/indexes/cities/documents/delete", &filter).ok();
                }
                writes.fetch_add(1, Ordering::Relaxed);
            }
        });
        more(writes, 5);
        for _ in 0..3 {
            // What was acknowledged before the dump was asked for, indexed or not.
            let before = writes.load(Ordering::Relaxed) as u64;
            archives.push((before, dump(&fleet)));
            more(writes, 3);
        }
        drop(ending);
    });
    for (before, archive) in &archives {
        let documents = Unpacked::of(archive).documents("cities");
        let rounds: BTreeSet<u64> =
            tied.iter().map(|id| documents[&id.to_string()]["population"].as_u64().expect("a round")).collect();
        assert_eq!(rounds.len(), 1, "three documents of one write are of one moment: {rounds:?}");
        let round = *rounds.first().expect("a round");
        assert!(round >= *before, "{before} writes were acknowledged before, and the dump is of write {round}");
        let added: BTreeSet<u64> = documents
            .keys()
            .filter_map(|id| id.parse::<u64>().ok()?.checked_sub(910_000_000))
            .filter(|round| *round > 0)
            .collect();
        let after_deletion: BTreeSet<u64> = (1..=round).filter(|added| added % 10 != 9 || *added + 1 > round).collect();
        // The moment may lie between a tenth write and the deletion that follows it.
        let before_deletion: BTreeSet<u64> =
            (1..=round).filter(|added| added % 10 != 9 || *added + 1 >= round).collect();
        assert!(added == after_deletion || added == before_deletion, "round {round}: {added:?}");
        assert_eq!(documents.len(), all.len() + tied.len() + added.len());
    }
}

#[test]
fn a_gateway_that_is_killed_leaves_no_half_dump_and_finishes_later() {
    let mut fleet = Fleet::start();
    load(&fleet.client, "cities", &cities(0));
    let accepted = fleet.client.post("/dumps", &Value::Null).ok();
    eventually("the dump is under way", || files(&fleet).iter().any(|file| file.ends_with(".part")).then_some(()));
    fleet.kill_gateway();
    let left = files(&fleet);
    assert!(left.iter().all(|file| file.ends_with(".part")), "{left:?}");
    std::fs::write(dumps_of(&fleet).join("20200101-000000000.dump"), "of the operator's").expect("a file");
    fleet.start_gateway();
    let task = fleet.client.wait_id(accepted["taskUid"].as_str().expect("an id"));
    assert_eq!(task["status"], "succeeded", "{task}");
    let name = format!("{}.dump", task["details"]["dumpUid"].as_str().expect("a name"));
    let there: BTreeSet<String> = files(&fleet).into_iter().collect();
    assert_eq!(there, [name.clone(), "20200101-000000000.dump".to_owned()].into());
    let documents = Unpacked::of(&dumps_of(&fleet).join(name)).documents("cities");
    assert_eq!(documents, whole(&fleet.client, "cities"));
}

#[test]
fn a_dump_that_is_canceled_is_none() {
    let fleet = Fleet::start();
    load(&fleet.client, "cities", &cities(4000));
    // The second waits for the first; two stopped nodes hold both, because they have all replicas of some shards.
    let stopped = &fleet.nodes[..2];
    stopped.iter().for_each(|node| node.signal("STOP"));
    let asked: Vec<Value> = (0..2).map(|_| fleet.client.post("/dumps", &Value::Null).ok()).collect();
    let ids: Vec<&str> = asked.iter().map(|task| task["taskUid"].as_str().expect("an id")).collect();
    let cancelation = fleet.client.post(&format!("/tasks/cancel?uids={}", ids.join(",")), &Value::Null);
    stopped.iter().for_each(|node| node.signal("CONT"));
    let cancelation = fleet.client.done(&cancelation);
    assert_eq!(cancelation["details"]["matchedTasks"], 2, "{cancelation}");
    assert_eq!(cancelation["details"]["canceledTasks"], 2, "{cancelation}");
    for id in ids {
        let task = fleet.client.wait_id(id);
        assert_eq!((&task["status"], &task["details"]), (&json!("canceled"), &json!({"dumpUid": null})), "{task}");
        assert_eq!((&task["error"], task["canceledBy"].is_u64()), (&Value::Null, true), "{task}");
    }
    // What was written goes when the copying hears of it.
    eventually("nothing is left of it", || files(&fleet).is_empty().then_some(()));
    let archive = dump(&fleet);
    assert_eq!(Unpacked::of(&archive).documents("cities").len(), 4000);
}

#[test]
fn a_dump_that_cannot_be_written_is_a_failed_task() {
    let nowhere = "dumps: { dir: /dev/null/dumps }\n".to_owned();
    let fleet = Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, more: nowhere, ..Default::default() });
    let task = fleet.client.wait(&fleet.client.post("/dumps", &Value::Null));
    assert_eq!((&task["status"], &task["error"]["type"]), (&json!("failed"), &json!("internal")), "{task}");
    assert!(!task["error"]["message"].to_string().contains("/dev/null"), "{task}");
    assert_eq!(task["details"], json!({"dumpUid": null}), "{task}");
}

#[test]
fn a_dump_that_fills_the_disk_is_a_failed_task() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = match SmallDisk::mount(&folder.path().join("small"), 8) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("not tested: {why}");
            return;
        }
    };
    let more = format!("dumps: {{ dir: \"{}\" }}\n", folder.path().join("small").display());
    let fleet = Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, more, ..Default::default() });
    load(&fleet.client, "cities", &cities(3000));
    disk.fill();
    let task = fleet.client.wait(&fleet.client.post("/dumps", &Value::Null));
    assert_eq!(
        (&task["status"], &task["error"]["code"]),
        (&json!("failed"), &json!("no_space_left_on_device")),
        "{task}"
    );
    disk.free();
    fleet.client.done(&fleet.client.post("/dumps", &Value::Null));
    let left = std::fs::read_dir(folder.path().join("small")).expect("the folder").count();
    assert_eq!(left, 1, "the dump alone");
}

/// Names that change while a dump is made: every document is in it once.
#[test]
fn a_swap_while_a_dump_is_made_loses_nothing() {
    let fleet = Fleet::start();
    load(&fleet.client, "a", &cities(4000));
    fleet.client.add("z", &json!([{"id": 1, "only": "here"}]));
    let accepted = fleet.client.post("/dumps", &Value::Null);
    eventually("the dump is under way", || files(&fleet).iter().any(|file| file.ends_with(".part")).then_some(()));
    fleet.client.done(&fleet.client.post("/swap-indexes", &json!([{"indexes": ["a", "z"]}])));
    let task = fleet.client.done(&accepted);
    let name = format!("{}.dump", task["details"]["dumpUid"].as_str().expect("a name"));
    let unpacked = Unpacked::of(&dumps_of(&fleet).join(name));
    let sizes = [unpacked.documents("a").len(), unpacked.documents("z").len()];
    assert!(sizes == [4000, 1] || sizes == [1, 4000], "{sizes:?}");
}
