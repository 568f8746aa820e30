//! Searches of one index.

use bytes::Bytes;
use futures::future::join;
use tracing::Instrument as _;

use super::gather::{Gathered, Nodes, Wanted, gather};
use super::reader::{Inexact, Reader, Reply, Stop};
use super::readings::Readings;
use crate::merge;
use crate::merge::search::{Merged, is_reply};
use crate::placement::cover::cover;
use crate::placement::shard::ShardSet;
use crate::plan::by_frequency::ByFrequency;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;
use crate::plan::span::Span;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// Once more, on the attributes that all nodes know, where one does not know some. `index` is shown in the
    /// answer.
    pub(super) async fn search(&self, plan: &SearchPlan, seed: u64, index: Option<&str>) -> Result<Reply, Stop> {
        match self.search_as_planned(plan, seed, index).await {
            Err(stop) => {
                let plan = self.on_known_attributes(plan, stop).await?;
                self.search_as_planned(&plan, seed, index).await
            }
            answer => answer,
        }
    }

    async fn search_as_planned(&self, plan: &SearchPlan, seed: u64, index: Option<&str>) -> Result<Reply, Stop> {
        match plan.hybrid() {
            Some(hybrid) => self.hybrid(plan, &hybrid, seed, index).await,
            None => self.search_one_way(plan, seed, index).await,
        }
    }

    /// A search by words, or by a vector.
    pub(super) async fn search_one_way(
        &self,
        plan: &SearchPlan,
        seed: u64,
        index: Option<&str>,
    ) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let is_shared = cover(self.topology, wanted.index, wanted.shards, &[], wanted.seed).parts.len() > 1;
        if let (true, ByFrequency::Words(words)) = (is_shared, &plan.by_frequency) {
            return self.by_frequency(plan, words, wanted, index).await;
        }
        let embedded = if is_shared { self.embedded(plan, seed).await } else { None };
        let plan = embedded.as_ref().unwrap_or(plan);
        let request = |part: &_, alone| plan.request_share(part, shards, alone && plan.relays());
        let readings = Readings::default();
        let readable = |body: &Bytes| readings.judge(body);
        let gathering = gather(self.nodes, self.topology, wanted, &request, &readable);
        let with_page = plan.span_of_census().is_some();
        let beside = async { if with_page { Ok(None) } else { self.take_census(plan, wanted).await } };
        let (gathered, counted) = join(gathering, beside).await;
        let (mut gathered, counted) = (gathered?, counted?);
        self.complete(&gathered)?;
        if plan.sorts_by_distance() && gathered.replies.len() > 1 {
            let level = merge::nearby::level(&gathered.bodies())?;
            for ((_, body), level) in gathered.replies.iter_mut().zip(level.into_iter().flatten()) {
                *body = level.into();
            }
        }
        let spans: Vec<Span> = gathered.replies.iter().map(|(part, _)| plan.span(part, shards)).collect();
        let alone = gathered.alone && plan.relays();
        let counted = if with_page && !alone {
            self.counted_by_page(plan, wanted, &gathered, &spans, &readings).await?
        } else {
            counted
        };
        let merging = self.nodes.merging();
        self.merge_search(plan, seed, (gathered, spans, readings), counted, index).instrument(merging).await
    }

    /// `gathered` are the replies to `plan`, each for one of `spans`, as far as they were judged with what `readings` has of them.
    pub(super) async fn merge_search(
        &self,
        plan: &SearchPlan,
        seed: u64,
        (mut gathered, mut spans, readings): (Gathered, Vec<Span>, Readings),
        counted: Option<Gathered>,
        index: Option<&str>,
    ) -> Result<Reply, Stop> {
        if let ([(_, only)], true) = (gathered.replies.as_slice(), gathered.alone && plan.relays()) {
            let reply = readings.reply(only)?;
            let body = merge::search::relay(plan, &reply, index)?;
            return Ok(Reply::ok(body, gathered.missing).of(reply.listed()));
        }
        if gathered.replies.len() > 1 && !plan.comparable {
            return Err(plan.hidden_distinct().into());
        }
        let alike = self.judged_alike(plan, &mut gathered, &readings).await?;
        let plan = alike.plan.as_ref().unwrap_or(plan);
        let first = loop {
            let merged = Merged::of_spans(plan, readings.replies(&gathered)?, &spans)?;
            let narrow = merged.too_narrow(&spans)?;
            if narrow.is_empty() {
                break merged;
            }
            (gathered, spans) = self.widened(plan, seed, (gathered, spans), (&narrow, &readings)).await?;
        };
        let whole = if first.hides() { self.undistinguished(plan, seed).await? } else { None };
        let bodies: Vec<&[u8]> = whole.iter().flat_map(|whole| &whole.replies).map(|(_, body)| body.as_ref()).collect();
        let again = if whole.is_some() { Some(Merged::new(plan, &bodies)?) } else { None };
        let hides = again.as_ref().map_or(first.hides(), |again| again.ends_too_early(plan.window.max_total_hits));
        let (gathered, merged) = (whole.as_ref().unwrap_or(&gathered), again.unwrap_or(first));
        let overview = self.overview(plan, seed, gathered, &merged, counted.as_ref()).await?;
        let mut inexact = overview.inexact;
        inexact.order |= plan.sorted_unseen.is_some() || hides || !merged.is_sure();
        inexact.totals |= hides;
        if !alike.exact {
            inexact = inexact.or(Inexact::all_of_hits());
        }
        // Each of several nodes has left out words by its own documents, also where they stand in for a lone one.
        if gathered.replies.len() > 1 && plan.by_frequency != ByFrequency::No {
            inexact = inexact.or(Inexact::all_of_hits());
        }
        let body = merged.write(overview.facets.as_ref(), overview.total, index)?;
        let body = self.marked(plan, seed, body).await?;
        Ok(Reply { inexact, ..Reply::ok(body, gathered.missing.clone()).of(merged.shown()) })
    }

    /// What nodes list where none of them leaves out a hit for another one.
    async fn undistinguished(&self, plan: &SearchPlan, seed: u64) -> Result<Option<Gathered>, Stop> {
        let Some(whole) = plan.undistinguished() else { return Ok(None) };
        self.note(Later::WithoutDistinct);
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        let request = |part: &_, _| whole.request(part, shards, false);
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_search).await?;
        self.complete_later(&gathered)?;
        Ok(Some(gathered))
    }

    /// The replies that list the best hits of all distinct values: those with the page, where each node listed all that it has, else
    /// those to a census.
    async fn counted_by_page(
        &self,
        plan: &SearchPlan,
        wanted: Wanted<'_>,
        gathered: &Gathered,
        spans: &[Span],
        readings: &Readings,
    ) -> Result<Option<Gathered>, Stop> {
        let replies = readings.replies(gathered)?;
        if replies.iter().zip(spans).all(|(reply, span)| plan.lists_census(*span, reply.listed())) {
            return Ok(Some(Gathered { replies: gathered.replies.clone(), ..Gathered::default() }));
        }
        self.take_census(plan, wanted).await
    }

    /// Which distinct values there are no node knows of the others: all of them are asked where it matters.
    pub(super) async fn take_census(&self, plan: &SearchPlan, wanted: Wanted<'_>) -> Result<Option<Gathered>, Stop> {
        let shards = self.topology.shards;
        let Some(census) = plan.census() else { return Ok(None) };
        if cover(self.topology, wanted.index, wanted.shards, &[], wanted.seed).parts.len() < 2 && plan.relays() {
            return Ok(None);
        }
        self.note(Later::Census);
        let request = |part: &_, _| census.request(part, shards, false);
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_search).await?;
        self.complete_later(&gathered)?;
        Ok(Some(gathered))
    }
}

/// True for what can be merged as the reply to a search.
pub(super) fn is_search(body: &Bytes) -> bool {
    is_reply(body)
}
