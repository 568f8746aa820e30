//! Totals and facets that depend on how one node walks its ranking rules, found by making its walk again.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use serde_json::Value;

use super::candidates::{Overview, ROUNDS};
use super::gather::{Gathered, Nodes, Wanted, gather, log_failure};
use super::reader::{Inexact, Reader, Stop};
use super::search::is_search;
use crate::merge::error::MergeError;
use crate::merge::facets::{Facets, NodeFacets};
use crate::merge::listing::{Listed, Listing};
use crate::merge::scores::MostTypos;
use crate::merge::search::{Merged, answers, candidates};
use crate::merge::walk::{self, Beyond, Left, Outcome, Stretch, Walk};
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::plan::facets::{Candidates, without_values};
use crate::plan::filter;
use crate::plan::rounds::Later;
use crate::plan::scatter::NodeRequest;
use crate::plan::search::SearchPlan;
use crate::plan::values::Key;
use crate::plan::window::Paging;
use crate::split::document::RESERVED_PREFIX;

/// For how many distinct values nodes are asked one by one.
const MOST_VALUES: usize = 400;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// What is stated of all hits, found by one node's own walk over the documents that nodes list. `best` are the best
    /// hits of distinct values, of which `first_met` are met where the page begins with the first hit. `None` if the lists
    /// end too early to tell, or nodes cannot list what it takes.
    pub(super) async fn walked(
        &self,
        plan: &SearchPlan,
        seed: u64,
        merged: &Merged<'_>,
        best: &[&str],
        first_met: Option<usize>,
    ) -> Result<Option<Overview>, Stop> {
        let Some(whole) = plan.listing() else { return Ok(None) };
        let mut listing = whole.clone();
        let shards = self.topology.shards;
        let distinct = plan.distinct.as_deref();
        let typos = MostTypos::default();
        let best = best
            .iter()
            .map(|hit| Listed::parse(hit, distinct, &typos, plan.scored_by))
            .collect::<Result<Vec<_>, _>>()?;
        let walk = Walk::of(plan);
        if let Some(count) = first_met {
            let documents = best[..count].iter().filter(|hit| !hit.values.is_empty()).map(|hit| hit.text.into());
            let met: HashSet<Key> = best[..count].iter().flat_map(|hit| hit.values.iter().cloned()).collect();
            let left = Left { documents: documents.collect(), beyond: Beyond::Nothing };
            return self.counted_in_pages(plan, seed, merged, &left, (&met, &best)).await;
        }
        let stated = merged.totals();
        if plan.is_listed_in_vain(&stated) && plan.likely_listing(merged.end(), &stated).is_none() {
            return Ok(None);
        }
        self.note(Later::Listing);
        let all = plan.window.max_total_hits;
        let mut most = plan.likely_listing(merged.end(), &stated).unwrap_or(all);
        let mut before = Stretch::default();
        for _ in 0..ROUNDS {
            listing.window.paging = Paging::Offset { offset: 0, limit: most };
            let request = |part: &CoverPart, _| listing.request(part, shards, false);
            let Some(gathered) = self.ask_more(plan, seed, &request, &is_search).await? else { return Ok(None) };
            let bodies = gathered.bodies();
            let listed = Listing::of(&bodies, most, distinct, plan.scored_by)?;
            let outcome = walk::left(&listed, &best, walk, &before);
            let left = match outcome {
                Outcome::Left(left) if left.beyond != Beyond::Unlisted || plan.facets.is_none() => left,
                // What is likely was not enough.
                Outcome::Left(_) | Outcome::GoesOn(_) | Outcome::Unknown if most < all => {
                    if plan.is_listed_in_vain(&found(&bodies)?) {
                        return Ok(None);
                    }
                    most = all;
                    continue;
                }
                Outcome::GoesOn(stretch) => {
                    let Some(Candidates { unmet: Some(unmet), .. }) = unmet(plan, &stretch.met) else {
                        return Ok(None);
                    };
                    listing.body.clone_from(&whole.body);
                    filter::and(&mut listing.body, &unmet);
                    before = stretch;
                    continue;
                }
                Outcome::Left(_) | Outcome::Unknown => return Ok(None),
            };
            return match &left.beyond {
                Beyond::Nothing => self.counted_here(plan, merged, &left).map(Some),
                Beyond::Unlisted => {
                    let left_out = listed.hits.len() - left.documents.len();
                    let all = found(&bodies)?.into_iter().fold(0, u64::saturating_add);
                    let total = plan.window.counted(all.saturating_sub(left_out as u64) as usize);
                    Ok(Some(Overview { facets: None, total, inexact: Inexact::default() }))
                }
                Beyond::Unmet(met) if walk.paged => {
                    self.counted_in_pages(plan, seed, merged, &left, (met, &best)).await
                }
                Beyond::Unmet(met) => self.counted_with_rest(plan, seed, merged, &left, met).await,
            };
        }
        Ok(None)
    }

    fn counted_here(&self, plan: &SearchPlan, merged: &Merged<'_>, left: &Left<'_>) -> Result<Overview, Stop> {
        let total = plan.window.counted(left.documents.len());
        let facets = facets_of(plan, merged, &left.documents)?;
        let exact = facets.as_ref().is_none_or(Facets::is_exact);
        Ok(Overview { facets, total, inexact: Inexact { facets: !exact, ..Inexact::default() } })
    }

    /// Nodes count the documents whose values were not met.
    async fn counted_with_rest(
        &self,
        plan: &SearchPlan,
        seed: u64,
        merged: &Merged<'_>,
        left: &Left<'_>,
        met: &HashSet<Key>,
    ) -> Result<Option<Overview>, Stop> {
        let Some(base) = unmet(plan, met) else { return Ok(None) };
        self.note(Later::Rest);
        let rest = self.ask_candidates(plan, seed, &base, &ShardSet::all(self.topology.shards)).await?;
        let mut totals = vec![plan.window.counted(left.documents.len())];
        let mut facets = plan.facets.as_ref().map(Facets::new);
        for (_, body) in &rest {
            let source = candidates(body)?;
            totals.push(source.hits);
            if let Some(facets) = &mut facets {
                facets.add_node(&source)?;
            }
        }
        if let Some(facets) = &mut facets {
            add_documents(facets, merged, &left.documents)?;
            let parts: Vec<CoverPart> = rest.iter().map(|(part, _)| part.clone()).collect();
            self.complete_facets(plan, &base, &parts, facets).await?;
        }
        let exact = facets.as_ref().is_none_or(Facets::is_exact);
        let total = plan.window.total(&totals);
        Ok(Some(Overview { facets, total, inexact: Inexact { facets: !exact, ..Inexact::default() } }))
    }

    /// The first document stands for each value that was not met, and each document without a value for itself.
    async fn counted_in_pages(
        &self,
        plan: &SearchPlan,
        seed: u64,
        merged: &Merged<'_>,
        left: &Left<'_>,
        (met, best): (&HashSet<Key>, &[Listed<'_>]),
    ) -> Result<Option<Overview>, Stop> {
        let all: HashSet<Key> = best.iter().flat_map(|hit| hit.values.iter().cloned()).collect();
        let open: Vec<Key> = all.difference(met).cloned().collect();
        // A document with several values stands for none of them where another one was met.
        let several = best.iter().any(|hit| hit.values.len() > 1);
        if several || open.len() > MOST_VALUES || best.len() as u64 >= plan.window.max_total_hits {
            return Ok(None);
        }
        let Some(base) = unmet(plan, &all) else { return Ok(None) };
        self.note(Later::Rest);
        let rest = self.ask_candidates(plan, seed, &base, &ShardSet::all(self.topology.shards)).await?;
        let Some(mut facets) = plan.facets.as_ref().map(Facets::new) else { return Ok(None) };
        for (_, body) in &rest {
            facets.add_node(&candidates(body)?)?;
        }
        let shards = self.topology.shards;
        if !open.is_empty() {
            let Some(filters) = plan.filters_of_values(&open) else { return Ok(None) };
            self.note(Later::Firsts);
            let request = |part: &CoverPart, _| plan.request_firsts(&filters, part, shards);
            let readable = |body: &Bytes| answers(body).is_ok();
            let Some(said) = self.ask_more(plan, seed, &request, &readable).await? else { return Ok(None) };
            let Some(firsts) = self.firsts(plan, &open, &said).await? else { return Ok(None) };
            facets.add_described(&firsts)?;
        }
        add_documents(&mut facets, merged, &left.documents)?;
        let parts: Vec<CoverPart> = rest.iter().map(|(part, _)| part.clone()).collect();
        self.complete_facets(plan, &base, &parts, &mut facets).await?;
        let inexact = Inexact { facets: !facets.is_exact(), ..Inexact::default() };
        Ok(Some(Overview { total: best.len() as u64, facets: Some(facets), inexact }))
    }

    /// What facets say of the first document of each of `values`, out of what each node says of its own first.
    async fn firsts<'b>(
        &self,
        plan: &SearchPlan,
        values: &[Key],
        said: &'b Gathered,
    ) -> Result<Option<Vec<NodeFacets<'b>>>, Stop> {
        let mut by_node = Vec::with_capacity(said.replies.len());
        for (part, body) in &said.replies {
            let answers = answers(body)?;
            if answers.len() != values.len() {
                return Err(MergeError::Missing("an answer to each question about distinct values").into());
            }
            by_node.push((part, answers.into_iter()));
        }
        let mut firsts = Vec::with_capacity(values.len());
        for value in values {
            let mut found: Vec<(&CoverPart, NodeFacets<'b>, Vec<(String, Key)>)> = Vec::new();
            for (part, answers) in &mut by_node {
                if let Some(first) = answers.next().filter(|first| first.hits > 0) {
                    let described = first.values()?;
                    found.push((*part, first, described));
                }
            }
            let shown = |described: &[(String, Key)]| -> Vec<(String, Key)> {
                described.iter().filter(|(facet, _)| !facet.starts_with(RESERVED_PREFIX)).cloned().collect()
            };
            let alike = found.iter().all(|(_, _, described)| shown(described) == shown(&found[0].2));
            if !alike {
                let mut places = Vec::with_capacity(found.len());
                for (part, _, described) in &found {
                    let Some(place) = self.first_alike(plan, value, described, part).await? else { return Ok(None) };
                    places.push(place);
                }
                let first = (0..places.len()).min_by_key(|at| &places[*at]).unwrap_or_default();
                found.swap(0, first);
            }
            firsts.extend(found.into_iter().next().map(|(_, first, _)| first));
        }
        Ok(Some(firsts))
    }

    /// When the first of the documents that are described so was written.
    async fn first_alike(
        &self,
        plan: &SearchPlan,
        value: &Key,
        described: &[(String, Key)],
        part: &CoverPart,
    ) -> Result<Option<String>, Stop> {
        let Some(request) = plan.request_alike(value, described, part, self.topology.shards) else { return Ok(None) };
        match self.ask_alone(part.node, request).await {
            Ok(reply) if reply.is_success() => {
                let listed = Listing::of(&[&reply.body], plan.window.max_total_hits, None, plan.scored_by)?;
                let places = listed.hits.iter().map(Listed::place);
                Ok(if listed.complete { places.min().flatten().map(str::to_owned) } else { None })
            }
            answer => {
                log_failure(self.topology, part.node, &answer);
                Ok(None)
            }
        }
    }

    /// Asks all nodes for more than a page; `None` if they refuse.
    pub(super) async fn ask_more(
        &self,
        plan: &SearchPlan,
        seed: u64,
        request: &(dyn Fn(&CoverPart, bool) -> NodeRequest + Sync),
        readable: &(dyn Fn(&Bytes) -> bool + Sync),
    ) -> Result<Option<Gathered>, Stop> {
        let all = ShardSet::all(self.topology.shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let Ok(gathered) = gather(self.nodes, self.topology, wanted, request, readable).await else { return Ok(None) };
        self.complete_later(&gathered)?;
        Ok(Some(gathered))
    }
}

/// How many documents each node finds.
fn found(bodies: &[&[u8]]) -> Result<Vec<u64>, MergeError> {
    bodies.iter().map(|body| Ok(candidates(body)?.hits)).collect()
}

/// Those whose values are none of `met`; `None` where a filter cannot be written.
fn unmet(plan: &SearchPlan, met: &HashSet<Key>) -> Option<Candidates> {
    let field = plan.distinct.as_deref()?;
    let unmet = if met.is_empty() { None } else { Some(without_values(field, met)?) };
    Some(Candidates { threshold: false, unmet })
}

fn facets_of(plan: &SearchPlan, merged: &Merged<'_>, documents: &[Cow<'_, str>]) -> Result<Option<Facets>, MergeError> {
    let Some(rules) = &plan.facets else { return Ok(None) };
    let mut facets = Facets::new(rules);
    add_documents(&mut facets, merged, documents)?;
    Ok(Some(facets))
}

/// Counts `documents` for the facets that the nodes name.
fn add_documents(facets: &mut Facets, merged: &Merged<'_>, documents: &[Cow<'_, str>]) -> Result<(), MergeError> {
    for said in merged.facets()? {
        for (facet, _) in said.distribution.iter().flat_map(|members| &members.0) {
            facets.name(facet);
        }
    }
    let documents = documents.iter().map(|text| serde_json::from_str(text)).collect::<Result<Vec<Value>, _>>()?;
    facets.add_documents(&documents);
    Ok(())
}
