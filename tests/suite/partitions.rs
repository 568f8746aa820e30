//! Several gateways of which some do not reach what they talk to: the database, each other, a node; or who are not of one cluster, or of one
//! version.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use serde_json::json;
use sha2::Sha256;

use crate::support::client::{Client, Reply, eventually, pause, within};
use crate::support::corpus::cities;
use crate::support::crowd::Crowd;
use crate::support::fault_proxy::Mode;
use crate::support::gateways::{Gateways, SECRET, UNFENCED, section_at};
use crate::support::parity::load;
use crate::support::postgres::Postgres;
use crate::support::process::free_port;
use crate::support::stop::StopOnDrop;
use crate::support::{Fleet, FleetOptions};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// Another gateway leads, and its nodes take part.
const TAKE_OVER: Duration = Duration::from_secs(40);
/// The documents that are written meanwhile.
const FIRST: u64 = 60_000_000;

fn three() -> (Fleet, Crowd) {
    let (fleet, crowd) = Crowd::start(3, FleetOptions { proxied: true, ..Default::default() });
    load(&crowd.gateways[0].client, "cities", &cities(60));
    (fleet, crowd)
}

fn search(client: &Client) -> Result<Reply, String> {
    client.try_send("POST", "/indexes/cities/search", &JSON, br#"{"q":"","limit":1000}"#)
}

fn write(client: &Client, id: u64) -> Result<Reply, String> {
    let body = json!([{ "id": id, "name": format!("written {id}") }]).to_string();
    client.try_send("POST", "/indexes/cities/documents", &JSON, body.as_bytes())
}

fn task_of(reply: &Reply) -> String {
    reply.value()["taskUid"].to_string().replace('"', "")
}

/// Writes documents from `first` on through each of `clients` while `meanwhile` goes on: the ids and tasks of what was acknowledged. Nothing may fail.
fn written_while(clients: &[Client], first: u64, meanwhile: impl FnOnce()) -> Vec<(u64, String)> {
    let (stop, next) = (AtomicBool::new(false), AtomicU64::new(first));
    let (acknowledged, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::<String>::new()));
    std::thread::scope(|scope| {
        let ending = StopOnDrop(&stop);
        for client in clients {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    match write(client, id) {
                        Ok(reply) if reply.status == 202 => acknowledged.lock().push((id, task_of(&reply))),
                        other => failed.lock().push(format!("{}: {other:?}", client.url)),
                    }
                    pause(Duration::from_millis(20));
                }
            });
        }
        meanwhile();
        drop(ending);
    });
    assert_eq!(failed.into_inner(), Vec::<String>::new());
    acknowledged.into_inner()
}

/// Each gateway has all that was acknowledged, once, and all of it alike.
fn nothing_is_lost(fleet: &Fleet, crowd: &mut Crowd, acknowledged: &[(u64, String)]) {
    crowd.await_ready().expect("gateways that serve");
    let client = crowd.gateways[0].client.clone();
    for (id, task) in acknowledged {
        assert_eq!(client.wait_id(task)["status"], "succeeded", "{id} {task}");
    }
    fleet.await_in_sync();
    let written: BTreeSet<u64> = acknowledged.iter().map(|(id, _)| *id).collect();
    for gateway in &crowd.gateways {
        let held = gateway.client.documents("cities");
        let held: BTreeSet<u64> = held.keys().filter_map(|id| id.parse().ok()).filter(|id| *id >= FIRST).collect();
        assert_eq!(held, written, "{}", gateway.client.url);
    }
    fleet.equal_replicas("cities");
}

#[test]
fn a_leader_that_is_cut_off_from_the_database_is_followed_and_no_request_elsewhere_fails() {
    let (fleet, mut crowd) = three();
    let leader = crowd.leader().expect("a leader");
    let others: Vec<usize> = (0..3).filter(|place| *place != leader).collect();
    let clients: Vec<Client> = others.iter().map(|place| crowd.gateways[*place].client.clone()).collect();
    let acknowledged = written_while(&clients, FIRST, || {
        pause(Duration::from_millis(500));
        crowd.store(leader, Mode::BlackHole);
        let next = within(TAKE_OVER, "another one leads", || crowd.leader().filter(|place| *place != leader));
        let ready = || crowd.gateways[next].admin.try_send("GET", "/ready", &[], b"").ok();
        within(TAKE_OVER, "it serves", || ready().filter(|reply| reply.status == 200));
        for n in 0..5 {
            let written = write(&clients[0], FIRST - 1 - n).expect("an answer");
            assert_eq!(written.status, 202, "{}", written.text);
        }
    });
    // It cannot know who leads now. What it says is of before, and it acknowledges nothing.
    let stale = search(&crowd.gateways[leader].client).expect("an answer");
    assert_eq!((stale.status, stale.header("x-miroir-degraded")), (200, Some("view")), "{}", stale.text);
    let refused = write(&crowd.gateways[leader].client, 1).expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.text);
    crowd.store(leader, Mode::Pass);
    assert_eq!(eventually("it ends", || crowd.exited(leader)), Some(75));
    assert!(acknowledged.len() > 1, "{} writes", acknowledged.len());
    nothing_is_lost(&fleet, &mut crowd, &acknowledged);
}

