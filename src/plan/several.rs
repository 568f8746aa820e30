//! What Miroir refuses where several nodes have to answer, and one node that has everything would not be refused. Request,
//! settings and topology tell: such a request has a plan that refuses it. Where one node has everything, a read refuses it
//! only if others have to stand in for that node.

use super::Plan;
use super::by_frequency::ByFrequency;
use super::documents::DocumentsPlan;
use super::federation::FederationPlan;
use super::mix::Mix;
use super::scatter::{Ask, Scatter};
use super::scattered::Scattered as _;
use super::search::SearchPlan;
use crate::meili::error::{Code, ResponseError};
use crate::placement::cover::cover;
use crate::placement::shard::ShardSet;
use crate::placement::topology::Topology;

fn not_supported(message: impl Into<String>) -> ResponseError {
    ResponseError::new(Code::MiroirNotSupported, message)
}

// === impl SearchPlan ===

impl SearchPlan {
    /// Hits of several nodes are told apart by the distinct attribute, which no hit shows.
    pub fn hidden_distinct(&self) -> ResponseError {
        let field = self.distinct.as_deref().unwrap_or_default();
        not_supported(format!(
            "The distinct attribute `{field}` is not among the displayed attributes, which Miroir needs to compare hits of several nodes."
        ))
    }

    /// Hits by words and hits by the vector cannot be told apart, or are not known to be of one document.
    pub fn unmixable(&self) -> ResponseError {
        let key = self.primary_key.as_deref().unwrap_or_default();
        not_supported(format!(
            "A hybrid search over several nodes needs the primary key `{key}` among the displayed attributes, and a \
             ranking rule about words."
        ))
    }

    /// Pins are placed among hits by words that nodes list one by one.
    fn unplaceable(&self) -> Option<ResponseError> {
        let pins = self.pins.as_ref()?;
        let reach = self.window.reach();
        let with = if self.mix != Mix::None || self.names_a_vector() {
            "a search by a vector"
        } else if self.distinct.is_some() {
            "a distinct attribute"
        } else if self.threshold.is_some() {
            "`rankingScoreThreshold`"
        } else if self.by_frequency != ByFrequency::No {
            "the matching strategy `frequency`"
        } else if self.sorts_by_distance() {
            "a sort by distance"
        } else if reach > 0 && pins.reach(reach) > self.window.max_total_hits {
            "a page that ends so near to `maxTotalHits`"
        } else {
            return None;
        };
        Some(pins.not_placed(&self.index, with))
    }

    fn refused_by_several(&self) -> Option<ResponseError> {
        if let Some(error) = self.unplaceable() {
            return Some(error);
        }
        match self.mix {
            Mix::Unmixable { .. } => Some(self.unmixable()),
            Mix::None | Mix::WordsOfMixed if !self.comparable && !self.by_frequency.is_known() => {
                Some(self.hidden_distinct())
            }
            Mix::Mixed { .. } | Mix::None | Mix::WordsOfMixed => None,
        }
    }
}

// === impl FederationPlan ===

impl FederationPlan {
    /// Hits of several nodes are compared by an attribute that they do not show.
    pub fn hidden_attribute(&self) -> Option<ResponseError> {
        self.indexes.iter().find_map(|index| {
            let field = index.hidden.as_deref()?;
            Some(not_supported(format!(
                "The attribute `{field}` of index `{}` is not among the displayed attributes, which Miroir needs to compare \
                 hits of several nodes.",
                index.index
            )))
        })
    }
}

// === impl DocumentsPlan ===

impl DocumentsPlan {
    /// Documents do not show the distance as the engine computes it.
    pub fn sorted_by_distance(&self) -> Option<ResponseError> {
        let by_distance = self.sort.iter().any(|by| by.field.is_none());
        by_distance
            .then(|| not_supported("Documents of several nodes cannot be sorted by their distance from a point."))
    }
}

/// When a request is refused because several nodes have to answer it.
#[derive(Debug)]
enum Refused {
    /// To ask a node may cost money: it would embed the query.
    AtOnce(ResponseError),
    /// One node is asked first whether the request is wrong: then the engine's words are the answer.
    IfFaultless(ResponseError),
}

/// The plan in the place of one that several nodes of `topology` would have to carry out, and cannot; any other as it is.
pub fn or_refusal(plan: Plan, topology: &Topology) -> Plan {
    let Plan::Scatter(scatter) = plan else { return plan };
    match scatter.ask.refused_on(topology, scatter.seed) {
        None => Plan::Scatter(scatter),
        Some(Refused::AtOnce(error)) => Plan::Refuse(error),
        Some(Refused::IfFaultless(error)) => {
            Plan::Scatter(Box::new(Scatter { seed: 0, ask: Ask::Refused(error), ..*scatter }))
        }
    }
}

