//! Several gateways of one cluster: each answers everything, by one truth.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::client::{Client, Reply, eventually, pause, within};
use crate::support::corpus::cities;
use crate::support::gateways::Gateways;
use crate::support::parity::{difference, load, random_query};
use crate::support::random::Dice;
use crate::support::{FleetOptions, Single};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn three() -> Gateways {
    Gateways::start(3, FleetOptions { nodes: 3, replication_factor: 2, ..Default::default() })
}

fn write(client: &Client, id: u64) -> Result<Reply, String> {
    let body = json!([{ "id": id, "name": format!("written {id}") }]).to_string();
    client.try_send("POST", "/indexes/cities/documents", &JSON, body.as_bytes())
}

#[test]
fn every_gateway_answers_everything_and_the_same() {
    let gateways = three();
    let (single, documents) = (Single::start(), cities(600));
    load(&single.client, "cities", &documents);
    let clients = gateways.clients();
    load(&clients[1], "cities", &documents);
    let mut dice = Dice::new(15);
    for _ in 0..60 {
        let query = random_query(&mut dice, &documents);
        for client in &clients {
            assert_eq!(difference(&single.client, client, "cities", &query), None, "{}: {query}", client.url);
        }
    }
    // What a gateway that follows does not do itself.
    let created = clients[2].post("/indexes", &json!({ "uid": "films", "primaryKey": "id" }));
    assert_eq!(clients[1].wait(&created)["status"], "succeeded");
    let settings = clients[1].json("PATCH", "/indexes/films/settings", &json!({ "stopWords": ["the"] }));
    assert_eq!(clients[2].wait(&settings)["status"], "succeeded");
    for client in &clients {
        assert_eq!(client.get("/indexes/films/settings/stop-words").ok(), json!(["the"]));
        assert_eq!(client.get("/indexes/cities/stats").ok()["numberOfDocuments"], 600);
        assert_eq!(client.get("/tasks?limit=3").ok(), clients[0].get("/tasks?limit=3").ok());
        let missing = client.post("/indexes/nowhere/search", &json!({}));
        assert_eq!((missing.status, missing.value()["code"].as_str()), (404, Some("index_not_found")));
        assert_eq!(client.get("/nowhere").status, 404);
    }
    // Operators' requests, too.
    for admin in [&gateways.fleet.admin, &gateways.others[0].admin, &gateways.others[1].admin] {
        assert_eq!(admin.get("/topology").ok()["nodes"].as_array().map(Vec::len), Some(3));
        assert_eq!(admin.get("/ready").status, 200);
    }
}

#[test]
fn what_a_client_was_told_is_true_at_every_gateway() {
    let master = "a-master-key-of-the-tests";
    let options = FleetOptions { master_key: Some(master), ..Default::default() };
    let gateways = Gateways::start(3, options);
    let clients: Vec<Client> = gateways.clients().iter().map(|client| client.with_key(master)).collect();
    load(&clients[0], "cities", &cities(20));
    for turn in 0..24 {
        let (writer, reader) = (&clients[turn % 3], &clients[(turn / 3) % 3]);
        let id = 50_000_000 + turn as u64;
        let task = write(writer, id).expect("an answer");
        assert_eq!(reader.wait(&task)["status"], "succeeded");
        for client in &clients {
            assert_eq!(client.get(&format!("/indexes/cities/documents/{id}")).status, 200, "{}", client.url);
        }
        // An index that nobody knew before, and a setting that changes what is found.
        let index = format!("new{turn}");
        let added = writer.post(&format!("/indexes/{index}/documents"), &json!([{ "id": 1, "name": "grün" }]));
        assert_eq!(reader.wait(&added)["status"], "succeeded");
        let settings =
            writer.json("PUT", &format!("/indexes/{index}/settings/filterable-attributes"), &json!(["name"]));
        assert_eq!(reader.wait(&settings)["status"], "succeeded");
        for client in &clients {
            let found = client.search(&index, &json!({ "filter": "name = grün" }));
            assert_eq!(found["hits"].as_array().map(Vec::len), Some(1), "{}", client.url);
        }
        let gone = writer.delete(&format!("/indexes/{index}"));
        assert_eq!(reader.wait(&gone)["status"], "succeeded");
        assert!(
            clients.iter().all(|client| client.post(&format!("/indexes/{index}/search"), &json!({})).status == 404)
        );
    }
    let key = json!({ "actions": ["search"], "indexes": ["cities"], "expiresAt": null });
    for turn in 0..6 {
        let made = clients[turn % 3].post("/keys", &key).value();
        let (secret, uid) = (made["key"].as_str().expect("a key"), made["uid"].as_str().expect("a uid"));
        let search = |client: &Client| client.with_key(secret).post("/indexes/cities/search", &json!({})).status;
        assert!(clients.iter().all(|client| search(client) == 200));
        assert_eq!(clients[(turn + 1) % 3].delete(&format!("/keys/{uid}")).status, 204);
        assert!(clients.iter().all(|client| search(client) == 403));
    }
    for log in [gateways.fleet.gateway().log(), gateways.others[0].process.log()] {
        assert!(!log.contains(master) && !log.contains(crate::support::gateways::SECRET));
    }
}

