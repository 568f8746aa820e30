//! Figures with their spread, on the terminal and as docs/speed.md.

use std::fmt::Write as _;

/// The same measured several times.
#[derive(Default, Clone)]
pub struct Spread(Vec<f64>);

/// One line of the report.
pub struct Figure {
    what: String,
    spread: Spread,
    unit: &'static str,
    goal: Option<f64>,
}

/// A search of one kind against real nodes.
pub struct Kind {
    pub name: &'static str,
    pub why: &'static str,
    /// The cluster's against one node's, in each round.
    pub median: Spread,
    pub tail: Spread,
    /// Processor time of all processes, against that of one node.
    pub cpu: Spread,
    /// The gateway's part of it, in milliseconds.
    pub gateway: Spread,
    /// Subrequests a search.
    pub asked: f64,
}

/// A topology under all kinds.
pub struct Real {
    pub topology: String,
    pub kinds: Vec<Kind>,
}

// === impl Spread ===

impl Spread {
    pub fn of(value: f64) -> Self {
        Self(vec![value])
    }

    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The median, and the least and the greatest where there is more than one.
    pub fn show(&self) -> String {
        let sorted = self.sorted();
        match sorted.as_slice() {
            [] => "-".to_owned(),
            [only] => digits(*only),
            [least, .., most] => format!("{} ({} to {})", digits(self.median()), digits(*least), digits(*most)),
        }
    }
}

fn digits(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

// === impl Figure ===

impl Figure {
    pub fn new(what: String, spread: Spread, unit: &'static str, goal: Option<f64>) -> Self {
        Self { what, spread, unit, goal }
    }

    /// A row of the table.
    pub fn row(&self) -> String {
        let Self { what, spread, unit, goal } = self;
        let goal = goal.map_or_else(String::new, |goal| format!("<= {goal} {unit}"));
        format!("| {what} | {} {unit} | {goal} |", spread.show())
    }
}

/// The tables, as Markdown.
pub fn tables(figures: &[Figure], real: &[Real]) -> String {
    let mut text = String::from(
        "## The gateway by itself: stub nodes\n\n| figure | median (least to most) | goal |\n|---|---|---|\n",
    );
    for figure in figures {
        writeln!(text, "{}", figure.row()).expect("a string takes everything");
    }
    for Real { topology, kinds } in real {
        write!(
            text,
            "\n## Real nodes, {topology}: against one node with everything\n\n\
             | search | p50 ratio | p99 ratio | CPU of all processes, ratio | of it the gateway's, ms a search | subrequests | why |\n\
             |---|---|---|---|---|---|---|\n"
        )
        .expect("a string takes everything");
        for kind in kinds {
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {:.1} | {} |",
                kind.name,
                kind.median.show(),
                kind.tail.show(),
                kind.cpu.show(),
                kind.gateway.show(),
                kind.asked,
                kind.why
            )
            .expect("a string takes everything");
        }
    }
    text
}

/// Writes docs/speed.md anew: what stands before the first table there is people's.
pub fn write(machine: &str, tables: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/speed.md");
    let known = std::fs::read_to_string(path).expect("docs/speed.md");
    let (words, _) = known.split_once("\n## Figures\n").expect("a section called Figures");
    let text = format!(
        "{words}\n## Figures\n\nMeasured on {machine}.\n\n{}",
        tables.replace("\n## ", "\n### ").replacen("## ", "### ", 1)
    );
    std::fs::write(path, text).expect("docs/speed.md can be written");
}
