//! What a search through the gateway costs, over real processes, against the slowest of its subrequests, against one node
//! with all the data, and against a proxy that only passes on; and what each exactness measure costs the nodes.
//!
//! Every search is sent to all in turn, so that whatever else the machine does meets all alike. The figures to read are
//! the ratios of medians. `MIROIR_BENCH_DATA` names an NDJSON file of cities (plain or gzip), `MIROIR_BENCH_QUERIES` how many searches each
//! row has.

#[path = "../support/data.rs"]
mod data;
mod proxy;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/suite/support/mod.rs"]
mod support;
#[path = "../support/times.rs"]
mod times;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::eventually;
use support::process::free_port;
use support::{Client, Fleet, FleetOptions, Single, corpus};
use times::Times;

const INDEX: &str = "/indexes/cities/search";

/// A kind of search, and the measure of exactness that it needs.
struct Kind {
    name: &'static str,
    measure: &'static str,
    search: fn(&Value) -> Value,
}

const KINDS: &[Kind] = &[
    Kind { name: "words", measure: "ranks compared", search: |city| json!({"q": city["name"]}) },
    Kind {
        name: "a prefix of three letters",
        measure: "ranks compared",
        search: |city| json!({"q": city["name"].as_str().unwrap_or_default().chars().take(3).collect::<String>()}),
    },
    Kind {
        name: "the eleventh page",
        measure: "all hits up to the page's end",
        search: |city| json!({"q": city["name"].as_str().unwrap_or_default().chars().take(2).collect::<String>(), "offset": 200}),
    },
    Kind {
        name: "sorted by a number",
        measure: "sort values compared",
        search: |city| json!({"filter": format!("country = {}", city["country"]), "sort": ["population:desc"]}),
    },
    Kind {
        name: "facets by value",
        measure: "lists added up",
        search: |city| json!({"q": city["name"], "facets": ["feature"]}),
    },
    Kind {
        name: "facets by count, cut",
        measure: "values asked for again",
        search: |city| json!({"q": city["name"].as_str().unwrap_or_default().chars().take(1).collect::<String>(), "facets": ["country"]}),
    },
    Kind {
        name: "distinct, by page",
        measure: "distinct values counted",
        search: |city| json!({"q": city["name"], "distinct": "country", "page": 1, "hitsPerPage": 10}),
    },
    Kind {
        name: "a threshold",
        measure: "candidates counted again",
        search: |city| json!({"q": city["name"], "rankingScoreThreshold": 0.5}),
    },
];

/// Everything that is measured of one kind.
#[derive(Default)]
struct Row {
    one_node: Times,
    plain_proxy: Times,
    /// The client's own search at each node of the cover, without any measure.
    bare: Times,
    /// The slowest of the gateway's subrequests of the first round.
    slowest: Times,
    gateway: Times,
}

/// A thread per node, so that nodes are asked at once and no thread is started while time is taken.
struct Asker {
    jobs: Sender<(String, Value)>,
    took: Receiver<Duration>,
}

// === impl Asker ===

impl Asker {
    fn new(client: Client) -> Self {
        let (jobs, inbox) = channel::<(String, Value)>();
        let (outbox, took) = channel();
        std::thread::spawn(move || {
            for (path, body) in inbox {
                let start = Instant::now();
                client.post(&path, &body).ok();
                if outbox.send(start.elapsed()).is_err() {
                    return;
                }
            }
        });
        Self { jobs, took }
    }
}

/// Sends each node its own body; the slowest counts.
fn at_once(askers: &[(&Asker, Value)]) -> Duration {
    for (asker, body) in askers {
        asker.jobs.send((INDEX.to_owned(), body.clone())).expect("the thread lives");
    }
    askers.iter().map(|(asker, _)| asker.took.recv().expect("an answer")).max().unwrap_or_default()
}

fn timed(client: &Client, body: &Value) -> Duration {
    let start = Instant::now();
    client.post(INDEX, body).ok();
    start.elapsed()
}

fn load(client: &Client, documents: &[Value]) {
    let settings = json!({
        "filterableAttributes": ["country", "feature", "population"],
        "sortableAttributes": ["population"],
        "faceting": {"maxValuesPerFacet": 20, "sortFacetValuesBy": {"country": "count"}},
    });
    client.done(&client.post("/indexes", &json!({"uid": "cities", "primaryKey": "id"})));
    client.done(&client.json("PATCH", "/indexes/cities/settings", &settings));
    let ndjson = [("Content-Type", "application/x-ndjson")];
    let replies: Vec<_> = documents
        .chunks(20_000)
        .map(|chunk| client.send("POST", "/indexes/cities/documents", &ndjson, &corpus::ndjson(chunk)))
        .collect();
    for reply in replies {
        client.done(&reply);
    }
}