/// What became of the requests of a test's clients.
#[derive(Default)]
struct Told {
    acknowledged: Mutex<Vec<(u64, String)>>,
    failed: Mutex<Vec<String>>,
    slowest_search: Mutex<Duration>,
    searches: AtomicUsize,
}

/// Writes and searches at the gateways of `clients` while `meanwhile` goes on.
fn under_load(clients: &[Client], meanwhile: impl FnOnce()) -> Told {
    let (told, stop) = (Told::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (writer, client) in clients.iter().cycle().take(4).enumerate() {
            let (told, stop) = (&told, &stop);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let id = 60_000_000 + 1_000_000 * writer as u64 + n;
                    match write(client, id) {
                        Ok(reply) if reply.status == 202 => {
                            let task = reply.value()["taskUid"].to_string().replace('"', "");
                            told.acknowledged.lock().push((id, task));
                        }
                        Ok(reply) => told.failed.lock().push(format!("write: {} {}", reply.status, reply.text)),
                        Err(error) => told.failed.lock().push(format!("write: {error}")),
                    }
                    pause(Duration::from_millis(10));
                }
            });
        }
        for client in clients.iter().cycle().take(4) {
            let (told, stop) = (&told, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    match client.try_send("POST", "/indexes/cities/search", &JSON, br#"{"q":"a"}"#) {
                        Ok(reply) if reply.status == 200 => drop(told.searches.fetch_add(1, Ordering::SeqCst)),
                        Ok(reply) => told.failed.lock().push(format!("search: {} {}", reply.status, reply.text)),
                        Err(error) => told.failed.lock().push(format!("search: {error}")),
                    }
                    let mut slowest = told.slowest_search.lock();
                    *slowest = begun.elapsed().max(*slowest);
                    drop(slowest);
                    pause(Duration::from_millis(5));
                }
            });
        }
        meanwhile();
        stop.store(true, Ordering::SeqCst);
    });
    told
}

/// Nothing failed, nothing acknowledged is lost, and nothing is there that nobody wrote; `besides` writes were made by the test itself.
fn nothing_was_lost(told: &Told, client: &Client, besides: u64) {
    let failed = told.failed.lock();
    assert_eq!(*failed, Vec::<String>::new());
    let acknowledged = told.acknowledged.lock();
    assert!(acknowledged.len() > 20, "{} writes", acknowledged.len());
    for (id, task) in acknowledged.iter() {
        assert_eq!(client.wait_id(task)["status"], "succeeded", "{id} {task}");
    }
    let held: BTreeSet<u64> = client.documents("cities").keys().filter_map(|id| id.parse().ok()).collect();
    let written: BTreeSet<u64> = acknowledged.iter().map(|(id, _)| *id).collect();
    assert_eq!(written.len(), acknowledged.len());
    assert_eq!(held.iter().filter(|id| **id >= 60_000_000).copied().collect::<BTreeSet<u64>>(), written);
    let tasks = client.get("/tasks?limit=1&types=documentAdditionOrUpdate&statuses=succeeded").ok()["total"].as_u64();
    assert_eq!(
        tasks,
        Some(written.len() as u64 + besides),
        "each write has one task that succeeded; one that a dead leader left undone has one that failed, too"
    );
}

#[test]
fn a_leader_that_is_killed_costs_no_request() {
    let mut gateways = three();
    let clients = gateways.clients();
    load(&clients[0], "cities", &cities(50));
    let gateway = gateways.fleet.gateway.take().expect("the leader");
    let others = &gateways.others;
    let took = Mutex::new(Duration::ZERO);
    let told = under_load(&clients[1..], || {
        pause(Duration::from_secs(2));
        gateway.signal("KILL");
        let killed = Instant::now();
        within(Duration::from_secs(40), "a write after the leader's death", || {
            let leads = others.iter().any(|other| other.admin.get("/leader").value()["role"] == "leads");
            (leads && write(&clients[1], 59_999_999).is_ok_and(|reply| reply.status == 202)).then_some(())
        });
        *took.lock() = killed.elapsed();
        pause(Duration::from_secs(2));
    });
    let took = *took.lock();
    assert!(took < Duration::from_secs(30), "{took:?}");
    // The cities, and the write that found out.
    nothing_was_lost(&told, &clients[2], 2);
    assert!(*told.slowest_search.lock() < Duration::from_secs(5), "searches waited for no leader");
}

