//! Chaos: real nodes and a gateway are killed, frozen, cut off and filled up, nodes come and go and shards move, while clients
//! write and search, and the history of what the clients saw proves that nothing acknowledged was lost.
//!
//! `MIROIR_CHAOS_SECONDS` and `MIROIR_CHAOS_SEED` make the long run (`make chaos`); the schedule of faults is the seed's, the
//! moments at which they meet the writes are the machine's. What a change of the topology does depends on how far the last one
//! has come.

mod changes;
mod checker;
mod clients;
mod crowd_faults;
mod faults;
mod history;
mod kinds;
mod table;
mod view;
mod wrong;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use self::checker::{Problem, Problems};
use self::clients::{INDEX, Searches, Stage, Writer};
use self::faults::Schedule;
use self::history::History;
use self::kinds::{Class, FaultKind};
use crate::support::client::pause;
use crate::support::crowd::Crowd;
use crate::support::random::Dice;
use crate::support::stop::StopOnDrop;
use crate::support::{Client, Fleet, FleetOptions};

const WRITERS: u64 = 4;
const SEARCHERS: u64 = 3;
/// Clients that send wrong writes.
const SPOILERS: u64 = 1;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long tasks may take to end once all is whole.
const ENDING: Duration = Duration::from_secs(120);
/// MiB of a node's disk.
const DISK: u64 = 192;
const MASTER_KEY: &str = "the-key-of-the-gateways-of-chaos";
const NODE_KEY: &str = "the-key-of-the-nodes-of-chaos";

/// One run.
struct Run<'a> {
    seed: u64,
    /// One on a file, or several on PostgreSQL.
    gateways: usize,
    nodes: usize,
    /// Nodes that may join them.
    spare: usize,
    replication_factor: usize,
    lasting: Duration,
    /// In so many of 100 rounds something happens to gateways, where they are several.
    of_gateways: u64,
    kinds: &'a [FaultKind],
}

// === impl Run ===

