//! The fields of an index.

use super::gather::{Nodes, Wanted, gather};
use super::reader::{Reader, Reply, Stop, is_object};
use crate::merge;
use crate::placement::shard::ShardSet;
use crate::plan::fields::FieldsPlan;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// The page of the union of all nodes' fields.
    pub(super) async fn fields(&self, plan: &FieldsPlan, seed: u64) -> Result<Reply, Stop> {
        let all = ShardSet::all(self.topology.shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let gathered = gather(self.nodes, self.topology, wanted, &|_, _| plan.request(), &is_object).await?;
        self.complete(&gathered)?;
        let bodies = gathered.bodies();
        Ok(Reply::ok(merge::fields::merge(&bodies, plan.offset, plan.limit)?, gathered.missing))
    }
}
