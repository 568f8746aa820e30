//! What a follower knows of what the leader knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::nodes::elsewhere::{Elsewhere as _, Told};
use crate::peers::view::{TopologyView, Update, ViewNumber};
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::{Apart, ApartSets, NodeId, Residue, StaleSets, Topology};
use crate::plan::write::RegistryChange;

fn shards(ids: &[u16]) -> ShardSet {
    ids.iter().map(|id| ShardId(*id)).collect()
}

fn update_of(gateway: &Gateway) -> Box<Update> {
    match gateway.last.lock().clone() {
        Some(Answer::View(update)) => update,
        other => panic!("{other:?}"),
    }
}

/// What each node is to be asked, by names.
fn by_names(topology: &Topology) -> BTreeMap<String, (NodeState, Vec<u16>, Vec<u16>, Option<Apart>)> {
    let ids = |set: &ShardSet| set.iter().map(|shard| shard.0).collect::<Vec<u16>>();
    let of = |ix| {
        let node = topology.node(ix);
        let stale = topology.stale_of(ix, "a").map(ids).unwrap_or_default();
        (node.id.to_string(), (node.state, ids(topology.shards_of(ix)), stale, topology.apart_of(ix, "a")))
    };
    topology.members().map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn a_follower_goes_by_what_the_leader_tells() {
    let leading = Leading::start(1).await;
    let leader = watch::Sender::new(Some(Arc::clone(&leading.publisher)));
    let ledger = &leading.cluster.ledger;
    let create = |index: &str| RegistryChange::Create { index: index.to_owned(), primary_key: Some("id".to_owned()) };
    ledger.registry.apply(&create("a"), None);
    ledger.nodes.versions.note(&NodeId::new("n0"), "1.50.0", &ledger.nodes.topology());
    ledger.refusals.replace(BTreeMap::from([(
        "a".to_owned(),
        BTreeMap::from([("stopWords".to_owned(), BTreeSet::from([NodeId::new("n1")]))]),
    )]));
    health::publish(&leading.cluster.nodes, |topology| {
        let n1 = topology.find("n1").unwrap();
        topology.stale = Arc::new(StaleSets::from([((n1, "a".to_owned()), shards(&[1, 2]))]));
        topology.apart = Arc::new(ApartSets::from([((n1, "a".to_owned()), Apart::Differs)]));
        topology.residue = Arc::new(Residue::from([(n1, shards(&[3]))]));
    });
    leading.keys.lock().push(json!({"uid": "1"}));
    leading.publisher.changed(Told::Keys);
    let gateway = Gateway::start("b", Some("z1"), &leader).await;
    gateway.until(|gateway| gateway.follower.is_leased()).await;
    let topology = gateway.cluster.nodes.topology();
    assert_eq!(by_names(&topology), by_names(&leading.cluster.nodes.topology()));
    let n1 = topology.find("n1").unwrap();
    assert_eq!(topology.residue_of(n1), Some(&shards(&[3])));
    assert_eq!(topology.own_zone.as_deref(), Some("z1"), "where it is it knows itself");
    let told = &gateway.cluster.ledger;
    assert_eq!(told.registry.entries(), ledger.registry.entries());
    assert_eq!(told.nodes.versions.least().as_deref(), Some("1.50.0"));
    assert_eq!(told.refusals.notes(), ledger.refusals.notes());
    assert_eq!(*gateway.keys.lock(), [json!({"uid": "1"})]);

    // What changes is told, and nothing else.
    ledger.registry.apply(&create("b"), None);
    gateway.until(|gateway| gateway.cluster.ledger.registry.exists("b")).await;
    let update = update_of(&gateway);
    assert!(update.indexes.is_some() && update.topology.is_none() && update.keys.is_none());
    leading.keys.lock().clear();
    leading.publisher.changed(Told::Keys);
    gateway.until(|gateway| gateway.keys.lock().is_empty()).await;
    assert!(update_of(&gateway).indexes.is_none());
    ledger.registry.apply(&RegistryChange::Delete { index: "a".to_owned() }, None);
    gateway.until(|gateway| !gateway.cluster.ledger.registry.exists("a")).await;
    set_state(&leading.cluster, "n0", NodeState::Down);
    gateway.until(|gateway| by_names(&gateway.cluster.nodes.topology())["n0"].0 == NodeState::Down).await;
    assert_eq!(gateway.cluster.nodes.topology().find("n1"), Some(n1), "each node stays where it is");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_a_follower_cannot_reach_stays_as_it_is_told() {
    let leading = Leading::start(1).await;
    let leader = watch::Sender::new(Some(Arc::clone(&leading.publisher)));
    let gateway = Gateway::start("b", None, &leader).await;
    gateway.until(|gateway| gateway.follower.is_leased()).await;
    let topology = gateway.cluster.nodes.topology();
    let node = topology.node(topology.find("n0").unwrap());
    let request = Subrequest::get("/health", Duration::from_secs(1));
    gateway.cluster.nodes.client.send(node, request, &Trace::background("test")).await.unwrap_err();
    assert!(
        gateway.follower.holds(&gateway.cluster.nodes.topology()),
        "it has no other topology than the one it was told"
    );
    assert_eq!(by_names(&gateway.cluster.nodes.topology())["n0"].0, NodeState::Up);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_a_node_as_they_do_at_the_leader() {
    let leading = Leading::start(1).await;
    let leader = watch::Sender::new(Some(Arc::clone(&leading.publisher)));
    for node in ["n0", "n1", "n2"] {
        set_state(&leading.cluster, node, NodeState::Joining);
    }
    let gateway = Gateway::start("b", None, &leader).await;
    gateway.until(|gateway| gateway.follower.is_leased()).await;
    let (began, nodes) = (Instant::now(), Arc::clone(&gateway.cluster.nodes));
    let waits = tokio::spawn(async move { health::wait_for(&nodes, health::Need::Reads).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waits.is_finished(), "nobody has looked at the nodes yet");
    for node in ["n0", "n1", "n2"] {
        health::repaired(&leading.cluster.nodes, &NodeId::new(node), false);
    }
    waits.await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1100), "none of them is about to take part");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_of_settings_is_read_again_when_the_leader_says_so() {
    let registry = crate::ledger::registry::Registry::default();
    let told = crate::ledger::registry::Registry::default();
    let create = |index: &str| RegistryChange::Create { index: index.to_owned(), primary_key: None };
    registry.apply(&create("a"), None);
    registry.apply(&create("b"), None);
    told.replace(&registry.editions(), true);
    let before = registry.editions();
    registry.invalidate("a");
    let after = registry.editions();
    assert!(after[0].edition > before[0].edition && after[1] == before[1]);
    registry.forget_infos();
    let all = registry.editions();
    assert!(all.iter().zip(&after).all(|(now, then)| now.edition > then.edition), "also what only others have read");
    // Deleted and made again between two views.
    registry.apply(&RegistryChange::Delete { index: "b".to_owned() }, None);
    registry.apply(&create("b"), None);
    assert!(registry.editions()[1].edition > all[1].edition);
}

#[tokio::test(start_paused = true)]
async fn a_view_survives_the_wire_and_another_order_of_nodes() {
    let mut seed = 7_u64;
    for _ in 0..200 {
        let mut roll = |sides: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % sides
        };
        let count = 1 + roll(5);
        let mut states: Vec<NodeState> = (0..count).map(|_| NodeState::ALL[roll(NodeState::ALL.len())]).collect();
        // Somebody owns the shards.
        states[0] = NodeState::Up;
        let mut topology = Topology::sample(&states, SHARDS, 1 + roll(3) as u8);
        for ix in topology.indexes().collect::<Vec<_>>() {
            let set: ShardSet = (0..SHARDS).filter(|_| roll(3) == 0).map(ShardId).collect();
            if roll(2) == 0 {
                Arc::make_mut(&mut topology.stale).insert((ix, "a".to_owned()), set.clone());
            }
            if roll(2) == 0 {
                Arc::make_mut(&mut topology.apart).insert((ix, "a".to_owned()), Apart::Unknown);
            }
            if roll(2) == 0 {
                Arc::make_mut(&mut topology.residue).insert(ix, set);
            }
        }
        let text = serde_json::to_string(&TopologyView::of(&topology, &health::Life::default())).unwrap();
        let view: TopologyView = serde_json::from_str(&text).unwrap();
        let same = view.restore(&topology).unwrap();
        assert_eq!(serde_json::to_value(&same).unwrap(), serde_json::to_value(&topology).unwrap());
        assert_eq!((&same.stale, &same.apart, &same.residue), (&topology.stale, &topology.apart, &topology.residue));
        // Here n1 stands first, and n9 is gone since.
        let mut before = Topology::sample(&[NodeState::Up; 3], SHARDS, 2);
        before.nodes.swap(0, 1);
        before.nodes[2].id = NodeId::new("n9");
        before.own_zone = Some("here".into());
        let other = view.restore(&before).unwrap();
        assert_eq!(by_names(&other), by_names(&topology));
        assert!(other.nodes.iter().zip(&before.nodes).all(|(now, then)| now.id == then.id));
        assert_eq!(other.nodes[2].state, NodeState::Removed);
        assert_eq!(other.own_zone, before.own_zone);
        for shard in (0..SHARDS).map(ShardId) {
            let names = |topology: &Topology| -> Vec<String> {
                topology.owners_of(shard).iter().map(|owner| topology.node(*owner).id.to_string()).collect()
            };
            assert_eq!(names(&other), names(&topology));
        }
        let residue = |topology: &Topology| -> BTreeMap<String, ShardSet> {
            topology.residue.iter().map(|(ix, set)| (topology.node(*ix).id.to_string(), set.clone())).collect()
        };
        assert_eq!(residue(&other), residue(&topology));
    }
}

#[test]
fn a_view_that_no_leader_could_have_is_refused() {
    let topology = Topology::sample(&[NodeState::Up; 2], SHARDS, 2);
    let right = TopologyView::of(&topology, &health::Life::default());
    let refused = |change: fn(&mut TopologyView)| {
        let mut view = right.clone();
        change(&mut view);
        view.restore(&topology).unwrap_err().to_string()
    };
    assert_eq!(refused(|view| view.owners[3].clear()), "shard 3 has no owner in a view");
    assert_eq!(refused(|view| view.owners[3] = vec![7]), "a view names node 7 of 2");
    assert_eq!(refused(|view| view.owners.truncate(4)), "4 shards have owners in a view of 8");
    assert_eq!(refused(|view| view.nodes[1].weight = 0.0), "the weight of node `n1` is none");
    assert_eq!(refused(|view| view.nodes[1].id = NodeId::new("n0")), "two nodes of a view are called `n0`");
    assert_eq!(refused(|view| view.stale.push((2, "a".to_owned(), ShardSet::new()))), "a view names node 2 of 2");
}

/// What gateways of one protocol understand of each other: a change of it is another protocol.
#[test]
fn the_words_of_protocol_1_are_these() {
    let question = r#"{"protocol":1,"process":"00000000-0000-0000-0000-000000000007","gateway":"b","version":"1.0.0","turn":3,"taken":2,"has":{"epoch":2,"n":8},"oldest":null,"mayTake":1000,"longestRead":60000}"#;
    let read: Question = serde_json::from_str(question).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), question);
    let mut topology = Topology::sample(&[NodeState::Up], 1, 1);
    topology.stale = Arc::new(StaleSets::from([((topology.find("n0").unwrap(), "a".to_owned()), shards(&[0]))]));
    let told = TopologyView::of(&topology, &health::Life::default());
    let registry = crate::ledger::registry::Registry::default();
    registry.apply(&RegistryChange::Create { index: "a".to_owned(), primary_key: Some("id".to_owned()) }, None);
    let update = Update {
        number: ViewNumber { epoch: 2, n: 8 },
        topology: Some(Arc::new(told)),
        indexes: Some(Arc::new(registry.editions())),
        keys: None,
        refusals: None,
        versions: Some(Arc::new(BTreeMap::from([(NodeId::new("n0"), "1.50.0".to_owned())]))),
    };
    let answer = r#"{"kind":"view","number":{"epoch":2,"n":8},"topology":{"shards":1,"replicationFactor":1,"layout":0,"nodes":[{"id":"n0","url":"http://x","weight":1.0,"state":"up","looked_at":false,"good":false,"stuck":false}],"owners":[[0]],"stale":[[0,"a",[0]]],"apart":[],"residue":[]},"indexes":[{"uid":"a","primary_key":"id","edition":1}],"versions":{"n0":"1.50.0"}}"#;
    assert_eq!(serde_json::to_string(&Answer::View(Box::new(update.clone()))).unwrap(), answer);
    assert_eq!(serde_json::from_str::<Answer>(answer).unwrap(), Answer::View(Box::new(update)));
    for (answer, text) in [
        (Answer::Same, r#"{"kind":"same"}"#),
        (Answer::Again, r#"{"kind":"again"}"#),
        (Answer::NotYet, r#"{"kind":"notYet"}"#),
        (Answer::NotLeading, r#"{"kind":"notLeading"}"#),
        (Answer::Overtaken, r#"{"kind":"overtaken"}"#),
        (Answer::OtherProtocol { protocol: 2 }, r#"{"kind":"otherProtocol","protocol":2}"#),
    ] {
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        assert_eq!(serde_json::from_str::<Answer>(text).unwrap(), answer);
    }
}