impl Run<'_> {
    /// Panics, with all that is needed to look into it, if anything was lost, wrong or left undone.
    fn carry_out(&self) {
        let started = Instant::now();
        let (mut fleet, mut crowd) = self.fleet();
        let kinds = self.possible_kinds(&fleet);
        let dice = Dice::new(self.seed);
        let mut schedule = Schedule::new(dice.branch(1), self.replication_factor, &kinds, self.of_gateways);
        let (history, problems, searches) = (History::new(), Problems::default(), Searches::default());
        let stop = AtomicBool::new(false);
        wrong::prepare(&fleet, &history);
        let client = Client::with_limit(&fleet.client.url, PATIENCE);
        let doors = crowd.as_ref().map_or_else(Vec::new, |crowd| crowd.clients().collect::<Vec<_>>());
        let client = match doors.as_slice() {
            [] => client,
            doors => client.of_any(doors.iter().map(|door| door.url.clone()).collect()),
        };
        // Where there are keys, clients have some that the gateways made.
        let with_key = |actions: &[&str]| match &fleet.client.key {
            Some(_) => client.with_key(&key_for(&fleet.client, actions)),
            None => client.clone(),
        };
        let (client, reader) = (with_key(&["*"]), with_key(&["search", "documents.get"]));
        let stage = Stage { client, reader, history: &history, problems: &problems, stop: &stop, searches: &searches };
        std::thread::scope(|scope| {
            let stage = &stage;
            for number in 0..WRITERS {
                let dice = dice.branch(100 + number);
                scope.spawn(move || Writer::new(stage, number, dice).run());
            }
            for number in 0..SEARCHERS {
                let dice = dice.branch(200 + number);
                scope.spawn(move || clients::search(stage, dice));
            }
            for number in 0..SPOILERS {
                let dice = dice.branch(300 + number);
                scope.spawn(move || wrong::spoil(stage, dice));
            }
            scope.spawn(move || clients::watch_tasks(stage));
            let _ending = StopOnDrop(&stop);
            while started.elapsed() < self.lasting && schedule.throw(&mut fleet, crowd.as_mut(), &problems) {}
        });
        if let Some(Err(reason)) = crowd.as_mut().map(Crowd::await_ready) {
            problems.add(Problem::Stuck, reason);
        }
        self.settle(&fleet, &stage);
        checker::check_at_rest(&fleet, &doors, &history, &problems);
        wrong::check_at_rest(&fleet, &problems);
        let moves = schedule.moves(&fleet).unwrap_or_else(|reason| {
            problems.add(Problem::Stuck, reason);
            BTreeMap::new()
        });
        let outcome = table::Outcome {
            seed: self.seed,
            took: started.elapsed(),
            thrown: &schedule.thrown,
            moves,
            ended: crowd.as_ref().map(|crowd| crowd.ended),
            writes: history.counts(),
            searches: &searches,
            problems: &problems,
        };
        let writes = outcome.writes;
        println!("{}", outcome.table());
        assert!(writes.acknowledged > 0 && searches.complete.load(Ordering::Relaxed) > 0, "nothing was done");
        if problems.total() > 0 {
            self.fail(&fleet, crowd.as_ref(), &history, &problems);
        }
    }

    fn fleet(&self) -> (Fleet, Option<Crowd>) {
        let options = FleetOptions {
            nodes: self.nodes,
            spare: self.spare,
            replication_factor: self.replication_factor,
            cache: true,
            proxied: true,
            disk: Some(DISK),
            more: "health: { interval: 200ms, timeout: 1s, rise: 1, fall: 2 }\n\
                   write: { timeout: 3s }\nsearch: { timeout: 2s }\nrebalance: { concurrency: 32 }\n"
                .to_owned(),
            ..FleetOptions::default()
        };
        let (fleet, crowd) = match self.gateways {
            1 => (Fleet::with(options), None),
            several => {
                // Nodes take changes by the keys of epochs alone.
                let options = FleetOptions { master_key: Some(MASTER_KEY), node_key: Some(NODE_KEY), ..options };
                let (fleet, crowd) = Crowd::start(several, options);
                (fleet, Some(crowd))
            }
        };
        fleet.client.done(&fleet.client.post("/indexes", &json!({"uid": INDEX, "primaryKey": "id"})));
        let settings = json!({
            "filterableAttributes": ["client", "generation", "group"], "sortableAttributes": ["v"],
            "searchableAttributes": ["text"],
        });
        fleet.client.done(&fleet.client.json("PATCH", &format!("/indexes/{INDEX}/settings"), &settings));
        (fleet, crowd)
    }

    fn possible_kinds(&self, fleet: &Fleet) -> Vec<FaultKind> {
        let without_disks = match &fleet.disks {
            Ok(_) => false,
            Err(reason) => {
                println!("chaos: no full disks on this machine: {reason}");
                true
            }
        };
        let of_others = if self.gateways == 1 { Class::Gateways } else { Class::Gateway };
        let possible = |kind: &FaultKind| kind.class() != of_others && !(without_disks && *kind == FaultKind::DiskFull);
        self.kinds.iter().copied().filter(possible).collect()
    }

    /// Waits until every task and every move has ended and the cluster is whole.
    fn settle(&self, fleet: &Fleet, stage: &Stage) {
        if let Err(reason) = view::await_rest(&fleet.admin) {
            stage.problems.add(Problem::Stuck, format!("the cluster does not come to rest: {reason}"));
        }
        let until = Instant::now() + ENDING;
        while !stage.history.open_tasks().is_empty() && Instant::now() < until {
            clients::ask_tasks(stage);
            pause(Duration::from_millis(50));
        }
        for (_, task) in stage.history.open_tasks() {
            stage.problems.add(Problem::Stuck, format!("task {task} does not end"));
        }
        // Ended tasks may have left replicas behind.
        if let Err(reason) = view::await_rest(&fleet.admin) {
            stage.problems.add(Problem::Stuck, format!("the cluster does not stay at rest: {reason}"));
        }
        let open = fleet.client.get("/tasks?statuses=enqueued,processing").ok();
        for task in open["results"].as_array().into_iter().flatten() {
            fleet.client.wait_id(task["uid"].as_str().unwrap_or_default());
        }
    }

    fn fail(&self, fleet: &Fleet, crowd: Option<&Crowd>, history: &History, problems: &Problems) -> ! {
        let folder = std::env::var_os("MIROIR_CHAOS_DIR").map_or_else(std::env::temp_dir, Into::into);
        let folder = folder.join(format!("miroir-chaos-{}", self.seed));
        std::fs::create_dir_all(&folder).expect("a folder for what is left of the run");
        history.dump(&folder.join("history.ndjson")).expect("a file for the history");
        let of_one = fleet.gateway.as_ref().map(|gateway| ("gateway", gateway.log()));
        for (name, log) in of_one.into_iter().chain(crowd.into_iter().flat_map(Crowd::logs)) {
            std::fs::write(folder.join(format!("{name}.log")), log).expect("a file for the log");
        }
        for node in &fleet.nodes {
            std::fs::write(folder.join(format!("{}.log", node.name)), node.log()).expect("a file for the log");
        }
        panic!(
            "{} problems; history and logs are in {}; the same schedule again: make chaos GATEWAYS={} SEED={} MINUTES={}\n{}",
            problems.total(),
            folder.display(),
            self.gateways,
            self.seed,
            self.lasting.as_secs().div_ceil(60),
            problems.tell()
        );
    }
}

