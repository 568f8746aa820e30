//! Searches whose answers become one list.

use bytes::Bytes;
use futures::future::{join, join_all, try_join};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::candidates::ROUNDS;
use super::comparable::{names_ties, renumbered};
use super::gather::{Fault, Gathered, Nodes, Wanted, gather, log_failure};
use super::judge::relay_error;
use super::reader::{Inexact, Reader, Reply, Stop};
use crate::merge::facets::Facets;
use crate::merge::federation::{FederatedReply, IndexReplies, Merged};
use crate::nodes::client::NodeReply;
use crate::placement::cover::{CoverPart, cover};
use crate::placement::shard::ShardSet;
use crate::plan::federated_request::Which;
use crate::plan::federation::{FederationPlan, IndexQueries};
use crate::plan::probe::Probe;
use crate::plan::rounds::Later;
use crate::plan::scatter::NodeRequest;

/// How many indexes, and searches that are asked apart, are asked at a time.
const AT_ONCE: usize = 8;

/// How many hits nodes are asked for where the page alone does not tell which of them are distinct.
const MOST_LISTED: u64 = 1000;

/// What the nodes reply about one index.
struct Found {
    /// `None` where nodes cannot compare the searches only because each of them ends with the rule that breaks ties.
    together: Option<Gathered>,
    apart: Vec<Gathered>,
}

// === impl Found ===

