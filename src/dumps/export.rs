//! Sends indexes to another Meilisearch.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use super::copy::{Copied, Source};
use super::error::WorkError;
use super::format;
use super::part::Dumps;
use super::remote::{Remote, RemoteError};
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::Trace;
use crate::plan::export::{Chosen, Export, PAYLOAD_SIZE};
use crate::tasks::entry::MiroirTask;

/// Sends what the task asks for; its details in the end.
pub async fn send(dumps: &Dumps, task: &MiroirTask) -> Result<Map<String, Value>, WorkError> {
    let request = task.request.as_ref().map(Value::to_string).unwrap_or_default();
    let export = Export::parse(request.as_bytes())?;
    let remote = Arc::new(Remote::new(&export.url, export.api_key.clone()));
    let size = usize::try_from(export.payload_size.unwrap_or(PAYLOAD_SIZE)).unwrap_or(usize::MAX);
    std::fs::create_dir_all(&dumps.settings.dir)?;
    let trace = Trace::background("export");
    let mut sent = Map::new();
    for entry in dumps.writes.ledger.registry.entries() {
        let Some(chosen) = export.of(&entry.uid) else { continue };
        let source = Source {
            reads: &dumps.reads,
            writes: &dumps.writes,
            index: &entry.uid,
            filter: chosen.filter.as_ref(),
            folder: &dumps.settings.dir,
            trace: &trace,
        };
        let Some(copied) = source.copy().await? else { continue };
        let (remote, how) = (Arc::clone(&remote), chosen.clone());
        let matched = spawn_blocking(move || hand_over(&remote, copied, &how, size));
        let matched = matched.await.map_err(std::io::Error::other)??;
        sent.insert(entry.uid, chosen.view(Some(matched)));
    }
    Ok(export.details_of(sent))
}

/// Makes the index there where it is missing, and sends its documents; how many they were.
fn hand_over(remote: &Remote, copied: Copied, chosen: &Chosen, size: usize) -> Result<u64, WorkError> {
    let Copied { metadata, mut settings, mut documents } = copied;
    let index = &metadata.uid;
    let exists = remote.get(&format!("/indexes/{index}"))?.is_some();
    if !exists {
        let body = json!({ "uid": index, "primaryKey": metadata.primary_key });
        remote.send("POST", "/indexes", Some(&body))?;
    } else if chosen.override_settings {
        let body = json!({ "primaryKey": metadata.primary_key });
        remote.send("PATCH", &format!("/indexes/{index}"), Some(&body))?;
    }
    if !exists || chosen.override_settings {
        format::without_masked_keys(&mut settings);
        format::without_no_joins(&mut settings);
        remote.send("PATCH", &format!("/indexes/{index}/settings"), Some(&Value::Object(settings)))?;
    }
    let (mut body, mut count) = (Vec::new(), 0);
    documents.each_line::<WorkError>(&mut |line| {
        if !body.is_empty() && body.len() + line.len() > size {
            remote.add(index, "", &std::mem::take(&mut body))?;
        }
        body.extend_from_slice(line.as_bytes());
        count += 1;
        Ok(())
    })?;
    if !body.is_empty() {
        remote.add(index, "", &body)?;
    }
    Ok(count)
}

impl From<RemoteError> for WorkError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Refused(error) => Self::Refused(error),
            RemoteError::Unreachable(message) => Self::Refused(ResponseError::new(Code::Internal, message)),
        }
    }
}
