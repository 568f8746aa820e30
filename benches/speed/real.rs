//! Real nodes: a cluster against one node with everything, the same searches in turn.

use serde_json::{Value, json};

use crate::process::cpu_ms;
use crate::report::{Kind, Real, Spread};
use crate::support::{Client, Fleet, FleetOptions, Single, corpus};
use crate::times::Times;
use crate::wire::Wire;

const PATH: &str = "/indexes/cities/search";

/// A kind of search and why it costs what it costs.
const KINDS: &[(&str, &str, fn(&Value) -> Value)] = &[
    ("words", "one round; each node looks up the words and lists a page", |city| json!({"q": city["name"]})),
    ("a prefix of three letters", "the same", |city| json!({"q": start(city, 3)})),
    (
        "the eleventh page",
        "nodes list all hits up to the page's end",
        |city| json!({"q": start(city, 2), "offset": 200}),
    ),
    ("sorted by a number", "as words", |city| json!({"q": start(city, 2), "sort": ["population:desc"]})),
    ("facets by value", "as words; lists are added up", |city| json!({"q": city["name"], "facets": ["feature"]})),
    (
        "facets by count, cut",
        "values near the cut are asked for again",
        |city| json!({"q": start(city, 1), "facets": ["country"]}),
    ),
    (
        "distinct, by page",
        "distinct values are counted over all nodes",
        |city| json!({"q": city["name"], "distinct": "country", "page": 1, "hitsPerPage": 10}),
    ),
    (
        "a threshold",
        "the walk of one node is made again over what nodes list",
        |city| json!({"q": city["name"], "rankingScoreThreshold": 0.5}),
    ),
    (
        "marks",
        "whether nodes know words is asked where a mark may be another",
        |city| json!({"q": start(city, 4), "attributesToHighlight": ["name"]}),
    ),
];

fn start(city: &Value, letters: usize) -> String {
    city["name"].as_str().unwrap_or_default().chars().take(letters).collect()
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
    for chunk in documents.chunks(20_000) {
        client.done(&client.send("POST", "/indexes/cities/documents", &ndjson, &corpus::ndjson(chunk)));
    }
}

fn wire_of(client: &Client) -> Wire {
    Wire::connect(client.url.trim_start_matches("http://"))
}

fn subrequests(fleet: &Fleet) -> f64 {
    let text = fleet.metrics.get("/metrics").text;
    let values = text.lines().filter(|line| line.starts_with("miroir_fan_out_sum"));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn measure_kind(at: usize, searches: &[String], rounds: usize, single: &Single, fleet: &Fleet) -> Kind {
    let (name, why, _) = KINDS[at];
    let (mut one, mut all) = (wire_of(&single.client), wire_of(&fleet.client));
    let gateway = fleet.gateway().pid();
    let nodes: Vec<u32> = fleet.nodes.iter().map(|node| node.pid()).collect();
    let cpu_of_nodes = || nodes.iter().map(|pid| cpu_ms(*pid)).sum::<f64>();
    let mut kind = Kind {
        name,
        why,
        median: Spread::default(),
        tail: Spread::default(),
        cpu: Spread::default(),
        gateway: Spread::default(),
        asked: 0.0,
    };
    let asked = subrequests(fleet);
    for _ in 0..rounds {
        let (mut of_one, mut of_all) = (Times::default(), Times::default());
        let before = (cpu_ms(single.pid()), cpu_of_nodes(), cpu_ms(gateway));
        for (at, body) in searches.iter().enumerate() {
            // Whoever is asked first warms caches for the other.
            for turn in 0..2 {
                if (at + turn) % 2 == 0 {
                    of_one.0.push(one.post(PATH, body).0);
                } else {
                    of_all.0.push(all.post(PATH, body).0);
                }
            }
        }
        let after = (cpu_ms(single.pid()), cpu_of_nodes(), cpu_ms(gateway));
        kind.median.add(of_all.median() / of_one.median());
        kind.tail.add(of_all.quantile(0.99) / of_one.quantile(0.99));
        let own = after.2 - before.2;
        kind.cpu.add((after.1 - before.1 + own) / (after.0 - before.0));
        kind.gateway.add(own / searches.len() as f64);
    }
    kind.asked = (subrequests(fleet) - asked) / (rounds * searches.len()) as f64;
    kind
}

/// `searches` of each kind in each of `rounds`.
pub fn measure(documents: &[Value], searches: usize, rounds: usize) -> Vec<Real> {
    let step = (documents.len() / searches).max(1);
    let cities: Vec<&Value> = documents.iter().step_by(step).take(searches).collect();
    let single = Single::start();
    load(&single.client, documents);
    let mut measured = Vec::new();
    for replication_factor in [1, 2] {
        let fleet = Fleet::with(FleetOptions { nodes: 3, replication_factor, ..FleetOptions::default() });
        load(&fleet.client, documents);
        let kinds = KINDS.iter().enumerate().map(|(at, (_, _, search))| {
            let searches: Vec<String> = cities.iter().map(|city| search(city).to_string()).collect();
            measure_kind(at, &searches, rounds, &single, &fleet)
        });
        let topology = format!("3 nodes, replication factor {replication_factor}");
        measured.push(Real { topology, kinds: kinds.collect() });
    }
    measured
}
