//! Resilver: brings stale replicas in sync by copying their shards from a replica that is.
//!
//! The simple way, correct first: writes to the index wait while its stale shards are copied. The target's documents of
//! those shards are deleted, the source's copied page by page, both sides counted, and only then is the replica in sync.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::Cluster;
use super::client::{Subrequest, TaskStatusResponse, Trace};
use super::error::NodeError;
use super::insync;
use super::repair::queue_runs_empty;
use crate::meili::task::TaskStatus;
use crate::placement::shard::{ShardId, ShardSet, shard_filter};
use crate::placement::topology::{Node, NodeIx, NodeState, Topology};
use crate::store::StoreError;
use crate::tasks::stale::unfit_source;

/// How many documents are copied at a time.
const PAGE: usize = 1000;
/// How long one task of a copy may take on the target.
const TASK_LIMIT: Duration = Duration::from_secs(600);
/// Stale shards that could not be copied are tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// Why shards stay stale for now.
#[derive(Debug, thiserror::Error)]
enum ResilverError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the queue of node {0} did not run empty")]
    Busy(String),
    #[error("task {uid} has failed on the source, and is not settled yet")]
    SourceBehind { uid: u32 },
    #[error("task {uid} failed: {message}")]
    Task { uid: u32, message: String },
    #[error("source has {source_count} documents, target {target_count}")]
    Counts { source_count: u64, target_count: u64 },
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    results: &'a RawValue,
    total: u64,
}

/// Copies what is stale on nodes that are up, whenever something becomes stale or a node returns, until `shutdown`.
pub async fn run(cluster: Arc<Cluster>, mut shutdown: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = cluster.resilver.notified() => {}
            _ = tokio::time::sleep(RETRY) => {}
            _ = super::stopped(&mut shutdown) => return,
        }
        tokio::select! {
            _ = pass(&cluster) => {}
            _ = super::stopped(&mut shutdown) => return,
        }
    }
}

async fn pass(cluster: &Arc<Cluster>) {
    let work: Vec<(NodeIx, String)> = cluster.topology().stale.keys().cloned().collect();
    for (node, index) in work {
        if cluster.topology().node(node).state != NodeState::Up {
            continue;
        }
        if let Err(error) = resilver(cluster, node, &index).await {
            let topology = cluster.topology();
            tracing::warn!(node = %topology.node(node).id, index, %error, "stale shards could not be copied yet");
        }
    }
}

async fn resilver(cluster: &Arc<Cluster>, target: NodeIx, index: &str) -> Result<(), ResilverError> {
    let _hold = cluster.writer.gates.hold(index).await;
    let topology = cluster.topology();
    let Some(stale) = topology.stale_of(target, index) else { return Ok(()) };
    if !cluster.registry.exists(index) {
        return Ok(insync::clear(cluster, target, index, stale).await?);
    }
    // A shard that moved away is no longer this node's to have.
    let lost: ShardSet = stale.iter().filter(|shard| !topology.shards_of(target).contains(*shard)).collect();
    if !lost.is_empty() {
        insync::clear(cluster, target, index, &lost).await?;
    }
    let trace = Trace::background("resilver");
    let owned: ShardSet = stale.iter().filter(|shard| !lost.contains(*shard)).collect();
    for (source, shards) in sources(&topology, target, index, &owned) {
        match source {
            Some(source) => copy(cluster, &topology, source, target, index, &shards, &trace).await?,
            None => settle_orphans(cluster, &topology, target, index, &shards, &trace).await?,
        }
        insync::clear(cluster, target, index, &shards).await?;
    }
    Ok(())
}

