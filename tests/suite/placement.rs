//! A cluster goes from one version of placement to the other, and a new one has few shards and is even.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::rebalance::{RENDEZVOUS, assert_tidy, await_rest, fault, fleet, fleet_placed, under_traffic};
use crate::support::Fleet;
use crate::support::client::eventually;

/// How many replicas each node owns.
fn loads(fleet: &Fleet) -> BTreeMap<String, usize> {
    let mut loads = BTreeMap::new();
    for owner in fleet.owners().into_iter().flatten() {
        *loads.entry(owner).or_default() += 1;
    }
    loads
}

/// Exchanges the lines of the configuration that say something of placement.
fn rewrite(fleet: &Fleet, from: &str, to: &str) {
    let text = std::fs::read_to_string(&fleet.config).expect("the configuration");
    assert!(text.contains(from), "{from:?} is in {text}");
    std::fs::write(&fleet.config, text.replacen(from, to, 1)).expect("a changed configuration");
}

#[test]
fn a_cluster_goes_from_one_placement_to_the_other_and_back_while_clients_search_and_write() {
    let mut fleet = fleet(3, 2, 24);
    let before = fleet.owners();

    // A file that says nothing of shards changes nothing, whatever a new cluster would have.
    fleet.kill_gateway();
    rewrite(&fleet, RENDEZVOUS, "");
    fleet.start_gateway();
    fleet.rounds("rebalance", 2);
    let topology = fleet.admin.get("/topology").ok();
    assert_eq!((&topology["shards"], &topology["placement"]), (&json!(256), &json!("rendezvous")));
    assert_eq!((fleet.rebalance()["state"].as_str(), fleet.owners()), (Some("idle"), before.clone()));
    assert!(fault(&fleet.client, 0).is_none());

    let plan = fleet.admin.post("/rebalance/plan", &json!({"placement": "bounded"})).ok();
    let planned = plan["replicas"].as_u64().expect("a figure");
    assert!((1..60).contains(&planned), "only what is uneven moves: {plan:#}");
    under_traffic(&mut fleet, |fleet| {
        rewrite(fleet, "cluster:\n", "cluster:\n  placement: bounded\n");
        fleet.gateway().signal("HUP");
        eventually("the file is read again", || (fleet.rebalance()["goal"]["placement"] == "bounded").then_some(()));
        let status = await_rest(fleet);
        assert_eq!(
            (&status["finished"][0]["replicas"], &status["finished"][0]["cause"]),
            (&json!(planned), &json!("configuration"))
        );
        let held = loads(fleet);
        assert!(held.values().all(|load| (170..=171).contains(load)), "{held:?}");
    });
    assert_tidy(&fleet, 2, &[0, 1, 2]);
    assert_eq!(fleet.admin.get("/shards").ok()["placement"], "bounded");

    // By then it is what the cluster has, named or not; and the way back is as any other.
    fleet.kill_gateway();
    rewrite(&fleet, "  placement: bounded\n", "");
    fleet.start_gateway();
    let bounded = fleet.owners();
    fleet.rounds("rebalance", 2);
    assert_eq!((fleet.rebalance()["state"].as_str(), fleet.owners()), (Some("idle"), bounded));
    under_traffic(&mut fleet, |fleet| {
        fleet.admin.json("PATCH", "/cluster", &json!({"placement": "rendezvous"})).ok();
        await_rest(fleet);
        assert_eq!(fleet.owners(), before);
    });
    assert_tidy(&fleet, 2, &[0, 1, 2]);
    let refused = fleet.admin.json("PATCH", "/cluster", &json!({"placement": "random"}));
    assert_eq!(refused.status, 400, "{}", refused.text);
}

#[test]
fn a_new_cluster_is_even_with_few_shards_and_stays_so_when_a_node_comes() {
    let mut fleet = fleet_placed("", 3, 2, 16);
    let topology = fleet.admin.get("/topology").ok();
    assert_eq!((&topology["shards"], &topology["placement"]), (&json!(64), &json!("bounded")));
    assert_eq!(loads(&fleet).values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([42, 43]));
    let new = fleet.spawn_node();
    let node = json!({"id": "node-3", "url": fleet.nodes[new].client.url});
    under_traffic(&mut fleet, |fleet| {
        fleet.admin.post("/nodes", &node).ok();
        await_rest(fleet);
        assert_eq!(loads(fleet).into_values().collect::<Vec<_>>(), [32; 4]);
    });
    assert_tidy(&fleet, 2, &[0, 1, 2, 3]);
}
