//! Every node knows the words of all documents, and no client sees how.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{eventually, holds_words};
use crate::support::corpus::cities;
use crate::support::embedder::Embedder;
use crate::support::parity::{leaks, load};
use crate::support::{Client, Fleet, FleetOptions, Single};

/// Words that are all one letter from `balan`: more than the engine looks at for one word.
fn neighbours() -> Vec<Value> {
    let letters = "abcdefghijklmnopqrstuvwxyz0123456789";
    let mut words: BTreeSet<String> = BTreeSet::new();
    for at in 1..=5 {
        words.extend(letters.chars().map(|letter| format!("{}{letter}{}", &"balan"[..at], &"balan"[at..])));
    }
    for at in 1..5 {
        words.extend(letters.chars().map(|letter| format!("{}{letter}{}", &"balan"[..at], &"balan"[at + 1..])));
    }
    words
        .into_iter()
        .enumerate()
        .map(|(id, word)| json!({"id": id, "name": format!("{word} number{}", id % 7), "kind": id % 3}))
        .collect()
}

fn query(q: &str) -> Value {
    json!({"q": q, "limit": 400, "showRankingScoreDetails": true, "showMatchesPosition": true, "attributesToHighlight": ["*"],
        "facets": ["kind"]})
}

/// What is the same on one node and on a cluster of any number.
fn comparable(mut answer: Value) -> Value {
    let fields = answer.as_object_mut().expect("an answer");
    fields.retain(|name, _| !["processingTimeMs", "requestUid"].contains(&name.as_str()));
    answer
}

