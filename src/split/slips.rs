//! Names that may stand for another one by a slip of the pen: where vectors are missing, the engine says which were perhaps meant.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::document::Document;
use super::vectors::{Embedder, Source, VECTORS_FIELD};

/// A name that is more steps away was not meant.
const FAR: usize = 2;
/// So many names of a kind are told.
const TOLD: usize = 2;
/// So many documents of one body are remembered with their slips.
const MOST_REMEMBERED: usize = 10_000;

/// The names in one document that may be slips.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slips {
    pub id: String,
    /// Its place among the different documents of the body.
    pub place: u64,
    /// For `_vectors`.
    pub fields: BTreeSet<String>,
    /// In `_vectors`, for an embedder of the index.
    pub embedders: BTreeSet<String>,
}

/// Those of a body, by the ids of its documents.
#[derive(Debug)]
pub struct SlipsById {
    /// The embedders for which documents must give vectors. Without any nothing is noted.
    embedders: Vec<String>,
    by_id: HashMap<String, Slips>,
}

/// In how many documents each name stands that may be a slip, in the order of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// For `_vectors`: of the whole index, as it would be with the body.
    pub fields: BTreeMap<String, u64>,
    /// For the embedder that lacks vectors: of the documents that the engine looks at together.
    pub embedders: BTreeMap<String, u64>,
}

/// True for a field that may stand for `_vectors`.
pub fn may_be_vectors(field: &str) -> bool {
    !field.contains('.') && is_slip(field, VECTORS_FIELD)
}

/// True if `name` is not `meant`, and few insertions, deletions, substitutions and swapped neighbours away.
pub fn is_slip(name: &str, meant: &str) -> bool {
    let (name, meant): (Vec<char>, Vec<char>) = (name.chars().collect(), meant.chars().collect());
    name.len().abs_diff(meant.len()) <= FAR && (1..=FAR).contains(&distance(&name, &meant))
}

/// Optimal string alignment: what was swapped is not changed again, as in the automata that the engine asks.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut second_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for row in 1..=left.len() {
        let mut costs = vec![row];
        for column in 1..=right.len() {
            let differs = usize::from(left[row - 1] != right[column - 1]);
            let mut cost = (last[column - 1] + differs).min(last[column] + 1).min(costs[column - 1] + 1);
            let is_swapped =
                row > 1 && column > 1 && left[row - 1] == right[column - 2] && left[row - 2] == right[column - 1];
            if is_swapped {
                cost = cost.min(second_last[column - 2] + 1);
            }
            costs.push(cost);
        }
        second_last = std::mem::replace(&mut last, costs);
    }
    last[right.len()]
}

// === impl SlipsById ===

impl SlipsById {
    /// For a body of an index with `embedders`.
    pub fn new(embedders: &[Embedder]) -> Self {
        let provided = embedders.iter().filter(|embedder| embedder.source == Source::UserProvided);
        Self { embedders: provided.map(|embedder| embedder.name.clone()).collect(), by_id: HashMap::new() }
    }

    /// The fields of a version of a document that came at `place`; `replaces` says that an earlier version is gone.
    pub fn note_fields(&mut self, document: &Document<'_>, id: &str, place: u64, replaces: bool) {
        if self.embedders.is_empty() {
            return;
        }
        if replaces {
            self.by_id.remove(id);
        }
        let names = document.fields().iter().map(|(name, _)| name).filter(|name| may_be_vectors(name));
        let fields: Vec<String> = names.map(|name| name.to_string()).collect();
        if let Some(slips) = self.of(id, place, fields.is_empty()) {
            slips.fields.extend(fields);
        }
    }

    /// The members of its `_vectors` that are for no embedder.
    pub fn note_unknown(&mut self, mut unknown: Vec<String>, id: &str, place: u64) {
        unknown.retain(|name| self.embedders.iter().any(|embedder| is_slip(name, embedder)));
        if let Some(slips) = self.of(id, place, unknown.is_empty()) {
            slips.embedders.extend(unknown);
        }
    }

    /// `None` where there is nothing to note, or no room for it.
    fn of(&mut self, id: &str, place: u64, nothing: bool) -> Option<&mut Slips> {
        if nothing || (self.by_id.len() >= MOST_REMEMBERED && !self.by_id.contains_key(id)) {
            return None;
        }
        let new = || Slips { id: id.to_owned(), place, ..Slips::default() };
        Some(self.by_id.entry(id.to_owned()).or_insert_with(new))
    }

    /// In the order of the body.
    pub fn finish(self) -> Vec<Slips> {
        let mut slips: Vec<Slips> = self.by_id.into_values().collect();
        slips.sort_by_key(|slips| slips.place);
        slips
    }
}

// === impl Hints ===

impl Hints {
    /// Of a body alone; the engine looks at those documents together of whose place `together` is true.
    pub fn of_body(slips: &[Slips], embedder: &str, together: impl Fn(u64) -> bool) -> Self {
        let mut hints = Self::default();
        for document in slips {
            for field in &document.fields {
                *hints.fields.entry(field.clone()).or_default() += 1;
            }
            for name in document.embedders.iter().filter(|name| together(document.place) && is_slip(name, embedder)) {
                *hints.embedders.entry(name.clone()).or_default() += 1;
            }
        }
        hints
    }

    /// The engine's words on what may be done for `embedder`.
    pub fn lines(&self, embedder: &str) -> String {
        let fields = self
            .fields
            .iter()
            .take(TOLD)
            .map(|(name, count)| format!("\n- Hint: try replacing `{name}` by `_vectors` in {count} document(s)."));
        let embedders = self.embedders.iter().take(TOLD).map(|(name, count)| {
            format!("\n- Hint: try replacing `_vectors.{name}` by `_vectors.{embedder}` in {count} document(s).")
        });
        let lines: String = fields.chain(embedders).collect();
        if lines.is_empty() {
            format!("\n- Hint: opt-out for a document with `_vectors.{embedder}: null`")
        } else {
            lines
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_one_or_two_steps_away() {
        for name in ["_vector", "_vectrs", "vectors", "_vecotrs", "_evctros", "vector", "_vectors__"] {
            assert!(may_be_vectors(name), "{name}");
        }
        for name in ["_vectors", "_vec", "", "_vector.a", "tensors", "_vectors___"] {
            assert!(!may_be_vectors(name), "{name}");
        }
        assert!(is_slip("é", "è") && !is_slip("manual", "manual"));
        assert_eq!(distance(&['c', 'a'], &['a', 'b', 'c']), 3, "what was swapped is not pulled apart");
    }

    #[test]
    fn two_names_of_each_kind_are_told_else_how_to_opt_out() {
        assert_eq!(Hints::default().lines("own"), "\n- Hint: opt-out for a document with `_vectors.own: null`");
        let names = |names: &[&str]| names.iter().zip(1..).map(|(name, count)| ((*name).to_owned(), count)).collect();
        let hints = Hints { fields: names(&["_vector", "_vectrs", "vectors"]), embedders: names(&["onw"]) };
        assert_eq!(
            hints.lines("own"),
            "\n- Hint: try replacing `_vector` by `_vectors` in 1 document(s).\n- Hint: try replacing `_vectrs` by \
             `_vectors` in 2 document(s).\n- Hint: try replacing `_vectors.onw` by `_vectors.own` in 1 document(s)."
        );
    }
}
