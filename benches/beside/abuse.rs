//! Clients that send wrong and heavy requests to an index of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::pause;
use crate::support::random::Dice;
use crate::support::{Client, parity};

const ABUSED: &str = "abused";

/// How many requests were sent.
#[derive(Default)]
pub struct Sent {
    pub heavy: usize,
    pub wrong: usize,
}

// === impl Sent ===

impl Sent {
    pub fn join(&mut self, other: Self) {
        self.heavy += other.heavy;
        self.wrong += other.wrong;
    }
}

/// The index, with a document that forbids to sort by place.
pub fn load(client: &Client, cities: &[Value]) {
    parity::load(client, ABUSED, cities);
    client.done(&client.json(
        "PATCH",
        &format!("/indexes/{ABUSED}/settings"),
        &json!({"sortableAttributes": ["population"], "filterableAttributes": ["population", "country"]}),
    ));
    client.add(ABUSED, &json!([{"id": "forbids", "_geo": "here"}]));
}

/// Half of them heavy, half of them wrong, until `stop`.
pub fn send(client: &Client, mut dice: Dice, every: Duration, stop: &AtomicBool) -> Sent {
    let mut sent = Sent::default();
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let heavy = dice.roll(2) == 0;
        let (method, path, body) = if heavy { heavy_request(&mut dice) } else { wrong_request(&mut dice) };
        // Whatever comes of it: what is measured are the others.
        let path = format!("/indexes/{ABUSED}{path}");
        let _ = client.try_send(method, &path, &[("Content-Type", "application/json")], body.to_string().as_bytes());
        sent.heavy += usize::from(heavy);
        sent.wrong += usize::from(!heavy);
        pause(every.saturating_sub(started.elapsed()));
    }
    sent
}

fn heavy_request(dice: &mut Dice) -> (&'static str, &'static str, Value) {
    let body = match dice.roll(3) {
        0 => {
            let parts: Vec<String> = (0..1999).map(|n| format!("population = {}", n * 37)).collect();
            json!({"filter": parts.join(" OR ")})
        }
        1 => {
            let values: Vec<String> = (0..10_000).map(|n| (n * 13).to_string()).collect();
            json!({"filter": format!("population IN [{}]", values.join(", "))})
        }
        _ => json!({"limit": 100_000, "sort": ["population:desc"], "showRankingScore": true}),
    };
    ("POST", "/search", body)
}

fn wrong_request(dice: &mut Dice) -> (&'static str, &'static str, Value) {
    match dice.roll(4) {
        0 => ("POST", "/documents", json!([{"id": "good", "name": "x"}, {"id": "a b"}])),
        1 => ("PUT", "/documents", json!([{"id": "good", "name": "x"}, {"id": "bad", "_vectors": 5}])),
        2 => ("PATCH", "/settings", json!({"sortableAttributes": ["_geo", "population"]})),
        _ => ("POST", "/search", json!({"filter": "nowhere = 1"})),
    }
}
