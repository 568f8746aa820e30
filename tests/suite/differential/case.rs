//! What a random case is made of.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any as any_value, prop_oneof};
use proptest::sample::{Index, select, subsequence};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Nodes and replication factor of the fleets that cases run on.
pub const FLEETS: [(usize, usize); 3] = [(3, 1), (3, 2), (5, 3)];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Of [`FLEETS`].
    pub fleet: usize,
    pub trouble: Trouble,
    pub settings: Value,
    pub documents: Vec<Value>,
    pub requests: Vec<Request>,
}

/// What befalls the cluster while it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    None,
    /// A node is killed before the first request.
    DeadNode {
        node: usize,
    },
    /// A node missed the later half of the documents, and is being brought in sync.
    CopiesInProgress {
        node: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "body")]
pub enum Request {
    Search(Value),
    /// Bodies of searches, and the federation they are asked in.
    Federated(Vec<Value>, Value),
    FacetSearch(Value),
    /// A filter; all documents that pass it are compared.
    Fetch(Value),
    Stats,
}

/// Few words, many of them alike: typos, prefixes, splits and ties are met often.
const WORDS: &[&str] = &[
    "star",
    "stars",
    "start",
    "stark",
    "starlight",
    "light",
    "lights",
    "night",
    "moon",
    "moons",
    "noon",
    "soon",
    "moonlight",
    "red",
    "read",
    "reed",
    "blue",
    "glue",
    "école",
    "ecole",
    "straße",
    "strasse",
    "d'or",
    "well-known",
    "42",
    "3.14",
    "the",
    "of",
];

pub fn any() -> impl Strategy<Value = Case> {
    let trouble = |nodes: usize| {
        prop_oneof![
            3 => Just(Trouble::None),
            1 => (0..nodes).prop_map(|node| Trouble::DeadNode { node }),
            1 => (0..nodes).prop_map(|node| Trouble::CopiesInProgress { node }),
        ]
    };
    let place = (0..FLEETS.len()).prop_flat_map(move |fleet| {
        let (nodes, replication_factor) = FLEETS[fleet];
        // With one replica a node's death is felt, and rightly so.
        let trouble = if replication_factor == 1 { Just(Trouble::None).boxed() } else { trouble(nodes).boxed() };
        (Just(fleet), trouble)
    });
    (place, settings(), vec(document(), 1..48), vec(request(), 1..10)).prop_map(
        |((fleet, trouble), settings, documents, requests)| {
            let numbered = documents.into_iter().enumerate().map(|(at, mut document)| {
                document.insert("id".to_owned(), at.into());
                Value::Object(document)
            });
            Case { fleet, trouble, settings, documents: numbered.collect(), requests }
        },
    )
}

/// Documents that have every field there is, so many that every node gets some: what the engine makes of a field that no
/// document ever had is not what it makes of one that none has now (docs/exactness.md).
pub fn primer() -> Vec<Value> {
    let document = |at: u32| {
        json!({
            "id": 1000 + at, "title": "primer", "body": "primer", "tags": ["primer"], "price": at, "genre": "primer",
            "maker": {"name": "primer", "year": 2000}, "_geo": {"lat": 1, "lng": 1},
        })
    };
    (0..60).map(document).collect()
}

fn words(count: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    vec(select(WORDS), count).prop_map(|words| words.join(" "))
}

fn price() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0_u32..12).prop_map(Value::from),
        2 => (0_u32..8).prop_map(|n| (f64::from(n) * 0.5 - 1.0).into()),
        1 => select(&["9", "cheap", "dear"][..]).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => vec(0_u32..12, 0..3).prop_map(Value::from),
    ]
}

