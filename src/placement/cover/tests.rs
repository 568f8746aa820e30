use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::placement::shard::ShardId;
use crate::placement::topology::{Node, NodeId, NodeState, StaleSets};

fn cluster(zones: &[Option<&str>], shards: u16, replication_factor: u8) -> Topology {
    let nodes = zones
        .iter()
        .enumerate()
        .map(|(number, zone)| Node {
            id: NodeId::new(&format!("node-{number}")),
            url: format!("http://node-{number}:7700"),
            zone: zone.map(str::to_owned),
            weight: 1.0,
            state: NodeState::Up,
        })
        .collect();
    Topology::build(nodes, shards, replication_factor)
}

fn union(cover: &Cover) -> ShardSet {
    let mut union = ShardSet::new();
    for part in &cover.parts {
        let before = union.len();
        union.union_with(&part.shards);
        assert_eq!(union.len(), before + part.shards.len(), "a shard is in two parts");
    }
    union
}

#[test]
fn a_node_whose_settings_of_the_index_differ_is_asked_only_for_what_nobody_else_has() {
    let mut topology = cluster(&[None; 3], 256, 2);
    topology.apart = Arc::new([((NodeIx(0), "i".to_owned()), Apart::Differs)].into());
    for seed in 0..20 {
        let others = cover(&topology, "i", &ShardSet::all(256), &[], seed);
        assert_eq!(others.parts.iter().map(|part| part.node).collect::<Vec<_>>(), [NodeIx(1), NodeIx(2)]);
        assert!(others.missing.is_empty());
    }
    let other_index = (0..20).map(|seed| cover(&topology, "j", &ShardSet::all(256), &[], seed));
    assert!(other_index.flat_map(|cover| cover.parts).any(|part| part.node == NodeIx(0)));
    topology.nodes[1].state = NodeState::Down;
    let last_resort = cover(&topology, "i", &ShardSet::all(256), &[], 1);
    assert_eq!((union(&last_resort), last_resort.missing.len()), (ShardSet::all(256), 0));
    let of_the_other = last_resort.parts.iter().find(|part| part.node == NodeIx(2)).map(|part| part.shards.clone());
    assert_eq!(of_the_other.as_ref(), Some(topology.shards_of(NodeIx(2))), "what node-2 has is asked of it alone");
    for kind in [Apart::Unknown, Apart::Absent] {
        topology.apart = Arc::new([((NodeIx(0), "i".to_owned()), kind)].into());
        let without = cover(&topology, "i", &ShardSet::all(256), &[], 1);
        assert_eq!(without.parts.iter().map(|part| part.node).collect::<Vec<_>>(), [NodeIx(2)]);
        assert!(!without.missing.is_empty());
    }
}

#[test]
fn one_node_is_asked_if_it_holds_everything() {
    let topology = cluster(&[None; 2], 256, 2);
    let cover = cover(&topology, "i", &ShardSet::all(256), &[], 1);
    assert_eq!(cover.parts.len(), 1);
    assert!(cover.parts[0].is_whole());
    assert!(cover.missing.is_empty());
}

#[test]
fn the_gateways_own_zone_is_asked_first_where_it_needs_no_more_nodes() {
    let asked = |topology: &Topology, seed| {
        let cover = cover(topology, "i", &ShardSet::all(256), &[], seed);
        assert!(cover.missing.is_empty());
        cover.parts.iter().map(|part| part.node.0).collect::<Vec<_>>()
    };
    let mut one_each = cluster(&[Some("a"), Some("b"), Some("c")], 256, 3);
    one_each.own_zone = Some("b".into());
    let mut pairs = cluster(&[Some("a"), Some("b"), Some("a"), Some("b")], 256, 2);
    pairs.own_zone = Some("b".into());
    for seed in 0..50 {
        assert_eq!(asked(&one_each, seed), [1]);
        assert_eq!(asked(&pairs, seed), [1, 3]);
    }
    one_each.nodes[1].state = NodeState::Down;
    let others: BTreeSet<Vec<usize>> = (0..50).map(|seed| asked(&one_each, seed)).collect();
    assert_eq!(others, BTreeSet::from([vec![0], vec![2]]));
    pairs.own_zone = Some("elsewhere".into());
    let all: BTreeSet<Vec<usize>> = (0..50).map(|seed| asked(&pairs, seed)).collect();
    assert_eq!(all, BTreeSet::from([vec![0, 2], vec![1, 3]]), "the seed chooses");
}

