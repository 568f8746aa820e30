use std::collections::{BTreeMap, VecDeque};

use super::queue::{Before, MOST_TASKS};
use super::*;

const INDEXES: [&str; 2] = ["a", "b"];
const NODES: usize = 2;
const LONG: Duration = Duration::from_secs(3600);

fn name(node: usize) -> NodeId {
    NodeId::new(&format!("n{node}"))
}

fn names(indexes: &[&str]) -> Vec<String> {
    indexes.iter().map(|index| (*index).to_owned()).collect()
}

fn write<'c>(changes: &'c Changes, node: usize, index: &str) -> Change<'c> {
    let path = format!("/indexes/{index}/documents");
    changes.begin(&name(node), &http::Method::POST, &path, None).unwrap()
}

fn swap(changes: &Changes, node: usize) -> Change<'_> {
    let body = br#"[{"indexes": ["a", "b"]}]"#;
    changes.begin(&name(node), &http::Method::POST, "/swap-indexes", Some(body)).unwrap()
}

/// As after a look at every node that finds nothing to do.
fn drained() -> Changes {
    let changes = Changes::default();
    for (index, node) in INDEXES.iter().flat_map(|index| (0..NODES).map(move |node| (index, node))) {
        let before = changes.state.lock().of(index).queues.entry(name(node)).or_default().before();
        changes.saw_idle(index, &name(node), before);
    }
    changes
}

fn moment(changes: &Changes, indexes: &[&str]) -> Option<Moment> {
    let (indexes, nodes) = (names(indexes), [name(0), name(1)]);
    changes.moment(&indexes, &nodes.iter().collect::<Vec<_>>()).ok()
}

#[test]
fn before_anybody_has_looked_nothing_is_quiet() {
    let changes = Changes::default();
    assert!(moment(&changes, &["a"]).is_none());
    assert!(moment(&drained(), &["a"]).is_some());
}

#[test]
fn a_change_ends_the_era_before_it_is_sent_and_is_over_with_its_task() {
    let changes = drained();
    let (a, b) = (moment(&changes, &["a"]).unwrap(), moment(&changes, &["b"]).unwrap());
    let change = write(&changes, 0, "a");
    assert!(!a.holds() && b.holds());
    assert!(moment(&changes, &["a"]).is_none() && moment(&changes, &["b", "a"]).is_none());
    change.is(Fate::Queued(7));
    assert!(moment(&changes, &["a"]).is_none());
    changes.ended(&name(1), 7);
    assert!(moment(&changes, &["a"]).is_none(), "that was another node's");
    changes.ended(&name(0), 7);
    assert!(moment(&changes, &["a"]).is_some_and(|moment| moment.holds()));
}

#[test]
fn what_a_node_surely_did_not_get_leaves_the_index_quiet_and_what_it_may_have_got_does_not() {
    for (fate, quiet) in [(Fate::Refused, true), (Fate::Unknown, false)] {
        let changes = drained();
        write(&changes, 0, "a").is(fate);
        assert_eq!(moment(&changes, &["a"]).is_some(), quiet, "{fate:?}");
    }
    let changes = drained();
    drop(write(&changes, 0, "a"));
    assert!(moment(&changes, &["a"]).is_none(), "one that was given up");
}

#[test]
fn a_swap_is_of_both_indexes_and_features_are_of_all() {
    let changes = drained();
    swap(&changes, 0).is(Fate::Queued(1));
    assert!(moment(&changes, &["a"]).is_none() && moment(&changes, &["b"]).is_none());
    changes.ended(&name(0), 1);
    let both = moment(&changes, &["a", "b"]).unwrap();
    let change = changes.begin(&name(0), &http::Method::PATCH, "/experimental-features", Some(b"{}")).unwrap();
    assert!(!both.holds() && moment(&changes, &["a"]).is_none());
    change.is(Fate::Unknown);
    assert!(!both.holds() && moment(&changes, &["a"]).is_some());
}

