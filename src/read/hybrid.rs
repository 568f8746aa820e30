//! Searches that mix words and vectors.

use bytes::Bytes;

use super::candidates::Stated;
use super::gather::{Gathered, Nodes, Wanted, gather};
use super::reader::{Inexact, Reader, Reply, Stop};
use super::readings::Readings;
use super::search::is_search;
use crate::merge;
use crate::merge::hybrid::{ByVector, ByWords, KeptOnce, Mixed, without_vectors};
use crate::placement::cover::cover;
use crate::placement::shard::ShardSet;
use crate::plan::by_frequency::ByFrequency;
use crate::plan::facets::Candidates;
use crate::plan::hybrid::HybridPlan;
use crate::plan::mix::Mix;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;
use crate::plan::span::Span;
use crate::plan::stated::Mixing;

/// What was asked before it was known that only hits by words count.
enum Found {
    /// Nothing: the page is none, and nothing lies before it.
    Unasked,
    /// The replies to [`HybridPlan::by_words`], which are good enough.
    ByWords(Gathered),
    /// The same, where the vector found nothing: an engine that shows the vector shows it then, too.
    NothingByVector { words: Gathered, vector: Option<String> },
}

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// Words first; the vector is asked for only if their hits do not do. `index` is shown in the answer, for a
    /// search among several.
    pub(super) async fn hybrid(
        &self,
        plan: &SearchPlan,
        hybrid: &HybridPlan,
        seed: u64,
        index: Option<&str>,
    ) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        if cover(self.topology, wanted.index, wanted.shards, &[], wanted.seed).parts.len() == 1 {
            let request = |part: &_, alone| plan.request(part, shards, alone);
            let readings = Readings::default();
            let readable = |body: &Bytes| readings.judge(body);
            let gathered = gather(self.nodes, self.topology, wanted, &request, &readable).await?;
            if let ([(_, only)], true) = (gathered.replies.as_slice(), gathered.alone) {
                self.complete(&gathered)?;
                let reply = readings.reply(only)?;
                let body = merge::search::relay(plan, &reply, index)?;
                return Ok(Reply::ok(body, gathered.missing).of(reply.listed()));
            }
        }
        if matches!(plan.mix, Mix::Unmixable { .. }) {
            return Err(plan.unmixable().into());
        }
        if plan.window.skip() + plan.window.take() == 0 {
            return self.only_words(hybrid, Found::Unasked, seed, index).await;
        }

        // Embedding a query takes long and may cost money: the words are asked first, and may do.
        let words = self.gather_search(&hybrid.by_words, wanted).await?;
        let by_words = ByWords::new(hybrid, &words.bodies())?;
        if by_words.are_good_enough(hybrid) {
            return self.only_words(hybrid, Found::ByWords(words), seed, index).await;
        }
        let embedded = self.embedded(&hybrid.by_vector, seed).await;
        let hybrid = &match embedded {
            Some(by_vector) => HybridPlan { by_vector, ..hybrid.clone() },
            None => hybrid.clone(),
        };
        self.note(Later::ByVector);
        let vectors = self.gather_search(&hybrid.by_vector, wanted).await?;
        let by_vector = ByVector::new(hybrid, &vectors.bodies())?;
        if by_vector.is_empty() {
            let vector =
                vectors.bodies().first().and_then(|body| merge::search::query_vector_text(body)).map(str::to_owned);
            return self.only_words(hybrid, Found::NothingByVector { words, vector }, seed, index).await;
        }
        let mixed = Mixed::new(plan, hybrid, &by_words, &by_vector)?;
        let (stated, mut inexact) = self.hybrid_overview(plan, hybrid, seed, &vectors, &mixed).await?;
        // Without words, what ties is all that nodes compare with the vector: a hit whose similarity is 0 counts as found
        // by words there.
        inexact.totals |= plan.breaks_ties && plan.has_no_words();
        inexact.order |= plan.sorted_unseen.is_some() || mixed.hides;
        inexact.totals |= mixed.hides;
        if plan.by_frequency == ByFrequency::Unknown {
            inexact = inexact.or(Inexact::all_of_hits());
        }
        let mut missing = words.missing.clone();
        missing.union_with(&vectors.missing);
        let body = mixed.write(stated.facets.as_ref(), stated.total, index)?;
        Ok(Reply { inexact, ..Reply::ok(body, missing).of(mixed.shown()) })
    }

    async fn gather_search(&self, plan: &SearchPlan, wanted: Wanted<'_>) -> Result<Gathered, Stop> {
        let shards = self.topology.shards;
        let request = |part: &_, _| plan.request(part, shards, false);
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_search).await?;
        self.complete(&gathered)?;
        Ok(gathered)
    }

    /// The answer where the engine takes hits by words only.
    async fn only_words(
        &self,
        hybrid: &HybridPlan,
        found: Found,
        seed: u64,
        index: Option<&str>,
    ) -> Result<Reply, Stop> {
        let plan = &hybrid.words;
        let (words, vector) = match found {
            Found::Unasked => (None, None),
            Found::ByWords(words) => (Some(words), None),
            Found::NothingByVector { words, vector } => (Some(words), vector),
        };
        let reply = match words.filter(|_| plan.window.take() > 0) {
            Some(gathered) => {
                let all = ShardSet::all(self.topology.shards);
                let counted = self.take_census(plan, Wanted { index: &plan.index, shards: &all, seed }).await?;
                let spans = vec![Span::UpToTheEnd; gathered.replies.len()];
                self.merge_search(plan, seed, (gathered, spans, Readings::default()), counted, index).await?
            }
            None => {
                self.note(Later::ByWords);
                self.search_one_way(plan, seed, index).await?
            }
        };
        Ok(Reply { body: without_vectors(reply.body.into(), vector.as_deref()).into(), ..reply })
    }

    /// Totals and facets. They are stated over whatever words or the vector find: every document that passes the
    /// filter, because a vector is near or far to all of them, unless some were left out on the way.
    async fn hybrid_overview(
        &self,
        plan: &SearchPlan,
        hybrid: &HybridPlan,
        seed: u64,
        vectors: &Gathered,
        mixed: &Mixed<'_>,
    ) -> Result<(Stated, Inexact), Stop> {
        let all = Candidates::default();
        let everything = &hybrid.everything;
        let of_all = |mut stated: Stated| {
            let mut inexact = Inexact { facets: !stated.exact, ..Inexact::default() };
            match mixed.kept_once {
                KeptOnce::No => {}
                KeptOnce::Counted(count) => stated.total = plan.window.total(&[count]),
                KeptOnce::Unknown => inexact.totals = true,
            }
            Ok((stated, inexact))
        };
        match plan.mixing(mixed.full_of_vectors) {
            Mixing::OverReplies => return of_all(self.state(everything, &all, &vectors.replies).await?),
            Mixing::Everything => {
                self.note(Later::Everything);
                let wanted = ShardSet::all(self.topology.shards);
                let sources = self.ask_candidates(everything, seed, &all, &wanted).await?;
                return of_all(self.state(everything, &all, &sources).await?);
            }
            Mixing::Above => {}
        }
        let some = Candidates { threshold: plan.threshold.is_some(), unmet: None };
        let mut stated = self.state(&hybrid.by_vector, &some, &vectors.replies).await?;
        let counted = match mixed.kept_once {
            KeptOnce::No => mixed.distinct_hits,
            KeptOnce::Counted(count) => Some(count),
            KeptOnce::Unknown => None,
        };
        stated.total = counted.map_or(stated.total, |count| plan.window.total(&[count]));
        // Which documents one node leaves out because their distinct value was met depends on where it stops.
        let exact = counted.is_some() && plan.distinct.is_none() && stated.exact;
        Ok((
            stated,
            Inexact { facets: plan.facets.is_some() && !exact, totals: counted.is_none(), ..Inexact::default() },
        ))
    }
}
