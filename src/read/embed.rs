//! Embeds the words of a search once, instead of once on each node.

use super::gather::{Nodes, Wanted, gather};
use super::reader::Reader;
use super::search::is_search;
use crate::merge;
use crate::placement::shard::ShardId;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// `plan` with the vector of its words; `None` where there is nothing to embed, or nobody shows it.
    pub(super) async fn embedded(&self, plan: &SearchPlan, seed: u64) -> Option<SearchPlan> {
        if self.query_vectors.are_unshown() {
            return None;
        }
        let request = plan.request_embedding()?;
        self.note(Later::QueryVector);
        // Any node that serves the index will do.
        let some = [ShardId((seed % u64::from(self.topology.shards)) as u16)].into_iter().collect();
        let wanted = Wanted { index: &plan.index, shards: &some, seed };
        // What is wrong with the search is said by the search itself.
        let gathered = gather(self.nodes, self.topology, wanted, &|_, _| request.clone(), &is_search).await.ok()?;
        let (_, body) = gathered.replies.first()?;
        let vector = merge::search::query_vector(body);
        if vector.is_none() {
            self.query_vectors.note_unshown();
        }
        Some(plan.with_query_vector(vector?))
    }
}