/// Whom to copy from: for each stale shard another owner that is up and in sync. `None` where all owners are up and none
/// is in sync; shards whose in-sync owner is away are left out.
pub(super) fn sources(
    topology: &Topology,
    target: NodeIx,
    index: &str,
    stale: &ShardSet,
) -> BTreeMap<Option<NodeIx>, ShardSet> {
    let mut sources: BTreeMap<Option<NodeIx>, ShardSet> = BTreeMap::new();
    for shard in stale.iter() {
        let owners = topology.owners_of(shard);
        let up = |node: &NodeIx| topology.node(*node).state == NodeState::Up;
        let in_sync = |node: &NodeIx| *node != target && !topology.is_stale(*node, index, shard);
        let source = owners.iter().copied().find(|node| up(node) && in_sync(node));
        if source.is_some() || (owners.iter().all(up) && !owners.iter().any(in_sync)) {
            sources.entry(source).or_default().insert(shard);
        }
    }
    sources
}

async fn copy(
    cluster: &Arc<Cluster>,
    topology: &Topology,
    source: NodeIx,
    target: NodeIx,
    index: &str,
    shards: &ShardSet,
    trace: &Trace,
) -> Result<(), ResilverError> {
    let (source, target) = (topology.node(source), topology.node(target));
    for node in [source, target] {
        if !queue_runs_empty(cluster, node, index, trace).await? {
            return Err(ResilverError::Busy(node.id.to_string()));
        }
    }
    // The queues are empty, so what failed in them is known once they have been asked.
    for task in cluster.reconciler.live_in(index) {
        cluster.reconciler.poll_now(task.uid).await;
    }
    if let Some(task) = cluster.reconciler.live_in(index).iter().find(|task| unfit_source(task, &source.id, shards)) {
        return Err(ResilverError::SourceBehind { uid: task.uid });
    }
    let filter = shard_filter(shards, topology.shards);
    tracing::info!(from = %source.id, to = %target.id, index, shards = shards.len(), "resilvering");
    let timeout = cluster.settings.write.timeout;
    let delete = Bytes::from(json!({"filter": filter}).to_string());
    let path = format!("/indexes/{index}/documents/delete");
    let delete = Subrequest::json(http::Method::POST, path, delete, timeout, false);
    done(cluster.client.carry_out(target, delete, trace, TASK_LIMIT).await?)?;
    let primary_key = cluster.registry.entry(index).and_then(|entry| entry.primary_key);
    let path = match primary_key {
        Some(key) => {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("primaryKey", &key).finish();
            format!("/indexes/{index}/documents?{query}")
        }
        None => format!("/indexes/{index}/documents"),
    };
    let mut offset = 0;
    let mut total = 0;
    let mut last = None;
    while offset == 0 || offset < total {
        let reply = fetch(cluster, source, index, &filter, offset, PAGE, trace).await?;
        let page = read_page(source, &reply)?;
        total = page.total;
        if total > offset {
            let documents = Bytes::copy_from_slice(page.results.get().as_bytes());
            let add = Subrequest::json(http::Method::POST, path.as_str(), documents, timeout, false);
            let added = cluster.client.carry_out(target, add, trace, TASK_LIMIT).await?;
            done(added.clone())?;
            last = Some(added);
        }
        offset += PAGE as u64;
    }
    let counted = cluster.metrics.resilvered_documents.with_label_values(&[target.id.as_str()]);
    counted.inc_by(total);
    let target_count = count(cluster, target, index, &filter, trace).await?;
    if target_count != total {
        return Err(ResilverError::Counts { source_count: total, target_count });
    }
    tracing::info!(to = %target.id, index, documents = total, last_task = last.map(|task| task.uid), "resilvered");
    Ok(())
}

/// Every owner of these shards is up and every one is stale: the one that holds most becomes the measure, so that the
/// shards are served again. Only reached when all replicas of a shard were lost or emptied.
async fn settle_orphans(
    cluster: &Arc<Cluster>,
    topology: &Topology,
    target: NodeIx,
    index: &str,
    shards: &ShardSet,
    trace: &Trace,
) -> Result<(), ResilverError> {
    let mut from: BTreeMap<NodeIx, ShardSet> = BTreeMap::new();
    for shard in shards.iter() {
        let filter = shard_filter(&ShardSet::from_iter([shard]), topology.shards);
        let mut best: Option<(u64, NodeIx)> = None;
        for owner in topology.owners_of(shard) {
            let held = count(cluster, topology.node(*owner), index, &filter, trace).await?;
            if best.is_none_or(|(most, _)| held > most) {
                best = Some((held, *owner));
            }
        }
        let Some((held, owner)) = best else { continue };
        if held > 0 {
            let ShardId(number) = shard;
            let id = &topology.node(owner).id;
            tracing::error!(index, shard = number, node = %id, "no replica is in sync: the fullest becomes the measure");
        }
        // Nothing anywhere: as good on this node as on any.
        if held > 0 && owner != target {
            from.entry(owner).or_default().insert(shard);
        }
    }
    for (owner, shards) in from {
        copy(cluster, topology, owner, target, index, &shards, trace).await?;
    }
    Ok(())
}

