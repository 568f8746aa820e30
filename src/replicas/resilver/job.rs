//! One copy: the stale shards of one index on one node, from the replicas that are in sync.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::error::ResilverError;
use super::meter::Meter;
use super::pass;
use super::progress::{Copies, CopyKey, Phase};
use super::replica::Replica;
use super::step::{Copy, Event, Step};
use super::work::Work;
use crate::ledger::bookkeeping::Misses;
use crate::ledger::watch::Watch;
use crate::ledger::{insync, older_reads};
use crate::nodes::client::Trace;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, NodeState, Topology};
use crate::tasks::entry::MiroirTask;
use crate::tasks::stale::unfit_source;
use crate::write::Writes;

/// How long the writes under way may take to end before a copy begins.
const WATCH_LIMIT: Duration = Duration::from_secs(120);

/// A copy under way.
pub struct Job<'a> {
    pub copies: &'a Copies,
    pub writes: &'a Writes,
    /// As it was when the copy began: what nodes there are and who owns what.
    pub topology: Arc<Topology>,
    pub target: NodeIx,
    pub index: String,
    pub primary_key: String,
    /// Which shards come from where.
    pub sources: BTreeMap<NodeIx, ShardSet>,
    /// All of them.
    pub shards: ShardSet,
    pub key: CopyKey,
    pub trace: Trace,
}

// === impl Job ===

