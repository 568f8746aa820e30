//! Small writes that wait in one lane travel to the node as one request, and are one task there.
//!
//! Who has the turn takes along what the turns behind it offer, as far as they follow each other without a gap: so every node sees the
//! writes in their one order, as documents of one body, of which the engine lets the last one of an id win. Nothing waits for
//! company: a write that finds its lane free goes alone.
//!
//! Each write keeps its row, which was durable before it offered anything, and its stamp: the node's task carries all of
//! them, so whoever looks for a write after a crash or a timeout finds it as if it had gone alone.
//!
//! A node refuses or fails a body as a whole. What it refuses was not taken, so its writes are sent again, one by one,
//! before the lane goes on. What fails later fails for all of them, and this is what the engine does itself to tasks that
//! wait for it together: it makes one batch of them, and only a bad id or primary key, which a write is judged by long before,
//! fails a task of its own there. So that no write fails for the documents of another, only writes travel together whose documents
//! were judged by the rules that the index has at that moment, without a change of rules on its way and without embedders.
//!
//! Example: eight clients write one document each to an index on three nodes. While node 1 takes the first, five others offer it theirs:
//! it is sent one more request with five documents, stamped by five tasks, and has one task more.

use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::documents::rules::settled_rules;
use super::parcel::{Answer, Cargo, Load, OfWrite, Parcel, StepResult, Turn};
use super::part::Writes;
use super::planned::Planned;
use super::send::{self, Sending};
use super::settings::Coalesce;
use crate::meili::task::TaskKind;
use crate::nodes::client::{SubBody, Subrequest, TaskStatusResponse, Trace};
use crate::nodes::spool::Spool;
use crate::nodes::stamp::{COPY_STAMP, together};
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeIx;
use crate::plan::write::{Step, StepBody, Target};
use crate::tasks::entry::{Company, MiroirTask, Purpose};

/// What is larger goes alone: there is little to be gained.
const SMALL: u64 = 64 << 10;
/// How much travels together at most.
const MOST_BYTES: usize = 1 << 20;
/// How many travel together at most: their stamps are in the request's path.
const MOST_PARCELS: usize = 128;

/// The type of a body of documents, a line each.
const LINES: &str = "application/x-ndjson";

/// Where something is sent.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub writes: &'a Arc<Writes>,
    pub node: NodeIx,
    pub index: &'a str,
    pub trace: &'a Trace,
}

/// The bytes of `spool` if they may travel with others.
pub(crate) fn small(writes: &Writes, spool: &Spool) -> Option<Bytes> {
    let may = writes.settings.get().coalesce == Coalesce::Yes && spool.len() <= SMALL;
    if may { spool.in_memory() } else { None }
}

/// Waits for the turn, and returns what became of `cargo` if it has travelled with others. `None`: its turn has come, and nobody
/// goes along.
pub(crate) async fn send(way: Way<'_>, turn: &mut Turn, cargo: Cargo) -> Option<Answer> {
    let (answer, mut answered) = oneshot::channel();
    turn.offer(Parcel { cargo, answer });
    // Nobody sends an answer only where the sending broke off.
    let lost = || Answer::alone(StepResult::Lost);
    tokio::select! {
        biased;
        answer = &mut answered => return Some(answer.unwrap_or_else(|_| lost())),
        () = turn.wait() => {}
    }
    // The last answer before the turn and the turn itself may come in one moment.
    let Some(own) = turn.take_back() else { return Some(answered.await.unwrap_or_else(|_| lost())) };
    let group = group(way, turn, own);
    if group.len() == 1 {
        return None;
    }
    let trip =
        Trip { writes: Arc::clone(way.writes), node: way.node, index: way.index.to_owned(), trace: way.trace.clone() };
    // Whoever gives up waiting must not break it off for the others.
    tokio::spawn(async move { trip.carry(group).await });
    Some(answered.await.unwrap_or_else(|_| lost()))
}

/// `own`, and what goes along with it.
fn group(way: Way<'_>, turn: &Turn, own: Parcel) -> Vec<Parcel> {
    let mut method = own.cargo.write().map(|write| write.method);
    let path = own.cargo.path.clone();
    let is_akin = |cargo: &Cargo| cargo.path == path;
    if !turn.is_followed(|next| is_akin(&next.cargo)) || !takes_writes(way) {
        return vec![own];
    }
    let Some(rules) = settled_rules(way.writes, way.index) else { return vec![own] };
    let was_judged = |cargo: &Cargo| cargo.write().is_none_or(|write| write.rules == rules);
    if !was_judged(&own.cargo) {
        return vec![own];
    }
    let mut bytes = own.cargo.lines.len();
    let mut parcels = 1;
    let followers = turn.take_following(|next| {
        bytes += next.cargo.lines.len();
        parcels += 1;
        let other = next.cargo.write().map(|write| write.method);
        let fits = is_akin(&next.cargo)
            && was_judged(&next.cargo)
            && bytes <= MOST_BYTES
            && parcels <= MOST_PARCELS
            && (method.is_none() || other.is_none() || method == other);
        method = method.or(other);
        fits
    });
    let mut group = vec![own];
    group.extend(followers);
    group
}

/// A node that went down while the write waited for its turn is not tried.
fn takes_writes(way: Way<'_>) -> bool {
    way.writes.nodes.topology().node(way.node).state.finishes_writes()
}

/// Several parcels on their way to a node.
struct Trip {
    writes: Arc<Writes>,
    node: NodeIx,
    index: String,
    trace: Trace,
}

// === impl Trip ===

