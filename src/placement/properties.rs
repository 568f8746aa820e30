//! What holds for every cluster: minimal movement, spread over zones, balance, weights, covers.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::balance::{self, OVERFULL};
use super::cover::{Besides, CoverPart, cover};
use super::settings::DEFAULT_SHARDS;
use super::shard::{ShardId, ShardSet};
use super::topology::{Node, NodeId, NodeIx, NodeState, Topology};
use super::version::Placement;

fn node(id: &str, zone: Option<u8>, weight: f64) -> Node {
    Node {
        id: NodeId::new(id),
        url: format!("http://{id}:7700"),
        zone: zone.map(|zone| format!("zone-{zone}")),
        weight,
        state: NodeState::Up,
    }
}

/// Up to ten nodes of different ids, weights from 0.5 to 4, with and without zones.
fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let zone = prop_oneof![Just(None), (0u8..4).prop_map(Some)];
    let weight = prop_oneof![Just(1.0), 0.5..4.0f64];
    proptest::collection::btree_map("[a-z0-9.-]{1,12}", (zone, weight), 1..10)
        .prop_map(|nodes| nodes.into_iter().map(|(id, (zone, weight))| node(&id, zone, weight)).collect())
}

/// For each shard the ids of its owners.
fn owners(placement: Placement, nodes: &[Node], shards: u16, replication_factor: u8) -> Vec<BTreeSet<NodeId>> {
    placement
        .assign(nodes, shards, replication_factor)
        .into_iter()
        .map(|owners| owners.into_iter().map(|owner| nodes[owner.0].id.clone()).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_node_that_comes_takes_only_what_it_wins_and_one_that_goes_gives_only_what_it_held(
        nodes in nodes(),
        shards in 1u16..200,
        replication_factor in 1u8..5,
        pick in any::<prop::sample::Index>(),
    ) {
        let moved = nodes[pick.index(nodes.len())].id.clone();
        let fewer: Vec<Node> = nodes.iter().filter(|node| node.id != moved).cloned().collect();
        let with = owners(Placement::Rendezvous, &nodes, shards, replication_factor);
        let without = owners(Placement::Rendezvous, &fewer, shards, replication_factor);
        for (with, without) in with.iter().zip(&without) {
            if with.contains(&moved) {
                // One replica is its own, and at most one other gave way to it.
                prop_assert!(with.iter().filter(|owner| **owner != moved).all(|owner| without.contains(owner)));
                prop_assert!(without.difference(with).count() <= 1);
            } else {
                prop_assert_eq!(with, without);
            }
        }
    }

    #[test]
    fn the_order_of_the_nodes_in_the_file_means_nothing(nodes in nodes(), shards in 1u16..200, replication_factor in 1u8..5) {
        let mut reversed = nodes.clone();
        reversed.reverse();
        for placement in Placement::ALL {
            let [one, other] = [&nodes, &reversed].map(|nodes| owners(*placement, nodes, shards, replication_factor));
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn replicas_are_on_different_nodes_and_in_as_many_zones_as_can_be(
        nodes in nodes(),
        shards in 1u16..200,
        replication_factor in 1u8..5,
    ) {
        let zone = |node: &Node| node.zone.clone().unwrap_or_else(|| node.id.to_string());
        let zones: BTreeSet<String> = nodes.iter().map(zone).collect();
        let copies = usize::from(replication_factor).min(nodes.len());
        let assigned = Placement::ALL.iter().flat_map(|placement| placement.assign(&nodes, shards, replication_factor));
        for owners in assigned {
            prop_assert_eq!(owners.len(), copies);
            prop_assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), copies);
            let used: BTreeSet<String> = owners.iter().map(|owner| zone(&nodes[owner.0])).collect();
            prop_assert_eq!(used.len(), copies.min(zones.len()));
        }
    }

    #[test]
    fn bounded_loads_are_bounded(nodes in nodes(), shards in 1u16..200, replication_factor in 1u8..5) {
        let topology = Topology::placed(Placement::Bounded, nodes, shards, replication_factor);
        for share in balance::shares(&topology) {
            prop_assert!((share.replicas as f64) < share.fair + 1.0, "{:?}", share);
        }
    }

    #[test]
    fn both_versions_spread_a_shard_over_zones_alike(
        nodes in nodes(),
        shards in 1u16..100,
        replication_factor in 1u8..9,
    ) {
        let zone = |node: &NodeIx| nodes[node.0].zone.clone().unwrap_or_else(|| nodes[node.0].id.to_string());
        let copies_by_zone = |placement: Placement| -> BTreeSet<Vec<usize>> {
            let of_shard = |owners: Vec<NodeIx>| {
                let mut counts: BTreeMap<String, usize> = BTreeMap::new();
                owners.iter().for_each(|owner| *counts.entry(zone(owner)).or_default() += 1);
                let mut counts: Vec<usize> = counts.into_values().collect();
                counts.sort_unstable();
                counts
            };
            placement.assign(&nodes, shards, replication_factor).into_iter().map(of_shard).collect()
        };
        // How many copies the zones of a shard have is one list for all shards.
        let alike = copies_by_zone(Placement::Rendezvous);
        prop_assert_eq!(&copies_by_zone(Placement::Bounded), &alike);
    }

    #[test]
    fn fair_shares_are_all_the_replicas(nodes in nodes(), shards in 1u16..200, replication_factor in 1u8..5) {
        let topology = Topology::build(nodes, shards, replication_factor);
        let shares = balance::shares(&topology);
        let replicas: usize = topology.owners.iter().map(Vec::len).sum();
        prop_assert_eq!(shares.iter().map(|share| share.replicas).sum::<usize>(), replicas);
        prop_assert!((shares.iter().map(|share| share.fair).sum::<f64>() - replicas as f64).abs() < 1e-6);
    }

    #[test]
    fn a_cover_has_every_shard_once_from_nodes_that_may_answer(
        nodes in nodes(),
        shards in 1u16..200,
        replication_factor in 1u8..5,
        down in proptest::collection::vec(any::<bool>(), 10),
        excluded in proptest::collection::vec(any::<bool>(), 10),
        stale in proptest::collection::btree_map((0usize..10, Just("i".to_owned())), proptest::collection::vec(0u16..200, 1..50), 0..4),
        wanted in proptest::collection::vec(0u16..200, 0..200),
        placement in prop::sample::select(Placement::ALL),
        seed in any::<u64>(),
    ) {
        let mut topology = Topology::placed(placement, nodes, shards, replication_factor);
        for (node, down) in topology.nodes.iter_mut().zip(&down) {
            node.state = if *down { NodeState::Down } else { NodeState::Up };
        }
        topology.stale = std::sync::Arc::new(
            stale
                .into_iter()
                .map(|((node, index), shards)| ((NodeIx(node), index), shards.into_iter().map(ShardId).collect()))
                .collect(),
        );
        let excluded: Vec<NodeIx> = topology.indexes().filter(|node| excluded[node.0]).collect();
        let wanted: ShardSet = wanted.into_iter().filter(|shard| *shard < shards).map(ShardId).collect();
        let answers = |node: NodeIx, shard: ShardId| {
            topology.node(node).state.serves_reads() && !excluded.contains(&node) && !topology.is_stale(node, "i", shard)
        };
        let cover = cover(&topology, "i", &wanted, &excluded, seed);
        let mut seen: BTreeMap<ShardId, usize> = BTreeMap::new();
        for part in &cover.parts {
            prop_assert!(!part.shards.is_empty());
            for shard in part.shards.iter() {
                prop_assert!(topology.owners_of(shard).contains(&part.node) && answers(part.node, shard));
                *seen.entry(shard).or_default() += 1;
            }
            let left_out = |shard: ShardId| matches!(&part.besides, Besides::Shards(others) if others.contains(shard));
            for shard in topology.shards_of(part.node).iter() {
                prop_assert!(part.shards.contains(shard) != left_out(shard));
            }
            prop_assert!(part.shards.iter().all(|shard| !left_out(shard)));
        }
        for shard in wanted.iter() {
            let possible = topology.owners_of(shard).iter().any(|owner| answers(*owner, shard));
            prop_assert_eq!(seen.remove(&shard).unwrap_or(0), usize::from(possible));
            prop_assert_eq!(cover.missing.contains(shard), !possible);
        }
        prop_assert!(seen.is_empty());
        prop_assert!(cover.missing.is_subset(&wanted));
    }

    #[test]
    fn sets_of_shards_are_sets(left in proptest::collection::btree_set(0u16..400, 0..100), right in proptest::collection::btree_set(0u16..400, 0..100)) {
        let set = |shards: &BTreeSet<u16>| shards.iter().copied().map(ShardId).collect::<ShardSet>();
        let plain = |set: &ShardSet| set.iter().map(|shard| shard.0).collect::<BTreeSet<u16>>();
        let (one, other) = (set(&left), set(&right));
        prop_assert_eq!(plain(&one), left.clone());
        prop_assert_eq!(one.len(), left.len());
        prop_assert_eq!(one.is_empty(), left.is_empty());
        prop_assert_eq!(one.is_subset(&other), left.is_subset(&right));
        let mut joined = one.clone();
        joined.union_with(&other);
        prop_assert_eq!(&joined, &set(&(&left | &right)));
        let mut rest = one.clone();
        rest.subtract(&other);
        prop_assert_eq!(&rest, &set(&(&left - &right)));
        let mut common = one.clone();
        common.intersect_with(&other);
        prop_assert_eq!(&common, &set(&(&left & &right)));
    }
}

/// Clusters of `node-…`, `meili-…` and so on, as people name them.
fn clusters(count: usize) -> impl Iterator<Item = Vec<Node>> {
    ["node", "meili", "ms", "search", "m"]
        .into_iter()
        .flat_map(|stem| (0..40).map(move |start| (stem, start)))
        .map(move |(stem, start)| (start..start + count).map(|n| node(&format!("{stem}-{n}"), None, 1.0)).collect())
}

#[test]
fn no_node_is_overfull_with_64_shards_for_each_and_two_replicas() {
    for (count, shards) in [(3, 192), (3, 256), (4, 256), (8, 512), (16, 1024)] {
        for nodes in clusters(count) {
            let topology = Topology::build(nodes, shards, 2);
            for share in balance::shares(&topology) {
                assert!(share.ratio() <= OVERFULL, "{} {share:?}", topology.node(share.node).id);
            }
        }
    }
}

#[test]
fn overfull_nodes_are_rare_with_64_shards_for_each_and_one_replica() {
    let overfull = |shares: Vec<balance::Share>| shares.iter().any(|share| share.ratio() > OVERFULL);
    for (count, shards, bound) in [(2, 128, 0), (3, 256, 0), (4, 256, 2), (8, 512, 8)] {
        let found =
            clusters(count).filter(|nodes| overfull(balance::shares(&Topology::build(nodes.clone(), shards, 1))));
        assert!(found.count() <= bound, "{count} nodes");
    }
}

#[test]
fn a_node_holds_in_proportion_to_its_weight() {
    let nodes = vec![node("a", None, 1.0), node("b", None, 2.0), node("c", None, 3.0), node("d", None, 0.5)];
    for share in balance::shares(&Topology::build(nodes, 4096, 1)) {
        assert!((0.9..1.1).contains(&share.ratio()), "{share:?}");
    }
}

#[test]
fn a_zone_holds_in_proportion_to_the_weight_of_its_nodes() {
    let nodes = vec![
        node("a", Some(0), 1.0),
        node("b", Some(0), 1.0),
        node("c", Some(1), 1.0),
        node("d", Some(1), 2.0),
        node("e", Some(2), 2.0),
    ];
    for share in balance::shares(&Topology::build(nodes, 4096, 1)) {
        assert!((0.9..1.1).contains(&share.ratio()), "{share:?}");
    }
}

#[test]
fn each_zone_holds_one_copy_with_as_many_zones_as_replicas() {
    let nodes: Vec<Node> = (0..7).map(|n| node(&format!("node-{n}"), Some(n % 3), 1.0)).collect();
    let topology = Topology::build(nodes, 256, 3);
    for zone in 0..3 {
        let mut held = ShardSet::new();
        let mut replicas = 0;
        for ix in topology.indexes().filter(|ix| ix.0 % 3 == zone) {
            held.union_with(topology.shards_of(ix));
            replicas += topology.shards_of(ix).len();
        }
        assert_eq!((held, replicas), (ShardSet::all(256), 256));
    }
}

/// How many times as many replicas move as a node that comes must take, on average of all clusters of `count` nodes.
fn moved_over_least(count: usize, shards: u16, replication_factor: u8) -> f64 {
    let (mut moved, mut least) = (0usize, 0.0);
    for nodes in clusters(count + 1) {
        let before = owners(Placement::Bounded, &nodes[..count], shards, replication_factor);
        let after = owners(Placement::Bounded, &nodes, shards, replication_factor);
        moved += after.iter().zip(&before).map(|(after, before)| after.difference(before).count()).sum::<usize>();
        least += f64::from(shards) * f64::from(replication_factor) / (count + 1) as f64;
    }
    moved as f64 / least
}

#[test]
fn with_bounds_little_more_moves_than_must() {
    for (count, replication_factor, most) in
        [(3, 1, 1.2), (3, 2, 1.1), (5, 2, 1.2), (6, 3, 1.2), (8, 2, 1.3), (11, 2, 1.4)]
    {
        let moved = moved_over_least(count, 64, replication_factor);
        println!("{count} nodes and one more, {replication_factor} replicas: {moved:.3} times the least");
        assert!((0.9..most).contains(&moved), "{count} nodes, {replication_factor} replicas: {moved:.3}");
    }
}

/// What a search pays for filters: the nodes that are asked, and the values in all of their filters together.
fn asked_on_average(placement: Placement, nodes: &[Node], shards: u16, replication_factor: u8) -> (f64, f64) {
    const SEEDS: u64 = 200;
    let topology = Topology::placed(placement, nodes.to_vec(), shards, replication_factor);
    let (mut asked, mut values) = (0, 0);
    for seed in 0..SEEDS {
        let cover = cover(&topology, "i", &ShardSet::all(shards), &[], seed);
        asked += cover.parts.len();
        values += cover.parts.iter().map(CoverPart::values).sum::<usize>();
    }
    (asked as f64 / SEEDS as f64, values as f64 / SEEDS as f64)
}

#[test]
fn the_default_of_today_asks_for_a_quarter_of_the_values_of_before() {
    for (count, replication_factor, most) in [(3, 2, 22.5), (5, 2, 26.0), (6, 3, 26.0)] {
        let nodes: Vec<Node> = (0..count).map(|n| node(&format!("node-{n}"), None, 1.0)).collect();
        let before = asked_on_average(Placement::Rendezvous, &nodes, 256, replication_factor);
        let now = asked_on_average(Placement::NEW, &nodes, DEFAULT_SHARDS, replication_factor);
        println!("{replication_factor} replicas on {count} nodes: (nodes, values) {before:?}, now {now:?}");
        assert!(now.1 < before.1 * 0.3 && now.1 < most && now.0 <= before.0, "{before:?} {now:?}");
    }
}
