//! What the engine refuses in a whole body for the sake of single documents, besides their ids: found here, so that the
//! body fails as one task and no node gets a share of it.
//!
//! A document that comes again in the same body takes the place of its earlier version (`POST`) or is laid over it
//! (`PUT`), so an earlier fault may be gone in the end: what is wrong is only known when the body has been read.
//!
//! Not looked at, because no single document tells, or because only the engine can: more than 65,535 fields in the whole
//! index, `_geojson`, templates of embedders that a document does not fit, objects where numbers of a vector are due and
//! numbers out of range (the engine itself breaks down there), and vectors of a length that only the embedder knows.

use std::collections::{BTreeMap, HashMap};

use super::document::Document;
use super::geo::{self, GEO_FIELD, GeoError};
use super::seen::{Met, Seen};
use super::slips::{Hints, Slips, SlipsById};
use super::vectors::{self, Embedder, VECTORS_FIELD, VectorsError};
use crate::meili::error::Code;
use crate::placement::few_ids::{FewIds, IdsByShard};
use crate::placement::shard::ShardId;
use crate::placement::text_set::TextKey;

/// Ids that nothing hangs on yet are looked for so many at a time: looks at memory that do not wait for each other go on side by
/// side.
const AT_ONCE: usize = 256;
/// So many documents of one body are remembered with what is wrong with them, or may be.
const MOST_REMEMBERED: usize = 10_000;
/// The engine extracts vectors from so many documents at a time, and says how many of those lack one.
const ENGINES_CHUNK: u64 = 100;

/// What the documents of an index must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DocumentRules {
    /// True when the index sorts or filters by `_geo`, so that documents must have points there.
    pub geo: bool,
    /// In the order of their names.
    pub embedders: Vec<Embedder>,
}

/// How a document meets an earlier one with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    Replacing,
    LaidOver,
}

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Vectors(#[from] VectorsError),
    #[error(transparent)]
    Geo(#[from] GeoError),
}

/// Looks at the documents of one body, in its order.
#[derive(Debug)]
pub struct Checker {
    rules: DocumentRules,
    meets: Meets,
    taken: u64,
    seen: Seen,
    /// The last documents taken, whose ids are not looked for yet.
    waiting: Vec<(TextKey, ShardId)>,
    faults: HashMap<String, Faults>,
    lacking: HashMap<String, Lacking>,
    slips: SlipsById,
    /// How many documents, each once, each shard gets, in the order of shards.
    documents: Vec<u64>,
    /// `None` once they are too many.
    ids: Option<FewIds>,
}

/// What is wrong with a document, and where in the body it came.
#[derive(Debug, Default)]
struct Faults {
    vectors: Option<(u64, VectorsError)>,
    geo: Option<(u64, GeoError)>,
}

/// A document that lacks vectors which a new one must give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Its place among the different documents of the body.
    pub place: u64,
    pub id: String,
    pub embedder: String,
}

/// What was found in a body that was read to its end.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checked {
    pub refusal: Option<Refusal>,
    /// In the order of the body.
    pub lacking: Vec<Lacking>,
    /// Where vectors must be given by documents.
    pub slips: Vec<Slips>,
    pub documents: BTreeMap<ShardId, u64>,
    /// Their ids, if they are few.
    pub ids: IdsByShard,
}

// === impl Refusal ===

impl Refusal {
    /// What the engine calls it.
    pub fn code(&self) -> Code {
        match self {
            Self::Vectors(error) => error.code(),
            Self::Geo(_) => Code::InvalidDocumentGeoField,
        }
    }

    /// When the engine looks for it: it looks for one thing in all documents before it looks for the next.
    fn stage(&self) -> u8 {
        match self {
            Self::Vectors(error) if error.is_of_shape() => 0,
            Self::Geo(_) => 1,
            Self::Vectors(_) => 2,
        }
    }
}

// === impl Checker ===

impl Checker {
    /// `rules` are those of the index's settings, `meets` says what the body will meet there.
    pub fn new(rules: DocumentRules, meets: Meets) -> Self {
        Self {
            slips: SlipsById::new(&rules.embedders),
            rules,
            meets,
            taken: 0,
            seen: Seen::new(meets),
            waiting: Vec::new(),
            faults: HashMap::new(),
            lacking: HashMap::new(),
            documents: Vec::new(),
            ids: Some(FewIds::default()),
        }
    }

