//! Reads a body and collects each document, with its shard, for the nodes that own it.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::super::body::BodySource;
use super::super::vocabulary::{Gathered, Gatherer};
use super::ids::Ids;
use super::payloads::{Part, Payloads};
use crate::ledger::touched::MANY_KEYS;
use crate::meili::error::{Code, ResponseError};
use crate::nodes::overload::overloaded;
use crate::nodes::overload::spool_budget::SpoolBudget;
use crate::nodes::spool::{Spool, SpoolWriter};
use crate::placement::document::shard_of;
use crate::placement::topology::Topology;
use crate::placement::vocabulary::is_words_id;
use crate::placement::written::{Places, Written};
use crate::rules::making::Making;
use crate::rules::on_document::Rejected;
use crate::rules::shape::Fit;
use crate::split::document::HiddenFields;
use crate::split::primary_key::{IdError, document_id, infer};
use crate::split::rules::{Checked, Checker, DocumentRules, Meets, Refusal};
use crate::split::{Document, PayloadFormat, Splitter};
use crate::write::order::Batches;
use crate::write::settings::WriteSettings;

/// More fields before the key are not remembered.
const MANY_LEADING: usize = 200;

/// How much is split between two looks at the spools, and without letting others run.
const PIECE: usize = 64 << 10;

/// Collects the documents of one batch.
pub(super) struct Collector<'a> {
    topology: &'a Topology,
    max_document: usize,
    fields: Arc<HiddenFields>,
    batches: &'a Batches,
    places: Places,
    /// `None` until the first document suggests one.
    primary_key: Option<String>,
    /// The documents as they came, for a second pass by another key.
    unsplit: Option<SpoolWriter>,
    payloads: Payloads,
    received: u64,
    /// Why the batch will fail. The rest of the body is only checked for being well-formed.
    error: Option<IdError>,
    /// What else is wrong. The engine looks at all ids first.
    checker: Checker,
    /// The fields before the key in the document that suggested it.
    leading: Vec<String>,
    /// The ids, where somebody wants to know them and they are not too many.
    keys: Option<Vec<String>>,
    /// The new words of the documents, where nodes share words.
    words: Option<Gatherer>,
    takes: Takes,
    line: Vec<u8>,
    /// What is made of each document before anything else.
    makings: Arc<[Making]>,
}

/// Which documents of a body go to nodes.
enum Takes {
    All,
    /// None: only their ids are gathered, each once, and the body is kept.
    Ids(Ids),
    /// Those whose ids are among these.
    Existing(HashSet<String>),
}

/// Why a batch fails as a whole.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum BatchError {
    Id(IdError),
    Document(Refusal),
}

/// A body that was read to its end.
#[derive(Clone)]
pub(super) struct Collected {
    /// Documents in the body, each time that one comes.
    pub received: u64,
    /// The key that the documents were split by.
    pub primary_key: Option<String>,
    /// The fields before the key in the document that it was guessed from.
    pub leading: Vec<String>,
    /// Why the batch fails as a whole.
    pub error: Option<BatchError>,
    /// What else is known of the documents.
    pub checked: Checked,
    /// In the order of nodes, and for one node in the order of the body.
    pub parts: Vec<Part>,
    /// The ids of the documents, if they were wanted and are not too many.
    pub keys: Option<Vec<String>>,
    /// The documents as they came, if the key was guessed.
    pub unsplit: Option<Vec<Spool>>,
    /// Their new words, where nodes share words.
    pub words: Option<Gathered>,
    /// All ids, if that was asked.
    pub ids: Ids,
}