/// A key for the index, made by whoever `client` asks.
fn key_for(client: &Client, actions: &[&str]) -> String {
    let made = client.post("/keys", &json!({"actions": actions, "indexes": [INDEX], "expiresAt": null})).ok();
    made["key"].as_str().expect("a key").to_owned()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_acknowledged_is_lost_while_nodes_and_gateway_are_killed_and_shards_move() {
    use FaultKind::{
        GatewayKill, NetworkBlackHole, NetworkReset, NodeAdd, NodeDrain, NodeFreeze, NodeKill, NodeRemove,
    };
    let kinds = [NodeKill, NodeFreeze, NetworkReset, NetworkBlackHole, GatewayKill, NodeAdd, NodeDrain, NodeRemove];
    let seed = number("MIROIR_CHAOS_SEED").unwrap_or(4);
    println!("chaos: seed {seed}");
    let lasting = Duration::from_secs(20);
    Run { seed, gateways: 1, nodes: 3, spare: 1, replication_factor: 2, lasting, of_gateways: 0, kinds: &kinds }
        .carry_out();
}

#[test]
fn nothing_acknowledged_is_lost_while_gateways_nodes_and_the_database_are_killed() {
    use FaultKind::{
        DoorCut, FollowerKill, GatewayFreeze, GatewayPairCut, KeyLoss, LeaderKill, LeaderStop, NodeKill, NodePairCut,
        StepDown, StoreCrash, StoreCut,
    };
    let kinds = [
        NodeKill,
        LeaderKill,
        FollowerKill,
        GatewayFreeze,
        LeaderStop,
        StepDown,
        StoreCut,
        StoreCrash,
        DoorCut,
        GatewayPairCut,
        NodePairCut,
        KeyLoss,
    ];
    let seed = number("MIROIR_CHAOS_SEED").unwrap_or(15);
    println!("chaos: seed {seed}");
    let lasting = Duration::from_secs(20);
    Run { seed, gateways: 3, nodes: 3, spare: 0, replication_factor: 2, lasting, of_gateways: 100, kinds: &kinds }
        .carry_out();
}

/// `make chaos`: every kind of fault, first over 3 to 5 nodes that hold each document twice or three times, then over 4 to 6
/// that hold it three or four times, half of the time each.
#[test]
#[ignore = "long; `make chaos` runs it"]
fn chaos() {
    let seed = number("MIROIR_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let seconds = number("MIROIR_CHAOS_SECONDS").unwrap_or(60);
    let gateways = number("MIROIR_CHAOS_GATEWAYS").unwrap_or(1) as usize;
    for (part, (nodes, spare, replication_factor)) in [(3, 2, 2), (5, 1, 3)].into_iter().enumerate() {
        let seed = seed + part as u64 * 1_000_000;
        println!(
            "chaos: {gateways} gateways, {nodes} nodes and {spare} to come, replication factor {replication_factor}, seed {seed}"
        );
        let lasting = Duration::from_secs(seconds / 2);
        Run { seed, gateways, nodes, spare, replication_factor, lasting, of_gateways: 60, kinds: &FaultKind::ALL }
            .carry_out();
    }
}