    /// The next document of the body; `id` is its id, and `shard` where it belongs.
    pub fn take(&mut self, document: &Document<'_>, id: &str, shard: ShardId) {
        let key = TextKey::of(id);
        let has_vectors = document.fields().iter().any(|(name, _)| name == VECTORS_FIELD);
        if self.may_wait(has_vectors) {
            self.taken += 1;
            self.waiting.push((key, shard));
            if self.waiting.len() == AT_ONCE {
                self.meet_waiting();
            }
            return;
        }
        self.meet_waiting();
        self.taken += 1;
        let met = self.seen.meet(key, self.taken);
        let again = match met {
            Met::First => {
                self.count(shard);
                self.ids = self.ids.take().and_then(|mut ids| ids.add(shard, id).then_some(ids));
                false
            }
            Met::Again(_) => true,
        };
        // The engine looks at a document where what it is made of begins. Example: a body has the ids 4, 21, 4. Replacing, the
        // first 4 is forgotten, and 21 is looked at before 4; laid over, 4 before 21.
        let at = match met {
            Met::Again(Some(first)) => first,
            Met::Again(None) | Met::First => self.taken,
        };
        self.look_at_vectors(document, id, has_vectors, again, at);
        if self.rules.geo {
            self.look_at_geo(document, id, again, at);
        }
    }

    /// True if nothing is known, or will be, of the next document but its id, so that it only counts whether it came before.
    fn may_wait(&self, has_vectors: bool) -> bool {
        let is_plain = !has_vectors && self.rules.embedders.is_empty() && !self.rules.geo;
        is_plain && self.ids.is_none() && self.faults.is_empty() && self.lacking.is_empty()
    }

    fn meet_waiting(&mut self) {
        let first = self.taken + 1 - self.waiting.len() as u64;
        let mut waiting = std::mem::take(&mut self.waiting);
        for (place, (key, shard)) in (first..).zip(waiting.drain(..)) {
            if let Met::First = self.seen.meet(key, place) {
                self.count(shard);
            }
        }
        self.waiting = waiting;
    }

    fn count(&mut self, shard: ShardId) {
        let at = usize::from(shard.0);
        if self.documents.len() <= at {
            self.documents.resize(at + 1, 0);
        }
        self.documents[at] += 1;
    }

    fn look_at_vectors(&mut self, document: &Document<'_>, id: &str, has_field: bool, again: bool, at: u64) {
        let place = self.seen.len() as u64;
        self.slips.note_fields(document, id, place, again && self.meets == Meets::Replacing);
        // The earlier version's vectors stay, whatever they are.
        if again && self.meets == Meets::LaidOver && !has_field {
            return;
        }
        if again {
            self.lacking.remove(id);
            if let Some(faults) = self.faults.get_mut(id) {
                faults.vectors = None;
            }
        }
        if !has_field && self.rules.embedders.is_empty() {
            return;
        }
        match vectors::check(document, id, &self.rules.embedders) {
            Ok(looked) => {
                self.slips.note_unknown(looked.unknown, id, place);
                if let Some(embedder) = looked.missing
                    && self.lacking.len() < MOST_REMEMBERED
                {
                    let lacking = Lacking { place, id: id.to_owned(), embedder: embedder.to_owned() };
                    self.lacking.insert(id.to_owned(), lacking);
                }
            }
            Err(error) => {
                if let Some(faults) = self.remembered(id) {
                    faults.vectors = Some((at, error));
                }
            }
        }
    }

    fn look_at_geo(&mut self, document: &Document<'_>, id: &str, again: bool, at: u64) {
        let has_field = document.fields().iter().any(|(key, _)| key == GEO_FIELD);
        if again
            && (has_field || self.meets == Meets::Replacing)
            && let Some(faults) = self.faults.get_mut(id)
        {
            faults.geo = None;
        }
        if let Err(error) = geo::check(document, id)
            && let Some(faults) = self.remembered(id)
        {
            faults.geo = Some((at, error));
        }
    }

    /// Where faults of `id` are written down; `None` if there are too many already.
    fn remembered(&mut self, id: &str) -> Option<&mut Faults> {
        if self.faults.len() >= MOST_REMEMBERED && !self.faults.contains_key(id) {
            return None;
        }
        Some(self.faults.entry(id.to_owned()).or_default())
    }

    /// What the engine says of a document that it has just read, before it reads another.
    pub fn refused_at_once(&self, id: &str) -> Option<Refusal> {
        let (_, error) = self.faults.get(id)?.vectors.as_ref().filter(|(_, error)| error.is_of_shape())?;
        Some(error.clone().into())
    }

