//! Proves from the history that nothing acknowledged was lost, nothing came twice, and nothing was made up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::clients::{INDEX, WORDS, id_of, shared_field};
use super::history::{Family, History, State, Verdict};
use super::view::View;
use crate::support::client::Reply;
use crate::support::client::holds_words;
use crate::support::random::Dice;
use crate::support::{Client, Fleet};

/// What went wrong, by kind. All must stay empty.
#[derive(Default)]
pub struct Problems {
    found: Mutex<BTreeMap<Problem, Vec<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// An acknowledged write is not there.
    Lost,
    /// An answer that was right at no moment while it was asked for.
    Wrong,
    /// A document came twice in one answer, or a node carried a write out twice.
    Twice,
    /// Something that nobody wrote.
    Phantom,
    /// Replicas differ at rest, or a node holds what it does not own.
    Unequal,
    /// A task that does not end, or a cluster that does not become whole again.
    Stuck,
}

/// Parts of a heavy filter.
const HEAVY: usize = 300;

/// What one search asks for.
#[derive(Debug)]
pub struct Question {
    family: Family,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// All of a family's documents, with their groups counted.
    Search,
    /// As pages are asked for, whose totals are exact.
    Page,
    /// Those with a word.
    Word(&'static str),
    /// All of them, by a filter of hundreds of parts.
    Heavy,
    /// All of them, by a page much longer than the index.
    Huge,
    /// The documents route.
    Fetch,
    /// One document.
    Get(String),
}

// === impl Problem ===

impl Problem {
    pub const ALL: [Problem; 6] = [Self::Lost, Self::Wrong, Self::Twice, Self::Phantom, Self::Unequal, Self::Stuck];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Wrong => "wrong",
            Self::Twice => "duplicate",
            Self::Phantom => "phantom",
            Self::Unequal => "unequal replicas",
            Self::Stuck => "stuck",
        }
    }
}

// === impl Problems ===

impl Problems {
    pub fn add(&self, problem: Problem, text: String) {
        self.found.lock().entry(problem).or_default().push(text);
    }

    pub fn wrong(&self, text: String) {
        self.add(Problem::Wrong, text);
    }

    pub fn lost(&self, text: String) {
        self.add(Problem::Lost, text);
    }

    pub fn count(&self, problem: Problem) -> usize {
        self.found.lock().get(&problem).map_or(0, Vec::len)
    }

    pub fn total(&self) -> usize {
        Problem::ALL.iter().map(|problem| self.count(*problem)).sum()
    }

    /// The first few of each kind.
    pub fn tell(&self) -> String {
        let found = self.found.lock();
        let mut told = String::new();
        for (problem, texts) in found.iter() {
            for text in texts.iter().take(8) {
                told += &format!("{}: {text}\n", problem.as_str());
            }
        }
        told
    }
}

// === impl Question ===

impl Question {
    pub fn random(dice: &mut Dice, families: &[Family], history: &History) -> Self {
        let family = *dice.one(families);
        let form = match dice.range(0, 11) {
            0..3 => Form::Search,
            3..5 => Form::Page,
            5..7 => Form::Word(dice.one::<&str>(&WORDS)),
            7 | 8 => Form::Fetch,
            9 => Form::Heavy,
            10 => Form::Huge,
            _ => match history.documents_of(family).as_slice() {
                [] => Form::Search,
                documents => Form::Get(dice.one(documents).clone()),
            },
        };
        Self { family, form }
    }

