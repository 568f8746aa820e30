//! Clients that send what no engine takes: each such write must fail, or be refused, and leave nothing.
//!
//! What they send among the wrong would be seen at once: their own documents are written by nobody as the history has it, and
//! what they lay over documents of others is no state of those. All of it can be known before anything is done, so that a task
//! which says that it was carried out in part is wrong as well.

use std::time::Duration;

use serde_json::{Value, json};

use super::checker::{Problem, Problems};
use super::clients::{INDEX, JSON, Stage, documents_path, verdict};
use super::history::{Family, History, WriteKind};
use super::view::View;
use crate::support::Fleet;
use crate::support::client::pause;
use crate::support::fleet::is_embedded;
use crate::support::random::Dice;

/// The document for whose sake the index cannot be sorted by place.
const FORBIDS: &str = "forbids";
/// What the index is sorted by, before and after all that was refused.
const SORTED_BY: &str = "v";

/// What is wrong with a write.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Id,
    Vectors,
    Malformed,
    /// Documents forbid it, and of newer engines only some nodes have the document that does.
    Setting,
    Function,
    Filter,
}

impl Fault {
    const ALL: [Fault; 6] = [Self::Id, Self::Vectors, Self::Malformed, Self::Setting, Self::Function, Self::Filter];
}

/// Makes the index one that forbids a setting.
pub fn prepare(fleet: &Fleet, history: &History) {
    let document = json!({"id": FORBIDS, "_geo": "here"});
    let write = history.begin(Family::SHARED, WriteKind::Add, vec![(FORBIDS.to_owned(), Some(document.clone()))]);
    let task = fleet.client.add(INDEX, &json!([document]));
    fleet.client.json("PATCH", "/experimental-features", &json!({"editDocumentsByFunction": true})).ok();
    history.acknowledged(write, task["uid"].as_str().unwrap_or_default().to_owned());
    history.ended(write, true);
}

/// Sends wrong writes until the stage is over.
pub fn spoil(stage: &Stage, mut dice: Dice) {
    let mut sent = 0;
    while !stage.stopped() {
        sent += 1;
        let fault = *dice.one(&Fault::ALL);
        let (method, path, body) = request(fault, sent, stage.history, &mut dice);
        let write = stage.history.begin(Family::SHARED, WriteKind::Wrong, Vec::new());
        match verdict(stage.client.try_send(method, &path, &[("Content-Type", JSON)], body.as_bytes())) {
            Ok(task) => stage.history.acknowledged(write, task),
            Err((reason, _)) => stage.history.doubtful(write, reason),
        }
        pause(Duration::from_millis(dice.range(20, 250)));
    }
}

fn request(fault: Fault, number: u64, history: &History, dice: &mut Dice) -> (&'static str, String, String) {
    let method = if dice.roll(2) == 0 { "POST" } else { "PUT" };
    match fault {
        Fault::Id => (method, documents_path(""), batch(r#"{"id":"a b"}"#, number, history, dice)),
        Fault::Vectors => (method, documents_path(""), batch(r#"{"id":"v","_vectors":5}"#, number, history, dice)),
        Fault::Malformed => (method, documents_path(""), batch(r#"{"id":"m","n" 1}"#, number, history, dice)),
        Fault::Setting => ("PATCH", format!("/indexes/{INDEX}/settings"), forbidden().to_string()),
        Fault::Function => {
            ("POST", documents_path("/edit"), json!({"function": "doc.v = -1; throw \"no\""}).to_string())
        }
        Fault::Filter => ("POST", documents_path("/delete"), json!({"filter": "nowhere = 1"}).to_string()),
    }
}

/// Settings that documents of the index forbid.
fn forbidden() -> Value {
    if is_embedded() {
        // An engine of its age takes `_geo` here, whatever the documents hold; no document has vectors, so all nodes refuse this.
        return json!({"embedders": {"own": {"source": "userProvided", "dimensions": 2}}, "stopWords": ["refused"]});
    }
    json!({"sortableAttributes": ["_geo", SORTED_BY], "stopWords": ["refused"]})
}

/// Documents that would be right, some over those of other clients, and one that is not.
fn batch(wrong: &str, number: u64, history: &History, dice: &mut Dice) -> String {
    let mut documents: Vec<String> = Vec::new();
    for at in 0..dice.range(1, 12) {
        documents.push(json!({"id": format!("x{number}-{at}"), "v": -1}).to_string());
    }
    let families = history.families(1);
    let family = (!families.is_empty()).then(|| *dice.one(&families));
    let known = family.map(|family| history.documents_of(family)).unwrap_or_default();
    for id in dice.some(&known, 3) {
        documents.push(json!({"id": id, "v": -1}).to_string());
    }
    documents.insert(dice.roll(documents.len() + 1), wrong.to_owned());
    format!("[{}]", documents.join(","))
}

/// Judges how the task of a wrong write ended.
pub fn judge(task: &Value, problems: &Problems) {
    if task["status"] == "succeeded" {
        problems.wrong(format!("a wrong write succeeded: {task}"));
    }
    if task["error"]["code"] == "miroir_partly_applied" {
        problems.wrong(format!("a write that is wrong before it is sent was carried out in part: {task}"));
    }
}

/// No refused setting is left anywhere.
pub fn check_at_rest(fleet: &Fleet, problems: &Problems) {
    let path = format!("/indexes/{INDEX}/settings");
    let shown = fleet.client.get(&path).ok();
    if shown["sortableAttributes"] != json!([SORTED_BY]) || shown["stopWords"] != json!([]) {
        problems.wrong(format!("settings that were refused are shown: {shown}"));
    }
    let members = View::of(&fleet.admin).map(|view| view.members).unwrap_or_default();
    for node in fleet.nodes.iter().filter(|node| members.contains(&node.name)) {
        let held = node.client.get(&path).ok();
        let sorted_by = held["sortableAttributes"].as_array().cloned().unwrap_or_default();
        let embeds = held["embedders"].as_object().is_some_and(|embedders| !embedders.is_empty());
        if embeds || sorted_by.contains(&json!("_geo")) || held["stopWords"] != json!([]) {
            problems.add(Problem::Unequal, format!("{} has settings that were refused: {held}", node.name));
        }
    }
}
