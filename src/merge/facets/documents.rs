//! The facet values of documents that are at hand, counted as the engine counts them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::tally::Counted;
use crate::plan::probe::FacetValue;
use crate::plan::values::Key;

/// The values of `facet`, each counted once for each document that has it.
pub fn count(documents: &[Value], facet: &str) -> Vec<Counted> {
    let mut counted: Vec<Counted> = Vec::new();
    for document in documents {
        let mut seen = HashSet::new();
        let values = values(document, facet).into_iter().filter(|value| seen.insert(value.key()));
        counted.extend(values.map(|value| (value, 1)));
    }
    sum_up(counted)
}

/// Each value once, with all its documents.
pub fn sum_up(values: Vec<Counted>) -> Vec<Counted> {
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut summed: Vec<Counted> = Vec::new();
    for (value, count) in values {
        let at = *places.entry(value.key()).or_insert(summed.len());
        match summed.get_mut(at) {
            Some((_, sum)) => *sum += count,
            None => summed.push((value, count)),
        }
    }
    summed
}

fn values(document: &Value, facet: &str) -> Vec<FacetValue> {
    let mut found = Vec::new();
    crate::plan::values::visit(document, facet, &mut |leaf| match leaf {
        Value::Bool(truth) => found.push(FacetValue::text(truth.to_string())),
        // What is empty is no value to the engine.
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => found.push(FacetValue::text(text.clone())),
        // A node may list zero with its sign, or without.
        Value::Number(number) => found.extend(number.as_f64().map(|number| FacetValue::number(number + 0.0))),
        Value::Null | Value::Array(_) | Value::Object(_) => {}
    });
    found
}
