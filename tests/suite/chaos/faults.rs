//! What is broken, when, and for how long: a schedule drawn from a seed, and the hands that carry it out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::changes::{Answer, Bounds, Change};
use super::checker::{Problem, Problems};
use super::crowd_faults::Begun;
use super::kinds::{Class, FaultKind};
use super::view::{self, Moving, View, WHOLE};
use crate::support::Fleet;
use crate::support::client::pause;
use crate::support::crowd::Crowd;
use crate::support::fault_proxy::Mode;
use crate::support::random::Dice;

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

/// Draws rounds from a seed.
pub struct Schedule {
    dice: Dice,
    rounds: u64,
    /// The least that there is; one node less may be away at once.
    replication_factor: usize,
    kinds: Vec<FaultKind>,
    /// In so many of 100 rounds something happens to gateways, where they are several.
    of_gateways: u64,
    /// How many faults of each kind were thrown.
    pub thrown: Thrown,
    /// How moves ended, by when they began.
    ended: BTreeMap<String, String>,
}

/// How many faults of each kind were thrown.
pub type Thrown = BTreeMap<FaultKind, usize>;

// === impl Schedule ===

impl Schedule {
    pub fn new(dice: Dice, replication_factor: usize, kinds: &[FaultKind], of_gateways: u64) -> Self {
        let (thrown, ended) = (BTreeMap::new(), BTreeMap::new());
        Self { dice, rounds: 0, replication_factor, kinds: kinds.to_vec(), of_gateways, thrown, ended }
    }

    fn of_class(&self, class: Class) -> Vec<FaultKind> {
        self.kinds.iter().copied().filter(|kind| kind.class() == class).collect()
    }

    /// Faults that are there at the same time, on nodes of the cluster as it is; the gateway's last.
    fn faults(&self, dice: &mut Dice, members: &[usize]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let lot = dice.range(0, 99);
        let (for_all, for_gateway) = (self.of_class(Class::AllNodes), self.of_class(Class::Gateway));
        if lot < 4 && !for_all.is_empty() {
            faults.push(Fault { kind: *dice.one(&for_all), target: Target::All });
        } else if lot >= 14 || for_gateway.is_empty() {
            let for_one = self.of_class(Class::OneNode);
            // Each shard keeps a replica.
            let away = dice.range(1, self.replication_factor as u64 - 1) as usize;
            for node in dice.some(members, away) {
                faults.push(Fault { kind: *dice.one(&for_one), target: Target::Node(node) });
            }
        }
        if (4..26).contains(&lot) && !for_gateway.is_empty() {
            faults.push(Fault { kind: *dice.one(&for_gateway), target: Target::All });
        }
        faults
    }

    fn change(&self, dice: &mut Dice, fleet: &Fleet, view: &View) -> Option<Change> {
        let chance = match view.moving {
            Moving::Nothing => 75,
            Moving::Running | Moving::Paused | Moving::Canceling => 25,
        };
        if dice.range(1, 100) > chance {
            return None;
        }
        let processes: Vec<String> = fleet.nodes.iter().map(|node| node.name.clone()).collect();
        let factor = self.replication_factor;
        let bounds = Bounds { replication_factor: factor as u64, holders: factor + 1 };
        Change::random(dice, &self.kinds, view, &processes, bounds)
    }

    /// Throws one round of faults, ends them, and waits until the cluster is whole. False when it does not become so.
    pub fn throw(&mut self, fleet: &mut Fleet, crowd: Option<&mut Crowd>, problems: &Problems) -> bool {
        let result = self.round(fleet, crowd, problems);
        if let Err(reason) = &result {
            problems.add(Problem::Stuck, reason.clone());
        }
        result.is_ok()
    }

