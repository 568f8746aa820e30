//! Documents, right and wrong, and the bodies they are sent in.

use serde_json::{Map, Value, json};

use super::step::{Kind, Step};
use crate::support::random::Dice;

/// What the documents of a sequence have, so that right ones are right more often than not.
#[derive(Debug, Clone, Copy)]
pub struct Flavour {
    /// Documents give a vector to the embedder `own`.
    pub vectors: bool,
    pub places: bool,
}

/// The name and dimensions of the embedder that settings of a flavour with vectors have.
pub const EMBEDDER: &str = "own";

const WORDS: [&str; 6] = ["harbour", "clockwork", "meadow", "lantern", "orchestra", "glacier"];

/// Ids that the engine refuses, or that look as if it might.
const WRONG_IDS: [&str; 17] = [
    "null",
    "true",
    "1.5",
    "-1",
    "\"a b\"",
    "\"\"",
    "{}",
    "[]",
    "[1]",
    "1e3",
    "1e20",
    "18446744073709551615",
    "18446744073709551616",
    "\"é\"",
    "\"a/b\"",
    "\"-_-\"",
    "\" 1\"",
];

const WRONG_PLACES: [&str; 17] = [
    "\"here\"",
    "5",
    "true",
    "null",
    "[]",
    "[1,2]",
    "{}",
    r#"{"lat":1}"#,
    r#"{"lng":1}"#,
    r#"{"lat":"x","lng":1}"#,
    r#"{"lat":91,"lng":0}"#,
    r#"{"lat":0,"lng":181}"#,
    r#"{"lat":1,"lng":2,"alt":3}"#,
    r#"{"lat":null,"lng":null}"#,
    r#"{"lat":"1","lng":"2"}"#,
    r#"{"lat":[],"lng":1}"#,
    r#"{"lat":1,"lng":{}}"#,
];

const WRONG_VECTORS: [&str; 20] = [
    "5",
    "null",
    "\"x\"",
    "[1,2,3]",
    "{}",
    r#"{"own":"x"}"#,
    r#"{"other":1.5}"#,
    r#"{"own":true}"#,
    r#"{"own":{}}"#,
    r#"{"own":null}"#,
    r#"{"own":[1,2]}"#,
    r#"{"own":[1,2,3,4]}"#,
    r#"{"own":[[1,2,3],[1,2]]}"#,
    r#"{"own":[[]]}"#,
    r#"{"own":["a","b","c"]}"#,
    r#"{"own":{"regenerate":"no"}}"#,
    r#"{"own":{"embeddings":[1,2,3]}}"#,
    r#"{"own":{"regenerate":false}}"#,
    r#"{"own":{"regenerate":true}}"#,
    r#"{"unknown":[1,2]}"#,
];

/// Members as they are written, so that what JSON allows twice can be written twice.
type Members = Vec<(String, String)>;

fn text_of(members: &Members) -> String {
    let written: Vec<String> = members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("{{{}}}", written.join(","))
}

fn words(dice: &mut Dice) -> String {
    (0..=dice.roll(3)).map(|_| *dice.one(&WORDS)).collect::<Vec<_>>().join(" ")
}

/// The id of a document that may well be there.
pub fn id(dice: &mut Dice) -> Value {
    match dice.roll(8) {
        0 => json!(format!("a{}", dice.roll(4))),
        1 => json!(dice.roll(30).to_string()),
        _ => json!(dice.roll(30)),
    }
}

/// A document that no rule is against.
pub fn right(dice: &mut Dice, flavour: Flavour) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("id".to_owned(), id(dice));
    members.insert("n".to_owned(), dice.roll(7).into());
    if dice.roll(3) > 0 {
        members.insert("text".to_owned(), words(dice).into());
    }
    if dice.roll(3) == 0 {
        members.insert("tags".to_owned(), json!([*dice.one(&WORDS), dice.roll(4)]));
    }
    if dice.roll(6) == 0 {
        members.insert("deep".to_owned(), json!({"name": *dice.one(&WORDS), "list": [{"n": dice.roll(3)}]}));
    }
    if flavour.places && dice.roll(3) > 0 {
        members.insert("_geo".to_owned(), json!({"lat": dice.roll(90), "lng": dice.roll(180)}));
    }
    if flavour.vectors {
        let vector: Vec<usize> = (0..3).map(|_| 1 + dice.roll(9)).collect();
        members.insert("_vectors".to_owned(), json!({ EMBEDDER: vector }));
    }
    members
}

fn members_of(document: &Map<String, Value>) -> Members {
    document.iter().map(|(name, value)| (json!(name).to_string(), value.to_string())).collect()
}

/// Makes a document wrong in one way; some ways are wrong only under some settings.
fn spoil(dice: &mut Dice, document: &Map<String, Value>) -> String {
    let mut members = members_of(document);
    let replace = |members: &mut Members, name: &str, value: String| {
        let quoted = format!("\"{name}\"");
        members.retain(|(known, _)| *known != quoted);
        members.push((quoted, value));
    };
    match dice.roll(14) {
        0 => members.retain(|(name, _)| name != "\"id\""),
        1 | 2 => replace(&mut members, "id", (*dice.one(&WRONG_IDS)).to_owned()),
        3 => replace(&mut members, "id", json!("x".repeat(509 + dice.roll(5))).to_string()),
        4..=6 => replace(&mut members, "_geo", (*dice.one(&WRONG_PLACES)).to_owned()),
        7..=9 => replace(&mut members, "_vectors", (*dice.one(&WRONG_VECTORS)).to_owned()),
        10 => members.retain(|(name, _)| name != "\"_vectors\""),
        11 => members.push(("\"n\"".to_owned(), "7".to_owned())),
        12 => members.push(("\"\\u0069d\"".to_owned(), "77".to_owned())),
        _ => return (*dice.one(&["5", "\"x\"", "null", "[]", "{}", "[{\"id\":1}]"])).to_owned(),
    }
    text_of(&members)
}

