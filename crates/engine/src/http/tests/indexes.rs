//! Indexes and their settings.

use serde_json::{Value, json};

use super::Server;

#[test]
fn indexes_are_made_changed_swapped_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let made = server.task("POST", "/indexes", &json!({"uid": "a", "primaryKey": "id"}));
    assert_eq!((&made["status"], &made["details"]), (&json!("succeeded"), &json!({"primaryKey": "id"})));
    let again = server.task("POST", "/indexes", &json!({"uid": "a"}));
    assert_eq!((&again["status"], &again["error"]["code"]), (&json!("failed"), &json!("index_already_exists")));
    assert_eq!(again["error"]["message"], "Index `a` already exists.");
    server.task("POST", "/indexes/b/documents", &json!([{"id": 1}]));
    let changed = server.task("PATCH", "/indexes/a", &json!({"primaryKey": "isbn"}));
    assert_eq!(changed["status"], "succeeded");
    let missing = server.task("POST", "/swap-indexes", &json!([{"indexes": ["a", "zz"]}]));
    assert_eq!(missing["error"]["code"], "index_not_found");
    let swapped = server.task("POST", "/swap-indexes", &json!([{"indexes": ["a", "b"]}]));
    assert_eq!((&swapped["status"], &swapped["indexUid"]), (&json!("succeeded"), &Value::Null));
    assert_eq!(swapped["details"], json!({"swaps": [{"indexes": ["a", "b"]}]}));
    assert_eq!(server.get("/indexes/b")["primaryKey"], "isbn");
    let gone = server.ended(&server.send("DELETE", "/indexes/a", &[], None));
    assert_eq!(gone["details"], json!({"deletedDocuments": 1}));
    let page = server.get("/indexes?limit=5");
    assert_eq!((&page["total"], &page["offset"], &page["limit"]), (&json!(1), &json!(0), &json!(5)));
}

#[test]
fn settings_are_read_and_changed_whole_and_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let whole =
        server.task("PATCH", "/indexes/s/settings", &json!({"stopWords": ["the"], "sortableAttributes": ["n"]}));
    assert_eq!((&whole["status"], &whole["details"]["stopWords"]), (&json!("succeeded"), &json!(["the"])));
    let one = server.task("PUT", "/indexes/s/settings/stop-words", &json!(["a", "an"]));
    assert_eq!((&one["status"], &one["details"]), (&json!("succeeded"), &json!({"stopWords": ["a", "an"]})));
    assert_eq!(server.get("/indexes/s/settings/stop-words"), json!(["a", "an"]));
    server.ended(&server.send("DELETE", "/indexes/s/settings/stop-words", &[], None));
    let all = server.get("/indexes/s/settings");
    assert_eq!((&all["stopWords"], &all["sortableAttributes"]), (&json!([]), &json!(["n"])));
    assert_eq!(server.json("PATCH", "/indexes/s/settings/stop-words", &json!([])).status, 405);
    assert_eq!(server.send("GET", "/indexes/s/settings/doggo", &[], None).status, 404);
}
