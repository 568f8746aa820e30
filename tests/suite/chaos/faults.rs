//! What is broken, when, and for how long: a schedule drawn from a seed, and the hands that carry it out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::checker::{Problem, Problems};
use crate::support::client::pause;
use crate::support::fault_proxy::Mode;
use crate::support::random::Dice;
use crate::support::{Client, Fleet};

/// How long a cluster may take to become whole after its faults are over. Generous, because machines are busy.
const WHOLE: Duration = Duration::from_secs(120);

/// The kinds of faults, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// kill -9 of a node, and a restart.
    NodeKill,
    /// SIGSTOP of a node, and SIGCONT.
    NodeFreeze,
    NetworkDelay,
    NetworkRefuse,
    NetworkBlackHole,
    NetworkCut,
    NetworkReset,
    NetworkGarble,
    DiskFull,
    /// kill -9 of the gateway, and a restart.
    GatewayKill,
    /// kill -9 of every node at once: the only fault that takes more than RF - 1 nodes away.
    Outage,
}

/// What a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Node(usize),
    All,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    kind: FaultKind,
    target: Target,
}

/// Faults that are there at the same time.
#[derive(Debug)]
struct Round {
    faults: Vec<Fault>,
    lasting: Duration,
    /// Before the next round, once all is whole.
    rest: Duration,
}

/// Draws rounds from a seed.
pub struct Schedule {
    dice: Dice,
    nodes: usize,
    /// How many nodes may be away at once.
    spare: usize,
    kinds: Vec<FaultKind>,
}

/// How many faults of each kind were thrown.
pub type Thrown = BTreeMap<FaultKind, usize>;

// === impl FaultKind ===

impl FaultKind {
    pub const ALL: [FaultKind; 11] = [
        Self::NodeKill,
        Self::NodeFreeze,
        Self::NetworkDelay,
        Self::NetworkRefuse,
        Self::NetworkBlackHole,
        Self::NetworkCut,
        Self::NetworkReset,
        Self::NetworkGarble,
        Self::DiskFull,
        Self::GatewayKill,
        Self::Outage,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NodeKill => "node killed (-9)",
            Self::NodeFreeze => "node frozen (SIGSTOP)",
            Self::NetworkDelay => "network slow",
            Self::NetworkRefuse => "network refuses",
            Self::NetworkBlackHole => "network black hole",
            Self::NetworkCut => "answers cut short",
            Self::NetworkReset => "connections reset",
            Self::NetworkGarble => "answers garbled",
            Self::DiskFull => "disk full",
            Self::GatewayKill => "gateway killed (-9)",
            Self::Outage => "all nodes killed (-9)",
        }
    }

    fn hits_one_node(self) -> bool {
        match self {
            Self::NodeKill
            | Self::NodeFreeze
            | Self::NetworkDelay
            | Self::NetworkRefuse
            | Self::NetworkBlackHole
            | Self::NetworkCut
            | Self::NetworkReset
            | Self::NetworkGarble
            | Self::DiskFull => true,
            Self::GatewayKill | Self::Outage => false,
        }
    }
}

// === impl Schedule ===

impl Schedule {
    pub fn new(dice: Dice, nodes: usize, replication_factor: usize, kinds: &[FaultKind]) -> Self {
        Self { dice, nodes, spare: replication_factor - 1, kinds: kinds.to_vec() }
    }

    fn round(&mut self) -> Round {
        let dice = &mut self.dice;
        let for_one: Vec<FaultKind> = self.kinds.iter().copied().filter(|kind| kind.hits_one_node()).collect();
        let has = |kind| self.kinds.contains(&kind);
        let mut faults = Vec::new();
        let lot = dice.range(0, 99);
        if lot < 4 && has(FaultKind::Outage) {
            faults.push(Fault { kind: FaultKind::Outage, target: Target::All });
        } else if lot >= 14 || !has(FaultKind::GatewayKill) {
            let all: Vec<usize> = (0..self.nodes).collect();
            let away = dice.range(1, self.spare as u64) as usize;
            for node in dice.some(&all, away) {
                faults.push(Fault { kind: *dice.one(&for_one), target: Target::Node(node) });
            }
        }
        if (4..26).contains(&lot) && has(FaultKind::GatewayKill) {
            faults.push(Fault { kind: FaultKind::GatewayKill, target: Target::All });
        }
        let lasting = Duration::from_millis(dice.range(150, 2_500));
        Round { faults, lasting, rest: Duration::from_millis(dice.range(50, 700)) }
    }

    /// Throws one round of faults, ends them, and waits until the cluster is whole. False when it does not become so.
    pub fn throw(&mut self, fleet: &mut Fleet, thrown: &mut Thrown, problems: &Problems) -> bool {
        let round = self.round();
        let mode = self.dice.branch(7);
        for fault in &round.faults {
            begin(*fault, fleet, &mut mode.clone());
            *thrown.entry(fault.kind).or_default() += 1;
        }
        pause(round.lasting);
        for fault in &round.faults {
            end(*fault, fleet);
        }
        // The gateway comes last, so that it finds what is broken and what is not.
        if fleet.gateway.is_none() {
            fleet.spawn_gateway();
        }
        let whole = await_whole(fleet);
        if let Err(reason) = &whole {
            problems.add(Problem::Stuck, format!("not whole {WHOLE:?} after {:?}: {reason}", round.faults));
        }
        pause(round.rest);
        whole.is_ok()
    }
}

