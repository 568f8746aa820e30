//! Loading what was dumped, backed up, exported, or what another Meilisearch has.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{MASTER, Unpacked, dump, files, furnish, furnished, keys, whole};
use crate::support::client::eventually;
use crate::support::corpus::cities;
use crate::support::object_store::{ACCESS_KEY, ObjectStore, SECRET_KEY};
use crate::support::parity::load;
use crate::support::small_disk::SmallDisk;
use crate::support::{Client, Fleet, FleetOptions, Single};

pub fn miroir(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_miroir")).args(arguments).output().expect("the program runs")
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `miroir import FILE` into `fleet`.
pub fn import(dump: &Path, fleet: &Fleet, more: &[&str]) -> Output {
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
    other.client.add("vectors", &json!([{"id": "x-3", "_vectors": {"own": null}}]));
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

/// `folder` as a dump: a file called `broken.dump` beside what it is made of.
fn packed(folder: &Path, arguments: &[&str]) -> PathBuf {
    let archive = folder.with_extension("dump");
    let status = Command::new("tar").arg("-czPf").arg(&archive).arg("-C").arg(folder).args(arguments).status();
    assert!(status.expect("tar runs").success());
    archive
}

#[test]
fn what_is_no_dump_of_this_kind_loads_nothing_and_says_why() {
    let fleet = Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, ..Default::default() });
    fleet.client.add("books", &json!([{"id": 1}, {"id": 2}]));
    let archive = dump(&fleet);
    fleet.client.done(&fleet.client.delete("/indexes/books"));
    let refused = |change: &dyn Fn(&Path), reason: &str| {
        let unpacked = Unpacked::of(&archive);
        change(unpacked.folder.path());
        let output = import(&packed(unpacked.folder.path(), &["."]), &fleet, &[]);
        assert_eq!(output.status.code(), Some(1), "{reason}: {}", said(&output));
        assert!(said(&output).contains(reason), "{reason}: {}", said(&output));
        assert_eq!(fleet.client.get("/indexes").ok()["total"], 0, "{reason}");
    };
    let write = |path: &Path, text: &str| std::fs::write(path, text).expect("a file");
    let metadata = |format: &str, version: &str| {
        json!({"dumpVersion": format, "dbVersion": version, "dumpDate": "2026-01-02T03:04:05Z"}).to_string()
    };
    refused(&|folder| write(&folder.join("metadata.json"), &metadata("V7", "9.0.0")), "a dump of format V7");
    let newer = |folder: &Path| write(&folder.join("metadata.json"), &metadata("V6", "99.1.0"));
    refused(&newer, "the source is of Meilisearch 99.1.0");
    refused(&|folder| std::fs::remove_file(folder.join("metadata.json")).expect("a file"), "metadata.json is missing");
    refused(&|folder| write(&folder.join("indexes/books/documents.jsonl"), "{\"id\": 1}\nno JSON\n"), "it is broken");
    refused(&|folder| write(&folder.join("indexes/books/settings.json"), "[]"), "it is broken");
    refused(&|folder| write(&folder.join("keys.jsonl"), "{}\n"), "it is broken");
    let books = |folder: &Path| folder.join("indexes/books");
    let renamed = |name: &'static str| {
        move |folder: &Path| std::fs::rename(books(folder), folder.join("indexes").join(name)).expect("a folder")
    };
    refused(&renamed("a?limit=1"), "`a?limit=1` is not a valid index uid");
    refused(&renamed("films"), "index `films` calls itself `books`");

    // It can be asked for.
    let unpacked = Unpacked::of(&archive);
    newer(unpacked.folder.path());
    let output = import(&packed(unpacked.folder.path(), &["."]), &fleet, &["--accept-newer"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(whole(&fleet.client, "books").len(), 2);
}

#[test]
fn what_an_archive_names_outside_of_itself_is_not_touched() {
    let fleet = Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, ..Default::default() });
    fleet.client.add("books", &json!([{"id": 1}]));
    let archive = dump(&fleet);
    fleet.client.done(&fleet.client.delete("/indexes/books"));
    let unpacked = Unpacked::of(&archive);
    let folder = unpacked.folder.path();
    let outside = tempfile::tempdir().expect("a folder");
    let target = outside.path().join("evil");
    std::fs::write(folder.join("evil"), "{\"id\": 66}").expect("a file");
    std::os::unix::fs::symlink(&target, folder.join("link")).expect("a link");
    let everywhere = format!("s,^\\./evil,{},", target.display());
    let upwards = "s,^\\./link,indexes/../../evil,";
    let packed = packed(folder, &["--transform", &everywhere, "--transform", upwards, "."]);
    let listed = Command::new("tar").arg("-tPzf").arg(&packed).output().expect("tar runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("indexes/../../evil") && listed.contains(&*target.to_string_lossy()), "{listed}");
    let output = import(&packed, &fleet, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!target.exists() && whole(&fleet.client, "books").len() == 1);
}

