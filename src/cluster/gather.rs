//! One reply for every shard: asks the nodes of a cover, and others for the shards of those that fail.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::client::NodeReply;
use super::error::{NodeError, NodeErrorKind, RetryClass};
use crate::meili::error::{Code, ErrorType, ResponseError};
use crate::placement::cover::{Cover, CoverPart, cover};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::scatter::NodeRequest;

/// Whoever can ask nodes.
#[async_trait]
pub trait Nodes: Sync {
    /// `last` says that nobody else could answer in this node's place, so that it may take all the time there is.
    async fn ask(&self, node: NodeIx, request: NodeRequest, last: bool) -> Result<NodeReply, NodeError>;

    /// Nodes to leave alone if others can answer.
    fn avoided(&self) -> Vec<NodeIx> {
        Vec::new()
    }

    /// A node's reply was not what was asked for.
    fn unusable(&self, _node: NodeIx) {}

    /// True when what cost a node something may be asked of another.
    fn may_retry(&self) -> bool {
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

/// What is made of one node's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Use,
    /// Any replica would say the same: the client is told.
    Relay,
    /// Another replica may do better.
    OtherReplica,
    /// Another replica may do better; if none does, the client is told.
    OtherReplicaOrRelay,
}

/// The usable replies.
#[derive(Debug, Default)]
pub struct Gathered {
    /// In the order of the cover; what others answered for a failed part stands in its place.
    pub replies: Vec<(CoverPart, Bytes)>,
    /// Shards for which nobody answered.
    pub missing: ShardSet,
    /// True when there is one reply, to a request that was made for a lone node.
    pub alone: bool,
    /// Requests that failed and were made up for, or not.
    pub failed: Vec<NodeIx>,
    /// True when shards are missing because there is too much to do, not because their replicas are away.
    pub overloaded: bool,
}

// === impl Gathered ===

impl Gathered {
    /// The replies without who gave them.
    pub fn bodies(&self) -> Vec<&[u8]> {
        self.replies.iter().map(|(_, body)| body.as_ref()).collect()
    }
}

/// A node's answer that is the client's to read.
#[derive(Debug)]
pub struct Fault {
    pub node: NodeIx,
    pub reply: NodeReply,
}

/// Errors inside the engine. One node's may be its own trouble; what several nodes say alike is about the request.
#[derive(Debug, Default)]
struct Internal {
    first: Option<Fault>,
    nodes: usize,
    /// True if a node failed in another way.
    differs: bool,
}

impl Internal {
    fn see(&mut self, node: NodeIx, answer: &Result<NodeReply, NodeError>) {
        let Ok(reply) = answer else {
            self.differs = true;
            return;
        };
        let error = reply.error().filter(|error| reply.status >= 500 && error.is(Code::Internal));
        match (&self.first, error) {
            (_, None) => self.differs = true,
            (Some(first), Some(error)) => {
                self.differs |= first.reply.error().map(|first| plain(&first)) != Some(plain(&error))
            }
            (None, Some(_)) => self.first = Some(Fault { node, reply: reply.clone() }),
        }
        self.nodes += 1;
    }

