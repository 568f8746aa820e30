//! One pass of a copy: compares documents of source and target, and sends the target what differs.

use std::collections::BTreeMap;

use super::error::ResilverError;
use super::job::Job;
use super::meter::Meter;
use super::outbox::Outbox;
use super::replica::{Held, Replica};
use super::work::Work;
use crate::ledger::watch::Watch;
use crate::nodes::error::NodeErrorKind;
use crate::placement::document::shard_of;
use crate::placement::shard::{ShardId, ShardSet};
use crate::placement::topology::NodeIx;

/// How many ids are listed in one request, unless a shard alone has more.
const BATCH_IDS: u64 = 20_000;
/// How many bytes of documents are asked of a node at a time, as far as their size can be foreseen.
const CHUNK_BYTES: u64 = 4 << 20;
const CHUNK_MOST: u64 = 1000;
/// Shards of which more documents differ are compared whole the next time.
const MANY_DIFFER: usize = 1000;

/// How many documents of the size met so far make a chunk.
struct Sizer {
    documents: u64,
    bytes: u64,
}

/// A pass under way.
struct Pass<'a> {
    job: &'a Job<'a>,
    meter: &'a Meter<'a>,
    target: Replica<'a>,
    outbox: Outbox<'a>,
    sizer: Sizer,
    differed: Work,
}

/// Carries `work` out, after the nodes have worked off what they had taken before; returns what differed. `watch` is that of the
/// writes that go on meanwhile.
pub async fn run(job: &Job<'_>, meter: &Meter<'_>, work: &Work, watch: Option<&Watch>) -> Result<Work, ResilverError> {
    let target = job.replica(job.target);
    job.drain(watch).await?;
    let mut pass = Pass {
        job,
        meter,
        target,
        outbox: Outbox::new(target, meter),
        sizer: Sizer { documents: 16, bytes: 16 * 4096 },
        differed: Work::default(),
    };
    let mut plans = Vec::new();
    let mut total = 0;
    for (source, shards) in &job.sources {
        let whole: ShardSet = shards.iter().filter(|shard| work.shards.contains(*shard)).collect();
        let single = |key: &&String| {
            let shard = shard_of(key, job.topology.shards);
            shards.contains(shard) && !whole.contains(shard)
        };
        let keys: Vec<String> = work.keys.iter().filter(single).cloned().collect();
        let held = if whole.is_empty() { 0 } else { job.replica(*source).count(&whole).await? };
        total += held + keys.len() as u64;
        plans.push((*source, whole, held, keys));
    }
    job.copies.update(&job.key, |progress| progress.begin_pass(total));
    for (source, whole, held, keys) in plans {
        pass.compare_shards(source, &whole, held).await?;
        pass.compare_keys(source, keys).await?;
    }
    pass.outbox.finish().await?;
    Ok(pass.differed)
}

// === impl Pass ===

impl Pass<'_> {
    async fn compare_shards(&mut self, source: NodeIx, shards: &ShardSet, held: u64) -> Result<(), ResilverError> {
        let shards: Vec<ShardId> = shards.iter().collect();
        if shards.is_empty() {
            return Ok(());
        }
        let held = held.max(self.target.count(&shards.iter().copied().collect()).await?);
        let mean = held / shards.len() as u64 + 1;
        let batch = usize::try_from((BATCH_IDS / mean).max(1)).unwrap_or(usize::MAX);
        for shards in shards.chunks(batch) {
            let shards: ShardSet = shards.iter().copied().collect();
            let before = self.differed.keys.len();
            self.compare_batch(source, &shards).await?;
            let many = self.differed.keys.len() - before > MANY_DIFFER;
            if many {
                let counted = self.job.topology.shards;
                self.differed.keys.retain(|key| !shards.contains(shard_of(key, counted)));
                self.differed.shards.union_with(&shards);
            }
        }
        Ok(())
    }

    async fn compare_batch(&mut self, source: NodeIx, shards: &ShardSet) -> Result<(), ResilverError> {
        let replica = self.job.replica(source);
        // Whatever is written between the two lists is touched, and compared again.
        let (wanted, held) = tokio::try_join!(replica.ids(shards), self.target.ids(shards))?;
        let (common, missing): (Vec<String>, Vec<String>) = wanted.iter().cloned().partition(|key| held.contains(key));
        for key in held.into_iter().filter(|key| !wanted.contains(key)) {
            self.delete(key).await?;
        }
        self.compare(replica, missing, false).await?;
        self.compare(replica, common, true).await
    }

    async fn compare_keys(&mut self, source: NodeIx, keys: Vec<String>) -> Result<(), ResilverError> {
        self.compare(self.job.replica(source), keys, true).await
    }

    /// `held`: the target may hold some of them.
    async fn compare(&mut self, source: Replica<'_>, keys: Vec<String>, held: bool) -> Result<(), ResilverError> {
        let mut at = 0;
        let mut most = usize::MAX;
        while at < keys.len() {
            let size = self.sizer.chunk().min(most);
            let chunk = &keys[at..keys.len().min(at + size)];
            let asked = async {
                let there = async { if held { self.target.documents(chunk).await } else { Ok((BTreeMap::new(), 0)) } };
                tokio::try_join!(source.documents(chunk), there)
            };
            let ((wanted, read), (there, read_there)) = match asked.await {
                Ok(found) => found,
                // Documents that are far larger than those before.
                Err(error) if chunk.len() > 1 && matches!(error.kind, NodeErrorKind::TooLarge { .. }) => {
                    most = chunk.len() / 2;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.sizer.saw(wanted.len() as u64, read);
            self.meter.read(read + read_there).await;
            self.make_equal(chunk, &wanted, &there).await?;
            self.meter.compared(chunk.len() as u64);
            at += chunk.len();
        }
        Ok(())
    }

    async fn make_equal(
        &mut self,
        keys: &[String],
        wanted: &BTreeMap<String, Held>,
        there: &BTreeMap<String, Held>,
    ) -> Result<(), ResilverError> {
        for key in keys {
            match (wanted.get(key), there.get(key)) {
                (None, None) => {}
                (None, Some(_)) => self.delete(key.clone()).await?,
                (Some(wanted), Some(there)) if wanted.digest == there.digest => {}
                (Some(wanted), _) => {
                    self.outbox.add(&wanted.raw).await?;
                    self.differed.keys.insert(key.clone());
                }
            }
        }
        Ok(())
    }

    async fn delete(&mut self, key: String) -> Result<(), ResilverError> {
        self.differed.keys.insert(key.clone());
        self.outbox.delete(key).await
    }
}

// === impl Sizer ===

impl Sizer {
    fn saw(&mut self, documents: u64, bytes: u64) {
        self.documents += documents;
        self.bytes += bytes;
    }

    fn chunk(&self) -> usize {
        let mean = (self.bytes / self.documents.max(1)).max(1);
        (CHUNK_BYTES / mean).clamp(1, CHUNK_MOST) as usize
    }
}
