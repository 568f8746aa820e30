//! The database of several gateways is away: searches go on as if it was not, while all gateways are in touch.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;

use crate::support::FleetOptions;
use crate::support::client::{Client, Reply, eventually, pause, within};
use crate::support::corpus::cities;
use crate::support::gateways::Gateways;
use crate::support::parity::load;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn write(client: &Client, id: u64) -> Result<Reply, String> {
    let body = json!([{ "id": id, "name": format!("written {id}") }]).to_string();
    client.try_send("POST", "/indexes/cities/documents", &JSON, body.as_bytes())
}

/// Searches at each of `clients` while `meanwhile` goes on: what was not answered as it is without any fault, and how many were in all.
fn searched(clients: &[Client], total: usize, meanwhile: impl FnOnce()) -> (Vec<String>, usize) {
    let (wrong, count, stop) = (Mutex::new(Vec::new()), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for client in clients {
            let (wrong, count, stop) = (&wrong, &count, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let search = br#"{"q":"","limit":1000,"attributesToRetrieve":["id"]}"#;
                    let found = client.try_send("POST", "/indexes/cities/search", &JSON, search);
                    let is_good = |reply: &Reply| {
                        reply.status == 200
                            && reply.header("x-miroir-degraded").is_none()
                            && reply.value()["hits"].as_array().map(Vec::len) == Some(total)
                    };
                    match found {
                        Ok(reply) if is_good(&reply) => {}
                        Ok(reply) => {
                            let flag = reply.header("x-miroir-degraded").unwrap_or("no flag");
                            wrong.lock().push(format!("{}: {} {flag}", client.url, reply.status));
                        }
                        Err(error) => wrong.lock().push(format!("{}: {error}", client.url)),
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    pause(Duration::from_millis(20));
                }
            });
        }
        meanwhile();
        stop.store(true, Ordering::SeqCst);
    });
    (wrong.into_inner(), count.into_inner())
}

#[test]
fn a_database_that_is_away_costs_no_search_while_all_gateways_are_in_touch() {
    let mut gateways =
        Gateways::on_their_own_server(3, FleetOptions { nodes: 3, replication_factor: 2, ..Default::default() });
    let clients = gateways.clients();
    load(&clients[0], "cities", &cities(50));
    let written = |place: usize| 80_000_000 + place as u64;
    let (wrong, count) = searched(&clients, 50, || {
        gateways.server().stop();
        let begun = Instant::now();
        for round in 0..2 {
            for (place, client) in clients.iter().enumerate() {
                let asked = Instant::now();
                let refused = write(client, written(10 + place)).expect("an answer");
                let code = refused.value()["code"].clone();
                assert_eq!((refused.status, code), (503, json!("miroir_state_unavailable")), "{round} {place}");
                let took = asked.elapsed();
                assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&took), "{took:?}");
            }
        }
        pause(Duration::from_secs(32).saturating_sub(begun.elapsed()));
        for admin in [&gateways.fleet.admin, &gateways.others[0].admin, &gateways.others[1].admin] {
            assert_eq!(admin.get("/ready").status, 200);
        }
    });
    assert_eq!((wrong, count > 300), (Vec::new(), true), "{count} searches");
    gateways.server().restart();
    for (place, client) in clients.iter().enumerate() {
        let task = within(Duration::from_secs(20), "writes go on", || {
            write(client, written(place)).ok().filter(|reply| reply.status == 202)
        });
        assert_eq!(client.wait(&task)["status"], "succeeded");
    }
    assert_eq!(gateways.leader(1), Some(("gw-0".to_owned(), 1)), "nobody else has led");
    for client in &clients {
        let held = client.documents("cities");
        assert_eq!(held.len(), 53, "what was refused is not there, and all else is: {}", client.url);
    }

    // Whoever does not answer any more may have reached the database, and lead.
    eventually("all go by a good view", || {
        clients
            .iter()
            .all(|client| client.post("/indexes/cities/search", &json!({})).header("x-miroir-degraded").is_none())
            .then_some(())
    });
    gateways.server().stop();
    gateways.others[1].process.signal("KILL");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        for client in &clients[..2] {
            let reply = client.try_send("POST", "/indexes/cities/search", &JSON, br#"{"q":""}"#).expect("an answer");
            assert_eq!(reply.status, 200, "{}", reply.text);
            if begun.elapsed() > Duration::from_secs(14) {
                assert_eq!(reply.header("x-miroir-degraded"), Some("view"), "{}", client.url);
            }
        }
        pause(Duration::from_millis(100));
    }
    gateways.server().restart();
    for client in &clients[..2] {
        eventually("searches are good again", || {
            let reply = client.post("/indexes/cities/search", &json!({}));
            (reply.status == 200 && reply.header("x-miroir-degraded").is_none()).then_some(())
        });
        let task = within(Duration::from_secs(20), "writes go on", || {
            write(client, written(5)).ok().filter(|reply| reply.status == 202)
        });
        assert_eq!(client.wait(&task)["status"], "succeeded");
    }
}
