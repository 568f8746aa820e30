//! What a large body costs the gateway on its way to three nodes, by what its documents are.

use serde_json::Value;

use crate::data;
use crate::gateway::Gateway;
use crate::parts::Effort;
use crate::process::{Meter, forget_peak, peak_mb};
use crate::report::{Figure, Section, Spread};
use crate::sets::whole_dictionary;
use crate::wire::Wire;

/// What is sent at a time.
const PIECE: usize = 64 << 10;
/// Of a made document, with its line's end.
const MADE: u64 = 200;

/// Uploads `length` bytes, made piece by piece, through a gateway of its own. Seconds of processor time per 100 MB, and peak memory.
fn uploaded(length: u64, mut piece: impl FnMut() -> Vec<u8>) -> (f64, f64) {
    let gateway = Gateway::start(3, 1);
    let mut wire = Wire::connect(&gateway.address);
    forget_peak(gateway.pid());
    let meter = Meter::start(&[gateway.pid()]);
    wire.upload("/indexes/cities/documents", length, &mut piece);
    let seconds: f64 = meter.stop().iter().sum::<f64>() / 1e3;
    (seconds / (length as f64 / 1e8), peak_mb(gateway.pid()))
}

/// Documents of [`MADE`] bytes with the ids that `id` makes.
fn made(length: u64, id: impl Fn(u64) -> String) -> (f64, f64) {
    let mut number = 0;
    let piece = || {
        let mut lines = String::with_capacity(1 << 16);
        for _ in 0..250 {
            number += 1;
            let line = format!(r#"{{"id":"{}","name":"Saint {}","country":"FR","text":"#, id(number), number % 997);
            lines += &line;
            let width = MADE as usize - 1 - line.len();
            lines += &format!("{:>width$}\n", r#""as long as a city is"}"#);
        }
        lines.into_bytes()
    };
    uploaded(length / (250 * MADE) * (250 * MADE), piece)
}

/// `documents` over and over, each time with other ids.
fn over_and_over(documents: &[Value], length: u64) -> (f64, f64) {
    let mut pieces = vec![Vec::with_capacity(PIECE)];
    let mut all = 0;
    for (pass, document) in (0..).flat_map(|pass: u64| documents.iter().map(move |document| (pass, document))) {
        let mut document = document.clone();
        document["id"] = match &document["id"] {
            Value::Number(id) => (id.as_u64().unwrap_or_default() + pass * 100_000_000).into(),
            id => format!("{}-{pass}", id.as_str().unwrap_or_default()).into(),
        };
        let line = format!("{document}\n");
        if all + line.len() as u64 > length {
            break;
        }
        all += line.len() as u64;
        if pieces.last().is_none_or(|piece| piece.len() + line.len() > PIECE) {
            pieces.push(Vec::with_capacity(PIECE));
        }
        pieces.last_mut().expect("there is one").extend_from_slice(line.as_bytes());
    }
    let mut pieces = pieces.into_iter();
    uploaded(all, || pieces.next().expect("as many as there are bytes"))
}

pub fn measure(effort: Effort) -> Vec<Section> {
    let mut section = Section::new("Large bodies through the gateway by itself: stub nodes");
    let (long, short) = effort.upload;
    let counted = |id: u64| format!("{id:010}");
    // As those of hashes: no two are alike in any way.
    let scattered = |id: u64| {
        let mixed = |seed: u64| {
            (id ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        format!("{:016x}{:016x}", mixed(1), mixed(2))
    };
    let cities = data::documents();
    let mut add = |what: &str, length: u64, measured: &dyn Fn(u64) -> (f64, f64)| {
        let (mut cpu, mut peak) = (Spread::default(), Spread::default());
        for _ in 0..effort.writes {
            let (seconds, memory) = measured(length);
            cpu.add(seconds);
            peak.add(memory);
        }
        let megabytes = length / 1_000_000;
        section.add(Figure::new(format!("gateway's CPU per 100 MB, {megabytes} MB of {what}"), cpu, "s", Some(0.3)));
        section.add(Figure::new(format!("peak memory, {megabytes} MB of {what}"), peak, "MB", Some(64.0)));
    };
    add("short documents, ids that count", short, &|length| made(length, counted));
    add("short documents, ids that count", long, &|length| made(length, counted));
    add("short documents, ids without order", short, &|length| made(length, scattered));
    add("short documents, ids without order", long, &|length| made(length, scattered));
    add("cities", short, &|length| over_and_over(&cities, length));
    if let Some(entries) = whole_dictionary() {
        add("entries of a dictionary", short, &|length| over_and_over(&entries, length));
    }
    vec![section]
}
