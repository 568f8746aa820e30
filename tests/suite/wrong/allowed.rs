//! Differences that are known and open, each narrow and with its reason. Taking an entry away makes the generator strict there.

use serde_json::{Value, json};

use super::compare::{Difference, Of};
use super::step::{Kind, Sequence, Step};
use crate::support::fleet::is_embedded;

#[derive(Debug)]
pub struct Allowance {
    pub name: &'static str,
    pub reason: &'static str,
    pub then: Then,
    /// A word that some step of the sequence holds; empty for any sequence.
    with: &'static str,
    applies: fn(&Step, &Difference) -> bool,
}

/// What becomes of a sequence that meets an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Both did the same, and say it otherwise.
    GoesOn,
    /// What follows would build on what differs.
    Ends,
}

pub const ALLOWED: &[Allowance] = &[
    Allowance {
        name: "which embedder",
        reason: "a document that lacks vectors of several embedders: the engine names the first of a hash map, any of them",
        then: Then::GoesOn,
        with: "",
        applies: |step, difference| {
            step.kind == Kind::AddDocuments && lack_vectors(difference, |message| masked(message, &["own", "second"]))
        },
    },
    Allowance {
        name: "how many lack vectors",
        reason: "an embedder that documents forbid: a node names one of its own documents and counts its own",
        then: Then::GoesOn,
        with: "",
        applies: |step, difference| {
            let of_the_embedder =
                |message: &str| message.split(": no vectors provided for document").next().map(str::to_owned);
            step.kind == Kind::Settings
                && lack_vectors(difference, |message| of_the_embedder(message).unwrap_or_default())
        },
    },
    Allowance {
        name: "parameters of deletions",
        reason: "the embedded engine is of an age that reads no parameters of a deletion, and the gateway answers as newer ones do",
        then: Then::Ends,
        with: "",
        applies: |step, difference| {
            is_embedded()
                && step.kind == Kind::DeleteDocuments
                && step.path.contains('?')
                && difference.of == Of::Answer
        },
    },
    Allowance {
        name: "which document an edit fails on",
        reason: "the engine runs a function on documents in parallel, and tells of whichever failed first",
        then: Then::GoesOn,
        with: "",
        applies: |step, difference| {
            let code = |task: &Value| task["error"]["code"] == "edit_documents_by_function_error";
            step.kind == Kind::Edit && alike_but_messages(difference, code, |_| String::new())
        },
    },
    Allowance {
        name: "the engine broke down",
        reason: "the embedded engine panics now and then after changes of filterable attributes; what then was done in part is said",
        then: Then::Ends,
        with: "",
        applies: |_, difference| {
            let (want, got) = both(difference);
            let crashed = |task: &Value| {
                task["error"]["message"].as_str().is_some_and(|text| text.starts_with("An unexpected crash"))
            };
            let told = got["status"] == "failed"
                && ["internal", "miroir_partly_applied"].iter().any(|code| got["error"]["code"] == *code);
            is_embedded() && difference.of == Of::Task && (crashed(&want) || crashed(&got) && told)
        },
    },
    Allowance {
        name: "a place that was wrong before",
        reason: "a partial update of a document that has a wrong `_geo` already: it is known to one node alone, and the task says what it left",
        then: Then::Ends,
        with: "",
        applies: |step, difference| {
            let (want, got) = both(difference);
            let codes = (want["error"]["code"].as_str(), got["error"]["code"].as_str());
            step.kind == Kind::AddDocuments
                && step.method == "PUT"
                && difference.of == Of::Task
                && codes == (Some("invalid_document_geo_field"), Some("miroir_partly_applied"))
        },
    },
    Allowance {
        name: "vectors that a document which is there is to have made anew",
        reason: "whether `regenerate` makes vectors anew follows from what the document was: its node alone knows, and the task says what it left",
        then: Then::Ends,
        with: "regenerate",
        applies: |step, difference| {
            let (want, got) = both(difference);
            step.kind == Kind::AddDocuments
                && step.body.contains("regenerate")
                && difference.of == Of::Task
                && want["error"]["code"] == "vector_embedding_error"
                && ["vector_embedding_error", "miroir_partly_applied"].iter().any(|code| got["error"]["code"] == *code)
        },
    },
    Allowance {
        name: "how a document shows the vectors that it gave",
        reason: "where a refused embedder was taken back, its node has written vectors out in full: the same numbers in another form",
        then: Then::Ends,
        with: "embedders",
        applies: |step, difference| {
            step.kind == Kind::Settings
                && difference.of == Of::Documents
                && vectors_in_full(&difference.want) == vectors_in_full(&difference.got)
        },
    },
    Allowance {
        name: "hits that scores leave out",
        reason: "the embedded engine loses hits of a search that asks for scores, once attributes are no longer filterable and proximity is by attribute; one node does too",
        then: Then::GoesOn,
        with: "byAttribute",
        applies: |_, difference| {
            let (want, got) = both(difference);
            let total = |answer: &Value| answer["body"]["estimatedTotalHits"].as_u64();
            // One node shows all, the cluster fewer: then their number alone is told.
            let shows_all = want["body"]["hits"].as_array().map(|hits| hits.len() as u64) == total(&want);
            let fewer = got["body"]["hits"].as_u64() < total(&got);
            is_embedded() && total(&want).is_some() && total(&want) == total(&got) && shows_all && fewer
        },
    },
    Allowance {
        name: "a distinct attribute that is not displayed",
        reason: "hits of several nodes are compared by what they show; the search is refused and says so (docs/compatibility.md)",
        then: Then::GoesOn,
        with: "displayed",
        applies: |_, difference| {
            let (_, got) = both(difference);
            let message = got["body"]["message"].as_str().unwrap_or_default();
            got["body"]["code"] == "miroir_not_supported" && message.starts_with("The distinct attribute")
        },
    },
    Allowance {
        name: "additions that skip what is not there",
        reason: "the embedded engine does not know `skipCreation`, which the gateway makes for nodes of any age",
        then: Then::Ends,
        with: "",
        applies: |step, difference| {
            is_embedded()
                && step.kind == Kind::AddDocuments
                && difference.of == Of::Answer
                && difference.want.contains("skipCreation is not known to the engine of this node")
        },
    },
];

