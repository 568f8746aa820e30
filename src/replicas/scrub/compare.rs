//! Compares the replicas of one shard.

use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;

use super::Scrub;
use super::judge::{Judgement, Seen, judge};
use super::metrics::Outcome;
use super::report::{Finding, Subject};
use crate::ledger::insync;
use crate::ledger::marks::Marks;
use crate::nodes::Nodes;
use crate::nodes::client::{TaskStatusResponse, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::lanes::Hold;
use crate::nodes::node_queue::queue_runs_empty;
use crate::nodes::stamp::{Origin, Stamped, origin};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{Node, NodeIx, NodeState, Topology};
use crate::replicas::resilver::error::ResilverError;
use crate::replicas::resilver::replica::{Content, Replica};
use crate::tasks::filter::TaskRef;
use crate::write::Writes;

/// How long writes may be held back for the nodes' queues to run empty, which they were just before.
const REST_LIMIT: Duration = Duration::from_secs(5);
/// How many of a node's newest tasks are looked through for evidence.
const TASKS: usize = 50;

/// The shard of an index that is compared.
struct Subjects<'a> {
    scrub: &'a Scrub,
    writes: &'a Writes,
    index: &'a str,
    primary_key: &'a str,
    shard: ShardId,
    trace: &'a Trace,
}

/// Compares all replicas of a shard that are in sync; what is found wrong is marked stale.
pub async fn shard(scrub: &Scrub, writes: &Writes, index: &str, primary_key: &str, shard: ShardId, trace: &Trace) {
    let subjects = Subjects { scrub, writes, index, primary_key, shard, trace };
    let outcome = match subjects.compare().await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::debug!(index, shard = shard.0, %error, "a shard could not be scrubbed");
            Outcome::Skipped
        }
    };
    scrub.metrics.compared(outcome);
    scrub.reports.note(|report| match outcome {
        Outcome::Equal | Outcome::Repaired | Outcome::Undecided => report.compared += 1,
        Outcome::Skipped => report.skipped += 1,
    });
}

/// The owners whose replicas must be equal.
fn comparable(topology: &Topology, index: &str, shard: ShardId) -> Vec<NodeIx> {
    let in_sync =
        |node: &NodeIx| topology.node(*node).state == NodeState::Up && !topology.is_stale(*node, index, shard);
    topology.owners_of(shard).iter().copied().filter(in_sync).collect()
}

// === impl Subjects ===

