//! What clients wrote and were told, and from it what may be read.
//!
//! Each document is written by one client, one write after the other. A client that was not told how a write ended never
//! touches the documents concerned again, so that write is the last of each of them: it may be there or not.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// A document as it is after a write; `None` when it is deleted.
pub type State = Option<Value>;

/// The documents of one client that are written until one of its writes ends in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    pub client: u64,
    pub generation: u64,
}

impl Family {
    /// Fields of documents that all clients write: no search looks for them as a family.
    pub const SHARED: Family = Family { client: u64::MAX, generation: 0 };
}

/// A write's place in [`History`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    Add,
    Replace,
    Update,
    Share,
    Delete,
    DeleteBatch,
    DeleteByFilter,
    /// Must fail, or be refused, and leaves nothing.
    Wrong,
}

/// How a write stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Sent, and not answered yet.
    Sent,
    Acknowledged {
        task: String,
    },
    /// Its task was seen to have succeeded at this moment.
    Succeeded {
        task: String,
        seen: Duration,
    },
    /// Its task ended otherwise.
    Failed {
        task: String,
    },
    /// Refused, timed out, cut off: there or not.
    Doubtful {
        reason: String,
    },
}

#[derive(Debug)]
struct Write {
    client: u64,
    kind: WriteKind,
    documents: Vec<String>,
    invoked: Duration,
    answered: Option<Duration>,
    standing: Standing,
}

/// A document's states in the order of the writes; before the first it is not there.
#[derive(Debug, Default)]
struct Record {
    versions: Vec<(WriteId, State)>,
}

/// How what is read at rest compares with what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Right,
    /// An acknowledged write is missing.
    Lost,
    /// Nobody ever wrote this.
    Phantom,
}

pub struct History {
    started: Instant,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    writes: Vec<Write>,
    records: BTreeMap<String, Record>,
    families: BTreeMap<Family, Vec<String>>,
    /// Positions of writes that are acknowledged and whose task has not been seen to end.
    open: Vec<usize>,
}

/// How many writes stand how.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub acknowledged: usize,
    pub doubtful: usize,
    /// Of the acknowledged.
    pub failed: usize,
    /// Sent with something wrong in them, whatever came of them.
    pub wrong: usize,
    pub unended: usize,
}

// === impl History ===

impl History {
    pub fn new() -> Self {
        Self { started: Instant::now(), book: Mutex::default() }
    }

    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// To be called before the write is sent.
    pub fn begin(&self, family: Family, kind: WriteKind, changes: Vec<(String, State)>) -> WriteId {
        let mut book = self.book.lock();
        let id = WriteId(book.writes.len());
        let documents = changes.iter().map(|(document, _)| document.clone()).collect();
        let (client, invoked) = (family.client, self.now());
        book.writes.push(Write { client, kind, documents, invoked, answered: None, standing: Standing::Sent });
        for (document, state) in changes {
            if !book.records.contains_key(&document) {
                book.families.entry(family).or_default().push(document.clone());
            }
            book.records.entry(document).or_default().versions.push((id, state));
        }
        id
    }

    pub fn acknowledged(&self, write: WriteId, task: String) {
        let mut book = self.book.lock();
        book.open.push(write.0);
        book.answer(write, self.now(), Standing::Acknowledged { task });
    }

    pub fn doubtful(&self, write: WriteId, reason: String) {
        self.book.lock().answer(write, self.now(), Standing::Doubtful { reason });
    }

    /// The tasks that are not known to have ended, oldest first.
    pub fn open_tasks(&self) -> Vec<(WriteId, String)> {
        let book = self.book.lock();
        let task = |position: &usize| match &book.writes[*position].standing {
            Standing::Acknowledged { task } => Some((WriteId(*position), task.clone())),
            Standing::Sent | Standing::Succeeded { .. } | Standing::Failed { .. } | Standing::Doubtful { .. } => None,
        };
        book.open.iter().filter_map(task).collect()
    }

    pub fn is_wrong(&self, write: WriteId) -> bool {
        self.book.lock().writes[write.0].kind == WriteKind::Wrong
    }

    /// The task of an acknowledged write was seen to have ended.
    pub fn ended(&self, write: WriteId, succeeded: bool) {
        let seen = self.now();
        let mut book = self.book.lock();
        book.open.retain(|position| *position != write.0);
        let standing = &mut book.writes[write.0].standing;
        if let Standing::Acknowledged { task } = standing {
            let task = std::mem::take(task);
            *standing = if succeeded { Standing::Succeeded { task, seen } } else { Standing::Failed { task } };
        }
    }

    /// The newest families of each client.
    pub fn families(&self, newest: usize) -> Vec<Family> {
        let book = self.book.lock();
        let mut by_client: BTreeMap<u64, Vec<Family>> = BTreeMap::new();
        for family in book.families.keys().filter(|family| **family != Family::SHARED) {
            by_client.entry(family.client).or_default().push(*family);
        }
        by_client.into_values().flat_map(|families| families.into_iter().rev().take(newest)).collect()
    }

