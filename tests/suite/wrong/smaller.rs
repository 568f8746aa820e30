//! A failing sequence made smaller: steps, then documents of bodies, then members of documents.

use std::ops::Range;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::run::Failure;
use super::step::{Sequence, Step};
use crate::differential::reduce::Reducer;

/// The smallest sequence found that fails as this one does, and how.
pub fn reduce(
    sequence: Sequence,
    failure: &Failure,
    mut fails: impl FnMut(&Sequence) -> Option<Failure>,
) -> (Sequence, String) {
    let like =
        |sequence: &Sequence| fails(sequence).filter(|found| found.is_like(failure)).map(|found| found.to_string());
    let mut reducer = Reducer::new(sequence, failure.to_string(), like);
    reducer.attempt(Sequence { steps: reducer.smallest.steps[..=failure.at].to_vec() });
    reducer.drop_ranges(|sequence| sequence.steps.len(), without_steps);
    for at in 0..reducer.smallest.steps.len() {
        let without = |sequence: &Sequence, range| with_body(sequence, at, without_parts(&sequence.steps[at], range)?);
        reducer.drop_ranges(|sequence| parts(&sequence.steps[at]).map_or(0, |parts| parts.len()), without);
        let without =
            |sequence: &Sequence, range| with_body(sequence, at, without_members(&sequence.steps[at], &range)?);
        reducer.drop_ranges(|sequence| members(&sequence.steps[at]), without);
    }
    (reducer.smallest, reducer.difference)
}

fn without_steps(sequence: &Sequence, range: Range<usize>) -> Option<Sequence> {
    let mut steps = sequence.steps.clone();
    steps.drain(range);
    (!steps.is_empty()).then_some(Sequence { steps })
}

fn with_body(sequence: &Sequence, at: usize, body: String) -> Option<Sequence> {
    let mut other = sequence.clone();
    other.steps[at].body = body;
    Some(other)
}

/// The documents of a body: items of an array, or lines.
fn parts(step: &Step) -> Option<Vec<String>> {
    if step.content_type.as_deref() == Some("application/json") {
        let items: Vec<Box<RawValue>> = serde_json::from_str(&step.body).ok()?;
        return Some(items.iter().map(|item| item.get().to_owned()).collect());
    }
    Some(step.body.lines().map(str::to_owned).collect())
}

fn without_parts(step: &Step, range: Range<usize>) -> Option<String> {
    let mut parts = parts(step)?;
    parts.drain(range);
    let json = step.content_type.as_deref() == Some("application/json");
    Some(if json { format!("[{}]", parts.join(",")) } else { parts.join("\n") + "\n" })
}

/// The objects of a body of JSON, if nothing is lost by reading them so.
fn objects(step: &Step) -> Option<Value> {
    let body: Value = serde_json::from_str(&step.body).ok()?;
    let written = body.to_string();
    (step.content_type.as_deref() == Some("application/json") && written == step.body).then_some(body)
}

fn maps(body: &mut Value) -> Vec<&mut Map<String, Value>> {
    match body {
        Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).collect(),
        Value::Object(members) => vec![members],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn members(step: &Step) -> usize {
    objects(step).map_or(0, |mut body| maps(&mut body).iter().map(|map| map.len()).sum())
}

fn without_members(step: &Step, range: &Range<usize>) -> Option<String> {
    let mut body = objects(step)?;
    let mut number = 0;
    for map in maps(&mut body) {
        map.retain(|_, _| {
            number += 1;
            !range.contains(&(number - 1))
        });
    }
    Some(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::compare::{Difference, Of};
    use super::super::step::Kind;
    use super::*;

    #[test]
    fn only_the_steps_documents_and_members_that_matter_are_left() {
        let path = "/indexes/$A/documents";
        let documents = r#"[{"id":1,"n":1},{"id":7,"n":3,"text":"x"},{"id":9}]"#;
        let steps = vec![
            Step::json(Kind::Search, "POST", "/indexes/$A/search", "{}"),
            Step::json(Kind::AddDocuments, "POST", path, documents),
            Step::of(Kind::AddDocuments, "POST", path, Some("text/csv"), "id\n1\n2\n3\n".to_owned()),
            Step::bare(Kind::DeleteIndex, "DELETE", "/indexes/$A"),
        ];
        let fails = |sequence: &Sequence| {
            let at = sequence.steps.iter().position(|step| step.body.contains("\n2\n"))?;
            let difference = Difference { of: Of::Task, want: String::new(), got: String::new() };
            let seven = sequence.steps[..at].iter().any(|step| step.body.contains(r#"{"id":7"#));
            seven.then(|| Failure { at, step: Some(sequence.steps[at].clone()), difference })
        };
        let sequence = Sequence { steps };
        let failure = fails(&sequence).expect("a failure");
        let (smallest, _) = reduce(sequence, &failure, fails);
        let bodies: Vec<&str> = smallest.steps.iter().map(|step| step.body.as_str()).collect();
        // The rule wants a line before the second one, whichever.
        assert_eq!(bodies, [r#"[{"id":7}]"#, "1\n2\n"]);
    }
}
