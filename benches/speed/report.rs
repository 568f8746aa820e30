//! Figures with their spread, on the terminal and as docs/speed.md.

use std::fmt::Write as _;

/// The same measured several times.
#[derive(Default, Clone)]
pub struct Spread(Vec<f64>);

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// One line of the report.
pub struct Figure {
    what: String,
    spread: Spread,
    unit: &'static str,
    goal: Option<Goal>,
}

/// Figures that belong together.
pub struct Section {
    pub title: String,
    pub figures: Vec<Figure>,
    pub kinds: Vec<Kind>,
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

// === impl Spread ===

impl Spread {
    pub fn of(value: f64) -> Self {
        Self(vec![value])
    }

    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Round by round, this against that.
    pub fn ratios(this: &Self, that: &Self) -> Self {
        this.0.iter().zip(&that.0).map(|(this, that)| this / that).collect()
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

    /// Each value so many times as large.
    pub fn times(&self, factor: f64) -> Self {
        self.0.iter().map(|value| value * factor).collect()
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

impl FromIterator<f64> for Spread {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

fn digits(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

// === impl Goal ===

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn show(self, unit: &str) -> String {
        match self {
            Self::AtMost(most) => format!("<= {most} {unit}").trim_end().to_owned(),
            Self::AtLeast(least) => format!(">= {least} {unit}").trim_end().to_owned(),
        }
    }
}

// === impl Figure ===

impl Figure {
    /// `at_most` is its goal, if it has one.
    pub fn new(what: String, spread: Spread, unit: &'static str, at_most: Option<f64>) -> Self {
        Self { what, spread, unit, goal: at_most.map(Goal::AtMost) }
    }

    /// A figure that should be large.
    pub fn large(what: String, spread: Spread, at_least: f64) -> Self {
        Self { what, spread, unit: "", goal: Some(Goal::AtLeast(at_least)) }
    }

    /// A row of the table.
    pub fn row(&self) -> String {
        let Self { what, spread, unit, goal } = self;
        let shown = goal.map_or_else(String::new, |goal| goal.show(unit));
        // The median decides: single rounds meet whatever else the machine does.
        let met = goal.map_or("", |goal| if goal.is_met(spread.median()) { "yes" } else { "no" });
        format!("| {what} | {} | {shown} | {met} |", format!("{} {unit}", spread.show()).trim_end())
    }
}

// === impl Section ===

impl Section {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), figures: Vec::new(), kinds: Vec::new() }
    }

    /// Shows a figure as soon as it is there.
    pub fn add(&mut self, figure: Figure) {
        println!("{}", figure.row());
        self.figures.push(figure);
    }

    /// As Markdown.
    pub fn table(&self) -> String {
        let mut lines = vec![format!("### {}", self.title), String::new()];
        if !self.figures.is_empty() {
            lines.push("| figure | median (least to most) | goal | met |\n|---|---|---|---|".to_owned());
            lines.extend(self.figures.iter().map(Figure::row));
            lines.push(String::new());
        }
        if !self.kinds.is_empty() {
            lines.push(
                "| search | p50 ratio | p99 ratio | CPU of all processes, ratio | of it the gateway's, ms a search \
                 | subrequests | why |\n|---|---|---|---|---|---|---|"
                    .to_owned(),
            );
            lines.extend(self.kinds.iter().map(Kind::row));
            lines.push(String::new());
        }
        lines.join("\n")
    }
}

// === impl Kind ===

impl Kind {
    pub fn row(&self) -> String {
        let Self { name, why, median, tail, cpu, gateway, asked } = self;
        let [median, tail, cpu, gateway] = [median, tail, cpu, gateway].map(Spread::show);
        format!("| {name} | {median} | {tail} | {cpu} | {gateway} | {asked:.1} | {why} |")
    }
}

/// Writes docs/speed.md anew: what stands before the figures there is people's.
pub fn write(how: &str, sections: &[Section]) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/speed.md");
    let known = std::fs::read_to_string(path).expect("docs/speed.md");
    let (words, _) = known.split_once("\n## Figures\n").expect("a section called Figures");
    let mut text = format!("{words}\n## Figures\n\n{how}\n");
    for section in sections {
        write!(text, "\n{}", section.table()).expect("a string takes everything");
    }
    std::fs::write(path, text).expect("docs/speed.md can be written");
}
