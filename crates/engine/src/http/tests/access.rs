//! Who may ask: keys, tenant tokens, browsers.

use serde_json::{Value, json};

use super::{Server, movies};
use crate::node::NodeOptions;

#[test]
fn keys_open_what_they_name_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions {
        data_dir: folder.path().to_owned(),
        master_key: Some("MASTER_KEY".to_owned()),
        ..NodeOptions::default()
    };
    let mut server = Server::start_with(options);
    server.task("POST", "/indexes/movies/documents", &movies());
    server.task("POST", "/indexes/books/documents", &movies());
    let keys = server.get("/keys");
    assert_eq!(keys["total"], 4);
    let search = keys["results"].as_array().unwrap().iter().find(|key| key["actions"] == json!(["search"])).unwrap();
    let search_key = search["key"].as_str().unwrap().to_owned();
    let search_uid = search["uid"].as_str().unwrap().to_owned();
    let made = server.json(
        "POST",
        "/keys",
        &json!({"actions": ["documents.*", "tasks.get"], "indexes": ["mov*"], "expiresAt": null}),
    );
    assert_eq!(made.status, 201);
    let writer = made.body["key"].as_str().unwrap().to_owned();

    server.key = None;
    let bare = server.send("GET", "/indexes", &[], None);
    assert_eq!((bare.status, &bare.body["code"]), (401, &json!("missing_authorization_header")));
    assert_eq!(server.send("GET", "/health", &[], None).status, 200);

    server.key = Some("wrong".to_owned());
    let wrong = server.send("GET", "/indexes", &[], None);
    assert_eq!((wrong.status, &wrong.body["message"]), (403, &json!("The provided API key is invalid.")));

    server.key = Some(writer);
    assert_eq!(server.get("/indexes/movies/documents")["total"], 3);
    let other = server.send("GET", "/indexes/books/documents", &[], None);
    assert_eq!(other.body["message"], "The API key cannot acces the index `books`, authorized indexes are [\"mov*\"].");
    assert_eq!(server.get("/tasks")["total"], 1);
    assert_eq!(server.send("GET", "/tasks/1", &[], None).status, 404);
    assert_eq!(server.send("GET", "/indexes/movies/search", &[], None).status, 403);

    server.key = Some(search_key.clone());
    assert_eq!(server.get("/indexes/books/search?q=sea")["hits"].as_array().unwrap().len(), 1);

    let token = |claims: &Value| {
        let secret = jsonwebtoken::EncodingKey::from_secret(search_key.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &secret).unwrap()
    };
    server.key = Some(token(&json!({"searchRules": ["books"], "apiKeyUid": search_uid})));
    assert_eq!(server.send("GET", "/indexes/books/search", &[], None).status, 200);
    let outside = server.send("GET", "/indexes/movies/search", &[], None);
    assert_eq!(
        outside.body["message"],
        "The provided tenant token cannot acces the index `movies`, allowed indexes are [\"books\"]."
    );
    server.key = Some(token(&json!({"searchRules": ["*"], "apiKeyUid": search_uid, "exp": 1})));
    let late = server.send("GET", "/indexes/movies/search", &[], None);
    assert!(late.body["message"].as_str().unwrap().starts_with("Tenant token expired. Was valid up to `1`"));
}

#[test]
fn browsers_of_any_origin_may_ask() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let reply = server.send("GET", "/health", &[("origin", "http://example.com")], None);
    assert_eq!(reply.headers["access-control-allow-origin"], "*");
    let asked = [
        ("origin", "http://example.com"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let preflight = server.send("OPTIONS", "/indexes", &asked, None);
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.headers["access-control-allow-headers"], "authorization");
}
