//! The facet values of documents that are at hand, counted as the engine counts them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::tally::{Counted, FacetValue};
use crate::merge::values::Key;

/// The values of `facet`, each counted once for each document that has it.
pub fn count(documents: &[Value], facet: &str) -> Vec<Counted> {
    let mut counted: Vec<Counted> = Vec::new();
    let mut places: HashMap<Key, usize> = HashMap::new();
    for document in documents {
        let mut seen = HashSet::new();
        for value in values(document, facet) {
            if !seen.insert(value.key()) {
                continue;
            }
            let at = *places.entry(value.key()).or_insert(counted.len());
            match counted.get_mut(at) {
                Some((_, count)) => *count += 1,
                None => counted.push((value, 1)),
            }
        }
    }
    counted
}

fn values(document: &Value, facet: &str) -> Vec<FacetValue> {
    let mut found = Vec::new();
    crate::merge::values::visit(document, facet, &mut |leaf| match leaf {
        Value::Bool(truth) => found.push(FacetValue::text(truth.to_string())),
        Value::String(text) => found.push(FacetValue::text(text.clone())),
        Value::Number(number) => found.extend(number.as_f64().map(FacetValue::number)),
        Value::Null | Value::Array(_) | Value::Object(_) => {}
    });
    found
}
