//! What a search says of all its hits: totals and facets, as one node with all documents would state them.
//!
//! One node states them over the documents that are left when it has filled the page. It knows them only when it has
//! walked its ranking rules that far, and so do nodes of a cluster; but where each of them stopped is not where one node
//! would have stopped. What differs is asked for here, after the page is known and only if it can differ.

use bytes::Bytes;
use futures::future::join_all;
use serde_json::Value;

use super::gather::{Gathered, Nodes, Wanted, gather, log_failure};
use super::reader::{Inexact, Reader, Stop};
use super::search::is_search;
use crate::merge::documents::to_count;
use crate::merge::error::MergeError;
use crate::merge::facets::Facets;
use crate::merge::hit::Hit;
use crate::merge::hits::{self, Page};
use crate::merge::search::{Census, Merged, answers, candidates, census};
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::plan::facet_rules::FacetRules;
use crate::plan::facets::{Candidates, replies_to, without_values};
use crate::plan::probe::Probe;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;
use crate::plan::stated::{AsStated, CensusFacts, Counting, PageFacts, Stating};
use crate::plan::values::{Key, values_at};
use crate::plan::window::Paging;

/// How often nodes are asked for more of their facets before the answer goes out as it is, and says so.
pub(super) const ROUNDS: usize = 12;

/// What is stated of all hits.
pub(super) struct Overview {
    pub facets: Option<Facets>,
    /// Hits, as the answer states them.
    pub total: u64,
    pub inexact: Inexact,
}

/// What nodes state of all documents that count.
pub(super) struct Stated {
    pub facets: Option<Facets>,
    /// Documents.
    pub total: u64,
    /// False if facets may differ from those that one node would state. Example: the list of node x ends before red, and what x is asked
    /// about red stays without an answer.
    pub exact: bool,
}

