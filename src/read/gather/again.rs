//! The same nodes asked for more.

use bytes::Bytes;
use parking_lot::Mutex;
use tracing::Instrument as _;

use super::{Asking, Fault, Gathered, Nodes, Wanted};
use crate::placement::cover::{Cover, CoverPart};
use crate::placement::shard::ShardSet;
use crate::placement::topology::Topology;
use crate::plan::scatter::NodeRequest;

/// Asks each of `parts` of the node that has answered for it already, and others for the shards of those that fail.
pub async fn gather_again<N: Nodes + ?Sized>(
    nodes: &N,
    topology: &Topology,
    wanted: Wanted<'_>,
    parts: Vec<CoverPart>,
    request: &(dyn Fn(&CoverPart, bool) -> NodeRequest + Sync),
    readable: &(dyn Fn(&Bytes) -> bool + Sync),
) -> Result<Gathered, Fault> {
    let (avoided, laden) = (nodes.avoided(), nodes.laden(wanted.seed));
    let asking = Asking { nodes, topology, wanted, request, readable, avoided, laden, seen: Mutex::default() };
    let cover = Cover { parts, missing: ShardSet::new() };
    let answers = asking.covered(cover, false).instrument(nodes.round()).await;
    answers.gathered(asking.seen.into_inner())
}
