//! One reply for every shard: asks the nodes of a cover, and others for the shards of those that fail.
//!
//! A node that is slow has not failed: it goes on, and at most one other attempt (a hedge) is made beside it, paid for from the
//! budget of retries. Whoever answers first is heard. So a search that is slow for all nodes is a slow search, and a node that
//! hangs costs one wait.
//!
//! | module | what lives there |
//! |---|---|
//! | `again` | the same nodes asked for more |
//! | `answers` | what came of some shards |
//! | `choice` | covers that leave some nodes alone |
//! | `fault` | a node's answer that is the client's to read |
//! | `internal` | errors inside the engine |
//! | `round` | what the parts of one question know of each other |

mod again;
mod answers;
mod choice;
mod fault;
mod internal;
mod round;

use std::pin::pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, join_all, ready, select};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

pub(super) use self::again::gather_again;
use self::answers::Answers;
use self::choice::{cover_avoiding, lighter};
pub use self::fault::Fault;
use self::internal::Internal;
pub use self::round::Round;
use crate::nodes::client::NodeReply;
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::meaning::{ForRead, Meaning, Policy, Price};
use crate::nodes::metrics::Hedge;
use crate::placement::cover::{Cover, CoverPart, cover};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::rounds::Later;
use crate::plan::scatter::NodeRequest;

/// Why a node that has not answered need not be the only one that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It has taken much longer than others, or than is usual.
    Slow,
    /// It went down meanwhile: it is not waited for at all.
    Gone,
}

/// Why another is asked beside a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// It has taken longer than nearly all of its answers do, which is no sign against it: to be faster.
    Late,
    Slow,
}

/// Whoever can ask nodes.
#[async_trait]
pub trait Nodes: Sync {
    /// Asks within the time that the whole read has.
    async fn ask(&self, node: NodeIx, request: NodeRequest) -> Result<NodeReply, NodeError>;

    /// Resolves once it is doubtful whether `node`, asked at the call, will answer. `round` knows of the others.
    async fn doubt(&self, _node: NodeIx, _round: &Round) -> Doubt {
        std::future::pending().await
    }

    /// Resolves once `node`, asked at the call, has taken longer than nearly all of its answers do.
    async fn late(&self, _node: NodeIx) {
        std::future::pending().await
    }

    /// The span of one question to several nodes that begins now.
    fn round(&self) -> Span {
        Span::none()
    }

    /// What the next question is for.
    fn foresee(&self, _round: Later) {}

    /// The span of making one reply of several, which begins now.
    fn merging(&self) -> Span {
        Span::none()
    }

    /// Others are asked, or have answered, beside a node.
    fn hedged(&self, _what: Hedge) {}

    /// Others have answered in place of a node, and began later.
    fn outrun(&self, _node: NodeIx) {}

    /// Nodes to leave alone if others can answer.
    fn avoided(&self) -> Vec<NodeIx> {
        Vec::new()
    }

    /// Nodes that answer late at the moment: to leave alone if others can answer, those of [`Nodes::avoided`] left alone too.
    fn occupied(&self) -> Vec<NodeIx> {
        Vec::new()
    }

    /// Nodes to leave alone if as few others can answer.
    fn laden(&self, _seed: u64) -> Vec<NodeIx> {
        Vec::new()
    }

    /// What a node's successful reply was found to be: an answer, or not what was asked for.
    fn learn(&self, _node: NodeIx, _meaning: Meaning) {}

    /// True when what cost a node something may be asked of another.
    fn may_retry(&self) -> bool {
        true
    }

    /// True when others may be asked only to be faster.
    fn may_hedge(&self) -> bool {
        true
    }
}

/// The shards wanted of an index, and the choice among equal covers.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub index: &'a str,
    pub shards: &'a ShardSet,
    pub seed: u64,
}

