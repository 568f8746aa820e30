//! How much a move is: documents counted on the nodes that have them, bytes by their average size.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::json;

use super::part::Rebalancer;
use crate::nodes::client::{OWN_QUESTION, Subrequest, Trace};
use crate::nodes::error::NodeError;
use crate::nodes::meaning::Meaning;
use crate::placement::shard::{ShardSet, shard_filter};
use crate::placement::topology::{Node, NodeId};
use crate::rebalance::{Layout, Moves};

/// The rate that is assumed as long as no plan has shown one, in documents per second.
pub const ASSUMED_RATE: f64 = 2_000.0;

/// Documents and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Volume {
    pub documents: u64,
    /// As engines estimate the size of documents.
    pub bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexFigures {
    #[serde(default)]
    avg_document_size: u64,
}

#[derive(Deserialize)]
struct Page {
    total: u64,
}

/// The documents that the plan of `layout` still has to copy.
pub async fn documents_to_move(rebalancer: &Rebalancer, layout: &Layout) -> Result<u64, NodeError> {
    let moves = Moves::between(layout, &layout.target());
    let volumes = volumes(rebalancer, layout, &moves).await?;
    Ok(volumes.values().map(|volume| volume.documents).sum())
}

/// What each node must take over, by the counts of those who have it.
pub async fn volumes(
    rebalancer: &Rebalancer,
    layout: &Layout,
    moves: &Moves,
) -> Result<BTreeMap<NodeId, Volume>, NodeError> {
    let topology = rebalancer.nodes.topology();
    let trace = Trace::background("figures");
    let mut asked = Vec::new();
    for ((source, target), shards) in moves.sources(layout) {
        let Some(source) = topology.find(source.as_str()) else { continue };
        for entry in rebalancer.ledger.registry.entries() {
            let (trace, node, shards) = (&trace, topology.node(source), shards.clone());
            let target = target.clone();
            asked.push(async move {
                Ok((target, of_index(rebalancer, node, &entry.uid, &shards, layout.shards(), trace).await?))
            });
        }
    }
    let mut volumes: BTreeMap<NodeId, Volume> = BTreeMap::new();
    for (target, volume) in try_join_all(asked).await? {
        let total = volumes.entry(target).or_default();
        total.documents += volume.documents;
        total.bytes += volume.bytes;
    }
    Ok(volumes)
}

async fn of_index(
    rebalancer: &Rebalancer,
    node: &Node,
    index: &str,
    wanted: &ShardSet,
    shards: u16,
    trace: &Trace,
) -> Result<Volume, NodeError> {
    let path = format!("/indexes/{index}/documents/fetch");
    let body = Bytes::from(json!({ "filter": shard_filter(wanted, shards), "limit": 0 }).to_string());
    let request = Subrequest::json(http::Method::POST, path, body, OWN_QUESTION, true);
    let reply = rebalancer.nodes.client.send(node, request, trace).await?;
    if Meaning::of_reply(&reply) == Meaning::NotHere {
        return Ok(Volume::default());
    }
    let page: Page = rebalancer.nodes.client.read(node, &reply)?;
    let stats: Option<IndexFigures> =
        rebalancer.nodes.client.get_json(node, &format!("/indexes/{index}/stats"), trace).await?;
    let average = stats.map_or(0, |stats| stats.avg_document_size);
    Ok(Volume { documents: page.total, bytes: page.total * average })
}

/// Documents per second, as the last plan that copied enough of them went.
pub fn rate(layout: &Layout) -> f64 {
    let shown = layout.finished.iter().rev().find_map(|plan| {
        let seconds = (plan.ended_at - plan.began_at).as_seconds_f64();
        (plan.documents >= 1_000 && seconds > 0.0).then(|| plan.documents as f64 / seconds)
    });
    shown.unwrap_or(ASSUMED_RATE)
}
