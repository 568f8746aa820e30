//! What searches and uploads cost, as one table of ratios with their spread: `make speed`.
//!
//! Stub nodes answer what real nodes once answered, so that only the gateway's own cost is measured; with
//! `MIROIR_TEST_MEILISEARCH` a cluster of real nodes is compared with one of them. docs/speed.md is written anew.
//!
//! | variable | what |
//! |---|---|
//! | `MIROIR_SPEED_SHORT` | a quarter of the work |
//! | `MIROIR_SPEED_BIN` | another gateway's program in front of the stub nodes; docs/speed.md stays |
//! | `MIROIR_BENCH_DATA` | the cities that real nodes hold, NDJSON, plain or gzip |
//!
//! | module | what lives there |
//! |---|---|
//! | `gateway` | the gateway before stub nodes, and a plain proxy |
//! | `process` | processor time and memory of processes |
//! | `real` | real nodes |
//! | `report` | the tables |
//! | `stub` | a node of recorded replies |
//! | `stubbed` | what is measured with stub nodes |
//! | `wire` | a client that costs little |

#[path = "../support/data.rs"]
mod data;
mod gateway;
mod process;
#[path = "../search_latency/proxy.rs"]
mod proxy;
mod real;
mod report;
mod stub;
mod stubbed;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/suite/support/mod.rs"]
mod support;
#[path = "../support/times.rs"]
mod times;
mod wire;

use stubbed::Effort;

fn main() {
    if let Ok(role) = std::env::var(gateway::ROLE) {
        let (listen, upstream) = role.split_once(' ').expect("two addresses");
        proxy::start(listen, upstream);
        loop {
            std::thread::park();
        }
    }
    let short = std::env::var_os("MIROIR_SPEED_SHORT").is_some();
    let machine = process::machine();
    println!("{machine}");
    let effort = if short {
        Effort { rounds: 5, searches: 500, upload: 100_000_000 }
    } else {
        Effort { rounds: 9, searches: 2000, upload: 500_000_000 }
    };
    let figures = stubbed::measure(effort);
    let mut measured = Vec::new();
    if std::env::var_os("MIROIR_TEST_MEILISEARCH").is_some() {
        let documents = data::documents();
        let (searches, rounds) = if short { (60, 3) } else { (300, 5) };
        measured = real::measure(&documents, searches, rounds);
        println!("{}", report::tables(&[], &measured));
    }
    if std::env::var_os("MIROIR_SPEED_BIN").is_none() {
        report::write(&machine, &report::tables(&figures, &measured));
    }
}