    /// The error, if every node that failed says the same: two at least, or all that there are.
    fn agreed(self, nobody_else: bool) -> Option<Fault> {
        self.first.filter(|_| !self.differs && (self.nodes > 1 || nobody_else))
    }
}

/// An error's message without numbers: the engine names its own tasks.
fn plain(error: &ResponseError) -> String {
    error.message.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Decides about one answer. `readable` says whether a successful reply's body is what was asked for.
pub fn verdict(answer: &Result<NodeReply, NodeError>, readable: impl Fn(&[u8]) -> bool) -> Verdict {
    match answer {
        Err(error) => match error.retry_class() {
            RetryClass::NotSent | RetryClass::MaybeApplied | RetryClass::Never => Verdict::OtherReplica,
        },
        Ok(reply) => match reply.status {
            200..300 if readable(&reply.body) => Verdict::Use,
            // A node that refuses Miroir's key, or has too much to do, is not the client's fault.
            401 | 403 | 408 | 429 => Verdict::OtherReplica,
            // A node may not have got to the task that creates the index, or may not hold the document.
            404 if reply
                .error()
                .is_some_and(|error| error.is(Code::IndexNotFound) || error.is(Code::NotFoundSimilarId)) =>
            {
                Verdict::OtherReplicaOrRelay
            }
            400..500 => match reply.error().map(|error| error.error_type) {
                Some(ErrorType::InvalidRequest | ErrorType::Auth) => Verdict::Relay,
                // A full disk is the node's own trouble, and what is no error of an engine's comes from somewhere else.
                Some(ErrorType::System | ErrorType::Internal) | None => Verdict::OtherReplica,
            },
            _ => Verdict::OtherReplica,
        },
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
    readable: &(dyn Fn(&[u8]) -> bool + Sync),
) -> Result<Gathered, Fault> {
    let mut gathered = Gathered::default();
    let mut replies: Vec<(Vec<usize>, CoverPart, Bytes, bool)> = Vec::new();
    let mut fault: Option<(Vec<usize>, Fault)> = None;
    let mut lagging: Option<Fault> = None;
    let mut internal = Internal::default();
    let mut asked = FuturesUnordered::new();
    let mut todo = vec![(Vec::new(), wanted.shards.clone())];
    // Nodes that did not answer in the time that another's being there had left them.
    let mut slow: Vec<NodeIx> = Vec::new();
    let avoided = nodes.avoided();
    loop {
        for (place, shards) in std::mem::take(&mut todo) {
            let cover = cover_avoiding(topology, wanted, &shards, &gathered.failed, &avoided);
            let again = cover_again(topology, wanted, &cover.missing, &gathered.failed, &slow);
            gathered.missing.union_with(&again.missing);
            let alone = replies.is_empty() && asked.is_empty() && cover.parts.len() + again.parts.len() == 1;
            let parts = cover.parts.into_iter().map(|part| (part, false));
            let parts = parts.chain(again.parts.into_iter().map(|part| (part, true)));
            for (at, (part, again)) in parts.enumerate() {
                let place: Vec<usize> = place.iter().copied().chain([at]).collect();
                let request = request(&part, alone);
                let last = again || !has_alternative(topology, wanted.index, &part, &gathered.failed);
                asked.push(async move {
                    let answer = nodes.ask(part.node, request, last).await;
                    (place, part, alone, last, answer)
                });
            }
        }
        let Some((place, part, alone, last, answer)) = asked.next().await else { break };
        match (verdict(&answer, readable), answer) {
            (Verdict::Use, Ok(reply)) => replies.push((place, part, reply.body, alone)),
            (Verdict::Relay, Ok(reply)) => {
                let earlier = fault.as_ref().is_some_and(|(known, _)| *known <= place);
                if !earlier {
                    fault = Some((place, Fault { node: part.node, reply }));
                }
            }
            (Verdict::OtherReplicaOrRelay, Ok(reply)) => {
                lagging.get_or_insert(Fault { node: part.node, reply });
                gathered.failed.push(part.node);
                todo.push((place, part.shards));
            }
            (_, answer) => {
                log_failure(topology, part.node, &answer);
                internal.see(part.node, &answer);
                if answer.as_ref().is_ok_and(NodeReply::is_success) {
                    nodes.unusable(part.node);
                }
                gathered.failed.push(part.node);
                if last {
                    slow.retain(|node| *node != part.node);
                } else if matches!(&answer, Err(error) if matches!(error.kind, NodeErrorKind::Timeout(_))) {
                    slow.push(part.node);
                }
                gathered.overloaded |=
                    matches!(&answer, Err(error) if matches!(error.kind, NodeErrorKind::QueueFull { .. }));
                if costs_nothing(&answer) || nodes.may_retry() {
                    todo.push((place, part.shards));
                } else {
                    gathered.overloaded = true;
                    gathered.missing.union_with(&part.shards);
                }
            }
        }
    }
    if let Some((_, fault)) = fault {
        return Err(fault);
    }
    if let Some(fault) = lagging.filter(|_| !gathered.missing.is_empty()) {
        return Err(fault);
    }
    if let Some(fault) = internal.agreed(replies.is_empty()).filter(|_| !gathered.missing.is_empty()) {
        return Err(fault);
    }
    replies.sort_by(|left, right| left.0.cmp(&right.0));
    gathered.alone = replies.len() == 1 && replies.iter().all(|(.., alone)| *alone);
    gathered.replies = replies.into_iter().map(|(_, part, body, _)| (part, body)).collect();
    Ok(gathered)
}

/// The cover without the nodes to be avoided, but for shards that only they can answer for.
fn cover_avoiding(
    topology: &Topology,
    wanted: Wanted<'_>,
    shards: &ShardSet,
    failed: &[NodeIx],
    avoided: &[NodeIx],
) -> Cover {
    if !avoided.is_empty() {
        let exclude: Vec<NodeIx> = failed.iter().chain(avoided).copied().collect();
        let without = cover(topology, wanted.index, shards, &exclude, wanted.seed);
        if without.missing.is_empty() {
            return without;
        }
    }
    cover(topology, wanted.index, shards, failed, wanted.seed)
}

/// A cover for what nobody else is left for, by nodes that were given up for others who then failed as well.
fn cover_again(
    topology: &Topology,
    wanted: Wanted<'_>,
    missing: &ShardSet,
    failed: &[NodeIx],
    slow: &[NodeIx],
) -> Cover {
    let exclude: Vec<NodeIx> = failed.iter().filter(|node| !slow.contains(node)).copied().collect();
    cover(topology, wanted.index, missing, &exclude, wanted.seed)
}

/// True for a failure that another attempt does not make worse: the node has not worked on the request.
fn costs_nothing(answer: &Result<NodeReply, NodeError>) -> bool {
    match answer {
        Ok(_) => false,
        Err(error) => match &error.kind {
            NodeErrorKind::Resolve(_)
            | NodeErrorKind::Connect(_)
            | NodeErrorKind::Closed(_)
            | NodeErrorKind::Local(_)
            | NodeErrorKind::QueueFull { .. } => true,
            NodeErrorKind::Timeout(_)
            | NodeErrorKind::Truncated(_)
            | NodeErrorKind::TooLarge { .. }
            | NodeErrorKind::Malformed(_) => false,
        },
    }
}

fn has_alternative(topology: &Topology, index: &str, part: &CoverPart, failed: &[NodeIx]) -> bool {
    part.shards.iter().next().is_some_and(|shard| {
        let only = ShardSet::from_iter([shard]);
        let may_answer = |owner: &NodeIx| {
            *owner != part.node && !failed.contains(owner) && topology.answers_for(*owner, index, &only)
        };
        topology.owners_of(shard).iter().any(may_answer)
    })
}

pub(super) fn log_failure(topology: &Topology, node: NodeIx, answer: &Result<NodeReply, NodeError>) {
    let id = &topology.node(node).id;
    match answer {
        Ok(reply) => tracing::warn!(node = %id, status = reply.status, "subrequest of a read failed"),
        Err(error) => tracing::warn!(node = %id, %error, "subrequest of a read failed"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use parking_lot::Mutex;

    use super::*;
    use crate::placement::topology::{Node, NodeId, NodeState};

    /// Nodes that answer by a rule and remember what they were asked.
    pub struct FakeNodes<F> {
        pub answer: F,
        pub asked: Mutex<Vec<(NodeIx, NodeRequest)>>,
    }

    impl<F> FakeNodes<F>
    where
        F: Fn(NodeIx, &NodeRequest) -> Result<(u16, String), NodeErrorKind> + Sync,
    {
        pub fn new(answer: F) -> Self {
            Self { answer, asked: Mutex::default() }
        }
    }

    #[async_trait]
    impl<F> Nodes for FakeNodes<F>
    where
        F: Fn(NodeIx, &NodeRequest) -> Result<(u16, String), NodeErrorKind> + Sync,
    {
        async fn ask(&self, node: NodeIx, request: NodeRequest, _last: bool) -> Result<NodeReply, NodeError> {
            let answer = (self.answer)(node, &request);
            self.asked.lock().push((node, request));
            match answer {
                Ok((status, body)) => Ok(NodeReply { status, body: body.into(), retry_after: None }),
                Err(kind) => Err(NodeError::new(&NodeId::new("fake"), kind)),
            }
        }
    }

    pub fn topology(nodes: usize, replication_factor: u8) -> Topology {
        let nodes = (0..nodes)
            .map(|at| Node {
                id: NodeId::new(&format!("node-{at}")),
                url: format!("http://node-{at}"),
                zone: None,
                weight: 1.0,
                state: NodeState::Up,
            })
            .collect();
        Topology::build(nodes, 64, replication_factor)
    }

    pub fn broken() -> NodeErrorKind {
        NodeErrorKind::Connect("refused".into())
    }

    async fn run<F>(nodes: &FakeNodes<F>, topology: &Topology) -> Result<Gathered, Fault>
    where
        F: Fn(NodeIx, &NodeRequest) -> Result<(u16, String), NodeErrorKind> + Sync,
    {
        let shards = ShardSet::all(topology.shards);
        let wanted = Wanted { index: "movies", shards: &shards, seed: 7 };
        let request = |_: &CoverPart, alone| NodeRequest::get(if alone { "/alone" } else { "/part" });
        gather(nodes, topology, wanted, &request, &|body| body.starts_with(b"{")).await
    }

    fn covered(gathered: &Gathered) -> BTreeMap<u16, usize> {
        let mut seen = BTreeMap::new();
        for shard in gathered.replies.iter().flat_map(|(part, _)| part.shards.iter()) {
            *seen.entry(shard.0).or_default() += 1;
        }
        seen
    }

    #[tokio::test]
    async fn shards_of_a_failed_node_are_answered_by_others_exactly_once() {
        let topology = topology(4, 2);
        for dead in topology.indexes() {
            for kind in [0, 1, 2] {
                let nodes = FakeNodes::new(|node, _| match (node == dead, kind) {
                    (false, _) => Ok((200, "{}".into())),
                    (true, 0) => Err(broken()),
                    (true, 1) => Ok((500, "{}".into())),
                    (true, _) => Ok((200, "cut of".into())),
                });
                let gathered = run(&nodes, &topology).await.unwrap();
                assert!(gathered.missing.is_empty());
                assert_eq!(covered(&gathered).len(), 64);
                assert!(covered(&gathered).values().all(|times| *times == 1));
            }
        }
    }

    #[tokio::test]
    async fn nodes_that_were_all_too_slow_are_asked_once_more() {
        let topology = topology(3, 2);
        let late = || NodeErrorKind::Timeout(std::time::Duration::from_secs(1));
        let times = |asked: &Mutex<BTreeMap<NodeIx, usize>>, node: NodeIx| {
            let mut asked = asked.lock();
            let times = asked.entry(node).or_default();
            *times += 1;
            *times
        };
        let first = Mutex::default();
        let nodes =
            FakeNodes::new(|node, _| if times(&first, node) == 1 { Err(late()) } else { Ok((200, "{}".into())) });
        let gathered = run(&nodes, &topology).await.unwrap();
        assert!(gathered.missing.is_empty());
        assert!(covered(&gathered).len() == 64 && covered(&gathered).values().all(|times| *times == 1));

        let always = FakeNodes::new(|_, _| Err(late()));
        assert_eq!(run(&always, &topology).await.unwrap().missing.len(), 64);
    }

    #[tokio::test]
    async fn shards_without_a_replica_are_missing() {
        let topology = topology(3, 1);
        let nodes = FakeNodes::new(|node, _| if node == NodeIx(1) { Err(broken()) } else { Ok((200, "{}".into())) });
        let gathered = run(&nodes, &topology).await.unwrap();
        assert_eq!(&gathered.missing, topology.shards_of(NodeIx(1)));
        assert_eq!(covered(&gathered).len() + gathered.missing.len(), 64);
    }

    #[tokio::test]
    async fn a_lone_node_is_asked_as_one_and_its_stand_in_too() {
        let topology = topology(2, 2);
        let nodes = FakeNodes::new(|node, _| if node == NodeIx(0) { Err(broken()) } else { Ok((200, "{}".into())) });
        let gathered = run(&nodes, &topology).await.unwrap();
        assert!(gathered.alone);
        assert!(nodes.asked.lock().iter().all(|(_, request)| request.path == "/alone"));
    }

    #[tokio::test]
    async fn the_clients_fault_is_the_first_parts_word() {
        let topology = topology(3, 1);
        let wrong = |node: NodeIx| ResponseError::new(Code::InvalidSearchFilter, node.0.to_string());
        let nodes = FakeNodes::new(|node, _| Ok((400, String::from_utf8(wrong(node).to_body()).unwrap())));
        let fault = run(&nodes, &topology).await.unwrap_err();
        assert_eq!(fault.reply.error(), Some(wrong(NodeIx(0))));
    }

    #[tokio::test]
    async fn an_error_inside_the_engine_that_all_replicas_give_is_the_answer() {
        let internal = |message: &str| {
            let error = ResponseError::new(Code::Internal, message.to_owned());
            Ok((500, String::from_utf8(error.to_body()).unwrap()))
        };
        for replication_factor in [1, 2] {
            let all = FakeNodes::new(|node, _| internal(&format!("task {} panicked", node.0 + 700)));
            let fault = run(&all, &topology(3, replication_factor)).await.unwrap_err();
            assert_eq!((fault.reply.status, plain(&fault.reply.error().unwrap()).as_str()), (500, "task  panicked"));
        }
        // The trouble of one node is made up for, or leaves its shards out.
        let one = FakeNodes::new(|node, _| if node == NodeIx(1) { internal("disk") } else { Ok((200, "{}".into())) });
        assert!(run(&one, &topology(3, 2)).await.unwrap().missing.is_empty());
        assert!(!run(&one, &topology(3, 1)).await.unwrap().missing.is_empty());
        let each = FakeNodes::new(|node, _| internal(&"x".repeat(node.0)));
        assert_eq!(run(&each, &topology(3, 2)).await.unwrap().missing.len(), 64);
        let dead = FakeNodes::new(|node, _| if node == NodeIx(1) { Err(broken()) } else { internal("infinite") });
        assert_eq!(run(&dead, &topology(3, 2)).await.unwrap().missing.len(), 64);
    }

    #[tokio::test]
    async fn an_index_that_one_node_does_not_know_yet_is_asked_of_others() {
        let lagging =
            r#"{"message":"Index `movies` not found.","code":"index_not_found","type":"invalid_request","link":""}"#;
        let topology = topology(3, 2);
        let one = FakeNodes::new(|node, _| {
            Ok(if node == NodeIx(2) { (404, lagging.to_owned()) } else { (200, "{}".to_owned()) })
        });
        assert!(run(&one, &topology).await.unwrap().missing.is_empty());
        let all = FakeNodes::new(|_, _| Ok((404, lagging.to_owned())));
        assert_eq!(run(&all, &topology).await.unwrap_err().reply.status, 404);
    }

    #[test]
    fn a_refused_node_key_is_not_the_clients_fault() {
        let answer = |status, body: &'static str| {
            Ok(NodeReply { status, body: Bytes::from_static(body.as_bytes()), retry_after: None })
        };
        assert_eq!(verdict(&answer(200, "{}"), |_| true), Verdict::Use);
        assert_eq!(verdict(&answer(200, "{"), |_| false), Verdict::OtherReplica);
        assert_eq!(verdict(&answer(403, "{}"), |_| true), Verdict::OtherReplica);
        let wrong = r#"{"message":"m","code":"invalid_search_filter","type":"invalid_request","link":""}"#;
        assert_eq!(verdict(&answer(400, wrong), |_| true), Verdict::Relay);
        let full = r#"{"message":"m","code":"no_space_left_on_device","type":"system","link":""}"#;
        assert_eq!(verdict(&answer(422, full), |_| true), Verdict::OtherReplica);
        assert_eq!(verdict(&answer(404, "<html>no such page</html>"), |_| true), Verdict::OtherReplica);
        assert_eq!(verdict(&answer(503, "{}"), |_| true), Verdict::OtherReplica);
    }
}