#[test]
fn two_of_three_nodes_answer_with_two_replicas() {
    let topology = cluster(&[None; 3], 256, 2);
    let mut pairs = BTreeSet::new();
    let mut asked = BTreeMap::<NodeIx, usize>::new();
    for seed in 0..300 {
        let cover = cover(&topology, "i", &ShardSet::all(256), &[], seed);
        assert_eq!(union(&cover), ShardSet::all(256));
        assert_eq!(cover.parts.len(), 2);
        let whole: Vec<&CoverPart> = cover.parts.iter().filter(|part| part.is_whole()).collect();
        let [whole] = whole.as_slice() else { panic!("one needs no filter: {cover:?}") };
        assert_eq!(&whole.shards, topology.shards_of(whole.node));
        pairs.insert(cover.parts.iter().map(|part| part.node).collect::<Vec<_>>());
        for part in &cover.parts {
            *asked.entry(part.node).or_default() += part.shards.len();
        }
    }
    assert_eq!(pairs.len(), 3, "every pair is used");
    let mean = 300 * 256 / 3;
    assert!(asked.values().all(|load| load.abs_diff(mean) < mean / 6), "{asked:?}");
}

#[test]
fn one_zone_answers_if_it_can() {
    let topology = cluster(&[Some("a"), Some("b"), Some("a"), Some("b"), Some("a"), Some("b")], 256, 2);
    let mut zones = BTreeSet::new();
    for seed in 0..50 {
        let cover = cover(&topology, "i", &ShardSet::all(256), &[], seed);
        assert_eq!(union(&cover), ShardSet::all(256));
        assert_eq!(cover.parts.len(), 3);
        let used: BTreeSet<_> = cover.parts.iter().map(|part| topology.node(part.node).zone.clone()).collect();
        assert_eq!(used.len(), 1);
        // A zone's nodes hold each shard once, so none needs a filter.
        assert!(cover.parts.iter().all(|part| part.is_whole()));
        zones.extend(used);
    }
    assert_eq!(zones.len(), 2);
}

#[test]
fn a_dead_node_of_the_zone_is_replaced_by_few_of_the_other() {
    let mut topology = cluster(&[Some("a"), Some("b"), Some("a"), Some("b")], 256, 2);
    topology.nodes[0].state = NodeState::Down;
    let cover = cover(&topology, "i", &ShardSet::all(256), &[], 3);
    assert_eq!(union(&cover), ShardSet::all(256));
    assert_eq!(cover.parts.iter().map(|part| part.node).collect::<Vec<_>>(), [NodeIx(1), NodeIx(3)]);
}

#[test]
fn only_nodes_that_serve_reads_are_asked() {
    for state in NodeState::ALL.iter().copied().filter(|state| !state.serves_reads()) {
        let mut topology = cluster(&[None; 3], 64, 2);
        topology.nodes[1].state = state;
        for seed in 0..20 {
            let cover = cover(&topology, "i", &ShardSet::all(64), &[], seed);
            assert!(cover.parts.iter().all(|part| part.node != NodeIx(1)));
            assert!(cover.missing.is_empty());
        }
    }
}

#[test]
fn excluded_nodes_are_not_asked_and_what_is_left_without_is_missing() {
    let topology = cluster(&[None; 3], 64, 2);
    let cover = cover(&topology, "i", &ShardSet::all(64), &[NodeIx(0), NodeIx(2)], 9);
    assert_eq!(cover.parts.len(), 1);
    assert_eq!(&cover.parts[0].shards, topology.shards_of(NodeIx(1)));
    assert!(cover.parts[0].is_whole());
    let mut everything = cover.missing.clone();
    everything.union_with(&cover.parts[0].shards);
    assert_eq!(everything, ShardSet::all(64));
    assert_eq!(cover.missing.len() + cover.parts[0].shards.len(), 64);
}

#[test]
fn a_stale_replica_is_not_asked_for_its_index_alone() {
    let mut topology = cluster(&[None; 2], 64, 2);
    let stale: StaleSets = [((NodeIx(0), "i".to_owned()), [ShardId(7)].into_iter().collect())].into();
    topology.stale = Arc::new(stale);
    for seed in 0..20 {
        let one = cover(&topology, "i", &ShardSet::all(64), &[], seed);
        assert_eq!(one.parts.len(), 1);
        assert_eq!(one.parts[0].node, NodeIx(1));
        assert!(one.parts[0].is_whole());
    }
    let others: BTreeSet<_> =
        (0..20).map(|seed| cover(&topology, "j", &ShardSet::all(64), &[], seed).parts[0].node).collect();
    assert_eq!(others.len(), 2);
}

