//! In the background: nodes that have missed documents of words get them, and an index whose words are in doubt is read anew.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::gather::{Gatherer, Lines};
use super::nodes::{self, Held, spread};
use super::{Text, VOCABULARIES, Vocabulary, parted};
use crate::meili::uid::IndexUid;
use crate::nodes::client::Trace;
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::metrics::Loop;
use crate::nodes::node_queue;
use crate::nodes::shutdown::stopped;
use crate::placement::cover::cover;
use crate::placement::shard::{ShardSet, shard_filter};
use crate::placement::stable_hash::hash_bytes;
use crate::placement::topology::{NodeIx, Topology};
use crate::placement::vocabulary::SharedWords;
use crate::placement::vocabulary::{WORD_SEPARATOR, words_id};
use crate::placement::written::{Places, Written};
use crate::split::Document;
use crate::write::part::Writes;

/// How many indexes are looked after at once.
const AT_ONCE: usize = 4;
/// How often it is looked what is to be done.
const TICK: Duration = Duration::from_secs(1);
/// How many ticks pass until nodes are compared although none is known to have missed anything: one may have lost its disk.
const TICKS_TO_COMPARE: u32 = 60;
/// An index is read anew once nobody has written to it for so long, or after [`LONGEST_DOUBT`].
const QUIET: Duration = Duration::from_secs(2);
const LONGEST_DOUBT: Duration = Duration::from_secs(120);
/// From one reading of an index to the next it rests so many times as long as it took.
const REST: u32 = 50;
/// How many documents are read at once.
const PAGE: usize = 1000;
/// A document of words with a shorter text is put together with others.
const SMALL: usize = 2000;

/// Runs until `shutdown`.
pub async fn run(writes: Arc<Writes>, mut shutdown: watch::Receiver<bool>) {
    let mut serving: HashSet<NodeIx> = HashSet::new();
    let mut stored = writes.vocabularies.durable();
    let mut ticks: u32 = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = stopped(&mut shutdown) => return,
        }
        let now: HashSet<NodeIx> = {
            let topology = writes.nodes.topology();
            topology.indexes().filter(|node| topology.node(*node).state.serves_reads()).collect()
        };
        ticks = ticks.wrapping_add(1);
        let compares = now.difference(&serving).next().is_some() || ticks.is_multiple_of(TICKS_TO_COMPARE);
        serving = now;
        tokio::select! {
            () = look_after(&writes, compares) => {}
            () = stopped(&mut shutdown) => return,
        }
        let durable = writes.vocabularies.durable();
        if durable != stored {
            match serde_json::to_string(&durable) {
                Ok(text) => match writes.ledger.store.put_meta(VOCABULARIES, text).await {
                    Ok(()) => stored = durable,
                    Err(error) => tracing::error!(%error, "the state of vocabularies could not be stored"),
                },
                Err(error) => tracing::error!(%error, "the state of vocabularies could not be written down"),
            }
        }
        writes.nodes.metrics.went_round(Loop::Vocabularies);
        writes.nodes.metrics.vocabulary_words.set(i64::try_from(writes.vocabularies.words()).unwrap_or(i64::MAX));
    }
}

async fn look_after(writes: &Arc<Writes>, compares: bool) {
    let trace = Trace::background("vocabulary");
    let entries = writes.ledger.registry.entries();
    let each = entries.iter().filter(|entry| !IndexUid::is_reserved(&entry.uid)).filter_map(|entry| {
        let index = Index { writes, uid: &entry.uid, primary_key: entry.primary_key.as_deref()?, trace: &trace };
        Some((index, writes.vocabularies.of(&entry.uid)))
    });
    // One that waits for its nodes is not to hold up all others.
    futures::stream::iter(each)
        .for_each_concurrent(AT_ONCE, async |(index, vocabulary)| {
            if compares {
                let mut state = vocabulary.state.write();
                state.may_differ = state.kept.floor.is_some();
            }
            if let Err(error) = index.look_after(&vocabulary).await {
                tracing::debug!(index = index.uid, %error, "the vocabulary of an index could not be looked after");
            }
        })
        .await;
}

