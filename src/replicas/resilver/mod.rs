//! Resilver: brings stale replicas in sync by copying what they lack from replicas that are, while writes go on.
//!
//! A replica (node, index, shard) whose node owns the shard and is up, and that is in the stale sets, is copied from another
//! owner that is up and in sync, and then taken out of the stale sets. That is all others need to know: whoever wants a
//! replica brought in sync marks it stale ([`crate::ledger::insync::mark`]).
//!
//! # How
//!
//! 1. A [`watch`](crate::ledger::watch) on the index begins; from here on it is known which documents writes touch. Reads that were planned when the
//!    target was in sync are waited for.
//! 2. A [`pass`] lists the ids of both sides, shard by shard, fetches the documents, and sends the target only what
//!    differs: documents to add and ids to delete. A replica that missed little gets little.
//! 3. The next pass looks at what differed, which verifies it, and at what was touched meanwhile. [`step`] says when
//!    enough is done.
//! 4. Cut-over: the writes of the index are held back for a few seconds at most. The nodes work off their queues, the
//!    rest is compared, the counts are compared, and the replica is in sync.
//!
//! # Why it is right
//!
//! A pass reads a node after it has worked off all that it had taken when the pass began. A write that came before the
//! watch is in what the first pass reads. A later one touches documents that a later pass compares, when both nodes have
//! carried the write out or lost it: so a partial update on a missing base, a document deleted and copied after that, a
//! copy that overtook a write are all put right. At the cut-over no write is under way, and what is untouched was found equal.
//!
//! # Layout
//!
//! | file | what |
//! |---|---|
//! | `sources` | whom to copy from |
//! | `job` | one copy, from the watch to the cut-over |
//! | `step` | what a copy does next; pure |
//! | `watch`, `work` | what writes touch, what is to be compared |
//! | `pass`, `replica`, `outbox` | comparing; asking nodes; sending |
//! | `digest` | a document's content as a number |
//! | [`settings`] | what the operator sets of copies |
//! | `throttle`, `meter`, `metrics`, `progress` | the rate, and how far copies are |
//! | `error` | why replicas stay stale for now |

pub(crate) mod digest;
pub(crate) mod error;
#[cfg(test)]
mod fleet;
mod job;
mod meter;
pub mod metrics;
mod outbox;
mod pass;
pub mod progress;
pub(crate) mod replica;
pub mod settings;
pub(crate) mod sources;
mod step;
#[cfg(test)]
mod tests;
pub(crate) mod throttle;
pub mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as signal;
use tokio::task::JoinSet;

use self::error::ResilverError;
use self::job::Job;
use self::progress::{Copies, CopyKey, Progress};
use crate::ledger::insync;
use crate::nodes::client::Trace;
use crate::nodes::metrics::Loop;
use crate::nodes::shutdown::stopped;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{Apart, NodeState, Topology};
use crate::replicas::repair::{self, Repairs};
use crate::write::Writes;

/// How often is looked for what is to be tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first pause before a copy that stopped short is tried again; it doubles up to sixteen times as long, and up to ten minutes where the
/// target's engine refuses what it is sent.
const RETRY: Duration = Duration::from_millis(500);
/// The same where the index is apart on the target.
const RETRY_APART: Duration = Duration::from_secs(15);

/// Copies what is stale on nodes that are up, whenever something becomes stale or a node returns, until `shutdown`. Not
/// more than `resilver.concurrency` copies run at once.
pub async fn run(
    copies: Arc<Copies>,
    repairs: Arc<Repairs>,
    writes: Arc<Writes>,
    mut shutdown: signal::Receiver<bool>,
) {
    let mut jobs = JoinSet::new();
    loop {
        for key in next_copies(&copies, &writes, jobs.len()) {
            // At once, so that the next look sees it.
            let topology = writes.nodes.topology();
            let shards = topology.stale_of(key.0, &key.1).map_or(0, ShardSet::len);
            copies.begin(&key, Progress::new(topology.node(key.0).id.clone(), &key.1, shards));
            jobs.spawn(copy(Arc::clone(&copies), Arc::clone(&repairs), Arc::clone(&writes), key));
        }
        writes.nodes.metrics.went_round(Loop::Resilver);
        tokio::select! {
            _ = writes.ledger.copies_due.notified() => {}
            _ = tokio::time::sleep(LOOK_EVERY) => {}
            Some(_) = jobs.join_next() => {}
            // Dropping the set ends the copies; what they were at is still stale.
            _ = stopped(&mut shutdown) => return,
        }
    }
}