/// The embedded engine writes no dumps.
#[test]
fn the_dump_of_one_node_is_imported() {
    if std::env::var("MIROIR_TEST_MEILISEARCH").is_err() {
        return;
    }
    let node = Single::with_key(Some(MASTER));
    let key = furnish(&node.client);
    let settings = json!({"embedders": {"rest": {
        "source": "rest", "url": "http://127.0.0.1:9", "apiKey": "a-secret-of-an-embedder", "dimensions": 2,
        "request": {"input": "{{text}}"}, "response": {"data": "{{embedding}}"},
    }}});
    node.client.done(&node.client.json("PATCH", "/indexes/empty/settings", &settings));
    node.client.json("PATCH", "/experimental-features", &json!({"metrics": true})).ok();
    let task = node.client.done(&node.client.post("/dumps", &Value::Null));
    let archive = node
        .node
        .folder
        .join("single.dumps")
        .join(format!("{}.dump", task["details"]["dumpUid"].as_str().expect("a name")));
    let fleet = Fleet::with(FleetOptions { master_key: Some(MASTER), ..Default::default() });
    let output = import(&archive, &fleet, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("a-secret-of-an-embedder"));
    assert_alike(&fleet.client, &node.client);
    let (there, here) = (keys(&fleet.client), keys(&node.client));
    assert!(here.is_subset(&there), "{here:?} {there:?}");
    let by_key = fleet.client.with_key(key["key"].as_str().expect("a key"));
    let search = json!({"q": "san", "limit": 5});
    assert_eq!(by_key.search("cities", &search)["hits"], node.client.search("cities", &search)["hits"]);
    assert_eq!(fleet.client.get("/experimental-features").ok()["metrics"], true);
    let webhook = |client: &Client| client.get("/webhooks").ok()["results"][0]["url"].clone();
    assert_eq!(webhook(&fleet.client), webhook(&node.client));
    // The dump that the cluster makes of it has what came out of the first.
    let again = Unpacked::of(&dump(&fleet));
    let first = Unpacked::of(&archive);
    for index in ["cities", "empty", "vectors"] {
        assert_eq!(again.documents(index), first.documents(index), "{index}");
    }
}

#[test]
fn an_import_of_a_running_node_that_was_stopped_goes_on() {
    let node = Single::start();
    node.client.add("cities", &json!(cities(1500)));
    let fleet = Fleet::with(FleetOptions { nodes: 2, replication_factor: 1, ..Default::default() });
    let path = fleet.folder().join("state.json");
    let state = path.to_string_lossy().into_owned();
    let arguments = |size: &'static str| {
        ["import", "--from", &node.client.url, "--url", &fleet.client.url, "--state", &state, "--batch-size", size]
            .map(str::to_owned)
    };
    let program = || Command::new(env!("CARGO_BIN_EXE_miroir"));
    let mut child = program().args(arguments("2000")).spawn().expect("the program runs");
    eventually("some documents are there", || (reached(&path) > 20).then_some(()));
    child.kill().expect("a running program");
    child.wait().expect("an end");
    let before = reached(&path);
    assert!(before < 1500, "it was stopped half way");
    let output = program().args(arguments("200000")).output().expect("the program runs");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("going on from"), "{}", said(&output));
    assert_eq!(whole(&fleet.client, "cities"), whole(&node.client, "cities"));
    assert!(!path.exists(), "what is done is forgotten");
}

/// How many cities an import has seen arrive, by its state.
fn reached(state: &Path) -> u64 {
    let text = std::fs::read_to_string(state).unwrap_or_default();
    let done: Value = serde_json::from_str(&text).unwrap_or_default();
    done["indexes"]["cities"]["documents"].as_u64().unwrap_or(0)
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
fn a_backup_that_fills_the_disk_leaves_nothing_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("small");
    let disk = match SmallDisk::mount(&place, 4) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("not tested: {why}");
            return;
        }
    };
    let fleet = Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, ..Default::default() });
    load(&fleet.client, "cities", &cities(1500));
    let to = place.to_string_lossy().into_owned();
    let arguments = ["backup", "--to", &to, "--url", &fleet.client.url, "--admin", &fleet.admin.url];
    disk.fill();
    let output = miroir(&arguments);
    assert!(!output.status.success() && said(&output).contains("No space left on device"), "{}", said(&output));
    disk.free();
    let left = || std::fs::read_dir(&place).expect("the folder").count();
    assert_eq!((left(), files(&fleet)), (0, Vec::new()), "nothing half is there, and the gateway's own copy is gone");
    let output = miroir(&arguments);
    assert!(output.status.success() && left() == 1, "{}", said(&output));
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
        "cit*": {"filter": "country = IR"}, "nothing": {},
    }});
    target.client.done(&target.client.delete("/indexes/cities"));
    let task = fleet.client.done(&fleet.client.post("/export", &some));
    let matched = task["details"]["indexes"]["cities"]["matchedDocuments"].as_u64().expect("a count");
    assert_eq!(task["details"]["indexes"].as_object().map(serde_json::Map::len), Some(1), "{task}");
    eventually("the target has worked it off", || {
        (target.client.get("/tasks?statuses=enqueued,processing").ok()["total"] == 0).then_some(())
    });
    let there = whole(&target.client, "cities");
    assert!(there.values().all(|city| city["country"] == "IR") && there.len() as u64 == matched && matched > 0);

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
    assert_eq!(objects.keys().map(|path| format!("s3:/{path}")).collect::<Vec<_>>(), std::slice::from_ref(&place));

    let other =
        Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, master_key: Some(MASTER), ..Default::default() });
    let restored = program(ACCESS_KEY, &["restore", "--from", &place, "--url", &other.client.url]);
    assert!(restored.status.success(), "{}", said(&restored));
    assert_alike(&other.client, &fleet.client);
    let missing = program(ACCESS_KEY, &["restore", "--from", "s3://bucket/nothing", "--url", &other.client.url]);
    assert!(!missing.status.success() && said(&missing).contains("answered 404"), "{}", said(&missing));
}
