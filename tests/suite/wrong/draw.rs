//! Sequences of right and wrong requests, drawn from a seed.

use serde_json::{Value, json};

use super::draw_documents::{self, EMBEDDER, Flavour};
use super::draw_reads;
use super::step::{Kind, Sequence, Step};
use crate::support::random::Dice;

/// The sequence with this number in the run of a seed; the same wherever and whenever it is drawn.
pub fn sequence(seed: u64, number: u64) -> Sequence {
    let mut dice = Dice::new(seed).branch(number);
    let flavour = Flavour { vectors: dice.roll(3) == 0, places: dice.roll(3) == 0 };
    let mut steps = Vec::new();
    if dice.roll(3) > 0 {
        steps.push(Step::json(Kind::Settings, "PATCH", "/indexes/$A/settings", usual_settings(flavour)));
    }
    if dice.roll(3) > 0 {
        steps.push(draw_documents::begin(&mut dice, flavour, "$A"));
    }
    for _ in 0..3 + dice.roll(6) {
        steps.push(step(&mut dice, flavour));
    }
    Sequence { steps }
}

fn usual_settings(flavour: Flavour) -> Value {
    let mut settings = json!({"filterableAttributes": ["id", "n", "tags"], "sortableAttributes": ["n"]});
    if flavour.vectors {
        settings["embedders"] = embedder(3);
    }
    if flavour.places {
        settings["filterableAttributes"] = json!(["id", "n", "tags", "_geo"]);
    }
    settings
}

fn embedder(dimensions: u32) -> Value {
    json!({ EMBEDDER: {"source": "userProvided", "dimensions": dimensions} })
}

fn step(dice: &mut Dice, flavour: Flavour) -> Step {
    let index = if dice.roll(5) == 0 { "$B" } else { "$A" };
    match dice.roll(20) {
        0..=7 => draw_documents::addition(dice, flavour, index),
        8..=10 => settings(dice, index),
        11 | 12 => edit(dice, index),
        13 | 14 => deletion(dice, index),
        15 => index_operation(dice, index),
        _ => draw_reads::read(dice, index),
    }
}

/// Changes that succeed on any documents, and some that only some documents forbid.
fn patch(dice: &mut Dice) -> Value {
    match dice.roll(22) {
        0 => json!({"sortableAttributes": ["_geo", "n"]}),
        1 => json!({"filterableAttributes": ["_geo", "n", "id"]}),
        2 => json!({"embedders": embedder(3)}),
        3 => json!({"embedders": embedder(4)}),
        4 => json!({"embedders": {"second": {"source": "userProvided", "dimensions": 2}}}),
        5 => json!({"embedders": {EMBEDDER: null}}),
        6 => json!({"searchableAttributes": ["text"], "stopWords": ["of", "the"]}),
        7 => json!({"displayedAttributes": ["id", "text"]}),
        8 => json!({"rankingRules": ["words", "n:asc"]}),
        9 => json!({"filterableAttributes": ["text", "n"], "sortableAttributes": ["text"]}),
        10 => json!({"distinctAttribute": "n"}),
        11 => json!({"synonyms": {"meadow": ["glacier"]}, "pagination": {"maxTotalHits": 5}}),
        12 => json!({"sortableAttributes": ["_geo"], "stopWords": 5}),
        13 => json!({"filterableAttributes": null, "sortableAttributes": null}),
        14 => json!({"typoTolerance": {"enabled": false, "disableOnWords": ["lantern"]}}),
        15 => json!({"filterableAttributes": [{"attributePatterns": ["*"]}]}),
        16 => json!({"localizedAttributes": [{"locales": ["eng"], "attributePatterns": ["text"]}]}),
        17 => json!({"proximityPrecision": "byAttribute", "searchCutoffMs": 1500}),
        18 => json!({"faceting": {"maxValuesPerFacet": 3, "sortFacetValuesBy": {"*": "count"}}}),
        19 => json!({"dictionary": ["J. R. R."], "separatorTokens": ["@"], "nonSeparatorTokens": ["#"]}),
        20 => json!({"prefixSearch": "disabled", "facetSearch": false}),
        _ => json!({}),
    }
}

