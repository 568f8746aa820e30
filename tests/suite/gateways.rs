//! A state on PostgreSQL, and gateways that want to lead on it. The server is the tests' own.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, Reply, eventually, pause, within};
use crate::support::corpus::cities;
use crate::support::fleet::MIROIR;
use crate::support::parity::load;
use crate::support::postgres::{Postgres, database_of, other_user, run};
use crate::support::process::{Process, free_port};
use crate::support::{Fleet, FleetOptions};

/// A lease, and the look at its end.
const TAKE_OVER: Duration = Duration::from_secs(15);
/// Past the end of a lease, and of all that is trusted by it.
const PAST_THE_LEASE: Duration = Duration::from_secs(14);
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Nodes, and a gateway called `gw-a` whose state is in `database`.
fn fleet(database: &str) -> Fleet {
    Fleet::with(FleetOptions {
        state: Some(database.to_owned()),
        more: "gateway: { id: gw-a }\ntasks: { uid_format: integer }\n".to_owned(),
        ..Default::default()
    })
}

/// Another gateway of the fleet, called `gw-b`, with ports of its own.
struct Second {
    process: Process,
    client: Client,
    admin: Client,
}

fn second(fleet: &Fleet, server: &Postgres, database: &str) -> Second {
    let own = |key: &str| (key == "gateway").then(|| "gateway: { id: gw-b }".to_owned());
    let (process, port, admin) = fleet.another_gateway("second", own);
    let at = |port: u16| Client::new(&format!("http://127.0.0.1:{port}"));
    let second = Second { process, client: at(port), admin: at(admin).seeing_hidden() };
    eventually("it waits", || sees(fleet, "gw-b").then_some(()));
    // The leader's row names it, so it takes over without more ado.
    eventually("the row says so", || {
        let followers = server.sql(database_of(database), "SELECT cardinality(followers) FROM miroir.leader");
        (followers == "1").then_some(())
    });
    second
}

fn sees(fleet: &Fleet, gateway: &str) -> bool {
    let leader = fleet.admin.get("/leader").ok();
    leader["gateways"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == gateway))
}

fn epoch(server: &Postgres, database: &str) -> i64 {
    server.sql(database_of(database), "SELECT epoch FROM miroir.leader").parse().expect("a number")
}

/// How long it took from `since` until the next gateway led.
fn taken_over(server: &Postgres, database: &str, since: Instant, limit: Duration) -> Duration {
    while epoch(server, database) < 2 {
        assert!(since.elapsed() < limit, "nobody leads after {:?}", since.elapsed());
        pause(Duration::from_millis(20));
    }
    since.elapsed()
}

fn serves(client: &Client) {
    eventually("the second gateway serves", || try_search(client).ok().filter(|reply| reply.status == 200).map(|_| ()));
}