fn begin(fault: Fault, fleet: &mut Fleet, dice: &mut Dice) {
    let proxied = |fleet: &Fleet, node: usize, mode| {
        fleet.nodes[node].proxy.as_ref().expect("a fleet with proxies").set(mode);
    };
    match (fault.kind, fault.target) {
        (FaultKind::NodeKill, Target::Node(node)) => fleet.nodes[node].kill(),
        (FaultKind::NodeFreeze, Target::Node(node)) => fleet.nodes[node].signal("STOP"),
        (FaultKind::NetworkDelay, Target::Node(node)) => {
            proxied(fleet, node, Mode::Delay(Duration::from_millis(dice.range(30, 1_500))));
        }
        (FaultKind::NetworkRefuse, Target::Node(node)) => proxied(fleet, node, Mode::Refuse),
        (FaultKind::NetworkBlackHole, Target::Node(node)) => proxied(fleet, node, Mode::BlackHole),
        (FaultKind::NetworkCut, Target::Node(node)) => {
            proxied(fleet, node, Mode::CutAfter(dice.range(0, 900) as usize));
        }
        (FaultKind::NetworkReset, Target::Node(node)) => {
            proxied(fleet, node, Mode::ResetAfter(dice.range(0, 900) as usize));
        }
        (FaultKind::NetworkGarble, Target::Node(node)) => {
            proxied(fleet, node, Mode::Garble(dice.range(0, 600) as usize));
        }
        (FaultKind::DiskFull, Target::Node(node)) => fleet.disks.as_ref().expect("small disks")[node].fill(),
        (FaultKind::GatewayKill, _) => fleet.kill_gateway(),
        (FaultKind::Outage, _) => fleet.nodes.iter_mut().for_each(|node| node.kill()),
        (kind, Target::All) => unreachable!("{kind:?} hits one node"),
    }
}

fn end(fault: Fault, fleet: &mut Fleet) {
    match (fault.kind, fault.target) {
        (FaultKind::NodeKill, Target::Node(node)) => fleet.nodes[node].restart(),
        (FaultKind::NodeFreeze, Target::Node(node)) => fleet.nodes[node].signal("CONT"),
        (
            FaultKind::NetworkDelay
            | FaultKind::NetworkRefuse
            | FaultKind::NetworkBlackHole
            | FaultKind::NetworkCut
            | FaultKind::NetworkReset
            | FaultKind::NetworkGarble,
            Target::Node(node),
        ) => fleet.nodes[node].proxy.as_ref().expect("a fleet with proxies").set(Mode::Pass),
        (FaultKind::DiskFull, Target::Node(node)) => {
            fleet.disks.as_ref().expect("small disks")[node].free();
            // A node that a full disk has ended is an operator's to start again.
            if fleet.nodes[node].has_ended() {
                fleet.nodes[node].restart();
            }
        }
        (FaultKind::Outage, _) => fleet.nodes.iter_mut().for_each(|node| node.restart()),
        (FaultKind::GatewayKill, _) => {}
        (kind, Target::All) => unreachable!("{kind:?} hits one node"),
    }
}

/// Waits until all nodes serve and every replica is in sync; the error says what is missing.
pub fn await_whole(fleet: &Fleet) -> Result<(), String> {
    let until = std::time::Instant::now() + WHOLE;
    loop {
        let missing = match missing(&fleet.admin) {
            None => return Ok(()),
            Some(missing) => missing,
        };
        if std::time::Instant::now() > until {
            return Err(missing);
        }
        pause(Duration::from_millis(25));
    }
}

fn missing(admin: &Client) -> Option<String> {
    let ask = |path: &str| match admin.try_send("GET", path, &[], b"") {
        Ok(reply) if reply.status == 200 => Ok(reply.value()),
        Ok(reply) => Err(format!("{path} answers {}: {}", reply.status, reply.text)),
        Err(error) => Err(error),
    };
    let (topology, shards) = match (ask("/topology"), ask("/shards")) {
        (Ok(topology), Ok(shards)) => (topology, shards),
        (Err(error), _) | (_, Err(error)) => return Some(error),
    };
    let nodes = topology["nodes"].as_array().into_iter().flatten();
    let away: Vec<String> =
        nodes.filter(|node| node["state"] != "up").map(|node| format!("{} is {}", node["id"], node["state"])).collect();
    let rows = shards["shards"].as_array().into_iter().flatten();
    let stale = rows.filter(|row| row["stale"].as_array().is_some_and(|stale| !stale.is_empty())).count();
    if away.is_empty() && stale == 0 { None } else { Some(format!("{} stale shards; {}", stale, away.join(", "))) }
}
