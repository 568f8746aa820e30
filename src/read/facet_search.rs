//! Searches for values of a facet.

use futures::FutureExt as _;
use futures::future::{join, join_all, try_join_all};

use super::candidates::ROUNDS;
use super::gather::{Gathered, Nodes, Wanted, gather, log_failure};
use super::reader::{Inexact, Reader, Reply, Stop, is_object};
use crate::merge::documents::to_count;
use crate::merge::facet_search::{Counted, FacetHits, list, stated};
use crate::merge::search::candidates;
use crate::placement::cover::{CoverPart, cover};
use crate::placement::shard::ShardSet;
use crate::plan::facet_search::FacetSearchPlan;
use crate::plan::node_request::NodeRequest;
use crate::plan::probe::{FacetValue, Probe};
use crate::plan::rounds::Later;

/// Of how many values nodes are asked whether the client means them, together and at once.
const MOST_NAMED: usize = 400;
const NAMED_AT_ONCE: usize = 20;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// Values that nodes cut off are asked for until the list is the one of all documents, or the rounds are used up.
    pub(super) async fn facet_search(&self, plan: &FacetSearchPlan, seed: u64) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let request = |part: &_, _| plan.request(part, shards, None);
        let gathering = gather(self.nodes, self.topology, wanted, &request, &is_object);
        let (gathered, counted) = join(gathering, self.counted_values(plan, seed)).await;
        let (gathered, counted) = (gathered?, counted?);
        self.complete(&gathered)?;
        if let Some(counted) = counted {
            return self.meant_of(plan, gathered, &counted).await;
        }
        let bodies = gathered.bodies();
        let mut hits = FacetHits::new(plan, &bodies)?;
        hits.sums.list_documents(plan.lister());
        for _ in 0..ROUNDS {
            let probes = hits.sums.probes();
            if probes.is_empty() {
                break;
            }
            self.note(Later::FacetValues);
            let asked = probes.iter().map(|(source, probe)| self.probe(plan, &gathered.replies[*source].0, probe));
            let answers = join_all(asked).await;
            for ((source, probe), bodies) in probes.iter().zip(answers) {
                let Some(bodies) = bodies else {
                    hits.sums.give_up();
                    continue;
                };
                if probe.is_of_documents() {
                    let read = if probe.is_fetched() { to_count } else { candidates };
                    let replies = bodies.iter().map(|body| read(body)).collect::<Result<Vec<_>, _>>()?;
                    hits.sums.learn(*source, probe, &replies)?;
                } else {
                    let lists = bodies.iter().map(|body| list(body)).collect::<Result<Vec<_>, _>>()?;
                    hits.sums.learn_values(*source, probe, lists)?;
                }
            }
            hits.sums.next_round();
        }
        self.name_values(plan, &gathered, &mut hits).await?;
        let facets = gathered.replies.len() > 1 && (plan.distinct || !hits.sums.is_exact());
        Ok(Reply {
            inexact: Inexact { facets, totals: false, ..Inexact::default() },
            ..Reply::ok(hits.write()?, gathered.missing)
        })
    }

    /// The answer to the search that counts the facet over the documents that distinct values leave. `None` where nodes' own counts will do,
    /// and where no search can count it, because it can be searched and not filtered by.
    async fn counted_values(&self, plan: &FacetSearchPlan, seed: u64) -> Result<Option<Reply>, Stop> {
        let Some(search) = &plan.counted_by else { return Ok(None) };
        let all = ShardSet::all(self.topology.shards);
        if cover(self.topology, &plan.index, &all, &[], seed).parts.len() < 2 && search.relays() {
            return Ok(None);
        }
        match self.search(search, seed, None).boxed().await {
            Ok(reply) => Ok(Some(reply).filter(|reply| reply.status == 200)),
            Err(Stop::Fault(_)) => Ok(None),
            Err(stop) => Err(stop),
        }
    }

    /// The values that `counted` counts, as far as nodes say that the client means them.
    async fn meant_of(&self, plan: &FacetSearchPlan, gathered: Gathered, counted: &Reply) -> Result<Reply, Stop> {
        let mut hits = Counted::new(plan, &gathered.bodies(), stated(&counted.body, &plan.facet)?)?;
        let mut unnamed = std::mem::take(&mut hits.unnamed);
        hits.exact &= unnamed.len() <= MOST_NAMED;
        unnamed.truncate(MOST_NAMED);
        for some in unnamed.chunks(NAMED_AT_ONCE) {
            self.note(Later::FacetValues);
            let answers = join_all(some.iter().map(|(value, _)| self.is_meant(plan, &gathered, value))).await;
            for ((value, count), meant) in some.iter().zip(answers) {
                match meant? {
                    Some(true) => hits.name(value, *count),
                    Some(false) => {}
                    None => hits.exact = false,
                }
            }
        }
        let body = hits.write()?;
        let inexact = Inexact { facets: counted.inexact.facets || !hits.exact, ..Inexact::default() };
        let mut missing = gathered.missing;
        missing.union_with(&counted.degraded);
        Ok(Reply { inexact, ..Reply::ok(body, missing) })
    }

    /// Whether `value` is one of those that the client searches for; `None` if no node tells.
    async fn is_meant(
        &self,
        plan: &FacetSearchPlan,
        gathered: &Gathered,
        value: &FacetValue,
    ) -> Result<Option<bool>, Stop> {
        let probe = only(&plan.facet, value);
        let answers = join_all(gathered.replies.iter().map(|(part, _)| self.probe(plan, part, &probe))).await;
        let mut told = true;
        for bodies in answers {
            let lists = bodies.iter().flatten().map(|body| list(body)).collect::<Result<Vec<_>, _>>()?;
            let mut named = lists.iter().flatten();
            if named.any(|(shown, _)| FacetValue::text(shown.clone()).key() == value.key()) {
                return Ok(Some(true));
            }
            // A list that is full need not name all.
            told &= bodies.is_some() && lists.iter().all(|list| list.len() < plan.max_values);
        }
        Ok(told.then_some(false))
    }

    /// Which of the values that only documents told are among those that the client searches for: a node that has one is
    /// asked for the values of its documents, of which none is more frequent.
    async fn name_values(
        &self,
        plan: &FacetSearchPlan,
        gathered: &Gathered,
        hits: &mut FacetHits<'_>,
    ) -> Result<(), Stop> {
        hits.sums.keep_unnamed(|value| plan.may_mean(value));
        let mut asked = 0;
        loop {
            let mut unnamed = hits.sums.unnamed(&plan.facet);
            unnamed.truncate(NAMED_AT_ONCE);
            if unnamed.is_empty() {
                return Ok(());
            }
            asked += unnamed.len();
            if asked > MOST_NAMED {
                hits.sums.give_up();
                return Ok(());
            }
            self.note(Later::FacetValues);
            let probes: Vec<Probe> = unnamed.iter().map(|(_, value, _)| only(&plan.facet, value)).collect();
            let answers = unnamed.iter().zip(&probes);
            let answers = answers.map(|((source, ..), probe)| self.probe(plan, &gathered.replies[*source].0, probe));
            for ((_, value, count), bodies) in unnamed.iter().zip(join_all(answers).await) {
                let lists = bodies.iter().flatten().map(|body| list(body)).collect::<Result<Vec<_>, _>>()?;
                let named: Vec<(String, u64)> = lists.into_iter().flatten().collect();
                let searched = named.iter().any(|(shown, _)| FacetValue::text(shown.clone()).key() == value.key());
                // A list that is full of values that all of these documents have does not tell.
                let full = named.len() >= plan.max_values && named.last().is_none_or(|(_, last)| last >= count);
                if bodies.is_none() || !searched && full {
                    hits.sums.give_up();
                    return Ok(());
                }
                hits.sums.name_value(&plan.facet, value, searched);
            }
        }
    }

    /// The replies to `probe`, one for each of its filters.
    async fn probe(&self, plan: &FacetSearchPlan, part: &CoverPart, probe: &Probe) -> Option<Vec<bytes::Bytes>> {
        let shards = self.topology.shards;
        let requests: Vec<NodeRequest> = if probe.is_of_documents() {
            vec![plan.request_documents(probe, part, shards)?]
        } else {
            probe.filters()?.iter().map(|filter| plan.request(part, shards, Some(filter))).collect()
        };
        let asked = requests.into_iter().map(|request| async {
            match self.ask_alone(part.node, request).await {
                Ok(reply) if reply.is_success() => Ok(reply.body),
                answer => {
                    log_failure(self.topology, part.node, &answer);
                    Err(())
                }
            }
        });
        try_join_all(asked).await.ok()
    }
}

/// Asks for the documents that have `value`.
fn only(facet: &str, value: &FacetValue) -> Probe {
    Probe::Counts { facet: facet.to_owned(), values: vec![value.clone()] }
}