fn try_search(client: &Client) -> Result<Reply, String> {
    client.try_send("POST", "/indexes/cities/search", &JSON, br#"{"q":"","limit":1}"#)
}

fn write(client: &Client, id: u64) -> Result<Reply, String> {
    let body = json!([{ "id": id, "name": "written meanwhile" }]).to_string();
    client.try_send("POST", "/indexes/cities/documents", &JSON, body.as_bytes())
}

fn miroir(fleet: &Fleet, arguments: &[&str]) -> Output {
    Command::new(MIROIR).args(arguments).current_dir(fleet.folder()).output().expect("the program runs")
}

/// Takes only TLS, with this certificate and key (PEM), and `password` from everybody but the tests themselves.
fn secure(server: &Postgres, certificate: &str, key: &str, password: &str) {
    let data = server.folder.join("data");
    for (name, text) in [("server.crt", certificate), ("server.key", key)] {
        let path = data.join(name);
        std::fs::write(&path, text).expect("a file of the server's");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a file of the server's");
        if let Some(user) = other_user() {
            run(Command::new("chown").arg(user).arg(&path));
        }
    }
    let rules = "host all postgres 127.0.0.1/32 trust\nhostssl all all all scram-sha-256\n";
    std::fs::write(data.join("pg_hba.conf"), rules).expect("the server's rules");
    server.sql("postgres", &format!("CREATE ROLE miroir LOGIN SUPERUSER PASSWORD '{password}'"));
    server.sql("postgres", "ALTER SYSTEM SET ssl = on");
    server.sql("postgres", "SELECT pg_reload_conf()");
}

#[test]
fn a_gateway_on_postgres_searches_writes_and_forgets_nothing_when_it_is_killed() {
    let server = Postgres::shared();
    let database = server.database();
    let mut fleet = fleet(&database);
    load(&fleet.client, "cities", &cities(300));
    let leader = fleet.admin.get("/leader").ok();
    assert_eq!(
        (&leader["role"], &leader["trusted"], &leader["leader"]["epoch"]),
        (&json!("leads"), &json!(true), &json!(1))
    );
    let refused = miroir(&fleet, &["leader", "step-down", "--admin", &fleet.admin.url]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no other gateway"), "{refused:?}");
    let tasks = fleet.client.get("/tasks?limit=1000").ok();
    let held = fleet.client.documents("cities");
    fleet.kill_gateway();
    let begun = Instant::now();
    fleet.start_gateway();
    assert!(begun.elapsed() > Duration::from_secs(5), "the lease of who was killed is waited for");
    assert_eq!(fleet.admin.get("/leader").ok()["leader"]["epoch"], 2);
    assert_eq!(fleet.client.get("/tasks?limit=1000").ok(), tasks);
    assert_eq!(fleet.client.documents("cities"), held);
    let hits = fleet.client.search("cities", &json!({ "q": "", "limit": 1000 }));
    assert_eq!(hits["hits"].as_array().map(Vec::len), Some(300));
    // The uids go on where they were.
    let last = tasks["results"][0]["uid"].as_u64().expect("a uid");
    let next = fleet.client.add("cities", &json!([{ "id": 40_000_000, "name": "the newest" }]));
    assert!(next["uid"].as_u64().expect("a uid") > last, "{next}");
}

#[test]
fn the_database_is_known_by_its_certificate_and_the_gateway_by_its_password() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
        folder.path().join(name).display().to_string()
    };
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let strange = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    secure(&server, &own.cert.pem(), &own.signing_key.serialize_pem(), "open-sesame");
    let database = server.database();
    let state = |roots: &str| {
        let place = database.replace("postgres@127.0.0.1", "miroir@localhost");
        format!("{place}?sslmode=verify-full&sslrootcert={roots}")
    };
    let roots = file("roots.pem", &own.cert.pem());
    let fleet = Fleet::with(FleetOptions {
        state: Some(state(&roots)),
        more: format!("state_password_file: {}\n", file("password", "open-sesame\n")),
        ..Default::default()
    });
    load(&fleet.client, "cities", &cities(20));
    drop(fleet);

    let others = file("others.pem", &strange.cert.pem());
    for (roots, password, said) in [(&others, "open-sesame", "certificate"), (&roots, "shut-sesame", "authentication")]
    {
        let config = format!(
            "listen: 127.0.0.1:{}\nadmin: 127.0.0.1:{}\nmetrics: 127.0.0.1:{}\nstate: {}\nstate_password: {password}\n\
             cluster: {{ nodes: [{{ id: a, url: http://127.0.0.1:9 }}] }}\n",
            free_port(),
            free_port(),
            free_port(),
            state(roots)
        );
        let config = file("refused.yaml", &config);
        let output = Command::new(MIROIR).args(["serve", "--config", &config]).output().expect("the program runs");
        let log = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && log.contains(said), "{log}");
        assert!(!log.contains("sesame"), "{log}");
    }
}

#[test]
fn a_killed_leader_is_followed_and_nothing_acknowledged_is_lost() {
    let server = Postgres::shared();
    let database = server.database();
    let mut fleet = fleet(&database);
    load(&fleet.client, "cities", &cities(50));
    let second = second(&fleet, server, &database);
    let stop = AtomicBool::new(false);
    let (acknowledged, killed) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (client, stop) = (fleet.client.clone(), &stop);
                scope.spawn(move || {
                    let ids = (0u64..).map(|n| 40_000_000 + 100_000 * writer + n);
                    let kept = ids
                        .take_while(|_| !stop.load(Ordering::SeqCst))
                        .filter_map(|id| Some((id, write(&client, id).ok().filter(|reply| reply.status == 202)?)));
                    kept.map(|(id, reply)| (id, reply.value()["taskUid"].clone())).collect::<Vec<_>>()
                })
            })
            .collect();
        pause(Duration::from_secs(2));
        fleet.gateway.as_mut().expect("the first one's process").signal("KILL");
        let killed = Instant::now();
        stop.store(true, Ordering::SeqCst);
        let written = writers.into_iter().flat_map(|writer| writer.join().expect("what was acknowledged"));
        (written.collect::<Vec<(u64, Value)>>(), killed)
    });
    fleet.gateway.take();
    assert!(acknowledged.len() > 20, "{} writes were acknowledged", acknowledged.len());
    let after = taken_over(server, &database, killed, TAKE_OVER);
    serves(&second.client);
    println!("led after {after:?}, served after {:?}; {} acknowledged", killed.elapsed(), acknowledged.len());
    for (id, task) in &acknowledged {
        assert_eq!(second.client.wait_id(&task.to_string())["status"], "succeeded", "{id}");
    }
    let held: BTreeSet<String> = second.client.documents("cities").into_keys().collect();
    let lost: Vec<&u64> = acknowledged.iter().map(|(id, _)| id).filter(|id| !held.contains(&id.to_string())).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(second.admin.get("/leader").ok()["leader"]["gateway"], "gw-b");
    second.client.add("cities", &json!([{ "id": 50_000_000, "name": "by the second" }]));
}