async fn fetch(
    cluster: &Cluster,
    node: &Node,
    index: &str,
    filter: &str,
    offset: u64,
    limit: usize,
    trace: &Trace,
) -> Result<Bytes, NodeError> {
    let body = json!({"filter": filter, "offset": offset, "limit": limit, "retrieveVectors": limit > 0});
    let request = Subrequest::json(
        http::Method::POST,
        format!("/indexes/{index}/documents/fetch"),
        Bytes::from(body.to_string()),
        cluster.settings.write.timeout,
        true,
    );
    let reply = cluster.client.send(node, request, trace).await?;
    let _: serde::de::IgnoredAny = cluster.client.read(node, &reply)?;
    Ok(reply.body)
}

fn read_page<'a>(node: &Node, body: &'a Bytes) -> Result<Page<'a>, NodeError> {
    serde_json::from_slice(body)
        .map_err(|error| NodeError::new(&node.id, super::error::NodeErrorKind::Malformed(error.to_string())))
}

async fn count(cluster: &Cluster, node: &Node, index: &str, filter: &str, trace: &Trace) -> Result<u64, NodeError> {
    let reply = fetch(cluster, node, index, filter, 0, 0, trace).await?;
    Ok(read_page(node, &reply)?.total)
}

fn done(task: TaskStatusResponse) -> Result<(), ResilverError> {
    if task.status == TaskStatus::Succeeded {
        return Ok(());
    }
    let message = task.error.map_or_else(|| task.status.as_str().to_owned(), |error| error.message);
    Err(ResilverError::Task { uid: task.uid, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::topology::{NodeId, StaleSets};

    fn topology(states: &[NodeState], stale: &[usize]) -> Topology {
        let nodes = states
            .iter()
            .enumerate()
            .map(|(position, state)| Node {
                id: NodeId::new(&format!("n{position}")),
                url: "http://x".into(),
                zone: None,
                weight: 1.0,
                state: *state,
            })
            .collect();
        let mut topology = Topology::build(nodes, 4, 2);
        let stale = stale.iter().map(|node| ((NodeIx(*node), "a".to_owned()), ShardSet::all(4)));
        topology.stale = Arc::new(stale.collect::<StaleSets>());
        topology
    }

    const UP: NodeState = NodeState::Up;

    #[test]
    fn a_stale_shard_is_copied_from_an_owner_in_sync() {
        let topology = topology(&[UP, UP], &[1]);
        let sources = sources(&topology, NodeIx(1), "a", &ShardSet::all(4));
        assert_eq!(sources, BTreeMap::from([(Some(NodeIx(0)), ShardSet::all(4))]));
    }

    #[test]
    fn a_shard_whose_in_sync_owner_is_away_waits() {
        let topology = topology(&[NodeState::Down, UP], &[1]);
        assert!(sources(&topology, NodeIx(1), "a", &ShardSet::all(4)).is_empty());
    }

    #[test]
    fn shards_that_are_stale_everywhere_are_settled_when_all_owners_are_up() {
        let everywhere = topology(&[UP, UP], &[0, 1]);
        let found = sources(&everywhere, NodeIx(1), "a", &ShardSet::all(4));
        assert_eq!(found, BTreeMap::from([(None, ShardSet::all(4))]));
        let one_away = topology(&[NodeState::Down, UP], &[0, 1]);
        assert!(sources(&one_away, NodeIx(1), "a", &ShardSet::all(4)).is_empty());
    }
}