/// The words that a node has been sent.
fn words_on(node: &Client, index: &str) -> BTreeSet<String> {
    let page = node.get(&format!("/indexes/{index}/documents?limit=100000")).ok();
    let held = page["results"].as_array().expect("results").iter().filter(|document| holds_words(document));
    let texts = held.flat_map(|document| [&document["_miroir_words"], &document["name"]]).filter_map(Value::as_str);
    texts.flat_map(|text| text.split(". ").map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn await_word(fleet: &Fleet, word: &str, there: bool) {
    for node in &fleet.nodes {
        eventually(&format!("`{word}` on {}: {there}", node.name), || {
            (words_on(&node.client, "words").contains(word) == there).then_some(())
        });
    }
}

fn settings(client: &Client, index: &str) {
    client.done(&client.post("/indexes", &json!({"uid": index, "primaryKey": "id"})));
    client.done(&client.json(
        "PATCH",
        &format!("/indexes/{index}/settings"),
        &json!({"filterableAttributes": ["kind"]}),
    ));
}

#[test]
fn a_word_with_more_neighbours_than_the_engine_looks_at_finds_what_it_finds_on_one_node() {
    let single = Single::start();
    let documents = neighbours();
    assert!(documents.len() > 250);
    for replicas in [1, 2] {
        let fleet = Fleet::with(FleetOptions { nodes: 3, replication_factor: replicas, ..Default::default() });
        let clients = [&single.client, &fleet.client];
        for client in clients {
            if client.get("/indexes/words").status == 404 {
                settings(client, "words");
                // In several bodies, so that most words come to a node ahead of other nodes' documents.
                for part in documents.chunks(60) {
                    client.add("words", &json!(part));
                }
            }
        }
        for q in ["balan", "balam", "balan number3", "bala", "blaan", "\"balan\" numbr1"] {
            let [one, many] = clients.map(|client| comparable(client.search("words", &query(q))));
            assert_eq!(one["estimatedTotalHits"], many["estimatedTotalHits"], "{q}, {replicas} replicas");
            let ids = |answer: &Value| {
                answer["hits"].as_array().expect("hits").iter().map(|hit| hit["id"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(ids(&one), ids(&many), "{q}, {replicas} replicas");
            assert_eq!(one, many, "{q}, {replicas} replicas");
        }
        let capped = clients[1].search("words", &query("balan"))["estimatedTotalHits"].as_u64().expect("a total");
        assert!(capped < documents.len() as u64, "the engine's cap is what this is about: {capped}");
    }
}

#[test]
fn no_client_sees_documents_of_words() {
    let single = Single::start();
    let fleet = Fleet::with(FleetOptions { nodes: 3, replication_factor: 1, ..Default::default() });
    let documents = cities(400);
    load(&single.client, "cities", &documents);
    load(&fleet.client, "cities", &documents);
    let held: Vec<Value> =
        fleet.nodes.iter().flat_map(|node| node.client.documents("cities").into_values()).filter(holds_words).collect();
    assert!(!held.is_empty());
    let id = held[0]["id"].as_str().expect("an id");
    assert_eq!(fleet.client.get(&format!("/indexes/cities/documents/{id}")).status, 404);
    let by_ids = fleet.client.post("/indexes/cities/documents/fetch", &json!({"ids": [id]})).ok();
    assert_eq!(by_ids["results"], json!([]));
    assert_eq!(fleet.client.documents("cities").len(), documents.len());
    for path in ["/indexes/cities/stats", "/indexes/cities"] {
        let [one, many] = [&single.client, &fleet.client].map(|client| client.get(path).ok());
        for field in ["numberOfDocuments", "fieldDistribution", "primaryKey"] {
            assert_eq!(one[field], many[field], "{path}: {field}");
        }
    }
    let everything = json!({"q": "", "facets": ["*"], "limit": 1000, "showRankingScore": true});
    let answer = fleet.client.search("cities", &everything);
    assert_eq!(answer["hits"].as_array().map(Vec::len), Some(documents.len()));
    assert!(!leaks(&answer));
    // A document of the kind is refused, in the words of a bad id.
    let task = fleet.client.wait(&fleet.client.post("/indexes/cities/documents", &json!([{"id": id}])));
    assert_eq!((&task["status"], &task["error"]["code"]), (&json!("failed"), &json!("invalid_document_id")), "{task}");
    // What changes documents by a filter, or all of them, leaves words alone, and does not count them.
    for client in [&single.client, &fleet.client] {
        let some =
            client.done(&client.post("/indexes/cities/documents/delete", &json!({"filter": "NOT country = FR"})));
        let rest = client.done(&client.delete("/indexes/cities/documents"));
        let counts = [&some, &rest].map(|task| task["details"]["deletedDocuments"].as_u64().expect("a count"));
        assert_eq!(counts.iter().sum::<u64>(), documents.len() as u64, "{counts:?}");
    }
}

#[test]
fn a_node_that_was_away_gets_the_words_that_it_missed() {
    let mut fleet = Fleet::with(FleetOptions { nodes: 3, replication_factor: 2, ..Default::default() });
    settings(&fleet.client, "words");
    fleet.client.add("words", &json!([{"id": 1, "name": "alpha"}]));
    await_word(&fleet, "alpha", true);
    fleet.nodes[2].kill();
    fleet.await_state("node-2", "down");
    fleet.client.add("words", &json!([{"id": 2, "name": "bravo"}]));
    fleet.nodes[2].restart();
    fleet.await_state("node-2", "up");
    await_word(&fleet, "bravo", true);
    await_word(&fleet, "alpha", true);
}

#[test]
fn words_that_no_document_has_any_more_go() {
    let fleet = Fleet::with(FleetOptions { nodes: 3, replication_factor: 1, ..Default::default() });
    settings(&fleet.client, "words");
    fleet.client.add("words", &json!([{"id": 1, "name": "alpha"}, {"id": 2, "name": "bravo"}]));
    await_word(&fleet, "bravo", true);
    fleet.client.done(&fleet.client.delete("/indexes/words/documents/2"));
    await_word(&fleet, "bravo", false);
    await_word(&fleet, "alpha", true);
    // A word that comes again is sent again.
    fleet.client.add("words", &json!([{"id": 3, "name": "bravo"}]));
    await_word(&fleet, "bravo", true);
    fleet.client.done(&fleet.client.delete("/indexes/words/documents"));
    await_word(&fleet, "alpha", false);
    // Another choice of what is searched makes other words.
    fleet.client.add("words", &json!([{"id": 4, "name": "delta", "note": "echo"}]));
    await_word(&fleet, "echo", true);
    let searchable = json!({"searchableAttributes": ["name"]});
    fleet.client.done(&fleet.client.json("PATCH", "/indexes/words/settings", &searchable));
    await_word(&fleet, "echo", false);
}

#[test]
fn a_killed_gateway_still_knows_which_words_nodes_have() {
    let mut fleet = Fleet::with(FleetOptions { nodes: 3, replication_factor: 1, ..Default::default() });
    settings(&fleet.client, "words");
    fleet.client.add("words", &json!([{"id": 1, "name": "alpha bravo"}]));
    await_word(&fleet, "bravo", true);
    let before = fleet.nodes[0].client.documents("words").values().filter(|document| holds_words(document)).count();
    // What is durable of vocabularies is written with each round.
    fleet.rounds("vocabularies", 2);
    fleet.kill_gateway();
    fleet.start_gateway();
    fleet.await_state("node-0", "up");
    fleet.client.add("words", &json!([{"id": 1, "name": "alpha bravo"}]));
    fleet.client.add("words", &json!([{"id": 1, "name": "alpha charlie"}]));
    await_word(&fleet, "charlie", true);
    let after = fleet.nodes[0].client.documents("words").values().filter(|document| holds_words(document)).count();
    assert_eq!(after, before + 1, "only what is new is sent");
}

#[test]
fn many_small_writes_leave_few_documents_of_words() {
    let fleet = Fleet::with(FleetOptions { nodes: 2, replication_factor: 1, ..Default::default() });
    settings(&fleet.client, "words");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let client = fleet.client.clone();
            scope.spawn(move || {
                for round in 0..40 {
                    client.add("words", &json!([{"id": writer * 100 + round, "name": format!("w{writer}x{round}")}]));
                }
            });
        }
    });
    for node in &fleet.nodes {
        eventually("documents of words are put together", || {
            let held = node.client.documents("words");
            (held.values().filter(|document| holds_words(document)).count() <= 120).then_some(())
        });
        let words = words_on(&node.client, "words");
        assert!(
            (0..8).all(|writer| (0..40).all(|round| words.contains(&format!("w{writer}x{round}")))),
            "no word is lost"
        );
    }
    assert_eq!(fleet.client.documents("words").len(), 320);
}

#[test]
fn an_embedder_never_sees_a_document_of_words() {
    let embedder = Embedder::start();
    let fleet = Fleet::with(FleetOptions { nodes: 3, replication_factor: 1, ..Default::default() });
    settings(&fleet.client, "words");
    fleet
        .client
        .add("words", &json!([{"id": 1, "name": "alpha"}, {"id": 2, "name": "bravo"}, {"id": 3, "name": "charlie"}]));
    await_word(&fleet, "bravo", true);
    let embedders = json!({"embedders": {"e": embedder.settings("{{doc.name}}")}});
    fleet.client.done(&fleet.client.json("PATCH", "/indexes/words/settings", &embedders));
    await_word(&fleet, "bravo", false);
    fleet.client.add("words", &json!([{"id": 4, "name": "delta"}]));
    fleet.rounds("vocabularies", 4);
    assert!(fleet.nodes.iter().all(|node| words_on(&node.client, "words").is_empty()));
    let embedded = fleet.nodes.iter().map(|node| {
        let stats = node.client.get("/indexes/words/stats").ok();
        stats["numberOfEmbeddedDocuments"].as_u64().expect("a count")
    });
    assert_eq!(embedded.sum::<u64>(), 4, "each document once");
    // Without embedders words are shared again.
    fleet.client.done(&fleet.client.json("PATCH", "/indexes/words/settings", &json!({"embedders": null})));
    await_word(&fleet, "delta", true);
}

#[test]
fn words_are_shared_once_a_node_lacks_some_documents_and_when_the_operator_says_so() {
    let mut fleet = Fleet::with(FleetOptions { nodes: 2, replication_factor: 2, ..Default::default() });
    settings(&fleet.client, "words");
    fleet.client.add("words", &json!([{"id": 1, "name": "alpha"}, {"id": 2, "name": "bravo"}]));
    fleet.rounds("vocabularies", 4);
    assert!(fleet.nodes.iter().all(|node| words_on(&node.client, "words").is_empty()), "each node has every document");
    let new = fleet.spawn_node();
    fleet.admin.post("/nodes", &json!({"id": "node-2", "url": fleet.nodes[new].client.url})).ok();
    fleet.await_rest(Duration::from_secs(60));
    await_word(&fleet, "alpha", true);
    await_word(&fleet, "bravo", true);

    let shared = std::fs::read_to_string(&fleet.config).expect("the configuration");
    for (setting, there) in [("local", false), ("shared", true)] {
        std::fs::write(&fleet.config, format!("{shared}search: {{ words: {setting} }}\n"))
            .expect("a new configuration");
        fleet.kill_gateway();
        fleet.start_gateway();
        await_word(&fleet, "alpha", there);
        fleet.client.add("words", &json!([{"id": 3, "name": format!("charlie{setting}")}]));
        await_word(&fleet, &format!("charlie{setting}"), there);
        assert_eq!(fleet.client.documents("words").len(), 3);
    }
}
