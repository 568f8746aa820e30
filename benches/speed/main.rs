//! What searches and writes cost, as tables of ratios with their spread: `make speed`.
//!
//! Stub nodes answer what real nodes once answered, so that only the gateway's own cost is measured; with
//! `MIROIR_TEST_MEILISEARCH` clusters of real nodes are compared with one of them. When all of it was measured, the section
//! *Figures* of docs/speed.md is written anew.
//!
//! | variable | what |
//! |---|---|
//! | `MIROIR_TEST_MEILISEARCH` | the program that real nodes run; without it all parts but `stub`, `rules`, `upload` and `gateways` are left out |
//! | `MIROIR_SPEED_NETWORK` | a program that has the engine's own network, to be compared with clusters |
//! | `MIROIR_SPEED_ONLY` | the parts that are measured, of `stub,rules,upload,gateways,kinds,random,cache,replicas,load,writes` |
//! | `MIROIR_SPEED_SHORT` | a quarter of the work or less |
//! | `MIROIR_SPEED_BIN` | another gateway's program in front of the stub nodes; docs/speed.md stays |
//! | `MIROIR_BENCH_DATA` | the cities that real nodes hold, NDJSON, plain or gzip |
//! | `MIROIR_BENCH_DICTIONARY` | the same for the entries of a dictionary |
//! | `MIROIR_BENCH_ENTRIES` | so many of each are searched, 40,000 unless it is set |
//!
//! | module | what lives there |
//! |---|---|
//! | `cached` | part `cache`: equal searches, and popular ones beside writes |
//! | `gateway` | the gateway before stub nodes, and a plain proxy |
//! | `kinds` | part `kinds`: searches of one kind against one node |
//! | `loading` | part `load`: the dictionary whole |
//! | `mix` | random searches, and Zipf's law |
//! | `mixed` | part `random`: random searches of one node, clusters, the engine's network |
//! | `network` | three nodes as the engine's network |
//! | `parts` | the parts, and how much is measured |
//! | `process` | processor time and memory of processes |
//! | `replicas` | part `replicas`: every node holds everything |
//! | `report` | the tables |
//! | `ruled` | part `rules`: rules and programs before stub nodes |
//! | `sets` | the documents |
//! | `several` | part `gateways`: what it costs that they are several |
//! | `small` | part `writes`: many writes of one document |
//! | `stub` | a node of recorded replies |
//! | `stubbed` | part `stub`: what is measured with stub nodes |
//! | `turns` | sides that are compared, asked the same in turn |
//! | `uploads` | part `upload`: large bodies before stub nodes |
//! | `wire` | a client that costs little |

mod cached;
#[path = "../support/data.rs"]
mod data;
mod gateway;
mod kinds;
mod loading;
mod mix;
mod mixed;
mod network;
mod parts;
mod process;
#[path = "../search_latency/proxy.rs"]
mod proxy;
mod replicas;
mod report;
mod ruled;
mod sets;
mod several;
mod small;
mod stub;
mod stubbed;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/suite/support/mod.rs"]
mod support;
#[path = "../support/times.rs"]
mod times;
mod turns;
mod uploads;
mod wire;

use parts::{Effort, Part};

fn main() {
    if let Ok(role) = std::env::var(gateway::ROLE) {
        let (listen, upstream) = role.split_once(' ').expect("two addresses");
        proxy::start(listen, upstream);
        loop {
            std::thread::park();
        }
    }
    process::end_children_with_us();
    let machine = process::machine();
    println!("{machine}");
    let (effort, parts) = (Effort::chosen(), Part::chosen());
    let has_nodes = std::env::var_os("MIROIR_TEST_MEILISEARCH").is_some();
    let mut sections = Vec::new();
    for part in &parts {
        if !part.has_stubs() && !has_nodes {
            println!("{}: left out, MIROIR_TEST_MEILISEARCH names no program", part.name());
            continue;
        }
        println!("--- {} ---", part.name());
        let measured = match part {
            Part::Stub => stubbed::measure(effort),
            Part::Rules => ruled::measure(effort),
            Part::Upload => uploads::measure(effort),
            Part::Gateways => several::measure(effort),
            Part::Kinds => kinds::measure(effort),
            Part::Random => mixed::measure(effort),
            Part::Cache => cached::measure(effort),
            Part::Replicas => replicas::measure(effort),
            Part::Load => loading::measure(effort),
            Part::Writes => small::measure(effort),
        };
        sections.extend(measured);
    }
    println!();
    sections.iter().for_each(|section| println!("{}", section.table()));
    let is_whole = parts.len() == Part::ALL.len() && has_nodes && std::env::var_os("MIROIR_BENCH_DICTIONARY").is_some();
    if is_whole && std::env::var_os("MIROIR_SPEED_BIN").is_none() {
        report::write(&how(&machine, effort), &sections);
    } else {
        println!("docs/speed.md stays: not everything was measured.");
    }
}

/// What the figures were measured on and by.
fn how(machine: &str, effort: Effort) -> String {
    let mut how = format!("Measured on {machine}.");
    if effort.is_short {
        how += " A short run: a quarter of the work or less (`MIROIR_SPEED_SHORT`).";
    }
    if std::env::var_os("MIROIR_SPEED_NETWORK").is_none() {
        how += " The engine's own network was left out.";
    }
    how
}
