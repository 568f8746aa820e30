//! Several gateways: each answers the same, and the death of the one that leads costs those at the others nothing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use super::process::DemoError;
use super::{Fleet, Gateway};
use crate::commands::client::{self, ClientError};

/// Ids above those of the cities.
const FIRST_ID: u64 = 9_000_000_000;

/// What searches beside the death of the leader came to.
#[derive(Default)]
struct Searched {
    answered: u64,
    failed: Vec<String>,
}

/// Prints what each gateway answers, then kills the one that leads.
pub fn show(fleet: &mut Fleet, folder: &Path, interrupted: &mpsc::Receiver<()>) -> Result<(), DemoError> {
    println!("\nthe same through each gateway: a city is written through it, and all are searched for:");
    for (id, gateway) in (FIRST_ID..).zip(&fleet.gateways) {
        let task = write(gateway, id)?;
        fleet.wait(&task, interrupted)?;
    }
    let mut answers: Vec<Value> = Vec::new();
    for gateway in &fleet.gateways {
        let found = search(gateway)?;
        println!("  {} {}: {} {}", gateway.process.name, gateway.api, role(gateway)?, found["hits"]);
        answers.push(found["hits"].clone());
    }
    if let Some(other) = answers.iter().find(|answer| **answer != answers[0]) {
        return Err(DemoError::Differ(format!("{} and {other}", answers[0])));
    }

    let mut leader = None;
    for (place, gateway) in fleet.gateways.iter().enumerate() {
        if leader.is_none() && role(gateway)? == "leads" {
            leader = Some(place);
        }
    }
    let Some(leader) = leader else { return Ok(()) };
    println!(
        "\nkilling {}, which leads, while others are searched and written to …",
        fleet.gateways[leader].process.name
    );
    fleet.gateways[leader].process.kill();
    let others: Vec<&Gateway> =
        fleet.gateways.iter().enumerate().filter(|(place, _)| *place != leader).map(|(_, gateway)| gateway).collect();
    let begun = Instant::now();
    let done = AtomicBool::new(false);
    let (written, searched) = thread::scope(|scope| {
        let searching = scope.spawn(|| search_until(&done, &others));
        let written = write(others[0], FIRST_ID + 100);
        let took = begun.elapsed();
        done.store(true, Ordering::Relaxed);
        (written.map(|task| (task, took)), searching.join().unwrap_or_default())
    });
    let (task, took) = written?;
    println!(
        "  a write through {} waited {:.1} s for the next leader, and was taken; meanwhile {} searches were answered and {} failed",
        others[0].process.name,
        took.as_secs_f64(),
        searched.answered,
        searched.failed.len()
    );
    if let Some(why) = searched.failed.first() {
        println!("  the first of them: {why}");
    }
    fleet.gateways[leader].restart(folder, interrupted)?;
    fleet.wait(&task, interrupted)?;
    for gateway in &fleet.gateways {
        println!("  {} {}", gateway.process.name, role(gateway)?);
    }
    Ok(())
}

fn search_until(done: &AtomicBool, gateways: &[&Gateway]) -> Searched {
    let mut searched = Searched::default();
    while !done.load(Ordering::Relaxed) {
        for gateway in gateways {
            match search(gateway) {
                Ok(_) => searched.answered += 1,
                Err(error) => searched.failed.push(error.to_string()),
            }
        }
    }
    searched
}

fn write(gateway: &Gateway, id: u64) -> Result<Value, ClientError> {
    let city = json!([{ "id": id, "name": format!("Written through {}", gateway.process.name), "country": "XX" }]);
    client::send(&format!("{}/indexes/cities/documents", gateway.api), "POST", None, Some(&city))
}

fn search(gateway: &Gateway) -> Result<Value, ClientError> {
    let query = json!({ "filter": "country = XX", "attributesToRetrieve": ["name"] });
    client::send(&format!("{}/indexes/cities/search", gateway.api), "POST", None, Some(&query))
}

/// `leads` or `follows`.
fn role(gateway: &Gateway) -> Result<String, ClientError> {
    let answer = client::send(&format!("{}/leader", gateway.admin), "GET", None, None)?;
    Ok(client::cell(&answer["role"]))
}
