//! One node that is started from a dump of the cluster: the engine itself is the judge of what a dump is.

use std::path::Path;

use serde_json::json;

use super::{MASTER, Unpacked, dump, each_kind_of_task, furnished, keys, tasks, whole};
use crate::support::Client;
use crate::support::client::eventually;
use crate::support::process::{Process, free_port};

/// A node that has read a dump.
pub struct Started {
    pub client: Client,
    /// Its database is in `data`, its own dumps in `dumps`.
    pub folder: tempfile::TempDir,
    _node: Process,
}

impl Started {
    /// Returns once the node answers.
    pub fn from(engine: &str, archive: &Path) -> Self {
        let dump = archive.to_string_lossy().into_owned();
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("127.0.0.1:{}", free_port());
        let inside = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let (data, dumps) = (inside("data"), inside("dumps"));
        let arguments = [
            "--http-addr",
            &address,
            "--db-path",
            &data,
            "--dump-dir",
            &dumps,
            "--no-analytics",
            "--master-key",
            MASTER,
            "--import-dump",
            &dump,
        ];
        let mut node = Process::start("restored", folder.path(), engine, &arguments);
        let client = Client::new(&format!("http://{address}")).with_key(MASTER);
        eventually("the node has read the dump", || {
            assert!(node.exited().is_none(), "the node does not take the dump: {}", node.log());
            client.try_send("GET", "/health", &[], b"").ok().filter(|reply| reply.status == 200).map(|_| ())
        });
        Self { client, folder, _node: node }
    }
}

/// The embedded engine reads no dumps.
#[test]
fn a_node_starts_from_a_dump() {
    let Ok(engine) = std::env::var("MIROIR_TEST_MEILISEARCH") else { return };
    let (fleet, key) = furnished();
    each_kind_of_task(&fleet.client);
    let archive = dump(&fleet);
    let node = Started::from(&engine, &archive);
    let client = &node.client;
    let there = client.get("/indexes").ok();
    assert_eq!(there["total"], fleet.client.get("/indexes").ok()["total"], "{there}");
    for index in ["cities", "empty", "vectors", "renamed"] {
        assert_eq!(whole(client, index), whole(&fleet.client, index), "{index}");
        for path in [format!("/indexes/{index}"), format!("/indexes/{index}/settings")] {
            let (mut there, mut here) = (client.get(&path).ok(), fleet.client.get(&path).ok());
            // Of the import.
            for shown in [&mut there, &mut here] {
                shown.as_object_mut().expect("an object").remove("updatedAt");
            }
            assert_eq!(there, here, "{path}");
        }
    }
    let by_key = client.with_key(key["key"].as_str().expect("a key"));
    // What ties stands shard by shard in a dump.
    let search = json!({"q": "san", "sort": ["population:desc"], "limit": 5});
    let here = fleet.client.search("cities", &search);
    assert_eq!(by_key.search("cities", &search)["hits"], here["hits"], "the key opens the node");
    assert_eq!(keys(client), keys(&fleet.client));
    let instance = std::fs::read_to_string(node.folder.path().join("data/instance-uid")).expect("an instance uid");
    assert_eq!(instance, Unpacked::of(&archive).text("instance_uid.uuid"));
    assert_eq!(tasks(client), tasks(&fleet.client));
    let next = client.post("/indexes", &json!({"uid": "later"})).ok()["taskUid"].as_u64().expect("an integer");
    assert_eq!(Some(next - 1), tasks(&fleet.client).last().and_then(|task| task["uid"].as_u64()), "integers go on");
    assert_eq!(client.get("/webhooks").ok(), fleet.client.get("/webhooks").ok());
    assert_eq!(client.get("/experimental-features").ok(), fleet.client.get("/experimental-features").ok());
}