impl Trip {
    /// Sends the group and tells who waits; breaks off once nobody does. Words do not keep writes under way: a write that is given
    /// up after `write.slow_after` waits for `write.timeout` no more, and who has sent words with it gets as much of them to the
    /// node later as it has missed.
    async fn carry(&self, group: Vec<Parcel>) {
        let (cargos, mut waiting): (Vec<Cargo>, Vec<oneshot::Sender<Answer>>) =
            group.into_iter().map(|parcel| (parcel.cargo, parcel.answer)).unzip();
        let answers = tokio::select! {
            answers = self.send(&cargos) => answers,
            () = given_up(&cargos, &mut waiting) => return,
        };
        for (answer, who) in answers.into_iter().zip(waiting) {
            // Who waited may have given up.
            let _ = who.send(answer);
        }
    }

    async fn send(&self, cargos: &[Cargo]) -> Vec<Answer> {
        let result = self.send_as_one(cargos).await;
        if let StepResult::Refused(error) = &result {
            tracing::info!(index = self.index, %error, writes = cargos.len(), "a node refuses writes together, they go one by one");
            let mut answers = Vec::with_capacity(cargos.len());
            for cargo in cargos {
                answers.push(Answer::alone(self.send_as_one(std::slice::from_ref(cargo)).await));
            }
            return answers;
        }
        let topology = self.writes.nodes.topology();
        let travelled = u64::try_from(cargos.len()).unwrap_or(u64::MAX);
        let id = topology.node(self.node).id.as_str();
        self.writes.nodes.metrics.coalesced.with_label_values(&[id]).inc_by(travelled);
        let uids: Vec<u32> = cargos.iter().filter_map(|cargo| Some(cargo.write()?.row.uid())).collect();
        let company = |cargo: &Cargo| match cargo.write() {
            Some(own) if uids.len() > 1 => {
                Company::Tasks(uids.iter().copied().filter(|uid| *uid != own.row.uid()).collect())
            }
            Some(_) | None => Company::None,
        };
        cargos.iter().map(|cargo| Answer { result: result.clone(), company: company(cargo) }).collect()
    }

    /// One request for all.
    async fn send_as_one(&self, cargos: &[Cargo]) -> StepResult {
        let lines: Bytes = match cargos {
            [one] => one.lines.clone(),
            several => several.iter().map(|cargo| &cargo.lines[..]).collect::<Vec<_>>().concat().into(),
        };
        let path = cargos.first().map(|cargo| cargo.path.as_str()).unwrap_or_default();
        let writes: Vec<&OfWrite> = cargos.iter().filter_map(Cargo::write).collect();
        match writes.as_slice() {
            [] => self.send_words(path, lines).await,
            [first, ..] => self.send_writes(first, &writes, path, lines).await,
        }
    }

    async fn send_writes(&self, first: &OfWrite, writes: &[&OfWrite], path: &str, lines: Bytes) -> StepResult {
        let stamp = match writes {
            [one] => one.stamp.clone(),
            several => together(several.iter().map(|write| (write.stamp.as_str(), write.documents))),
        };
        let step = Step {
            to: Target::Node(self.node),
            method: first.method,
            path: send::with_stamp(path, &stamp),
            content_type: Some(LINES),
            body: StepBody::Spool(0),
            shards: ShardSet::new(),
        };
        // Any of the writes finds the node's task again.
        let index = Some(self.index.clone());
        let new =
            MiroirTask::new(first.row.uid(), TaskKind::DocumentAdditionOrUpdate, index, OffsetDateTime::now_utc());
        let task = MiroirTask { uuid: first.uuid, ..new };
        let planned = Planned { part: 0, purpose: Purpose::Main, step, stamped: Some(0) };
        let topology = self.writes.nodes.topology();
        let spools = [Spool::from(lines)];
        let sending = Sending {
            writes: &self.writes,
            topology: &topology,
            durable: &first.row,
            task: &task,
            spools: &spools,
            trace: &self.trace,
            judged: None,
        };
        send::step(&sending, self.node, &planned).await
    }

    async fn send_words(&self, path: &str, lines: Bytes) -> StepResult {
        let settings = &self.writes.settings.get();
        let request = Subrequest {
            method: http::Method::POST,
            path: send::with_stamp(path, COPY_STAMP),
            content_type: Some(LINES),
            body: SubBody::Bytes(lines),
            timeout: settings.timeout.min(settings.slow_after),
            // The same documents twice are the same documents.
            idempotent: true,
        };
        let topology = self.writes.nodes.topology();
        let node = topology.node(self.node);
        let client = &self.writes.nodes.client;
        let reply = client.send(node, request, &self.trace).await;
        match reply.and_then(|reply| client.read::<TaskStatusResponse>(node, &reply)) {
            Ok(task) => {
                self.writes.order.saw_uid(self.node, task.uid);
                StepResult::Accepted(task.uid)
            }
            Err(error) => {
                tracing::warn!(node = %node.id, index = self.index, %error, "a node has missed words; it gets them later");
                StepResult::Lost
            }
        }
    }
}

/// Returns when no write waits for its answer, or nobody where all are words.
async fn given_up(cargos: &[Cargo], waiting: &mut [oneshot::Sender<Answer>]) {
    let has_writes = cargos.iter().any(|cargo| cargo.write().is_some());
    for (cargo, one) in cargos.iter().zip(waiting) {
        if !has_writes || cargo.write().is_some() {
            one.closed().await;
        }
    }
}

// === impl Way ===

impl Way<'_> {
    /// [`send()`] for documents of words; true if the node has accepted them. `None` as there.
    pub(crate) async fn send_words(self, turn: &mut Turn, path: String, lines: Bytes) -> Option<bool> {
        let answer = send(self, turn, Cargo { path, lines, load: Load::Words }).await?;
        Some(matches!(answer.result, StepResult::Accepted(_)))
    }
}