/// The usable replies.
#[derive(Debug, Default)]
pub struct Gathered {
    /// In the order of the cover; what others answered for a failed part stands in its place.
    pub replies: Vec<(CoverPart, Bytes)>,
    /// Shards for which nobody answered.
    pub missing: ShardSet,
    /// Those of `missing` whose nodes work, and have not answered in the time that the read has.
    pub late: ShardSet,
    /// True when there is one reply, to a request that was made for a lone node. Example: node-0 has a, b and c, and is asked
    /// for the client's own page: its reply is the answer. If it fails, node-1 answers for a and b and node-2 for c, up to the
    /// end of the page, and their replies are merged.
    pub alone: bool,
    /// True when shards are missing because there is too much to do, not because their replicas are away. Example: a and b
    /// were found, and the node that has c is busy. The answer is an error, not a and b: soon it would be another.
    pub overloaded: bool,
}

// === impl Gathered ===

impl Gathered {
    /// The replies without who gave them.
    pub fn bodies(&self) -> Vec<&[u8]> {
        self.replies.iter().map(|(_, body)| body.as_ref()).collect()
    }
}

/// Asks for all of `wanted`. `request` makes the request for a part, knowing whether it is the only one.
///
/// Everything is polled on the caller's task, and dropping the future ends every subrequest.
pub async fn gather<N: Nodes + ?Sized>(
    nodes: &N,
    topology: &Topology,
    wanted: Wanted<'_>,
    request: &(dyn Fn(&CoverPart, bool) -> NodeRequest + Sync),
    readable: &(dyn Fn(&Bytes) -> bool + Sync),
) -> Result<Gathered, Fault> {
    let (avoided, laden) = (nodes.avoided(), nodes.laden(wanted.seed));
    let asking = Asking { nodes, topology, wanted, request, readable, avoided, laden, seen: Mutex::default() };
    let answers = asking.shards(wanted.shards.clone(), true).instrument(nodes.round()).await;
    answers.gathered(asking.seen.into_inner())
}

/// Asks one node outside of a cover. Where `others` could answer in its place, it is left when it comes into doubt. Example: node x is slow.
/// With y behind it the read goes on to y; without anybody it waits for x.
pub async fn ask_one<N: Nodes + ?Sized>(
    nodes: &N,
    topology: &Topology,
    (node, request): (NodeIx, NodeRequest),
    round: &Round,
    others: bool,
) -> Result<NodeReply, NodeError> {
    let started = Instant::now();
    let mut asked = pin!(nodes.ask(node, request));
    let answer = tokio::select! {
        biased;
        answer = &mut asked => answer,
        doubt = nodes.doubt(node, round) => match doubt {
            Doubt::Slow if !others => asked.await,
            Doubt::Slow | Doubt::Gone => {
                let kind = NodeErrorKind::Timeout(started.elapsed());
                Err(NodeError::new(&topology.node(node).id, kind))
            }
        },
    };
    round.answered(started.elapsed());
    if Meaning::of(&answer) == Meaning::Answer {
        nodes.learn(node, Meaning::Answer);
    }
    answer
}

/// One question under way to all shards.
struct Asking<'a, N: ?Sized> {
    nodes: &'a N,
    topology: &'a Topology,
    wanted: Wanted<'a>,
    request: &'a (dyn Fn(&CoverPart, bool) -> NodeRequest + Sync),
    readable: &'a (dyn Fn(&Bytes) -> bool + Sync),
    avoided: Vec<NodeIx>,
    laden: Vec<NodeIx>,
    seen: Mutex<Seen>,
}

/// What all parts share.
#[derive(Default)]
struct Seen {
    /// Not to be asked again.
    failed: Vec<NodeIx>,
    /// Still at it: not to be asked again while others can answer.
    slow: Vec<NodeIx>,
    /// A node that did not know the index.
    lagging: Option<Fault>,
    internal: Internal,
    /// True once too many requests waited for a node, or no other one could be asked for want of budget; see [`Gathered::overloaded`].
    overloaded: bool,
}

