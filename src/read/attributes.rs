//! Attributes to search on that one node with all documents knows, and not every node.

use futures::future::join_all;

use super::gather::{Fault, Nodes};
use super::reader::{Reader, Stop};
use crate::meili::error::Code;
use crate::placement::topology::NodeIx;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// The same search without what the single nodes do not know, where `stop` says that one of them misses an attribute
    /// that another one has. Else the error stands, of the node that knows most.
    pub(super) async fn on_known_attributes(&self, plan: &SearchPlan, stop: Stop) -> Result<SearchPlan, Stop> {
        let patterns = plan.patterns_to_search_on();
        if !plan.known_attributes.is_empty() || !names_an_attribute(&stop) {
            return Err(stop);
        }
        self.note(Later::KnownAttributes);
        let nodes: Vec<NodeIx> =
            self.topology.indexes().filter(|node| self.topology.node(*node).state.serves_reads()).collect();
        let asked = nodes.iter().map(|node| async {
            let patterns = patterns.iter().map(|pattern| async {
                let answer = self.ask_alone(*node, plan.request_patterns(std::slice::from_ref(pattern))).await;
                answer.is_ok_and(|reply| reply.is_success())
            });
            (*node, join_all(patterns).await)
        });
        let knows = join_all(asked).await;
        // What nobody knows one node would not know either.
        let known = !patterns.is_empty() && (0..patterns.len()).all(|at| knows.iter().any(|(_, knows)| knows[at]));
        if !known {
            return Err(self.most_knowing(plan, &nodes, stop).await);
        }
        Ok(plan.searching_on_known(&knows, &patterns))
    }

    /// The error of the node that names most attributes, as one node with all documents does.
    async fn most_knowing(&self, plan: &SearchPlan, nodes: &[NodeIx], stop: Stop) -> Stop {
        let asked = nodes.iter().map(|node| async {
            let reply = self.ask_alone(*node, plan.request_patterns(&[])).await.ok()?;
            Some(Stop::Fault(Fault { node: *node, reply }))
        });
        let told = join_all(asked).await.into_iter().flatten().filter(names_an_attribute);
        let length = |stop: &Stop| if let Stop::Fault(fault) = stop { fault.reply.body.len() } else { 0 };
        // Of equals the first.
        told.min_by_key(|stop| std::cmp::Reverse(length(stop))).unwrap_or(stop)
    }
}

fn names_an_attribute(stop: &Stop) -> bool {
    let Stop::Fault(Fault { reply, .. }) = stop else { return false };
    reply.error().is_some_and(|error| error.is(Code::InvalidSearchAttributesToSearchOn))
}
