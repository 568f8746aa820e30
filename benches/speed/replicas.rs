//! Every node holds everything: a search is one node's, and nodes share them out.

use std::time::Duration;

use crate::cached::CLIENTS;
use crate::mix;
use crate::parts::Effort;
use crate::report::{Figure, Section, Spread};
use crate::sets::Set;
use crate::support::{Fleet, Single};
use crate::turns::{Side, address, fleet, rate, settled_cluster};

/// Different searches, in random order.
const QUERIES: usize = 2_000;

pub fn measure(effort: Effort) -> Vec<Section> {
    let (rounds, seconds) = effort.crowd;
    let set = Set::cities();
    let (singles, fleet) = ([Single::start(), Single::start(), Single::start()], fleet(3, false));
    singles.iter().for_each(|single| set.load(&single.client));
    set.load(&fleet.client);
    settled_cluster(&fleet);
    let (sides, path) = ([Side::one(&singles[0]), Side::cluster(&fleet)], set.path());
    let alone: Vec<String> = singles.iter().map(|single| address(&single.client)).collect();
    let alone: Vec<&str> = alone.iter().map(String::as_str).collect();
    let bodies: Vec<String> = mix::searches(&set, QUERIES).iter().map(|search| sides[0].body(search)).collect();
    let [mut ratio, mut one, mut all, mut share, mut direct, mut behind]: [Spread; 6] = Default::default();
    for round in 0..=rounds {
        let rate = |addresses: &[&str]| {
            let time = Duration::from_secs(seconds);
            rate((addresses, &path), CLIENTS, time, &bodies, |dice| dice.roll(bodies.len()))
        };
        let of_one = rate(&[&sides[0].address]);
        let of_three = rate(&alone);
        let before = subrequests(&fleet);
        let of_all = rate(&[&sides[1].address]);
        let asked: Vec<f64> = subrequests(&fleet).iter().zip(before).map(|(after, before)| after - before).collect();
        // The first round warms up.
        if round == 0 {
            continue;
        }
        ratio.add(of_all / of_one);
        direct.add(of_three / of_one);
        behind.add(of_all / of_three);
        one.add(of_one);
        all.add(of_all);
        let most = asked.iter().copied().fold(0.0, f64::max);
        share.add(most * asked.len() as f64 / asked.iter().sum::<f64>());
    }
    let mut section = Section::new(format!(
        "Three nodes that hold everything (replication factor 3): {CLIENTS} clients, cache off, {} cities, turns of \
         {seconds} s",
        set.documents.len()
    ));
    section.add(Figure::large("cluster : one node, rate".into(), ratio, 0.85));
    section.add(Figure::new(
        "three nodes without a gateway, clients spread over them : one node, rate".into(),
        direct,
        "",
        None,
    ));
    section.add(Figure::new("cluster : three nodes without a gateway, rate".into(), behind, "", None));
    section.add(Figure::new("searches a second".into(), all, "/s", None));
    section.add(Figure::new("one node's searches a second".into(), one, "/s", None));
    section.add(Figure::new("most subrequests of a node : fair share".into(), share, "", Some(1.1)));
    vec![section]
}

/// How often each node was asked so far, whatever came of it.
fn subrequests(fleet: &Fleet) -> Vec<f64> {
    let text = fleet.metrics.get("/metrics").text;
    let of_node = |name: &str| {
        let label = format!("node=\"{name}\"");
        let series = text.lines().filter(|line| line.starts_with("miroir_subrequests_total{") && line.contains(&label));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    fleet.nodes.iter().map(|node| of_node(&node.name)).collect()
}