    fn round(&mut self, fleet: &mut Fleet, mut crowd: Option<&mut Crowd>, problems: &Problems) -> Result<(), String> {
        self.rounds += 1;
        let mut dice = self.dice.branch(self.rounds);
        let view = view::at_once_or_soon(&fleet.admin)?;
        let members = view.members.iter().filter_map(|id| fleet.nodes.iter().position(|node| node.name == *id));
        let faults = self.faults(&mut dice, &members.collect::<Vec<_>>());
        let (lasting, rest) = (dice.range(150, 2_500), dice.range(50, 700));
        // What an operator asks for comes before what fails, or meanwhile.
        let early = dice.range(0, 1) == 0;
        let mut asked = self.change(&mut dice, fleet, &view);
        self.ended.extend(view.ended);
        let mut begun = None;
        if early {
            begun = self.make(asked.take(), fleet, problems);
        }
        for fault in &faults {
            if fault.kind.class() == Class::Gateway {
                begun = begun.or(self.make(asked.take(), fleet, problems));
                pause(Duration::from_millis(dice.range(0, 400)));
            }
            begin(*fault, fleet, &mut dice);
            *self.thrown.entry(fault.kind).or_default() += 1;
        }
        begun = begun.or(self.make(asked, fleet, problems));
        let of_gateways = match crowd.as_deref_mut() {
            Some(crowd) => self.hit_gateways(fleet, crowd, &mut dice)?,
            None => None,
        };
        pause(Duration::from_millis(lasting));
        if let Some(of_gateways) = &of_gateways {
            self.go_on(&faults, of_gateways.until, fleet, &mut dice);
        }
        for fault in &faults {
            end(*fault, fleet);
        }
        if let Some(crowd) = crowd.as_deref_mut() {
            if let Some(of_gateways) = of_gateways {
                of_gateways.end(fleet, crowd)?;
            }
            crowd.mend(fleet)?;
        }
        // The gateway comes last, so that it finds what is broken and what is not.
        if crowd.is_none() && fleet.gateway.is_none() {
            fleet.spawn_gateway();
        }
        let whole = view::await_whole(&fleet.admin, self.replication_factor);
        if let Some(Answer::Odd(text)) = begun.as_ref().map(|change| change.end(fleet)) {
            problems.add(Problem::Stuck, text);
        }
        pause(Duration::from_millis(rest));
        whole.map_err(|reason| format!("not whole {WHOLE:?} after {faults:?} and {begun:?}: {reason}"))
    }

    /// Begins a fault of gateways that are several, in most rounds.
    fn hit_gateways(&mut self, fleet: &Fleet, crowd: &mut Crowd, dice: &mut Dice) -> Result<Option<Begun>, String> {
        let kinds = self.of_class(Class::Gateways);
        if kinds.is_empty() || dice.range(0, 99) >= self.of_gateways {
            return Ok(None);
        }
        pause(Duration::from_millis(dice.range(0, 400)));
        let begun = Begun::begin(*dice.one(&kinds), fleet, crowd, dice)?;
        if let Some(begun) = &begun {
            *self.thrown.entry(begun.kind).or_default() += 1;
        }
        Ok(begun)
    }

    /// While a fault of gateways lasts, the same nodes are hit again and again: others keep each shard's replicas.
    fn go_on(&mut self, faults: &[Fault], until: Instant, fleet: &mut Fleet, dice: &mut Dice) {
        let again: Vec<Fault> = faults.iter().filter(|fault| fault.kind.class() == Class::OneNode).copied().collect();
        while Instant::now() < until {
            for fault in &again {
                end(*fault, fleet);
            }
            pause(Duration::from_millis(dice.range(100, 900)));
            for fault in &again {
                begin(*fault, fleet, dice);
                *self.thrown.entry(fault.kind).or_default() += 1;
            }
            pause(Duration::from_millis(dice.range(300, 1_500)));
        }
    }

    /// The change if it was granted.
    fn make(&mut self, change: Option<Change>, fleet: &Fleet, problems: &Problems) -> Option<Change> {
        let change = change?;
        match change.ask(fleet) {
            Answer::Changed => *self.thrown.entry(change.kind()).or_default() += 1,
            Answer::Declined => return None,
            Answer::Odd(text) => problems.add(Problem::Stuck, text),
        }
        Some(change)
    }

    /// How many moves ended how.
    pub fn moves(&mut self, fleet: &Fleet) -> Result<BTreeMap<String, usize>, String> {
        self.ended.extend(View::of(&fleet.admin)?.ended);
        let mut moves = BTreeMap::new();
        for outcome in self.ended.values() {
            *moves.entry(outcome.clone()).or_default() += 1;
        }
        Ok(moves)
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
        (kind, target) => unreachable!("{kind:?} does not hit {target:?}"),
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
        (kind, target) => unreachable!("{kind:?} does not hit {target:?}"),
    }
}
