//! Searches and reads of documents: right, wrong, heavy and huge.

use serde_json::{Value, json};

use super::step::{Kind, Step};
use crate::support::random::Dice;

const SEARCHES: [&str; 34] = [
    "{}",
    r#"{"q":"harbour"}"#,
    r#"{"q":"meadow lantern","matchingStrategy":"all"}"#,
    r#"{"q":"glac","limit":100}"#,
    r#"{"filter":"n > 2","limit":100}"#,
    r#"{"filter":"id IN [1, 2, 3, a1]"}"#,
    r#"{"sort":["n:asc"],"limit":100}"#,
    r#"{"facets":["n"],"limit":100}"#,
    r#"{"page":1,"hitsPerPage":100}"#,
    r#"{"filter":"n = "}"#,
    r#"{"filter":"n = 1 AND"}"#,
    r#"{"filter":"absent = 1"}"#,
    r#"{"filter":{"n":1}}"#,
    r#"{"filter":[[["n = 1"]]]}"#,
    r#"{"filter":"_geoRadius(0, 0, 9000000)","limit":100}"#,
    r#"{"filter":"_geoRadius(900, 0, 1)"}"#,
    r#"{"filter":"_geoBoundingBox([0, 0], [1, 1])"}"#,
    r#"{"sort":["absent:asc"]}"#,
    r#"{"sort":["n"]}"#,
    r#"{"sort":["_geoPoint(0, 0):asc"]}"#,
    r#"{"sort":"n:asc"}"#,
    r#"{"facets":["absent"]}"#,
    r#"{"distinct":"absent"}"#,
    r#"{"attributesToSearchOn":["absent"]}"#,
    r#"{"q":"harbour","attributesToSearchOn":["text"]}"#,
    r#"{"q":5}"#,
    r#"{"limit":-1}"#,
    r#"{"nope":1}"#,
    r#"{"matchingStrategy":"some"}"#,
    r#"{"rankingScoreThreshold":2}"#,
    r#"{"hybrid":{"embedder":"absent"},"q":"x"}"#,
    r#"{"hybrid":{"embedder":"own"},"vector":[1,2]}"#,
    r#"{"vector":[1,2,3]}"#,
    r#"{"q":"#,
];

/// Paths below `/indexes/{index}/documents` and bodies.
const READS: [(&str, &str, &str); 14] = [
    ("GET", "?limit=1000", ""),
    ("GET", "?limit=-1", ""),
    ("GET", "?nope=1", ""),
    ("GET", "?limit=1000&fields=id,n", ""),
    ("GET", "?filter=n%20%3D", ""),
    ("GET", "?ids=1,2,nobody&limit=100", ""),
    ("GET", "/3", ""),
    ("GET", "/nobody", ""),
    ("GET", "/a%20b", ""),
    ("POST", "/fetch", r#"{"filter":"n = 1","limit":1000}"#),
    ("POST", "/fetch", r#"{"filter":"absent = 1"}"#),
    ("POST", "/fetch", r#"{"limit":"x"}"#),
    ("POST", "/fetch", r#"{"ids":[1,"a b"]}"#),
    ("POST", "/fetch", r#"{"sort":["absent:asc"]}"#),
];

fn search(kind: Kind, index: &str, body: impl ToString) -> Step {
    Step::json(kind, "POST", &format!("/indexes/{index}/search"), body)
}

/// A filter that costs a node much more than an ordinary one; some are more than it takes.
fn heavy(dice: &mut Dice) -> Value {
    let filter = match dice.roll(4) {
        0 => (0..100 + dice.roll(500)).map(|n| format!("n = {n}")).collect::<Vec<_>>().join(" OR "),
        1 => {
            let values: Vec<String> = (0..2000 + dice.roll(4000)).map(|n| n.to_string()).collect();
            format!("id IN [{}]", values.join(", "))
        }
        2 => vec!["n = 1"; 2100].join(" AND "),
        _ => format!("{}n = 1{}", "(".repeat(60), ")".repeat(60)),
    };
    json!({"filter": filter, "limit": 100})
}

fn huge(dice: &mut Dice) -> Value {
    match dice.roll(6) {
        0 => json!({"limit": 100_000}),
        1 => json!({"limit": 20, "offset": 1_000_000}),
        2 => json!({"offset": u64::MAX, "limit": u64::MAX}),
        3 => json!({"page": 100_000, "hitsPerPage": 20}),
        4 => json!({"hitsPerPage": 100_000}),
        _ => json!({"q": "harbour", "limit": 100_000, "attributesToCrop": ["*"], "showMatchesPosition": true}),
    }
}

pub fn read(dice: &mut Dice, index: &str) -> Step {
    match dice.roll(12) {
        0 => search(Kind::HeavySearch, index, heavy(dice)),
        1 => search(Kind::HugePage, index, huge(dice)),
        2 => {
            let limit = *dice.one(&["100000", "18446744073709551615", "18446744073709551616"]);
            let path = format!("/indexes/{index}/documents?limit={limit}&offset={}", dice.one(&["0", "0", "100000"]));
            Step::bare(Kind::HugePage, "GET", &path)
        }
        3..=5 => {
            let (method, rest, body) = *dice.one(&READS);
            let path = format!("/indexes/{index}/documents{rest}");
            match body {
                "" => Step::bare(Kind::ReadDocuments, method, &path),
                body => Step::json(Kind::ReadDocuments, method, &path, body),
            }
        }
        _ => search(Kind::Search, index, *dice.one(&SEARCHES)),
    }
}
