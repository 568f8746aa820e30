//! Sides that are compared, asked the same in turn: whatever else the machine does meets all of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::network::Network;
use crate::process::Meter;
use crate::report::Spread;
use crate::support::client::{pause, within};
use crate::support::random::Dice;
use crate::support::stop::StopOnDrop;
use crate::support::{Client, Fleet, FleetOptions, Single};
use crate::times::Times;
use crate::wire::Wire;

/// So many searches go to one side before it is another's turn.
const TURN: usize = 10;

/// The longest that uploads and many writes may take.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Who answers searches.
pub struct Side {
    pub address: String,
    /// Of all its processes; a cluster's gateway is the first.
    pids: Vec<u32>,
    asks_network: bool,
}

/// One side under the same searches for one round.
#[derive(Default)]
pub struct Round {
    pub times: Times,
    /// Milliseconds of each process.
    cpu: Vec<f64>,
}

// === impl Side ===

impl Side {
    pub fn one(single: &Single) -> Self {
        Self { address: address(&single.client), pids: vec![single.pid()], asks_network: false }
    }

    pub fn cluster(fleet: &Fleet) -> Self {
        let nodes = fleet.nodes.iter().map(|node| node.pid());
        let pids = std::iter::once(fleet.gateway().pid()).chain(nodes).collect();
        Self { address: address(&fleet.client), pids, asks_network: false }
    }

    pub fn network(network: &Network) -> Self {
        Self { address: address(network.leader()), pids: network.pids(), asks_network: true }
    }

    /// A search as this side is asked.
    pub fn body(&self, search: &Value) -> String {
        let mut search = search.clone();
        if self.asks_network {
            search["useNetwork"] = Value::Bool(true);
        }
        search.to_string()
    }
}

// === impl Round ===

impl Round {
    fn add(&mut self, cpu: &[f64]) {
        self.cpu.resize(cpu.len(), 0.0);
        self.cpu.iter_mut().zip(cpu).for_each(|(sum, more)| *sum += more);
    }

    /// Processor time of a search, in milliseconds.
    pub fn cpu(&self) -> f64 {
        self.cpu.iter().sum::<f64>() / self.times.0.len() as f64
    }

    /// The gateway's part of it.
    pub fn gateway(&self) -> f64 {
        self.cpu.first().copied().unwrap_or(f64::NAN) / self.times.0.len() as f64
    }
}

/// Nodes and a gateway as operators run them: tests let it look after its nodes ten times as often.
pub fn fleet(replication_factor: usize, cache: bool) -> Fleet {
    let more = "health: { interval: 1s }\n".to_owned();
    Fleet::with(FleetOptions { nodes: 3, replication_factor, placement: "", cache, more, ..FleetOptions::default() })
}

/// The searches that no side refuses; each has then been asked once. Tells how many were left out.
pub fn answered(sides: &[Side], path: &str, searches: Vec<Value>) -> Vec<Value> {
    let mut wires = wires(sides);
    let known = searches.len();
    let mut takes = |search: &Value| {
        let mut asked = sides.iter().zip(&mut wires);
        asked.all(|(side, wire)| wire.try_post(path, &side.body(search)).is_some_and(is_whole))
    };
    let left: Vec<Value> = searches.into_iter().filter(|search| takes(search)).collect();
    if left.len() < known {
        println!("left out: {} searches of {known}, which a side refuses", known - left.len());
    }
    left
}

/// By round, what each side took for all searches.
pub fn in_turn(sides: &[Side], path: &str, searches: &[Value], rounds: usize) -> Vec<Vec<Round>> {
    let mut wires = wires(sides);
    let bodies: Vec<Vec<String>> =
        sides.iter().map(|side| searches.iter().map(|search| side.body(search)).collect()).collect();
    let mut measured = Vec::new();
    for at in 0..rounds {
        let mut round: Vec<Round> = sides.iter().map(|_| Round::default()).collect();
        for (turn, from) in (0..searches.len()).step_by(TURN).enumerate() {
            let to = (from + TURN).min(searches.len());
            for place in 0..sides.len() {
                // Whoever is asked first warms the machine for the others.
                let side = (place + turn + at) % sides.len();
                let meter = Meter::start(&sides[side].pids);
                for body in &bodies[side][from..to] {
                    round[side].times.0.push(wires[side].post(path, body).0);
                }
                round[side].add(&meter.stop());
            }
        }
        measured.push(round);
    }
    measured
}