    pub fn ask(&self, client: &Client) -> Result<Reply, String> {
        let Family { client: writer, generation } = self.family;
        let filter = format!("client = {writer} AND generation = {generation}");
        let (method, path, body) = match &self.form {
            Form::Search => ("POST", "search", json!({"filter": filter, "limit": 1000, "facets": ["group"]})),
            Form::Page => ("POST", "search", json!({"filter": filter, "hitsPerPage": 1000, "sort": ["v:desc"]})),
            Form::Word(word) => ("POST", "search", json!({"q": word, "filter": filter, "limit": 1000})),
            Form::Heavy => {
                let parts = (0..HEAVY).map(|n| format!("group = {}", n % 7)).collect::<Vec<_>>().join(" OR ");
                ("POST", "search", json!({"filter": format!("{filter} AND ({parts})"), "limit": 1000}))
            }
            Form::Huge => ("POST", "search", json!({"filter": filter, "limit": 100_000})),
            Form::Fetch => ("POST", "documents/fetch", json!({"filter": filter, "limit": 1000})),
            Form::Get(id) => ("GET", "documents", json!(id)),
        };
        let path = match &self.form {
            Form::Get(id) => format!("/indexes/{INDEX}/{path}/{id}"),
            Form::Search | Form::Page | Form::Word(_) | Form::Heavy | Form::Huge | Form::Fetch => {
                format!("/indexes/{INDEX}/{path}")
            }
        };
        if method == "GET" {
            return client.try_send(method, &path, &[], b"");
        }
        client.try_send(method, &path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// True when a document in this state answers the question.
    fn wants(&self, state: &State) -> bool {
        match (&self.form, state) {
            (_, None) => false,
            (Form::Word(word), Some(document)) => document["text"] == *word,
            (Form::Search | Form::Page | Form::Heavy | Form::Huge | Form::Fetch | Form::Get(_), Some(_)) => true,
        }
    }

    pub fn check(&self, reply: &Reply, history: &History, since: Duration, until: Duration, problems: &Problems) {
        if !matches!(reply.status, 200 | 404) {
            return;
        }
        let degraded = reply.header("x-miroir-degraded");
        let complete = degraded.is_none();
        // By a view that may be of before: what it finds was there at some time.
        let since = if degraded.is_some_and(|why| why.contains("view")) { Duration::ZERO } else { since };
        let Ok(answer) = serde_json::from_str::<Value>(&reply.text) else {
            return problems.wrong(format!("an answer is no JSON: {}", reply.text));
        };
        let tell = |id: &str, text: &str| {
            format!(
                "{self:?}, {text}: document {id}, read between {since:.3?} and {until:.3?}; written:\n{}",
                history.tell(id)
            )
        };
        if let Form::Get(id) = &self.form {
            let found = if reply.status == 200 { Some(answer) } else { None };
            let legal = history.legal(id, since, until).unwrap_or_default();
            if !legal.contains(&found) && (complete || found.is_some()) {
                problems.wrong(tell(id, &format!("got {found:?}")));
            }
            return;
        }
        if reply.status == 404 {
            return problems.wrong(format!("the index is not found: {}", reply.text));
        }
        let list = answer["hits"].as_array().or(answer["results"].as_array());
        let hits: &[Value] = list.map_or(&[], Vec::as_slice);
        let mut seen = BTreeSet::new();
        for hit in hits {
            let id = id_of(hit);
            if !seen.insert(id.clone()) {
                problems.add(Problem::Twice, tell(&id, "it came twice in one answer"));
            }
            let state = Some(hit.clone());
            match history.legal(&id, since, until) {
                None => problems.add(Problem::Phantom, format!("nobody wrote {hit}")),
                Some(legal) if legal.contains(&state) && self.wants(&state) => {}
                Some(_) => problems.wrong(tell(&id, &format!("got {hit}"))),
            }
        }
        if !complete {
            return;
        }
        for id in history.documents_of(self.family).iter().filter(|id| !seen.contains(*id)) {
            let legal = history.legal(id, since, until).unwrap_or_default();
            if !legal.is_empty() && legal.iter().all(|state| self.wants(state)) {
                problems.wrong(tell(id, "it is missing"));
            }
        }
        self.check_totals(&answer, hits, problems);
    }

    /// Counts in an answer that holds everything are those of what it holds.
    fn check_totals(&self, answer: &Value, hits: &[Value], problems: &Problems) {
        let total = match self.form {
            Form::Search | Form::Word(_) | Form::Heavy | Form::Huge => &answer["estimatedTotalHits"],
            Form::Page => &answer["totalHits"],
            Form::Fetch => &answer["total"],
            Form::Get(_) => return,
        };
        if *total != hits.len() {
            problems.wrong(format!("{self:?}: {} hits, and the answer counts {total}", hits.len()));
        }
        if let Some(groups) = answer["facetDistribution"]["group"].as_object() {
            let counted: u64 = groups.values().filter_map(Value::as_u64).sum();
            if counted != hits.len() as u64 {
                problems.wrong(format!("{self:?}: {} hits, and their groups count {counted}", hits.len()));
            }
        }
    }
}

/// Everything at rest: the cluster's listing and each node's documents against the history, and each node's tasks.
pub fn check_at_rest(fleet: &Fleet, gateways: &[Client], history: &History, problems: &Problems) {
    let listed = listing(&fleet.client, problems);
    for gateway in gateways {
        if listing(gateway, problems) != listed {
            problems.add(Problem::Unequal, format!("{} does not list what others list", gateway.url));
        }
    }
    for (name, state) in states(listed.values()) {
        report(history, &name, &Some(state), "the cluster", problems);
    }
    let there: BTreeSet<String> = states(listed.values()).into_keys().collect();
    for (name, legal) in history.at_rest() {
        if !there.contains(&name) && !legal.contains(&None) {
            problems.lost(format!("{name} is not listed; written:\n{}", history.tell(&name)));
        }
    }
    match View::of(&fleet.admin) {
        Ok(view) => check_replicas(fleet, &view.members, &listed, problems),
        Err(reason) => problems.add(Problem::Stuck, reason),
    }
    for node in &fleet.nodes {
        check_stamps(&node.name, &node.client, problems);
    }
}

fn report(history: &History, name: &str, found: &State, place: &str, problems: &Problems) {
    let text = || format!("{place} holds {found:?} as {name}; written:\n{}", history.tell(name));
    match history.judge(name, found) {
        Verdict::Right => {}
        Verdict::Lost => problems.lost(text()),
        Verdict::Phantom => problems.add(Problem::Phantom, text()),
    }
}

/// Documents as the history names them: those that are shared, field by field.
fn states<'a>(documents: impl Iterator<Item = &'a Value>) -> BTreeMap<String, Value> {
    let mut states = BTreeMap::new();
    for document in documents {
        let id = id_of(document);
        if !id.starts_with("shared-") {
            states.insert(id, document.clone());
            continue;
        }
        for (field, value) in document.as_object().into_iter().flatten().filter(|(field, _)| *field != "id") {
            states.insert(shared_field(&id, field), value.clone());
        }
    }
    states
}

/// All documents of the index by id, page by page.
fn listing(client: &Client, problems: &Problems) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut offset = 0;
    loop {
        let page = client.get(&format!("/indexes/{INDEX}/documents?limit=1000&offset={offset}")).ok();
        let results = page["results"].as_array().cloned().unwrap_or_default();
        offset += results.len();
        let last = results.is_empty() || offset as u64 >= page["total"].as_u64().unwrap_or(0);
        for document in results {
            let id = id_of(&document);
            if found.insert(id.clone(), document).is_some() {
                problems.add(Problem::Twice, format!("{} lists {id} twice", client.url));
            }
        }
        if last {
            return found;
        }
    }
}

