//! What plans need to know of an index: its settings, read from a node that has the right ones, and cached.

use std::sync::Arc;

use serde_json::Value;

use super::part::Ledger;
use super::registry::Known;
use crate::meili::error::{Code, ResponseError};
use crate::meili::uid::index_not_found;
use crate::meili::versions::{
    counts_pages_whole, scores_by_all_rules, searches_from_the_first, states_all_hits, states_offset_asked,
};
use crate::nodes::client::{OWN_QUESTION, Subrequest, Trace};
use crate::placement::topology::Topology;
use crate::plan::index_info::{IndexInfo, ScoredBy};
use crate::read::Remembered as _;

impl Ledger {
    /// What plans need to know of an index; read from a node when it is not cached. `index_not_found` when unknown.
    pub async fn info(&self, index: &str, trace: &Trace) -> Result<Arc<IndexInfo>, ResponseError> {
        let (generation, primary_key) = match self.registry.known(index) {
            None => return Err(index_not_found(index)),
            Some(Known::Info(info)) => return Ok(info),
            Some(Known::Entry { generation, primary_key }) => (generation, primary_key),
        };
        let topology = self.nodes.topology();
        let settings = read_settings(self, &topology, index, trace).await?;
        let mut info = IndexInfo::from_settings(index, primary_key, &settings);
        let version = self.nodes.engine_version.read().clone();
        let is = |of_version: fn(&str) -> bool| version.as_deref().is_some_and(of_version);
        info.states_all_hits = is(states_all_hits);
        info.states_offset_asked = is(states_offset_asked);
        info.searches_from_the_first = is(searches_from_the_first);
        info.counts_pages_whole = is(counts_pages_whole);
        info.scored_by = if is(scores_by_all_rules) { ScoredBy::All } else { ScoredBy::First };
        let info = Arc::new(info);
        self.registry.keep(index, generation, &info);
        Ok(info)
    }
}

/// The settings of an index as a node that is up has them.
async fn read_settings(
    ledger: &Ledger,
    topology: &Topology,
    index: &str,
    trace: &Trace,
) -> Result<Value, ResponseError> {
    let path = format!("/indexes/{index}/settings");
    let mut up = topology.serving(index);
    // First those whose settings are surely the right ones, and of these who answers.
    let refused_by = ledger.refusals.refused_by(index);
    up.sort_by_key(|ix| {
        let id = &topology.node(*ix).id;
        let may_differ = !refused_by.is_empty() && !refused_by.contains(id);
        (may_differ, topology.apart_of(*ix, index), ledger.nodes.life.signs(id).waits())
    });
    let mut last = ResponseError::new(Code::MiroirNodeUnavailable, "No node is up.");
    for node in up.into_iter().map(|ix| topology.node(ix)) {
        let request = Subrequest::get(&path, OWN_QUESTION);
        match ledger.nodes.client.send(node, request, trace).await {
            Ok(reply) if reply.is_success() => match serde_json::from_slice(&reply.body) {
                Ok(settings) => return Ok(settings),
                Err(error) => tracing::warn!(node = %node.id, index, %error, "settings cannot be read"),
            },
            // Accepted everywhere, not carried out yet: the engine says `not found` until then, and so does Miroir.
            Ok(reply) => last = reply.shown_error().unwrap_or_else(|| index_not_found(index)),
            Err(error) => last = error.to_response(),
        }
    }
    Err(last)
}
