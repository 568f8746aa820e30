//! A template rendered by a node that has all that goes into it.

use super::gather::{Nodes, Wanted, gather};
use super::judge::relay_error;
use super::reader::{Reader, Reply, Stop, is_object};
use crate::merge;
use crate::placement::shard::ShardSet;
use crate::plan::render::RenderPlan;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    pub(super) async fn render(&self, plan: &RenderPlan, seed: u64) -> Result<Reply, Stop> {
        let Some(held) = &plan.document else {
            let reply = self.any(&plan.request).await?;
            if !reply.is_success() {
                return Ok(relay_error(&reply));
            }
            return Ok(Reply::ok(merge::render::shown(&reply.body)?, ShardSet::new()));
        };
        let wanted = [held.shard].into_iter().collect();
        let wanted = Wanted { index: &held.index, shards: &wanted, seed };
        let gathered = gather(self.nodes, self.topology, wanted, &|_, _| plan.request.clone(), &is_object).await?;
        let Some((_, rendered)) = gathered.replies.first() else {
            return Err(self.unanswered(&gathered).into());
        };
        Ok(Reply::ok(merge::render::shown(rendered)?, ShardSet::new()))
    }
}