#[test]
fn tasks_that_nobody_follows_take_little_room() {
    let changes = drained();
    for task in 0..10_000 {
        write(&changes, 0, "a").is(Fate::Queued(task));
        assert!(changes.state.lock().tasks.len() <= MOST_TASKS);
        assert!(moment(&changes, &["a"]).is_none());
    }
    let before = changes.state.lock().of("a").queues[&name(0)].before();
    changes.saw_idle("a", &name(0), before);
    assert!(moment(&changes, &["a"]).is_some() && changes.state.lock().tasks.is_empty());
}

#[test]
fn other_plans_end_the_era_too() {
    let changes = drained();
    let before = moment(&changes, &["a"]).unwrap();
    changes.replanned("a");
    assert!(!before.holds() && moment(&changes, &["a"]).is_some());
}

#[test]
fn a_change_of_one_node_leaves_what_others_reply_as_it_was() {
    let changes = drained();
    let on = |node, recently| changes.moment_on(&name(node), &["a"], recently);
    assert!(on(1, LONG).is_none(), "nothing has changed: whole answers are kept");
    write(&changes, 0, "a").is(Fate::Queued(7));
    assert!(on(0, LONG).is_none());
    let other = on(1, LONG).unwrap();
    assert!(on(1, Duration::ZERO).is_none(), "the change is not of a moment ago any more");
    write(&changes, 0, "a").is(Fate::Refused);
    assert!(other.holds());
    changes.ended(&name(0), 7);
    let first = on(0, LONG).unwrap();
    drop(write(&changes, 1, "a"));
    assert!(!other.holds() && first.holds() && on(1, LONG).is_none());
    let change = changes.begin(&name(0), &http::Method::PATCH, "/experimental-features", Some(b"{}")).unwrap();
    assert!(!first.holds() && on(0, LONG).is_none());
    change.is(Fate::Unknown);
    assert!(on(0, LONG).is_some());
}

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// A node as an engine is: it takes tasks, and works them off later.
#[derive(Default)]
struct Engine {
    /// What searches find, by index.
    content: BTreeMap<&'static str, u64>,
    queue: VecDeque<(u32, Vec<&'static str>)>,
    last: u32,
}

struct Sent<'c> {
    change: Change<'c>,
    node: usize,
    indexes: Vec<&'static str>,
    /// The task that it became.
    task: Option<u32>,
}

struct Reading {
    index: &'static str,
    moment: Moment,
    /// What each node that was asked has answered.
    seen: BTreeMap<usize, Option<u64>>,
}

/// A look at a node's queue: what came before it, and whether the node said that there was nothing to do.
struct Looking {
    index: &'static str,
    node: usize,
    before: Before,
    idle: Option<bool>,
}

/// Clients, nodes, polls, looks and reads in one random order after the other.
struct World<'c> {
    changes: &'c Changes,
    dice: Dice,
    engines: [Engine; NODES],
    sent: Vec<Sent<'c>>,
    ended: Vec<(usize, u32)>,
    readings: Vec<Reading>,
    lookings: Vec<Looking>,
    kept: Vec<Reading>,
    writes: u64,
}

impl<'c> World<'c> {
    fn new(changes: &'c Changes, seed: u64) -> Self {
        Self {
            changes,
            dice: Dice(seed),
            engines: Default::default(),
            sent: Vec::new(),
            ended: Vec::new(),
            readings: Vec::new(),
            lookings: Vec::new(),
            kept: Vec::new(),
            writes: 0,
        }
    }

    fn pick(&mut self, from: usize) -> Option<usize> {
        (from > 0).then(|| self.dice.below(from))
    }

    fn step(&mut self) {
        let node = self.dice.below(NODES);
        let index = INDEXES[self.dice.below(INDEXES.len())];
        match self.dice.below(40) {
            0 => self.send(node, index),
            1..=4 => self.deliver(),
            5..=9 => self.answer(),
            10..=14 => self.work(node),
            15..=17 => {
                if let Some(at) = self.pick(self.ended.len()) {
                    let (node, task) = self.ended.swap_remove(at);
                    self.changes.ended(&name(node), task);
                }
            }
            18..=20 => {
                let before = self.changes.state.lock().of(index).queues.entry(name(node)).or_default().before();
                self.lookings.push(Looking { index, node, before, idle: None });
            }
            21..=25 => self.look(),
            26..=27 => {
                if let Some(moment) = moment(self.changes, &[index]) {
                    let seen = (0..NODES).map(|node| (node, None)).collect();
                    self.readings.push(Reading { index, moment, seen });
                }
            }
            28..=29 => {
                if let Some(moment) = self.changes.moment_on(&name(node), &[index], LONG) {
                    self.readings.push(Reading { index, moment, seen: BTreeMap::from([(node, None)]) });
                }
            }
            30..=35 => self.read(node),
            _ => self.keep(),
        }
        for kept in self.kept.iter().filter(|kept| kept.moment.holds()) {
            for (node, seen) in &kept.seen {
                let now = self.engines[*node].content.get(kept.index).copied().unwrap_or_default();
                assert_eq!(*seen, Some(now), "what is kept of {} is not what n{node} would answer", kept.index);
            }
        }
    }

