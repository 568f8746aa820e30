//! What the gateway itself costs: its nodes answer at once what real nodes once answered.

use std::time::Instant;

use crate::gateway::{Gateway, Proxy};
use crate::process::{cpu_ms, forget_peak, peak_mb};
use crate::report::{Figure, Spread};
use crate::times::Times;
use crate::wire::Wire;

const PATH: &str = "/indexes/cities/search";

/// A recorded search: what the client asks for. `q` names the recording.
const KINDS: &[(&str, &str)] = &[
    ("words, 20 hits", r#"{"q":"words"}"#),
    ("sorted, 20 hits", r#"{"q":"sorted","sort":["population:desc"]}"#),
    ("facets, 20 hits", r#"{"q":"facets","facets":["country","feature"]}"#),
];

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Searches of a round.
    pub searches: usize,
    /// Bytes of the upload.
    pub upload: u64,
}

/// One server under the same search for one round.
struct Round {
    times: Times,
    cpu_ms: f64,
}

fn round(wire: &mut Wire, pid: u32, body: &str, searches: usize) -> Round {
    let before = cpu_ms(pid);
    let times = (0..searches).map(|_| wire.post(PATH, body).0).collect();
    Round { times: Times(times), cpu_ms: (cpu_ms(pid) - before) / searches as f64 }
}

/// Processor time and added time of searches that all three nodes are asked for.
fn fanned_out(effort: Effort, figures: &mut Vec<Figure>) {
    let gateway = Gateway::start(3, 1);
    let (mut wire, mut direct) = (Wire::connect(&gateway.address), Wire::connect(&address_of(&gateway)));
    for (name, body) in KINDS {
        let own = std::process::id();
        round(&mut wire, gateway.pid(), body, effort.searches / 4);
        let (mut cpu, mut median, mut tail) = (Spread::default(), Spread::default(), Spread::default());
        let asked = gateway.asked();
        for _ in 0..effort.rounds {
            let through = round(&mut wire, gateway.pid(), body, effort.searches);
            let alone = round(&mut direct, own, body, effort.searches);
            cpu.add(through.cpu_ms);
            median.add(through.times.median() - alone.times.median());
            tail.add(through.times.quantile(0.99) - alone.times.quantile(0.99));
        }
        let searches = (effort.rounds * effort.searches) as f64;
        let rounds = ((gateway.asked() - asked) as f64 / searches - 1.0) / 3.0;
        figures.push(Figure::new(format!("gateway's CPU a search of three nodes, {name}"), cpu, "ms", Some(0.35)));
        figures.push(Figure::new(format!("added p50 over one subrequest, {name}"), median, "ms", Some(0.2)));
        figures.push(Figure::new(format!("added p99 over one subrequest, {name}"), tail, "ms", Some(1.0)));
        figures.push(Figure::new(format!("rounds a search, {name}"), Spread::of(rounds), "", None));
    }
    forget_peak(gateway.pid());
    let start = Instant::now();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = gateway.address.clone();
            std::thread::spawn(move || {
                round(&mut Wire::connect(&address), std::process::id(), KINDS[0].1, effort.searches)
            })
        })
        .collect();
    clients.into_iter().for_each(|client| drop(client.join()));
    let rate = 8.0 * effort.searches as f64 / start.elapsed().as_secs_f64();
    figures.push(Figure::new(
        "searches a second, 8 clients, stubs and clients on the same cores".into(),
        Spread::of(rate),
        "/s",
        None,
    ));
    figures.push(Figure::new("peak memory under these".into(), Spread::of(peak_mb(gateway.pid())), "MB", Some(150.0)));
}