// === impl Ask ===

impl Ask {
    /// The refusal if several nodes have to answer on `topology`, with the cover that `seed` chooses. Two indexes of a
    /// federation are compared with each other even where one node has both.
    fn refused_on(&self, topology: &Topology, seed: u64) -> Option<Refused> {
        let error = self.refused_by_several()?;
        let all = ShardSet::all(topology.shards);
        let shared = |index: &str, wanted: &ShardSet, seed| cover(topology, index, wanted, &[], seed).parts.len() > 1;
        match self {
            Self::Search(plan) if shared(&plan.index, &all, seed) => {
                Some(if plan.mix.is_of_both() { Refused::AtOnce(error) } else { Refused::IfFaultless(error) })
            }
            Self::MultiSearch(plan) => {
                let mut shared = plan.queries.iter().filter(|plan| shared(&plan.index, &all, plan.seed()));
                shared.find_map(SearchPlan::refused_by_several).map(Refused::IfFaultless)
            }
            Self::Federation(plan)
                if plan.indexes.len() > 1 || plan.indexes.iter().any(|index| shared(&index.index, &all, seed)) =>
            {
                Some(Refused::IfFaultless(error))
            }
            Self::Documents(plan) if shared(&plan.index, plan.shards.as_ref().unwrap_or(&all), seed) => {
                Some(Refused::IfFaultless(error))
            }
            Self::Similar(plan) if shared(&plan.index, &all, seed) => Some(Refused::IfFaultless(error)),
            Self::Search(_)
            | Self::Federation(_)
            | Self::Documents(_)
            | Self::Similar(_)
            | Self::Judge
            | Self::Refused(_)
            | Self::Settings
            | Self::Setting { .. }
            | Self::DynamicSearchRules
            | Self::FacetSearch(_)
            | Self::Fields(_)
            | Self::Document(_)
            | Self::Render(_)
            | Self::Stats(_) => None,
        }
    }

    /// The refusal where no node answers alone.
    pub fn refused_by_several(&self) -> Option<ResponseError> {
        match self {
            Self::Search(plan) => plan.refused_by_several(),
            Self::MultiSearch(plan) => plan.queries.iter().find_map(SearchPlan::refused_by_several),
            Self::Federation(plan) => plan.hidden_attribute(),
            Self::Documents(plan) => plan.sorted_by_distance(),
            Self::Similar(plan) => plan.obstacle.map(super::similar::not_comparable),
            Self::Judge
            | Self::Refused(_)
            | Self::Settings
            | Self::Setting { .. }
            | Self::DynamicSearchRules
            | Self::FacetSearch(_)
            | Self::Fields(_)
            | Self::Document(_)
            | Self::Render(_)
            | Self::Stats(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::meili::operation::Read;
    use crate::placement::topology::{Node, NodeId, NodeState};
    use crate::plan::index_info::{IndexInfo, Infos};
    use crate::plan::read::plan;

    /// Three documents of a shop, of which hits show only their names: of two makers nobody knows whether they are one.
    fn search(replicas: u8) -> Plan {
        let node = |at: usize| Node {
            id: NodeId::new(&format!("node-{at}")),
            url: String::new(),
            zone: None,
            weight: 1.0,
            state: NodeState::Up,
        };
        let topology = Topology::build((0..2).map(node).collect(), 8, replicas);
        let settings = json!({"displayedAttributes": ["name"], "distinctAttribute": "maker"});
        let info = IndexInfo::from_settings("shop", Some("id".into()), &settings);
        let infos = Infos::from([("shop".to_owned(), Arc::new(info))]);
        let read = Read::SearchPost { index: "shop".to_owned() };
        or_refusal(plan(&read, "/indexes/shop/search", br#"{"q":"a"}"#, &infos, &topology), &topology)
    }

    #[test]
    fn what_several_nodes_cannot_answer_is_refused_only_where_none_has_everything() {
        let ask = |plan| match plan {
            Plan::Scatter(scatter) => scatter.ask,
            other => panic!("{other:?}"),
        };
        assert!(matches!(ask(search(1)), Ask::Refused(error) if error.is(Code::MiroirNotSupported)));
        assert!(matches!(ask(search(2)), Ask::Search(_)));
    }
}
