//! Searches that are to be asked again of another index, and the room that there is for them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::Access;
use super::narrow::narrow;
use crate::meili::error::ResponseError;
use crate::meili::operation::{Operation, Read};
use crate::merge::raw::{Members, elements};
use crate::rules::asked::Asked;
use crate::rules::book::RuleBook;
use crate::rules::mirror::{Difference, Mirror, Mirrored};

/// So many wait or are under way.
const MOST: usize = 256;
/// So many are under way.
const AT_ONCE: usize = 4;
/// So much do the answers hold that wait to be compared.
const MOST_KIB: u32 = 32 << 10;
/// What one of them holds besides its answer.
const OWN_KIB: usize = 2;

/// What is left for such searches.
pub struct Mirrors {
    places: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    pub(super) turns: Arc<Semaphore>,
}

/// A search that is asked again, with what the client got.
pub struct Shadow {
    pub(super) rule: String,
    pub(super) mirror: Arc<Mirror>,
    /// Which of several searches.
    query: Option<usize>,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) body: Bytes,
    answer: Bytes,
    pub(super) request_id: String,
}

/// What a search holds for as long as it waits.
pub(super) struct Held {
    _place: OwnedSemaphorePermit,
    _kib: OwnedSemaphorePermit,
}

// === impl Shadow ===

impl Shadow {
    /// Those of `mirrored` whose turn it is, as `asked` goes on in the end.
    pub fn all(book: &RuleBook, asked: &Asked, mirrored: Vec<Mirrored>, request_id: &str) -> Vec<Self> {
        let shadows = mirrored.into_iter().filter_map(|Mirrored { rule, query, to, mirror }| {
            let (from, parameters) = asked.search(query).filter(|(from, _)| *from != to)?;
            mirror.is_its_turn().then(|| Self {
                rule: book.name(rule).to_owned(),
                mirror: Arc::clone(&mirror),
                query,
                from: from.to_owned(),
                body: Bytes::from(serde_json::to_vec(parameters).unwrap_or_default()),
                to,
                answer: Bytes::new(),
                request_id: request_id.to_owned(),
            })
        });
        shadows.collect()
    }

    /// By the tenant token's filter for the index that the client asks.
    pub fn narrowed(self, access: &Access) -> Result<Self, ResponseError> {
        let asked: Operation = Read::SearchPost { index: self.from.clone() }.into();
        let body = narrow(&asked, access, "", &self.body)?.body;
        Ok(Self { body, ..self })
    }

    /// With the answer to the request that it is of.
    pub fn answered(self, answer: &Bytes) -> Self {
        Self { answer: answer.clone(), ..self }
    }

    /// `None` for an answer that cannot be read.
    pub(super) fn compared(&self, other: &[u8], key: Option<&str>) -> Option<Option<Difference>> {
        let (one, other) = (std::str::from_utf8(&self.answer).ok()?, std::str::from_utf8(other).ok()?);
        let one = match self.query {
            None => one,
            Some(place) => elements(Members::parse(one).ok()?.get("results")?.get()).ok()?.get(place)?.get(),
        };
        self.mirror.compare(one, other, key).ok()
    }
}

// === impl Mirrors ===

impl Mirrors {
    /// With nothing under way.
    pub fn new() -> Self {
        let of = |most| Arc::new(Semaphore::new(most));
        Self { places: of(MOST), kib: of(MOST_KIB as usize), turns: of(AT_ONCE) }
    }

    /// Until what is given back is dropped, there is so much less for others; `None` where there is not enough.
    pub(super) fn hold(&self, shadow: &Shadow) -> Option<Held> {
        let kib = u32::try_from((shadow.answer.len() + shadow.body.len()) / 1024 + OWN_KIB).ok()?;
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let kib = Arc::clone(&self.kib).try_acquire_many_owned(kib).ok()?;
        Some(Held { _place: place, _kib: kib })
    }
}

impl Default for Mirrors {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::mirror::Mirror;
    use crate::settings::{Report, Section};

    fn shadow(query: Option<usize>, answer: &'static str) -> Shadow {
        let report = Report::default();
        let mirror = Mirror::read(&mut Section::new("rule", json!({"mirror": {"to": "b"}}), &report)).unwrap();
        let (rule, from, to) = ("r".to_owned(), "a".to_owned(), "b".to_owned());
        let (body, answer) = (Bytes::new(), Bytes::from_static(answer.as_bytes()));
        Shadow { rule, mirror: Arc::new(mirror), query, from, to, body, answer, request_id: String::new() }
    }

    #[test]
    fn one_of_several_searches_is_compared_with_its_own_answer() {
        let several = r#"{"results":[{"hits":[{"id":1}]},{"hits":[{"id":2}]}]}"#;
        let is_same =
            |query| shadow(query, several).compared(br#"{"hits":[{"id":2}]}"#, Some("id")).map(|it| it.is_none());
        assert_eq!((is_same(Some(0)), is_same(Some(1)), is_same(Some(2))), (Some(false), Some(true), None));
        assert_eq!(shadow(None, "no JSON").compared(b"{}", None), None);
    }

    #[test]
    fn so_many_wait_and_hold_so_much() {
        let mirrors = Mirrors::new();
        let held: Vec<Held> = (0..MOST).map_while(|_| mirrors.hold(&shadow(None, "{}"))).collect();
        assert_eq!((held.len(), mirrors.hold(&shadow(None, "{}")).is_none()), (MOST, true));
        drop(held);
        let large = || Shadow { answer: Bytes::from(vec![b' '; 20 << 20]), ..shadow(None, "") };
        let one = mirrors.hold(&large());
        assert!(one.is_some() && mirrors.hold(&large()).is_none());
        drop(one);
        assert!(mirrors.hold(&large()).is_some(), "what was dropped has left no place taken");
    }
}
