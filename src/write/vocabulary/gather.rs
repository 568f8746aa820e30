//! The new words of one body, as documents of words.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{MOST_WORDS, Numbers, Vocabulary, WORDS};
use crate::nodes::overload::spool_budget::SpoolBudget;
use crate::nodes::spool::{Spool, SpoolWriter};
use crate::placement::vocabulary::{NO_WORD, WORD_SEPARATOR, WORDS_END, WORDS_FIELD, marker_of, words_id};
use crate::placement::written::Written;
use crate::split::Document;
use crate::split::words::{WordRules, word_number};
use crate::write::settings::WriteSettings;

/// Takes the words of documents, one after the other.
pub struct Gatherer {
    vocabulary: Arc<Vocabulary>,
    rules: WordRules,
    epoch: u64,
    new: Numbers,
    lines: Lines,
    homes: Homes,
}

/// Where words of attributes are kept, found out once for a body: its documents have the same few, mostly in one order.
#[derive(Default)]
struct Homes {
    /// Each attribute with its field and class, in the order in which they came first.
    known: Vec<(String, Option<(String, u64)>)>,
    /// Where the last one asked for stands.
    at: usize,
}

/// More attributes than these are looked up anew.
const MOST_HOMES: usize = 256;

/// Words as documents of words, a line each.
pub(super) struct Lines {
    /// By the field that holds them.
    pending: BTreeMap<String, Pending>,
    spool: SpoolWriter,
    pieces: usize,
}

#[derive(Default)]
struct Pending {
    text: String,
    words: usize,
}

/// The new words of a body.
#[derive(Clone)]
pub struct Gathered {
    vocabulary: Arc<Vocabulary>,
    epoch: u64,
    new: Numbers,
    pieces: usize,
    /// Documents of words, a line each.
    pub spools: Vec<Spool>,
}

// === impl Gatherer ===

impl Gatherer {
    /// `None` once there are too many words.
    pub(super) fn new(vocabulary: Arc<Vocabulary>, rules: WordRules, settings: &WriteSettings) -> Option<Self> {
        let epoch = {
            let state = vocabulary.state.read();
            (state.known.len() < MOST_WORDS).then_some(state.epoch)?
        };
        let (new, homes) = (Numbers::default(), Homes::default());
        Some(Self { vocabulary, rules, epoch, new, lines: Lines::new(settings), homes })
    }

    /// Counts what is spooled against `budget`.
    pub fn within(&mut self, budget: &Arc<SpoolBudget>) {
        self.lines.spool.within(budget);
    }

    /// Takes the words of `document` that are new; `next_place` numbers documents of words.
    pub fn take(&mut self, document: &Document<'_>, primary_key: &str, next_place: &mut impl FnMut() -> Written) {
        let Self { vocabulary, rules, epoch, new, lines, homes } = self;
        let state = vocabulary.state.read();
        // What was given up meanwhile is known no more, but `know` hears of that.
        let known = (state.epoch == *epoch).then_some(&state.known);
        if known.map_or(0, |known| known.len()) + new.len() >= MOST_WORDS {
            return;
        }
        rules.words_of(document, &mut |attribute, word| {
            let Some((field, class)) = homes.of(attribute, rules, primary_key) else { return };
            let number = word_number(*class, word);
            if known.is_some_and(|known| known.contains(&number)) || !new.insert(number) {
                return;
            }
            lines.put(field, word, primary_key, next_place);
        });
    }

    /// Writes to disk what memory may no longer hold.
    pub async fn spill(&mut self) -> io::Result<()> {
        self.lines.spool.spill().await
    }

    /// `primary_key` is `None` if there was no document.
    pub async fn finish(
        self,
        primary_key: Option<&str>,
        next_place: &mut impl FnMut() -> Written,
    ) -> io::Result<Gathered> {
        let (spools, pieces) = self.lines.finish(primary_key, next_place).await?;
        if !spools.is_empty() {
            self.vocabulary.will_have_words();
        }
        Ok(Gathered { vocabulary: self.vocabulary, epoch: self.epoch, new: self.new, pieces, spools })
    }
}

// === impl Homes ===

