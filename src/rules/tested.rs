//! Rules as they are read: each does what its examples say.

use super::example::Example;
use super::rule::Rule;
use crate::settings::{FromSection, Section};

/// A rule whose examples were run.
struct Tested(Rule);

/// The rules of a file, the list at `rules`. What is wrong with them is reported.
pub fn read(file: &mut Section) -> Vec<Rule> {
    file.read_list::<Tested>("rules").into_iter().map(|tested| tested.0).collect()
}

// === impl Tested ===

impl FromSection for Tested {
    fn read(section: &mut Section) -> Self {
        let rule = Rule::read(section);
        let examples: Vec<Example> = section.read_list("examples");
        for (place, example) in examples.iter().enumerate() {
            if let Err(message) = example.run(&rule) {
                section.problem(&format!("examples[{place}]"), message);
            }
        }
        Self(rule)
    }
}
