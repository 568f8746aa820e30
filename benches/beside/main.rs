//! What an ordinary index's searches cost alone, and while other clients send wrong and heavy requests to another index: on one
//! node, and on three behind the gateway (replication factor 2).
//!
//! The figures to read are the ratios of p99: within 3 is the goal. Answers that are not whole, nodes that are not up and stale
//! replicas make the program fail; times are only printed. `MIROIR_BENCH_DATA` names an NDJSON file of cities (plain or gzip),
//! `MIROIR_BESIDE_SECONDS` how long each phase is, `MIROIR_BESIDE_EVERY_MS` each ordinary client's pace and
//! `MIROIR_BESIDE_WRONG_EVERY_MS` the others'.

mod abuse;
#[path = "../support/data.rs"]
mod data;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/suite/support/mod.rs"]
mod support;
#[path = "../support/times.rs"]
mod times;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::pause;
use support::parity;
use support::random::Dice;
use support::stop::StopOnDrop;
use support::{Client, Fleet, FleetOptions, Single};
use times::Times;

const ORDINARY: &str = "cities";
const CLIENTS: u64 = 4;

struct Settings {
    lasting: Duration,
    every: Duration,
    wrong_every: Duration,
}

/// What the ordinary clients met in one phase.
#[derive(Default)]
struct Tally {
    times: Times,
    /// Answers that were none, or not whole.
    wrong: Vec<String>,
}

/// Both phases of one place.
struct Row {
    place: &'static str,
    alone: Tally,
    beside: Tally,
    sent: abuse::Sent,
}

// === impl Settings ===

impl Settings {
    fn from_environment() -> Self {
        let number = |name: &str, default: u64| {
            let Ok(text) = std::env::var(name) else { return default };
            text.parse().unwrap_or_else(|_| panic!("{name}: expected a number, found `{text}`"))
        };
        Self {
            lasting: Duration::from_secs(number("MIROIR_BESIDE_SECONDS", 30)),
            every: Duration::from_millis(number("MIROIR_BESIDE_EVERY_MS", 100)),
            wrong_every: Duration::from_millis(number("MIROIR_BESIDE_WRONG_EVERY_MS", 200)),
        }
    }
}

/// One client's searches for words until `stop`.
fn search(client: &Client, cities: &[Value], settings: &Settings, mut dice: Dice, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let path = format!("/indexes/{ORDINARY}/search");
    let headers = [("Content-Type", "application/json")];
    while !stop.load(Ordering::Relaxed) {
        let body = json!({"q": dice.one(cities)["name"]}).to_string();
        let started = Instant::now();
        match client.try_send("POST", &path, &headers, body.as_bytes()) {
            Ok(reply) if reply.status == 200 && reply.header("x-miroir-degraded").is_none() => {
                tally.times.0.push(started.elapsed());
            }
            Ok(reply) => tally.wrong.push(format!("status {}, {:?}", reply.status, reply.headers)),
            Err(error) => tally.wrong.push(error),
        }
        pause(settings.every.saturating_sub(started.elapsed()));
    }
    tally
}

/// The ordinary clients' searches for the time of a phase, while `during` runs until it is told to stop.
fn phase(
    client: &Client,
    cities: &[Value],
    settings: &Settings,
    seed: u64,
    during: impl Fn(u64, &AtomicBool) -> abuse::Sent + Sync,
) -> (Tally, abuse::Sent) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, during) = (&stop, &during);
        let ending = StopOnDrop(stop);
        let searching: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || search(client, cities, settings, Dice::new(seed + number), stop)))
            .collect();
        let others: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || during(number, stop))).collect();
        pause(settings.lasting);
        drop(ending);
        let mut tally = Tally::default();
        for client in searching {
            let met = client.join().expect("a client ends");
            tally.times.0.extend(met.times.0);
            tally.wrong.extend(met.wrong);
        }
        let mut sent = abuse::Sent::default();
        others.into_iter().for_each(|client| sent.join(client.join().expect("a client ends")));
        (tally, sent)
    })
}

fn measure(place: &'static str, client: &Client, cities: &[Value], settings: &Settings) -> Row {
    parity::load(client, ORDINARY, cities);
    abuse::load(client, cities);
    // Caches are warmed by the same searches, which are not counted.
    let nobody = |_: u64, _: &AtomicBool| abuse::Sent::default();
    let warm = Settings { lasting: settings.lasting / 5, ..*settings };
    phase(client, cities, &warm, 1, nobody);
    let (alone, _) = phase(client, cities, settings, 100, nobody);
    let abusing =
        |number: u64, stop: &AtomicBool| abuse::send(client, Dice::new(500 + number), settings.wrong_every, stop);
    let (beside, sent) = phase(client, cities, settings, 200, abusing);
    Row { place, alone, beside, sent }
}

fn print(rows: &[Row]) {
    println!(
        "\n| place | searches alone | p50 / p99 ms | searches beside | p50 / p99 ms | ratio of p50 | ratio of p99 | heavy | wrong |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for Row { place, alone, beside, sent } in rows {
        let both = |tally: &Tally| format!("{:.1} / {:.1}", tally.times.median(), tally.times.quantile(0.99));
        let ratio = |share: f64| beside.times.quantile(share) / alone.times.quantile(share);
        println!(
            "| {place} | {} | {} | {} | {} | {:.2} | {:.2} | {} | {} |",
            alone.times.0.len(),
            both(alone),
            beside.times.0.len(),
            both(beside),
            ratio(0.5),
            ratio(0.99),
            sent.heavy,
            sent.wrong
        );
    }
}

fn unwell(fleet: &Fleet) -> Vec<String> {
    let topology = fleet.admin.get("/topology").ok();
    let nodes = topology["nodes"].as_array().cloned().unwrap_or_default();
    let away = nodes.iter().filter(|node| node["state"] != "up");
    let mut told: Vec<String> = away.map(|node| format!("a node is not up: {node}")).collect();
    let stale = fleet.admin.get("/resilver").ok()["stale"].clone();
    if stale != json!([]) {
        told.push(format!("stale replicas: {stale}"));
    }
    told
}

fn main() {
    let cities = data::documents();
    let settings = Settings::from_environment();
    println!(
        "{} cities in each index; {CLIENTS} clients search one every {:?}, {CLIENTS} send wrong and heavy requests to the other every {:?}",
        cities.len(),
        settings.every,
        settings.wrong_every
    );
    let mut rows = Vec::new();
    {
        let single = Single::start();
        rows.push(measure("one node", &single.client, &cities, &settings));
    }
    let fleet = Fleet::with(FleetOptions::default());
    rows.push(measure("three nodes", &fleet.client, &cities, &settings));
    print(&rows);
    let mut problems = unwell(&fleet);
    for row in &rows {
        let wrong = row.alone.wrong.iter().chain(&row.beside.wrong);
        problems.extend(wrong.take(5).map(|told| format!("{}: {told}", row.place)));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