impl Homes {
    /// `primary_key` is that of the body.
    fn of(&mut self, attribute: &str, rules: &WordRules, primary_key: &str) -> Option<&(String, u64)> {
        let stands = |at: &usize| self.known.get(*at).is_some_and(|(known, _)| known == attribute);
        let likely = [self.at, self.at + 1, 0].into_iter().find(stands);
        let found = likely.or_else(|| self.known.iter().position(|(known, _)| known == attribute));
        self.at = found.unwrap_or_else(|| {
            let home = rules.home(attribute, primary_key).map(|home| (home.field.into_owned(), home.class));
            self.known.truncate(MOST_HOMES);
            self.known.push((attribute.to_owned(), home));
            self.known.len() - 1
        });
        self.known[self.at].1.as_ref()
    }
}

// === impl Lines ===

impl Lines {
    /// Without a word; in memory up to the size that bodies may have there.
    pub fn new(settings: &WriteSettings) -> Self {
        let spool = SpoolWriter::new(settings.spool_memory, settings.max_payload_size);
        Self { pending: BTreeMap::new(), spool, pieces: 0 }
    }

    /// Takes one word more; a document of words is full at a fixed number of them and begins a new one.
    pub fn put(&mut self, field: &str, word: &str, primary_key: &str, next_place: &mut impl FnMut() -> Written) {
        if !self.pending.contains_key(field) {
            self.pending.insert(field.to_owned(), Pending::default());
        }
        let Some(held) = self.pending.get_mut(field) else { return };
        if held.words > 0 {
            held.text.push_str(WORD_SEPARATOR);
        }
        held.text.push_str(word);
        held.words += 1;
        if held.words == WORDS {
            let held = std::mem::take(held);
            self.spool.append(&line(field, held.text, primary_key, next_place()));
            self.pieces += 1;
        }
    }

    /// The lines, and how many they are.
    pub async fn finish(
        mut self,
        primary_key: Option<&str>,
        next_place: &mut impl FnMut() -> Written,
    ) -> io::Result<(Vec<Spool>, usize)> {
        if let Some(primary_key) = primary_key {
            for (field, held) in self.pending.into_iter().filter(|(_, held)| held.words > 0) {
                self.spool.append(&line(&field, held.text, primary_key, next_place()));
                self.pieces += 1;
            }
        }
        Ok((self.spool.finish().await?, self.pieces))
    }
}

// === impl Gathered ===

impl Gathered {
    /// All nodes were sent the words, or will be.
    pub fn known(self) {
        self.vocabulary.know(self.new, self.pieces, self.epoch);
    }

    /// Some node has missed them.
    pub fn missed(&self) {
        self.vocabulary.state.write().may_differ = true;
    }
}

/// A document of the words in `text`.
fn line(field: &str, text: String, primary_key: &str, written: Written) -> Vec<u8> {
    let mut document = Map::new();
    document.insert(primary_key.to_owned(), words_id(written).into());
    document.insert(marker_of(primary_key), NO_WORD.into());
    if field != WORDS_FIELD {
        document.insert(WORDS_FIELD.to_owned(), NO_WORD.into());
        document.insert(marker_of(field), NO_WORD.into());
    }
    document.insert(field.to_owned(), text.into());
    let mut line = Value::Object(document).to_string().into_bytes();
    line.pop();
    line.push(b',');
    line.extend_from_slice(WORDS_END.as_bytes());
    line
}

#[cfg(test)]
mod tests {
    use super::super::{Durable, Text};
    use super::*;
    use crate::placement::shard::SHARD_FIELD;
    use crate::placement::vocabulary::WORDS_SHARD;
    use crate::placement::written::Places;
    use crate::settings::FromSection as _;

