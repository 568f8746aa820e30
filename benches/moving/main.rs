//! What it costs to move shards and to bring a node back, over real processes, while 16 clients search and 4 write.
//!
//! A node is added to three (replication factor 2, 256 shards), drained and removed; then one is killed, misses 20,000
//! documents, and returns, twice: once they are of all shards and once of a quarter. Each answer of a cluster whose
//! contents the one node has as well is compared with that node's; at the end everything is compared document by document. What is
//! wrong makes the program fail; times are only printed. The figures to read are ratios to the cluster at rest under the same
//! load.
//!
//! `MIROIR_BENCH_DATA` names an NDJSON file of cities (plain or gzip); `settings.rs` has the other variables.

mod counters;
#[path = "../support/data.rs"]
mod data;
mod load;
mod moves;
mod outage;
mod settings;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/suite/support/mod.rs"]
mod support;
mod tables;
#[path = "../support/times.rs"]
mod times;
mod writer;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use load::{Stage, Tally};
use serde_json::Value;
use settings::Settings;
use support::client::{id_of, pause};
use support::corpus::{NDJSON, ndjson};
use support::parity::{self, Expected, random_query, search_path};
use support::random::Dice;
use support::{Client, Fleet, FleetOptions, Single};
use writer::{Writer, all_written, documents_path};

/// What is searched: the one node has it as well.
const CITIES: &str = "cities";
/// What writers fill and change.
const WRITTEN: &str = "written";
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// Documents in one upload.
const UPLOAD: usize = 10_000;
/// Words that begin alike are capped by the engine for each vocabulary (docs/exactness.md): so many of a thousand searches may
/// for that reason be answered otherwise by a cluster at rest, and are not asked.
const CAPPED: usize = 20;
/// So many seeds are tried with the operator's own check.
const CHECKS: usize = 8;

pub struct Bench {
    settings: Settings,
    single: Single,
    fleet: Fleet,
    /// What the index that is searched shall hold.
    cities: Vec<Value>,
    questions: Vec<Expected>,
    /// Seeds with which the operator's own check agrees at rest.
    seeds: Vec<u64>,
    writers: Vec<Writer>,
    dice: Dice,
    phases: Vec<(String, Tally)>,
}

// === impl Bench ===

impl Bench {
    fn start(settings: Settings, cities: Vec<Value>) -> Self {
        let single = Single::start();
        // Health checks as configured by default, but for a machine on which five nodes and all clients share the cores.
        let more = format!("health: {{ interval: 1s, timeout: 2s }}\n{}", settings.config);
        let fleet = Fleet::with(FleetOptions { more, ..FleetOptions::default() });
        let dice = Dice::new(settings.seed);
        for client in [&single.client, &fleet.client] {
            let started = Instant::now();
            let (first, rest) = cities.split_at(cities.len().min(1000));
            parity::load(client, CITIES, first);
            upload(client, CITIES, rest);
            println!("{} loaded in {:.0} s", client.url, started.elapsed().as_secs_f64());
        }
        parity::load(&fleet.client, WRITTEN, &[]);
        let writers = (0..settings.writing).map(|number| Writer::new(number, dice.branch(1000 + number))).collect();
        let (questions, seeds, phases) = (Vec::new(), Vec::new(), Vec::new());
        let mut bench = Self { settings, single, fleet, cities, questions, seeds, writers, dice, phases };
        bench.ask_one_node();
        bench
    }

    /// Asks the one node what it answers now.
    fn ask_one_node(&mut self) {
        let mut capped = 0;
        self.questions.clear();
        while self.questions.len() < self.settings.questions {
            let query = random_query(&mut self.dice, &self.cities);
            let question = Expected::of(&self.single.client, CITIES, &query);
            let reply = self.fleet.client.post(&search_path(CITIES), &query);
            match question.difference(&reply) {
                None => self.questions.push(question),
                Some(difference) => {
                    println!("not asked, because it differs at rest: {query}: {difference}");
                    capped += 1;
                    assert!(capped <= 1 + self.settings.questions * CAPPED / 1000, "{capped} searches differ at rest");
                }
            }
        }
        self.choose_seeds();
    }

    /// Keeps the seeds with which the operator's own check finds nothing while nothing happens.
    fn choose_seeds(&mut self) {
        let Some(command) = &self.settings.check else { return };
        self.seeds.clear();
        for seed in (self.settings.seed..).take(CHECKS) {
            match load::check(command, seed, &self.single.client, &self.fleet.client) {
                Ok(()) => self.seeds.push(seed),
                Err(found) => {
                    println!("the check is not run with a seed with which it finds something at rest: {found}")
                }
            }
        }
        assert!(self.seeds.len() * 2 >= CHECKS, "the check fails at rest");
    }

