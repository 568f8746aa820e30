//! Answers that are kept: given again as long as nothing has changed, and never longer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Reply, eventually};
use crate::support::fault_proxy::Mode;
use crate::support::random::Dice;
use crate::support::stop::StopOnDrop;
use crate::support::{Client, Fleet, FleetOptions};

const INDEX: &str = "kept";

fn fleet() -> Fleet {
    let more = "search: { attempt_timeout: 30s }\n".to_owned();
    let fleet = Fleet::with(FleetOptions { cache: true, proxied: true, more, ..FleetOptions::default() });
    fleet.client.done(&fleet.client.post("/indexes", &json!({"uid": INDEX, "primaryKey": "id"})));
    let settings = json!({"filterableAttributes": ["client"], "sortableAttributes": ["version"]});
    fleet.client.done(&fleet.client.json("PATCH", &format!("/indexes/{INDEX}/settings"), &settings));
    fleet
}

fn search(client: &Client, query: &Value) -> Reply {
    client.post(&format!("/indexes/{INDEX}/search"), query)
}

fn status(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.header("cache-status").expect("a search says how it was answered")
}

/// Asks until the answer is a kept one, and returns it.
fn kept(client: &Client, query: &Value) -> Value {
    eventually("the answer is kept", || {
        let reply = search(client, query);
        (status(&reply) == "Miroir; hit").then(|| reply.ok())
    })
}

fn ids(answer: &Value) -> Vec<String> {
    let hits = answer["hits"].as_array().expect("hits");
    hits.iter().map(|hit| hit["id"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_kept_answer_is_given_until_something_changes() {
    let fleet = fleet();
    let client = &fleet.client;
    let query = json!({"q": "word", "sort": ["version:asc"]});
    let documents =
        |ids: &[&str]| -> Value { ids.iter().map(|id| json!({"id": id, "text": "word", "version": 1})).collect() };
    client.add(INDEX, &documents(&["a", "b"]));
    assert_eq!(ids(&kept(client, &query)), ["a", "b"]);

    // Each kind of change is seen by the first search after its end, and then there is a kept answer again.
    let path = |rest: &str| format!("/indexes/{INDEX}{rest}");
    let now = || {
        let reply = search(client, &query);
        assert_ne!(status(&reply), "Miroir; hit", "{}", reply.text);
        reply.ok()
    };
    client.add(INDEX, &documents(&["c"]));
    assert_eq!(ids(&now()), ["a", "b", "c"]);
    kept(client, &query);
    client.done(&client.delete(&path("/documents/a")));
    assert_eq!(ids(&now()), ["b", "c"]);
    kept(client, &query);
    client.done(&client.json("PUT", &path("/settings/displayed-attributes"), &json!(["id", "version"])));
    assert_eq!(now()["hits"], json!([{"id": "b", "version": 1}, {"id": "c", "version": 1}]));
    kept(client, &query);
    client.done(&client.post("/indexes", &json!({"uid": "other", "primaryKey": "id"})));
    let settings = json!({"sortableAttributes": ["version"]});
    client.done(&client.json("PATCH", "/indexes/other/settings", &settings));
    client.add("other", &documents(&["z"]));
    kept(client, &query);
    client.done(&client.post("/swap-indexes", &json!([{"indexes": [INDEX, "other"]}])));
    assert_eq!(ids(&now()), ["z"]);
    kept(client, &query);
    client.done(&client.delete(&path("")));
    assert_eq!(search(client, &query).status, 404);
}

#[test]
fn clients_decide_and_answers_of_other_indexes_stay() {
    let fleet = fleet();
    let client = &fleet.client;
    client.add(INDEX, &json!([{"id": "a", "text": "word"}]));
    client.add("other", &json!([{"id": "a"}]));
    let query = json!({"q": "word"});
    kept(client, &query);
    let asked = |control: &str| {
        let headers = [("Content-Type", "application/json"), ("Cache-Control", control)];
        let reply = client.send("POST", &format!("/indexes/{INDEX}/search"), &headers, query.to_string().as_bytes());
        status(&reply).to_owned()
    };
    assert_eq!(asked("no-cache"), "Miroir; fwd=request; stored");
    assert_eq!(asked("no-store"), "Miroir; fwd=request");
    assert_eq!(asked("max-age=60"), "Miroir; hit");
    client.add("other", &json!([{"id": "b"}]));
    assert_eq!(asked("max-age=60"), "Miroir; hit");

    let again = |method: &str, path: &str, body: Option<Value>| {
        eventually(path, || {
            let reply = match &body {
                Some(body) => client.json(method, path, body),
                None => client.get(path),
            };
            (status(&reply) == "Miroir; hit").then_some(())
        });
    };
    again("GET", &format!("/indexes/{INDEX}/search?q=word"), None);
    again("GET", &format!("/indexes/{INDEX}/documents/a"), None);
    again("GET", &format!("/indexes/{INDEX}/documents?limit=1"), None);
    again("POST", &format!("/indexes/{INDEX}/documents/fetch"), Some(json!({"limit": 2})));
    again("POST", &format!("/indexes/{INDEX}/facet-search"), Some(json!({"facetName": "client"})));
    let queries = json!([{"indexUid": INDEX, "q": "word"}, {"indexUid": "other", "q": ""}]);
    again("POST", "/multi-search", Some(json!({"queries": queries})));
    again("POST", "/multi-search", Some(json!({"queries": queries, "federation": {}})));
    client.add("other", &json!([{"id": "c"}]));
    let reply = client.post("/multi-search", &json!({"queries": queries}));
    assert_ne!(status(&reply), "Miroir; hit");
    assert_eq!(reply.ok()["results"][1]["estimatedTotalHits"], 3);
    assert_eq!(client.get("/stats").header("cache-status"), None);
}

#[test]
fn equal_searches_under_way_are_one() {
    let fleet = fleet();
    let client = &fleet.client;
    client.add(INDEX, &json!([{"id": "a", "text": "word"}]));
    kept(client, &json!({"q": "word"}));
    let asked = || -> usize {
        fleet.nodes.iter().map(|node| node.proxy.as_ref().expect("a proxy").asked(&format!("/{INDEX}/search"))).sum()
    };
    let once = {
        let before = asked();
        search(client, &json!({"q": "first"})).ok();
        asked() - before
    };
    for node in &fleet.nodes {
        node.proxy.as_ref().expect("a proxy").set(Mode::Delay(Duration::from_millis(150)));
    }
    let before = asked();
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| search(client, &json!({"q": "second"})))).collect();
        asking.into_iter().map(|asking| asking.join().expect("an answer")).collect()
    });
    assert_eq!(asked() - before, once, "eight searches are one");
    let with = |end: &str| replies.iter().filter(|reply| status(reply).ends_with(end)).count();
    assert_eq!(with("stored"), 1);
    assert_eq!(with("collapsed") + with("hit"), 7);
}