#[test]
fn a_leader_that_steps_down_hands_over_at_once() {
    let gateways = three();
    let clients = gateways.clients();
    load(&clients[0], "cities", &cities(50));
    let told = under_load(&clients[1..], || {
        pause(Duration::from_secs(1));
        // At a gateway that follows: it passes that on.
        let down = gateways.others[0].admin.post("/leader/step-down", &json!({}));
        assert_eq!(down.status, 202, "{}", down.text);
        within(Duration::from_secs(20), "another leads", || {
            gateways.leader(2).filter(|(id, epoch)| id != "gw-0" && *epoch == 2).map(|_| ())
        });
        pause(Duration::from_secs(5));
    });
    nothing_was_lost(&told, &clients[2], 1);
}

#[test]
fn a_mark_is_heard_of_before_the_write_is_acknowledged() {
    let mut gateways = three();
    let clients = gateways.clients();
    load(&clients[0], "cities", &cities(50));
    for turn in 0..3u64 {
        let id = 70_000_000 + turn;
        gateways.fleet.nodes[turn as usize].kill();
        // Some replicas miss it.
        for n in 0..20 {
            let task = write(&clients[turn as usize], id * 100 + n).expect("an answer");
            assert_eq!(task.status, 202, "{}", task.text);
        }
        gateways.fleet.nodes[turn as usize].restart();
        let until = Instant::now() + Duration::from_secs(6);
        while Instant::now() < until {
            for client in &clients {
                let found = client.search("cities", &json!({ "q": "", "limit": 1000, "attributesToRetrieve": ["id"] }));
                let ids: BTreeSet<u64> =
                    found["hits"].as_array().expect("hits").iter().filter_map(|hit| hit["id"].as_u64()).collect();
                if ids.len() < 70 + 20 * turn as usize {
                    // Written and not searchable yet is no fault: it has not succeeded.
                    let open = client.get("/tasks?statuses=enqueued,processing&limit=1").ok()["total"].as_u64();
                    assert_ne!(open, Some(0), "{} lacks what was written: {}", client.url, ids.len());
                }
            }
            pause(Duration::from_millis(100));
        }
        eventually("all nodes are in step", || {
            let shards = gateways.fleet.admin.get("/shards").ok();
            let stale = |shard: &Value| shard["stale"].as_array().is_some_and(|stale| !stale.is_empty());
            shards["shards"].as_array().filter(|shards| !shards.iter().any(stale)).map(|_| ())
        });
    }
}

#[test]
fn a_body_is_streamed_through_a_gateway_that_follows() {
    let gateways = Gateways::start(2, FleetOptions::default());
    let follower = &gateways.others[0];
    let text = "x".repeat(400);
    let mut body = String::new();
    for id in 0..120_000 {
        body += &format!("{{\"id\":{id},\"text\":\"{text}\"}}\n");
    }
    assert!(body.len() > 50_000_000);
    let before = follower.process.peak_memory();
    let json = [("content-type", "application/x-ndjson")];
    let reply =
        follower.client.try_send("POST", "/indexes/large/documents", &json, body.as_bytes()).expect("an answer");
    assert_eq!(reply.status, 202, "{}", reply.text);
    let grown = follower.process.peak_memory() - before;
    assert!(grown < 24 << 20, "{grown} bytes for a body of {}", body.len());
}

#[test]
fn a_large_body_whose_leader_dies_is_answered_with_its_task() {
    let gateways = three();
    let follower = &gateways.others[0].client;
    load(follower, "cities", &cities(20));
    let address = follower.url.strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let head = "POST /indexes/cities/documents HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("a head");
    let line = format!("{{\"id\":1,\"name\":\"{}\"}}\n", "y".repeat(2_000));
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    for n in 0..400 {
        if n == 200 {
            pause(Duration::from_millis(300));
            gateways.fleet.gateway().signal("KILL");
        }
        // The gateway may have answered already.
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
        pause(Duration::from_millis(5));
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("miroir_leader_lost"), "{answer}");
    assert!(answer.contains("mtask-"), "{answer}");
    let held = within(Duration::from_secs(60), "the others answer", || {
        follower.try_send("GET", "/indexes/cities/documents/1", &[], b"").ok().filter(|reply| reply.status < 500)
    });
    assert_eq!(held.status, 404, "nothing was acknowledged, and nothing is there");
}