/// A node's answer, and what it means.
struct Heard {
    meaning: Meaning,
    answer: Result<NodeReply, NodeError>,
}

// === impl Asking ===

impl<N: Nodes + ?Sized> Asking<'_, N> {
    /// Asks for `shards` by a cover of their own. `sole`: nothing else is asked for.
    fn shards(&self, shards: ShardSet, sole: bool) -> BoxFuture<'_, Answers> {
        let cover = {
            let seen = self.seen.lock();
            let avoided: Vec<NodeIx> = self.avoided.iter().chain(&seen.slow).copied().collect();
            // As it is now: what is asked again may be asked seconds later.
            let both = match self.nodes.occupied() {
                occupied if occupied.is_empty() => Vec::new(),
                occupied => [avoided.as_slice(), &occupied].concat(),
            };
            let cover = cover_avoiding(self.topology, self.wanted, &shards, &seen.failed, [&both, &avoided]);
            let exclude = [seen.failed.as_slice(), if both.is_empty() { &avoided } else { &both }].concat();
            lighter(cover, self.topology, self.wanted, &shards, &exclude, &self.laden)
        };
        self.covered(cover, sole)
    }

    fn covered(&self, cover: Cover, sole: bool) -> BoxFuture<'_, Answers> {
        async move {
            let sole = sole && cover.parts.len() == 1;
            let round = Round::new(cover.parts.len());
            let parts = cover.parts.into_iter().map(|part| self.part(part, sole, &round));
            let mut answers = Answers::missing(cover.missing);
            for part in join_all(parts).await {
                answers.add(part);
            }
            answers
        }
        .boxed()
    }

    async fn part(&self, part: CoverPart, sole: bool, round: &Round) -> Answers {
        let started = Instant::now();
        let mut asked = pin!(self.nodes.ask(part.node, (self.request)(&part, sole)));
        let mut doubted = pin!(self.nodes.doubt(part.node, round));
        let mut late = pin!(self.nodes.late(part.node));
        let mut early = true;
        let (doubt, hedge) = loop {
            tokio::select! {
                biased;
                answer = &mut asked => {
                    round.answered(started.elapsed());
                    let heard = self.read(part.node, answer);
                    return self.conclude(part, sole, heard).await;
                }
                doubt = &mut doubted => break (Some(doubt), None),
                () = &mut late, if early => {
                    early = false;
                    let hedge = self.hedge(&part, sole, Beside::Late);
                    if hedge.is_some() {
                        break (None, hedge);
                    }
                }
            }
        };
        if doubt == Some(Doubt::Gone) {
            tracing::warn!(node = %self.topology.node(part.node).id, "a node went down while a read waited for it");
            self.seen.lock().failed.push(part.node);
            return self.shards(part.shards, sole).await;
        }
        let Some(hedge) = hedge.or_else(|| self.hedge(&part, sole, Beside::Slow)) else {
            let answer = asked.await;
            round.answered(started.elapsed());
            let heard = self.read(part.node, answer);
            return self.conclude(part, sole, heard).await;
        };
        let (answer, hedge) = match select(asked, hedge).await {
            Either::Left((answer, hedge)) => (answer, hedge),
            Either::Right((hedged, _)) if hedged.is_conclusive() => {
                self.nodes.hedged(Hedge::Won);
                if doubt == Some(Doubt::Slow) {
                    self.nodes.outrun(part.node);
                }
                return hedged;
            }
            Either::Right((hedged, asked)) => (asked.await, ready(hedged).boxed()),
        };
        round.answered(started.elapsed());
        let heard = self.read(part.node, answer);
        match heard.meaning.policy().read {
            ForRead::Use | ForRead::Relay => self.conclude(part, sole, heard).await,
            ForRead::OtherReplica
            | ForRead::OtherReplicaOrRelay
            | ForRead::OtherReplicaUnlessAgreed
            | ForRead::OutOfTime => {
                self.note_failure(part.node, heard);
                hedge.await
            }
        }
    }

    /// The other attempt beside a slow node's, if others hold all its shards and it can be paid for.
    fn hedge(&self, part: &CoverPart, sole: bool, why: Beside) -> Option<BoxFuture<'_, Answers>> {
        let exclude: Vec<NodeIx> = {
            let seen = self.seen.lock();
            seen.failed.iter().chain(&seen.slow).copied().chain([part.node]).collect()
        };
        if why == Beside::Slow {
            self.seen.lock().slow.push(part.node);
        }
        let others = cover(self.topology, self.wanted.index, &part.shards, &exclude, self.wanted.seed);
        let may_ask = || match why {
            Beside::Late => self.nodes.may_hedge(),
            Beside::Slow => self.nodes.may_retry(),
        };
        if !others.missing.is_empty() || !may_ask() {
            return None;
        }
        if why == Beside::Late {
            self.seen.lock().slow.push(part.node);
        }
        self.nodes.hedged(Hedge::Sent);
        tracing::debug!(node = %self.topology.node(part.node).id, "others are asked beside a node that is slow");
        Some(self.covered(others, sole))
    }

    /// What a node's answer means for the part; the node's circuit learns of what only its reader can tell.
    fn read(&self, node: NodeIx, answer: Result<NodeReply, NodeError>) -> Heard {
        let meaning = Meaning::of_readable(&answer, self.readable);
        if answer.as_ref().is_ok_and(NodeReply::is_success) {
            self.nodes.learn(node, meaning);
        }
        Heard { meaning, answer }
    }

    /// Makes the part's answer of the node's, or asks others.
    async fn conclude(&self, part: CoverPart, sole: bool, heard: Heard) -> Answers {
        let Policy { read, price, .. } = heard.meaning.policy();
        match (read, heard.answer) {
            (ForRead::Use, Ok(reply)) => Answers { replies: vec![(part, reply.body, sole)], ..Answers::default() },
            (ForRead::Relay, Ok(reply)) => {
                Answers { fault: Some(Fault { node: part.node, reply }), ..Answers::default() }
            }
            (ForRead::OutOfTime, answer) => {
                self.note_failure(part.node, Heard { answer, ..heard });
                Answers::late(part.shards)
            }
            (
                ForRead::Use
                | ForRead::Relay
                | ForRead::OtherReplica
                | ForRead::OtherReplicaOrRelay
                | ForRead::OtherReplicaUnlessAgreed,
                answer,
            ) => {
                self.note_failure(part.node, Heard { answer, ..heard });
                if price == Price::Free || self.nodes.may_retry() {
                    return self.shards(part.shards, sole).await;
                }
                self.seen.lock().overloaded = true;
                Answers::missing(part.shards)
            }
        }
    }

    fn note_failure(&self, node: NodeIx, heard: Heard) {
        let Heard { meaning, answer } = heard;
        let lags = meaning.policy().read == ForRead::OtherReplicaOrRelay;
        if !lags {
            log_failure(self.topology, node, &answer);
        }
        let mut seen = self.seen.lock();
        seen.failed.push(node);
        match answer {
            Ok(reply) if lags => {
                seen.lagging.get_or_insert(Fault { node, reply });
            }
            answer => seen.internal.see(node, meaning, answer.ok()),
        }
        seen.overloaded |= meaning == Meaning::Queued;
    }
}

/// Not an error yet: another replica may answer.
pub(crate) fn log_failure(topology: &Topology, node: NodeIx, answer: &Result<NodeReply, NodeError>) {
    let id = &topology.node(node).id;
    match answer {
        Ok(reply) => tracing::warn!(node = %id, status = reply.status, "subrequest of a read failed"),
        Err(error) => tracing::warn!(node = %id, %error, "subrequest of a read failed"),
    }
}

#[cfg(test)]
mod late_tests;
#[cfg(test)]
pub(crate) mod tests;
