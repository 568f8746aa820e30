//! Differences that are known and open, each narrow and with its reason. Taking an entry away makes the generator strict there.

use serde_json::Value;

use super::compare::{Difference, Of};
use super::step::{Kind, Step};
use crate::support::fleet::is_embedded;

#[derive(Debug)]
pub struct Allowance {
    pub name: &'static str,
    pub reason: &'static str,
    pub then: Then,
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
        applies: |step, difference| {
            step.kind == Kind::AddDocuments && lack_vectors(difference, |message| masked(message, &["own", "second"]))
        },
    },
    Allowance {
        name: "how many lack vectors",
        reason: "an embedder that documents forbid: a node names one of its own documents and counts its own",
        then: Then::GoesOn,
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
        applies: |step, difference| {
            is_embedded()
                && step.kind == Kind::DeleteDocuments
                && step.path.contains('?')
                && difference.of == Of::Answer
        },
    },
];

pub fn find(step: &Step, difference: &Difference) -> Option<&'static Allowance> {
    ALLOWED.iter().find(|allowance| (allowance.applies)(step, difference))
}

/// True for two tasks that failed for want of vectors and say the same of what `told` leaves of their messages.
fn lack_vectors(difference: &Difference, told: impl Fn(&str) -> String) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (mut want, mut got) = (parsed(&difference.want), parsed(&difference.got));
    let both = [&mut want, &mut got];
    let fail = difference.of == Of::Task && both.iter().all(|task| task["error"]["code"] == "vector_embedding_error");
    for task in both {
        task["error"]["message"] = told(task["error"]["message"].as_str().unwrap_or_default()).into();
    }
    fail && want == got
}

fn masked(message: &str, names: &[&str]) -> String {
    let mask = |text: String, name: &&str| {
        text.replace(&format!("`{name}`"), "`?`").replace(&format!("_vectors.{name}"), "_vectors.?")
    };
    names.iter().fold(message.to_owned(), mask)
}
