//! What is said of chats, in dumps and out of them.

use std::path::Path;

use serde_json::{Value, json};

use super::load::{import, miroir, said};
use super::started::Started;
use super::{MASTER, Unpacked, dump};
use crate::support::{Client, Fleet, FleetOptions, Single};

const SECRET: &str = "a-key-of-a-model-of-32-characters";
/// The second can name no file.
const NAMES: [&str; 3] = ["v1.2", "a%2Fb", "plain"];

fn fleet() -> Fleet {
    Fleet::with(FleetOptions { nodes: 2, replication_factor: 1, master_key: Some(MASTER), ..Default::default() })
}

fn switch(client: &Client, on: bool) {
    client.json("PATCH", "/experimental-features", &json!({ "chatCompletions": on })).ok();
}

fn is_on(client: &Client) -> bool {
    client.get("/experimental-features").ok()["chatCompletions"] == true
}

fn said_of(client: &Client, name: &str) -> Value {
    client.get(&format!("/chats/{name}/settings")).ok()
}

/// Chats are on, and each workspace says something else.
fn furnish(client: &Client, names: &[&str]) {
    switch(client, true);
    for (at, name) in names.iter().enumerate() {
        let settings = json!({
            "source": "vLlm", "baseUrl": format!("http://127.0.0.1:{at}"), "apiKey": SECRET, "orgId": null,
            "prompts": {"system": format!("be {at}")},
        });
        client.json("PATCH", &format!("/chats/{name}/settings"), &settings).ok();
    }
}

#[test]
fn workspaces_come_back_out_of_a_dump_and_the_switch_is_as_it_was() {
    let (one, two) = (fleet(), fleet());
    furnish(&one.client, &NAMES);
    one.client.add("books", &json!([{"id": 1}]));
    // They are kept while nobody can see them.
    switch(&one.client, false);
    let archive = dump(&one);
    let unpacked = Unpacked::of(&archive);
    let file = unpacked.json("chat-completions-settings/v1.2.json");
    assert_eq!((&file["source"], &file["apiKey"], &file["orgId"]), (&json!("vLlm"), &json!(SECRET), &Value::Null));
    assert_eq!(file["prompts"]["system"], "be 0");
    let others = unpacked.json("chat-completions-settings/others/workspaces.json");
    assert_eq!(others["a/b"]["prompts"]["system"], "be 1", "{others}");

    let output = import(&archive, &two, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains(SECRET) && !two.gateway().log().contains(SECRET));
    assert!(!is_on(&two.client), "chats were off before");
    switch(&one.client, true);
    switch(&two.client, true);
    assert_eq!(two.client.get("/chats").ok(), one.client.get("/chats").ok());
    for name in NAMES {
        assert_eq!(said_of(&two.client, name), said_of(&one.client, name), "{name}");
    }
    // The secrets, too, which only a dump shows.
    let again = Unpacked::of(&dump(&two));
    assert_eq!(again.json("chat-completions-settings/v1.2.json"), file);
    assert_eq!(again.json("chat-completions-settings/others/workspaces.json"), others);

    // A workspace that says something else in the end is found.
    let other = json!({"prompts": {"system": "be other"}, "orgId": "o"});
    two.client.json("PATCH", "/chats/plain/settings", &other).ok();
    two.client.done(&two.client.delete("/indexes/books"));
    let output = import(&archive, &two, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said_of(&two.client, "plain"), said_of(&one.client, "plain"), "what is null is null again");
    assert!(is_on(&two.client), "chats were on before");
}

#[test]
fn a_dump_without_chats_leaves_the_switch_alone() {
    let (one, two) = (fleet(), fleet());
    one.client.add("books", &json!([{"id": 1}]));
    let archive = dump(&one);
    assert!(!Unpacked::of(&archive).folder.path().join("chat-completions-settings").exists());
    let output = import(&archive, &two, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!is_on(&two.client));
    let log = two.gateway().log();
    assert!(log.contains("createIndex") && !log.contains("updateExperimentalFeatures"), "the switch was touched");
}

fn file_of(archive: &Path, name: &str) -> Value {
    Unpacked::of(archive).json(&format!("chat-completions-settings/{name}.json"))
}

/// There and back: the cluster's dump starts a node, and that node's own dump is loaded into another cluster. The embedded engine has
/// no chats.
#[test]
fn chats_are_taken_to_a_node_and_back() {
    let Ok(engine) = std::env::var("MIROIR_TEST_MEILISEARCH") else { return };
    let one = fleet();
    furnish(&one.client, &["v1.2", "plain"]);
    one.client.add("books", &json!([{"id": 1, "title": "a"}]));
    let chat = json!({"description": "all books", "documentTemplate": "{{ doc.title }}", "documentTemplateMaxBytes": 333,
        "searchParameters": {"limit": 7, "sort": ["title:asc"]}});
    one.client.done(&one.client.json("PATCH", "/indexes/books/settings/chat", &chat));
    let archive = dump(&one);

    let node = Started::from(&engine, &archive);
    let paths = ["/chats", "/chats/v1.2/settings", "/chats/plain/settings", "/indexes/books/settings/chat"];
    for path in paths {
        assert_eq!(node.client.get(path).ok(), one.client.get(path).ok(), "{path}");
    }
    // Of names with a point an engine's dump keeps the beginning only.
    node.client.delete("/chats/v1.2");
    let task = node.client.done(&node.client.post("/dumps", &Value::Null));
    let uid = task["details"]["dumpUid"].as_str().expect("a name");
    let back = node.folder.path().join("dumps").join(format!("{uid}.dump"));
    assert_eq!(file_of(&back, "plain"), file_of(&archive, "plain"));

    let two = fleet();
    let output = import(&back, &two, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(is_on(&two.client), "as it is in the dump");
    for path in ["/chats/plain/settings", "/indexes/books/settings/chat", "/indexes/books/settings"] {
        assert_eq!(two.client.get(path).ok(), one.client.get(path).ok(), "{path}");
    }
    let third = Unpacked::of(&dump(&two));
    assert_eq!(third.json("chat-completions-settings/plain.json"), file_of(&archive, "plain"));
    assert_eq!(third.json("indexes/books/settings.json")["chat"], one.client.get("/indexes/books/settings/chat").ok());
}

/// Of a running node's chats all comes along but what it masks.
#[test]
fn chats_of_a_running_node_come_along() {
    if std::env::var("MIROIR_TEST_MEILISEARCH").is_err() {
        return;
    }
    let (node, two) = (Single::with_key(Some(MASTER)), fleet());
    furnish(&node.client, &["plain"]);
    node.client.add("books", &json!([{"id": 1, "title": "a"}]));
    let chat = json!({"description": "all books"});
    node.client.done(&node.client.json("PATCH", "/indexes/books/settings/chat", &chat));
    let state = two.folder().join("state.json").to_string_lossy().into_owned();
    let arguments =
        ["import", "--from", &node.client.url, "--from-key", MASTER, "--url", &two.client.url, "--key", MASTER];
    let output = miroir(&[&arguments[..], &["--state", &state]].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("its key is not shown"), "{}", said(&output));
    let (mut here, there) = (said_of(&node.client, "plain"), said_of(&two.client, "plain"));
    here["apiKey"] = Value::Null;
    assert_eq!(there, here);
    let path = "/indexes/books/settings/chat";
    assert_eq!(two.client.get(path).ok(), node.client.get(path).ok());
}