#[test]
fn a_leader_that_is_stopped_or_steps_down_hands_over_at_once() {
    let server = Postgres::shared();
    let database = server.database();
    let mut fleet = fleet(&database);
    load(&fleet.client, "cities", &cities(50));
    let waiting = second(&fleet, server, &database);
    assert!(waiting.client.try_send("GET", "/health", &[], b"").is_err(), "who waits answers nothing");
    let begun = Instant::now();
    let said = miroir(&fleet, &["leader", "step-down", "--admin", &fleet.admin.url]);
    assert!(said.status.success(), "{said:?}");
    // A second, and what a busy machine adds.
    let after = taken_over(server, &database, begun, Duration::from_secs(3));
    let gateway = fleet.gateway.as_mut().expect("the first one's process");
    let status = eventually("the first one ends", || gateway.exited());
    assert_eq!(status.code(), Some(75), "{}", gateway.log());
    serves(&waiting.client);
    println!("led {after:?} after it stepped down, served after {:?}", begun.elapsed());
    waiting.client.add("cities", &json!([{ "id": 40_000_000, "name": "by the second" }]));

    // Back again, it waits for the other.
    fleet.spawn_gateway();
    eventually("it waits", || {
        let leader = waiting.admin.get("/leader").ok();
        leader["gateways"].as_array().is_some_and(|all| all.len() == 2).then_some(())
    });
    assert_eq!(waiting.admin.get("/leader").ok()["leader"]["gateway"], "gw-b");
    let begun = Instant::now();
    waiting.process.signal("TERM");
    while epoch(server, &database) < 3 {
        assert!(begun.elapsed() < Duration::from_secs(3), "nobody leads after {:?}", begun.elapsed());
        pause(Duration::from_millis(20));
    }
    println!("led {:?} after SIGTERM", begun.elapsed());
    serves(&fleet.client);
    assert_eq!(fleet.client.search("cities", &json!({ "q": "second" }))["hits"][0]["id"], 40_000_000);
}

#[test]
fn a_frozen_leader_acknowledges_nothing_after_another_took_over_and_says_what_is_of_before() {
    let server = Postgres::shared();
    let database = server.database();
    let mut fleet = fleet(&database);
    load(&fleet.client, "cities", &cities(50));
    let second = second(&fleet, server, &database);
    // Writes are under way when it freezes, so it may hold the leader's row.
    let stop = AtomicBool::new(false);
    let (answers, acknowledged) = std::thread::scope(|scope| {
        let (client, halt) = (fleet.client.clone(), &stop);
        let busy = scope.spawn(move || {
            let ids = (40_000_000u64..).take_while(|_| !halt.load(Ordering::SeqCst));
            let accepted = ids.map(|id| (id, write(&client, id).map(|reply| reply.status)));
            let accepted = accepted.take_while(|(_, status)| status.is_ok()).filter(|(_, status)| *status == Ok(202));
            accepted.map(|(id, _)| id.to_string()).collect::<Vec<_>>()
        });
        pause(Duration::from_secs(1));
        fleet.gateway().signal("STOP");
        let frozen = Instant::now();
        // They are in the sockets of the frozen one, which reads them when it wakes.
        let sent: Vec<_> = [fleet.client.clone(), fleet.client.clone()]
            .into_iter()
            .zip([true, false])
            .map(|(old, writes)| scope.spawn(move || if writes { write(&old, 50_000_000) } else { try_search(&old) }))
            .collect();
        taken_over(server, &database, frozen, TAKE_OVER);
        serves(&second.client);
        second.client.add("cities", &json!([{ "id": 60_000_000, "name": "by the second" }]));
        stop.store(true, Ordering::SeqCst);
        fleet.gateway().signal("CONT");
        let answers: Vec<_> = sent.into_iter().map(|sent| sent.join().expect("an answer or none")).collect();
        (answers, busy.join().expect("an answer or none"))
    });
    for answer in answers {
        let status = answer.as_ref().map(|reply| reply.status);
        let of_before = answer.as_ref().is_ok_and(|reply| reply.header("x-miroir-degraded") == Some("view"));
        assert!(!matches!(status, Ok(202)), "{:?}", answer.map(|reply| reply.text));
        assert!(!matches!(status, Ok(200)) || of_before, "what it reads by what it knew it says to be so");
    }
    let gateway = fleet.gateway.as_mut().expect("the first one's process");
    let status = eventually("the first one ends", || gateway.exited());
    assert_eq!(status.code(), Some(75), "{}", gateway.log());
    assert!(gateway.log().contains("another gateway leads since epoch 2"), "{}", gateway.log());
    fleet.gateway.take();
    let held = second.client.documents("cities");
    assert!(!held.contains_key("50000000"), "what was not acknowledged is not there");
    assert!(acknowledged.len() > 5, "{acknowledged:?}");
    let lost: Vec<&String> = acknowledged.iter().filter(|id| !held.contains_key(*id)).collect();
    let tasks = second.client.get("/tasks?limit=8&types=documentAdditionOrUpdate").ok();
    assert!(lost.is_empty(), "{lost:?} of {} were acknowledged; {tasks}", acknowledged.len());
}

