//! Weighted rendezvous hashing with bounded loads, zones spread first: the second version of placement. Where each shard by
//! itself ([`super::rendezvous`]) needs some 64 shards a node to be even, this is even with few, and few shards make short
//! filters.
//!
//! # The bound
//! No node holds more than `ceil(f * S)` replicas of S shards, where f is its fair share of one shard's copies: by weight, as
//! far as one copy a node and the spread over zones allow ([`super::balance`]).
//!
//! # The order
//! Everything is looked at in an order that depends on nothing but ids, zones, weights and the number of shards.
//! 1. The nodes that are members, by id.
//! 2. All pairs of a shard and a node, the least key first: the key of [`super::rendezvous`], then the shard's number, then
//!    the id. Each pair in turn becomes a replica if the node has room, and the shard has a place for a copy in the
//!    node's zone: as many as full rounds over all zones give each, and what is left in different zones of those that
//!    have a node more. This is the stable matching of shards and nodes of which both prefer the least key, so it does
//!    not depend on where the order began, and a node that comes or goes disturbs only what it must and few others.
//! 3. Rarely the last places fit no node with room. Then replicas give way along the shortest path of exchanges that
//!    makes room ([`super::flow`]): the edges of a shard's zone in the order of its keys, shards by number, nodes by id.
//!    There always is one, because the fair shares themselves are such a flow in fractions.
//!
//! Owners of a shard are told in the order of their keys.
//!
//! # Movement
//! A node that comes must take its share; that is the least that can move. Because bounds change with it, a little more
//! moves: of 200 clusters each, 64 shards and two replicas, 1.07 times the least when a fourth node comes, 1.10 the sixth,
//! 1.23 the ninth, 1.34 the twelfth. The properties of this room hold it to that.

use std::cmp::Ordering;

use super::balance::{Spread, fair_copies, spread};
use super::flow::Network;
use super::rendezvous::{self, Key};
use super::topology::{Node, NodeIx};

/// What floating-point sums may be over a whole number without meaning one replica more.
const ROUNDING: f64 = 1e-6;

/// One placement in the making. Nodes are counted in the order of their ids.
struct Table {
    shards: usize,
    zones: Vec<usize>,
    /// How many replicas each node takes at most.
    bounds: Vec<usize>,
    spread: Spread,
    /// Of each node, by shard.
    keys: Vec<Vec<Key>>,
    /// The nodes of each shard so far.
    owners: Vec<Vec<usize>>,
    loads: Vec<usize>,
}

/// For each shard its owners in the order of their keys: `min(replication_factor, nodes)` different nodes. Depends on the
/// nodes' ids, zones and weights, not on their order or state; nodes that were removed count for nothing.
pub fn assign(nodes: &[Node], shards: u16, replication_factor: u8) -> Vec<Vec<NodeIx>> {
    let mut positions: Vec<usize> = (0..nodes.len()).filter(|node| nodes[*node].state.is_member()).collect();
    positions.sort_by(|a, b| nodes[*a].id.cmp(&nodes[*b].id));
    let members: Vec<Node> = positions.iter().map(|position| nodes[*position].clone()).collect();

    let mut table = Table::new(&members, shards, replication_factor);
    table.match_pairs();
    let copies = members.len().min(usize::from(replication_factor));
    if table.owners.iter().any(|owners| owners.len() < copies) {
        table.make_room();
    }
    debug_assert!(table.owners.iter().all(|owners| owners.len() == copies), "a shard has too few owners");
    table.ranked().map(|owners| owners.into_iter().map(|node| NodeIx(positions[node])).collect()).collect()
}

// === impl Table ===

impl Table {
    fn new(members: &[Node], shards: u16, replication_factor: u8) -> Self {
        let zones = rendezvous::zones(members);
        let mut sizes = vec![0; zones.iter().max().map_or(0, |zone| zone + 1)];
        zones.iter().for_each(|zone| sizes[*zone] += 1);
        let bound = |copies: f64| ((copies * f64::from(shards) - ROUNDING).ceil().max(0.0)) as usize;
        Self {
            shards: usize::from(shards),
            bounds: fair_copies(members, &zones, replication_factor).into_iter().map(bound).collect(),
            spread: spread(&sizes, usize::from(replication_factor)),
            keys: members.iter().map(|node| rendezvous::keys(node.id.as_str(), node.weight, shards)).collect(),
            owners: vec![Vec::new(); usize::from(shards)],
            loads: vec![0; members.len()],
            zones,
        }
    }

