//! Searches of one kind: clusters against one node with everything.

use serde_json::{Value, json};

use crate::parts::Effort;
use crate::report::{Figure, Kind, Section};
use crate::sets::Set;
use crate::support::{Client, Fleet, Single};
use crate::turns::{Round, Side, fleet, in_turn, ratios, settled_cluster, values};

const PATH: &str = "/indexes/cities/search";

/// A kind of search and why it costs what it costs.
struct Asked {
    name: &'static str,
    why: &'static str,
    search: fn(&Value) -> Value,
    goal: Goal,
}

/// What must hold against one node.
#[derive(Clone, Copy)]
enum Goal {
    None,
    /// For the p99.
    Tail(f64),
    /// For the p50, and for the processor time.
    Median(f64),
}

const KINDS: &[Asked] = &[
    Asked {
        name: "words",
        why: "one round; each node looks up the words and lists a page",
        search: |city| json!({"q": city["name"]}),
        goal: Goal::None,
    },
    Asked {
        name: "a prefix of three letters",
        why: "the same",
        search: |city| json!({"q": start(city, 3)}),
        goal: Goal::None,
    },
    Asked {
        name: "the eleventh page",
        why: "nodes list their likely share of all hits up to the page's end",
        search: |city| json!({"q": start(city, 2), "offset": 200}),
        goal: Goal::None,
    },
    Asked {
        name: "sorted by a number",
        why: "as words",
        search: |city| json!({"q": start(city, 2), "sort": ["population:desc"]}),
        goal: Goal::None,
    },
    Asked {
        name: "facets by value",
        why: "as words; lists are added up",
        search: |city| json!({"q": city["name"], "facets": ["feature"]}),
        goal: Goal::None,
    },
    Asked {
        name: "facets by count, cut",
        why: "values near the cut are asked for again",
        search: |city| json!({"q": start(city, 1), "facets": ["country"]}),
        goal: Goal::Tail(3.0),
    },
    Asked {
        name: "distinct, by page",
        why: "distinct values are counted over all nodes",
        search: |city| json!({"q": city["name"], "distinct": "country", "page": 1, "hitsPerPage": 10}),
        goal: Goal::Tail(3.0),
    },
    Asked {
        name: "a threshold",
        why: "the walk of one node is made again over what nodes list",
        search: |city| json!({"q": city["name"], "rankingScoreThreshold": 0.5}),
        goal: Goal::Tail(3.0),
    },
    Asked {
        name: "marks",
        why: "whether nodes know words is asked where a mark may be another",
        search: |city| json!({"q": start(city, 4), "attributesToHighlight": ["name"]}),
        goal: Goal::None,
    },
    // The last one: only for it is `maxTotalHits` raised.
    Asked {
        name: "a page at offset 1,000",
        why: "as the eleventh page",
        search: |city| json!({"q": start(city, 1), "offset": 1000}),
        goal: Goal::Median(1.5),
    },
];

/// One node and one cluster, and what they are asked.
struct Pair<'a> {
    single: &'a Single,
    fleet: &'a Fleet,
    cities: Vec<&'a Value>,
    rounds: usize,
}

pub fn measure(effort: Effort) -> Vec<Section> {
    let (rounds, searches) = effort.real;
    let mut set = Set::cities();
    // Unlike the random searches', countries are cut, by count.
    set.settings["faceting"] = json!({"maxValuesPerFacet": 20, "sortFacetValuesBy": {"country": "count"}});
    let step = (set.documents.len() / searches).max(1);
    let single = Single::start();
    set.load(&single.client);
    let mut sections = Vec::new();
    for replication_factor in [1, 2] {
        let fleet = fleet(replication_factor, false);
        set.load(&fleet.client);
        settled_cluster(&fleet);
        let cities: Vec<&Value> = set.documents.iter().step_by(step).take(searches).collect();
        let pair = Pair { single: &single, fleet: &fleet, cities, rounds };
        let title = format!(
            "Kinds of searches, 3 nodes, replication factor {replication_factor}, {} cities: against one node with \
             everything",
            set.documents.len()
        );
        sections.push(pair.section(title));
    }
    sections
}

// === impl Pair ===

impl Pair<'_> {
    fn section(&self, title: String) -> Section {
        let mut section = Section::new(title);
        for asked in KINDS {
            let usual = !matches!(asked.goal, Goal::Median(_));
            for client in [&self.single.client, &self.fleet.client] {
                most_total_hits(client, if usual { 1_000 } else { 2_000 });
            }
            let kind = self.kind(asked);
            println!("{}", kind.row());
            let figures = match asked.goal {
                Goal::None => Vec::new(),
                Goal::Tail(most) => vec![("p99", &kind.tail, most)],
                Goal::Median(most) => vec![("p50", &kind.median, most), ("CPU", &kind.cpu, most)],
            };
            for (measure, spread, most) in figures {
                let what = format!("{} : one node, {measure}", asked.name);
                section.add(Figure::new(what, spread.clone(), "", Some(most)));
            }
            section.kinds.push(kind);
        }
        section
    }

    fn kind(&self, asked: &Asked) -> Kind {
        let sides = [Side::one(self.single), Side::cluster(self.fleet)];
        let searches: Vec<Value> = self.cities.iter().map(|city| (asked.search)(city)).collect();
        let before = subrequests(self.fleet);
        let measured = in_turn(&sides, PATH, &searches, self.rounds);
        let subrequests = subrequests(self.fleet) - before;
        Kind {
            name: asked.name,
            why: asked.why,
            median: ratios(&measured, 1, 0, |round| round.times.median()),
            tail: ratios(&measured, 1, 0, |round| round.times.quantile(0.99)),
            cpu: ratios(&measured, 1, 0, Round::cpu),
            gateway: values(&measured, 1, Round::gateway),
            asked: subrequests / (self.rounds * searches.len()) as f64,
        }
    }
}

fn start(city: &Value, letters: usize) -> String {
    city["name"].as_str().unwrap_or_default().chars().take(letters).collect()
}

fn most_total_hits(client: &Client, most: usize) {
    let settings = json!({"pagination": {"maxTotalHits": most}});
    client.done(&client.json("PATCH", "/indexes/cities/settings", &settings));
}

fn subrequests(fleet: &Fleet) -> f64 {
    let text = fleet.metrics.get("/metrics").text;
    let values = text.lines().filter(|line| line.starts_with("miroir_fan_out_sum"));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
