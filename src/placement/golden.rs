//! Placement pinned by golden vectors. A vector that changes means that documents are looked for where they are not: these
//! files are never regenerated, only added to. To add a vector, write its input with a wrong result; the test that fails
//! tells the right one.

use serde::Deserialize;

use super::document::{normalize_id, shard_of};
use super::shard::{ShardId, shard_value};
use super::stable_hash::hash_bytes;
use super::topology::{Node, NodeId, NodeState};
use super::version::Placement;

#[derive(Deserialize)]
struct HashVector {
    text: String,
    hash: String,
}

#[derive(Deserialize)]
struct DocumentVector {
    id: serde_json::Value,
    shards: u16,
    shard: u16,
}

#[derive(Deserialize)]
struct AssignmentVector {
    shards: u16,
    replication_factor: u8,
    nodes: Vec<NodeVector>,
    /// For each shard its owners' positions in `nodes`.
    owners: Vec<Vec<usize>>,
}

#[derive(Deserialize)]
struct NodeVector {
    id: String,
    zone: Option<String>,
    weight: f64,
}

fn node(vector: &NodeVector) -> Node {
    Node {
        id: NodeId::new(&vector.id),
        url: String::new(),
        zone: vector.zone.clone(),
        weight: vector.weight,
        state: NodeState::Up,
    }
}

fn owners(placement: Placement, vector: &AssignmentVector) -> Vec<Vec<usize>> {
    let nodes: Vec<Node> = vector.nodes.iter().map(node).collect();
    let assigned = placement.assign(&nodes, vector.shards, vector.replication_factor);
    assigned.into_iter().map(|owners| owners.into_iter().map(|node| node.0).collect()).collect()
}

#[test]
fn the_hash_is_the_published_xxh3() {
    let vectors: Vec<HashVector> =
        serde_json::from_str(include_str!("../../tests/golden/placement/hashes.json")).expect("the vectors are JSON");
    for vector in vectors {
        assert_eq!(format!("{:016x}", hash_bytes(vector.text.as_bytes())), vector.hash, "{}", vector.text);
    }
}

#[test]
fn documents_stay_in_their_shards() {
    let vectors: Vec<DocumentVector> =
        serde_json::from_str(include_str!("../../tests/golden/placement/documents.json"))
            .expect("the vectors are JSON");
    for vector in vectors {
        let id = normalize_id(&vector.id).expect("every id is valid");
        assert_eq!(shard_of(&id, vector.shards), ShardId(vector.shard), "{id} of {}", vector.shards);
    }
}

#[test]
fn shards_stay_on_their_nodes() {
    for (placement, vectors) in [
        (Placement::Rendezvous, include_str!("../../tests/golden/placement/assignments.json")),
        (Placement::Bounded, include_str!("../../tests/golden/placement/bounded.json")),
    ] {
        let vectors: Vec<AssignmentVector> = serde_json::from_str(vectors).expect("the vectors are JSON");
        for vector in vectors {
            let ids: Vec<&str> = vector.nodes.iter().map(|node| node.id.as_str()).collect();
            assert_eq!(owners(placement, &vector), vector.owners, "{placement} {ids:?}");
        }
    }
}

#[test]
fn the_hidden_field_has_its_value() {
    for (shard, shards, value) in [
        (0, 256, "{{{{{{{{"),
        (1, 256, "{{{{{{{}"),
        (255, 256, "}}}}}}}}"),
        (5, 4, "{{{{{}{}"),
        (256, 257, "}{{{{{{{{"),
        (16_383, 16_384, "}}}}}}}}}}}}}}"),
    ] {
        assert_eq!(shard_value(ShardId(shard), shards), value, "{shard} of {shards}");
    }
}
