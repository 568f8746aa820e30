//! Several searches in one request.

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::gather::Nodes;
use super::reader::{Inexact, Reader, Reply, Stop};
use crate::merge;
use crate::placement::shard::ShardSet;
use crate::plan::multi_search::MultiSearchPlan;
use crate::plan::scattered::Scattered as _;

/// How many searches of one multi-search run at a time.
const QUERIES_AT_ONCE: usize = 8;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// The answers of all searches, in their order; the first that fails is the answer.
    pub(super) async fn multi_search(&self, plan: &MultiSearchPlan) -> Result<Reply, Stop> {
        let mut searches = Vec::with_capacity(plan.queries.len());
        for query in &plan.queries {
            let seed = query.seed();
            searches.push(self.search(query, seed, Some(&query.index)).boxed());
        }
        let replies: Vec<Reply> = futures::stream::iter(searches).buffered(QUERIES_AT_ONCE).try_collect().await?;
        let mut degraded = ShardSet::new();
        let inexact = replies.iter().fold(Inexact::default(), |inexact, reply| inexact.or(reply.inexact));
        let bodies: Vec<&[u8]> = replies.iter().map(|reply| reply.body.as_ref()).collect();
        for reply in &replies {
            degraded.union_with(&reply.degraded);
        }
        let hits = replies.iter().filter_map(|reply| reply.hits).sum();
        Ok(Reply { inexact, ..Reply::ok(merge::search::results(&bodies)?, degraded).of(hits) })
    }
}