pub fn find(sequence: &Sequence, step: &Step, difference: &Difference) -> Option<&'static Allowance> {
    let holds = |word: &str| sequence.steps.iter().any(|step| step.path.contains(word) || step.body.contains(word));
    ALLOWED.iter().find(|allowance| holds(allowance.with) && (allowance.applies)(step, difference))
}

fn both(difference: &Difference) -> (Value, Value) {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    (parsed(&difference.want), parsed(&difference.got))
}

/// The documents in `text`, with what each gives for an embedder as the engine writes it out.
fn vectors_in_full(text: &str) -> Value {
    let mut found: Value = serde_json::from_str(text).unwrap_or_default();
    for document in found["only here"].as_array_mut().into_iter().flatten() {
        for given in document["_vectors"].as_object_mut().into_iter().flat_map(|vectors| vectors.values_mut()) {
            let numbers =
                given.as_array().map(|numbers| numbers.iter().filter_map(Value::as_f64).collect::<Vec<f64>>());
            if let Some(numbers) = numbers {
                *given = json!({"embeddings": [numbers], "regenerate": false});
            }
        }
    }
    found
}

/// True for two tasks that failed for want of vectors and say the same of what `told` leaves of their messages.
fn lack_vectors(difference: &Difference, told: impl Fn(&str) -> String) -> bool {
    alike_but_messages(difference, |task| task["error"]["code"] == "vector_embedding_error", told)
}

/// True for two tasks that failed as `fails` says and differ in nothing once `told` has cut their messages down.
fn alike_but_messages(difference: &Difference, fails: impl Fn(&Value) -> bool, told: impl Fn(&str) -> String) -> bool {
    let (mut want, mut got) = both(difference);
    if difference.of != Of::Task || !fails(&want) || !fails(&got) {
        return false;
    }
    for task in [&mut want, &mut got] {
        task["error"]["message"] = told(task["error"]["message"].as_str().unwrap_or_default()).into();
    }
    want == got
}

fn masked(message: &str, names: &[&str]) -> String {
    let mask = |text: String, name: &&str| {
        text.replace(&format!("`{name}`"), "`?`").replace(&format!("_vectors.{name}"), "_vectors.?")
    };
    names.iter().fold(message.to_owned(), mask)
}
