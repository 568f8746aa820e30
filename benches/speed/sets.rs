//! The two sets of documents that real nodes hold: cities and the entries of a dictionary.

use serde_json::{Value, json};

use crate::data;
use crate::support::{Client, corpus};
use crate::turns::settled;

/// Documents, how they are indexed, and of what random searches of them are made.
pub struct Set {
    /// Of the index, too.
    pub name: &'static str,
    pub documents: Vec<Value>,
    pub settings: Value,
    /// The words that a document is looked for by.
    pub title: fn(&Value) -> &str,
    /// More words of it.
    pub text: fn(&Value) -> String,
    pub filters: fn(&Value) -> Vec<String>,
    pub sorts: &'static [&'static str],
    pub facets: &'static [&'static [&'static str]],
    pub distinct: &'static str,
}

/// So many documents of each set are searched, unless `MIROIR_BENCH_ENTRIES` says otherwise.
const ENTRIES: usize = 40_000;

/// Documents of one upload.
const CHUNK: usize = 20_000;

// === impl Set ===

impl Set {
    pub fn cities() -> Self {
        Self {
            name: "cities",
            documents: first(data::documents()),
            settings: json!({
                "filterableAttributes": ["country", "feature", "population"],
                "sortableAttributes": ["name", "population"],
            }),
            title: |city| city["name"].as_str().unwrap_or_default(),
            text: |city| [&city["name"], &city["altName"], &city["country"]].map(words).join(" "),
            filters: |city| {
                vec![
                    format!("country = {}", city["country"]),
                    format!("population > {}", city["population"]),
                    "feature = PPLA OR country IN [FR, US, DE]".to_owned(),
                ]
            },
            sorts: &["population:desc", "population:asc", "name:asc"],
            facets: &[&["country"], &["feature", "country"], &["population"]],
            distinct: "country",
        }
    }

    /// `None` without `MIROIR_BENCH_DICTIONARY`.
    pub fn dictionary() -> Option<Self> {
        Some(Self {
            name: "dictionary",
            documents: first(whole_dictionary()?),
            settings: dictionary_settings(),
            title: |entry| entry["words"][0].as_str().unwrap_or_default(),
            text: |entry| words(&entry["definition"]),
            filters: |entry| {
                vec![
                    format!("domain = {}", entry["domain"]),
                    format!("senses >= {}", entry["senses"]),
                    format!("pos = {} AND domain < 20", entry["pos"]),
                ]
            },
            sorts: &["senses:desc", "domain:asc"],
            facets: &[&["pos"], &["domain", "pos"], &["senses"]],
            distinct: "domain",
        })
    }

    pub fn all() -> Vec<Self> {
        [Some(Self::cities()), Self::dictionary()].into_iter().flatten().collect()
    }

    /// Makes the index and fills it.
    pub fn load(&self, client: &Client) {
        create(client, self.name, &self.settings);
        for chunk in self.documents.chunks(CHUNK) {
            client.done(&add(client, self.name, &corpus::ndjson(chunk)));
        }
        settled(&[client]);
    }

    pub fn path(&self) -> String {
        format!("/indexes/{}/search", self.name)
    }
}

/// Not cut: an upload is measured with all of it. `None` without `MIROIR_BENCH_DICTIONARY`.
pub fn whole_dictionary() -> Option<Vec<Value>> {
    Some(data::of_file(&std::env::var("MIROIR_BENCH_DICTIONARY").ok()?))
}

pub fn dictionary_settings() -> Value {
    json!({
        "searchableAttributes": ["words", "definition", "examples"],
        "filterableAttributes": ["pos", "domain", "senses"],
        "sortableAttributes": ["senses", "domain"],
    })
}

/// As many documents as the bench works on.
pub fn first(mut documents: Vec<Value>) -> Vec<Value> {
    documents.truncate(entries().unwrap_or(ENTRIES));
    documents
}

/// What `MIROIR_BENCH_ENTRIES` says.
pub fn entries() -> Option<usize> {
    let given = std::env::var("MIROIR_BENCH_ENTRIES").ok()?;
    Some(given.parse().unwrap_or_else(|_| panic!("MIROIR_BENCH_ENTRIES: {given:?} is no number")))
}

/// An empty index.
pub fn create(client: &Client, uid: &str, settings: &Value) {
    client.done(&client.post("/indexes", &json!({"uid": uid, "primaryKey": "id"})));
    client.done(&client.json("PATCH", &format!("/indexes/{uid}/settings"), settings));
}

/// Sends documents and does not wait for them.
pub fn add(client: &Client, uid: &str, ndjson: &[u8]) -> crate::support::client::Reply {
    client.send("POST", &format!("/indexes/{uid}/documents"), corpus::NDJSON, ndjson)
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
