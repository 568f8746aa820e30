//! The words of a document, as far as they can be told without the engine's tokenizer: what stands between separators. What
//! the engine splits further it splits in the same way in a document of words, so it comes to the same words.

use std::borrow::Cow;

use super::document::{Document, RESERVED_PREFIX};
use super::texts::texts;
use crate::placement::stable_hash::hash_bytes;
use crate::placement::vocabulary::WORDS_FIELD;

/// What else the engine takes for a separator wherever it stands, unless a setting says otherwise. There are more: a word with one
/// of those is split by the engine.
const SEPARATORS: &[char] = &[
    '«', '»', '‘', '’', '“', '”', '„', '‚', '–', '—', '…', '¡', '¿', '·', '、', '。', '，', '！', '？', '（', '）',
    '「', '」',
];
/// The engine leaves out what is longer, in bytes.
const LONGEST: usize = 250;
/// Vectors are no text.
const VECTORS: &str = "_vectors";

/// Which attributes have words, and where these are kept; a part of an index's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WordRules {
    /// `None` when every attribute is searchable.
    pub searchable: Option<Vec<String>>,
    /// Attributes whose words allow no typos.
    pub exact: Vec<String>,
    /// True if attributes have languages of their own.
    pub localized: bool,
    /// What is no separator in this index, though it is one to the engine.
    pub joined: Vec<char>,
    /// True if documents are sent to embedders, or must bring vectors.
    pub embeds: bool,
}

/// Where the words of an attribute are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home<'a> {
    /// The field of a document of words.
    pub field: Cow<'a, str>,
    /// Words of one class are kept once.
    pub class: u64,
}

// === impl WordRules ===

impl WordRules {
    /// Where the words of `attribute` are kept; `None` if it is not searched.
    pub fn home<'a>(&self, attribute: &'a str, primary_key: &str) -> Option<Home<'a>> {
        if let Some(searchable) = &self.searchable
            && !searchable.iter().any(|name| covers(name, attribute))
        {
            return None;
        }
        let class = self.class(attribute);
        let own = self.searchable.is_some() || class != 0;
        // An id cannot hold the words of others, and a point must be one.
        let taken = attribute == primary_key || attribute.starts_with("_geo");
        match (own, taken) {
            (false, _) => Some(Home { field: Cow::Borrowed(WORDS_FIELD), class }),
            (true, false) => Some(Home { field: Cow::Borrowed(attribute), class }),
            (true, true) => {
                let other = self
                    .searchable
                    .iter()
                    .flatten()
                    .find(|name| *name != primary_key && !name.starts_with("_geo") && self.class(name) == class)?;
                Some(Home { field: Cow::Owned(other.clone()), class })
            }
        }
    }

    /// Words of attributes of one class are looked up alike.
    pub fn class(&self, attribute: &str) -> u64 {
        if attribute == WORDS_FIELD {
            return 0;
        }
        let exact = u64::from(self.exact.iter().any(|name| covers(name, attribute)));
        if self.localized { hash_bytes(attribute.as_bytes()) << 1 | exact } else { exact }
    }

    /// Hands over every text of `document` that has words, with the attribute that it stands in.
    pub fn texts_of(&self, document: &Document<'_>, on_text: &mut impl FnMut(&str, &str)) {
        let mut path = String::new();
        for (key, value) in document.fields() {
            if key != VECTORS && !key.starts_with(RESERVED_PREFIX) {
                path.clear();
                path.push_str(key);
                texts(value.get(), &mut path, on_text);
            }
        }
    }

    /// Hands over the words of `text`.
    pub fn split(&self, text: &str, on_word: &mut impl FnMut(&str)) {
        let mut from = 0;
        let mut is_folded = true;
        let mut at = 0;
        while let Some(byte) = text.as_bytes().get(at) {
            let kind = KINDS[usize::from(*byte)];
            let (separates, length) = match kind {
                Kind::Folded | Kind::Letter => (false, 1),
                Kind::Unlike => {
                    let Some(letter) = text[at..].chars().next() else { break };
                    (separates(letter) && !self.joined.contains(&letter), letter.len_utf8())
                }
            };
            if separates {
                hand_over(&text[from..at], is_folded, on_word);
                from = at + length;
                is_folded = true;
            } else {
                is_folded &= matches!(kind, Kind::Folded);
            }
            at += length;
        }
        hand_over(&text[from..], is_folded, on_word);
    }
}

fn hand_over(word: &str, is_folded: bool, on_word: &mut impl FnMut(&str)) {
    if word.is_empty() || word.len() > LONGEST {
        return;
    }
    if is_folded {
        return on_word(word);
    }
    // Most words with capitals are short and of one byte a letter: these cost no allocation.
    let mut small = [0; 32];
    match small.get_mut(..word.len()).filter(|_| folds_plainly(word)) {
        Some(small) => {
            small.copy_from_slice(word.as_bytes());
            small.make_ascii_lowercase();
            on_word(std::str::from_utf8(small).unwrap_or(word));
        }
        None => on_word(&folded(word)),
    }
}

/// True for a word of one byte a letter without a capital behind a small one: nothing is split there.
fn folds_plainly(word: &str) -> bool {
    let bytes = word.as_bytes();
    word.is_ascii() && !bytes.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
}

