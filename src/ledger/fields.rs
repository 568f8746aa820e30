//! Which fields nodes know from their documents. A node forgets none; but one that is filled anew, or has the index anew, may never have
//! met some.

use std::collections::HashSet;

use futures::future::join_all;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::part::Ledger;
use crate::nodes::client::{OWN_QUESTION, Subrequest, Trace};
use crate::nodes::meaning::Meaning;
use crate::placement::topology::{Apart, Node, Topology};
use crate::plan::unlike;

/// So many fields are remembered; beyond that all are asked for anew.
const MANY: usize = 10_000;

/// Fields that every node is known to know.
#[derive(Default)]
pub(crate) struct KnownFields {
    state: Mutex<Everywhere>,
}

#[derive(Default)]
struct Everywhere {
    /// The topology, and what is known of indexes, when they were asked for.
    as_of: (u64, u64),
    fields: HashSet<(String, String)>,
}

/// Who knows the fields that were asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Knowledge {
    /// Those that some node knows and some other one does not.
    pub uneven: Vec<String>,
    /// True if nobody knows some of the others.
    pub unseen: bool,
}

/// What a node says of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Known,
    /// Or it has no documents, and then it does not matter.
    Unknown,
    /// It cannot be filtered by: nodes say what is wrong with such a filter.
    Refused,
    Nothing,
}

#[derive(Deserialize)]
struct Page {
    total: u64,
}

// === impl Ledger ===

impl Ledger {
    /// Which nodes know `fields` of an index, as a filter writes them. Nodes are asked about those that are not known to all.
    pub async fn knowledge(&self, topology: &Topology, index: &str, fields: &[String], trace: &Trace) -> Knowledge {
        let as_of = (topology.epoch, self.registry.generation());
        let fields = self.fields.without_known(as_of, index, fields);
        let mut serving = topology.serving(index);
        serving.retain(|ix| topology.apart_of(*ix, index) != Some(Apart::Absent));
        if fields.is_empty() || serving.len() < 2 {
            return Knowledge::default();
        }
        let of_fields = fields.iter().map(|field| {
            let of_nodes = serving.iter().map(|ix| self.told(topology.node(*ix), index, field, trace));
            join_all(of_nodes)
        });
        let mut knowledge = Knowledge::default();
        for (field, told) in fields.iter().zip(join_all(of_fields).await) {
            if told.contains(&Told::Refused) {
                return Knowledge::default();
            }
            match (told.contains(&Told::Known), told.contains(&Told::Unknown)) {
                (true, true) => knowledge.uneven.push(field.clone()),
                (true, false) if !told.contains(&Told::Nothing) => self.fields.keep(as_of, index, field),
                (true, false) => {}
                (false, _) => knowledge.unseen = true,
            }
        }
        knowledge
    }

    /// True if a node has something to say against `filter`.
    pub async fn is_refused(&self, topology: &Topology, index: &str, filter: &Value, trace: &Trace) -> bool {
        let Some(ix) = topology.serving(index).into_iter().next() else { return true };
        matches!(self.ask(topology.node(ix), index, filter, trace).await, Told::Refused | Told::Nothing)
    }

    async fn told(&self, node: &Node, index: &str, field: &str, trace: &Trace) -> Told {
        self.ask(node, index, &unlike::knows(field).into(), trace).await
    }

    /// Whether a filter finds documents on a node.
    async fn ask(&self, node: &Node, index: &str, filter: &Value, trace: &Trace) -> Told {
        let body = json!({ "filter": filter, "limit": 0 }).to_string();
        let path = format!("/indexes/{index}/documents/fetch");
        let request = Subrequest::json(http::Method::POST, path, body.into(), OWN_QUESTION, true);
        let Ok(reply) = self.nodes.client.send(node, request, trace).await else { return Told::Nothing };
        if reply.is_success() {
            let page: Result<Page, _> = serde_json::from_slice(&reply.body);
            return page.map_or(Told::Nothing, |page| if page.total > 0 { Told::Known } else { Told::Unknown });
        }
        if Meaning::of_reply(&reply).is_judgement() { Told::Refused } else { Told::Nothing }
    }
}

// === impl KnownFields ===

impl KnownFields {
    fn without_known(&self, as_of: (u64, u64), index: &str, fields: &[String]) -> Vec<String> {
        let state = self.state.lock();
        let is_known =
            |field: &String| state.as_of == as_of && state.fields.contains(&(index.to_owned(), field.clone()));
        fields.iter().filter(|field| !is_known(field)).cloned().collect()
    }

    fn keep(&self, as_of: (u64, u64), index: &str, field: &str) {
        let mut state = self.state.lock();
        if state.as_of != as_of || state.fields.len() >= MANY {
            *state = Everywhere { as_of, fields: HashSet::new() };
        }
        state.fields.insert((index.to_owned(), field.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_remembered_as_long_as_nodes_and_indexes_are_the_same() {
        let known = KnownFields::default();
        let fields = ["a".to_owned(), "b".to_owned()];
        known.keep((1, 1), "films", "a");
        assert_eq!(known.without_known((1, 1), "films", &fields), ["b"]);
        assert_eq!(known.without_known((1, 1), "books", &fields), fields);
        for later in [(2, 1), (1, 2)] {
            assert_eq!(known.without_known(later, "films", &fields), fields, "{later:?}");
        }
        known.keep((2, 1), "films", "b");
        assert_eq!(known.without_known((2, 1), "films", &fields), ["a"]);
    }
}
