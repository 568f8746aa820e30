//! Searches for values of a facet.

use futures::future::{join_all, try_join_all};

use super::candidates::ROUNDS;
use super::gather::{Nodes, Wanted, gather, log_failure};
use super::reader::{Inexact, Reader, Reply, Stop, is_object};
use crate::merge::facet_search::{FacetHits, list};
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::plan::facet_search::FacetSearchPlan;
use crate::plan::probe::Probe;
use crate::plan::rounds::Later;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// Values that nodes cut off are asked for until the list is the one of all documents, or the rounds are used up.
    pub(super) async fn facet_search(&self, plan: &FacetSearchPlan, seed: u64) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let request = |part: &_, _| plan.request(part, shards, None);
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_object).await?;
        self.complete(&gathered)?;
        let bodies = gathered.bodies();
        let mut hits = FacetHits::new(plan, &bodies)?;
        for _ in 0..ROUNDS {
            let probes = hits.sums.probes();
            if probes.is_empty() {
                break;
            }
            self.note(Later::FacetValues);
            let asked = probes.iter().map(|(source, probe)| self.probe(plan, &gathered.replies[*source].0, probe));
            let answers = join_all(asked).await;
            for ((source, probe), lists) in probes.iter().zip(answers) {
                match lists {
                    Some(lists) => hits.sums.learn_values(*source, probe, lists)?,
                    None => hits.sums.give_up(),
                }
            }
        }
        let facets = gathered.replies.len() > 1 && (plan.distinct || !hits.sums.is_exact());
        Ok(Reply {
            inexact: Inexact { facets, totals: false, ..Inexact::default() },
            ..Reply::ok(hits.write()?, gathered.missing)
        })
    }

    /// The lists that answer `probe`, one for each of its filters.
    async fn probe(&self, plan: &FacetSearchPlan, part: &CoverPart, probe: &Probe) -> Option<Vec<Vec<(String, u64)>>> {
        let filters = probe.filters()?;
        let asked = filters.iter().map(|filter| async {
            let request = plan.request(part, self.topology.shards, Some(filter));
            match self.ask_alone(part.node, request).await {
                Ok(reply) if reply.is_success() => list(&reply.body).map_err(|_| ()),
                answer => {
                    log_failure(self.topology, part.node, &answer);
                    Err(())
                }
            }
        });
        try_join_all(asked).await.ok()
    }
}
