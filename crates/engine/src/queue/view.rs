//! Tasks and batches as the API shows them.

use std::collections::BTreeMap;

use miroir_words::task::TaskStatus;
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::task::Task;

/// A task in full.
pub fn task(task: &Task) -> Value {
    let mut view = json!({
        "uid": task.uid,
        "batchUid": task.batch_uid,
        "indexUid": task.index_uid,
        "status": task.status,
        "type": task.content.kind(),
        "canceledBy": task.canceled_by,
    });
    if let Some(details) = &task.details {
        view["details"] = with_hidden_secrets(details.clone());
    }
    view["error"] = json!(task.error);
    view["duration"] = json!(task.started_at.zip(task.finished_at).and_then(|(start, end)| duration(end - start)));
    view["enqueuedAt"] = json!(date(task.enqueued_at));
    view["startedAt"] = json!(task.started_at.map(date));
    view["finishedAt"] = json!(task.finished_at.map(date));
    if let Some(metadata) = &task.custom_metadata {
        view["customMetadata"] = json!(metadata);
    }
    view
}

/// A task as the answer to the request that made it.
pub fn summary(task: &Task) -> Value {
    json!({
        "taskUid": task.uid,
        "indexUid": task.index_uid,
        "status": task.status,
        "type": task.content.kind(),
        "enqueuedAt": date(task.enqueued_at),
    })
}

/// The tasks that ran together under one batch id. `tasks` has at least one.
pub fn batch(uid: u32, tasks: &[Task]) -> Value {
    let mut statuses = BTreeMap::<&str, u32>::new();
    let mut kinds = BTreeMap::<&str, u32>::new();
    let mut indexes = BTreeMap::<&str, u32>::new();
    let mut details = Map::new();
    for task in tasks {
        *statuses.entry(task.status.as_str()).or_default() += 1;
        *kinds.entry(task.content.kind().as_str()).or_default() += 1;
        if let Some(index) = &task.index_uid {
            *indexes.entry(index).or_default() += 1;
        }
        if let Some(Value::Object(more)) = &task.details {
            add_details(&mut details, more);
        }
    }
    let running = tasks.iter().any(|task| task.status == TaskStatus::Processing);
    let started = tasks.iter().filter_map(|task| task.started_at).min();
    let finished = if running { None } else { tasks.iter().filter_map(|task| task.finished_at).max() };
    json!({
        "uid": uid,
        "progress": null,
        "details": with_hidden_secrets(Value::Object(details)),
        "stats": {
            "totalNbTasks": tasks.len(),
            "status": statuses,
            "types": kinds,
            "indexUids": indexes,
        },
        "duration": started.zip(finished).and_then(|(start, end)| duration(end - start)),
        "startedAt": started.map(date),
        "finishedAt": finished.map(date),
        "batchStrategy": "unspecified",
    })
}

/// Numbers add up, everything else is taken from the first task that has it.
fn add_details(sum: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        let counted = sum.get(name).and_then(Value::as_u64).zip(value.as_u64());
        match counted {
            Some((left, right)) => {
                sum.insert(name.clone(), json!(left + right));
            }
            None if sum.get(name).is_none_or(Value::is_null) => {
                sum.insert(name.clone(), value.clone());
            }
            None => {}
        }
    }
}

fn date(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).expect("the clock shows a year that RFC 3339 can write")
}

/// ISO 8601, with as many digits as there are of milli-, micro- or nanoseconds. A clock that ran backwards has none.
fn duration(length: Duration) -> Option<String> {
    if length.is_negative() {
        return None;
    }
    let days = length.whole_days();
    let seconds = length.whole_seconds() - days * Duration::DAY.whole_seconds();
    let nanoseconds = length.subsec_nanoseconds();
    let mut text = "P".to_owned();
    if days != 0 {
        text.push_str(&format!("{days}D"));
    }
    if seconds != 0 || nanoseconds != 0 || days == 0 {
        let time = if nanoseconds == 0 {
            format!("T{seconds}S")
        } else if nanoseconds % 1_000_000 == 0 {
            format!("T{seconds}.{:03}S", nanoseconds / 1_000_000)
        } else if nanoseconds % 1_000 == 0 {
            format!("T{seconds}.{:06}S", nanoseconds / 1_000)
        } else {
            format!("T{seconds}.{nanoseconds:09}S")
        };
        text.push_str(&time);
    }
    Some(text)
}

/// Keys of embedding services show only their first characters.
fn with_hidden_secrets(mut details: Value) -> Value {
    if let Some(embedders) = details.get_mut("embedders").and_then(Value::as_object_mut) {
        for embedder in embedders.values_mut() {
            if let Some(Value::String(secret)) = embedder.get_mut("apiKey") {
                let kept = match secret.len() {
                    0..10 => 0,
                    10..20 => 2,
                    20..30 => 3,
                    _ => 5,
                };
                secret.truncate(secret.floor_char_boundary(kept));
                secret.push_str("XXX...");
            }
        }
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_digits_they_need() {
        assert_eq!(duration(Duration::seconds(5)).unwrap(), "PT5S");
        assert_eq!(duration(Duration::ZERO).unwrap(), "PT0S");
        assert_eq!(duration(Duration::milliseconds(9)).unwrap(), "PT0.009S");
        assert_eq!(duration(Duration::microseconds(9_330)).unwrap(), "PT0.009330S");
        assert_eq!(duration(Duration::nanoseconds(1_500_000_001)).unwrap(), "PT1.500000001S");
        assert_eq!(duration(Duration::days(2)).unwrap(), "P2D");
        assert_eq!(duration(Duration::seconds(-1)), None);
    }

    #[test]
    fn the_key_of_an_embedder_is_cut() {
        let shown = with_hidden_secrets(json!({"embedders": {"default": {"apiKey": "sk-0123456789abcdefghijklmnop"}}}));
        assert_eq!(shown["embedders"]["default"]["apiKey"], "sk-XXX...");
    }
}
