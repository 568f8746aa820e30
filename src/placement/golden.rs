//! Placement pinned by golden vectors. A vector that changes means that documents are looked for where they are not: these
//! files are never regenerated, only added to.

use serde::Deserialize;

use super::document::{normalize_id, shard_of};
use super::rendezvous::assign;
use super::shard::{ShardId, shard_value};
use super::stable_hash::hash_bytes;
use super::topology::{Node, NodeId, NodeState};

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

fn owners(vector: &AssignmentVector) -> Vec<Vec<usize>> {
    let nodes: Vec<Node> = vector.nodes.iter().map(node).collect();
    let assigned = assign(&nodes, vector.shards, vector.replication_factor);
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
    let vectors: Vec<AssignmentVector> =
        serde_json::from_str(include_str!("../../tests/golden/placement/assignments.json"))
            .expect("the vectors are JSON");
    for vector in vectors {
        let ids: Vec<&str> = vector.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(owners(&vector), vector.owners, "{ids:?}");
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

/// Prints the vectors of the clusters below, to add a new one by hand.
#[test]
#[ignore = "prints; checks nothing"]
fn print_assignments() {
    let plain = |id: &str| NodeVector { id: id.to_owned(), zone: None, weight: 1.0 };
    let zoned = |id: &str, zone: &str, weight| NodeVector { id: id.to_owned(), zone: Some(zone.to_owned()), weight };
    let clusters = [
        (256, 2, vec![plain("node-0"), plain("node-1"), plain("node-2")]),
        (256, 1, vec![plain("a"), plain("b"), plain("c"), plain("d")]),
        (64, 3, vec![plain("x")]),
        (
            128,
            2,
            vec![
                zoned("eu-1", "eu", 1.0),
                zoned("eu-2", "eu", 2.0),
                zoned("us-1", "us", 1.5),
                zoned("us-2", "us", 0.5),
                zoned("ap-1", "ap", 3.0),
            ],
        ),
        (128, 3, vec![zoned("a-1", "a", 1.0), zoned("a-2", "a", 1.0), zoned("b-1", "b", 1.0), zoned("b-2", "b", 4.0)]),
    ];
    let rows: Vec<String> = clusters
        .into_iter()
        .map(|(shards, replication_factor, nodes)| {
            let mut vector = AssignmentVector { shards, replication_factor, nodes, owners: Vec::new() };
            vector.owners = owners(&vector);
            let nodes: Vec<serde_json::Value> = vector
                .nodes
                .iter()
                .map(|node| serde_json::json!({ "id": node.id, "zone": node.zone, "weight": node.weight }))
                .collect();
            let head =
                serde_json::json!({ "shards": shards, "replication_factor": replication_factor, "nodes": nodes });
            let owners = serde_json::json!(vector.owners);
            format!("{},\n\"owners\":{owners}}}", head.to_string().trim_end_matches('}'))
        })
        .collect();
    println!("GOLDEN[\n{}\n]", rows.join(",\n"));
    let ids = ["1", "0", "42", "-7", "\"1\"", "\"movie_1\"", "\"A-b_C\"", "18446744073709551615", "\"caf\\u00e9\""];
    let rows: Vec<String> = ids
        .iter()
        .flat_map(|id| [1u16, 7, 256, 16_384].map(|shards| (id, shards)))
        .map(|(id, shards)| {
            let text = normalize_id(&serde_json::from_str(id).expect("an id")).expect("an id");
            format!("{{\"id\":{id},\"shards\":{shards},\"shard\":{}}}", shard_of(&text, shards).0)
        })
        .collect();
    println!("DOCS[\n{}\n]", rows.join(",\n"));
}
