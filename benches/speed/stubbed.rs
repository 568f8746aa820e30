//! What the gateway itself costs: its nodes answer at once what real nodes once answered.

use std::time::Instant;

use crate::gateway::{Gateway, Proxy};
use crate::parts::Effort;
use crate::process::{cpu_ms, forget_peak, peak_mb};
use crate::report::{Figure, Section, Spread};
use crate::times::Times;
use crate::wire::Wire;

const PATH: &str = "/indexes/cities/search";

/// A recorded search: what the client asks for. `q` names the recording.
pub const KINDS: &[(&str, &str)] = &[
    ("words, 20 hits", r#"{"q":"words"}"#),
    ("sorted, 20 hits", r#"{"q":"sorted","sort":["population:desc"]}"#),
    ("facets, 20 hits", r#"{"q":"facets","facets":["country","feature"]}"#),
];

/// One server under the same search for one round.
pub struct Round {
    pub times: Times,
    pub cpu_ms: f64,
}

pub fn round(wire: &mut Wire, pid: u32, body: &str, searches: usize) -> Round {
    let before = cpu_ms(pid);
    let times = (0..searches).map(|_| wire.post(PATH, body).0).collect();
    Round { times: Times(times), cpu_ms: (cpu_ms(pid) - before) / searches as f64 }
}

/// Processor time and added time of searches that all three nodes are asked for.
fn fanned_out(effort: Effort, section: &mut Section) {
    let (rounds, searches) = effort.stub;
    let gateway = Gateway::start(3, 1);
    let (mut wire, mut direct) = (Wire::connect(&gateway.address), Wire::connect(&address_of(&gateway)));
    for (name, body) in KINDS {
        let own = std::process::id();
        round(&mut wire, gateway.pid(), body, searches / 4);
        let (mut cpu, mut median, mut tail) = (Spread::default(), Spread::default(), Spread::default());
        let asked = gateway.asked();
        for _ in 0..rounds {
            let through = round(&mut wire, gateway.pid(), body, searches);
            let alone = round(&mut direct, own, body, searches);
            cpu.add(through.cpu_ms);
            median.add(through.times.median() - alone.times.median());
            tail.add(through.times.quantile(0.99) - alone.times.quantile(0.99));
        }
        // Each search was also asked of one stub directly.
        let each = (gateway.asked() - asked) as f64 / (rounds * searches) as f64;
        let asked = (each - 1.0) / 3.0;
        section.add(Figure::new(format!("gateway's CPU a search of three nodes, {name}"), cpu, "ms", Some(0.35)));
        section.add(Figure::new(format!("added p50 over one subrequest, {name}"), median, "ms", Some(0.2)));
        section.add(Figure::new(format!("added p99 over one subrequest, {name}"), tail, "ms", Some(1.0)));
        section.add(Figure::new(format!("rounds a search, {name}"), Spread::of(asked), "", None));
    }
    forget_peak(gateway.pid());
    let start = Instant::now();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = gateway.address.clone();
            std::thread::spawn(move || round(&mut Wire::connect(&address), std::process::id(), KINDS[0].1, searches))
        })
        .collect();
    clients.into_iter().for_each(|client| drop(client.join()));
    let rate = 8.0 * searches as f64 / start.elapsed().as_secs_f64();
    section.add(Figure::new(
        "searches a second, 8 clients, stubs and clients on the same cores".into(),
        Spread::of(rate),
        "/s",
        None,
    ));
    section.add(Figure::new("peak memory under these".into(), Spread::of(peak_mb(gateway.pid())), "MB", Some(150.0)));
}

/// What each further node costs.
fn by_nodes(effort: Effort, section: &mut Section) {
    const NODES: [usize; 3] = [3, 6, 12];
    let spreads = side_by_side(effort, &NODES.map(|nodes| Gateway::start(nodes, 1)), |gateway| gateway.stubs.len());
    for (nodes, spread) in NODES.into_iter().zip(&spreads) {
        section.add(Figure::new(format!("gateway's CPU a search and node, {nodes} nodes"), spread.clone(), "ms", None));
    }
    let ratio = Spread::ratios(&spreads[2], &spreads[0]);
    section.add(Figure::new("12 nodes : 3 nodes, gateway's CPU a search and node".into(), ratio, "", Some(1.1)));
}

/// What each further shard costs.
fn by_shards(effort: Effort, section: &mut Section) {
    const SHARDS: [usize; 3] = [64, 128, 512];
    let spreads = side_by_side(effort, &SHARDS.map(|shards| Gateway::with_shards(3, 2, shards)), |_| 1);
    for (shards, spread) in SHARDS.into_iter().zip(&spreads) {
        let what = format!("gateway's CPU a search, 3 nodes, replication factor 2, {shards} shards");
        section.add(Figure::new(what, spread.clone(), "ms", None));
    }
    let ratio = Spread::ratios(&spreads[2], &spreads[0]);
    section.add(Figure::new("512 shards : 64 shards, gateway's CPU a search".into(), ratio, "", Some(1.1)));
}

/// Processor time of each gateway's searches, divided by what `parts` says.
fn side_by_side<const N: usize>(
    effort: Effort,
    gateways: &[Gateway; N],
    parts: impl Fn(&Gateway) -> usize,
) -> [Spread; N] {
    let (rounds, searches) = effort.stub;
    let mut wires = gateways.each_ref().map(|gateway| Wire::connect(&gateway.address));
    let mut spreads = [(); N].map(|()| Spread::default());
    for at in 0..=rounds {
        for ((gateway, wire), spread) in gateways.iter().zip(&mut wires).zip(&mut spreads) {
            let cpu = round(wire, gateway.pid(), KINDS[0].1, searches).cpu_ms;
            // The first round warms up.
            if at > 0 {
                spread.add(cpu / parts(gateway) as f64);
            }
        }
    }
    spreads
}

/// A search that one node answers for all, against a proxy that only passes on.
fn passed_through(effort: Effort, section: &mut Section) {
    let (rounds, searches) = effort.stub;
    let gateway = Gateway::start(3, 3);
    let proxy = Proxy::start(&address_of(&gateway));
    let (mut wire, mut plain) = (Wire::connect(&gateway.address), Wire::connect(&proxy.address));
    let (mut cpu, mut median, mut of_plain) = (Spread::default(), Spread::default(), Spread::default());
    for at in 0..=rounds {
        let relayed = round(&mut wire, gateway.pid(), KINDS[0].1, searches);
        let passed = round(&mut plain, proxy.pid(), KINDS[0].1, searches);
        if at > 0 {
            cpu.add(relayed.cpu_ms / passed.cpu_ms);
            median.add(relayed.times.median() / passed.times.median());
            of_plain.add(passed.cpu_ms);
        }
    }
    section.add(Figure::new("one node relayed : plain proxy, CPU".into(), cpu, "", Some(1.3)));
    section.add(Figure::new("one node relayed : plain proxy, p50".into(), median, "", Some(1.3)));
    section.add(Figure::new("plain proxy's CPU a search".into(), of_plain, "ms", None));
}

fn address_of(gateway: &Gateway) -> String {
    format!("127.0.0.1:{}", gateway.stubs[0].port)
}

pub fn measure(effort: Effort) -> Vec<Section> {
    let mut section = Section::new("The gateway by itself: stub nodes");
    for part in [fanned_out, by_nodes, by_shards, passed_through] {
        part(effort, &mut section);
    }
    vec![section]
}