/// Every owner of a document's shard holds it as the cluster lists it, and nobody else does.
fn check_replicas(fleet: &Fleet, members: &[String], listed: &BTreeMap<String, Value>, problems: &Problems) {
    let topology = fleet.admin.get("/shards").ok();
    let rows = topology["shards"].as_array().cloned().unwrap_or_default();
    let owners: Vec<BTreeSet<String>> = rows
        .iter()
        .map(|row| {
            row["owners"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        })
        .collect();
    let mut holders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut shards: BTreeMap<String, usize> = BTreeMap::new();
    for node in fleet.nodes.iter().filter(|node| members.contains(&node.name)) {
        for (id, mut document) in
            listing(&node.client, problems).into_iter().filter(|(_, document)| !holds_words(document))
        {
            shards.insert(id.clone(), shard_number(&document["_miroir_shard"]));
            document.as_object_mut().expect("a document").retain(|field, _| !field.starts_with("_miroir"));
            if listed.get(&id) != Some(&document) {
                let text = format!("{} holds {document}, the cluster lists {:?}", node.name, listed.get(&id));
                problems.add(Problem::Unequal, text);
            }
            holders.entry(id).or_default().insert(node.name.clone());
        }
    }
    for (id, holders) in holders {
        let owners = &owners[shards[&id]];
        if holders != *owners {
            problems.add(Problem::Unequal, format!("{id} is owned by {owners:?} and held by {holders:?}"));
        }
    }
}

/// The hidden field holds the shard's binary digits, written with `{` for 0 and `}` for 1.
fn shard_number(hidden: &Value) -> usize {
    let digits = hidden.as_str().unwrap_or_default().chars();
    digits.fold(0, |number, digit| number * 2 + usize::from(digit == '}'))
}

/// A node has each write once: these are all small enough to leave as one task.
fn check_stamps(name: &str, client: &Client, problems: &Problems) {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut from = String::new();
    loop {
        let page = client.get(&format!("/tasks?limit=1000{from}")).ok();
        for task in page["results"].as_array().into_iter().flatten() {
            // Small writes may have travelled together: `mtask-..:1,mtask-..:2`.
            let stamps = task["customMetadata"].as_str().into_iter().flat_map(|stamps| stamps.split(','));
            for stamp in stamps.filter(|stamp| stamp.starts_with("mtask-")) {
                let stamp = stamp.split(':').next().unwrap_or_default();
                *seen.entry(stamp.to_owned()).or_default() += 1;
            }
        }
        match page["next"].as_u64() {
            Some(next) => from = format!("&from={next}"),
            None => break,
        }
    }
    for (stamp, times) in seen.into_iter().filter(|(_, times)| *times > 1) {
        problems.add(Problem::Twice, format!("{name} was given the write {stamp} {times} times"));
    }
}