/// The texts of the documents of one body.
fn documents(dice: &mut Dice, flavour: Flavour) -> Vec<String> {
    let many = [1, 2, 6, 12, 25][dice.roll(5)];
    let mut texts: Vec<String> = (0..many).map(|_| Value::Object(right(dice, flavour)).to_string()).collect();
    if dice.roll(5) == 0 {
        // The same document again, whole, changed, or with its id spelled in another way.
        let again = right(dice, flavour);
        let id = again["id"].as_str().map_or_else(|| again["id"].to_string(), str::to_owned);
        let mut other = members_of(&right(dice, flavour));
        other[0].1 = match dice.roll(3) {
            0 => json!(id).to_string(),
            1 => again["id"].to_string(),
            _ => format!("\"{}\"", id.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<String>()),
        };
        texts.push(Value::Object(again).to_string());
        texts.push(text_of(&other));
    }
    if dice.roll(2) == 0 {
        for _ in 0..=usize::from(dice.roll(6) == 0) {
            let at = dice.roll(texts.len());
            let document = right(dice, flavour);
            texts[at] = spoil(dice, &document);
        }
    }
    texts
}

/// Breaks the JSON of one document.
fn malform(dice: &mut Dice, texts: &mut [String]) {
    let at = dice.roll(texts.len());
    let text = &mut texts[at];
    match dice.roll(4) {
        0 => _ = text.pop(),
        1 => text.push('}'),
        2 => *text = text.replacen(':', " ", 1),
        _ => *text = text.replacen(',', ",,", 1),
    }
}

fn csv(dice: &mut Dice) -> String {
    let header = *dice.one(&["id,n:number,text", "id,text,n", "id,n,n", "text,n", "id:number,n", "id,b:boolean,text"]);
    let mut lines = vec![header.to_owned()];
    for _ in 0..=dice.roll(8) {
        lines.push(match dice.roll(12) {
            0 => "1,x,y".to_owned(),
            1 => "1,2".to_owned(),
            2 => ",3,meadow".to_owned(),
            3 => "a b,3,meadow".to_owned(),
            4 => "1,\"2,3".to_owned(),
            _ => format!("{},{},{}", dice.roll(30), dice.roll(7), words(dice)),
        });
    }
    lines.join("\n") + "\n"
}

/// Candidates for a primary key that the engine has to infer: none, one or several.
fn without_id(dice: &mut Dice) -> String {
    let names = *dice.one(&[&["name"][..], &["bookid", "n"], &["bookId", "userid"], &["uuid"], &["ID"], &[]]);
    let one = |at: usize| {
        let members: Members = names.iter().map(|name| (json!(name).to_string(), at.to_string())).collect();
        text_of(&members)
    };
    let count = 1 + dice.roll(3);
    format!("[{}]", (0..count).map(one).collect::<Vec<_>>().join(","))
}

/// An addition of documents.
pub fn addition(dice: &mut Dice, flavour: Flavour, index: &str) -> Step {
    let method = if dice.roll(3) == 0 { "PUT" } else { "POST" };
    let mut path = format!("/indexes/{index}/documents");
    let parameter = [
        "primaryKey=id",
        "primaryKey=id",
        "primaryKey=n",
        "primaryKey=none",
        "primaryKey=a%20b",
        "primaryKey=",
        "nope=1",
        "csvDelimiter=%3B",
        "csvDelimiter=ab",
        "skipCreation=true",
    ];
    if dice.roll(6) == 0 {
        path = format!("{path}?{}", dice.one(&parameter));
    }
    let json_type = Some("application/json");
    let (content_type, body) = match dice.roll(24) {
        0 => (json_type, without_id(dice)),
        1 | 2 => (Some("text/csv"), csv(dice)),
        3 => (
            json_type,
            (*dice.one(&["", "[", "[]", "{}", "null", "\"x\"", "[[]]", "[{}]", "[1]", "\u{feff}[]"])).to_owned(),
        ),
        4 => (Some("text/plain"), documents(dice, flavour).join(",")),
        5 => (json_type, documents(dice, flavour).remove(0)),
        n => {
            let mut texts = documents(dice, flavour);
            if dice.roll(10) == 0 {
                malform(dice, &mut texts);
            }
            match n {
                6..=9 => (Some("application/x-ndjson"), texts.join("\n") + "\n"),
                _ => (json_type, format!("[{}]", texts.join(","))),
            }
        }
    };
    Step::of(Kind::AddDocuments, method, &path, content_type, body)
}

/// Right documents alone, for a sequence to have something to begin with.
pub fn begin(dice: &mut Dice, flavour: Flavour, index: &str) -> Step {
    let texts: Vec<Value> = (0..8 + dice.roll(20)).map(|_| Value::Object(right(dice, flavour))).collect();
    Step::json(Kind::AddDocuments, "POST", &format!("/indexes/{index}/documents"), Value::from(texts))
}
