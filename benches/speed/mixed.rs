//! Random searches of all kinds: one node, clusters and the engine's own network, in turn.

use crate::mix;
use crate::network::Network;
use crate::parts::Effort;
use crate::report::{Figure, Section};
use crate::sets::Set;
use crate::support::Single;
use crate::turns::{Round, Side, answered, fleet, in_turn, ratios, settled_cluster, values};

/// Of the cluster's rounds.
const MEASURES: [(&str, fn(&Round) -> f64); 3] = [
    ("p50", |round| round.times.median()),
    ("p99", |round| round.times.quantile(0.99)),
    ("CPU of all processes", Round::cpu),
];

/// Replication factor, how many nodes a search asks, its goal for the processor time of as many single nodes.
const CLUSTERS: [(usize, f64); 2] = [(1, 3.0), (2, 2.0)];

pub fn measure(effort: Effort) -> Vec<Section> {
    Set::all().iter().map(|set| of_set(set, effort)).collect()
}

fn of_set(set: &Set, effort: Effort) -> Section {
    let (rounds, most) = effort.real;
    // First, so that a program that makes no network is told of at once.
    let network = Network::start();
    let single = Single::start();
    set.load(&single.client);
    let fleets = CLUSTERS.map(|(replication_factor, _)| fleet(replication_factor, false));
    for fleet in &fleets {
        set.load(&fleet.client);
        settled_cluster(fleet);
    }
    if let Some(network) = &network {
        set.load(network.leader());
        network.settle();
        println!("documents of the network's members: {:?}", network.documents(set.name));
    }
    let mut sides = vec![Side::one(&single)];
    sides.extend(fleets.iter().map(Side::cluster));
    sides.extend(network.as_ref().map(Side::network));
    let searches = answered(&sides, &set.path(), mix::searches(set, most));
    let measured = in_turn(&sides, &set.path(), &searches, rounds);

    let (name, count) = (set.name, set.documents.len());
    let mut section =
        Section::new(format!("Random searches of {name}, {count} documents, {} searches", searches.len()));
    for (measure, of) in MEASURES {
        section.add(Figure::new(format!("one node, {measure}"), values(&measured, 0, of), "ms", None));
        if network.is_some() {
            section.add(Figure::new(format!("the engine's network, {measure}"), values(&measured, 3, of), "ms", None));
        }
        for (at, (replication_factor, asked)) in CLUSTERS.into_iter().enumerate() {
            let (cluster, of_cluster) = (at + 1, format!("replication factor {replication_factor}"));
            let add = |section: &mut Section, against: &str, spread, goal| {
                section.add(Figure::new(format!("{of_cluster} : {against}, {measure}"), spread, "", goal));
            };
            let is_time = measure.starts_with('p');
            if is_time {
                add(&mut section, "one node", ratios(&measured, cluster, 0, of), None);
            } else {
                let ratio = ratios(&measured, cluster, 0, of).times(1.0 / asked);
                add(&mut section, &format!("{asked} times one node"), ratio, Some(1.1));
            }
            if network.is_some() {
                let goal = is_time.then_some(0.8);
                add(&mut section, "the engine's network", ratios(&measured, cluster, 3, of), goal);
            }
        }
    }
    for (at, (replication_factor, _)) in CLUSTERS.into_iter().enumerate() {
        let what = format!("gateway's CPU a search, replication factor {replication_factor}");
        section.add(Figure::new(what, values(&measured, at + 1, Round::gateway), "ms", None));
    }
    section
}
