//! Many clients and the cache: equal searches, and a mix of popular and rare ones while writes go on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::mix::{self, Zipf};
use crate::parts::Effort;
use crate::report::{Figure, Section, Spread};
use crate::sets::{Set, create};
use crate::support::random::Dice;
use crate::support::{Client, Fleet, Single};
use crate::turns::{Side, answered, beside_writes, fleet, rate, settled, settled_cluster};

pub const CLIENTS: usize = 16;

/// Different searches of the mix.
const QUERIES: usize = 10_000;
const WRITES_A_SECOND: u32 = 5;

/// An index that nobody searches.
const OTHER: &str = "other";

/// What is written while popular searches are asked.
#[derive(Clone, Copy)]
enum Written {
    /// To an index that nobody searches.
    Elsewhere,
    /// To the index that is searched: a document again, with a number that some other document has.
    KnownWords,
    /// The same with a number that none has had: a word that all nodes get.
    NewWords,
}

struct Bench {
    set: Set,
    single: Single,
    fleet: Fleet,
    time: Duration,
    rounds: usize,
}

/// What both sides did in their turns.
#[derive(Default)]
struct Rates {
    one: Spread,
    cluster: Spread,
    ratio: Spread,
}

// === impl Rates ===

impl Rates {
    fn add(&mut self, [one, cluster]: [f64; 2]) {
        self.one.add(one);
        self.cluster.add(cluster);
        self.ratio.add(cluster / one);
    }

    fn report(self, what: &str, at_least: f64, section: &mut Section) {
        section.add(Figure::large(format!("{what} : one node, rate"), self.ratio, at_least));
        section.add(Figure::new(format!("{what}, searches a second"), self.cluster, "/s", None));
        section.add(Figure::new(format!("{what}, one node's searches a second"), self.one, "/s", None));
    }
}

pub fn measure(effort: Effort) -> Vec<Section> {
    let (rounds, seconds) = effort.crowd;
    let set = Set::cities();
    let (single, fleet) = (Single::start(), fleet(1, true));
    for client in [&single.client, &fleet.client] {
        set.load(client);
        create(client, OTHER, &set.settings);
    }
    settled_cluster(&fleet);
    let bench = Bench { set, single, fleet, time: Duration::from_secs(seconds), rounds };
    let mut section = Section::new(format!(
        "The cache: {CLIENTS} clients, 3 nodes, replication factor 1, {} cities, turns of {seconds} s",
        bench.set.documents.len()
    ));
    bench.equal(&mut section);
    bench.popular(Written::Elsewhere, 3.0, &mut section);
    bench.popular(Written::KnownWords, 1.0, &mut section);
    bench.popular(Written::NewWords, 1.0, &mut section);
    vec![section]
}

// === impl Written ===

impl Written {
    fn index(self, set: &Set) -> &str {
        match self {
            Self::Elsewhere => OTHER,
            Self::KnownWords | Self::NewWords => set.name,
        }
    }

    /// Of the document that is written as the `count`-th.
    fn population(self, set: &Set, count: usize) -> Value {
        match self {
            Self::Elsewhere | Self::KnownWords => {
                set.documents[(count + 1) % set.documents.len()]["population"].clone()
            }
            // Nowhere live so many.
            Self::NewWords => json!(1_000_000_000 + count),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Elsewhere => "another index",
            Self::KnownWords => "the same index",
            Self::NewWords => "the same index, each with a new word",
        }
    }
}

// === impl Bench ===

impl Bench {
    fn clients(&self) -> [&Client; 2] {
        [&self.single.client, &self.fleet.client]
    }

    fn sides(&self) -> [Side; 2] {
        [Side::one(&self.single), Side::cluster(&self.fleet)]
    }

    /// Everybody asks the same.
    fn equal(&self, section: &mut Section) {
        let (sides, path) = (self.sides(), self.set.path());
        let searches = answered(&sides, &path, vec![json!({"q": (self.set.title)(&self.set.documents[0])})]);
        let bodies: Vec<String> = searches.iter().map(|search| sides[0].body(search)).collect();
        let mut rates = Rates::default();
        for _ in 0..self.rounds {
            rates.add(sides.each_ref().map(|side| rate((&[&side.address], &path), CLIENTS, self.time, &bodies, |_| 0)));
        }
        rates.report("equal searches", 20.0, section);
    }

    /// Some are asked for often, most rarely, and documents are written to an index.
    fn popular(&self, what: Written, goal: f64, section: &mut Section) {
        let (sides, path) = (self.sides(), self.set.path());
        let searches = mix::searches(&self.set, QUERIES);
        let bodies: Vec<String> = searches.iter().map(|search| sides[0].body(search)).collect();
        let zipf = Zipf::new(bodies.len());
        let next = |dice: &mut Dice| zipf.roll(dice);
        let documents = format!("/indexes/{}/documents", what.index(&self.set));
        let (mut rates, mut writes) = (Rates::default(), [Spread::default(), Spread::default()]);
        // The first round fills the cache and is not counted.
        for round in 0..=self.rounds {
            let mut of_round = [0.0; 2];
            for (at, client) in self.clients().into_iter().enumerate() {
                let write = |count: u64| {
                    let count = count as usize + 1_000 * round;
                    let mut document = self.set.documents[count % self.set.documents.len()].clone();
                    document["population"] = what.population(&self.set, count);
                    let reply = client.post(&documents, &json!([document]));
                    assert_eq!(reply.status, 202, "{}", reply.text);
                };
                let search = || rate((&[&sides[at].address], &path), CLIENTS, self.time, &bodies, next);
                let (searched, written) = beside_writes(WRITES_A_SECOND, write, search);
                of_round[at] = searched;
                if round > 0 {
                    writes[at].add(written);
                }
                settled(&[client]);
            }
            settled_cluster(&self.fleet);
            if round > 0 {
                rates.add(of_round);
            }
        }
        let to = what.name();
        let what = format!("Zipf mix of {} searches, {WRITES_A_SECOND} writes a second to {to}", bodies.len());
        rates.report(&what, goal, section);
        let [one, cluster] = writes;
        section.add(Figure::new(format!("{what}, writes accepted a second"), cluster, "/s", None));
        section.add(Figure::new(format!("{what}, one node's writes accepted a second"), one, "/s", None));
    }
}