#[test]
fn a_leader_that_is_cut_off_from_the_others_leads_on_and_they_say_what_is_of_before() {
    let (mut fleet, mut crowd) = three();
    let leader = crowd.leader().expect("a leader");
    let (own, other) = (crowd.gateways[leader].client.clone(), crowd.gateways[(leader + 1) % 3].client.clone());
    crowd.door(leader, Mode::BlackHole);
    let acknowledged = written_while(std::slice::from_ref(&own), FIRST, || {
        let degraded = |reply: &Reply| reply.header("x-miroir-degraded") == Some("view");
        within(Duration::from_secs(20), "its view has ended", || search(&other).ok().filter(degraded));
        let ready = crowd.gateways[(leader + 1) % 3].admin.try_send("GET", "/ready", &[], b"").expect("an answer");
        assert_eq!(ready.status, 503, "{}", ready.text);
        // A replica becomes stale: views of those who do not answer have ended, so that waits for nobody any more.
        fleet.nodes[0].kill();
        let begun = write(&own, FIRST - 1).expect("an answer");
        assert_eq!(begun.status, 202, "{}", begun.text);
        fleet.nodes[0].restart();
    });
    assert_eq!(crowd.leader(), Some(leader), "nobody else has led");
    crowd.door(leader, Mode::Pass);
    assert!(acknowledged.len() > 1, "{} writes", acknowledged.len());
    nothing_is_lost(&fleet, &mut crowd, &acknowledged);
}

#[test]
fn a_gateway_that_is_cut_off_from_a_node_asks_others_and_costs_no_request() {
    let (fleet, mut crowd) = three();
    let leader = crowd.leader().expect("a leader");
    let clients: Vec<Client> = crowd.clients().collect();
    let mut acknowledged = Vec::new();
    for (gateway, node) in [(leader, 0), ((leader + 1) % 3, 1)] {
        let proxy = fleet.nodes[node].proxy.as_ref().expect("a proxy");
        let first = FIRST + 1_000_000 * node as u64;
        acknowledged.extend(written_while(&clients, first, || {
            pause(Duration::from_millis(300));
            crowd.node_pair(gateway, proxy, Mode::Refuse);
            for _ in 0..40 {
                for client in &clients {
                    let found = search(client).expect("an answer");
                    let whole = found.status == 200 && found.header("x-miroir-degraded").is_none();
                    assert!(whole, "{}: {} {:?}", client.url, found.status, found.header("x-miroir-degraded"));
                }
                pause(Duration::from_millis(50));
            }
            crowd.node_pair(gateway, proxy, Mode::Pass);
        }));
        assert_eq!(crowd.leader(), Some(leader));
        nothing_is_lost(&fleet, &mut crowd, &acknowledged);
    }
}

#[test]
fn a_gateway_of_another_cluster_on_the_same_database_changes_nothing() {
    let gateways = Gateways::start(1, FleetOptions::default());
    load(&gateways.fleet.client, "cities", &cities(50));
    let mut stranger = Fleet::start();
    load(&stranger.client, "villages", &cities(20));
    stranger.kill_gateway();
    let (config, peers) = (std::fs::read_to_string(&stranger.config).expect("a configuration"), free_port());
    let state = config.lines().find(|line| line.starts_with("state: ")).expect("a state");
    let ours = std::fs::read_to_string(&gateways.fleet.config).expect("a configuration");
    let theirs = ours.lines().find(|line| line.starts_with("state: ")).expect("a state");
    let own = format!(
        "gateway: {{ id: stranger, peer_listen: \"127.0.0.1:{peers}\", peer_url: \"http://127.0.0.1:{peers}\"{UNFENCED} }}\n\
         cluster_secret: another-secret\n"
    );
    std::fs::write(&stranger.config, config.replace(state, theirs) + &own).expect("a file");
    stranger.spawn_gateway();
    let refused =
        eventually("it answers", || stranger.client.try_send("POST", "/indexes/villages/search", &JSON, b"{}").ok());
    assert_eq!((refused.status, refused.value()["code"].as_str()), (503, Some("miroir_no_leader")), "{}", refused.text);
    assert_eq!(stranger.admin.get("/ready").status, 503);
    let ours = &gateways.fleet.client;
    ours.add("cities", &json!([{ "id": FIRST, "name": "meanwhile" }]));

    // It comes to lead: by a state that is not its own, over nodes that are not this state's.
    let mut gateways = gateways;
    gateways.process(0).kill();
    within(TAKE_OVER, "it leads", || {
        let leader = stranger.admin.try_send("GET", "/leader", &[], b"").ok()?;
        (leader.value()["role"] == "leads").then_some(())
    });
    let log = within(TAKE_OVER, "its nodes are refused", || {
        let log = stranger.gateway().log();
        log.contains("belongs to another cluster").then_some(log)
    });
    assert_eq!(stranger.admin.get("/ready").status, 503, "{log}");
    let refused = stranger.client.try_send("POST", "/indexes/villages/documents", &JSON, b"[{\"id\":1}]");
    assert!(!refused.as_ref().is_ok_and(|reply| reply.status == 202), "{refused:?}");
    // Stopped it gives the lead back; after a kill it could be alone and answer searches yet.
    stranger.gateway().signal("TERM");
    let gateway = stranger.gateway.as_mut().expect("the stranger");
    eventually("it ends", || gateway.exited());
    // Each cluster's nodes have what they had.
    gateways.fleet.start_gateway();
    assert_eq!(gateways.fleet.client.documents("cities").len(), 51);
    assert_eq!(gateways.fleet.equal_replicas("cities").len(), 51);
    std::fs::write(&stranger.config, config).expect("a file");
    stranger.start_gateway();
    assert_eq!(stranger.client.documents("villages").len(), 20);
}