impl Job<'_> {
    /// The index on that node, as copies read and write it.
    pub fn replica(&self, node: NodeIx) -> Replica<'_> {
        Replica {
            writes: self.writes,
            node: self.topology.node(node),
            index: &self.index,
            primary_key: &self.primary_key,
            trace: &self.trace,
        }
    }

    /// Copies until the target is in sync.
    pub async fn run(&self) -> Result<(), ResilverError> {
        let watch = self.writes.ledger.watchers.begin(&self.index);
        if tokio::time::timeout(WATCH_LIMIT, watch.complete()).await.is_err() {
            let node = self.topology.node(self.target).id.to_string();
            return Err(ResilverError::Busy { node });
        }
        older_reads::end(&self.writes.ledger, self.target, &self.index, &self.shards).await;
        let as_of = insync::misses(&self.writes.ledger, self.target, &self.index);
        let limit = self.copies.settings.get().cutover;
        let (mut copy, mut step) = Copy::begin(&self.shards, limit);
        loop {
            let event = match step {
                Step::Compare(work) => self.compare(&work, &watch).await?,
                Step::CutOver(work) => {
                    let mut rest = work;
                    let held = tokio::time::timeout(limit, self.cut_over(&watch, &mut rest, as_of)).await;
                    self.copies.update(&self.key, |progress| progress.phase = Phase::Comparing);
                    match held {
                        Ok(result) => return result,
                        Err(_) => {
                            self.slow_down(&watch);
                            Event::Late { rest }
                        }
                    }
                }
                Step::GiveUp(reason) => return Err(reason.into()),
            };
            (copy, step) = copy.next(event);
        }
    }

    /// A pass while writes go on.
    async fn compare(&self, work: &Work, watch: &Watch) -> Result<Event, ResilverError> {
        self.check()?;
        let started = Instant::now();
        let mut rest = pass::run(self, &self.meter(false), work, Some(watch)).await?;
        rest.touch(watch.take(), &self.shards);
        Ok(Event::Compared { rest, took: started.elapsed(), whole: work.shards == self.shards })
    }

    /// Returns when sources and target have worked off what they had taken before. Where that takes long, the writes of `watch` are
    /// slowed down.
    pub async fn drain(&self, watch: Option<&Watch>) -> Result<(), ResilverError> {
        let nodes = self.sources.keys().chain([&self.target]);
        let mut drained = pin!(try_join_all(nodes.map(|node| async move { self.replica(*node).drain().await })));
        if let Some(watch) = watch {
            match tokio::time::timeout(self.copies.settings.get().cutover / 2, &mut drained).await {
                Ok(done) => return done.map(|_| ()),
                Err(_) => self.slow_down(watch),
            }
        }
        drained.await.map(|_| ())
    }

    /// Lets the writes of the index wait for its nodes: with so many tasks open the end would take longer than writes may be held
    /// back.
    fn slow_down(&self, watch: &Watch) {
        let open = self.writes.tracking.reconciler.count_in(&self.index);
        let window = watch.narrow(open);
        tracing::info!(
            index = self.index,
            open,
            window,
            "writes are slowed down: nodes do not keep up with them while it is copied"
        );
    }

    /// Holds back the writes, compares what is left, and lets the replica serve. `rest` is what is left should this be
    /// broken off, which may happen at any moment.
    async fn cut_over(&self, watch: &Watch, rest: &mut Work, as_of: Misses) -> Result<(), ResilverError> {
        self.copies.update(&self.key, |progress| progress.phase = Phase::CuttingOver);
        let _timer = self.copies.metrics.hold_seconds.start_timer();
        let _hold = self.writes.order.gates.hold(&self.index).await;
        // No write is under way any more.
        rest.touch(watch.take(), &self.shards);
        let meter = self.meter(true);
        loop {
            self.check()?;
            let differed = pass::run(self, &meter, rest, None).await?;
            if differed.is_empty() {
                break;
            }
            *rest = differed;
        }
        self.compare_counts().await?;
        self.check_failures().await?;
        self.check()?;
        if insync::clear(&self.writes.ledger, self.target, &self.index, &self.shards, as_of).await? {
            Ok(())
        } else {
            Err(ResilverError::MissedMore)
        }
    }

    fn meter(&self, hurries: bool) -> Meter<'_> {
        Meter {
            copies: self.copies,
            key: &self.key,
            node: &self.topology.node(self.target).id,
            copied: &self.writes.nodes.metrics.resilvered_documents,
            hurries,
        }
    }

    /// Source and target must be what they were: a source that has missed a write is no source any more.
    fn check(&self) -> Result<(), ResilverError> {
        let now = self.writes.nodes.topology();
        let up = |node: NodeIx| now.node(node).state == NodeState::Up;
        let owns = |node: NodeIx, shards: &ShardSet| shards.is_subset(now.shards_of(node));
        if !up(self.target) || !owns(self.target, &self.shards) {
            return Err(ResilverError::TargetChanged);
        }
        // It may have been deleted and made anew.
        let entry = self.writes.ledger.registry.entry(&self.index);
        if entry.is_none_or(|entry| entry.primary_key.is_some_and(|key| key != self.primary_key)) {
            return Err(ResilverError::TargetChanged);
        }
        for (source, shards) in &self.sources {
            let stale = shards.iter().any(|shard| now.is_stale(*source, &self.index, shard));
            if !up(*source) || stale || !owns(*source, shards) {
                return Err(ResilverError::SourceChanged);
            }
        }
        Ok(())
    }

    /// What failed on a source is settled first: the target may be the only replica that carried it out. The queues are
    /// empty, so it is known once the tasks have been asked for.
    async fn check_failures(&self) -> Result<(), ResilverError> {
        let reconciler = &self.writes.tracking.reconciler;
        // All at once: writes wait for this, and each may have to wait for the next request to its nodes.
        join_all(reconciler.live_in(&self.index).iter().map(|task| reconciler.poll_now(task.uid))).await;
        let unfit = |task: &MiroirTask| {
            let failed =
                |(source, shards): (&NodeIx, &ShardSet)| unfit_source(task, &self.topology.node(*source).id, shards);
            self.sources.iter().any(failed)
        };
        match reconciler.live_in(&self.index).iter().find(|task| unfit(task)) {
            Some(task) => Err(ResilverError::SourceBehind { uid: task.uid }),
            None => Ok(()),
        }
    }

    async fn compare_counts(&self) -> Result<(), ResilverError> {
        let target = self.replica(self.target);
        let counted = self.sources.iter().map(|(source, shards)| async move {
            let source = self.replica(*source);
            tokio::try_join!(source.count(shards), target.count(shards))
        });
        for (source_count, target_count) in try_join_all(counted).await? {
            if source_count != target_count {
                return Err(ResilverError::Counts { source_count, target_count });
            }
        }
        Ok(())
    }
}
