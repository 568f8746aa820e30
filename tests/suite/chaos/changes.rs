//! Changes of the topology, as an operator makes them while nodes fail: drawn from what the cluster is at the moment.

use serde_json::{Value, json};

use super::kinds::{Class, FaultKind};
use super::view::{Moving, View, Wanted};
use crate::support::Fleet;
use crate::support::random::Dice;

/// One request to the admin API.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Add(String),
    Drain(String),
    Refill(String),
    Remove(String),
    Weight(String, f64),
    Replication(u64),
    Pause,
    Cancel,
    Undo,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Changed,
    /// As things stand it changes nothing, or is not granted.
    Declined,
    /// What no fault of a node excuses.
    Odd(String),
}

/// What changes must leave.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// It is this or one more.
    pub replication_factor: u64,
    /// So many nodes hold shards at least.
    pub holders: usize,
}

const WEIGHTS: [f64; 3] = [0.5, 1.0, 2.0];

// === impl Change ===

impl Change {
    /// One of `kinds` that is possible now; `processes` are all nodes that run, in the cluster or not.
    pub fn random(
        dice: &mut Dice,
        kinds: &[FaultKind],
        view: &View,
        processes: &[String],
        bounds: Bounds,
    ) -> Option<Self> {
        let mut possible = Vec::new();
        for kind in kinds.iter().filter(|kind| kind.class() == Class::Topology) {
            let changes = Self::of_kind(*kind, view, processes, bounds);
            if !changes.is_empty() {
                possible.push(dice.one(&changes).clone());
            }
        }
        (!possible.is_empty()).then(|| dice.one(&possible).clone())
    }

    fn of_kind(kind: FaultKind, view: &View, processes: &[String], bounds: Bounds) -> Vec<Self> {
        let holders = view.holders().count();
        let can_lose_one = holders > bounds.holders;
        let ids = |change: fn(String) -> Self, allowed: &dyn Fn(&Wanted) -> bool| {
            view.wanted.iter().filter(|node| allowed(node)).map(|node| change(node.id.clone())).collect()
        };
        match kind {
            FaultKind::NodeAdd => {
                let strangers = processes.iter().filter(|name| view.wanted.iter().all(|node| node.id != **name));
                strangers.cloned().map(Self::Add).collect()
            }
            FaultKind::NodeDrain => ids(Self::Drain, &|node| !node.drained && can_lose_one),
            FaultKind::NodeRefill => ids(Self::Refill, &|node| node.drained),
            FaultKind::NodeRemove => ids(Self::Remove, &|node| node.drained || can_lose_one),
            FaultKind::WeightChange => {
                let of = |node: &Wanted| {
                    let (id, now) = (node.id.clone(), node.weight);
                    let others = WEIGHTS.iter().filter(move |weight| (**weight - now).abs() > 0.1);
                    others.map(move |weight| Self::Weight(id.clone(), *weight))
                };
                view.holders().flat_map(of).collect()
            }
            FaultKind::ReplicationChange => {
                let factor = bounds.replication_factor;
                vec![Self::Replication(if view.replication_factor == factor { factor + 1 } else { factor })]
            }
            FaultKind::MovePause if view.moving == Moving::Running => vec![Self::Pause],
            FaultKind::MoveCancel if view.moving == Moving::Running => vec![Self::Cancel],
            FaultKind::MoveUndo if !view.ended.is_empty() => vec![Self::Undo],
            FaultKind::MovePause | FaultKind::MoveCancel | FaultKind::MoveUndo => Vec::new(),
            FaultKind::NodeKill
            | FaultKind::NodeFreeze
            | FaultKind::NetworkDelay
            | FaultKind::NetworkRefuse
            | FaultKind::NetworkBlackHole
            | FaultKind::NetworkCut
            | FaultKind::NetworkReset
            | FaultKind::NetworkGarble
            | FaultKind::DiskFull
            | FaultKind::GatewayKill
            | FaultKind::LeaderKill
            | FaultKind::FollowerKill
            | FaultKind::LeaderFreeze
            | FaultKind::GatewayFreeze
            | FaultKind::LeaderStop
            | FaultKind::FollowerStop
            | FaultKind::StepDown
            | FaultKind::StoreCut
            | FaultKind::DoorCut
            | FaultKind::GatewayPairCut
            | FaultKind::NodePairCut
            | FaultKind::KeyLoss
            | FaultKind::StoreStop
            | FaultKind::StoreCrash
            | FaultKind::StoreKill
            | FaultKind::Outage => Vec::new(),
        }
    }

    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Add(_) => FaultKind::NodeAdd,
            Self::Drain(_) => FaultKind::NodeDrain,
            Self::Refill(_) => FaultKind::NodeRefill,
            Self::Remove(_) => FaultKind::NodeRemove,
            Self::Weight(..) => FaultKind::WeightChange,
            Self::Replication(_) => FaultKind::ReplicationChange,
            Self::Pause => FaultKind::MovePause,
            Self::Cancel => FaultKind::MoveCancel,
            Self::Undo => FaultKind::MoveUndo,
        }
    }

    pub fn ask(&self, fleet: &Fleet) -> Answer {
        let (method, path, body) = match self {
            Self::Add(id) => {
                let node = fleet.nodes.iter().find(|node| node.name == *id).expect("a node that runs");
                ("POST", "/nodes".to_owned(), json!({"id": id, "url": node.public_url()}))
            }
            Self::Drain(id) => ("POST", format!("/nodes/{id}/drain"), json!({})),
            Self::Refill(id) => ("PATCH", format!("/nodes/{id}"), json!({"drained": false})),
            Self::Remove(id) => ("DELETE", format!("/nodes/{id}"), json!({})),
            Self::Weight(id, weight) => ("PATCH", format!("/nodes/{id}"), json!({"weight": weight})),
            Self::Replication(factor) => ("PATCH", "/cluster".to_owned(), json!({"replicationFactor": factor})),
            Self::Pause => ("POST", "/rebalance/pause".to_owned(), json!({})),
            Self::Cancel => ("POST", "/rebalance/cancel".to_owned(), json!({})),
            Self::Undo => ("POST", "/rebalance/undo".to_owned(), json!({})),
        };
        send(fleet, method, &path, &body)
    }

    /// What ends it when the other faults of its round are over.
    pub fn end(&self, fleet: &Fleet) -> Answer {
        match self {
            Self::Pause => resume(fleet),
            Self::Add(_)
            | Self::Drain(_)
            | Self::Refill(_)
            | Self::Remove(_)
            | Self::Weight(..)
            | Self::Replication(_)
            | Self::Cancel
            | Self::Undo => Answer::Changed,
        }
    }
}

fn resume(fleet: &Fleet) -> Answer {
    send(fleet, "POST", "/rebalance/resume", &json!({}))
}

fn send(fleet: &Fleet, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    match fleet.admin.try_send(method, path, &headers, body.to_string().as_bytes()) {
        Ok(reply) if reply.status == 200 && reply.value()["changed"] == true => Answer::Changed,
        // A node that came with a move is gone again once that is canceled.
        Ok(reply) if matches!(reply.status, 200 | 404 | 409) => Answer::Declined,
        Ok(reply) => Answer::Odd(format!("{method} {path} {body} answers {}: {}", reply.status, reply.text)),
        Err(error) => Answer::Odd(format!("{method} {path} {body}: {error}")),
    }
}