fn code(parts: &[&str]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    mac.update(parts.join("\n").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn gateways_that_speak_another_protocol_are_told_so_and_disturb_nobody() {
    let gateways = Gateways::start(2, FleetOptions::default());
    load(&gateways.fleet.client, "cities", &cities(30));
    // One of a version to come asks.
    let config = std::fs::read_to_string(&gateways.fleet.config).expect("a configuration");
    let door = config.split("peer_url: \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a URL");
    let mac = code(&["ask", "2", "gw-new", "0123", "POST", "/_peer/view", "", ""]);
    let header = [("x-miroir-peer", format!("2 gw-new 0123 {mac}"))];
    let header = [(header[0].0, header[0].1.as_str())];
    let told = Client::new(door).try_send("POST", "/_peer/view", &header, b"{}").expect("an answer");
    assert!(told.status == 401 && told.text.contains("protocol 1") && told.text.contains("not 2"), "{}", told.text);
    // So that it knows whom it hears that from, and what is spoken here.
    let proof = code(&["answer", "0123"]);
    assert_eq!(told.header("x-miroir-peer"), Some(proof.as_str()));
    assert_eq!(told.header("x-miroir-peer-protocol"), Some("1"));
    assert_eq!(gateways.fleet.metric("miroir_peers_turned_away_total{reason=\"protocol\"}"), 1.0);
    for client in gateways.clients() {
        assert_eq!(search(&client).expect("an answer").status, 200);
        assert_eq!(client.done(&write(&client, FIRST).expect("an answer"))["status"], "succeeded");
    }
}

/// Answers as the leader of a version to come, which knows the cluster's secret, and counts who asks.
fn a_leader_of_another_protocol() -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (port, asked) = (listener.local_addr().expect("an address").port(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut head = String::new();
            let mut reader = BufReader::new(&stream);
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let said = head.lines().find_map(|line| line.split_once("x-miroir-peer: ")).map_or("", |(_, said)| said);
            let Some(nonce) = said.split(' ').nth(2) else { continue };
            count.fetch_add(1, Ordering::SeqCst);
            let proof = code(&["answer", nonce]);
            let answer = format!(
                "HTTP/1.1 401 Unauthorized\r\nx-miroir-peer: {proof}\r\nx-miroir-peer-protocol: 2\r\n\
                 content-length: 0\r\nconnection: close\r\n\r\n"
            );
            // Who hangs up early has what it wants.
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (port, asked)
}

#[test]
fn a_gateway_whose_leader_speaks_another_protocol_says_so_and_answers_by_no_view() {
    let (door, asked) = a_leader_of_another_protocol();
    // The leader is as any, but for what others find where it says that it is reached.
    let more = format!("{}cluster_secret: {SECRET}\n", section_at(0, free_port(), door, UNFENCED));
    let state = Some(Postgres::shared().database());
    let fleet = Fleet::with(FleetOptions { state, more, ..Default::default() });
    load(&fleet.client, "cities", &cities(30));
    let own = |key: &str| (key == "gateway").then(|| section_at(1, free_port(), free_port(), UNFENCED));
    let (process, port, admin) = fleet.another_gateway("gw-1", own);
    let at = |port: u16| Client::new(&format!("http://127.0.0.1:{port}"));
    let (follower, admin) = (at(port), at(admin));
    eventually("it has asked many times", || (asked.load(Ordering::SeqCst) > 20).then_some(()));
    let log = process.log();
    let told = log.lines().filter(|line| line.contains("speaks another protocol")).count();
    assert_eq!(told, 1, "{log}");
    assert!(log.contains("protocol\":2") || log.contains("protocol=2") || log.contains("protocol: 2"), "{log}");
    assert_eq!(admin.get("/ready").status, 503);
    let refused = search(&follower).expect("an answer");
    assert_eq!((refused.status, refused.value()["code"].as_str()), (503, Some("miroir_no_leader")), "{}", refused.text);
    assert_eq!(search(&fleet.client).expect("an answer").status, 200);
    assert_eq!(fleet.client.done(&write(&fleet.client, FIRST).expect("an answer"))["status"], "succeeded");
}