/// Settings that the engine refuses whatever the documents.
const WRONG_SETTINGS: [&str; 34] = [
    r#"{"nope":1}"#,
    r#"{"stopWords":5}"#,
    r#"{"stopWords":[5]}"#,
    r#"{"rankingRules":["nope"]}"#,
    r#"{"rankingRules":"words"}"#,
    r#"{"rankingRules":["n:up"]}"#,
    r#"{"displayedAttributes":5}"#,
    r#"{"searchableAttributes":"text"}"#,
    r#"{"sortableAttributes":[5]}"#,
    r#"{"filterableAttributes":[{"nope":1}]}"#,
    r#"{"distinctAttribute":5}"#,
    r#"{"synonyms":{"a":"b"}}"#,
    r#"{"synonyms":[]}"#,
    r#"{"proximityPrecision":"near"}"#,
    r#"{"searchCutoffMs":-1}"#,
    r#"{"typoTolerance":{"minWordSizeForTypos":{"oneTypo":9,"twoTypos":3}}}"#,
    r#"{"typoTolerance":{"nope":1}}"#,
    r#"{"faceting":{"maxValuesPerFacet":-1}}"#,
    r#"{"faceting":{"sortFacetValuesBy":{"*":"size"}}}"#,
    r#"{"pagination":{"maxTotalHits":"x"}}"#,
    r#"{"embedders":{"own":{"source":"nope"}}}"#,
    r#"{"embedders":{"own":{"source":"userProvided"}}}"#,
    r#"{"embedders":{"own":{"source":"userProvided","dimensions":0}}}"#,
    r#"{"embedders":{"own":{"source":"userProvided","dimensions":3,"model":"x"}}}"#,
    r#"{"embedders":5}"#,
    r#"{"localizedAttributes":[{"locales":["xyz"],"attributePatterns":["*"]}]}"#,
    r#"{"nonSeparatorTokens":[1]}"#,
    r#"{"dictionary":"x"}"#,
    r#"{"facetSearch":"yes"}"#,
    r#"{"prefixSearch":"some"}"#,
    r#"{"stopWords":["a"],"nope":1}"#,
    "[]",
    "{",
    "",
];

