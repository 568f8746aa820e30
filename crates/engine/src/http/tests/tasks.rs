//! Tasks listed, canceled and deleted.

use serde_json::json;

use super::Server;

#[test]
fn tasks_are_listed_by_every_condition() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    for name in ["a", "b", "a", "c"] {
        server.task("POST", "/indexes", &json!({"uid": name}));
    }
    server.task("POST", "/indexes/b/documents", &json!([{"id": 1}]));
    let uids = |query: &str| {
        let page = server.get(&format!("/tasks?{query}"));
        page["results"].as_array().unwrap().iter().map(|task| task["uid"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(uids(""), [4, 3, 2, 1, 0]);
    assert_eq!(uids("reverse=true&limit=2"), [0, 1]);
    assert_eq!(uids("statuses=failed"), [2]);
    assert_eq!(uids("types=documentAdditionOrUpdate,indexDeletion"), [4]);
    assert_eq!(uids("indexUids=b,c"), [4, 3, 1]);
    assert_eq!(uids("uids=0,4,99"), [4, 0]);
    assert_eq!(uids("uids=*&statuses=*"), [4, 3, 2, 1, 0]);
    assert_eq!(uids("canceledBy=3"), Vec::<u64>::new());
    assert_eq!(uids("afterEnqueuedAt=2100-01-01"), Vec::<u64>::new());
    assert_eq!(uids("beforeFinishedAt=2100-01-01T00:00:00Z&afterStartedAt=2020-01-01"), [4, 3, 2, 1, 0]);
    let page = server.get("/tasks?limit=2&from=3");
    let shown = (&page["total"], &page["limit"], &page["from"], &page["next"]);
    assert_eq!(shown, (&json!(5), &json!(2), &json!(3), &json!(1)));
    let batches = server.get("/batches?limit=1");
    assert_eq!((&batches["total"], &batches["results"][0]["stats"]["totalNbTasks"]), (&json!(5), &json!(1)));
    assert_eq!(server.get("/batches/2")["stats"]["status"], json!({"failed": 1}));
}

#[test]
fn tasks_are_canceled_and_deleted_by_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    server.task("POST", "/indexes", &json!({"uid": "a"}));
    let deleted = server.ended(&server.send("DELETE", "/tasks?uids=0,7", &[], None));
    assert_eq!(deleted["details"], json!({"matchedTasks": 1, "deletedTasks": 1, "originalFilter": "?uids=0,7"}));
    assert_eq!(server.send("GET", "/tasks/0", &[], None).body["message"], "Task `0` not found.");
    let canceled = server.ended(&server.send("POST", "/tasks/cancel?statuses=enqueued,processing", &[], None));
    assert_eq!((&canceled["status"], &canceled["type"]), (&json!("succeeded"), &json!("taskCancelation")));
    assert_eq!(
        canceled["details"],
        json!({"matchedTasks": 0, "canceledTasks": 0, "originalFilter": "?statuses=enqueued,processing"})
    );
}