/// Where the bytes come from.
pub(super) enum Source<'a> {
    Body(&'a mut dyn BodySource),
    Spools(&'a [Spool]),
}

// === impl Collector ===

impl<'a> Collector<'a> {
    /// Splits by `primary_key`.
    pub(super) fn new(
        topology: &'a Topology,
        settings: &WriteSettings,
        batches: &'a Batches,
        primary_key: String,
    ) -> Self {
        Self {
            topology,
            max_document: usize::try_from(settings.max_payload_size).unwrap_or(usize::MAX),
            fields: HiddenFields::shared(topology.shards),
            batches,
            places: batches.next(),
            primary_key: Some(primary_key),
            unsplit: None,
            payloads: Payloads::new(topology, settings),
            received: 0,
            error: None,
            checker: Checker::new(DocumentRules::default(), Meets::Replacing),
            leading: Vec::new(),
            keys: None,
            words: None,
            takes: Takes::All,
            line: Vec::new(),
            makings: Arc::default(),
        }
    }

    /// Splits by the key that the first document suggests.
    pub(super) fn guessing(topology: &'a Topology, settings: &WriteSettings, batches: &'a Batches) -> Self {
        let unsplit = SpoolWriter::new(settings.spool_memory, u64::MAX);
        Self { primary_key: None, unsplit: Some(unsplit), ..Self::new(topology, settings, batches, String::new()) }
    }

    /// Only checks and counts: the batch fails with `error` if its body is well-formed.
    pub(super) fn refusing(
        topology: &'a Topology,
        settings: &WriteSettings,
        batches: &'a Batches,
        error: IdError,
    ) -> Self {
        Self { primary_key: None, error: Some(error), ..Self::new(topology, settings, batches, String::new()) }
    }

    /// Sends nothing: only gathers the ids, and keeps the body for a second pass.
    pub(super) fn listing(mut self, settings: &WriteSettings) -> Self {
        self.takes = Takes::Ids(Ids::default());
        self.unsplit.get_or_insert_with(|| SpoolWriter::new(settings.spool_memory, u64::MAX));
        self
    }

    /// Makes of each document what `makings` say, and then looks at it.
    pub(super) fn making(self, makings: Arc<[Making]>) -> Self {
        Self { makings, ..self }
    }

    /// Takes only the documents with these ids.
    pub(super) fn only(self, ids: HashSet<String>) -> Self {
        Self { takes: Takes::Existing(ids), ..self }
    }

    /// Counts what is spooled against `budget`.
    pub(super) fn within(mut self, budget: &Arc<SpoolBudget>) -> Self {
        if let Some(unsplit) = &mut self.unsplit {
            unsplit.within(budget);
        }
        self.payloads.within(budget);
        self
    }

    /// Also gathers new words, by whoever does.
    pub(super) fn gathering_words(mut self, gatherer: Option<Gatherer>, budget: &Arc<SpoolBudget>) -> Self {
        self.words = gatherer;
        if let Some(words) = &mut self.words {
            words.within(budget);
        }
        self
    }

    /// Checks documents by `rules` and what holds in any index.
    pub(super) fn checking(self, rules: DocumentRules, meets: Meets) -> Self {
        Self { checker: Checker::new(rules, meets), ..self }
    }

    /// Also gathers the ids if `gathers`.
    pub(super) fn gathering_keys(self, gathers: bool) -> Self {
        Self { keys: gathers.then(Vec::new), ..self }
    }

    /// Reads to the end; `None` if there was not a single byte.
    pub(super) async fn read(
        mut self,
        mut source: Source<'_>,
        format: PayloadFormat,
    ) -> Result<Option<Collected>, ResponseError> {
        let mut splitter = Splitter::new(format, self.max_document);
        let mut any = false;
        match &mut source {
            Source::Body(body) => {
                while let Some(chunk) = body.next().await? {
                    any |= !chunk.is_empty();
                    self.take(&mut splitter, chunk).await?;
                }
            }
            Source::Spools(spools) => {
                for spool in *spools {
                    let mut reader = spool.reader();
                    while let Some(chunk) = reader.next().await.map_err(|error| spool_failed(&error))? {
                        any = true;
                        self.take(&mut splitter, chunk).await?;
                    }
                }
            }
        }
        if !any {
            return Ok(None);
        }
        splitter.finish(&mut |document| self.add(document))?;
        self.finish().await.map(Some).map_err(|error| spool_failed(&error))
    }

    async fn take(&mut self, splitter: &mut Splitter, mut chunk: Bytes) -> Result<(), ResponseError> {
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(PIECE));
            splitter.push(&piece, &mut |document| self.add(document))?;
            self.spill().await.map_err(|error| spool_failed(&error))?;
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    fn add(&mut self, document: &Document<'_>) -> Result<(), ResponseError> {
        if self.makings.is_empty() {
            return self.take_in(document);
        }
        let makings = Arc::clone(&self.makings);
        let place = self.received + 1;
        let mut changed: Option<String> = None;
        for making in makings.iter() {
            let fit = match &changed {
                None => making.fit(document, self.primary_key.as_deref()),
                Some(text) => making.fit(&parsed(text, place)?, self.primary_key.as_deref()),
            };
            match fit.map_err(|rejected| refused(place, rejected))? {
                Fit::AsItIs => {}
                Fit::Changed(text) => changed = Some(text),
                Fit::Skipped => return Ok(()),
            }
        }
        match &changed {
            None => self.take_in(document),
            Some(text) => self.take_in(&parsed(text, place)?),
        }
    }

    fn take_in(&mut self, document: &Document<'_>) -> Result<(), ResponseError> {
        self.received += 1;
        if let Some(field) = document.reserved_field() {
            let message = format!("The document field `{field}` is reserved.");
            return Err(ResponseError::new(Code::MiroirReservedField, message));
        }
        if let Some(unsplit) = &mut self.unsplit {
            self.line.clear();
            self.line.extend_from_slice(document.raw().as_bytes());
            self.line.push(b'\n');
            unsplit.append(&self.line);
        }
        if self.error.is_none() {
            self.error = self.place(document).err();
        }
        Ok(())
    }

    /// Adds the document to the payloads of all owners of its shard.
    fn place(&mut self, document: &Document<'_>) -> Result<(), IdError> {
        let primary_key = match &mut self.primary_key {
            Some(key) => key,
            none => {
                let key = none.insert(infer(document)?);
                let names = document.fields().iter().map(|(name, _)| name.as_ref());
                self.leading = names.take_while(|name| name != key).take(MANY_LEADING).map(str::to_owned).collect();
                key
            }
        };
        let id = document_id(document, primary_key)?;
        if is_words_id(&id) {
            return Err(IdError::Reserved { id: id.into_owned() });
        }
        let shard = shard_of(&id, self.topology.shards);
        match &mut self.takes {
            Takes::All => {}
            Takes::Ids(ids) => {
                ids.take(id.into_owned(), shard);
                return Ok(());
            }
            Takes::Existing(ids) if !ids.contains(&*id) => return Ok(()),
            Takes::Existing(_) => {}
        }
        self.checker.take(document, &id, shard);
        self.keys = self.keys.take().filter(|keys| keys.len() < MANY_KEYS);
        if let Some(keys) = &mut self.keys {
            keys.push(id.to_string());
        }
        let (places, batches) = (&mut self.places, self.batches);
        if let Some(words) = &mut self.words {
            words.take(document, primary_key, &mut || next_place(places, batches));
        }
        let written = next_place(places, batches);
        self.line.clear();
        self.fields.splice(document.raw(), shard, written, &mut self.line);
        self.payloads.append(self.topology.owners_of(shard), shard, &self.line);
        Ok(())
    }

    async fn spill(&mut self) -> io::Result<()> {
        if let Some(unsplit) = &mut self.unsplit {
            unsplit.spill().await?;
        }
        if let Some(words) = &mut self.words {
            words.spill().await?;
        }
        self.payloads.spill().await
    }

    async fn finish(mut self) -> io::Result<Collected> {
        // As in the engine, a body without documents minds no other key.
        if self.received == 0
            && let Some(IdError::Changed { stored }) =
                self.error.take_if(|error| matches!(error, IdError::Changed { .. }))
        {
            self.primary_key = Some(stored);
        }
        let mut checked = self.checker.finish();
        let error = self.error.map(BatchError::Id).or(checked.refusal.take().map(BatchError::Document));
        let unsplit = match self.unsplit {
            Some(unsplit) => Some(unsplit.finish().await?),
            None => None,
        };
        let (places, batches) = (&mut self.places, self.batches);
        let words = match self.words.filter(|_| error.is_none()) {
            Some(words) => Some(words.finish(self.primary_key.as_deref(), &mut || next_place(places, batches)).await?),
            None => None,
        };
        if let Some(words) = &words {
            self.payloads.append_words(&words.spools).await?;
        }
        let parts = if error.is_some() { Vec::new() } else { self.payloads.finish().await? };
        let (received, primary_key, keys) = (self.received, self.primary_key, self.keys);
        let ids = match self.takes {
            Takes::Ids(ids) => ids,
            Takes::All | Takes::Existing(_) => Ids::default(),
        };
        let leading = self.leading;
        Ok(Collected { received, primary_key, leading, error, checked, parts, keys, unsplit, words, ids })
    }
}

/// A document that a rule has changed.
fn parsed(text: &str, place: u64) -> Result<Document<'_>, ResponseError> {
    Document::parse(text).map_err(|error| refused(place, Rejected::Document(error.to_string())))
}

