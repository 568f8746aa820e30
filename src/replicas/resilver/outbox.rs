//! What a pass sends to the target: collected up to a bound, then sent; only a few tasks are open at a time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::error::ResilverError;
use super::meter::Meter;
use super::replica::Replica;
use crate::meili::query::QueryMap;
use crate::meili::task::TaskStatus;
use crate::nodes::client::{Subrequest, TaskStatusResponse};
use crate::nodes::stamp::{COPY_STAMP, STAMP_PARAMETER};

/// The most bytes of documents in one request.
const PART_BYTES: usize = 4 << 20;
/// The most ids in one request.
const PART_IDS: usize = 10_000;
/// How many tasks may wait on the target, so that it always has one to do and the copy does not run ahead of it.
const OPEN_TASKS: usize = 2;
/// How long one task of a copy may take on the target.
const TASK_LIMIT: Duration = Duration::from_secs(600);

/// Documents to be added to and deleted from the target.
pub struct Outbox<'a> {
    target: Replica<'a>,
    meter: &'a Meter<'a>,
    /// A JSON array without its end.
    adds: Vec<u8>,
    added: u64,
    deletes: Vec<String>,
    open: VecDeque<u32>,
}

// === impl Outbox ===

impl<'a> Outbox<'a> {
    /// Nothing is sent before there is enough for a request, or the outbox is emptied.
    pub fn new(target: Replica<'a>, meter: &'a Meter<'a>) -> Self {
        Self { target, meter, adds: Vec::new(), added: 0, deletes: Vec::new(), open: VecDeque::new() }
    }

    /// `document` is JSON with its hidden fields. Sends what is there if no more fits.
    pub async fn add(&mut self, document: &[u8]) -> Result<(), ResilverError> {
        let limit =
            PART_BYTES.min(usize::try_from(self.target.writes.settings.get().max_payload_size).unwrap_or(PART_BYTES));
        if !self.adds.is_empty() && self.adds.len() + document.len() + 2 > limit {
            self.send_adds().await?;
        }
        self.adds.push(if self.adds.is_empty() { b'[' } else { b',' });
        self.adds.extend_from_slice(document);
        self.added += 1;
        Ok(())
    }

    /// Sends what is there if it is enough for a request.
    pub async fn delete(&mut self, key: String) -> Result<(), ResilverError> {
        self.deletes.push(key);
        if self.deletes.len() >= PART_IDS {
            self.send_deletes().await?;
        }
        Ok(())
    }

    /// Sends the rest; returns when the target has done all of it.
    pub async fn finish(mut self) -> Result<(), ResilverError> {
        self.send_adds().await?;
        self.send_deletes().await?;
        self.wait(0).await
    }

    async fn send_adds(&mut self) -> Result<(), ResilverError> {
        if self.adds.is_empty() {
            return Ok(());
        }
        let mut body = std::mem::take(&mut self.adds);
        body.push(b']');
        let mut query = QueryMap::default();
        query.set("primaryKey", self.target.primary_key);
        query.set(STAMP_PARAMETER, COPY_STAMP);
        let path = format!("/indexes/{}/documents?{}", self.target.index, query.encode());
        self.meter.sent(body.len() as u64).await;
        self.post(path, Bytes::from(body)).await?;
        self.meter.copied(std::mem::take(&mut self.added));
        Ok(())
    }

    async fn send_deletes(&mut self) -> Result<(), ResilverError> {
        if self.deletes.is_empty() {
            return Ok(());
        }
        let keys = std::mem::take(&mut self.deletes);
        let path = format!("/indexes/{}/documents/delete-batch?{STAMP_PARAMETER}={COPY_STAMP}", self.target.index);
        self.post(path, Bytes::from(json!(keys).to_string())).await?;
        self.meter.deleted(keys.len() as u64);
        Ok(())
    }

    async fn post(&mut self, path: String, body: Bytes) -> Result<(), ResilverError> {
        let Replica { writes, node, trace, .. } = self.target;
        let request = Subrequest::json(http::Method::POST, path, body, writes.settings.get().timeout, false);
        let reply = writes.nodes.client.send(node, request, trace).await?;
        let accepted: TaskStatusResponse = writes.nodes.client.read(node, &reply)?;
        self.open.push_back(accepted.uid);
        self.wait(OPEN_TASKS).await
    }

    /// Waits until no more than `most` tasks are open.
    async fn wait(&mut self, most: usize) -> Result<(), ResilverError> {
        let Replica { writes, node, .. } = self.target;
        while self.open.len() > most {
            let Some(uid) = self.open.pop_front() else { break };
            let task = writes.nodes.client.wait(node, uid, TASK_LIMIT).await?;
            if task.status != TaskStatus::Succeeded {
                let message = task.error.map_or_else(|| task.status.as_str().to_owned(), |error| error.message);
                return Err(ResilverError::Task { node: node.id.to_string(), uid, message });
            }
        }
        Ok(())
    }
}
