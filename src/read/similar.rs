//! Documents like one document.

use futures::future::{join, join3};

use super::gather::{Gathered, Nodes, Wanted, gather};
use super::reader::{Reader, Reply, Stop, is_object};
use crate::meili::error::{Code, ResponseError};
use crate::merge::documents::total;
use crate::merge::similar::{Near, relay, vectors};
use crate::placement::cover::{CoverPart, cover};
use crate::placement::shard::ShardSet;
use crate::plan::rounds::Later;
use crate::plan::scatter::NodeRequest;
use crate::plan::similar::{SimilarPlan, not_comparable};

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// One node's own answer where it has everything; else its document's vectors, and what lies near them anywhere.
    pub(super) async fn similar(&self, plan: &SimilarPlan, original: &NodeRequest, seed: u64) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        if cover(self.topology, wanted.index, wanted.shards, &[], wanted.seed).parts.len() == 1 {
            let request = |part: &CoverPart, alone| match (alone, part.is_whole()) {
                (true, true) => original.clone(),
                (true, false) => plan.request_whole(part, shards),
                // What stands in for a node that fails may not know the document.
                (false, _) => plan.request_count(part, shards),
            };
            let gathered = gather(self.nodes, self.topology, wanted, &request, &is_object).await?;
            if let ([(_, only)], true) = (gathered.replies.as_slice(), gathered.alone) {
                let (body, hits) = relay(plan, only)?;
                return Ok(Reply::ok(body, gathered.missing).of(hits));
            }
        }

        // A node that holds the document judges the request; its answer covers its own shards only.
        let holder = [plan.shard].into_iter().collect();
        let of_holder = Wanted { index: &plan.index, shards: &holder, seed };
        let (judge, vector, own) =
            (|_: &_, _| original.clone(), |_: &_, _| plan.request_vectors(), |_: &_, _| plan.request_own());
        let (judged, vector, own) = join3(
            gather(self.nodes, self.topology, of_holder, &judge, &is_object),
            gather(self.nodes, self.topology, of_holder, &vector, &is_object),
            gather(self.nodes, self.topology, of_holder, &own, &is_object),
        )
        .await;
        let judged = judged?;
        self.one(&judged)?;
        if let Some(why) = plan.obstacle {
            return Err(not_comparable(why).into());
        }
        let (vector, own) = (vector?, own?);
        let mut found = vectors(plan, self.one(&vector)?)?;
        let mut own = total(self.one(&own)?)? > 0;
        // Another replica may not have got to the document yet: the one that judged has it.
        if let (None, Some((part, _))) = (&found, judged.replies.first()) {
            let again = |request| self.ask_alone(part.node, request);
            if let (Ok(vector), Ok(listed)) = join(again(plan.request_vectors()), again(plan.request_own())).await
                && vector.is_success()
                && listed.is_success()
            {
                found = vectors(plan, &vector.body)?;
                own = total(&listed.body)? > 0;
            }
        }
        let vectors = found.ok_or_else(|| not_found(plan))?;

        self.note(Later::Near);
        let request = |part: &_, _| match vectors.as_slice() {
            [] => plan.request_count(part, shards),
            vectors => plan.request_near(vectors, part, shards),
        };
        let gathered = match gather(self.nodes, self.topology, wanted, &request, &is_object).await {
            Ok(gathered) => gathered,
            Err(_) if plan.distinct => {
                return Err(not_comparable(
                    "the index has a distinct attribute, and its primary key is not filterable",
                )
                .into());
            }
            Err(fault) => return Err(fault.into()),
        };
        self.complete(&gathered)?;
        let bodies = gathered.bodies();
        let near = Near::new(plan, &bodies)?;
        if near.cut {
            return Err(not_comparable(
                "the page lies beyond `maxTotalHits`, or a ranking rule sorts before it compares vectors",
            )
            .into());
        }
        let (body, hits) = near.write(plan, own)?;
        Ok(Reply::ok(body, gathered.missing).of(hits))
    }

    fn one<'g>(&self, gathered: &'g Gathered) -> Result<&'g [u8], Stop> {
        let reply = gathered.replies.first().ok_or_else(|| self.unanswered(gathered))?;
        Ok(&reply.1)
    }
}

/// Deleted between two questions.
fn not_found(plan: &SimilarPlan) -> ResponseError {
    ResponseError::new(Code::NotFoundSimilarId, format!("Document `{}` not found.", plan.id))
}