/// What a byte of a text tells of its word. Every letter of every document is looked at, so most are told by a table.
#[derive(Clone, Copy)]
enum Kind {
    /// A small letter or a digit: as it is kept.
    Folded,
    /// Another letter.
    Letter,
    /// A separator, as a rule; or the first byte of a letter of several.
    Unlike,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Unlike; 256];
    let mut byte = 0;
    while byte < 128 {
        let letter = byte as u8;
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
            kinds[byte] = Kind::Folded;
        } else if letter.is_ascii_uppercase() {
            kinds[byte] = Kind::Letter;
        }
        byte += 1;
    }
    kinds
};

fn separates(c: char) -> bool {
    match c {
        ' ' | '_' | '-' | '(' | ')' | '[' | ']' | '{' | '}' | '!' | '"' | '#' | '%' | '&' | '\'' | '*' | ',' | '.'
        | '/' | ':' | ';' | '?' | '@' | '\\' | '`' => true,
        _ => c.is_whitespace() || (!c.is_ascii() && SEPARATORS.contains(&c)),
    }
}

/// In lower case, as the engine has it, unless it would split the word where a small letter meets a capital.
fn folded(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Cow::Borrowed(word);
    }
    let mut small = false;
    for letter in word.chars() {
        if small && letter.is_uppercase() {
            return Cow::Borrowed(word);
        }
        small = letter.is_lowercase();
    }
    Cow::Owned(word.to_lowercase())
}

/// True if `attribute` is the one called `name`, or lies inside it.
fn covers(name: &str, attribute: &str) -> bool {
    attribute.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(rules: &WordRules, document: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        rules.texts_of(&Document::parse(document).unwrap(), &mut |path, text| {
            rules.split(text, &mut |word| found.push((path.to_owned(), word.to_owned())));
        });
        found
    }

    fn of(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        WordRules::default().split(text, &mut |word| found.push(word.to_owned()));
        found
    }

    #[test]
    fn words_stand_between_separators() {
        assert_eq!(of("L'Aquila, (near) Saint-Malo."), ["l", "aquila", "near", "saint", "malo"]);
        assert_eq!(of("ÉCOLE Straße"), ["école", "straße"]);
        assert_eq!(of("McDonald iPhone USA"), ["McDonald", "iPhone", "usa"], "the engine splits the first two");
        assert_eq!(of("a<b c$d ☀x"), ["a<b", "c$d", "☀x"], "what may be no separator is left to the engine");
        assert_eq!(of(&"x".repeat(251)), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn words_are_cut_where_letters_separate(text in "[a-cA-C0-1éÉß 。，—.$<_'\\-\u{a0}\u{10400}]{0,40}", joined in "[-._é]{0,2}") {
            let rules = WordRules { joined: joined.chars().collect(), ..WordRules::default() };
            let mut found = Vec::new();
            rules.split(&text, &mut |word| found.push(word.to_owned()));
            let words = text.split(|c: char| separates(c) && !rules.joined.contains(&c)).filter(|word| !word.is_empty());
            let expected: Vec<String> = words.map(|word| folded(word).into_owned()).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_a_setting_joins_stays_together() {
        let rules = WordRules { joined: vec!['-'], ..WordRules::default() };
        let mut found = Vec::new();
        rules.split("rock-n-roll band", &mut |word| found.push(word.to_owned()));
        assert_eq!(found, ["rock-n-roll", "band"]);
    }

    #[test]
    fn every_value_has_words_but_vectors_and_hidden_fields() {
        let document = r#"{"id": 7, "t": "a \u0062", "o": {"p": [1.5, true, null, {"q": "x"}]}, "_vectors": {"e": [1]},
            "_miroir_shard": "}"}"#;
        let expected =
            [("id", "7"), ("t", "a"), ("t", "b"), ("o.p", "1"), ("o.p", "5"), ("o.p", "true"), ("o.p.q", "x")];
        assert_eq!(
            words(&WordRules::default(), document),
            expected.map(|(path, word)| (path.to_owned(), word.to_owned()))
        );
    }

    #[test]
    fn words_live_where_settings_treat_them_alike() {
        let home = |rules: &WordRules, attribute: &str| {
            rules.home(attribute, "id").map(|home| (home.field.into_owned(), home.class))
        };
        let all = WordRules { exact: vec!["code".into()], ..WordRules::default() };
        assert_eq!(home(&all, "title"), Some((WORDS_FIELD.into(), 0)));
        assert_eq!(home(&all, "id"), Some((WORDS_FIELD.into(), 0)));
        assert_eq!(home(&all, "_geo.lat"), Some((WORDS_FIELD.into(), 0)));
        assert_eq!(home(&all, "code"), Some(("code".into(), 1)));
        let some =
            WordRules { searchable: Some(vec!["id".into(), "title".into(), "o".into()]), ..WordRules::default() };
        assert_eq!(home(&some, "title"), Some(("title".into(), 0)));
        assert_eq!(home(&some, "o.p"), Some(("o.p".into(), 0)));
        assert_eq!(home(&some, "other"), None);
        assert_eq!(home(&some, "id"), Some(("title".into(), 0)), "an id must be one");
        let only = WordRules { searchable: Some(vec!["id".into()]), ..WordRules::default() };
        assert_eq!(home(&only, "id"), None);
        let localized = WordRules { localized: true, ..WordRules::default() };
        assert!(
            localized.class("a") != localized.class("b") && home(&localized, "a").is_some_and(|home| home.0 == "a")
        );
    }
}
