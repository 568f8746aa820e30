//! Part `gateways`: what it costs that gateways are several, before stub nodes.
//!
//! A machine has too few cores for three gateways, their clients and nodes. So what says whether they scale is what a search costs: as much with three of
//! them at once as with one, and the one that leads nothing of it. Round trips are counted by making them long: a proxy makes the way
//! between a gateway and the database, or the one that leads, so far, and what a write takes longer for it is so many trips.

use std::time::{Duration, Instant};

use crate::gateway::{Gateway, prepare, spawn};
use crate::parts::Effort;
use crate::process::cpu_ms;
use crate::report::{Figure, Section, Spread};
use crate::stub::Stub;
use crate::support::fault_proxy::{FaultProxy, Mode};
use crate::support::gateways::{SECRET, UNFENCED, section_at};
use crate::support::postgres::Postgres;
use crate::support::process::{Process, free_port};
use crate::times::Times;
use crate::wire::Wire;

const SEARCH: (&str, &str) = ("/indexes/cities/search", r#"{"q":"words"}"#);
const WRITE: &str = "/indexes/cities/documents";
/// How far the way is made, one way.
const FAR: Duration = Duration::from_millis(20);

/// Three gateways on a database, the first of which leads.
struct Several {
    gateways: Vec<One>,
    _stubs: Vec<Stub>,
    _server: Postgres,
    _folder: tempfile::TempDir,
}

struct One {
    process: Process,
    address: String,
    /// Before the database, and before itself for the others.
    store: FaultProxy,
    door: FaultProxy,
}

// === impl Several ===

impl Several {
    fn start() -> Self {
        let (server, folder) = (Postgres::start(), tempfile::tempdir().expect("a folder"));
        let database = server.database();
        let stubs: Vec<Stub> = (0..3).map(Stub::start).collect();
        let cluster = "  shards: 64\n  replication_factor: 1\n";
        let mut gateways = Vec::new();
        for place in 0..3 {
            let peers = free_port();
            let (store, door) = (FaultProxy::start(server.port), FaultProxy::start(peers));
            let state = database.replace(&format!(":{}/", server.port), &format!(":{}/", store.port));
            let section = section_at(place, peers, door.port, UNFENCED);
            let own = format!("state: {state}\n{section}cluster_secret: {SECRET}\n");
            let (process, address) = spawn(folder.path(), &format!("gw-{place}"), &stubs, &own, cluster);
            gateways.push(One { process, address, store, door });
        }
        prepare(&gateways[0].address);
        Self { gateways, _stubs: stubs, _server: server, _folder: folder }
    }

    fn wires(&self) -> Vec<Wire> {
        self.gateways.iter().map(|one| Wire::connect(&one.address)).collect()
    }
}

pub fn measure(effort: Effort) -> Vec<Section> {
    let mut section = Section::new("Three gateways on PostgreSQL, stub nodes");
    let (alone, several) = (Gateway::start(3, 1), Several::start());
    searches(effort, &alone, &several, &mut section);
    at_once(effort, &several, &mut section);
    writes(effort, &alone, &several, &mut section);
    vec![section]
}

fn times(wire: &mut Wire, searches: usize) -> f64 {
    Times((0..searches).map(|_| wire.post(SEARCH.0, SEARCH.1).0).collect()).median()
}

/// One client, the same searches in turn: at a gateway on a file, at the one that leads, at one that follows.
fn searches(effort: Effort, alone: &Gateway, several: &Several, section: &mut Section) {
    let (rounds, searches) = effort.stub;
    let (mut file, mut wires) = (Wire::connect(&alone.address), several.wires());
    let pid = |place: usize| several.gateways[place].process.pid();
    let mut times_of = [(); 3].map(|()| Spread::default());
    let mut cpu_of = [(); 3].map(|()| Spread::default());
    let mut at_leader = Spread::default();
    for round in 0..=rounds {
        let (mut took, mut cost) = ([0.0; 3], [0.0; 3]);
        for turn in 0..3 {
            let side = (round + turn) % 3;
            let (wire, own) = match side {
                0 => (&mut file, alone.pid()),
                side => (&mut wires[side - 1], pid(side - 1)),
            };
            let (before, leader) = (cpu_ms(own), cpu_ms(pid(0)));
            took[side] = times(wire, searches);
            cost[side] = (cpu_ms(own) - before) / searches as f64;
            if side == 2 && round > 0 {
                at_leader.add((cpu_ms(pid(0)) - leader) / searches as f64);
            }
        }
        // The first round warms up.
        if round > 0 {
            times_of.iter_mut().zip(took).for_each(|(of, took)| of.add(took));
            cpu_of.iter_mut().zip(cost).for_each(|(of, cost)| of.add(cost));
        }
    }
    let [file, leader, follower] = &times_of;
    let add = |section: &mut Section, what: &str, spread, unit, most| {
        section.add(Figure::new(what.to_owned(), spread, unit, most));
    };
    add(section, "p50 of searches, one gateway on a file", file.clone(), "ms", None);
    add(section, "p50, the one that leads : on a file", Spread::ratios(leader, file), "", Some(1.02));
    add(section, "p50, one that follows : on a file", Spread::ratios(follower, file), "", Some(1.02));
    let [file, leader, follower] = &cpu_of;
    add(section, "gateway's CPU a search, on a file", file.clone(), "ms", None);
    add(section, "CPU, the one that leads : on a file", Spread::ratios(leader, file), "", Some(1.02));
    add(section, "CPU, one that follows : on a file", Spread::ratios(follower, file), "", Some(1.02));
    add(section, "CPU of the one that leads, a search of one that follows", at_leader, "ms", None);
}

/// All three are searched at once: what a search costs then against one alone.
fn at_once(effort: Effort, several: &Several, section: &mut Section) {
    let (rounds, searches) = effort.stub;
    let cpu = || -> f64 { several.gateways.iter().map(|one| cpu_ms(one.process.pid())).sum() };
    let at = |places: &[usize]| {
        let (before, begun) = (cpu(), Instant::now());
        std::thread::scope(|scope| {
            for place in places {
                let address = &several.gateways[*place].address;
                scope.spawn(move || times(&mut Wire::connect(address), searches));
            }
        });
        let all = (searches * places.len()) as f64;
        ((cpu() - before) / all, all / begun.elapsed().as_secs_f64())
    };
    let (mut ratio, mut rates) = (Spread::default(), Spread::default());
    for _ in 0..rounds {
        let (one, three) = (at(&[1]), at(&[0, 1, 2]));
        ratio.add(three.0 / one.0);
        rates.add(three.1);
    }
    section.add(Figure::new("CPU a search, three gateways at once : one alone".into(), ratio, "", Some(1.1)));
    section.add(Figure::new(
        "searches a second, a client at each of three, stubs and clients on the same cores".into(),
        rates,
        "/s",
        None,
    ));
}

/// The median of small writes, one after the other.
fn small(wire: &mut Wire, writes: usize) -> f64 {
    let body = |n: usize| format!("[{{\"id\":{n},\"name\":\"a small one\"}}]");
    Times((0..writes).map(|n| wire.post(WRITE, &body(n)).0).collect()).median()
}

fn writes(effort: Effort, alone: &Gateway, several: &Several, section: &mut Section) {
    let writes = effort.stub.1 / 10;
    let (mut file, mut wires) = (Wire::connect(&alone.address), several.wires());
    let leader = &several.gateways[0];
    let mut took = [(); 3].map(|()| Spread::default());
    let (mut to_store, mut to_leader) = (Spread::default(), Spread::default());
    let trips = |held: f64, free: f64| (held - free) / (2.0 * FAR.as_secs_f64() * 1000.0);
    for _ in 0..effort.stub.0 {
        took[0].add(small(&mut file, writes));
        let (lead, follow) = (small(&mut wires[0], writes), small(&mut wires[1], writes));
        took[1].add(lead);
        took[2].add(follow);
        leader.store.set(Mode::Far(FAR));
        to_store.add(trips(small(&mut wires[0], writes / 5), lead));
        leader.store.set(Mode::Pass);
        leader.door.set(Mode::Far(FAR));
        to_leader.add(trips(small(&mut wires[1], writes / 5), follow));
        leader.door.set(Mode::Pass);
    }
    let [file, lead, follow] = took;
    section.add(Figure::new("p50 of a small write, one gateway on a file".into(), file, "ms", None));
    section.add(Figure::new("p50 of a small write, at the one that leads".into(), lead, "ms", None));
    section.add(Figure::new("p50 of a small write, through one that follows".into(), follow, "ms", None));
    section.add(Figure::new("round trips to the database, a small write".into(), to_store, "", Some(3.0)));
    section.add(Figure::new("round trips to the one that leads, a small write".into(), to_leader, "", Some(1.1)));
}