/// What the gateway asks nodes in its first round: node and body.
fn subrequests(fleet: &Fleet, body: &Value) -> Vec<(String, Value)> {
    let explained = fleet.admin.post("/indexes/cities/explain", &json!({ "body": body })).ok();
    let parts = explained["plan"]["covers"][0]["parts"].as_array().cloned().unwrap_or_default();
    parts.iter().map(|part| (part["node"].as_str().unwrap_or_default().to_owned(), part["body"].clone())).collect()
}

/// The client's search as a fan-out without any measure would send it: from the first hit, nothing compared or filtered.
fn bare(body: &Value) -> Value {
    let mut bare = body.clone();
    if let Some(offset) = body["offset"].as_u64() {
        bare["limit"] = (offset + 20).into();
        bare["offset"] = 0.into();
    }
    bare
}

fn measure(kind: &Kind, cities: &[&Value], single: &Client, plain: &Client, fleet: &Fleet) -> Row {
    let askers: Vec<(String, Asker)> =
        fleet.nodes.iter().map(|node| (node.name.clone(), Asker::new(node.client.clone()))).collect();
    let asker = |name: &str| &askers.iter().find(|(known, _)| known == name).expect("a node of the fleet").1;
    let mut row = Row::default();
    for (at, city) in cities.iter().enumerate() {
        let body = (kind.search)(city);
        let parts = subrequests(fleet, &body);
        let exact: Vec<(&Asker, Value)> = parts.iter().map(|(node, body)| (asker(node), body.clone())).collect();
        let plainly: Vec<(&Asker, Value)> = parts.iter().map(|(node, _)| (asker(node), bare(&body))).collect();
        // Whoever is asked first warms caches for the others: all take turns.
        for turn in 0..5 {
            match (at + turn) % 5 {
                0 => row.one_node.0.push(timed(single, &body)),
                1 => row.plain_proxy.0.push(timed(plain, &body)),
                2 => row.bare.0.push(at_once(&plainly)),
                3 => row.slowest.0.push(at_once(&exact)),
                _ => row.gateway.0.push(timed(&fleet.client, &body)),
            }
        }
    }
    row
}

fn print(nodes: usize, replication_factor: usize, rows: &[(&Kind, Row)]) {
    println!("\n{nodes} nodes, replication factor {replication_factor}: p50 / p99 in ms, then ratios of medians\n");
    println!(
        "| search | measure | one node | plain proxy | subrequests bare | subrequests as asked | gateway | measure at nodes | \
         gateway : slowest | gateway : one node | gateway : plain proxy |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (kind, row) in rows {
        let both = |times: &Times| format!("{:.1} / {:.1}", times.median(), times.quantile(0.99));
        let ratio = |left: &Times, right: &Times| format!("{:.2}", left.median() / right.median());
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            kind.name,
            kind.measure,
            both(&row.one_node),
            both(&row.plain_proxy),
            both(&row.bare),
            both(&row.slowest),
            both(&row.gateway),
            ratio(&row.slowest, &row.bare),
            ratio(&row.gateway, &row.slowest),
            ratio(&row.gateway, &row.one_node),
            ratio(&row.gateway, &row.plain_proxy),
        );
    }
}

fn main() {
    let documents = data::documents();
    let queries = std::env::var("MIROIR_BENCH_QUERIES").ok().and_then(|count| count.parse().ok()).unwrap_or(200);
    let step = (documents.len() / queries).max(1);
    let cities: Vec<&Value> = documents.iter().step_by(step).take(queries).collect();
    println!("{} cities, {} searches of each kind", documents.len(), cities.len());

    let single = Single::start();
    load(&single.client, &documents);
    let plain = format!("127.0.0.1:{}", free_port());
    proxy::start(&plain, single.client.url.trim_start_matches("http://"));
    let plain = Client::new(&format!("http://{plain}"));
    eventually("the plain proxy passes on", || plain.try_send("GET", "/health", &[], b"").ok());

    for (nodes, replication_factor) in [(3, 1), (3, 2)] {
        let fleet = Fleet::with(FleetOptions { nodes, replication_factor, placement: "", ..FleetOptions::default() });
        load(&fleet.client, &documents);
        let rows: Vec<(&Kind, Row)> =
            KINDS.iter().map(|kind| (kind, measure(kind, &cities, &single.client, &plain, &fleet))).collect();
        print(nodes, replication_factor, &rows);
    }
}