    /// Runs the clients while `during` does; they judge answers if the one node has what the cluster has.
    fn phase<T>(&mut self, name: &str, equal: bool, during: impl FnOnce(&mut Fleet) -> T) -> (T, &Tally) {
        let client = self.fleet.client.clone();
        let stage = Stage {
            settings: &self.settings,
            client: &client,
            single: &self.single.client,
            questions: &self.questions,
            judged: equal,
            cities: &self.cities,
            rewrites: equal,
            seeds: &self.seeds,
        };
        let fleet = &mut self.fleet;
        let (result, tally) = stage.run(&mut self.writers, &mut self.dice, || during(fleet));
        println!(
            "{name}: {:.0} s, {} searches, p50 {:.1} ms, p99 {:.1} ms, {} wrong, {} unanswered",
            tally.took.as_secs_f64(),
            tally.searches.0.len(),
            tally.searches.median(),
            tally.searches.quantile(0.99),
            tally.wrong.len(),
            tally.unanswered.len()
        );
        for problem in tally.problems() {
            println!("  {problem}");
        }
        self.phases.push((name.to_owned(), tally));
        (result, &self.phases[self.phases.len() - 1].1)
    }

    fn rest(&mut self, name: &str) {
        let time = self.settings.rest;
        self.phase(name, true, |_| pause(time));
    }

    /// The ids of all documents of both indexes.
    fn ids(&self) -> Vec<String> {
        let written = self.writers.iter().flat_map(|writer| writer.documents.keys().cloned());
        self.cities.iter().map(id_of).chain(written).collect()
    }

    /// Everything is there, as it was written, on all its owners alike and nowhere else.
    fn compare_documents(&self) {
        let of_one_node = self.single.client.documents(CITIES);
        let cities: BTreeMap<String, Value> = self.cities.iter().map(|city| (id_of(city), city.clone())).collect();
        assert!(of_one_node == cities, "the one node holds what was written");
        for (index, wanted) in [(CITIES, cities), (WRITTEN, all_written(&self.writers))] {
            let found = self.fleet.client.documents(index);
            let differ = wanted.iter().filter(|(id, document)| found.get(*id) != Some(document));
            let differ: Vec<&String> = differ.map(|(id, _)| id).take(5).collect();
            assert!(differ.is_empty(), "{index}: documents are missing or differ: {differ:?}");
            assert_eq!(found.len(), wanted.len(), "{index}: there are documents that nobody wrote");
            let copies: usize = self.fleet.nodes.iter().map(|node| held(&node.client, index)).sum();
            assert_eq!(self.fleet.equal_replicas(index).len(), wanted.len(), "{index}");
            assert_eq!(copies, 2 * wanted.len(), "{index}: each document is on two nodes");
            println!("{index}: {} documents, as written, on two nodes each, all replicas alike", wanted.len());
        }
    }
}

/// Adds documents, and waits until they are there.
fn upload(client: &Client, index: &str, documents: &[Value]) {
    for part in documents.chunks(UPLOAD) {
        client.done(&client.send("POST", &documents_path(index), NDJSON, &ndjson(part)));
    }
}

/// How many documents a node counts, without documents of words.
fn held(node: &Client, index: &str) -> usize {
    let stats = node.get(&format!("/indexes/{index}/stats")).ok();
    let of_words = stats["fieldDistribution"]["_miroir_words"].as_u64().unwrap_or(0);
    (stats["numberOfDocuments"].as_u64().expect("a count") - of_words) as usize
}

fn main() {
    let cities = data::documents();
    let settings = Settings::from_environment();
    println!(
        "{} cities; {} clients search every {:?}, {} write every {:?}",
        cities.len(),
        settings.searching,
        settings.search_every,
        settings.writing,
        settings.write_every
    );
    let mut bench = Bench::start(settings, cities);
    let moved = moves::measure(&mut bench);
    let missed = outage::measure(&mut bench);
    bench.compare_documents();

    tables::print_phases(&bench.phases);
    tables::print_moves(&moved);
    tables::print_outages(&missed);
    let problems: Vec<String> = bench
        .phases
        .iter()
        .flat_map(|(name, tally)| tally.problems().into_iter().map(move |text| format!("{name}: {text}")))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
