//! Searches of one index, for hits or for values of a facet.

use futures::future::join;

use super::{Reader, Reply, Stop, is_object};
use crate::cluster::gather::{Nodes, Wanted, gather};
use crate::meili::error::{Code, ResponseError};
use crate::merge;
use crate::merge::search::SearchReply;
use crate::placement::cover::cover;
use crate::placement::shard::ShardSet;
use crate::plan::facet_search::FacetSearchPlan;
use crate::plan::search::SearchPlan;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    pub(super) async fn search(&self, plan: &SearchPlan, seed: u64, index: Option<&str>) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let request = |part: &_, alone| plan.request(part, shards, alone);
        let gathering = gather(self.nodes, self.topology, wanted, &request, &is_search);
        // Pages of distinct hits state how many there are in all, which no node knows of the others.
        let census = plan.census();
        let counting = async {
            match &census {
                Some(census) => self.count_distinct(census, wanted).await,
                None => Ok(None),
            }
        };
        let (gathered, distinct) = join(gathering, counting).await;
        let (gathered, distinct) = (gathered?, distinct?);
        self.complete(&gathered)?;
        let bodies: Vec<&[u8]> = gathered.replies.iter().map(|(_, body)| body.as_ref()).collect();
        let body = match bodies.as_slice() {
            [only] if gathered.alone => merge::search::relay(plan, only, index)?,
            [_, _, ..] if !plan.comparable => return Err(hidden_distinct(plan).into()),
            bodies => merge::search::merge(plan, bodies, distinct, index)?,
        };
        Ok(Reply::ok(body, gathered.missing))
    }

    async fn count_distinct(&self, census: &SearchPlan, wanted: Wanted<'_>) -> Result<Option<u64>, Stop> {
        let shards = self.topology.shards;
        if cover(self.topology, wanted.index, wanted.shards, &[], wanted.seed).parts.len() < 2 {
            return Ok(None);
        }
        let request = |part: &_, _| census.request(part, shards, false);
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_search).await?;
        let bodies: Vec<&[u8]> = gathered.replies.iter().map(|(_, body)| body.as_ref()).collect();
        Ok(Some(merge::search::count(census, &bodies)?))
    }

    pub(super) async fn facet_search(&self, plan: &FacetSearchPlan, seed: u64) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let request = |part: &_, _| plan.request(part, shards);
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_object).await?;
        self.complete(&gathered)?;
        let bodies: Vec<&[u8]> = gathered.replies.iter().map(|(_, body)| body.as_ref()).collect();
        Ok(Reply::ok(merge::facet_search::merge(plan, &bodies)?, gathered.missing))
    }
}

fn is_search(body: &[u8]) -> bool {
    SearchReply::parse(body).is_ok()
}

fn hidden_distinct(plan: &SearchPlan) -> ResponseError {
    let field = plan.distinct.as_deref().unwrap_or_default();
    ResponseError::new(
        Code::MiroirNotSupported,
        format!(
            "The distinct attribute `{field}` is not among the displayed attributes, which Miroir needs to compare hits of several nodes."
        ),
    )
}
