//! Marks in the text of hits, as long as one node that knows all words would make them.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::gather::{Nodes, Wanted, gather};
use super::reader::{Reader, Stop};
use crate::merge::search::answers;
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// `body` with the marks of one node. Nodes are asked only where a mark may be too long.
    pub(super) async fn marked(&self, plan: &SearchPlan, seed: u64, body: Vec<u8>) -> Result<Vec<u8>, Stop> {
        let Some(marking) = &plan.marking else { return Ok(body) };
        let questions: Vec<String> = marking.questions(&body)?.into_iter().collect();
        if questions.is_empty() {
            return Ok(body);
        }
        self.note(Later::Marks);
        let request = |_: &CoverPart, _| plan.request_words(&questions);
        let readable = |body: &Bytes| answers(body).is_ok();
        let all = ShardSet::all(self.topology.shards);
        let wanted = Wanted { index: &plan.index, shards: &all, seed };
        // Marks that are a letter too long are better than no answer.
        let Ok(told) = gather(self.nodes, self.topology, wanted, &request, &readable).await else { return Ok(body) };
        let mut known = BTreeSet::new();
        for reply in told.replies.iter().map(|(_, reply)| Bytes::as_ref(reply)) {
            let found = questions.iter().zip(answers(reply)?).filter(|(_, answer)| answer.hits > 0);
            known.extend(found.map(|(word, _)| word.clone()));
        }
        Ok(if known.is_empty() { body } else { marking.restate(&body, &known)? })
    }
}
