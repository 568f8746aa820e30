//! What a node keeps over its end.

use std::collections::BTreeSet;

use miroir_words::task::TaskStatus;
use serde_json::json;

use super::Server;
use crate::node::{NodeOptions, OpenNode};

#[test]
fn accepted_tasks_and_their_documents_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut accepted = BTreeSet::new();
    {
        let server = Server::start(folder.path());
        for id in 0..20 {
            let reply = server.json("POST", "/indexes/kept/documents", &json!([{"id": id, "text": "kept"}]));
            assert_eq!(reply.status, 202);
            accepted.insert(reply.body["taskUid"].as_u64().unwrap());
        }
    }
    let server = Server::start(folder.path());
    for uid in &accepted {
        let task = server.node().node.queue.wait_for(u32::try_from(*uid).unwrap());
        assert_eq!(task.status, TaskStatus::Succeeded, "{:?}", task.error);
    }
    assert_eq!(server.get("/indexes/kept/stats")["numberOfDocuments"], 20);
    assert_eq!(server.get("/tasks?limit=1")["results"][0]["uid"], 19);
}

#[test]
fn a_task_that_was_interrupted_after_its_commit_is_not_done_twice() {
    let folder = tempfile::tempdir().unwrap();
    {
        let server = Server::start(folder.path());
        server.task("POST", "/indexes", &json!({"uid": "left", "primaryKey": "id"}));
        server.task("POST", "/indexes", &json!({"uid": "right"}));
        server.task("POST", "/swap-indexes", &json!([{"indexes": ["left", "right"]}]));
        server.task("POST", "/indexes", &json!({"uid": "third"}));
        server.ended(&server.send("DELETE", "/indexes/third", &[], None));
    }
    // The rows as a node leaves them that is killed between the indexes' commit and its own.
    let rows = rusqlite::Connection::open(folder.path().join("tasks.db")).unwrap();
    let notes: Vec<Option<String>> = (0..5)
        .map(|uid| rows.query_row("SELECT note FROM tasks WHERE uid = ?1", [uid], |row| row.get(0)).unwrap())
        .collect();
    assert_eq!(notes, vec![None; 5], "notes go with the end of their task");
    rows.execute("UPDATE tasks SET status = 'processing', finished_at = NULL WHERE uid IN (0, 4)", []).unwrap();
    drop(rows);

    let server = Server::start(folder.path());
    for uid in [0, 4] {
        let task = server.node().node.queue.wait_for(uid);
        assert_eq!(task.status, TaskStatus::Succeeded, "{:?}", task.error);
    }
    assert_eq!(server.get("/indexes")["total"], 2);
    assert_eq!(server.get("/indexes/right")["primaryKey"], "id");
}

#[test]
fn a_folder_has_one_node_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions { data_dir: folder.path().to_owned(), ..NodeOptions::default() };
    let first = OpenNode::open(&options).unwrap();
    let error = OpenNode::open(&options).err().unwrap();
    assert_eq!(error.to_string(), format!("another node uses the data folder {}", folder.path().display()));
    drop(first);
}
