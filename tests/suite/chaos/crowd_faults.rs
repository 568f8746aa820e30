//! What is done to gateways that are several, to what they talk to, and to their database.

use std::time::{Duration, Instant};

use super::kinds::FaultKind;
use super::view::WHOLE;
use crate::support::client::{Client, pause};
use crate::support::crowd::Crowd;
use crate::support::fault_proxy::Mode;
use crate::support::fleet::{Fleet, Node};
use crate::support::random::Dice;

/// Past a lease, and what is waited for after it.
const PAST_THE_LEASE: (u64, u64) = (12_000, 15_000);

/// A fault that has begun: what ends it, and when.
#[derive(Debug)]
pub struct Begun {
    pub kind: FaultKind,
    end: End,
    pub until: Instant,
}

#[derive(Debug)]
enum End {
    /// Of who is gone, or is about to be.
    Start(usize),
    Wake(usize),
    Reach(usize),
    OpenDoor(usize),
    OpenPair {
        asks: usize,
        asked: usize,
    },
    OpenNode {
        gateway: usize,
        node: usize,
    },
    Database,
    /// Gateways mend it by themselves.
    Nothing,
}

// === impl Begun ===

impl Begun {
    /// `None` where it is declined as things stand.
    pub fn begin(kind: FaultKind, fleet: &Fleet, crowd: &mut Crowd, dice: &mut Dice) -> Result<Option<Self>, String> {
        let leader = leader(crowd)?;
        let count = crowd.gateways.len();
        let any = dice.roll(count);
        let other = (leader + 1 + dice.roll(count - 1)) % count;
        let gone = *dice.one(&[Mode::BlackHole, Mode::BlackHole, Mode::Refuse]);
        let end = match kind {
            FaultKind::LeaderKill | FaultKind::FollowerKill => {
                let place = if kind == FaultKind::LeaderKill { leader } else { other };
                crowd.kill(place);
                End::Start(place)
            }
            FaultKind::LeaderStop | FaultKind::FollowerStop => {
                let place = if kind == FaultKind::LeaderStop { leader } else { other };
                crowd.signal(place, "TERM");
                End::Start(place)
            }
            FaultKind::LeaderFreeze | FaultKind::GatewayFreeze => {
                let place = if kind == FaultKind::LeaderFreeze { leader } else { any };
                crowd.signal(place, "STOP");
                End::Wake(place)
            }
            FaultKind::StepDown if crowd.step_down(leader) => End::Start(leader),
            FaultKind::StoreCut => {
                let place = *dice.one(&[leader, any]);
                crowd.store(place, gone);
                End::Reach(place)
            }
            FaultKind::DoorCut => {
                let place = *dice.one(&[leader, any]);
                crowd.door(place, gone);
                End::OpenDoor(place)
            }
            FaultKind::GatewayPairCut => {
                crowd.pair(other, leader, gone);
                End::OpenPair { asks: other, asked: leader }
            }
            FaultKind::NodePairCut => {
                let node = dice.roll(fleet.nodes.len());
                let proxy = fleet.nodes[node].proxy.as_ref().expect("a fleet with proxies");
                let gateway = *dice.one(&[leader, any]);
                crowd.node_pair(gateway, proxy, gone);
                End::OpenNode { gateway, node }
            }
            FaultKind::KeyLoss if delete_keys(&fleet.nodes[dice.roll(fleet.nodes.len())]) => End::Nothing,
            FaultKind::StoreStop => {
                crowd.server.stop();
                End::Database
            }
            FaultKind::StoreCrash => {
                crowd.server.crash("QUIT");
                End::Database
            }
            FaultKind::StoreKill => {
                crowd.server.crash("KILL");
                End::Database
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { kind, end, until: Instant::now() + lasts(kind, dice) }))
    }

    /// Ends it, which leaves a gateway that may have to be started again.
    pub fn end(self, fleet: &Fleet, crowd: &mut Crowd) -> Result<(), String> {
        match self.end {
            End::Start(place) => crowd.restart(place)?,
            End::Wake(place) => crowd.signal(place, "CONT"),
            End::Reach(place) => crowd.store(place, Mode::Pass),
            End::OpenDoor(place) => crowd.door(place, Mode::Pass),
            End::OpenPair { asks, asked } => crowd.pair(asks, asked, Mode::Pass),
            End::OpenNode { gateway, node } => {
                let proxy = fleet.nodes[node].proxy.as_ref().expect("a fleet with proxies");
                crowd.node_pair(gateway, proxy, Mode::Pass);
            }
            End::Database => crowd.server.restart(),
            End::Nothing => {}
        }
        Ok(())
    }
}

/// How long it lasts at least.
fn lasts(kind: FaultKind, dice: &mut Dice) -> Duration {
    let long = dice.range(PAST_THE_LEASE.0, PAST_THE_LEASE.1);
    let (short, lot) = (dice.range(150, 3_000), dice.range(0, 99));
    Duration::from_millis(match kind {
        FaultKind::LeaderFreeze => long,
        FaultKind::StoreCut | FaultKind::StoreStop | FaultKind::StoreCrash | FaultKind::StoreKill if lot < 25 => long,
        // Past the end of a view.
        FaultKind::DoorCut | FaultKind::GatewayPairCut | FaultKind::GatewayFreeze if lot < 50 => 3_000 + short,
        _ => short,
    })
}

fn leader(crowd: &Crowd) -> Result<usize, String> {
    let until = Instant::now() + WHOLE;
    loop {
        match crowd.leader() {
            Some(leader) => return Ok(leader),
            None if Instant::now() > until => return Err("no gateway leads".to_owned()),
            None => pause(Duration::from_millis(50)),
        }
    }
}

/// Deletes what keys of epochs a node has. False where it has none, or does not answer.
fn delete_keys(node: &Node) -> bool {
    let Some(key) = node.client.key.as_deref().filter(|_| node.is_running()) else { return false };
    // It may be frozen.
    let client = Client::with_limit(&node.client.url, Duration::from_secs(2)).with_key(key).seeing_hidden();
    let Ok(listed) = client.try_send("GET", "/keys?limit=1000", &[], b"") else { return false };
    if listed.status != 200 {
        return false;
    }
    let keys = listed.value()["results"].as_array().cloned().unwrap_or_default();
    let of_epochs = keys.iter().filter(|key| {
        key["description"].as_str().is_some_and(|text| text.starts_with("The key by which the leading gateway"))
    });
    let uids = of_epochs.filter_map(|key| key["uid"].as_str());
    let gone = |uid: &&str| {
        client.try_send("DELETE", &format!("/keys/{uid}"), &[], b"").is_ok_and(|reply| reply.status == 204)
    };
    // All of them, also behind the first.
    uids.filter(gone).count() > 0
}