    pub fn documents_of(&self, family: Family) -> Vec<String> {
        self.book.lock().families.get(&family).cloned().unwrap_or_default()
    }

    /// The states that a read between `since` and `until` may find; `None` for a document that nobody wrote.
    pub fn legal(&self, document: &str, since: Duration, until: Duration) -> Option<Vec<State>> {
        let book = self.book.lock();
        let record = book.records.get(document)?;
        Some(book.legal(record, since, until))
    }

    /// What must be there when all is at rest, by document: one state, or two where the last write is in doubt.
    pub fn at_rest(&self) -> BTreeMap<String, Vec<State>> {
        let book = self.book.lock();
        book.records.iter().map(|(document, record)| (document.clone(), book.final_states(record))).collect()
    }

    /// Judges what was found of a document at rest.
    pub fn judge(&self, document: &str, found: &State) -> Verdict {
        let book = self.book.lock();
        let Some(record) = book.records.get(document) else {
            return if found.is_none() { Verdict::Right } else { Verdict::Phantom };
        };
        if book.final_states(record).contains(found) {
            Verdict::Right
        } else if found.is_none() || record.versions.iter().any(|(_, state)| state == found) {
            Verdict::Lost
        } else {
            Verdict::Phantom
        }
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for write in &self.book.lock().writes {
            counts.wrong += usize::from(write.kind == WriteKind::Wrong);
            match write.standing {
                Standing::Acknowledged { .. } => {
                    counts.acknowledged += 1;
                    counts.unended += 1;
                }
                Standing::Succeeded { .. } => counts.acknowledged += 1,
                Standing::Failed { .. } => {
                    counts.acknowledged += 1;
                    counts.failed += 1;
                }
                Standing::Sent | Standing::Doubtful { .. } => counts.doubtful += 1,
            }
        }
        counts
    }

    /// All that was written to one document, to be read by a person.
    pub fn tell(&self, document: &str) -> String {
        let book = self.book.lock();
        let versions = book.records.get(document).into_iter().flat_map(|record| &record.versions);
        let line = |(write, state): &(WriteId, State)| {
            let Write { kind, invoked, answered, standing, .. } = &book.writes[write.0];
            let state = state.as_ref().map_or_else(|| "absent".to_owned(), Value::to_string);
            format!("    {invoked:.3?}..{answered:.3?} {kind:?} {standing:?} -> {state}\n")
        };
        versions.map(line).collect()
    }

    /// Writes every operation to a file, one line of JSON each.
    pub fn dump(&self, path: &Path) -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for (number, write) in self.book.lock().writes.iter().enumerate() {
            let line = json!({
                "write": number, "client": write.client, "kind": format!("{:?}", write.kind),
                "invoked": write.invoked.as_secs_f64(), "answered": write.answered.map(|at| at.as_secs_f64()),
                "standing": format!("{:?}", write.standing), "documents": write.documents,
            });
            writeln!(file, "{line}")?;
        }
        file.flush()
    }
}

// === impl Book ===

impl Book {
    fn answer(&mut self, write: WriteId, at: Duration, standing: Standing) {
        let write = &mut self.writes[write.0];
        write.answered = Some(at);
        write.standing = standing;
    }

    /// From the last state that was surely reached before the read began, to the last whose write had been sent before it
    /// was over.
    fn legal(&self, record: &Record, since: Duration, until: Duration) -> Vec<State> {
        let reached = |(write, _): &(WriteId, State)| match self.writes[write.0].standing {
            Standing::Succeeded { seen, .. } => seen <= since,
            Standing::Sent | Standing::Acknowledged { .. } | Standing::Failed { .. } | Standing::Doubtful { .. } => {
                false
            }
        };
        let last = record.versions.iter().rposition(reached);
        let mut legal = if last.is_none() { vec![None] } else { Vec::new() };
        let rest = &record.versions[last.unwrap_or(0)..];
        legal.extend(
            rest.iter().filter(|(write, _)| self.writes[write.0].invoked <= until).map(|(_, state)| state.clone()),
        );
        legal
    }

    fn final_states(&self, record: &Record) -> Vec<State> {
        let certain = |(write, _): &&(WriteId, State)| match self.writes[write.0].standing {
            Standing::Acknowledged { .. } | Standing::Succeeded { .. } | Standing::Failed { .. } => true,
            Standing::Sent | Standing::Doubtful { .. } => false,
        };
        let mut states = Vec::new();
        for version in record.versions.iter().rev() {
            states.push(version.1.clone());
            if certain(&version) {
                return states;
            }
        }
        states.push(None);
        states
    }
}