/// What each further node costs.
fn by_nodes(effort: Effort, figures: &mut Vec<Figure>) {
    let gateways: Vec<Gateway> = [3, 6, 12].into_iter().map(|nodes| Gateway::start(nodes, 1)).collect();
    let mut wires: Vec<Wire> = gateways.iter().map(|gateway| Wire::connect(&gateway.address)).collect();
    let mut spreads = [Spread::default(), Spread::default(), Spread::default()];
    for at in 0..=effort.rounds {
        for ((gateway, wire), spread) in gateways.iter().zip(&mut wires).zip(&mut spreads) {
            let cpu = round(wire, gateway.pid(), KINDS[0].1, effort.searches).cpu_ms;
            // The first round warms up.
            if at > 0 {
                spread.add(cpu / gateway.stubs.len() as f64);
            }
        }
    }
    for (gateway, spread) in gateways.iter().zip(spreads) {
        let nodes = gateway.stubs.len();
        figures.push(Figure::new(format!("gateway's CPU a search and node, {nodes} nodes"), spread, "ms", None));
    }
}

/// A search that one node answers for all, against a proxy that only passes on.
fn passed_through(effort: Effort, figures: &mut Vec<Figure>) {
    let gateway = Gateway::start(3, 3);
    let proxy = Proxy::start(&address_of(&gateway));
    let (mut wire, mut plain) = (Wire::connect(&gateway.address), Wire::connect(&proxy.address));
    let (mut cpu, mut median, mut of_plain) = (Spread::default(), Spread::default(), Spread::default());
    for at in 0..=effort.rounds {
        let relayed = round(&mut wire, gateway.pid(), KINDS[0].1, effort.searches);
        let passed = round(&mut plain, proxy.pid(), KINDS[0].1, effort.searches);
        if at > 0 {
            cpu.add(relayed.cpu_ms / passed.cpu_ms);
            median.add(relayed.times.median() / passed.times.median());
            of_plain.add(passed.cpu_ms);
        }
    }
    figures.push(Figure::new("one node relayed : plain proxy, CPU".into(), cpu, "", Some(1.3)));
    figures.push(Figure::new("one node relayed : plain proxy, p50".into(), median, "", Some(1.3)));
    figures.push(Figure::new("plain proxy's CPU a search".into(), of_plain, "ms", None));
}

/// A large body of documents on its way to three nodes.
fn uploaded(effort: Effort, figures: &mut Vec<Figure>) {
    let gateway = Gateway::start(3, 1);
    let mut wire = Wire::connect(&gateway.address);
    let mut id = 0_u64;
    let mut piece = || {
        let mut lines = String::with_capacity(1 << 16);
        for _ in 0..250 {
            id += 1;
            let line = format!(r#"{{"id":"{id:010}","name":"Saint {}","country":"FR","text":"#, id % 997);
            lines += &line;
            lines += &format!("{:>width$}\n", r#""as long as a city is"}"#, width = 199 - line.len());
        }
        lines.into_bytes()
    };
    forget_peak(gateway.pid());
    let before = cpu_ms(gateway.pid());
    let length = effort.upload / 50_000 * 50_000;
    wire.upload("/indexes/cities/documents", length, &mut piece);
    let cpu = (cpu_ms(gateway.pid()) - before) / 1e3 / (length as f64 / 1e8);
    let size = length / 1_000_000;
    figures.push(Figure::new(
        format!("gateway's CPU per 100 MB of an upload of {size} MB"),
        Spread::of(cpu),
        "s",
        Some(0.3),
    ));
    let peak = Spread::of(peak_mb(gateway.pid()));
    figures.push(Figure::new(format!("peak memory during an upload of {size} MB"), peak, "MB", Some(64.0)));
}

fn address_of(gateway: &Gateway) -> String {
    format!("127.0.0.1:{}", gateway.stubs[0].port)
}

/// Shows each figure as soon as it is there.
pub fn measure(effort: Effort) -> Vec<Figure> {
    let mut figures = Vec::new();
    for part in [fanned_out, by_nodes, passed_through, uploaded] {
        let known = figures.len();
        part(effort, &mut figures);
        figures[known..].iter().for_each(|figure| println!("{}", figure.row()));
    }
    figures
}