#[test]
fn a_write_to_one_node_costs_a_search_that_node_alone() {
    let fleet =
        Fleet::with(FleetOptions { cache: true, replication_factor: 1, proxied: true, ..FleetOptions::default() });
    let client = &fleet.client;
    client.done(&client.post("/indexes", &json!({"uid": INDEX, "primaryKey": "id"})));
    // A number that nobody has had before would be a word that all nodes get.
    let settings = json!({
        "searchableAttributes": ["text"], "filterableAttributes": ["version"], "sortableAttributes": ["version"],
    });
    client.done(&client.json("PATCH", &format!("/indexes/{INDEX}/settings"), &settings));
    let documents: Value = (0..60).map(|id| json!({"id": id, "text": "word", "version": id})).collect();
    client.add(INDEX, &documents);
    let asked = || -> usize {
        fleet.nodes.iter().map(|node| node.proxy.as_ref().expect("a proxy").asked(&format!("/{INDEX}/search"))).sum()
    };
    let searches = [json!({"q": "word", "sort": ["version:desc"]}), json!({"q": "word", "facets": ["version"]})];
    let told = |reply: Reply| {
        let mut answer = reply.ok();
        let members = answer.as_object_mut().expect("an object");
        members.retain(|name, _| name != "processingTimeMs" && name != "requestUid");
        answer
    };
    let mut fewer = 0;
    for round in 0..20 {
        // The same words each time: nodes that do not hold the document hear nothing of it.
        client.add(INDEX, &json!([{"id": round, "text": "word", "version": 1000 + round}]));
        for query in &searches {
            let before = asked();
            let answer = told(search(client, query));
            let took = asked() - before;
            assert!((1..=3).contains(&took), "{took} nodes were asked");
            fewer += usize::from(took == 1);
            let headers = [("Content-Type", "application/json"), ("Cache-Control", "no-cache")];
            let path = format!("/indexes/{INDEX}/search");
            let before = asked();
            let fresh = told(client.send("POST", &path, &headers, query.to_string().as_bytes()));
            assert_eq!((asked() - before, answer), (3, fresh), "round {round}: {query}");
        }
    }
    assert!(fewer >= 20, "{fewer} of 40 searches asked one node alone");
    assert!(fleet.metric("miroir_kept_replies_total") >= 40.0);
}

