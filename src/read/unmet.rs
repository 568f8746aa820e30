//! The total of a full page under `distinct`: what one node has met by the end of it, and what is left beside that.

use std::collections::HashSet;

use bytes::Bytes;

use super::candidates::{Met, Overview, met};
use super::gather::{Gathered, Nodes};
use super::reader::{Inexact, Reader, Stop};
use super::search::is_search;
use crate::merge::documents::to_count;
use crate::merge::hit::Hit;
use crate::merge::search::{candidates, met_by_page};
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::plan::facets::Candidates;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;
use crate::plan::span::Span;
use crate::plan::values::{Key, values_at};

/// So many documents of a node are fetched at most where no filter can name the distinct attribute: three milliseconds.
const MOST_FETCHED: u64 = 2000;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// `gathered` are the replies to the page. `None` where too many hits tie with the last one, or nobody can count what is left.
    pub(super) async fn beside_met(
        &self,
        plan: &SearchPlan,
        seed: u64,
        gathered: &Gathered,
    ) -> Result<Option<Overview>, Stop> {
        let most = match plan.span_of_met() {
            Some(Span::Beyond { take }) => take,
            Some(Span::UpToTheEnd | Span::Share { .. }) | None => plan.reach(),
        };
        if let Some(hits) = met_by_page(plan, &gathered.bodies(), most)? {
            return self.counted_beside(plan, seed, gathered, &hits).await;
        }
        let Some(best) = plan.best_of_each() else { return Ok(None) };
        self.note(Later::Census);
        let request = |part: &CoverPart, _| best.request(part, self.topology.shards, false);
        let Some(listed) = self.ask_more(plan, seed, &request, &is_search).await? else { return Ok(None) };
        match met_by_page(plan, &listed.bodies(), plan.window.max_total_hits)? {
            Some(hits) => self.counted_beside(plan, seed, gathered, &hits).await,
            None => Ok(None),
        }
    }

    async fn counted_beside(
        &self,
        plan: &SearchPlan,
        seed: u64,
        gathered: &Gathered,
        hits: &[Hit<'_>],
    ) -> Result<Option<Overview>, Stop> {
        let Met { documents, without_value, unmet, .. } = met(plan, hits)?;
        let field = plan.distinct.as_deref().unwrap_or_default();
        let values = documents.iter().map(|document| values_at(document, field)).collect::<Vec<_>>();
        // Of documents with several values it is told by the order in which they were taken which of them stay.
        let unordered = plan.skips() && values.iter().any(|values| values.len() > 1);
        let mut totals = vec![(hits.len() - without_value) as u64];
        if plan.filters_distinct {
            if unmet.is_none() && !documents.is_empty() {
                return Ok(None);
            }
            self.note(Later::Rest);
            let base = Candidates { threshold: false, unmet };
            for (_, body) in &self.ask_candidates(plan, seed, &base, &ShardSet::all(self.topology.shards)).await? {
                totals.push(candidates(body)?.hits);
            }
        } else {
            let values: HashSet<Key> = values.into_iter().flatten().collect();
            let Some(left) = self.fetched_beside(plan, seed, gathered, &values).await? else { return Ok(None) };
            totals.push(left);
        }
        let total = plan.window.total(&totals);
        Ok(Some(Overview { facets: None, total, inexact: Inexact { totals: unordered, ..Inexact::default() } }))
    }

    /// How many of all documents have none of `met`; `None` where they are too many.
    async fn fetched_beside(
        &self,
        plan: &SearchPlan,
        seed: u64,
        gathered: &Gathered,
        met: &HashSet<Key>,
    ) -> Result<Option<u64>, Stop> {
        let field = plan.distinct.as_deref().unwrap_or_default();
        for body in gathered.bodies() {
            if candidates(body)?.hits > MOST_FETCHED {
                return Ok(None);
            }
        }
        let shards = self.topology.shards;
        self.note(Later::Rest);
        let request = |part: &CoverPart, _| plan.request_distinct_values(MOST_FETCHED, part, shards);
        let readable = |body: &Bytes| to_count(body).is_ok();
        let Some(fetched) = self.ask_more(plan, seed, &request, &readable).await? else { return Ok(None) };
        let mut left = 0;
        for body in fetched.bodies() {
            let said = to_count(body)?;
            if said.hits > said.documents.len() as u64 {
                return Ok(None);
            }
            for document in said.documents {
                left += u64::from(values_at(&serde_json::from_str(document)?, field).is_disjoint(met));
            }
        }
        Ok(Some(left))
    }
}