    /// The first refusal by the engine's order of checks, not by the order of documents.
    pub fn finish(mut self) -> Checked {
        self.meet_waiting();
        let counts = self.documents.into_iter().zip(0..).filter(|(count, _)| *count > 0);
        let documents = counts.map(|(count, shard)| (ShardId(shard), count)).collect();
        let mut found: Vec<(u64, Refusal)> = Vec::new();
        for faults in self.faults.into_values() {
            found.extend(faults.vectors.map(|(at, error)| (at, error.into())));
            found.extend(faults.geo.map(|(at, error)| (at, error.into())));
        }
        let first = found.into_iter().min_by_key(|(at, refusal)| (refusal.stage(), *at));
        let mut lacking: Vec<Lacking> = self.lacking.into_values().collect();
        lacking.sort_by_key(|document| document.place);
        Checked {
            refusal: first.map(|(_, refusal)| refusal),
            lacking,
            slips: self.slips.finish(),
            documents,
            ids: self.ids.map(FewIds::finish).unwrap_or_default(),
        }
    }
}

/// The engine's refusal of `new`, those of a body that are to be new and lack vectors, in its order; `slips` are the body's.
pub fn missing_vectors(new: &[Lacking], slips: &[Slips]) -> Option<VectorsError> {
    let first = new.first()?;
    let together =
        |place: u64| place.saturating_sub(1) / ENGINES_CHUNK == first.place.saturating_sub(1) / ENGINES_CHUNK;
    let others = new.iter().filter(|other| together(other.place)).count().saturating_sub(1);
    let (id, embedder) = (first.id.clone(), first.embedder.clone());
    let hints = Hints::of_body(slips, &embedder, together);
    Some(VectorsError::Missing { id, embedder, others, hints })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> DocumentRules {
        let settings = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 2}}});
        DocumentRules { geo: true, embedders: Embedder::of_settings(&settings) }
    }

    fn checked(meets: Meets, documents: &[&str]) -> Checked {
        let mut checker = Checker::new(rules(), meets);
        for raw in documents {
            let document = Document::parse(raw).unwrap();
            let id = crate::split::primary_key::document_id(&document, "id").unwrap();
            checker.take(&document, &id, ShardId(0));
        }
        checker.finish()
    }

    fn message(meets: Meets, documents: &[&str]) -> Option<String> {
        checked(meets, documents).refusal.map(|refusal| refusal.to_string())
    }

    #[test]
    fn shapes_come_before_points_and_points_before_lengths() {
        let documents = [
            r#"{"id":1,"_vectors":{"own":[1]}}"#,
            r#"{"id":2,"_geo":5,"_vectors":{"own":[1,2]}}"#,
            r#"{"id":3,"_vectors":{"any":"x"}}"#,
            r#"{"id":4,"_vectors":{"any":"y"}}"#,
        ];
        let first = |documents: &[&str]| message(Meets::Replacing, documents).unwrap();
        assert!(first(&documents).contains("with id: `3`"));
        assert!(first(&documents[..2]).starts_with("The `_geo` field in the document with the id: `\"2\"`"));
        assert!(first(&documents[..1]).starts_with("Invalid vector dimensions in document with id `1`"));
    }

    #[test]
    fn the_last_version_of_a_document_counts() {
        let (bad, good, bare) = (
            r#"{"id":1,"_geo":5,"_vectors":{"own":"x"}}"#,
            r#"{"id":"1","_geo":null,"_vectors":{"own":null}}"#,
            r#"{"id":1,"a":1}"#,
        );
        for meets in [Meets::Replacing, Meets::LaidOver] {
            assert_eq!(message(meets, &[bad, good]), None);
            assert!(message(meets, &[good, bad]).is_some());
        }
        assert_eq!(message(Meets::Replacing, &[bad, bare]), None);
        assert!(message(Meets::LaidOver, &[bad, bare]).is_some());
    }

    #[test]
    fn a_document_is_looked_at_where_what_it_is_made_of_begins() {
        let documents = [
            r#"{"id":4,"_vectors":{"own":[1,2,3]}}"#,
            r#"{"id":21,"_vectors":{"own":[1,2,3]}}"#,
            r#"{"id":4,"_vectors":{"own":[1,2,3]}}"#,
        ];
        let named = |meets| message(meets, &documents).unwrap();
        assert!(named(Meets::Replacing).contains("id `21`"));
        assert!(named(Meets::LaidOver).contains("id `4`"));
    }

    #[test]
    fn a_document_lacks_vectors_that_no_version_of_it_gives() {
        let (given, bare) = (r#"{"id":1,"_vectors":{"own":[1,2]}}"#, r#"{"id":1,"a":1}"#);
        let lacking = |meets, documents: &[&str]| checked(meets, documents).lacking.len();
        assert_eq!(lacking(Meets::Replacing, &[given, bare]), 1);
        assert_eq!(lacking(Meets::LaidOver, &[given, bare]), 0);
        for meets in [Meets::Replacing, Meets::LaidOver] {
            assert_eq!((lacking(meets, &[bare]), lacking(meets, &[bare, given])), (1, 0));
        }
    }

    #[test]
    fn each_document_counts_once() {
        let documents = [r#"{"id":"ab"}"#, r#"{"id":"\u0061b"}"#, r#"{"id":7}"#, r#"{"id":"7"}"#, r#"{"id":"ab"}"#];
        let found = checked(Meets::LaidOver, &documents);
        assert_eq!(found.documents, BTreeMap::from([(ShardId(0), 2)]));
        assert_eq!(found.ids, BTreeMap::from([(ShardId(0), vec!["ab".to_owned(), "7".to_owned()])]));
    }

    #[test]
    fn documents_of_a_long_body_count_once_and_meet_their_earlier_versions() {
        let number_of = |place: u64| place.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 9000;
        let numbers: Vec<u64> =
            (0..20_000).map(|place| number_of(if place % 3 == 0 { place / 2 } else { place })).collect();
        let (late, early) = (numbers[7000], numbers[100]);
        assert!(numbers.iter().position(|number| *number == late) > Some(100));
        for (meets, named) in [(Meets::Replacing, late), (Meets::LaidOver, early)] {
            let mut checker = Checker::new(DocumentRules::default(), meets);
            let mut counts = BTreeMap::new();
            let mut met = std::collections::HashSet::new();
            let mut take = |number: u64, vectors: &str| {
                let raw = format!(r#"{{"id":{number}{vectors}}}"#);
                let shard = ShardId((number % 7) as u16);
                checker.take(&Document::parse(&raw).unwrap(), &number.to_string(), shard);
                *counts.entry(shard).or_insert(0) += u64::from(met.insert(number));
            };
            for (place, number) in numbers.iter().enumerate() {
                take(*number, if place % 5000 == 9 { r#","_vectors":{"own":[7]}"# } else { "" });
            }
            // Both are wrong, and what each is made of begins at another place.
            take(late, r#","_vectors":{"own":7}"#);
            take(early, r#","_vectors":{"own":7}"#);
            let found = checker.finish();
            assert_eq!(found.documents, counts);
            assert_eq!(found.ids, BTreeMap::new());
            assert!(found.refusal.unwrap().to_string().contains(&format!("`{named}`")));
        }
    }

    #[test]
    fn the_first_that_lacks_vectors_is_named_with_those_the_engine_looks_at_together() {
        let lacking = |place: u64| Lacking { place, id: place.to_string(), embedder: "own".to_owned() };
        let told = |places: &[u64]| {
            let new: Vec<Lacking> = places.iter().map(|place| lacking(*place)).collect();
            missing_vectors(&new, &[]).map(|refusal| refusal.to_string())
        };
        assert_eq!(told(&[]), None);
        let alone = told(&[100, 101]).unwrap();
        assert_eq!(
            alone,
            "While embedding documents for embedder `own`: no vectors provided for document `100`\n- Note: `own` has \
             `source: userProvided`, so documents must provide embeddings as an array in `_vectors.own`.\n- Hint: \
             opt-out for a document with `_vectors.own: null`"
        );
        assert!(told(&[3, 9, 100, 101]).unwrap().contains("`3` and at least 2 other document(s)\n"));
    }

    #[test]
    fn slips_are_counted_in_what_becomes_of_each_document() {
        let documents = [
            r#"{"id":1,"_vector":1,"_vectors":{"onw":[0,0],"own":[1,2]}}"#,
            r#"{"id":2,"_vector":1,"_geo":null}"#,
            r#"{"id":2,"_vectrs":1,"_vectors":{"onw":[0,0],"far":[1]}}"#,
        ];
        let hints = |meets| {
            let found = checked(meets, &documents);
            match missing_vectors(&found.lacking, &found.slips) {
                Some(VectorsError::Missing { hints, .. }) => format!("{:?} {:?}", hints.fields, hints.embedders),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(hints(Meets::Replacing), r#"{"_vector": 1, "_vectrs": 1} {"onw": 2}"#);
        assert_eq!(hints(Meets::LaidOver), r#"{"_vector": 2, "_vectrs": 1} {"onw": 2}"#);
    }
}