/// The documents that count, as far as Miroir has them itself.
pub(super) struct Met {
    /// The best hits of distinct values: those that a node leaves of all that have them.
    pub documents: Vec<Value>,
    /// Those among them that have no value, which nodes count.
    pub without_value: usize,
    /// A filter for the documents that have none of their values; `None` where they have none, or it cannot be written.
    pub unmet: Option<String>,
    /// True if facets can be counted of `documents`, and of what `unmet` leaves. Example where not: `facets: ["genre"]`, and documents
    /// show only `id` and `maker`.
    exact: bool,
}

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// `counted` are the replies to the plan's census, if it has one.
    pub(super) async fn overview(
        &self,
        plan: &SearchPlan,
        seed: u64,
        gathered: &Gathered,
        merged: &Merged<'_>,
        counted: Option<&Gathered>,
    ) -> Result<Overview, Stop> {
        let facts = PageFacts { end: merged.end(), counted: counted.is_some() };
        for way in plan.statings(facts) {
            let overview = match (way, counted) {
                (Stating::Unsearched, _) => match self.unsearched(plan, seed).await? {
                    Some(all) => Some(self.overview_of_all(plan, &all).await?),
                    None => None,
                },
                (Stating::Census, Some(counted)) => Some(self.distinct(plan, seed, merged, counted).await?),
                (Stating::Census, None) => None,
                (Stating::Replay, _) => self.walked(plan, seed, merged, &[], None).await?,
                (Stating::Met, _) => self.beside_met(plan, seed, gathered).await?,
                (Stating::AsStated(how), _) => Some(self.as_stated(plan, seed, gathered, merged, how).await?),
            };
            if let Some(overview) = overview {
                return Ok(overview);
            }
        }
        Err(MergeError::Missing("a way to totals and facets").into())
    }

    /// What nodes stated with the page, and what those say that left out hits one node would have counted.
    async fn as_stated(
        &self,
        plan: &SearchPlan,
        seed: u64,
        gathered: &Gathered,
        merged: &Merged<'_>,
        how: AsStated,
    ) -> Result<Overview, Stop> {
        let AsStated { threshold, totals_may_differ, facets_may_differ } = how;
        let mut base = Candidates { threshold, unmet: None };
        let mut inexact = Inexact { totals: totals_may_differ, facets: facets_may_differ, ..Inexact::default() };
        let mut parts: Vec<CoverPart> = Vec::new();
        let mut sources = Vec::new();
        let mut again = ShardSet::new();
        for ((at, (part, _)), facets) in gathered.replies.iter().enumerate().zip(merged.facets()?) {
            if plan.threshold.is_none() || base.threshold || merged.stopped(at) {
                parts.push(part.clone());
                sources.push(facets);
            } else {
                again.union_with(&part.shards);
            }
        }
        if !again.is_empty() {
            self.note(Later::WithoutThreshold);
        }
        let more = self.ask_candidates(plan, seed, &base, &again).await?;
        for (part, body) in &more {
            parts.push(part.clone());
            sources.push(candidates(body)?);
        }
        let totals: Vec<u64> = sources.iter().map(|source| source.hits).collect();
        let total = merged.total_of(&totals);
        let Some(rules) = &plan.facets else { return Ok(Overview { facets: None, total, inexact }) };
        let mut facets = Facets::new(rules);
        for source in &sources {
            facets.add_node(source)?;
        }
        if plan.reach() == 0 {
            base.threshold = false;
        }
        self.complete_facets(plan, &base, &parts, &mut facets).await?;
        inexact.facets |= !facets.is_exact();
        Ok(Overview { facets: Some(facets), total, inexact })
    }

    /// What nodes say of all that may be found, if the page begins behind the last of it: one node looks at nothing then.
    async fn unsearched(&self, plan: &SearchPlan, seed: u64) -> Result<Option<Vec<(CoverPart, Bytes)>>, Stop> {
        self.note(Later::Unsearched);
        let wanted = ShardSet::all(self.topology.shards);
        let all = self.ask_candidates(plan, seed, &Candidates::default(), &wanted).await?;
        let mut hits = 0;
        for (_, body) in &all {
            hits += candidates(body)?.hits;
        }
        Ok((hits < plan.window.skip()).then_some(all))
    }

    async fn overview_of_all(&self, plan: &SearchPlan, all: &[(CoverPart, Bytes)]) -> Result<Overview, Stop> {
        let sources = all.iter().map(|(_, body)| candidates(body)).collect::<Result<Vec<_>, _>>()?;
        let totals: Vec<u64> = sources.iter().map(|source| source.hits).collect();
        let total = plan.window.total(&totals);
        let Some(rules) = &plan.facets else {
            return Ok(Overview { facets: None, total, inexact: Inexact::default() });
        };
        let mut facets = Facets::new(rules);
        for source in &sources {
            facets.add_node(source)?;
        }
        let parts: Vec<CoverPart> = all.iter().map(|(part, _)| part.clone()).collect();
        self.complete_facets(plan, &Candidates::default(), &parts, &mut facets).await?;
        let inexact = Inexact { facets: !facets.is_exact(), ..Inexact::default() };
        Ok(Overview { facets: Some(facets), total, inexact })
    }

    /// Under `distinct` the documents that count are the hits that were met and those whose values were not.
    async fn distinct(
        &self,
        plan: &SearchPlan,
        seed: u64,
        merged: &Merged<'_>,
        counted: &Gathered,
    ) -> Result<Overview, Stop> {
        let bodies = counted.bodies();
        let Census { best: Page { hits, tied, hides, .. }, longest } = census(plan, &bodies)?;
        // Values beyond what can be listed are counted by engines that state more than that.
        let most = plan.window.max_total_hits;
        let unlisted = plan.window.states_all_hits && longest >= most;
        let paged = matches!(plan.window.paging, Paging::Page { .. });
        let full = merged.is_full();
        let count = match (paged, full) {
            (_, false) => merged.passed().min(hits.len() as u64) as usize,
            (true, true) => hits.len(),
            (false, true) => hits::met(&hits, plan.reach() as usize)?,
        };
        let uncounted = paged && full && unlisted;
        // There are at least as many as one of the nodes has.
        let least = if uncounted { merged.totals().into_iter().max().unwrap_or(0) } else { 0 };
        let of_pages = least.max(count as u64);
        let end = merged.end();
        let facts = CensusFacts { tied, hides, none: count == 0 };
        let ways = plan.countings(end, facts);
        let replays = matches!(ways.first(), Some(Counting::Replay { .. }));
        if let Some(Counting::Replay { known_to_the_end }) = ways.first().copied() {
            let reach = plan.reach() as usize;
            let first_met = known_to_the_end.then(|| hits::met(&hits, reach)).transpose()?;
            let texts: Vec<&str> = hits.iter().map(|hit| hit.text).collect();
            if let Some(mut overview) = self.walked(plan, seed, merged, &texts, first_met).await? {
                // It is the order of the last writes that is known here.
                overview.inexact.facets |= plan.walks_facets(end, facts);
                return Ok(overview);
            }
        }
        // One node skips by the bucket, without a look at the scores of what it skips.
        let unscored = plan.threshold.is_some() && (merged.is_past_the_end() || replays);
        let rests = ways.last() == Some(&Counting::Rest);
        let Some(rules) = plan.facets.as_ref().filter(|_| rests) else {
            let total = if paged { of_pages } else { merged.total_of(&merged.totals()) };
            let facets = plan.facets.as_ref().map(|rules| self.summed(rules, merged)).transpose()?;
            return Ok(Overview {
                facets,
                total,
                inexact: Inexact {
                    totals: unscored || hides || uncounted,
                    facets: unscored || hides,
                    ..Inexact::default()
                },
            });
        };
        let met = met(plan, &hits[..count])?;
        let scored = !full || plan.counts_all_above();
        let base = Candidates { threshold: plan.threshold.is_some() && scored, unmet: met.unmet };
        self.note(Later::Rest);
        let rest = self.ask_candidates(plan, seed, &base, &ShardSet::all(self.topology.shards)).await;
        let rest = match rest {
            Ok(rest) => rest,
            // The distinct attribute of the settings need not be filterable.
            Err(Stop::Fault(_)) => {
                let total = if paged { of_pages } else { merged.total_of(&merged.totals()) };
                let inexact = Inexact { facets: true, totals: !paged || hides || uncounted, ..Inexact::default() };
                return Ok(Overview { facets: Some(self.summed(rules, merged)?), total, inexact });
            }
            Err(stop) => return Err(stop),
        };
        let mut facets = Facets::new(rules);
        let mut totals = vec![(count - met.without_value) as u64];
        let parts: Vec<CoverPart> = rest.iter().map(|(part, _)| part.clone()).collect();
        for (_, body) in &rest {
            let source = candidates(body)?;
            totals.push(source.hits);
            facets.add_node(&source)?;
        }
        for said in merged.facets()? {
            for (facet, _) in said.distribution.iter().flat_map(|members| &members.0) {
                facets.name(facet);
            }
        }
        facets.add_documents(&met.documents);
        self.complete_facets(plan, &base, &parts, &mut facets).await?;
        let total = if paged { of_pages } else { plan.window.total(&totals) };
        let exact =
            facets.is_exact() && met.exact && !hides && (!plan.is_unordered(end, facts) || plan.counts_only_distinct());
        Ok(Overview {
            facets: Some(facets),
            total,
            inexact: Inexact {
                facets: !exact || unscored,
                totals: unscored || hides || uncounted,
                ..Inexact::default()
            },
        })
    }

    /// Sums what the nodes state in `sources`, their replies over the `base` of `plan`.
    pub(super) async fn state(
        &self,
        plan: &SearchPlan,
        base: &Candidates,
        sources: &[(CoverPart, Bytes)],
    ) -> Result<Stated, Stop> {
        let stated = sources.iter().map(|(_, body)| candidates(body)).collect::<Result<Vec<_>, _>>()?;
        let totals: Vec<u64> = stated.iter().map(|source| source.hits).collect();
        let total = plan.window.total(&totals);
        let Some(rules) = &plan.facets else { return Ok(Stated { facets: None, total, exact: true }) };
        let mut facets = Facets::new(rules);
        for source in &stated {
            facets.add_node(source)?;
        }
        if plan.distinct.is_some() {
            // Another question would leave out other documents.
            return Ok(Stated { facets: Some(facets), total, exact: false });
        }
        let parts: Vec<CoverPart> = sources.iter().map(|(part, _)| part.clone()).collect();
        self.complete_facets(plan, base, &parts, &mut facets).await?;
        Ok(Stated { exact: facets.is_exact(), facets: Some(facets), total })
    }

    /// The facets as the nodes stated them of the page.
    fn summed(&self, rules: &FacetRules, merged: &Merged<'_>) -> Result<Facets, Stop> {
        let mut facets = Facets::new(rules);
        for source in merged.facets()? {
            facets.add_node(&source)?;
        }
        Ok(facets)
    }

    /// Totals and facets of `base` over the shards `wanted`, as bodies; nothing is asked for no shards.
    pub(super) async fn ask_candidates(
        &self,
        plan: &SearchPlan,
        seed: u64,
        base: &Candidates,
        wanted: &ShardSet,
    ) -> Result<Vec<(CoverPart, Bytes)>, Stop> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let shards = self.topology.shards;
        let request = |part: &CoverPart, _| plan.request_candidates(base, part, shards);
        let wanted = Wanted { index: &plan.index, shards: wanted, seed };
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_search).await?;
        self.complete_later(&gathered)?;
        Ok(gathered.replies)
    }

    /// Asks nodes until `facets` are as one node would state them, or no question helps.
    pub(super) async fn complete_facets(
        &self,
        plan: &SearchPlan,
        base: &Candidates,
        parts: &[CoverPart],
        facets: &mut Facets,
    ) -> Result<(), Stop> {
        facets.list_documents(plan.lister(base));
        for _ in 0..ROUNDS {
            let probes = facets.probes();
            if probes.is_empty() {
                return Ok(());
            }
            self.note(Later::FacetValues);
            let asked = parts.iter().enumerate().flat_map(|(source, part)| {
                let mine = probes.iter().filter(|(of, _)| *of == source).map(|(_, probe)| probe);
                let (fetched, searched): (Vec<&Probe>, Vec<&Probe>) = mine.partition(|probe| probe.is_fetched());
                let apart = fetched.into_iter().map(|probe| vec![probe]);
                let requests = apart.chain(Some(searched).filter(|searched| !searched.is_empty()));
                requests.map(move |mine| self.ask_probes(plan, base, source, part, mine))
            });
            for answer in join_all(asked).await {
                let Some((source, mine, body)) = answer else {
                    facets.give_up();
                    return Ok(());
                };
                let fetched = mine.iter().all(|probe| probe.is_fetched());
                let replies = if fetched { vec![to_count(&body)?] } else { answers(&body)? };
                let mut replies = replies.as_slice();
                for probe in mine {
                    let (own, rest) = replies
                        .split_at_checked(replies_to(probe, &parts[source]))
                        .ok_or(MergeError::Missing("an answer to each question about facets"))?;
                    facets.learn(source, probe, own)?;
                    replies = rest;
                }
            }
            facets.next_round();
        }
        facets.give_up();
        Ok(())
    }

    /// One that is fetched, or any that searches answer.
    async fn ask_probes<'p>(
        &self,
        plan: &SearchPlan,
        base: &Candidates,
        source: usize,
        part: &CoverPart,
        probes: Vec<&'p Probe>,
    ) -> Option<(usize, Vec<&'p Probe>, Bytes)> {
        let shards = self.topology.shards;
        let request = match probes.as_slice() {
            [only] if only.is_fetched() => plan.request_fetched(only, base, part, shards)?,
            searched => plan.request_probes(searched, base, part, shards)?,
        };
        match self.ask_alone(part.node, request).await {
            Ok(reply) if reply.is_success() => Some((source, probes, reply.body)),
            answer => {
                log_failure(self.topology, part.node, &answer);
                None
            }
        }
    }
}

/// What the best hits of distinct values say.
pub(super) fn met(plan: &SearchPlan, hits: &[Hit<'_>]) -> Result<Met, MergeError> {
    let field = plan.distinct.as_deref().unwrap_or_default();
    let mut met: Vec<Key> = Vec::new();
    let mut documents = Vec::with_capacity(hits.len());
    for hit in hits {
        let document: Value = serde_json::from_str(hit.text)?;
        let values = values_at(&document, field);
        if !values.is_empty() {
            met.extend(values);
            documents.push(document);
        }
    }
    let unmet = if met.is_empty() { None } else { without_values(field, &met) };
    let exact = (met.is_empty() || unmet.is_some()) && plan.facets_shown;
    Ok(Met { without_value: hits.len() - documents.len(), documents, unmet, exact })
}
