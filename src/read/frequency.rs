//! Searches that leave out the most frequent words first.

use std::ops::Range;

use bytes::Bytes;
use futures::future::{try_join, try_join_all};

use super::gather::{Gathered, Nodes, Wanted, gather};
use super::reader::{Inexact, Reader, Reply, Stop};
use super::search::is_search;
use crate::merge::federation::FederatedReply;
use crate::merge::stages;
use crate::placement::cover::CoverPart;
use crate::plan::facets::Candidates;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// The answer of several nodes to a search for `words`.
    pub(super) async fn by_frequency(
        &self,
        plan: &SearchPlan,
        words: &[Range<usize>],
        wanted: Wanted<'_>,
        index: Option<&str>,
    ) -> Result<Reply, Stop> {
        self.note(Later::Frequencies);
        let frequencies = try_join_all(words.iter().map(|word| self.frequency(plan, word, wanted))).await?;
        let stages = plan.stages(words, &frequencies);
        self.note(Later::Stages);
        let shards = self.topology.shards;
        let asked = stages.iter().map(|stage| async {
            let request = |part: &CoverPart, _| stage.plan.request(part, shards, false);
            let gathered = gather(self.nodes, self.topology, wanted, &request, &is_search).await?;
            self.complete(&gathered)?;
            Ok::<Gathered, Stop>(gathered)
        });
        let (found, everything) = (plan.found_by(&stages), Candidates::default());
        let counting = self.ask_candidates(&found, wanted.seed, &everything, wanted.shards);
        let (gathered, sources) = try_join(try_join_all(asked), counting).await?;
        let mut missing = gathered[0].missing.clone();
        let mut lists = Vec::with_capacity(stages.len());
        for (stage, gathered) in stages.iter().zip(&gathered) {
            missing.union_with(&gathered.missing);
            lists.push(stages::of_stage(plan, stage, &gathered.bodies())?);
        }
        let merged = stages::merged(plan, &lists, &gathered[0].bodies())?;

        let stated = self.state(&found, &everything, &sources).await?;
        // What is left out on the way to the end of the page is not told apart here.
        let leaves_out = plan.distinct.is_some() || plan.threshold.is_some();
        let inexact = Inexact {
            // Without the rule of words the engine does not score what it leaves out.
            order: plan.sorted_unseen.is_some()
                || merged.hides()
                || (plan.threshold.is_some() && !plan.ranking_rules.iter().any(|rule| rule == "words")),
            totals: leaves_out,
            facets: plan.facets.is_some() && (leaves_out || !stated.exact),
            ..Inexact::default()
        };
        let body = merged.write(stated.facets.as_ref(), stated.total, index)?;
        let body = self.marked(plan, wanted.seed, body).await?;
        Ok(Reply { inexact, ..Reply::ok(body, missing).of(merged.shown()) })
    }

    /// How many documents have `word`.
    async fn frequency(&self, plan: &SearchPlan, word: &Range<usize>, wanted: Wanted<'_>) -> Result<u64, Stop> {
        let shards = self.topology.shards;
        let request = |part: &CoverPart, _| plan.request_frequency(word, part, shards);
        let readable = |body: &Bytes| FederatedReply::parse(body).is_ok();
        let gathered = gather(self.nodes, self.topology, wanted, &request, &readable).await?;
        self.complete_later(&gathered)?;
        let mut sum = 0;
        for body in gathered.bodies() {
            sum += FederatedReply::parse(body)?.total();
        }
        Ok(sum)
    }
}
