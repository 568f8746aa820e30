//! Answers without what differs from run to run.

use serde_json::{Value, json};

use crate::support::client::Reply;

/// Members that are of the moment, of a disk, or of one queue.
const OF_THE_RUN: &[&str] = &[
    "processingTimeMs",
    "requestUid",
    "batchUid",
    // A request that nodes refuse may have had a number.
    "taskUid",
    "from",
    "next",
    "databaseSize",
    // Nodes may be at work on words.
    "isIndexing",
    "usedDatabaseSize",
    "rawDocumentDbSize",
    "avgDocumentSize",
    // One node's steps and one cluster's are not the same.
    "stats",
    "progress",
    "batchStrategy",
];

/// Headers that say something of the answer itself.
const HEADERS: &[&str] = &["content-type", "location", "retry-after"];

/// What must be alike; of the body and the task nothing unless the `whole` is compared.
pub fn outcome(path: &str, reply: &Reply, task: Option<&Value>, whole: bool) -> Value {
    let headers: Vec<Value> = HEADERS.iter().map(|name| json!(reply.header(name))).collect();
    let mut body = serde_json::from_str(&reply.text).unwrap_or_else(|_| json!(reply.text));
    let mut task = json!(task);
    plain(&mut body);
    plain(&mut task);
    if is_unordered(path)
        && let Some(results) = body.get_mut("results").and_then(Value::as_array_mut)
    {
        results.sort_by_cached_key(Value::to_string);
    }
    let body = if whole { body } else { Value::Null };
    json!({"status": reply.status, "headers": headers, "body": body, "task": task})
}

/// Documents are listed in an order of the cluster's own; keys that were made at the same moment in any.
fn is_unordered(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.ends_with("/documents") || path.ends_with("/documents/fetch") || path == "/keys"
}

fn plain(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // A task's uid is a number, an index's or a key's a text.
            members.retain(|name, value| !(OF_THE_RUN.contains(&name.as_str()) || name == "uid" && value.is_number()));
            members.iter_mut().for_each(|(_, member)| plain(member));
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::String(text) => *text = plain_text(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Dates, spans of time, ids that are drawn, and what a message says of them.
fn plain_text(text: &str) -> String {
    const ENDS: [char; 3] = [' ', '`', '/'];
    let plain = |whole: &str| {
        let word = whole.trim_end_matches(ENDS);
        kind(word).unwrap_or(word).to_owned() + &whole[word.len()..]
    };
    text.split_inclusive(ENDS).map(plain).collect()
}

fn kind(word: &str) -> Option<&'static str> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let drawn = |id: uuid::Uuid| id.get_version_num() != 4 || id.to_string() != "01234567-89ab-4cde-8f01-23456789abcd";
    if word.len() == 36 && word.parse::<uuid::Uuid>().is_ok_and(drawn) {
        Some("[uuid]")
    } else if word.len() == 64 && hex(word) {
        Some("[key]")
    } else if word.len() >= 20 && word.ends_with('Z') && word.get(..4).is_some_and(digits) {
        Some("[date]")
    } else if word.len() == 18
        && word.split_once('-').is_some_and(|(day, time)| day.len() == 8 && digits(day) && digits(time))
    {
        Some("[dump]")
    } else if word.starts_with("PT") && word.ends_with('S') {
        Some("[span]")
    } else {
        None
    }
}

#[test]
fn what_differs_from_run_to_run_is_left_out_and_nothing_else() {
    let mut value = json!({
        "uid": 3, "enqueuedAt": "2026-01-02T03:04:05.678Z", "duration": "PT0.1S", "batchUid": 7,
        "uuid": "01890a5d-ac96-774b-bcce-b302099a8057", "title": "PT boats", "dumpUid": "20260102-030405678",
        "message": "Webhook `01890a5d-ac96-774b-bcce-b302099a8057` not found.",
    });
    plain(&mut value);
    let expected = json!({
        "enqueuedAt": "[date]", "duration": "[span]", "uuid": "[uuid]", "title": "PT boats", "dumpUid": "[dump]",
        "message": "Webhook `[uuid]` not found.",
    });
    assert_eq!(value, expected);
}