#[test]
fn a_database_that_is_away_costs_no_search_where_no_other_gateway_could_take_over() {
    let mut server = Postgres::start();
    let database = server.database();
    let fleet = fleet(&database);
    load(&fleet.client, "cities", &cities(50));
    server.stop();
    let begun = Instant::now();
    let refused = write(&fleet.client, 1).expect("an answer");
    assert_eq!((refused.status, &refused.value()["code"]), (503, &json!("miroir_state_unavailable")));
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    while begun.elapsed() < PAST_THE_LEASE {
        assert_eq!(try_search(&fleet.client).expect("an answer").status, 200);
        pause(Duration::from_millis(100));
    }
    server.restart();
    fleet.client.add("cities", &json!([{ "id": 40_000_000, "name": "again" }]));
    assert_eq!(epoch(&server, &database), 1, "nobody else has led");
}

#[test]
fn where_another_gateway_could_take_over_searches_say_that_they_may_be_of_before() {
    let mut server = Postgres::start();
    let database = server.database();
    let mut fleet = fleet(&database);
    load(&fleet.client, "cities", &cities(50));
    let second = second(&fleet, &server, &database);
    server.stop();
    assert_eq!(try_search(&fleet.client).expect("an answer").status, 200, "the lease has not ended yet");
    let stale = within(PAST_THE_LEASE, "it is not trusted any more", || {
        let reply = try_search(&fleet.client).expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text);
        (reply.header("x-miroir-degraded") == Some("view")).then_some(reply)
    });
    assert_eq!(stale.value()["hits"].as_array().map(Vec::len), Some(1));
    let refused = fleet.client.get("/tasks");
    assert_eq!((refused.status, &refused.value()["code"]), (503, &json!("miroir_state_unavailable")));
    server.restart();
    // Whoever comes first leads.
    let (first, other) = (fleet.client.clone(), second.client.clone());
    let leader = eventually("one of them serves", || {
        let serves = |reply: Reply| reply.status == 200 && reply.header("x-miroir-degraded").is_none();
        [&first, &other].into_iter().find(|client| try_search(client).is_ok_and(serves))
    });
    leader.add("cities", &json!([{ "id": 40_000_000, "name": "again" }]));
    let held = leader.documents("cities");
    assert_eq!(held.len(), 51);
    fleet.gateway.take();
}

#[test]
fn a_database_that_lost_its_tail_stops_everything_until_the_nodes_were_compared() {
    let mut server = Postgres::start();
    let database = server.database();
    let mut fleet = fleet(&database);
    load(&fleet.client, "cities", &cities(50));
    server.stop();
    server.copy_data("data", "older");
    server.restart();
    fleet.client.add("cities", &json!([{ "id": 40_000_000, "name": "the newest" }]));
    server.stop();
    server.copy_data("older", "data");
    server.restart();
    // Also where nobody writes.
    let gateway = fleet.gateway.as_mut().expect("a running gateway");
    let status = eventually("the gateway ends", || gateway.exited());
    assert_eq!(status.code(), Some(75), "{}", gateway.log());
    assert!(gateway.log().contains("lost its last commits"), "{}", gateway.log());
    fleet.spawn_gateway();
    let gateway = fleet.gateway.as_mut().expect("a gateway that was started");
    let status = eventually("it is refused", || gateway.exited());
    assert!(!status.success() && gateway.log().contains("miroir recover"), "{}", gateway.log());
    let recovered = miroir(&fleet, &["recover", "--config", &fleet.config.to_string_lossy()]);
    assert!(recovered.status.success(), "{recovered:?}");
    fleet.start_gateway();
    let hits = fleet.client.search("cities", &json!({ "q": "newest" }));
    assert_eq!(hits["hits"][0]["id"], 40_000_000, "what the database forgot the nodes still have");
    fleet.client.add("cities", &json!([{ "id": 40_000_001, "name": "after that" }]));
    assert_eq!(fleet.client.documents("cities").len(), 52);
}
