//! The reader against `serde_json`: what one takes the other takes, and both find the same in it.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::hit::Hit;
use super::raw::{Members, elements};
use crate::plan::shown::Shown;
use crate::split::scanner::{Scanner, number, string};

/// A member as a reader may see it: name and text of the value.
type Seen = Vec<(String, String)>;

/// The members of an object by `serde_json`, in their order.
struct InOrder(Seen);

impl<'de> serde::Deserialize<'de> for InOrder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = InOrder;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut seen = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    seen.push((name, map.next_value::<&RawValue>()?.get().to_owned()));
                }
                Ok(InOrder(seen))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

fn by_serde(bytes: &[u8]) -> Option<Seen> {
    serde_json::from_slice::<InOrder>(bytes).ok().map(|members| members.0)
}

fn by_scanner(bytes: &[u8]) -> Option<Seen> {
    let members = Members::of_bytes(bytes).ok()?;
    Some(members.0.into_iter().map(|(name, value)| (name.into_owned(), value.get().to_owned())).collect())
}

fn scanned(text: &str) -> Option<String> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value().ok()?.to_owned();
    scanner.end().ok()?;
    Some(value)
}

fn taken(text: &str) -> Option<String> {
    serde_json::from_str::<&RawValue>(text).ok().map(|raw| raw.get().to_owned())
}

/// Bytes that mean something to a reader of JSON, and some that do not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\\"",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud800",
        "\\uD8",
        "\\x",
        "\\/",
        " ",
        "\n",
        "\t",
        "\r",
        "\u{0}",
        "\u{1f}",
        "\u{7f}",
        "\u{a0}",
        "é",
        "日本",
        "😀",
        "0",
        "-0",
        "-",
        "01",
        "1.5",
        "1.",
        ".5",
        "1e5",
        "1E+05",
        "1e",
        "-1.25e-3",
        "1e400",
        "18446744073709551616",
        "true",
        "tru",
        "false",
        "null",
        "nul",
        "\"a\":1",
        "\"_miroir_shard\":\"{\",",
        "\"_rankingScore\":1.0",
        "\"hits\":[",
        "eight bytes",
        "_formatted",
    ];
    prop_oneof![
        12 => proptest::sample::select(pieces.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
    ]
}

fn text_of(strings: &'static str) -> impl Strategy<Value = String> {
    strings.prop_map(|text| serde_json::to_string(&text).unwrap())
}

/// JSON in all its forms: escapes, white space, numbers however they are written, names that come twice.
fn json() -> impl Strategy<Value = String> {
    let numbers = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?";
    let escaped = "\"([a-z]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-cA-C][0-9a-f]{3}|é|日|😀){0,12}\"";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        numbers,
        escaped,
        text_of(".{0,40}"),
    ];
    let space = || proptest::sample::select(vec!["", "", "", " ", "\n\t", "\r\n  "]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let spaced = (space(), inner, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let name = prop_oneof![
            3 => "\"[a-c]\"",
            1 => text_of(".{0,12}"),
            1 => proptest::sample::select(vec![
                "\"_miroir_shard\"".to_owned(), "\"_miroir_written\"".to_owned(), "\"\\u005fmiroir_x\"".to_owned(),
                "\"_rankingScore\"".to_owned(), "\"_rankingScoreDetails\"".to_owned(), "\"_formatted\"".to_owned(),
            ]),
        ];
        let member = (space(), name, space(), spaced.clone())
            .prop_map(|(before, name, after, value)| format!("{before}{name}{after}:{value}"));
        prop_oneof![
            (space(), proptest::collection::vec(spaced, 0..6))
                .prop_map(|(space, items)| format!("[{space}{}]", items.join(","))),
            (space(), proptest::collection::vec(member, 0..8))
                .prop_map(|(space, members)| format!("{{{space}{}}}", members.join(","))),
        ]
    })
}

