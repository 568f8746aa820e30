//! A node that seems well and answers nonsense: contained to its replicas, and never shown to a client.

use std::time::Duration;

use serde_json::{Value, json};

use crate::overload::{replicas_are_equal, settled};
use crate::support::corpus::cities;
use crate::support::impostor::{Impostor, Persona};
use crate::support::parity::load;
use crate::support::{Client, Fleet, FleetOptions};

/// A fleet whose gateway reaches its second node only through an impostor, which is honest at first.
fn fleet_with_impostor() -> (Fleet, Impostor) {
    let mut fleet = Fleet::with(FleetOptions {
        more: "health: { interval: 500ms, timeout: 5s, rise: 1, fall: 30 }\n\
               write: { slow_after: 1s, timeout: 4s }\nsearch: { attempt_timeout: 500ms }\n"
            .to_owned(),
        ..Default::default()
    });
    let impostor = Impostor::start(&fleet.nodes[1].client.url);
    fleet.kill_gateway();
    let config = std::fs::read_to_string(&fleet.config).expect("the configuration");
    let through = config.replace(&fleet.nodes[1].client.url, &format!("http://127.0.0.1:{}", impostor.port));
    assert_ne!(config, through);
    std::fs::write(&fleet.config, through).expect("a file");
    fleet.start_gateway();
    (fleet, impostor)
}

#[test]
fn no_nonsense_of_a_node_reaches_a_client() {
    let documents = cities(300);
    let (fleet, impostor) = fleet_with_impostor();
    load(&fleet.client, "cities", &documents);
    let queries: Vec<Value> =
        ["san", "a", "new", "p"].iter().map(|q| json!({"q": q, "limit": 20, "sort": ["population:desc"]})).collect();
    // To wait for `search.timeout` or `write.timeout`, 30 s and more, is too long for this client.
    let client = Client::with_limit(&fleet.client.url, Duration::from_secs(20));
    let search = |query: &Value| client.post("/indexes/cities/search", query);
    let ids = |answer: &Value| -> Vec<Value> {
        answer["hits"].as_array().into_iter().flatten().map(|hit| hit["id"].clone()).collect()
    };
    let expected: Vec<Vec<Value>> = queries.iter().map(|query| ids(&search(query).ok())).collect();
    let mut written = documents.len();
    for (at, persona) in Persona::ALL.iter().enumerate() {
        let before = (impostor.lies(), impostor.searches());
        impostor.become_one(*persona);
        for (query, expected) in queries.iter().zip(&expected) {
            let reply = search(query);
            assert_eq!(reply.status, 200, "{persona:?}: {}", reply.text);
            assert!(
                !reply.text.contains("evil") && reply.header("x-miroir-degraded").is_none(),
                "{persona:?}: {}",
                reply.text
            );
            assert_eq!(&ids(&reply.value()), expected, "{persona:?}");
        }
        let asked = impostor.searches() - before.1;
        assert!(asked <= 2 * queries.len(), "{persona:?}: asked {asked} times for {} searches", queries.len());
        for path in ["/indexes", "/indexes/cities/settings", "/indexes/cities/stats", "/version"] {
            let reply = client.get(path);
            assert!(
                reply.status == 200 && !reply.text.contains("evil"),
                "{persona:?}: {path}: {} {}",
                reply.status,
                reply.text
            );
        }
        let new: Vec<Value> = (0..40).map(|n| json!({"id": 50_000_000 + at * 40 + n, "name": "zzz"})).collect();
        let reply = client.post("/indexes/cities/documents", &json!(new));
        assert_eq!(reply.status, 202, "{persona:?}: {}", reply.text);
        written += new.len();
        fleet.client.done(&reply);
        assert!(impostor.lies() > before.0, "{persona:?}: nobody asked the node");
        impostor.become_one(Persona::Honest);
        settled(&fleet);
    }
    replicas_are_equal(&fleet, "cities", 2, written);
}
