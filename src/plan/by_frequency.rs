//! Whether a search leaves out words by their frequency, and what its words are; how it is asked then is in `frequency`.

use std::ops::Range;

use serde::Serialize;
use serde_json::{Map, Value};
use unicode_normalization::char::is_combining_mark;

use super::index_info::IndexInfo;

/// The engine looks at no more words than that.
const MOST_WORDS: usize = 10;

/// Whether words are left out by their frequency.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ByFrequency {
    #[default]
    No,
    /// The words, as places in the query.
    Words(Vec<Range<usize>>),
    /// They are, but what the engine takes for a word cannot be told.
    Unknown,
}

// === impl ByFrequency ===

impl ByFrequency {
    /// True if nodes can be asked how frequent the words are.
    pub fn is_known(&self) -> bool {
        match self {
            Self::Words(_) => true,
            Self::No | Self::Unknown => false,
        }
    }

    /// Only the strategy `frequency` leaves words out so, and only where there are several.
    pub fn of(info: &IndexInfo, body: &Map<String, Value>) -> Self {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let given = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
        let Some(query) = text("q").filter(|_| text("matchingStrategy") == Some("frequency")) else { return Self::No };
        // The engine looks for a stop word all the same where the query ends with it.
        let counts = |word: &Range<usize>| word.end == query.len() || !is_stop_word(info, &query[word.clone()]);
        let words: Vec<Range<usize>> = words_of(query).into_iter().filter(counts).collect();
        // Where settings say what ends a word, one may be several.
        let most = if info.splits_words_plainly { 1 } else { 0 };
        if words.len() <= most && is_plain(query) {
            return Self::No;
        }
        let known = info.splits_words_plainly
            && is_plain(query)
            && words.len() <= MOST_WORDS
            && info.primary_key.as_deref().is_some_and(|key| info.shows(key))
            && !["hybrid", "vector"].into_iter().any(given);
        if known { Self::Words(words) } else { Self::Unknown }
    }
}

fn words_of(query: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    for (at, letter) in query.char_indices() {
        let end = at + letter.len_utf8();
        let is_part = letter.is_alphanumeric() || is_combining_mark(letter);
        match words.last_mut() {
            Some(last) if last.end == at && is_part => last.end = end,
            _ if letter.is_alphanumeric() => words.push(at..end),
            _ => {}
        }
    }
    words
}

/// True if words end where letters and digits do: no phrase, no word that must not be there, no `camelCase`, which not every
/// engine takes apart, and no script that writes words without a space between.
fn is_plain(query: &str) -> bool {
    let together = |letter: char| matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..);
    let mut before = ' ';
    for letter in query.chars() {
        let negates = letter == '-' && before.is_whitespace();
        let in_the_middle = before.is_lowercase() && letter.is_uppercase();
        if letter == '"' || negates || in_the_middle || together(letter) {
            return false;
        }
        before = letter;
    }
    true
}

fn is_stop_word(info: &IndexInfo, word: &str) -> bool {
    let word = word.to_lowercase();
    info.stop_words.iter().any(|stop| stop.to_lowercase() == word)
}