/// In each round, `of` this side against the same of that side.
pub fn ratios(rounds: &[Vec<Round>], this: usize, that: usize, of: impl Fn(&Round) -> f64) -> Spread {
    rounds.iter().map(|round| of(&round[this]) / of(&round[that])).collect()
}

/// In each round, `of` one side.
pub fn values(rounds: &[Vec<Round>], side: usize, of: impl Fn(&Round) -> f64) -> Spread {
    rounds.iter().map(|round| of(&round[side])).collect()
}

/// How many searches a second `clients` get answered, each as fast as it can, for `time`. `to` is a path and addresses, over which
/// clients are spread evenly; `next` says which of `bodies` is sent.
pub fn rate(
    (addresses, path): (&[&str], &str),
    clients: usize,
    time: Duration,
    bodies: &[String],
    next: impl Fn(&mut Dice) -> usize + Sync,
) -> f64 {
    let (answered, start) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for client in 0..clients {
            let (answered, next) = (&answered, &next);
            scope.spawn(move || {
                let (mut wire, mut dice) =
                    (Wire::connect(addresses[client % addresses.len()]), Dice::new(client as u64));
                while start.elapsed() < time {
                    wire.post(path, &bodies[next(&mut dice)]);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    answered.into_inner() as f64 / start.elapsed().as_secs_f64()
}

/// Does `work` while `write` is called `per_second` times a second, whether or not earlier calls have come back; what came of the
/// work, and how many calls a second had come back by its end.
pub fn beside_writes<T>(per_second: u32, write: impl Fn(u64) + Sync, work: impl FnOnce() -> T) -> (T, f64) {
    let (stop, written, start) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    let (write, written) = (&write, &written);
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            for count in 0.. {
                pause((Duration::from_secs(count) / per_second).saturating_sub(start.elapsed()));
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                scope.spawn(move || {
                    write(count);
                    written.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        let _stop = StopOnDrop(stop);
        let done = work();
        (done, written.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
    })
}

/// Waits until these have nothing to do: what one side does behind its answers would be counted as another's.
pub fn settled(clients: &[&Client]) {
    let mut looks = 0;
    within(PATIENCE, "no task waits", || {
        let rests = clients.iter().all(|client| {
            let waiting = client.get("/tasks?statuses=enqueued,processing&limit=1").ok();
            waiting["total"] == 0
        });
        looks = if rests { looks + 1 } else { 0 };
        pause(Duration::from_millis(200));
        (looks >= 5).then_some(())
    });
}

/// As [`settled`], with the gateway's nodes: it sends them words behind the documents.
pub fn settled_cluster(fleet: &Fleet) {
    fleet.rounds("vocabularies", 2);
    settled(&fleet.nodes.iter().map(|node| &node.client).chain([&fleet.client]).collect::<Vec<_>>());
}

/// Waits for a task for as long as uploads take, looking `every` so often, and insists that it succeeded.
pub fn succeeded(client: &Client, id: &str, every: Duration) {
    within(PATIENCE, "the task ends", || {
        let task = client.get(&format!("/tasks/{id}")).ok();
        match task["status"].as_str() {
            Some("succeeded") => Some(()),
            Some("failed" | "canceled") => panic!("{}: {task}", client.url),
            _ => {
                pause(every);
                None
            }
        }
    });
}

/// The id of a task that was accepted.
pub fn task_of(reply: &crate::support::client::Reply) -> String {
    assert_eq!(reply.status, 202, "{}", reply.text);
    let id = &reply.value()["taskUid"];
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// A network whose member fails says so in an answer that is called a success.
fn is_whole(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer);
    !answer.contains("\"remoteErrors\"") || answer.contains("\"remoteErrors\":{}")
}

pub fn address(client: &Client) -> String {
    client.url.trim_start_matches("http://").to_owned()
}

fn wires(sides: &[Side]) -> Vec<Wire> {
    sides.iter().map(|side| Wire::connect(&side.address)).collect()
}
