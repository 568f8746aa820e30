//! Every node knows all words of an index: documents of words (`placement/vocabulary.rs`) carry to each node what it lacks.
//!
//! A write brings the words that nobody has seen before to all nodes. Which words are known is remembered as numbers and read
//! again from the nodes after a start: to know too few only repeats some. Nothing here decides what is lost
//! or kept: a node that lacks words finds a little more or less through typos and beginnings, until it has caught up.
//!
//! | file | what |
//! |---|---|
//! | `gather` | the new words of one body |
//! | `waiting` | words of a body that are looked for many at a time |
//! | `nodes` | what nodes are asked and sent |
//! | `way` | what a write does about words before it is sent |
//! | `keep` | in the background: nodes that have missed some, words that no document has any more |

mod gather;
pub mod keep;
mod nodes;
mod waiting;
mod way;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

pub use self::gather::{Gathered, Gatherer};
pub use self::nodes::spread;
pub use self::way::{apart_from_words, gatherer, make_way, make_way_on, went_alone};
use crate::meili::task::DocumentsChange;
use crate::placement::text_set::{TextKey, TextSet};
use crate::placement::topology::{NodeId, Topology};
use crate::placement::vocabulary::WORD_SEPARATOR;
use crate::plan::write::{RegistryChange, WriteIntent};
use crate::split::words::WordRules;
use crate::store::{Store, StoreError};

/// The fact of the store that holds [`Durable`] of all indexes.
const VOCABULARIES: &str = "vocabularies";
/// More words of one index are not kept: they take eight bytes each or more here, and their text on every node.
const MOST_WORDS: usize = 2_000_000;
/// How many words one document holds: few enough for their positions, which the engine counts in 16 bits and by eight between
/// two.
const WORDS: usize = 512;
/// So many documents of words there may be that hold fewer, before they are put together.
const MOST_PIECES: usize = 200;

/// The vocabularies of all indexes.
#[derive(Default)]
pub struct Vocabularies {
    all: Mutex<HashMap<String, Arc<Vocabulary>>>,
}

/// While it lives, nobody looks after the words of an index.
pub type Tended = tokio::sync::OwnedMutexGuard<()>;

/// How long a change waits for words that are being read.
const TENDED_WITHIN: Duration = Duration::from_secs(10);

/// What is known of the words of one index.
pub struct Vocabulary {
    state: RwLock<State>,
    /// Held while the index is looked after, and while words make way for embedders.
    tending: Arc<tokio::sync::Mutex<()>>,
    /// Nodes that were sent words by themselves, and may not have worked them off.
    alone: Mutex<BTreeSet<NodeId>>,
}

struct State {
    rules: WordRules,
    /// Each in the class of its field.
    known: TextSet,
    /// True once `known` was read from a node, or there was nothing to be read.
    loaded: bool,
    /// Grows whenever what was known is given up.
    epoch: u64,
    kept: Durable,
    /// True once it is known whether an index without documents of words has documents.
    looked: bool,
    /// Some node may lack documents of words, or have some that are outdated.
    may_differ: bool,
    last_write: Instant,
    /// Since when its words are in doubt, if they are.
    doubted: Instant,
    /// How many documents of words there are, as far as is known.
    pieces: usize,
    /// When it was last made anew, and how long that took.
    made: Option<(Instant, Duration)>,
}

/// What must survive a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Durable {
    /// Documents of words whose id is less are outdated. `None` while the index has none.
    floor: Option<String>,
    /// Nodes may know words that no document has any more, or lack some that one has.
    dirty: bool,
}

/// A document of words.
struct Text {
    pub id: String,
    /// Which field holds the words.
    pub field: String,
    pub words: String,
}

// === impl Vocabularies ===

impl Vocabularies {
    /// Reads what is durable.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let kept: BTreeMap<String, Durable> = match store.get_meta(VOCABULARIES).await? {
            Some(text) => {
                serde_json::from_str(&text).map_err(|source| StoreError::Corrupt { what: "vocabularies", source })?
            }
            None => BTreeMap::new(),
        };
        let all = kept.into_iter().map(|(index, kept)| (index, Arc::new(Vocabulary::new(kept)))).collect();
        Ok(Self { all: Mutex::new(all) })
    }

    fn of(&self, index: &str) -> Arc<Vocabulary> {
        let mut all = self.all.lock();
        Arc::clone(all.entry(index.to_owned()).or_insert_with(|| Arc::new(Vocabulary::new(Durable::default()))))
    }

    /// Hears of every write that takes its place.
    pub(crate) fn saw(&self, intent: &WriteIntent, created: Option<&str>) {
        if let Some(index) = created {
            self.of(index).is_new();
        }
        match &intent.registry {
            RegistryChange::Delete { index } => {
                self.all.lock().remove(index);
            }
            RegistryChange::Rename { from, to, .. } => self.moved(from, to),
            RegistryChange::Swap { pairs, renamed } => {
                for index in pairs.iter().flat_map(|(left, right)| [left, right]) {
                    self.of(index).doubt();
                }
                renamed.iter().for_each(|(from, to)| self.moved(from, to));
            }
            RegistryChange::None
            | RegistryChange::Create { .. }
            | RegistryChange::SetPrimaryKey { .. }
            | RegistryChange::Settings { .. }
            | RegistryChange::DynamicSearchRules => {}
        }
        let Some(index) = &intent.index_uid else { return };
        match intent.kind.change_of_documents() {
            Some(DocumentsChange::Deletion | DocumentsChange::Edition) => self.of(index).doubt(),
            Some(DocumentsChange::Addition) => self.of(index).state.write().last_write = Instant::now(),
            None => {}
        }
    }

    /// A write of the index came to nothing, and so may the words that it brought.
    pub(crate) fn lost(&self, index: &str) {
        let known = self.all.lock().get(index).map(Arc::clone);
        if let Some(vocabulary) = known {
            vocabulary.doubt();
        }
    }

    /// An index goes by another name.
    fn moved(&self, from: &str, to: &str) {
        self.all.lock().remove(from);
        self.of(to).doubt();
    }

    /// What is to be stored.
    fn durable(&self) -> BTreeMap<String, Durable> {
        let all = self.all.lock();
        let kept = all.iter().map(|(index, vocabulary)| (index.clone(), vocabulary.state.read().kept.clone()));
        kept.filter(|(_, kept)| *kept != Durable::default()).collect()
    }

    /// How many words of all indexes are known.
    fn words(&self) -> usize {
        self.all.lock().values().map(|vocabulary| vocabulary.state.read().known.len()).sum()
    }
}

