//! The examples that a rule carries. They are run wherever the rule is read, so a rule that does not do what it says is never used.

use serde_json::{Map, Value};

use super::rule::Rule;
use super::trial::Trial;
use crate::settings::{FromSection, Section};

/// A request, or the end of a task, and what the rule makes of it.
#[derive(Debug, Clone)]
pub struct Example {
    trial: Trial,
    expected: Expected,
}

/// What is said of the outcome; what is not said is not looked at.
#[derive(Debug, Clone, Default)]
struct Expected {
    /// The body that goes on; where the nodes' answer is told, what is shown of that; of a document, how it is written.
    gives: Option<Value>,
    /// The index that is asked then.
    index: Option<String>,
    /// The status of the refusal.
    refused: Option<u16>,
    /// True for a document that is left out.
    skipped: Option<bool>,
    /// False for a request that the rule is not about.
    held: Option<bool>,
    /// Headers of the answer.
    headers: Option<Map<String, Value>>,
    label: Option<String>,
    /// The index that is asked again.
    mirrored: Option<String>,
}

// === impl Example ===

impl FromSection for Example {
    fn read(section: &mut Section) -> Self {
        let truth = |value: &Value| value.as_bool().map(Some);
        Self {
            trial: Trial::read(section),
            expected: Expected {
                gives: section.parsed("gives", None, "JSON", |value| Some(Some(value.clone()))),
                index: section.text("index"),
                refused: section.parsed("refused", None, "a status", |value| {
                    value.as_u64().and_then(|status| u16::try_from(status).ok()).map(Some)
                }),
                skipped: section.parsed("skipped", None, "true or false", truth),
                held: section.parsed("held", None, "true or false", truth),
                headers: section.parsed("header", None, "a mapping", |value| value.as_object().cloned().map(Some)),
                label: section.text("label"),
                mirrored: section.text("mirrored"),
            },
        }
    }
}

impl Example {
    /// What does not come out as it should.
    pub fn run(&self, rule: &Rule) -> Result<(), String> {
        let (expected, rules) = (&self.expected, std::slice::from_ref(rule));
        let trial = match &self.trial {
            Trial::Request(request) => request,
            Trial::Task(task) => {
                return equal("held", expected.held.as_ref(), Some(&!task.told_by(rules).is_empty()));
            }
        };
        let tried = trial.run(rules)?;
        equal("held", expected.held.as_ref(), Some(&!tried.held.is_empty()))?;
        for (name, value) in expected.headers.iter().flatten() {
            let found = tried.headers.iter().find(|(header, _)| header.as_str().eq_ignore_ascii_case(name));
            let found = found.and_then(|(_, value)| value.to_str().ok());
            equal(name, value.as_str().as_ref(), found.as_ref())?;
        }
        equal("label", expected.label.as_ref(), tried.labels.first())?;
        equal("mirrored", expected.mirrored.as_ref(), tried.mirrored.first())?;
        let passed = match tried.outcome {
            Ok(passed) => passed,
            Err(error) if expected.refused == Some(error.status) => return Ok(()),
            Err(error) => return Err(format!("the request is refused with {}: {}", error.status, error.message)),
        };
        equal("refused", expected.refused.as_ref(), None)?;
        let is_skipped = trial.has_document() && passed.document.is_none();
        equal("skipped", expected.skipped.as_ref(), Some(&is_skipped))?;
        equal("index", expected.index.as_deref().as_ref(), passed.told.operation.index().as_ref())?;
        let given = match (&passed.document, &passed.answer) {
            (Some(document), _) => document.as_bytes(),
            (None, Some(answer)) => &answer[..],
            (None, None) => &passed.told.body[..],
        };
        let given: Value = serde_json::from_slice(given).unwrap_or_default();
        equal("gives", expected.gives.as_ref(), Some(&given))
    }
}

/// What is not expected is not compared.
fn equal<T: PartialEq + serde::Serialize + ?Sized>(
    name: &str,
    expected: Option<&T>,
    found: Option<&T>,
) -> Result<(), String> {
    let Some(expected) = expected else { return Ok(()) };
    if Some(expected) == found {
        return Ok(());
    }
    let shown = |value: &T| serde_json::to_string(value).unwrap_or_default();
    Err(format!("`{name}` should be {} and is {}", shown(expected), found.map_or("nothing".to_owned(), shown)))
}