    async fn gathered(vocabulary: &Arc<Vocabulary>, rules: &WordRules, documents: &[&str]) -> (Gathered, Vec<Value>) {
        let mut places = Places::of_batch(7);
        let mut next = || places.take().unwrap();
        let mut gatherer = Gatherer::new(Arc::clone(vocabulary), rules.clone(), &WriteSettings::defaults()).unwrap();
        for document in documents {
            gatherer.take(&Document::parse(document).unwrap(), "id", &mut next);
        }
        let gathered = gatherer.finish(Some("id"), &mut next).await.unwrap();
        let mut lines = Vec::new();
        for spool in &gathered.spools {
            let mut reader = spool.reader();
            let mut bytes = Vec::new();
            while let Some(chunk) = reader.next().await.unwrap() {
                bytes.extend_from_slice(&chunk);
            }
            lines.extend(String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()));
        }
        (gathered, lines)
    }

    #[tokio::test]
    async fn a_word_is_gathered_once() {
        let vocabulary = Arc::new(Vocabulary::new(Durable::default()));
        let rules = WordRules::default();
        let documents = [r#"{"id": 1, "t": "Red red apple"}"#, r#"{"id": 2, "t": "green apple"}"#];
        let (first, lines) = gathered(&vocabulary, &rules, &documents).await;
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0][WORDS_FIELD], "1. red. apple. 2. green");
        assert_eq!(lines[0][SHARD_FIELD], WORDS_SHARD);
        first.known();
        let (again, lines) = gathered(&vocabulary, &rules, &documents).await;
        assert!(again.spools.is_empty() && lines.is_empty());
        let (_, lines) = gathered(&vocabulary, &rules, &[r#"{"id": 2, "t": "yellow apple"}"#]).await;
        assert_eq!(lines[0][WORDS_FIELD], "yellow");
    }

    #[tokio::test]
    async fn an_index_whose_words_were_taken_away_has_words_with_the_next_new_one() {
        let vocabulary = Arc::new(Vocabulary::new(Durable::default()));
        vocabulary.state.write().looked = true;
        let rules = WordRules::default();
        _ = gathered(&vocabulary, &rules, &[]).await;
        assert_eq!(vocabulary.state.read().kept, Durable::default());
        _ = gathered(&vocabulary, &rules, &[r#"{"id": "a"}"#]).await;
        assert_eq!(vocabulary.state.read().kept, Durable { floor: Some(String::new()), dirty: false });
        // Documents from before, of which nobody has looked whether they shared their words.
        let older = Arc::new(Vocabulary::new(Durable::default()));
        _ = gathered(&older, &rules, &[r#"{"id": "a"}"#]).await;
        assert_eq!(older.state.read().kept, Durable { floor: Some(String::new()), dirty: true });
    }

    #[tokio::test]
    async fn words_that_were_not_sent_stay_new() {
        let vocabulary = Arc::new(Vocabulary::new(Durable::default()));
        let document = [r#"{"id": "a", "t": "plum"}"#];
        let (dropped, _) = gathered(&vocabulary, &WordRules::default(), &document).await;
        drop(dropped);
        assert_eq!(gathered(&vocabulary, &WordRules::default(), &document).await.1.len(), 1);
    }

    #[tokio::test]
    async fn what_was_known_before_it_was_given_up_is_looked_at_again() {
        let vocabulary = Arc::new(Vocabulary::new(Durable::default()));
        let (old, _) = gathered(&vocabulary, &WordRules::default(), &[r#"{"id": "a", "t": "plum"}"#]).await;
        vocabulary.state.write().forget();
        old.known();
        let state = vocabulary.state.read();
        assert!(state.kept.dirty && state.known.is_empty());
    }

    #[tokio::test]
    async fn what_nodes_show_is_known() {
        let rules = WordRules {
            searchable: Some(vec!["t".into(), "u".into()]),
            exact: vec!["u".into()],
            ..WordRules::default()
        };
        let vocabulary = Arc::new(Vocabulary::new(Durable::default()));
        vocabulary.heed(&rules);
        let documents = [r#"{"id": 1, "t": "red", "u": "red"}"#];
        let (_, lines) = gathered(&vocabulary, &rules, &documents).await;
        assert_eq!(lines.len(), 2, "one that allows typos and one that does not");
        assert!(lines.iter().any(|line| line["u"] == "red" && line[marker_of("u")] == NO_WORD));
        let texts = ["t", "u"].map(|field| Text { id: "-".into(), field: field.into(), words: "red".into() });
        vocabulary.learn(&texts, 0);
        assert!(gathered(&vocabulary, &rules, &documents).await.0.spools.is_empty());
    }

    #[tokio::test]
    async fn many_words_are_several_documents() {
        let vocabulary = Arc::new(Vocabulary::new(Durable::default()));
        let text: String = (0..1200).map(|n| format!("w{n} ")).collect();
        let document = format!(r#"{{"id": "w0", "t": "{text}"}}"#);
        let (_, lines) = gathered(&vocabulary, &WordRules::default(), &[&document]).await;
        let words: Vec<usize> =
            lines.iter().map(|line| line[WORDS_FIELD].as_str().unwrap().split(WORD_SEPARATOR).count()).collect();
        assert_eq!(words, [512, 512, 176]);
    }
}