impl Subjects<'_> {
    async fn compare(&self) -> Result<Outcome, ResilverError> {
        let topology = self.writes.nodes.topology();
        let nodes = comparable(&topology, self.index, self.shard);
        if nodes.len() < 2 {
            return Ok(Outcome::Skipped);
        }
        if all_equal(&self.look(&topology, &nodes).await?) {
            return Ok(Outcome::Equal);
        }
        for node in &nodes {
            self.replica(&topology, *node).drain().await?;
        }
        self.compare_at_rest().await
    }

    /// Once more, with no write under way.
    async fn compare_at_rest(&self) -> Result<Outcome, ResilverError> {
        let hold = self.writes.order.gates.hold(self.index).await;
        let topology = self.writes.nodes.topology();
        let nodes = comparable(&topology, self.index, self.shard);
        if nodes.len() < 2 {
            return Ok(Outcome::Skipped);
        }
        for node in &nodes {
            if !at_rest(&self.writes.nodes, topology.node(*node), self.index, &hold, self.trace).await? {
                return Ok(Outcome::Skipped);
            }
        }
        let contents = self.look(&topology, &nodes).await?;
        if all_equal(&contents) {
            return Ok(Outcome::Equal);
        }
        let mut seen = Vec::with_capacity(nodes.len());
        for (node, content) in nodes.iter().zip(&contents) {
            let (newest, foreign) = self.history(&topology, *node).await?;
            seen.push(Seen { node: *node, digest: content.digest, newest, foreign });
        }
        let (wrong, evidence) = match judge(&seen) {
            Judgement::Equal => return Ok(Outcome::Equal),
            Judgement::Wrong(wrong, evidence) => (wrong, Some(evidence)),
            Judgement::Undecided => (nodes.clone(), None),
        };
        let names = || wrong.iter().map(|node| topology.node(*node).id.clone()).collect::<Vec<_>>();
        tracing::error!(
            index = self.index, shard = self.shard.0, nodes = ?names(), ?evidence, ?contents,
            "replicas in sync differ"
        );
        self.scrub.reports.note(|report| {
            report.findings.push(Finding {
                index: self.index.to_owned(),
                what: Subject::Shard(self.shard.0),
                nodes: names(),
                evidence,
            });
        });
        if evidence.is_none() {
            return Ok(Outcome::Undecided);
        }
        let shards = ShardSet::from_iter([self.shard]);
        let stale = wrong.iter().map(|node| (*node, self.index.to_owned(), shards.clone())).collect();
        insync::mark(&self.writes.ledger, &Marks { stale, missed: Vec::new() }).await?;
        Ok(Outcome::Repaired)
    }

    /// What each of `nodes` holds; one after the other, at the rate that is set.
    async fn look(&self, topology: &Topology, nodes: &[NodeIx]) -> Result<Vec<Content>, NodeError> {
        let shards = ShardSet::from_iter([self.shard]);
        let mut contents = Vec::with_capacity(nodes.len());
        for node in nodes {
            let (content, bytes) = self.replica(topology, *node).content(&shards).await?;
            self.scrub.metrics.bytes.inc_by(bytes);
            self.scrub.reports.note(|report| report.bytes += bytes);
            self.scrub.throttle.take(bytes).await;
            contents.push(content);
        }
        Ok(contents)
    }

    /// The newest of Miroir's tasks that a node has carried out on the shard, and whether the node has carried out a
    /// newer one on the index that is nobody's here.
    async fn history(&self, topology: &Topology, node: NodeIx) -> Result<(Option<Uuid>, bool), NodeError> {
        #[derive(Deserialize)]
        struct Page {
            results: Vec<TaskStatusResponse>,
        }
        let path = format!(
            "/tasks?indexUids={}&types=documentAdditionOrUpdate,documentDeletion,documentEdition&statuses=succeeded\
             &limit={TASKS}",
            self.index
        );
        let page: Option<Page> = self.writes.nodes.client.get_json(topology.node(node), &path, self.trace).await?;
        let mut foreign = false;
        for task in page.into_iter().flat_map(|page| page.results) {
            match origin(&task) {
                Origin::Tasks(stamped) => {
                    // The newest comes last.
                    for Stamped { uuid, .. } in stamped.into_iter().rev() {
                        if self.touches(topology, node, uuid).await {
                            return Ok((Some(uuid), foreign));
                        }
                    }
                }
                Origin::Copy => {}
                Origin::Foreign => foreign = true,
            }
        }
        Ok((None, foreign))
    }

    /// True when the task's part on `node` is known to concern the shard.
    async fn touches(&self, topology: &Topology, node: NodeIx, task: Uuid) -> bool {
        let id = &topology.node(node).id;
        let known = self.writes.ledger.store.get_task(TaskRef::Uuid(task)).await;
        known.is_ok_and(|task| {
            task.is_some_and(|task| task.parts.iter().any(|part| part.node == *id && part.shards.contains(self.shard)))
        })
    }

    fn replica<'a>(&'a self, topology: &'a Topology, node: NodeIx) -> Replica<'a> {
        Replica {
            writes: self.writes,
            node: topology.node(node),
            index: self.index,
            primary_key: self.primary_key,
            trace: self.trace,
        }
    }
}

/// True once a node has nothing more to do for `index`, whose writes are held back; false if that takes too long.
pub(super) async fn at_rest(
    nodes: &Nodes,
    node: &Node,
    index: &str,
    hold: &Hold,
    trace: &Trace,
) -> Result<bool, NodeError> {
    let rest = queue_runs_empty(nodes, node, index, hold, trace);
    tokio::time::timeout(REST_LIMIT, rest).await.unwrap_or(Ok(false))
}

fn all_equal(contents: &[Content]) -> bool {
    contents.windows(2).all(|pair| pair[0] == pair[1])
}