/// Routes of single settings with bodies of which some fit.
const SINGLE_SETTINGS: [(&str, &str, &str); 17] = [
    ("PUT", "stop-words", r#"["of"]"#),
    ("PUT", "stop-words", r#"{"a":1}"#),
    ("PUT", "sortable-attributes", r#"["_geo"]"#),
    ("PUT", "sortable-attributes", "5"),
    ("PUT", "filterable-attributes", r#"["_geo","n"]"#),
    ("PUT", "filterable-attributes", r#"["n",5]"#),
    ("PUT", "ranking-rules", r#"["words","nope"]"#),
    ("PUT", "ranking-rules", r#"["words","typo"]"#),
    ("PUT", "distinct-attribute", r#""n""#),
    ("PUT", "distinct-attribute", "[]"),
    ("PATCH", "embedders", r#"{"own":{"source":"userProvided","dimensions":4}}"#),
    ("PATCH", "embedders", r#"{"own":{"source":"userProvided","dimensions":"x"}}"#),
    ("DELETE", "embedders", ""),
    ("DELETE", "sortable-attributes", ""),
    ("DELETE", "filterable-attributes", ""),
    ("PUT", "nope", "[]"),
    ("PATCH", "typo-tolerance", r#"{"minWordSizeForTypos":{"oneTypo":9}}"#),
];

fn settings(dice: &mut Dice, index: &str) -> Step {
    let path = format!("/indexes/{index}/settings");
    match dice.roll(12) {
        0..=5 => Step::json(Kind::Settings, "PATCH", &path, patch(dice)),
        6..=8 => Step::json(Kind::Settings, "PATCH", &path, *dice.one(&WRONG_SETTINGS)),
        9 => Step::bare(Kind::Settings, "DELETE", &path),
        _ => {
            let (method, name, body) = *dice.one(&SINGLE_SETTINGS);
            let path = format!("{path}/{name}");
            if body.is_empty() {
                Step::bare(Kind::Settings, method, &path)
            } else {
                Step::json(Kind::Settings, method, &path, body)
            }
        }
    }
}

const EDITS: [&str; 24] = [
    r#"{"function":"doc.n = doc.n + 1"}"#,
    r#"{"function":"doc.seen = true"}"#,
    r#"{"function":"doc.n = context.by","context":{"by":5}}"#,
    r#"{"function":"doc.seen = true","filter":"n = 1"}"#,
    r#"{"function":"doc.remove(\"text\")"}"#,
    r#"{"function":"doc = ()","filter":"n = 2"}"#,
    r#"{"function":"throw \"no\""}"#,
    r#"{"function":"if doc.id == 3 { throw \"three\" }; doc.seen = 3"}"#,
    r#"{"function":"if doc.n == 3 { doc.id = 900 } else { doc.seen = 4 }"}"#,
    r#"{"function":"doc.id = 3"}"#,
    r#"{"function":"doc.seen = doc.text.len() + nothing"}"#,
    r#"{"function":"doc._vectors = 5"}"#,
    r#"{"function":"if doc.n == 4 { doc._geo = \"here\" }"}"#,
    r#"{"function":"doc = 5"}"#,
    r#"{"function":"doc.n = ;"}"#,
    r#"{"function":5}"#,
    r#"{"function":""}"#,
    r#"{}"#,
    r#"{"function":"doc.n = 1","filter":"n ="}"#,
    r#"{"function":"doc.n = 1","filter":"absent = 1"}"#,
    r#"{"function":"doc.n = 1","filter":[]}"#,
    r#"{"function":"doc.n = 1","context":5}"#,
    r#"{"function":"doc.n = 1","nope":1}"#,
    r#"{"function":"doc.n""#,
];

fn edit(dice: &mut Dice, index: &str) -> Step {
    Step::json(Kind::Edit, "POST", &format!("/indexes/{index}/documents/edit"), *dice.one(&EDITS))
}

/// Below `/indexes/{index}/documents`.
const DELETIONS: [(&str, &str, &str); 29] = [
    ("DELETE", "", ""),
    ("DELETE", "", ""),
    ("DELETE", "", ""),
    ("DELETE", "/3", ""),
    ("DELETE", "/nobody", ""),
    ("DELETE", "/a%20b", ""),
    ("DELETE", "/1.5", ""),
    ("DELETE", "/3?nope=1", ""),
    ("POST", "/delete-batch", r#"[1,"2",3,3]"#),
    ("POST", "/delete-batch", r#"[1,"nobody"]"#),
    ("POST", "/delete-batch", r#"[1,"a b"]"#),
    ("POST", "/delete-batch", r#"[1,1.5]"#),
    ("POST", "/delete-batch", r#"[1,null]"#),
    ("POST", "/delete-batch", r#"[1,{"id":2}]"#),
    ("POST", "/delete-batch", "[]"),
    ("POST", "/delete-batch", "{}"),
    ("POST", "/delete-batch", "[1,"),
    ("POST", "/delete", r#"{"filter":"n = 1"}"#),
    ("POST", "/delete", r#"{"filter":["n = 1","n = 1"]}"#),
    ("POST", "/delete", r#"{"filter":"n >= 0"}"#),
    ("POST", "/delete", r#"{"filter":"n = "}"#),
    ("POST", "/delete", r#"{"filter":"absent = 1"}"#),
    ("POST", "/delete", r#"{"filter":""}"#),
    ("POST", "/delete", r#"{"filter":[]}"#),
    ("POST", "/delete", r#"{"filter":null}"#),
    ("POST", "/delete", r#"{"filter":5}"#),
    ("POST", "/delete", "{}"),
    ("POST", "/delete", r#"{"filter":"_geoRadius(0, 0, 9000000)"}"#),
    ("POST", "/delete", r#"{"filter":"_geoRadius(900, 0, 1)"}"#),
];

fn deletion(dice: &mut Dice, index: &str) -> Step {
    let (method, rest, body) = *dice.one(&DELETIONS);
    let path = format!("/indexes/{index}/documents{rest}");
    if body.is_empty() {
        Step::bare(Kind::DeleteDocuments, method, &path)
    } else {
        Step::json(Kind::DeleteDocuments, method, &path, body)
    }
}

const CREATIONS: [&str; 10] = [
    r#"{"uid":"$A"}"#,
    r#"{"uid":"$B","primaryKey":"id"}"#,
    r#"{"uid":"$A","primaryKey":"a b"}"#,
    r#"{"uid":"$B","primaryKey":5}"#,
    r#"{"uid":"$B","primaryKey":""}"#,
    r#"{"uid":"$A b"}"#,
    r#"{"uid":5}"#,
    r#"{"uid":"$B","nope":1}"#,
    "{}",
    "{\"uid\":",
];

const UPDATES: [&str; 7] = [
    r#"{"primaryKey":"id"}"#,
    r#"{"primaryKey":"n"}"#,
    r#"{"primaryKey":null}"#,
    r#"{"primaryKey":5}"#,
    r#"{"primaryKey":""}"#,
    r#"{"nope":1}"#,
    "{}",
];

const SWAPS: [&str; 9] = [
    r#"[{"indexes":["$A","$B"]}]"#,
    r#"[{"indexes":["$B","$A"]}]"#,
    r#"[{"indexes":["$A","$A"]}]"#,
    r#"[{"indexes":["$A","$A-missing"]}]"#,
    r#"[{"indexes":["$A","$B"]},{"indexes":["$A","$B"]}]"#,
    r#"[{"indexes":["$A"]}]"#,
    r#"[{"indexes":["$A","a b"]}]"#,
    "[]",
    "{}",
];

fn index_operation(dice: &mut Dice, index: &str) -> Step {
    match dice.roll(8) {
        0..=2 => Step::json(Kind::CreateIndex, "POST", "/indexes", *dice.one(&CREATIONS)),
        3 | 4 => Step::json(Kind::UpdateIndex, "PATCH", &format!("/indexes/{index}"), *dice.one(&UPDATES)),
        5 | 6 => Step::json(Kind::Swap, "POST", "/swap-indexes", *dice.one(&SWAPS)),
        _ => Step::bare(Kind::DeleteIndex, "DELETE", &format!("/indexes/{}", dice.one(&["$A", "$B", "a%20b"]))),
    }
}