/// The copies to begin when `running` are under way.
fn next_copies(copies: &Copies, writes: &Writes, running: usize) -> Vec<CopyKey> {
    let topology = writes.nodes.topology();
    copies.retain_failures(|key| topology.stale.contains_key(key));
    let free = copies.settings.get().concurrency.max(1).saturating_sub(running);
    let waiting = topology.stale.keys().filter(|key| {
        // An index that is not there is made first. One whose settings differ is copied to: a copy may be what cures it.
        let absent = matches!(topology.apart_of(key.0, &key.1), Some(Apart::Unknown | Apart::Absent));
        let up = topology.node(key.0).state == NodeState::Up && !absent;
        up && !copies.is_running(key) && !copies.rests(key) && has_work(writes, &topology, key)
    });
    waiting.take(free).cloned().collect()
}

/// False while the replicas to copy from are away.
fn has_work(writes: &Writes, topology: &Topology, key: &CopyKey) -> bool {
    let (target, index) = (key.0, key.1.as_str());
    topology.stale_of(target, index).is_some_and(|stale| {
        !writes.ledger.registry.exists(index)
            || !stale.is_subset(topology.shards_of(target))
            || !sources::sources(topology, target, index, stale).is_empty()
    })
}

async fn copy(copies: Arc<Copies>, repairs: Arc<Repairs>, writes: Arc<Writes>, key: CopyKey) {
    let result = bring_in_sync(&copies, &writes, &key).await;
    let Some(progress) = copies.end(&key) else { return };
    let (node, index) = (&progress.node, &key.1);
    match result {
        Ok(true) => {
            copies.succeeded(&key);
            repair::copied(&repairs, index);
            tracing::info!(
                node = %node, index, shards = progress.shards, copied = progress.copied, deleted = progress.deleted,
                bytes = progress.bytes, passes = progress.passes, elapsed = ?progress.elapsed(), "resilvered"
            );
        }
        Ok(false) => copies.rest(&key, LOOK_EVERY),
        Err(error) => {
            // What its settings refuse is refused again until these are repaired.
            let apart = writes.nodes.topology().apart_of(key.0, index).is_some();
            let attempts = copies.failed(&key, node, &error, if apart { RETRY_APART } else { RETRY });
            tracing::warn!(node = %node, index, attempts, %error, "stale shards could not be copied yet");
        }
    }
    writes.ledger.copies_due.notify_one();
}

/// False when there was nothing that could be copied now.
async fn bring_in_sync(copies: &Copies, writes: &Writes, key: &CopyKey) -> Result<bool, ResilverError> {
    let (target, index) = (key.0, key.1.as_str());
    let as_of = insync::misses(&writes.ledger, target, index);
    // What is sent to the target must be over before its shards can be another's. Reads by this topology there are none.
    let topology = writes.nodes.older.working_copy(&writes.nodes.topology());
    let Some(stale) = topology.stale_of(target, index) else { return Ok(false) };
    let Some(entry) = writes.ledger.registry.entry(index) else {
        return Ok(insync::clear(&writes.ledger, target, index, stale, as_of).await?);
    };
    // A shard that moved away is no longer this node's to have.
    let mut lost = stale.clone();
    lost.subtract(topology.shards_of(target));
    if !lost.is_empty() {
        insync::clear(&writes.ledger, target, index, &lost, as_of).await?;
    }
    let mut owned = stale.clone();
    owned.subtract(&lost);
    let trace = Trace::background("resilver");
    // Without a primary key there is no document.
    let primary_key = entry.primary_key.unwrap_or_else(|| "id".to_owned());
    let mut sources = std::collections::BTreeMap::new();
    let mut shards = ShardSet::new();
    for (source, found) in sources::sources(&topology, target, index, &owned) {
        match source {
            Some(source) => {
                shards.union_with(&found);
                sources.insert(source, found);
            }
            None => {
                sources::let_in_orphans(writes, &topology, target, index, &primary_key, &found, &trace).await?;
            }
        }
    }
    if shards.is_empty() {
        return Ok(false);
    }
    let job = Job {
        copies,
        writes,
        topology: Arc::clone(&topology),
        target,
        index: index.to_owned(),
        primary_key,
        sources,
        shards,
        key: key.clone(),
        trace,
    };
    tracing::info!(node = %topology.node(target).id, index, shards = job.shards.len(), "resilvering");
    job.run().await.map(|()| true)
}