fn document() -> impl Strategy<Value = Map<String, Value>> {
    let fields = (
        option::weighted(0.9, words(0..6)),
        option::weighted(0.5, words(0..14)),
        option::weighted(0.7, vec(select(WORDS), 0..4)),
        option::weighted(0.8, price()),
        option::weighted(0.8, select(&["drama", "Drama", "war", "crime", "été"][..])),
        option::weighted(0.6, (select(&["ana", "bo", "cy"][..]), 1990_u32..1996)),
        option::weighted(0.6, (-4_i32..5, -4_i32..5)),
    );
    fields.prop_map(|(title, body, tags, price, genre, maker, place)| {
        let members = [
            ("title", title.map(Value::from)),
            ("body", body.map(Value::from)),
            ("tags", tags.map(Value::from)),
            ("price", price),
            ("genre", genre.map(Value::from)),
            ("maker", maker.map(|(name, year)| json!({"name": name, "year": year}))),
            ("_geo", place.map(|(lat, lng)| json!({"lat": lat, "lng": lng}))),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    })
}

fn settings() -> impl Strategy<Value = Value> {
    const RULES: &[&str] = &["words", "typo", "proximity", "attribute", "sort", "exactness"];
    let custom = select(&["price:asc", "price:desc", "maker.year:desc", "genre:asc"][..]);
    let rules = (subsequence(RULES, 3..=6).prop_shuffle(), option::of((custom, any_value::<Index>()))).prop_map(
        |(mut rules, custom)| {
            if let Some((rule, at)) = custom {
                rules.insert(at.index(rules.len() + 1), rule);
            }
            rules
        },
    );
    let more = (
        option::weighted(0.3, subsequence(&["title", "body", "tags", "maker.name"][..], 1..=4).prop_shuffle()),
        option::weighted(0.2, select(&["genre", "maker.name", "price"][..])),
        (1_u32..9, select(&["alpha", "count"][..]), select(&["alpha", "count"][..])),
        option::weighted(0.3, 3_u32..30),
        option::weighted(0.3, Just(json!({"moon": ["night", "noon"], "star": ["light"]}))),
        option::weighted(0.3, Just(json!(["the", "of"]))),
        option::weighted(0.3, Just(json!({"minWordSizeForTypos": {"oneTypo": 3, "twoTypos": 6}}))),
    );
    (rules, more).prop_map(
        |(rules, (searchable, distinct, (cut, order, of_genre), most, synonyms, stop_words, typos))| {
            let mut settings = json!({
                "filterableAttributes": ["genre", "tags", "price", "maker.name", "maker.year", "_geo"],
                "sortableAttributes": ["genre", "price", "maker.year", "id", "_geo"],
                "rankingRules": rules,
                "faceting": {"maxValuesPerFacet": cut, "sortFacetValuesBy": {"*": order, "genre": of_genre}},
            });
            let chosen = [
                ("searchableAttributes", searchable.map(Value::from)),
                ("distinctAttribute", distinct.map(Value::from)),
                ("pagination", most.map(|most| json!({"maxTotalHits": most}))),
                ("synonyms", synonyms),
                ("stopWords", stop_words),
                ("typoTolerance", typos),
            ];
            for (name, value) in chosen {
                if let Some(value) = value {
                    settings[name] = value;
                }
            }
            settings
        },
    )
}

fn filter() -> impl Strategy<Value = Value> {
    const FILTERS: &[&str] = &[
        "genre = drama",
        "genre != war",
        "price > 3",
        "price 1 TO 6",
        "price EXISTS",
        "NOT price EXISTS",
        "price IS NULL",
        "tags IN [star, red, 42]",
        "maker.name = ana AND maker.year >= 1992",
        "_geoRadius(0, 0, 300000)",
        "_geoBoundingBox([3, 3], [-2, -2])",
        "genre IS EMPTY OR tags IS EMPTY",
    ];
    prop_oneof![
        3 => select(FILTERS).prop_map(Value::from),
        1 => vec(select(FILTERS), 1..3).prop_map(Value::from),
        1 => (vec(select(FILTERS), 1..3), select(FILTERS)).prop_map(|(any, all)| json!([any, all])),
    ]
}

/// Words as people type them: whole, begun, mistyped, quoted, excluded.
fn typed() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => words(1..4),
        2 => (words(1..3), 1_usize..5).prop_map(|(text, letters)| text.chars().take(letters).collect()),
        2 => (words(1..3), any_value::<Index>()).prop_map(|(text, at)| {
            let mut letters: Vec<char> = text.chars().collect();
            let at = at.index(letters.len());
            letters.remove(at);
            letters.into_iter().collect()
        }),
        1 => words(1..3).prop_map(|text| format!("\"{text}\"")),
        1 => (words(1..3), select(WORDS)).prop_map(|(text, not)| format!("{text} -{not}")),
    ]
}

fn sort() -> impl Strategy<Value = Value> {
    let rules = &["price:asc", "price:desc", "genre:desc", "maker.year:asc", "id:desc", "_geoPoint(1, 1):asc"][..];
    subsequence(rules, 1..=2).prop_map(Value::from)
}