#[test]
fn only_gateways_of_the_cluster_are_let_in() {
    let mut gateways = Gateways::start(2, FleetOptions::default());
    load(&gateways.fleet.client, "cities", &cities(20));
    let door = {
        let config = std::fs::read_to_string(&gateways.fleet.config).expect("a configuration");
        let url =
            config.split("peer_url: \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a url").to_owned();
        Client::new(&url)
    };
    for headers in [vec![], vec![("x-miroir-peer", "1 gw-1 0123 abcdef")], vec![("x-miroir-peer", "")]] {
        for (method, path) in
            [("POST", "/indexes/cities/search"), ("POST", "/_peer/view"), ("GET", "/_peer/admin/topology")]
        {
            let reply = door.try_send(method, path, &headers, b"{}").expect("an answer");
            assert_eq!(reply.status, 401, "{path} {headers:?}: {}", reply.text);
        }
    }
    // A client cannot pass for a gateway elsewhere either.
    let forged =
        [("x-miroir-peer-client", "10.0.0.1"), ("x-miroir-peer-task", "01890a5d-ac96-774b-bcce-b302099a8057 first")];
    let reply = gateways.fleet.client.try_send(
        "POST",
        "/indexes/cities/documents",
        &[JSON.as_slice(), &forged].concat(),
        b"[{\"id\":1}]",
    );
    assert!(!reply.expect("an answer").text.contains("01890a5d-ac96-774b-bcce-b302099a8057"));

    gateways.add(2, "another-secret");
    let stranger = &gateways.others[1];
    let reply =
        eventually("it answers", || stranger.client.try_send("POST", "/indexes/cities/search", &JSON, b"{}").ok());
    assert_eq!((reply.status, reply.value()["code"].as_str()), (503, Some("miroir_no_leader")), "{}", reply.text);
    assert!(stranger.process.log().contains("does not prove that it knows the cluster's secret"));

    // It goes on asking, and fills no log by that.
    let turned_away = || gateways.fleet.metric("miroir_peers_turned_away_total{reason=\"unproved\"}");
    let before = turned_away();
    assert!(before >= 9.0, "{before}");
    eventually("it has knocked many times", || (turned_away() > before + 60.0).then_some(()));
    let told = |log: &str, what: &str| log.lines().filter(|line| line.contains(what)).count();
    // Once, and then by the minute.
    let log = gateways.fleet.gateway().log();
    assert!((1..=3).contains(&told(&log, "was turned away where peers are listened to")), "{log}");
    let log = gateways.others[1].process.log();
    assert!((1..=3).contains(&told(&log, "the leader lends no view")), "{log}");
}

#[test]
fn what_was_reloaded_while_a_gateway_followed_holds_when_it_leads() {
    let mut gateways = Gateways::start(2, FleetOptions::default());
    load(&gateways.fleet.client, "cities", &cities(20));
    let follower = &gateways.others[0];
    let hits = || {
        let found = follower.client.try_send("POST", "/indexes/cities/search", &JSON, b"{}").ok()?;
        found.value()["hits"].as_array().map(Vec::len)
    };
    assert_eq!(hits(), Some(20));
    let path = gateways.fleet.folder().join("gw-1.yaml");
    let file = std::fs::read_to_string(&path).expect("a configuration");
    // Another goal of the cluster is the leader's to set, whatever the file of a follower says.
    let factor = file.lines().find(|line| line.contains("replication_factor")).expect("a replication factor");
    let changed = file.replace(factor, "  replication_factor: 1");
    std::fs::write(&path, format!("{changed}rules:\n  - {{ name: caps, on: [search], cap: {{ limit: 3 }} }}\n"))
        .expect("a file");
    let nodes = || follower.admin.get("/topology").ok()["replicationFactor"].clone();
    let before = nodes();
    let reloaded = follower.admin.post("/reload", &json!({})).ok();
    assert_eq!((&reloaded["sections"], &reloaded["changed"]), (&json!(["rules"]), &json!(false)), "{reloaded}");
    assert_eq!((hits(), nodes()), (Some(3), before));
    gateways.fleet.gateway.take().expect("the leader").kill();
    within(Duration::from_secs(40), "it leads", || {
        (follower.admin.get("/leader").value()["role"] == "leads").then_some(())
    });
    let task = within(Duration::from_secs(40), "it takes writes", || {
        write(&follower.client, 80_000_000).ok().filter(|reply| reply.status == 202)
    });
    assert_eq!(follower.client.wait(&task)["status"], "succeeded");
    assert_eq!(hits(), Some(3), "by the rules that it took over as a follower");
}
