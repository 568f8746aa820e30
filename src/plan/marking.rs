//! What decides about marks in the text of hits, as far as the request and the settings say it.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::index_info::IndexInfo;
use super::search_body::{names, present};

/// What an index and a search say of marks.
pub struct MarkRules<'a> {
    /// How many typos a word of so many letters may have.
    pub typos: &'a dyn Fn(usize) -> usize,
    pub stop_words: &'a [String],
    /// What stands before and after a mark.
    pub tags: [&'a str; 2],
    /// The attributes in which `_formatted` has marks.
    pub highlighted: Vec<String>,
    /// Whether it is known where words begin, so that missing marks can be made. Example: in `wi-fi` the word `fi` begins behind the
    /// hyphen. With `-` among the `nonSeparatorTokens` it is part of a longer word, and nothing is marked here.
    pub splits_words_plainly: bool,
}

/// What decides about the marks of words that are found by the query's last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Marking {
    /// The query's last word, as it was written.
    pub(crate) written: String,
    /// Its letters as they are compared.
    #[serde(serialize_with = "as_word")]
    pub(crate) word: Vec<char>,
    /// How many typos it may have.
    pub(crate) typos: usize,
    /// What else in the query may have found a word.
    #[serde(serialize_with = "as_words")]
    pub(crate) others: Vec<Vec<char>>,
    /// Words that no node knows.
    #[serde(serialize_with = "as_words")]
    pub(crate) stop_words: Vec<Vec<char>>,
    /// The attributes in which missing marks can be made.
    pub(crate) highlighted: Vec<String>,
    /// As of [`MarkRules::splits_words_plainly`].
    pub(crate) splits_words_plainly: bool,
    pub(crate) before: String,
    pub(crate) after: String,
}

fn as_word<S: Serializer>(letters: &[char], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&letters.iter().collect::<String>())
}

fn as_words<S: Serializer>(words: &[Vec<char>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(words.iter().map(|word| word.iter().collect::<String>()))
}

/// The letters of `text` as the engine compares them: without case and accents.
pub fn letters(text: &str) -> Vec<char> {
    text.nfkd().filter(|letter| !is_combining_mark(*letter)).flat_map(char::to_lowercase).collect()
}

// === impl Marking ===

impl Marking {
    /// Of a search; `None` where nothing is marked, or marks do not depend on which words nodes know.
    pub fn of_search(info: &IndexInfo, body: &Map<String, Value>) -> Option<Self> {
        let marks = |name| body.get(name).and_then(Value::as_array).is_some_and(|names| !names.is_empty());
        let positions = body.get("showMatchesPosition").is_some_and(|shown| shown == true);
        if !(marks("attributesToHighlight") || positions) || !info.looks_up_beginnings || present(body, "hybrid") {
            return None;
        }
        let tag = |name, default| body.get(name).and_then(Value::as_str).unwrap_or(default);
        // What is cropped depends on what is marked.
        let highlighted = if marks("attributesToCrop") { None } else { names(body, "attributesToHighlight") };
        let rules = MarkRules {
            typos: &|letters| info.typos_of(letters),
            stop_words: &info.stop_words,
            tags: [tag("highlightPreTag", "<em>"), tag("highlightPostTag", "</em>")],
            splits_words_plainly: info.splits_words_plainly && !present(body, "locales"),
            highlighted: highlighted.unwrap_or_default().into_iter().map(str::to_owned).collect(),
        };
        Self::new(body.get("q")?.as_str()?, rules)
    }

    /// Of the words of `query`; `None` where its last word is not looked up as a beginning.
    pub fn new(query: &str, rules: MarkRules<'_>) -> Option<Self> {
        let is_letter = |letter: char| letter.is_alphanumeric() || is_combining_mark(letter);
        let start = query
            .rfind(|letter| !is_letter(letter))
            .map_or(0, |at| at + query[at..].chars().next().map_or(0, char::len_utf8));
        let (rest, last) = query.split_at(start);
        // A word that is excluded, or within a phrase.
        if last.is_empty() || rest.ends_with('-') || rest.matches('"').count() % 2 == 1 {
            return None;
        }
        let word = letters(last);
        let typos = (rules.typos)(word.len());
        let stop_words: Vec<Vec<char>> = rules.stop_words.iter().map(|word| letters(word)).collect();
        let [before, after] = rules.tags;
        if word.is_empty() || stop_words.contains(&word) || before.is_empty() || after.is_empty() {
            return None;
        }
        let mut others: Vec<Vec<char>> =
            rest.split(|letter| !is_letter(letter)).filter(|word| !word.is_empty()).map(letters).collect();
        // Neighbours are looked up as one word, too.
        let mut joined = word.clone();
        for other in others.clone().iter().rev().take(2) {
            joined = other.iter().copied().chain(joined).collect();
            others.push(joined.clone());
        }
        Some(Self {
            written: last.to_owned(),
            word,
            typos,
            others,
            stop_words,
            highlighted: rules.highlighted,
            splits_words_plainly: rules.splits_words_plainly,
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }
}