    fn match_pairs(&mut self) {
        let nodes = self.zones.len();
        let mut pairs: Vec<(usize, usize)> =
            (0..self.shards).flat_map(|shard| (0..nodes).map(move |node| (shard, node))).collect();
        // Stable: pairs of equal keys stay in the order of shards and ids.
        pairs.sort_by(|a, b| self.keys[a.1][a.0].compare(&self.keys[b.1][b.0]));
        for (shard, node) in pairs {
            if self.loads[node] < self.bounds[node] && self.has_place(shard, self.zones[node]) {
                self.owners[shard].push(node);
                self.loads[node] += 1;
            }
        }
    }

    /// How many copies of the shard the zone has.
    fn copies_in(&self, shard: usize, zone: usize) -> usize {
        self.owners[shard].iter().filter(|owner| self.zones[**owner] == zone).count()
    }

    /// True if the shard may have one copy more in the zone.
    fn has_place(&self, shard: usize, zone: usize) -> bool {
        let Spread { base, open, extras } = &self.spread;
        let copies = self.copies_in(shard, zone);
        if copies < base[zone] {
            return true;
        }
        let used = || (0..base.len()).filter(|zone| self.copies_in(shard, *zone) > base[*zone]).count();
        copies == base[zone] && open[zone] && used() < *extras
    }

    /// Fills the places that are left: source → shard's places → zone of a shard → node → sink.
    fn make_room(&mut self) {
        let (zones, nodes) = (self.spread.base.len(), self.zones.len());
        let (source, sink) = (0, 1);
        let extra_of = |shard: usize| 2 + shard;
        let zone_of = |shard: usize, zone: usize| 2 + self.shards + shard * zones + zone;
        let node_of = |node: usize| 2 + self.shards * (1 + zones) + node;
        let mut network = Network::new(2 + self.shards * (1 + zones) + nodes);
        let mut replicas = Vec::new();
        for shard in 0..self.shards {
            let over = |zone: usize| self.copies_in(shard, zone).saturating_sub(self.spread.base[zone]);
            network.add(source, extra_of(shard), self.spread.extras, (0..zones).map(over).sum());
            for zone in 0..zones {
                let in_base = self.copies_in(shard, zone) - over(zone);
                network.add(source, zone_of(shard, zone), self.spread.base[zone], in_base);
                network.add(extra_of(shard), zone_of(shard, zone), usize::from(self.spread.open[zone]), over(zone));
            }
            for node in self.by_key(shard) {
                let owns = usize::from(self.owners[shard].contains(&node));
                let edge = network.add(zone_of(shard, self.zones[node]), node_of(node), 1, owns);
                replicas.push((edge, shard, node));
            }
        }
        for node in 0..nodes {
            network.add(node_of(node), sink, self.bounds[node], self.loads[node]);
        }
        network.fill(source, sink);

        self.owners = vec![Vec::new(); self.shards];
        self.loads = vec![0; nodes];
        for (_, shard, node) in replicas.into_iter().filter(|(edge, _, _)| network.flow(*edge) == 1) {
            self.owners[shard].push(node);
            self.loads[node] += 1;
        }
    }

    fn order(&self, shard: usize, a: usize, b: usize) -> Ordering {
        self.keys[a][shard].compare(&self.keys[b][shard]).then(a.cmp(&b))
    }

    /// All nodes, the nearest to the shard first.
    fn by_key(&self, shard: usize) -> Vec<usize> {
        let mut nodes: Vec<usize> = (0..self.zones.len()).collect();
        nodes.sort_by(|a, b| self.order(shard, *a, *b));
        nodes
    }

    /// The owners of each shard, the nearest first.
    fn ranked(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        self.owners.iter().enumerate().map(|(shard, owners)| {
            let mut owners = owners.clone();
            owners.sort_by(|a, b| self.order(shard, *a, *b));
            owners
        })
    }
}