/// The body has a document that a rule does not let in.
fn refused(place: u64, rejected: Rejected) -> ResponseError {
    let (status, message) = match rejected {
        Rejected::Document(why) => (400, format!("Document {place} of the body: {why}.")),
        Rejected::Rule(why) => (500, why),
    };
    ResponseError { status, ..ResponseError::new(Code::MiroirRefused, message) }
}

// === impl BatchError ===

impl BatchError {
    /// The error as the task of a batch for `index` shows it.
    pub(super) fn to_response(&self, index: &str) -> ResponseError {
        match self {
            Self::Id(error) => error.clone().into(),
            Self::Document(error) => ResponseError::new(error.code(), format!("Index `{index}`: {error}")),
        }
    }
}

fn next_place(places: &mut Places, batches: &Batches) -> Written {
    loop {
        if let Some(place) = places.take() {
            return place;
        }
        *places = batches.next();
    }
}

/// The client's answer when the gateway cannot keep its body.
pub(super) fn spool_failed(error: &io::Error) -> ResponseError {
    if error.kind() == io::ErrorKind::QuotaExceeded {
        return overloaded("The bodies of the writes under way fill the spools.");
    }
    tracing::error!(%error, "cannot spool a payload");
    match error.kind() {
        io::ErrorKind::StorageFull => ResponseError::new(
            Code::NoSpaceLeftOnDevice,
            "There is no more space left on the device. Consider increasing the size of the disk/partition.",
        ),
        _ => ResponseError::new(Code::Internal, "The payload could not be stored."),
    }
}
