//! What rules and programs cost the gateway: the same searches before stub nodes with and without them, in turn.

use crate::gateway::Gateway;
use crate::parts::Effort;
use crate::report::{Figure, Section, Spread};
use crate::stubbed::{KINDS, Round, round};
use crate::wire::Wire;

/// Rules without a program; nine are looked at by each search, and eight of them do something.
const NATIVE: &str = r#"rules:
  - { name: caps, on: search, cap: { limit: 100, offset: 1000, facets: 20, q: 512 } }
  - { name: defaults, on: search, default: { limit: 20 } }
  - { name: details, on: search, remove: [showRankingScoreDetails] }
  - { name: strategy, on: search, set: { matchingStrategy: last } }
  - { name: who, on: search, label: "index ${request.index}" }
  - { name: which, on: search, header: { X-Index: "${request.index}" } }
  - { name: rate, on: search, limit: { by: client.ip, rate: 50000/s, burst: 50000 } }
  - { name: crowd, on: search, concurrent: { by: client.ip, most: 1000 } }
  - { name: orders, on: search, indexes: [orders], filter: "open = true" }
  - { name: office, on: writes, unless: { clients: [127.0.0.0/8] }, refuse: { message: "Writes come from here." } }
"#;

const CONDITION: &str = r#"rules:
  - { name: long, on: search, when: "search.q.len() >= 3", run: "search.limit = params.most;", params: { most: 20 } }
"#;

const ANSWER: &str = r#"rules:
  - { name: badge, on: search, on_answer: "hits.for_each(|| { this.badge = 1; });" }
"#;

/// A gateway with some rules, against the one without.
struct Compared {
    name: &'static str,
    rules: &'static str,
    /// The most that processor time may be of that without, and how much p99 may be added, in milliseconds.
    goals: (Option<f64>, Option<f64>),
}

/// What a search costs that one node answers for all.
const PASSED: &[Compared] = &[
    Compared { name: "without rules, once more", rules: "", goals: (None, None) },
    Compared { name: "ten native rules", rules: NATIVE, goals: (Some(1.03), None) },
];

/// What a search costs that all three nodes are asked for.
const FANNED_OUT: &[Compared] = &[
    Compared { name: "without rules, once more", rules: "", goals: (None, None) },
    Compared { name: "ten native rules", rules: NATIVE, goals: (None, None) },
    Compared { name: "a condition and a program over the request", rules: CONDITION, goals: (Some(1.05), Some(0.05)) },
    Compared { name: "a program over the answer, 20 hits", rules: ANSWER, goals: (Some(1.05), Some(0.05)) },
];

pub fn measure(effort: Effort) -> Vec<Section> {
    let mut section = Section::new("Rules and programs: stub nodes");
    for (what, replication_factor, compared) in
        [("a search that one node answers", 3, PASSED), ("a search of three nodes", 1, FANNED_OUT)]
    {
        compare(effort, what, replication_factor, compared, &mut section);
    }
    vec![section]
}

fn compare(effort: Effort, what: &str, replication_factor: usize, compared: &[Compared], section: &mut Section) {
    let (rounds, searches) = effort.stub;
    let start = |rules: &str| Gateway::with_rules(3, replication_factor, rules);
    let plain = start("");
    let ruled: Vec<Gateway> = compared.iter().map(|compared| start(compared.rules)).collect();
    let mut wires: Vec<Wire> =
        std::iter::once(&plain).chain(&ruled).map(|gateway| Wire::connect(&gateway.address)).collect();
    let mut without = Spread::default();
    let mut spreads = vec![(Spread::default(), Spread::default()); ruled.len()];
    for at in 0..=rounds {
        let mut measured: Vec<Round> = Vec::new();
        for (gateway, wire) in std::iter::once(&plain).chain(&ruled).zip(&mut wires) {
            measured.push(round(wire, gateway.pid(), KINDS[0].1, searches));
        }
        // The first round warms up.
        if at == 0 {
            continue;
        }
        without.add(measured[0].cpu_ms);
        for (round, (cpu, tail)) in measured[1..].iter().zip(&mut spreads) {
            cpu.add(round.cpu_ms / measured[0].cpu_ms);
            tail.add(round.times.quantile(0.99) - measured[0].times.quantile(0.99));
        }
    }
    section.add(Figure::new(format!("{what}, without rules, gateway's CPU"), without, "ms", None));
    for (compared, (cpu, tail)) in compared.iter().zip(spreads) {
        let (most, most_added) = compared.goals;
        section.add(Figure::new(format!("{what}, {} : without rules, CPU", compared.name), cpu, "", most));
        section.add(Figure::new(format!("{what}, {}, added p99", compared.name), tail, "ms", most_added));
    }
}
