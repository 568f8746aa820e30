//! Documents read by their ids or page by page.

use bytes::Bytes;
use futures::future::join_all;

use super::gather::{Fault, Nodes, Round, Wanted, ask_one, gather, log_failure};
use super::reader::{Reader, Reply, Stop, is_object};
use crate::merge;
use crate::merge::error::MergeError;
use crate::nodes::meaning::{ForRead, Meaning};
use crate::placement::cover::cover;
use crate::placement::shard::ShardSet;
use crate::placement::topology::NodeIx;
use crate::plan::documents::{DocumentPlan, DocumentsPlan};
use crate::plan::rounds::Later;
use crate::plan::scatter::NodeRequest;
use crate::read::settings::UnavailableShards;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// A page that does not reach far is asked for at once: what each node answers is of one moment, and a write between two
    /// questions cannot push a document out of the page. For others it is counted what each part of the cover holds, then
    /// the slices that make up the page are fetched. A node that fails
    /// half-way starts it all over without that node, because another cover holds the documents in another order.
    pub(super) async fn documents(&self, plan: &DocumentsPlan, seed: u64) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = plan.shards.as_ref().unwrap_or(&all);
        if !plan.sort.is_empty() {
            return self.sorted_documents(plan, Wanted { index: &plan.index, shards: wanted, seed }).await;
        }
        let mut failed: Vec<NodeIx> = Vec::new();
        let mut fault = None;
        loop {
            let cover = cover(self.topology, &plan.index, wanted, &failed, seed);
            if !cover.missing.is_empty() {
                if let Some(fault) = fault {
                    return Err(Stop::Fault(fault));
                }
                if cover.parts.is_empty() || self.unavailable == UnavailableShards::Error {
                    return Err(self.no_replica(&cover.missing).into());
                }
            }
            let alone = cover.parts.len() == 1;
            let reach = plan.offset.saturating_add(plan.limit);
            let at_once = alone || !plan.is_counted_first();
            let (offset, limit) = match (alone, at_once) {
                (true, _) => (plan.offset, plan.limit),
                (false, true) => (0, reach),
                (false, false) => (0, 0),
            };
            let first: Vec<_> =
                cover.parts.iter().map(|part| (part.node, plan.request(part, shards, offset, limit))).collect();
            let counted = match self.all_of(first, &mut failed, &mut fault).await? {
                Some(bodies) => bodies,
                None => continue,
            };
            let totals = counted.iter().map(|body| merge::documents::total(body)).collect::<Result<Vec<_>, _>>()?;
            let bodies = if at_once {
                counted
            } else {
                self.note(Later::Slices);
                let second: Vec<_> = cover
                    .parts
                    .iter()
                    .zip(plan.slices(&totals))
                    .filter_map(|(part, slice)| {
                        let (offset, limit) = slice?;
                        Some((part.node, plan.request(part, shards, offset, limit)))
                    })
                    .collect();
                match self.all_of(second, &mut failed, &mut fault).await? {
                    Some(bodies) => bodies,
                    None => continue,
                }
            };
            let slices: Vec<&[u8]> = bodies.iter().map(Bytes::as_ref).collect();
            let skip = if at_once && !alone { plan.offset } else { 0 };
            let page = merge::documents::page(&slices, skip, plan.offset, plan.limit, totals.iter().sum())?;
            return Ok(Reply::ok(page, cover.missing));
        }
    }

    /// Asks every node for as much as the page may need of it.
    async fn sorted_documents(&self, plan: &DocumentsPlan, wanted: Wanted<'_>) -> Result<Reply, Stop> {
        let shards = self.topology.shards;
        let request = |part: &_, alone| {
            if alone { plan.request(part, shards, plan.offset, plan.limit) } else { plan.request_sorted(part, shards) }
        };
        let gathered = gather(self.nodes, self.topology, wanted, &request, &is_object).await?;
        self.complete(&gathered)?;
        let bodies = gathered.bodies();
        let page = if let ([only], true) = (bodies.as_slice(), gathered.alone) {
            merge::documents::page(&[only], 0, plan.offset, plan.limit, merge::documents::total(only)?)?
        } else if let Some(error) = plan.sorted_by_distance() {
            return Err(error.into());
        } else {
            merge::sorted::page(plan, &bodies)?
        };
        Ok(Reply::ok(page, gathered.missing))
    }

    /// The bodies of all replies, or `None` after noting whose failed.
    async fn all_of(
        &self,
        requests: Vec<(NodeIx, NodeRequest)>,
        failed: &mut Vec<NodeIx>,
        lagging: &mut Option<Fault>,
    ) -> Result<Option<Vec<Bytes>>, Stop> {
        let round = &Round::new(requests.len());
        let replicated = self.topology.replication_factor > 1;
        let asked = requests.into_iter().map(|(node, request)| async move {
            (node, ask_one(self.nodes, self.topology, (node, request), round, replicated).await)
        });
        let mut bodies = Vec::new();
        let mut complete = true;
        for (node, answer) in join_all(asked).await {
            match (Meaning::of_readable(&answer, is_object).policy().read, answer) {
                (ForRead::Use, Ok(reply)) => bodies.push(reply.body),
                (ForRead::Relay, Ok(reply)) => return Err(Stop::Fault(Fault { node, reply })),
                (judged, answer) => {
                    log_failure(self.topology, node, &answer);
                    failed.push(node);
                    complete = false;
                    if let (ForRead::OtherReplicaOrRelay, Ok(reply)) = (judged, answer) {
                        lagging.get_or_insert(Fault { node, reply });
                    }
                }
            }
        }
        Ok(complete.then_some(bodies))
    }

    /// The node's own answer, its hidden fields stripped; a document that is not there is the node's 404.
    pub(super) async fn document(&self, plan: &DocumentPlan, original: &NodeRequest, seed: u64) -> Result<Reply, Stop> {
        let wanted = [plan.shard].into_iter().collect();
        let wanted = Wanted { index: &plan.index, shards: &wanted, seed };
        let gathered = gather(self.nodes, self.topology, wanted, &|_, _| original.clone(), &is_object).await?;
        let Some((_, document)) = gathered.replies.first() else {
            return Err(self.unanswered(&gathered).into());
        };
        let document = std::str::from_utf8(document).map_err(|_| MergeError::Missing("text in UTF-8"))?;
        let mut body = Vec::with_capacity(document.len());
        merge::strip::document(document, &mut body)?;
        Ok(Reply::ok(body, ShardSet::new()))
    }
}
