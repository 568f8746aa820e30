//! Copies between nodes in memory, with writes going on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fleet::{Bed, INDEX};
use crate::ledger::insync;
use crate::ledger::marks::Marks;
use crate::ledger::touched::Touched;
use crate::meili::operation::DocumentMethod::{Replace, Update};
use crate::meili::task::TaskStatus;
use crate::nodes::metrics::Loop;
use crate::placement::shard::ShardSet;
use crate::tasks::entry::NodeTaskState;
use crate::tasks::filter::TaskRef;

const CUTOVER: Duration = Duration::from_secs(2);

fn documents(range: std::ops::Range<u32>, text: &str) -> Vec<Value> {
    range.map(|id| json!({"id": id, "n": id % 10, "t": text})).collect()
}

/// How many of `documents` a node owns.
fn owned(bed: &Bed, node: &str, ids: impl Iterator<Item = u32>) -> u64 {
    let topology = bed.cluster.nodes.topology();
    let shards = topology.shards_of(bed.ix(node)).clone();
    ids.filter(|id| shards.contains(crate::placement::document::shard_of(&id.to_string(), topology.shards))).count()
        as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_node_gets_only_the_documents_it_missed() {
    let bed = Bed::start(3, CUTOVER).await;
    bed.add(Replace, &documents(0..500, "old")).await;
    bed.at_rest().await;
    bed.lose("n1");
    bed.add(Replace, &documents(20..40, "new")).await;
    bed.add(Update, &[json!({"id": 45, "extra": true}), json!({"id": 600, "n": 1})]).await;
    bed.delete(&(50..70).collect::<Vec<u32>>()).await;
    bed.bring_back("n1");
    bed.at_rest().await;
    assert_eq!(bed.assert_equal_replicas().len(), 481);
    assert_eq!(bed.copied("n1"), owned(&bed, "n1", (20..40).chain([45, 600])));
    assert_eq!(bed.deleted("n1"), owned(&bed, "n1", 50..70));
    assert_eq!(bed.copied("n0") + bed.copied("n2"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_by_filter_leaves_nothing_to_be_looked_at_again() {
    let bed = Bed::start(2, CUTOVER).await;
    bed.add(Replace, &documents(0..20, "old")).await;
    let watch = bed.cluster.ledger.watchers.begin(INDEX);
    bed.delete_where(3).await;
    assert_eq!(watch.take(), Touched::Keys(BTreeSet::new()));
    bed.delete(&[4]).await;
    assert_eq!(watch.take(), Touched::Keys(BTreeSet::from(["4".to_owned()])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_replica_is_filled_and_foreign_documents_go() {
    let bed = Bed::start(2, CUTOVER).await;
    bed.add(Replace, &documents(0..3000, "old")).await;
    bed.at_rest().await;
    bed.fleet.change("n1", |documents| {
        let mut foreign = documents["7"].clone();
        foreign.insert("id".into(), json!("nobody-wrote-this"));
        documents.clear();
        documents.insert("nobody-wrote-this".into(), foreign);
    });
    bed.make_stale("n1").await;
    bed.at_rest().await;
    assert_eq!(bed.assert_equal_replicas().len(), 3000);
    assert_eq!((bed.copied("n1"), bed.deleted("n1")), (3000, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_while_a_replica_is_copied() {
    let bed = Arc::new(Bed::start(2, CUTOVER).await);
    bed.add(Replace, &documents(0..2000, "old")).await;
    bed.at_rest().await;
    bed.fleet.change("n1", |documents| documents.retain(|id, _| id.len() < 3));
    let stop = Arc::new(AtomicBool::new(false));
    let meanwhile = Arc::new(AtomicU32::new(0));
    let writers = (0..4u32).map(|writer| {
        let (bed, stop, meanwhile) = (Arc::clone(&bed), Arc::clone(&stop), Arc::clone(&meanwhile));
        tokio::spawn(async move {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                let began_meanwhile = !bed.cluster.nodes.topology().stale.is_empty();
                let id = (writer * 500 + round * 7 % 500) % 2000;
                match round % 3 {
                    0 => bed.add(Replace, &[json!({"id": id, "n": 100, "t": format!("by {writer}")})]).await,
                    1 => bed.add(Update, &[json!({"id": id, "round": round})]).await,
                    _ => bed.delete(&[id]).await,
                };
                // A write that waits for the end of the copy is none of these.
                let ended_meanwhile = !bed.cluster.nodes.topology().stale.is_empty();
                meanwhile.fetch_add(u32::from(began_meanwhile && ended_meanwhile), Ordering::Relaxed);
                round += 1;
            }
            round
        })
    });
    let writers: Vec<_> = writers.collect();
    bed.make_stale("n1").await;
    tokio::time::timeout(Duration::from_secs(60), async {
        while !bed.cluster.nodes.topology().stale.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the copy ends although writes go on");
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    assert!(written > 20, "only {written} writes");
    let meanwhile = meanwhile.load(Ordering::Relaxed);
    assert!(meanwhile > 4, "only {meanwhile} of {written} writes began and ended while the replica was copied");
    bed.at_rest().await;
    bed.assert_equal_replicas();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_ends_although_clients_write_faster_than_nodes_work() {
    let bed = Arc::new(Bed::start(2, Duration::from_millis(500)).await);
    bed.add(Replace, &documents(0..200, "old")).await;
    bed.at_rest().await;
    bed.fleet.change("n1", |documents| documents.retain(|id, _| id.len() < 2));
    // A node carries out 50 deletions a second, and each client sends several hundred.
    bed.fleet.set_pace("n0", 20);
    bed.fleet.set_pace("n1", 20);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3u32)
        .map(|client| {
            let (bed, stop) = (Arc::clone(&bed), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    bed.delete(&[1000 + client]).await;
                }
            })
        })
        .collect();
    // They are far ahead of the nodes when the copy begins.
    while bed.cluster.tracking.reconciler.count_in(INDEX) < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bed.make_stale("n1").await;
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        while !bed.cluster.nodes.topology().stale.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let ended = ended.await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(ended.is_ok(), "{:?}", bed.cluster.replicas.copies.failures());
    bed.fleet.set_pace("n0", 0);
    bed.fleet.set_pace("n1", 0);
    bed.at_rest().await;
    assert_eq!(bed.assert_equal_replicas().len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_misses_a_write_while_it_is_copied_stays_stale() {
    let bed = Bed::start(2, CUTOVER).await;
    let node = bed.ix("n1");
    let shards = ShardSet::all(4);
    let marks = Marks { stale: vec![(node, INDEX.to_owned(), shards.clone())], missed: Vec::new() };
    let before = insync::misses(&bed.cluster.ledger, node, INDEX);
    // Held, so that the resilver does not get at it first.
    let _hold = bed.cluster.writes.order.gates.hold(INDEX).await;
    insync::mark(&bed.cluster.ledger, &marks).await.unwrap();
    let once = insync::misses(&bed.cluster.ledger, node, INDEX);
    assert_ne!(before, once);
    insync::mark(&bed.cluster.ledger, &marks).await.unwrap();
    assert!(!insync::clear(&bed.cluster.ledger, node, INDEX, &shards, once).await.unwrap());
    assert_eq!(bed.cluster.nodes.topology().stale_of(node, INDEX), Some(&shards));
    let twice = insync::misses(&bed.cluster.ledger, node, INDEX);
    assert!(insync::clear(&bed.cluster.ledger, node, INDEX, &shards, twice).await.unwrap());
    assert_eq!(bed.cluster.nodes.topology().stale_of(node, INDEX), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_was_planned_before_a_replica_became_stale_does_not_see_it_copied_to() {
    let bed = Bed::start(2, CUTOVER).await;
    bed.add(Replace, &documents(0..100, "old")).await;
    bed.at_rest().await;
    let planned_before = bed.cluster.nodes.topology();
    bed.fleet.change("n1", |documents| documents.retain(|id, _| id.len() < 2));
    bed.make_stale("n1").await;
    let planned_after = bed.cluster.nodes.topology();
    // The copy looks whether the read has ended, again and again.
    let looked = || bed.cluster.nodes.metrics.rounds(Loop::OlderReads);
    let before = looked();
    while looked() < before + 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((bed.copied("n1"), bed.fleet.documents("n1").len()), (0, 10));
    drop(planned_before);
    bed.at_rest().await;
    assert_eq!(bed.assert_equal_replicas().len(), 100);
    assert!(planned_after.has_stale(bed.ix("n1"), INDEX), "a read that does not ask the replica is not waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_only_a_stale_replica_carried_out_ends_as_failed_everywhere() {
    let bed = Bed::start(2, CUTOVER).await;
    bed.add(Replace, &documents(0..100, "old")).await;
    bed.at_rest().await;
    bed.fleet.set_failing("n0", true);
    bed.fleet.set_pace("n0", 300);

    bed.make_stale("n1").await;

    let task = bed.add(Replace, &[json!({"id": 5, "t": "new"})]).await;
    bed.at_rest().await;
    let ended = bed.cluster.ledger.store.get_task(TaskRef::Uid(task.uid)).await.unwrap().unwrap();
    assert_eq!(ended.status, TaskStatus::Failed);
    bed.assert_equal_replicas();
    assert_eq!(bed.fleet.documents("n1")["5"]["t"], "old");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_a_list_lacks_is_not_held_to_be_lost() {
    let bed = Bed::start(2, CUTOVER).await;
    bed.add(Replace, &documents(0..60, "old")).await;
    bed.fleet.list_any("n1");
    bed.fleet.set_pace("n1", 5);
    let bed = &bed;
    let deletions = join_all((0..40).map(|id| async move { bed.delete(&[id]).await })).await;
    bed.at_rest().await;
    for task in deletions {
        let ended = bed.cluster.ledger.store.get_task(TaskRef::Uid(task.uid)).await.unwrap().unwrap();
        assert_eq!(ended.status, TaskStatus::Succeeded);
        assert!(ended.parts.iter().all(|part| part.state == NodeTaskState::Succeeded), "{:?}", ended.parts);
    }
    assert_eq!(bed.assert_equal_replicas().len(), 20);
}

/// What a client does.
#[derive(Debug, Clone)]
enum Act {
    Replace(Vec<u32>),
    Update(Vec<u32>),
    Delete(Vec<u32>),
    DeleteWhere(i64),
    /// A node goes away and comes back after this many acts.
    Lose(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let ids = || proptest::collection::vec(0u32..60, 1..6);
    prop_oneof![
        4 => ids().prop_map(Act::Replace),
        3 => ids().prop_map(Act::Update),
        3 => ids().prop_map(Act::Delete),
        1 => (0i64..10).prop_map(Act::DeleteWhere),
        1 => (0usize..2, 1usize..8).prop_map(|(node, acts)| Act::Lose(node, acts)),
    ]
}

async fn carry_out(bed: &Bed, acts: &[Act], pace: (u64, u64)) {
    bed.add(Replace, &documents(0..40, "old")).await;
    bed.fleet.set_pace("n0", pace.0);
    bed.fleet.set_pace("n1", pace.1);
    let mut away: Option<(String, usize)> = None;
    for (at, act) in acts.iter().enumerate() {
        match act {
            Act::Replace(ids) => {
                let new: Vec<Value> = ids.iter().map(|id| json!({"id": id, "n": at % 10, "at": at})).collect();
                bed.add(Replace, &new).await;
            }
            Act::Update(ids) => {
                let part: Vec<Value> = ids.iter().map(|id| json!({"id": id, format!("u{}", at % 4): at})).collect();
                bed.add(Update, &part).await;
            }
            Act::Delete(ids) => {
                bed.delete(ids).await;
            }
            Act::DeleteWhere(n) => {
                bed.delete_where(*n).await;
            }
            Act::Lose(node, acts) => {
                let node = format!("n{node}");
                let other_is_stale = !bed.cluster.nodes.topology().stale.is_empty();
                if away.is_none() && !other_is_stale {
                    bed.lose(&node);
                    away = Some((node, at + acts));
                }
            }
        }
        if let Some((node, until)) = away.take_if(|(_, until)| *until <= at) {
            let _ = until;
            bed.bring_back(&node);
        }
    }
    if let Some((node, _)) = away {
        bed.bring_back(&node);
    }
    bed.at_rest().await;
}

/// What one node would hold after the same acts.
fn model(acts: &[Act]) -> std::collections::BTreeMap<u32, serde_json::Map<String, Value>> {
    let mut held = std::collections::BTreeMap::new();
    let object = |value: Value| value.as_object().cloned().unwrap_or_default();
    for document in documents(0..40, "old") {
        held.insert(document["id"].as_u64().unwrap() as u32, object(document));
    }
    for (at, act) in acts.iter().enumerate() {
        match act {
            Act::Replace(ids) => {
                held.extend(ids.iter().map(|id| (*id, object(json!({"id": id, "n": at % 10, "at": at})))));
            }
            Act::Update(ids) => {
                for id in ids {
                    held.entry(*id).or_default().extend(object(json!({"id": id, format!("u{}", at % 4): at})));
                }
            }
            Act::Delete(ids) => held.retain(|id, _| !ids.contains(id)),
            Act::DeleteWhere(n) => held.retain(|_, document| document.get("n") != Some(&json!(n))),
            Act::Lose(..) => {}
        }
    }
    held
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn replicas_hold_what_one_node_would_whatever_was_lost_and_copied_meanwhile(
        acts in proptest::collection::vec(act(), 10..60),
        pace in (0u64..6, 0u64..6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let bed = Bed::start(2, CUTOVER).await;
            carry_out(&bed, &acts, pace).await;
            bed.assert_equal_replicas();
            let held: std::collections::BTreeMap<u32, serde_json::Map<String, Value>> = bed
                .fleet
                .documents("n0")
                .into_iter()
                .map(|(id, mut document)| {
                    document.retain(|name, _| !name.starts_with(crate::split::document::RESERVED_PREFIX));
                    (id.parse().unwrap(), document)
                })
                .collect();
            assert_eq!(held, model(&acts));
        });
    }
}