/// Reads what words nodes know of, from one that serves.
pub(super) async fn load(writes: &Arc<Writes>, index: &str, vocabulary: &Vocabulary, trace: &Trace) {
    let Some(primary_key) = writes.ledger.registry.entry(index).and_then(|entry| entry.primary_key) else { return };
    let topology = writes.nodes.topology();
    let Some(node) = topology.serving(index).first().copied() else { return };
    let held = Held { writes, node: topology.node(node), index, primary_key: &primary_key, trace };
    let epoch = vocabulary.state.read().epoch;
    let mut offset = 0;
    loop {
        match held.texts(offset).await {
            Ok(texts) => {
                vocabulary.learn(&texts, epoch);
                if texts.is_empty() {
                    return;
                }
                offset += texts.len();
            }
            Err(error) => {
                tracing::debug!(index, %error, "the words of an index could not be read");
                return;
            }
        }
    }
}

/// An index to be looked after.
#[derive(Clone, Copy)]
struct Index<'a> {
    writes: &'a Arc<Writes>,
    uid: &'a str,
    primary_key: &'a str,
    trace: &'a Trace,
}

// === impl Index ===

impl Index<'_> {
    async fn look_after(&self, vocabulary: &Arc<Vocabulary>) -> Result<(), NodeError> {
        let _tending = vocabulary.tending.lock().await;
        let topology = self.writes.nodes.topology();
        let Ok(info) = self.writes.ledger.info(self.uid, self.trace).await else { return Ok(()) };
        vocabulary.heed(&info.words);
        let shares = self.writes.words == SharedWords::Yes && !info.words.embeds;
        let (has_words, looked, may_differ) = {
            let state = vocabulary.state.read();
            (state.kept.floor.is_some(), state.looked, state.may_differ)
        };
        match (shares, has_words) {
            (false, true) => return self.remove(&topology, vocabulary).await,
            (false, false) => return Ok(()),
            // One node knows them all: what words it was sent do no harm.
            (true, _) if !parted(&topology) => return Ok(()),
            (true, false) if !looked => self.look(&topology, vocabulary).await?,
            (true, _) => {}
        }
        if due(vocabulary) {
            return self.read_anew(&topology, vocabulary).await;
        }
        if may_differ && has_words {
            return self.even_out(&topology, vocabulary).await;
        }
        if has_words && vocabulary.is_scattered() {
            return self.put_together(&topology, vocabulary).await;
        }
        Ok(())
    }

    /// An index that has documents and no documents of words comes from a time when words were not shared.
    async fn look(&self, topology: &Topology, vocabulary: &Vocabulary) -> Result<(), NodeError> {
        let mut documents = 0;
        for node in serving(topology) {
            documents += self.held(topology, node).counts().await?.1;
        }
        let mut state = vocabulary.state.write();
        state.looked = true;
        if documents > 0 {
            state.doubt();
        } else if state.kept.floor.is_none() {
            state.kept.floor = Some(String::new());
        }
        Ok(())
    }

    /// Takes the documents of words away: the index does not share words any more.
    async fn remove(&self, topology: &Topology, vocabulary: &Vocabulary) -> Result<(), NodeError> {
        if topology.members().any(|node| !topology.node(node).state.takes_writes()) {
            return Ok(());
        }
        vocabulary.state.write().forget();
        if nodes::remove(self.writes, topology, self.uid, self.primary_key, self.trace).await {
            let mut state = vocabulary.state.write();
            state.kept = super::Durable::default();
            state.loaded = true;
        }
        Ok(())
    }

    /// Gives each node the documents of words that it lacks, and takes away those that are outdated.
    async fn even_out(&self, topology: &Topology, vocabulary: &Vocabulary) -> Result<(), NodeError> {
        vocabulary.state.write().may_differ = false;
        let result = self.level(topology, vocabulary).await;
        if result.is_err() {
            vocabulary.state.write().may_differ = true;
        }
        result
    }

    async fn level(&self, topology: &Topology, vocabulary: &Vocabulary) -> Result<(), NodeError> {
        let floor = vocabulary.state.read().kept.floor.clone().unwrap_or_default();
        let mut held: BTreeMap<NodeIx, BTreeSet<String>> = BTreeMap::new();
        for node in serving(topology) {
            held.insert(node, self.held(topology, node).ids().await?);
        }
        let all: BTreeSet<&String> = held.values().flatten().filter(|id| **id >= floor).collect();
        for (node, ids) in &held {
            let outdated: Vec<String> = ids.iter().filter(|id| **id < floor).cloned().collect();
            self.held(topology, *node).delete(&outdated).await?;
            let mut missing: Vec<String> =
                all.iter().filter(|id| !ids.contains(**id)).map(|id| (*id).clone()).collect();
            for (other, theirs) in held.iter().filter(|(other, _)| *other != node) {
                let (there, rest): (Vec<String>, Vec<String>) = missing.into_iter().partition(|id| theirs.contains(id));
                missing = rest;
                if there.is_empty() {
                    continue;
                }
                let lines = self.held(topology, *other).lines(&there).await?;
                let turn = nodes::turns(self.writes, self.uid, std::iter::once(*node)).pop();
                if let Some((_, mut turn)) = turn.filter(|_| !lines.is_empty()) {
                    turn.wait().await;
                    self.held(topology, *node).send(&bytes::Bytes::from(lines).into()).await?;
                    tracing::info!(node = %topology.node(*node).id, index = self.uid, documents = there.len(), "a node got words that it had missed");
                }
            }
        }
        Ok(())
    }

    /// Makes few documents of words of many that hold few words each.
    async fn put_together(&self, topology: &Topology, vocabulary: &Vocabulary) -> Result<(), NodeError> {
        let Some(node) = serving(topology).next() else { return Ok(()) };
        let held = self.held(topology, node);
        // Of what it will get later some other node may have more.
        let small = |text: &Text| text.words.len() < SMALL;
        let mut texts = Vec::new();
        let mut offset = 0;
        loop {
            let page = held.texts(offset).await?;
            if page.is_empty() {
                break;
            }
            offset += page.len();
            texts.extend(page.into_iter().filter(small));
        }
        let mut places = self.writes.order.batches.next();
        let mut lines = Lines::new(&self.writes.settings.get());
        for text in &texts {
            for word in text.words.split(WORD_SEPARATOR) {
                lines.put(&text.field, word, self.primary_key, &mut || self.next_place(&mut places));
            }
        }
        let finished = lines.finish(Some(self.primary_key), &mut || self.next_place(&mut places)).await;
        let (spools, made) = finished.map_err(|error| self.failed(topology, node, &error))?;
        if !nodes::send_all(self.writes, self.uid, self.primary_key, &spools, &[], self.trace).await {
            vocabulary.state.write().may_differ = true;
        }
        let old: Vec<String> = texts.into_iter().map(|text| text.id).collect();
        for node in serving(topology) {
            self.held(topology, node).delete(&old).await?;
        }
        let mut state = vocabulary.state.write();
        state.pieces = (offset + made).saturating_sub(old.len());
        tracing::debug!(
            index = self.uid,
            before = offset,
            after = state.pieces,
            "documents of words were put together"
        );
        Ok(())
    }

    /// Reads all documents, gives every node their words, and takes away what words it had before.
    async fn read_anew(&self, topology: &Topology, vocabulary: &Arc<Vocabulary>) -> Result<(), NodeError> {
        let began = Instant::now();
        let mut places = self.writes.order.batches.next();
        let floor = words_id(self.next_place(&mut places));
        {
            let mut state = vocabulary.state.write();
            state.forget();
            state.loaded = true;
            state.kept.dirty = false;
        }
        let result = self.read_all(topology, vocabulary, &mut places).await;
        let mut state = vocabulary.state.write();
        state.made = Some((Instant::now(), began.elapsed()));
        match &result {
            Ok(()) => {
                state.kept.floor = state.kept.floor.take().max(Some(floor));
                state.may_differ = true;
                self.writes.nodes.metrics.vocabularies_read.inc();
                tracing::info!(index = self.uid, words = state.known.len(), took = ?began.elapsed(), "the words of an index were read anew");
            }
            Err(_) => state.doubt(),
        }
        result
    }

    async fn read_all(
        &self,
        topology: &Topology,
        vocabulary: &Arc<Vocabulary>,
        places: &mut Places,
    ) -> Result<(), NodeError> {
        // What was accepted before is to be among what is read; and settings among that may bring embedders.
        for node in serving(topology) {
            node_queue::drain(&self.writes.nodes, topology.node(node), self.uid, self.trace).await?;
        }
        self.writes.ledger.registry.invalidate(self.uid);
        let info = self.writes.ledger.info(self.uid, self.trace).await;
        // As it is, nothing that was known may go.
        let Some(rules) = info.ok().map(|info| info.words.clone()).filter(|rules| !rules.embeds) else {
            return Err(self.failed(topology, NodeIx(0), &"the index cannot be read for its words now"));
        };
        vocabulary.heed(&rules);
        let everything = ShardSet::all(topology.shards);
        let cover = cover(topology, self.uid, &everything, &[], hash_bytes(self.uid.as_bytes()));
        if !cover.missing.is_empty() {
            return Err(self.failed(topology, NodeIx(0), &"no node has some of the documents"));
        }
        for part in &cover.parts {
            let filter = shard_filter(&part.shards, topology.shards);
            let held = self.held(topology, part.node);
            let mut offset = 0;
            loop {
                let Some(mut gatherer) =
                    Gatherer::new(Arc::clone(vocabulary), rules.clone(), &self.writes.settings.get())
                else {
                    return Ok(());
                };
                let body = held.documents(&filter, offset, PAGE).await?;
                let malformed = |error: serde_json::Error| self.failed(topology, part.node, &error);
                let page: Page<'_> = serde_json::from_slice(&body).map_err(malformed)?;
                let read = page.results.len();
                for document in page.results {
                    let document = Document::parse(document.get()).map_err(malformed)?;
                    gatherer.take(&document, self.primary_key, &mut || self.next_place(places));
                }
                let gathered = gatherer.finish(Some(self.primary_key), &mut || self.next_place(places)).await;
                let gathered = gathered.map_err(|error| self.failed(topology, part.node, &error))?;
                spread(self.writes, self.uid, self.primary_key, &gathered, &[], self.trace).await;
                gathered.known();
                offset += read;
                if read < PAGE {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn failed(&self, topology: &Topology, node: NodeIx, error: &dyn std::fmt::Display) -> NodeError {
        NodeError::new(&topology.node(node).id, NodeErrorKind::Malformed(error.to_string()))
    }

    fn next_place(&self, places: &mut Places) -> Written {
        loop {
            if let Some(place) = places.take() {
                return place;
            }
            *places = self.writes.order.batches.next();
        }
    }

    fn held<'b>(&'b self, topology: &'b Topology, node: NodeIx) -> Held<'b> {
        Held {
            writes: self.writes,
            node: topology.node(node),
            index: self.uid,
            primary_key: self.primary_key,
            trace: self.trace,
        }
    }
}

#[derive(serde::Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

fn serving(topology: &Topology) -> impl Iterator<Item = NodeIx> + '_ {
    topology.indexes().filter(|node| topology.node(*node).state.serves_reads())
}

/// True if the index is to be read anew now: its words are in doubt, and reading it does not take more than its share.
fn due(vocabulary: &Vocabulary) -> bool {
    let state = vocabulary.state.read();
    let rested = state.made.is_none_or(|(ended, took)| ended.elapsed() >= took * REST);
    let since_write = state.last_write.elapsed();
    let in_doubt = state.doubted.elapsed();
    state.kept.dirty && rested && (since_write >= QUIET || in_doubt >= LONGEST_DOUBT)
}