    fn send(&mut self, node: usize, index: &'static str) {
        let swaps = self.dice.below(8) == 0;
        let (change, indexes) = if swaps {
            (swap(self.changes, node), INDEXES.to_vec())
        } else {
            (write(self.changes, node, index), vec![index])
        };
        self.sent.push(Sent { change, node, indexes, task: None });
    }

    fn deliver(&mut self) {
        let Some(at) = self.pick(self.sent.len()) else { return };
        let sent = &mut self.sent[at];
        if sent.task.is_none() {
            let engine = &mut self.engines[sent.node];
            engine.last += 1;
            engine.queue.push_back((engine.last, sent.indexes.clone()));
            sent.task = Some(engine.last);
        }
    }

    /// An answer comes, gets lost, or says that the request has not come through.
    fn answer(&mut self) {
        let Some(at) = self.pick(self.sent.len()) else { return };
        let Sent { change, task, .. } = self.sent.swap_remove(at);
        match (task, self.dice.below(4)) {
            (Some(_), 0) => drop(change),
            (Some(_), 1) => change.is(Fate::Unknown),
            (Some(task), _) => change.is(Fate::Queued(task)),
            (None, _) => change.is(Fate::Refused),
        }
    }

    fn work(&mut self, node: usize) {
        let engine = &mut self.engines[node];
        let Some((task, indexes)) = engine.queue.pop_front() else { return };
        for index in indexes {
            self.writes += 1;
            engine.content.insert(index, self.writes);
        }
        self.ended.push((node, task));
    }

    fn look(&mut self) {
        let Some(at) = self.pick(self.lookings.len()) else { return };
        let looking = &mut self.lookings[at];
        match looking.idle {
            None => {
                let queue = &self.engines[looking.node].queue;
                looking.idle = Some(!queue.iter().any(|(_, indexes)| indexes.contains(&looking.index)));
            }
            Some(idle) => {
                let looking = self.lookings.swap_remove(at);
                if idle {
                    self.changes.saw_idle(looking.index, &name(looking.node), looking.before);
                }
            }
        }
    }

    fn read(&mut self, node: usize) {
        let Some(at) = self.pick(self.readings.len()) else { return };
        let reading = &mut self.readings[at];
        let content = self.engines[node].content.get(reading.index).copied().unwrap_or_default();
        if let Some(seen) = reading.seen.get_mut(&node) {
            seen.get_or_insert(content);
        }
    }

    fn keep(&mut self) {
        let Some(at) = self.pick(self.readings.len()) else { return };
        if self.readings[at].seen.values().all(Option::is_some) {
            let reading = self.readings.swap_remove(at);
            if reading.moment.holds() {
                self.kept.push(reading);
            }
        }
    }
}

#[test]
fn what_is_kept_is_what_nodes_would_answer_now() {
    let (mut kept, mut ended, mut of_one) = (0, 0, 0);
    for seed in 0..300 {
        let changes = Changes::default();
        let mut world = World::new(&changes, seed);
        for _ in 0..2000 {
            world.step();
        }
        kept += world.kept.len();
        ended += world.kept.iter().filter(|kept| !kept.moment.holds()).count();
        of_one += world.kept.iter().filter(|kept| kept.seen.len() == 1).count();
    }
    let enough = kept > 1000 && ended > 500 && of_one > 300;
    assert!(enough, "too little was kept for the test to mean something: {kept}, {ended}, {of_one}");
}