/// What every search may have, alone or among others.
fn query() -> impl Strategy<Value = Map<String, Value>> {
    let flag = || option::weighted(0.15, Just(Value::Bool(true)));
    let asked = (
        option::weighted(0.7, typed().prop_map(Value::from)),
        option::weighted(0.4, filter()),
        option::weighted(0.3, sort()),
        option::weighted(0.15, select(&["genre", "maker.name", "tags"][..]).prop_map(Value::from)),
        option::weighted(0.2, Just(Value::from("all"))),
        option::weighted(0.15, subsequence(&["title", "body", "tags"][..], 1..=2).prop_map(Value::from)),
        option::weighted(0.1, select(&[0.2, 0.6, 0.9][..]).prop_map(Value::from)),
    );
    let shown = (
        option::weighted(0.2, subsequence(&["id", "title", "maker.name"][..], 1..=2).prop_map(with_id)),
        option::weighted(0.2, Just(json!(["*"]))),
        flag(),
        flag(),
        flag(),
    );
    (asked, shown).prop_map(|(asked, shown)| {
        let members = [
            ("q", asked.0),
            ("filter", asked.1),
            ("sort", asked.2),
            ("distinct", asked.3),
            ("matchingStrategy", asked.4),
            ("attributesToSearchOn", asked.5),
            ("rankingScoreThreshold", asked.6),
            ("attributesToRetrieve", shown.0),
            ("attributesToHighlight", shown.1),
            ("showMatchesPosition", shown.2),
            ("showRankingScore", shown.3),
            ("showRankingScoreDetails", shown.4),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    })
}

/// Hits are told apart by it.
fn with_id(mut names: Vec<&'static str>) -> Value {
    if !names.contains(&"id") {
        names.push("id");
    }
    names.into()
}

fn page() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => Just(json!({})),
        2 => (0_u32..6, 0_u32..12).prop_map(|(offset, limit)| json!({"offset": offset, "limit": limit})),
        2 => (1_u32..4, 1_u32..8).prop_map(|(page, size)| json!({"page": page, "hitsPerPage": size})),
    ]
}

fn facets() -> impl Strategy<Value = Value> {
    prop_oneof![
        subsequence(&["genre", "tags", "price", "maker.year"][..], 1..=3).prop_map(Value::from),
        Just(json!(["*"])),
    ]
}

fn search() -> impl Strategy<Value = Value> {
    (query(), page(), option::weighted(0.4, facets())).prop_map(|(mut query, page, facets)| {
        query.extend(page.as_object().cloned().unwrap_or_default());
        query.extend(facets.map(|facets| ("facets".to_owned(), facets)));
        Value::Object(query)
    })
}

fn federated() -> impl Strategy<Value = Request> {
    let weight = option::weighted(0.4, select(&[0.0, 0.5, 1.0, 1.7][..]));
    let several = vec((query(), weight), 1..4);
    (several, page(), option::weighted(0.3, facets())).prop_map(|(several, mut federation, facets)| {
        // Which of several hits that tie stands for a value decides what other searches may still show.
        let alone = several.len() == 1;
        let queries = several.into_iter().map(|(mut query, weight)| {
            if !alone {
                query.remove("distinct");
            }
            query.extend(weight.map(|weight| ("federationOptions".to_owned(), json!({ "weight": weight }))));
            Value::Object(query)
        });
        let queries = queries.collect();
        if let Some(facets) = facets {
            federation["facetsByIndex"] = facets;
        }
        Request::Federated(queries, federation)
    })
}

fn request() -> impl Strategy<Value = Request> {
    let facet_search = (
        select(&["genre", "tags", "maker.name"][..]),
        option::weighted(0.7, select(&["d", "s", "st", "re", "a", "é"][..])),
        option::weighted(0.4, typed()),
        option::weighted(0.3, filter()),
    );
    prop_oneof![
        8 => search().prop_map(Request::Search),
        3 => federated(),
        2 => facet_search.prop_map(|(facet, value, words, filter)| {
            let mut body = json!({"facetName": facet});
            for (name, value) in [("facetQuery", value.map(Value::from)), ("q", words.map(Value::from)), ("filter", filter)] {
                if let Some(value) = value {
                    body[name] = value;
                }
            }
            Request::FacetSearch(body)
        }),
        1 => filter().prop_map(Request::Fetch),
        1 => Just(Request::Stats),
    ]
}