impl Found {
    fn replies(&self) -> IndexReplies<'_> {
        let together = self.together.as_ref().map(Gathered::bodies).unwrap_or_default();
        IndexReplies { together, apart: self.apart.iter().map(Gathered::bodies).collect(), list_all: false }
    }

    /// How many nodes answer together.
    fn shared_by(&self) -> usize {
        self.together.as_ref().map_or(0, |together| together.replies.len())
    }
}

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// One list of all hits. `original` is what one node checks as a whole.
    pub(super) async fn federation(
        &self,
        plan: &FederationPlan,
        original: &NodeRequest,
        seed: u64,
    ) -> Result<Reply, Stop> {
        if plan.indexes.is_empty() {
            // Nothing is searched, so that one node knows all.
            let reply = self.any(original).await?;
            return Ok(relay_error(&reply));
        }
        let checking = async {
            match &plan.check {
                Some(request) => self.any(request).await.map(Some),
                None => Ok(None),
            }
        };
        let searches: Vec<_> =
            plan.indexes.iter().map(|index| self.federated_index(plan, index, seed).boxed()).collect();
        let searching = futures::stream::iter(searches).buffered(AT_ONCE).try_collect::<Vec<Found>>();
        let (checked, found) = join(checking, searching).await;
        let refused = checked?.filter(|reply| !reply.is_success());
        if let Some(reply) = refused.as_ref().filter(|reply| !names_ties(reply)) {
            return Ok(relay_error(reply));
        }
        let apart = found.as_ref().is_ok_and(|found| found.iter().any(|found| found.together.is_none()));
        if (refused.is_some() || apart)
            && let Some(refusal) = self.refusal(plan, original).await?
        {
            return Ok(refusal);
        }
        let found = found?;
        let mut missing = ShardSet::new();
        for gathered in found.iter().flat_map(|found| found.apart.iter().chain(&found.together)) {
            self.complete(gathered)?;
            missing.union_with(&gathered.missing);
        }
        let relayed = matches!(found.as_slice(), [Found { together: Some(only), .. }] if only.alone);
        let compared = found.len() > 1 || found.iter().any(|found| found.shared_by() != 1);
        if let Some(error) = plan.hidden_attribute().filter(|_| compared) {
            return Err(error.into());
        }
        let replies: Vec<IndexReplies<'_>> = found.iter().map(Found::replies).collect();
        let first = Merged::new(plan, &replies, relayed)?;
        let hides = (0..found.len()).any(|at| first.hides(at));
        let whole = if hides { self.federated_undistinguished(plan, seed).await? } else { None };
        let list_all = |found| IndexReplies { list_all: true, ..Found::replies(found) };
        let replies: Vec<IndexReplies<'_>> = whole.iter().flatten().map(list_all).collect();
        let again = if whole.is_some() { Some(Merged::new(plan, &replies, false)?) } else { None };
        let (merged, hides) = (again.unwrap_or(first), hides && whole.is_none());
        let found = whole.as_ref().unwrap_or(&found);
        // Here each node leaves out the words that are frequent in its own documents.
        let by_own = compared && plan.leaves_words_out();
        let mut inexact = if hides || by_own { Inexact::all_of_hits() } else { Inexact::default() };
        let mut facets = Vec::with_capacity(found.len());
        for (at, (index, found)) in plan.indexes.iter().zip(found).enumerate() {
            let mut own = merged.facets(at)?;
            // How far one node would have gone cannot be told from how far each node went.
            let unseen = (found.shared_by() != 1 || index.goes_hit_by_hit()) && merged.goes_on(at);
            // What several searches find is counted once by who is asked all of them.
            inexact.totals |= unseen && (index.leaves_out() || found.together.is_none());
            inexact.facets |= unseen && index.facets.is_some() && index.has_distinct();
            if let Some(facets) = &mut own {
                // Nodes know nothing of the hits that one node would have left out for better ones elsewhere.
                match &found.together {
                    _ if merged.counts_hits(at) => {}
                    Some(together) if !(index.has_distinct() || unseen && index.has_threshold()) => {
                        self.complete_federated_facets(plan, index, together, facets).await?;
                    }
                    Some(_) | None => facets.give_up(),
                }
                inexact.facets |= !facets.is_exact();
            }
            inexact.facets |= index.facets.is_some() && merged.displaces_unseen(at);
            facets.push(own);
        }
        let (body, tied) = merged.write(&facets)?;
        inexact.facets |= tied;
        Ok(Reply { inexact, ..Reply::ok(body, missing).of(merged.shown()) })
    }

    /// What nodes list where none of them leaves out a hit for another one; `None` where they do not list all, or cannot.
    async fn federated_undistinguished(&self, plan: &FederationPlan, seed: u64) -> Result<Option<Vec<Found>>, Stop> {
        let Some(whole) = plan.undistinguished(MOST_LISTED) else { return Ok(None) };
        self.note(Later::WithoutDistinct);
        let mut found = Vec::with_capacity(whole.indexes.len());
        for index in &whole.indexes {
            found.push(self.federated_index(&whole, index, seed).await?);
        }
        let ends = found.iter().flat_map(|found| found.apart.iter().chain(&found.together)).flat_map(Gathered::bodies);
        for body in ends {
            if FederatedReply::parse(body)?.listed() as u64 >= MOST_LISTED {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// Asks nodes until `facets` are as one node would state them, or no question helps.
    async fn complete_federated_facets(
        &self,
        plan: &FederationPlan,
        index: &IndexQueries,
        found: &Gathered,
        facets: &mut Facets,
    ) -> Result<(), Stop> {
        for _ in 0..ROUNDS {
            let probes = facets.probes();
            if probes.is_empty() {
                return Ok(());
            }
            // A question without hits is answered without a look at scores.
            if index.has_threshold() {
                break;
            }
            self.note(Later::FacetValues);
            let asked =
                probes.iter().map(|(source, probe)| self.ask_federated(plan, index, &found.replies[*source].0, probe));
            for ((source, probe), bodies) in probes.iter().zip(join_all(asked).await) {
                let Some(bodies) = bodies else {
                    facets.give_up();
                    return Ok(());
                };
                let replies = bodies.iter().map(|body| FederatedReply::parse(body)).collect::<Result<Vec<_>, _>>()?;
                let replies = replies.iter().map(|reply| reply.facets(&index.index)).collect::<Result<Vec<_>, _>>()?;
                facets.learn(*source, probe, &replies)?;
            }
        }
        facets.give_up();
        Ok(())
    }

    /// The answer to each filter of `probe`; `None` if that cannot be asked, or one fails.
    async fn ask_federated(
        &self,
        plan: &FederationPlan,
        index: &IndexQueries,
        part: &CoverPart,
        probe: &Probe,
    ) -> Option<Vec<Bytes>> {
        let facet = probe.facet()?;
        let filters = probe.filters()?;
        let asked = filters.iter().map(|filter| {
            let request = plan.request_facet(index, facet, filter, part, self.topology.shards);
            self.ask_alone(part.node, request)
        });
        let answers = join_all(asked).await.into_iter().map(|answer| match answer {
            Ok(reply) if reply.is_success() => Some(reply.body),
            answer => {
                log_failure(self.topology, part.node, &answer);
                None
            }
        });
        answers.collect()
    }

    async fn federated_index(&self, plan: &FederationPlan, index: &IndexQueries, seed: u64) -> Result<Found, Stop> {
        let together = self.federated_together(plan, index, seed);
        if index.apart.is_none() {
            return Ok(Found { together: together.await?, apart: Vec::new() });
        }
        let all = ShardSet::all(self.topology.shards);
        if cover(self.topology, &index.index, &all, &[], seed).parts.len() > 1 {
            let (together, apart) = try_join(together, self.federated_apart(plan, index, seed, Which::One)).await?;
            if together.is_some() || index.facets.is_none() {
                return Ok(Found { together, apart });
            }
            let apart = self.federated_apart(plan, index, seed, Which::Counted).await?;
            return Ok(Found { together, apart });
        }
        // One node's common list is as the engine makes it, unless others have to stand in for the node.
        let together = together.await?;
        let is_whole = together.as_ref().is_some_and(|together| together.replies.len() == 1);
        let which = if together.is_some() { Which::One } else { Which::Counted };
        let apart = if is_whole { Vec::new() } else { self.federated_apart(plan, index, seed, which).await? };
        Ok(Found { together, apart })
    }

    /// `None` if nodes would compare the searches but for the rule that breaks ties, and they can be asked apart.
    async fn federated_together(
        &self,
        plan: &FederationPlan,
        index: &IndexQueries,
        seed: u64,
    ) -> Result<Option<Gathered>, Stop> {
        match self.federated_search(plan, index, Which::Together, seed).await {
            Err(Stop::Fault(fault)) if index.apart.is_some() && names_ties(&fault.reply) => Ok(None),
            answer => answer.map(Some),
        }
    }

    async fn federated_apart(
        &self,
        plan: &FederationPlan,
        index: &IndexQueries,
        seed: u64,
        which: fn(usize) -> Which,
    ) -> Result<Vec<Gathered>, Stop> {
        self.note(Later::Apart);
        let each: Vec<_> =
            (0..index.queries.len()).map(|at| self.federated_search(plan, index, which(at), seed).boxed()).collect();
        futures::stream::iter(each).buffered(AT_ONCE).try_collect().await
    }

    /// What is wrong with a search is told of its place in the client's list.
    async fn federated_search(
        &self,
        plan: &FederationPlan,
        index: &IndexQueries,
        which: Which,
        seed: u64,
    ) -> Result<Gathered, Stop> {
        let shards = self.topology.shards;
        let all = ShardSet::all(shards);
        let wanted = Wanted { index: &index.index, shards: &all, seed };
        let request = |part: &_, alone| plan.request(index, which, part, shards, alone);
        let readable = |body: &Bytes| FederatedReply::parse(body).is_ok();
        gather(self.nodes, self.topology, wanted, &request, &readable).await.map_err(|fault| {
            let places: Vec<usize> = index.asked(which).iter().map(|query| query.at).collect();
            let body = renumbered(&fault.reply, &places);
            Stop::Fault(Fault { reply: NodeReply { body, ..fault.reply }, ..fault })
        })
    }
}
