//! The new words of one body, as documents of words.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::waiting::Waiting;
use super::{MOST_WORDS, Vocabulary, WORDS};
use crate::nodes::overload::spool_budget::SpoolBudget;
use crate::nodes::spool::{Spool, SpoolWriter};
use crate::placement::text_set::{TextKey, TextSet};
use crate::placement::vocabulary::{NO_WORD, WORD_SEPARATOR, WORDS_END, WORDS_FIELD, marker_of, words_id};
use crate::placement::written::Written;
use crate::split::Document;
use crate::split::words::WordRules;
use crate::write::settings::WriteSettings;

/// Takes the words of documents, one after the other.
pub struct Gatherer {
    rules: WordRules,
    waiting: Waiting,
    homes: Homes,
    found: Found,
}

/// What is known of an index's words, and what is new of a body's.
struct Found {
    vocabulary: Arc<Vocabulary>,
    epoch: u64,
    /// How many words were known when they were last looked at; `None` once they were given up.
    known: Option<usize>,
    new: TextSet,
    lines: Lines,
}

/// Where words of attributes are kept, found out once for a body: its documents have the same few, mostly in one order.
#[derive(Default)]
struct Homes {
    /// Each attribute with its field and class, in the order in which they came first.
    known: Vec<(String, Option<(String, u64)>)>,
    /// Where the last one asked for stands.
    at: usize,
}

/// More attributes than these are not looked for, and forgotten from time to time.
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
    new: TextSet,
    pieces: usize,
    /// Documents of words, a line each.
    pub spools: Vec<Spool>,
}

// === impl Gatherer ===

impl Gatherer {
    /// `None` once there are too many words.
    pub(super) fn new(vocabulary: Arc<Vocabulary>, rules: WordRules, settings: &WriteSettings) -> Option<Self> {
        let (epoch, known) = {
            let state = vocabulary.state.read();
            (state.epoch, state.known.len())
        };
        (known < MOST_WORDS).then(|| Self {
            rules,
            waiting: Waiting::default(),
            homes: Homes::default(),
            found: Found {
                vocabulary,
                epoch,
                known: Some(known),
                new: TextSet::default(),
                lines: Lines::new(settings),
            },
        })
    }

    /// Counts what is spooled against `budget`.
    pub fn within(&mut self, budget: &Arc<SpoolBudget>) {
        self.found.lines.spool.within(budget);
    }

    /// Takes the words of `document` that are new; `next_place` numbers documents of words.
    pub fn take(&mut self, document: &Document<'_>, primary_key: &str, next_place: &mut impl FnMut() -> Written) {
        let Self { rules, waiting, homes, found } = self;
        if found.is_full(waiting.len()) {
            // Some of those that wait may not be new.
            found.look(waiting, homes, primary_key, next_place);
            if found.is_full(0) {
                return;
            }
        }
        rules.texts_of(document, &mut |attribute, text| {
            if homes.known.len() > 2 * MOST_HOMES {
                // Those that wait name their homes by their places.
                found.look(waiting, homes, primary_key, next_place);
                homes.known.truncate(MOST_HOMES);
            }
            let Some((home, class)) = homes.of(attribute, rules, primary_key) else { return };
            rules.split(text, &mut |word| {
                waiting.push(TextKey::in_class(class, word), home, word);
                if waiting.is_due() {
                    found.look(waiting, homes, primary_key, next_place);
                }
            });
        });
    }

    /// Writes to disk what memory may no longer hold.
    pub async fn spill(&mut self) -> io::Result<()> {
        self.found.lines.spool.spill().await
    }

    /// `primary_key` is `None` if there was no document.
    pub async fn finish(
        mut self,
        primary_key: Option<&str>,
        next_place: &mut impl FnMut() -> Written,
    ) -> io::Result<Gathered> {
        let Found { vocabulary, epoch, new, lines, .. } = match primary_key {
            Some(primary_key) => {
                self.found.look(&mut self.waiting, &self.homes, primary_key, next_place);
                self.found
            }
            None => self.found,
        };
        let (spools, pieces) = lines.finish(primary_key, next_place).await?;
        if !spools.is_empty() {
            vocabulary.will_have_words();
        }
        Ok(Gathered { vocabulary, epoch, new, pieces, spools })
    }
}

// === impl Found ===

impl Found {
    /// True if there is no room for more words than `waiting`.
    fn is_full(&self, waiting: usize) -> bool {
        self.known.unwrap_or_default() + self.new.len() + waiting >= MOST_WORDS
    }

    /// Looks which of the words that wait are new.
    fn look(
        &mut self,
        waiting: &mut Waiting,
        homes: &Homes,
        primary_key: &str,
        next_place: &mut impl FnMut() -> Written,
    ) {
        let state = self.vocabulary.state.read();
        // What was given up meanwhile is known no more, but `know` hears of that.
        let known = (state.epoch == self.epoch).then_some(&state.known);
        let given_up = known.is_none() && self.known.is_some();
        self.known = known.map(TextSet::len);
        let (new, lines) = (&mut self.new, &mut self.lines);
        let is_new = |key| known.is_none_or(|known| !known.contains(key)) && new.insert(key);
        waiting.look(is_new, |word, letters| lines.put(homes.field(word.home), letters, primary_key, next_place));
        if given_up {
            waiting.forget_last();
        }
    }
}

// === impl Homes ===

impl Homes {
    /// Where the field of `attribute` stands, and its class; `primary_key` is that of the body.
    fn of(&mut self, attribute: &str, rules: &WordRules, primary_key: &str) -> Option<(usize, u64)> {
        let stands = |at: &usize| self.known.get(*at).is_some_and(|(known, _)| known == attribute);
        let likely = [self.at, self.at + 1, 0].into_iter().find(stands);
        let all = || self.known.iter().take(MOST_HOMES).position(|(known, _)| known == attribute);
        self.at = likely.or_else(all).unwrap_or_else(|| {
            let home = rules.home(attribute, primary_key).map(|home| (home.field.into_owned(), home.class));
            self.known.push((attribute.to_owned(), home));
            self.known.len() - 1
        });
        self.known[self.at].1.as_ref().map(|(_, class)| (self.at, *class))
    }

    /// The field that stands at `home`.
    fn field(&self, home: usize) -> &str {
        self.known.get(home).and_then(|(_, home)| home.as_ref()).map_or(WORDS_FIELD, |(field, _)| field)
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
