//! What plans need to know of an index: its settings, read from a node that has the right ones, and cached.

use std::sync::Arc;

use serde_json::Value;

use super::part::Ledger;
use super::registry::Known;
use crate::meili::error::{Code, ResponseError};
use crate::meili::uid::index_not_found;
use crate::meili::versions::{
    blank_words_are_none, counts_pages_whole, facets_by_pattern, has_dynamic_rules, scores_by_all_rules,
    searches_from_the_first, states_all_hits, states_offset_asked,
};
use crate::nodes::client::{OWN_QUESTION, Subrequest, Trace};
use crate::nodes::dynamic_rules;
use crate::nodes::error::unavailable;
use crate::nodes::meaning::Meaning;
use crate::placement::topology::{Apart, NodeIx, Topology};
use crate::plan::index_info::{IndexInfo, ScoredBy};
use crate::plan::pins::Pins;
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
        let (settings, surely) = read_settings(self, &topology, index, trace).await?;
        let mut info = IndexInfo::from_settings(index, primary_key, &settings);
        let version = self.nodes.versions.least();
        let is = |of_version: fn(&str) -> bool| version.as_deref().is_some_and(of_version);
        info.states_all_hits = is(states_all_hits);
        info.states_offset_asked = is(states_offset_asked);
        info.searches_from_the_first = is(searches_from_the_first);
        info.facets_by_pattern = is(facets_by_pattern);
        info.blank_words_are_none = is(blank_words_are_none);
        info.counts_pages_whole = is(counts_pages_whole);
        info.scored_by = if is(scores_by_all_rules) { ScoredBy::All } else { ScoredBy::First };
        info.key_place = self.registry.key_place(index);
        if is(has_dynamic_rules) {
            info.pins = read_pins(self, &topology, index, trace).await?;
        }
        let info = Arc::new(info);
        // Those of a node that differs serve this request alone: soon one with the right ones may answer.
        if surely == Surely::Right {
            self.registry.keep(index, generation, &info);
        }
        Ok(info)
    }
}

impl Ledger {
    /// The same where it is known already, surely.
    pub fn known_info(&self, index: &str) -> Option<Arc<IndexInfo>> {
        match self.registry.known(index) {
            Some(Known::Info(info)) => Some(info),
            Some(Known::Entry { .. }) | None => None,
        }
    }
}

/// Whether settings are known to be those of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Surely {
    Right,
    /// Their node is being repaired, or took a change that others refused.
    Unknown,
}

/// What rules may pin in an index, as a node that is up has them; nothing while the feature is off.
async fn read_pins(ledger: &Ledger, topology: &Topology, index: &str, trace: &Trace) -> Result<Pins, ResponseError> {
    let mut last = ResponseError::new(Code::MiroirNodeUnavailable, "No node that has the index is up.");
    for ix in topology.serving(index) {
        let node = topology.node(ix);
        match dynamic_rules::read(&ledger.nodes.client, node, trace).await {
            Ok(rules) => return Ok(rules.map_or_else(Pins::default, |rules| Pins::of(index, &rules))),
            Err(error) => last = error.to_response(),
        }
    }
    Err(last)
}

/// The settings of an index as a node that is up has them.
async fn read_settings(
    ledger: &Ledger,
    topology: &Topology,
    index: &str,
    trace: &Trace,
) -> Result<(Value, Surely), ResponseError> {
    let path = format!("/indexes/{index}/settings");
    // One that lacks the index while it waits for those that have it knows nothing of it, not even that there is none.
    let mut up = topology.serving(index);
    up.retain(|ix| topology.apart_of(*ix, index) != Some(Apart::Absent));
    // First those whose settings are surely the right ones, and of these who answers.
    let refused_by = ledger.refusals.refused_by(index);
    let may_differ = |ix: NodeIx| !refused_by.is_empty() && !refused_by.contains(&topology.node(ix).id);
    up.sort_by_key(|ix| {
        let waits = ledger.nodes.life.signs(&topology.node(*ix).id).waits();
        (may_differ(*ix), topology.apart_of(*ix, index), waits)
    });
    let mut told = None;
    let mut last = ResponseError::new(Code::MiroirNodeUnavailable, "No node that has the index is up.");
    for ix in up {
        let node = topology.node(ix);
        let surely =
            if may_differ(ix) || topology.apart_of(ix, index).is_some() { Surely::Unknown } else { Surely::Right };
        let request = Subrequest::get(&path, OWN_QUESTION);
        match ledger.nodes.client.send(node, request, trace).await {
            Ok(reply) if reply.is_success() => match serde_json::from_slice(&reply.body) {
                Ok(settings) => return Ok((settings, surely)),
                Err(error) => tracing::warn!(node = %node.id, index, %error, "settings cannot be read"),
            },
            // Accepted everywhere, not carried out yet: the engine says `not found` until then, and so does Miroir.
            Ok(reply) if Meaning::of_reply(&reply).is_judgement() => {
                told.get_or_insert_with(|| reply.shown_error().unwrap_or_else(|| index_not_found(index)));
            }
            Ok(reply) => {
                tracing::warn!(node = %node.id, index, status = reply.status, "settings cannot be read");
                last = unavailable(&node.id);
            }
            Err(error) => last = error.to_response(),
        }
    }
    Err(told.unwrap_or(last))
}