#[test]
fn a_node_with_a_stale_shard_is_never_whole() {
    let mut topology = cluster(&[None; 2], 64, 2);
    topology.stale = Arc::new([((NodeIx(0), "i".to_owned()), [ShardId(7)].into_iter().collect())].into());
    let cover = cover(&topology, "i", &ShardSet::all(64), &[NodeIx(1)], 0);
    assert_eq!(cover.missing.iter().collect::<Vec<_>>(), [ShardId(7)]);
    assert!(!cover.parts[0].is_whole());
}

#[test]
fn a_node_with_documents_of_shards_that_it_does_not_own_is_never_whole() {
    let mut topology = cluster(&[None; 3], 64, 2);
    let foreign = topology.owners_of(ShardId(0)).to_vec();
    let node = topology.indexes().find(|node| !foreign.contains(node)).expect("a node without shard 0");
    let others: Vec<NodeIx> = topology.indexes().filter(|other| *other != node).collect();
    assert!(cover(&topology, "i", topology.shards_of(node), &others, 0).parts[0].is_whole());
    topology.residue = Arc::new([(node, [ShardId(0)].into_iter().collect())].into());
    assert!(!cover(&topology, "i", topology.shards_of(node), &others, 0).parts[0].is_whole());
}

#[test]
fn of_a_past_no_node_is_asked_for_all_that_it_holds() {
    let topology = cluster(&[None; 3], 64, 2);
    assert!(cover(&topology, "i", &ShardSet::all(64), &[], 1).parts.iter().any(CoverPart::is_whole));
    let before = cover(&topology.of_before(), "i", &ShardSet::all(64), &[], 1);
    assert!(before.missing.is_empty() && before.parts.iter().all(|part| !part.is_whole()));
}

#[test]
fn one_shard_takes_one_node_and_a_filter() {
    let topology = cluster(&[None; 3], 256, 2);
    let wanted: ShardSet = [ShardId(200)].into_iter().collect();
    let nodes: BTreeSet<_> = (0..50)
        .map(|seed| {
            let cover = cover(&topology, "i", &wanted, &[], seed);
            assert_eq!(cover.parts.len(), 1);
            assert!(!cover.parts[0].is_whole());
            cover.parts[0].node
        })
        .collect();
    assert_eq!(nodes, topology.owners_of(ShardId(200)).iter().copied().collect());
}

#[test]
fn equal_arguments_give_equal_covers() {
    let topology = cluster(&[None; 7], 512, 3);
    for seed in 0..20 {
        let wanted = ShardSet::all(512);
        assert_eq!(cover(&topology, "i", &wanted, &[], seed), cover(&topology, "i", &wanted, &[], seed));
    }
}

#[test]
fn no_shards_take_no_nodes() {
    let topology = cluster(&[None; 3], 64, 2);
    let cover = cover(&topology, "i", &ShardSet::new(), &[], 0);
    assert!(cover.parts.is_empty() && cover.missing.is_empty());
}

#[test]
fn a_node_that_has_missed_writes_leaves_the_one_that_needs_no_filter_to_go_first() {
    let mut topology = cluster(&[None; 3], 256, 2);
    let mut seen = BTreeSet::new();
    for node in topology.indexes().collect::<Vec<_>>() {
        let stale = topology.shards_of(node).iter().next().expect("a shard");
        topology.stale = Arc::new([((node, "i".to_owned()), [stale].into_iter().collect())].into());
        for seed in 0..20 {
            let cover = cover(&topology, "i", &ShardSet::all(256), &[], seed);
            let Some(part) = cover.parts.iter().find(|part| part.node == node) else { continue };
            assert!(!part.is_whole() && !part.shards.contains(stale));
            // What it leaves to others is named, and its filter has those only if they are fewer.
            let Besides::Shards(others) = &part.besides else { panic!("{part:?}") };
            assert!(others.contains(stale) && others.len() + part.shards.len() == topology.shards_of(node).len());
            assert!(cover.parts.iter().any(CoverPart::is_whole));
            seen.insert(node);
        }
    }
    assert_eq!(seen.len(), 3);
}