/// What is left of an object without Miroir's members and scores, by `serde_json`.
fn bare(text: &str) -> Value {
    let kept = by_serde(text.as_bytes()).unwrap().into_iter().filter(|(name, _)| {
        !name.starts_with("_miroir") && !["_rankingScore", "_rankingScoreDetails"].contains(&name.as_str())
    });
    kept.map(|(name, value)| Value::from(vec![name, compact(&value)])).collect()
}

/// `text` without white space between its tokens, and with one spelling of each value.
fn compact(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect()
}

proptest! {
    #[test]
    fn valid_json_is_read_as_serde_reads_it(text in json()) {
        prop_assert_eq!(scanned(&text), taken(&text));
        prop_assert_eq!(by_scanner(text.as_bytes()), by_serde(text.as_bytes()));
        let items = serde_json::from_str::<Vec<&RawValue>>(&text).ok();
        let items = items.map(|items| items.into_iter().map(RawValue::get).collect::<Vec<_>>());
        prop_assert_eq!(elements(&text).ok().map(|items| items.iter().map(|item| item.get()).collect::<Vec<_>>()), items);
    }

    #[test]
    fn json_that_breaks_off_is_an_error(text in json(), at in any::<proptest::sample::Index>()) {
        let cut = &text.as_bytes()[..at.index(text.len() + 1)];
        prop_assert_eq!(by_scanner(cut), by_serde(cut));
        let Ok(cut) = std::str::from_utf8(cut) else { return Ok(()) };
        prop_assert_eq!(scanned(cut), taken(cut));
    }

    #[test]
    fn what_serde_refuses_is_refused(pieces in proptest::collection::vec(piece(), 0..24)) {
        let bytes = pieces.concat();
        prop_assert_eq!(by_scanner(&bytes), by_serde(&bytes));
        let inside = [b"{\"a\":".as_slice(), &bytes, b"}"].concat();
        prop_assert_eq!(by_scanner(&inside), by_serde(&inside));
        let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(()) };
        prop_assert_eq!(scanned(text), taken(text));
    }

    #[test]
    fn numbers_and_texts_are_those_of_serde(text in json()) {
        if let Ok(expected) = serde_json::from_str::<f64>(&text) {
            let read = number(text.trim()).flatten().unwrap();
            // serde_json may be off in the last digit.
            prop_assert!((read - expected).abs() <= expected.abs() * f64::EPSILON, "{} {}", read, expected);
        }
        prop_assert_eq!(string(text.trim()).map(|text| text.into_owned()), serde_json::from_str::<String>(&text).ok());
    }

    #[test]
    fn a_hit_without_what_is_not_the_clients_is_what_is_left(text in json()) {
        let Ok(hit) = Hit::parse(&text) else { panic!("{text} is JSON") };
        let mut out = Vec::new();
        if !hit.write_bare(&mut out) {
            return Ok(());
        }
        let written = String::from_utf8(out).unwrap();
        prop_assert_eq!(bare(&written), bare(&text));
        prop_assert!(!by_serde(written.as_bytes()).unwrap().iter().any(|(name, _)| name.starts_with("_miroir")));
        // The other way of writing a hit says the same.
        let mut out = Vec::new();
        super::strip::hit(&text, &Shown::default(), None, &mut out).unwrap();
        prop_assert_eq!(bare(std::str::from_utf8(&out).unwrap()), bare(&written));
    }
}

#[test]
fn what_is_nested_without_end_is_no_matter() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(scanned(&deep), Some(deep.clone()));
    assert_eq!(scanned(&deep[..150_000]), None);
    let objects = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    assert_eq!(scanned(&objects), Some(objects.clone()));
}

#[test]
fn a_string_ends_at_its_quote_wherever_that_stands() {
    for before in 0..20 {
        for after in 0..20 {
            let plain = format!("\"{}\"", "a".repeat(before));
            let text = format!("{plain}{}", " ".repeat(after));
            assert_eq!(scanned(&text), Some(plain));
            let control = format!("\"{}\u{1}{}\"", "a".repeat(before), "b".repeat(after));
            assert_eq!(scanned(&control), None);
        }
    }
}