// === impl Vocabulary ===

impl Vocabulary {
    fn new(kept: Durable) -> Self {
        Self {
            tending: Arc::default(),
            alone: Mutex::default(),
            state: RwLock::new(State {
                rules: WordRules::default(),
                known: TextSet::default(),
                loaded: false,
                epoch: 0,
                may_differ: kept.floor.is_some(),
                kept,
                looked: false,
                last_write: Instant::now(),
                doubted: Instant::now(),
                pieces: 0,
                made: None,
            }),
        }
    }

    /// `None` where its words are read for so long that a change cannot wait.
    async fn tended(&self, index: &str) -> Option<Tended> {
        let tended = tokio::time::timeout(TENDED_WITHIN, Arc::clone(&self.tending).lock_owned()).await;
        if tended.is_err() {
            tracing::warn!(index, "a change does not wait until the words of its index were read");
        }
        tended.ok()
    }

    /// The index has just been made: nobody knows a word of it.
    fn is_new(&self) {
        let mut state = self.state.write();
        if !state.known.is_empty() {
            state.forget();
        }
        state.loaded = true;
        state.looked = true;
        // In doubt from the start where its first documents share no words.
        state.kept.floor = Some(String::new());
    }

    /// Nodes are about to be sent documents of words. An index that had none, or whose were taken away, has some from here
    /// on, so they are taken away again before a change that is not to meet them.
    fn will_have_words(&self) {
        let mut state = self.state.write();
        if state.kept.floor.is_none() {
            state.kept.floor = Some(String::new());
            if !state.looked {
                state.doubt();
            }
        }
    }

    fn went_alone(&self, node: &NodeId) {
        self.alone.lock().insert(node.clone());
    }

    /// What was known may not be so any more.
    fn doubt(&self) {
        let mut state = self.state.write();
        state.doubt();
        state.last_write = Instant::now();
    }

    /// Settings decide what is a word and where it is kept.
    fn heed(&self, rules: &WordRules) {
        if self.state.read().rules == *rules {
            return;
        }
        let mut state = self.state.write();
        let first = state.rules == WordRules::default() && !state.loaded;
        state.rules = rules.clone();
        if !first {
            let nothing = state.known.is_empty() && state.loaded;
            if !nothing {
                state.doubt();
            }
        }
    }

    /// Remembers words that all nodes were sent, by who began with what was known in `epoch`.
    fn know(&self, words: TextSet, pieces: usize, epoch: u64) {
        let mut state = self.state.write();
        if state.epoch != epoch {
            // It left out words that are not kept any more.
            state.doubt();
            return;
        }
        state.known.extend(words);
        state.pieces += pieces;
    }

    /// Remembers the words of documents of words that a node showed.
    fn learn(&self, texts: &[Text], epoch: u64) {
        let mut state = self.state.write();
        if state.epoch != epoch {
            return;
        }
        for text in texts {
            let class = state.rules.class(&text.field);
            for word in text.words.split(WORD_SEPARATOR) {
                state.known.insert(TextKey::in_class(class, word));
            }
        }
        state.pieces += texts.len();
        state.loaded = true;
    }

    /// True if there are many more documents of words than their words need.
    fn is_scattered(&self) -> bool {
        let state = self.state.read();
        state.pieces > MOST_PIECES + 4 * state.known.len() / WORDS
    }
}

// === impl State ===

impl State {
    fn doubt(&mut self) {
        if !self.kept.dirty {
            self.kept.dirty = true;
            self.doubted = Instant::now();
        }
    }

    fn forget(&mut self) {
        self.known = TextSet::default();
        self.pieces = 0;
        self.epoch += 1;
    }
}

/// True if nodes need each other's words: some node does not hold every document.
fn parted(topology: &Topology) -> bool {
    topology.members().count() > usize::from(topology.replication_factor)
}