/// What the writers have seen as succeeded: for each the newest version of its document.
struct Seen(Vec<AtomicU64>);

impl Seen {
    /// Searches, and insists on what was seen before that.
    fn check(&self, client: &Client, query: &Value) {
        let before: Vec<u64> = self.0.iter().map(|version| version.load(Ordering::SeqCst)).collect();
        let reply = search(client, query);
        // A node that was killed a moment ago may cost an answer, never a wrong one.
        if reply.status != 200 || reply.header("x-miroir-degraded").is_some() {
            return;
        }
        let answer = reply.ok();
        for (writer, least) in before.iter().enumerate().filter(|(_, least)| **least > 0) {
            let hits = answer["hits"].as_array().expect("hits");
            let found = hits.iter().find(|hit| hit["id"] == format!("w{writer}")).map(|hit| hit["version"].as_u64());
            let found = found.flatten().unwrap_or_default();
            let said = reply.header("cache-status").unwrap_or_default();
            assert!(found >= *least, "writer {writer}: {found} found, {least} was seen before ({said})");
        }
    }
}

#[test]
fn whoever_has_seen_a_task_succeed_finds_what_it_wrote() {
    const WRITERS: usize = 3;
    const READERS: usize = 4;
    const ROUNDS: u64 = 60;
    let mut fleet = fleet();
    let client = fleet.client.clone();
    let seen = Seen((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    // A few questions that everybody asks.
    let queries: Vec<Value> = (0..5).map(|n| json!({"q": "word", "limit": 20 + n, "sort": ["version:desc"]})).collect();
    let stop = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let ending = StopOnDrop(&stop);
        let (seen, queries, client, stop, written) = (&seen, &queries, &client, &stop, &written);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut dice = Dice::new(writer as u64);
                    for version in 1..=ROUNDS {
                        // Sometimes with a word that nobody has had before, which goes to all nodes.
                        let more = if dice.roll(3) == 0 { format!("w{writer}x{version}") } else { String::new() };
                        let document =
                            json!([{"id": format!("w{writer}"), "text": format!("word {more}"), "version": version}]);
                        client.add(INDEX, &document);
                        seen.0[writer].store(version, Ordering::SeqCst);
                        written.fetch_add(1, Ordering::SeqCst);
                        for _ in 0..dice.roll(12) {
                            seen.check(client, dice.one(queries));
                        }
                        // Now and then it only asks, until an answer is kept or others have written all the time.
                        if dice.roll(4) == 0 {
                            let query = dice.one(queries);
                            for _ in 0..20 {
                                if search(client, query).header("cache-status") == Some("Miroir; hit") {
                                    break;
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        for reader in 0..READERS {
            scope.spawn(move || {
                let mut dice = Dice::new(100 + reader as u64);
                while !stop.load(Ordering::SeqCst) {
                    seen.check(client, dice.one(queries));
                }
            });
        }
        // Nodes die meanwhile, and come back.
        let mut node = 0;
        while !writers.iter().all(|writer| writer.is_finished()) {
            let before = written.load(Ordering::SeqCst);
            eventually("some more is written", || {
                let done = writers.iter().all(|writer| writer.is_finished());
                (done || written.load(Ordering::SeqCst) > before + 25).then_some(())
            });
            fleet.nodes[node].kill();
            fleet.await_state(&format!("node-{node}"), "down");
            fleet.nodes[node].restart();
            node = (node + 1) % fleet.nodes.len();
        }
        for writer in writers {
            writer.join().expect("a writer");
        }
        drop(ending);
    });
    let met = |result: &str| fleet.metric(&format!("miroir_cache_requests_total{{result=\"{result}\"}}"));
    println!("hit {} miss {} collapsed {} bypass {}", met("hit"), met("miss"), met("collapsed"), met("bypass"));
    assert!(fleet.metric("miroir_kept_replies_total") > 0.0, "no reply of a node was used twice");
    assert!(met("hit") > 100.0 && met("miss") > 0.0 && met("bypass") > 0.0, "the cache had little to do");
}
