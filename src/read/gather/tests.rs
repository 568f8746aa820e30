//! Questions to pretended nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::internal::plain;
use super::*;
use crate::meili::error::{Code, ResponseError};
use crate::placement::topology::{Node, NodeId, NodeState};

/// What a node answers.
type Answering<'a> = dyn Fn(NodeIx, &NodeRequest) -> Result<(u16, String), NodeErrorKind> + Sync + Send + 'a;

/// Nodes that answer by a rule and remember what they were asked. They are of one type whatever the rule, so that all that reads do is
/// compiled for them once.
pub struct FakeNodes<'a> {
    answer: Box<Answering<'a>>,
    pub asked: Mutex<Vec<(NodeIx, NodeRequest)>>,
    pub learnt: Mutex<Vec<(NodeIx, Meaning)>>,
}

impl<'a> FakeNodes<'a> {
    pub fn new(
        answer: impl Fn(NodeIx, &NodeRequest) -> Result<(u16, String), NodeErrorKind> + Sync + Send + 'a,
    ) -> Self {
        Self { answer: Box::new(answer), asked: Mutex::default(), learnt: Mutex::default() }
    }
}

#[async_trait]
impl Nodes for FakeNodes<'_> {
    async fn ask(&self, node: NodeIx, request: NodeRequest) -> Result<NodeReply, NodeError> {
        let answer = (self.answer)(node, &request);
        self.asked.lock().push((node, request));
        match answer {
            Ok((status, body)) => Ok(NodeReply { status, body: body.into(), retry_after: None }),
            Err(kind) => Err(NodeError::new(&NodeId::new("fake"), kind)),
        }
    }

    fn learn(&self, node: NodeIx, meaning: Meaning) {
        self.learnt.lock().push((node, meaning));
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

async fn run(nodes: &FakeNodes<'_>, topology: &Topology) -> Result<Gathered, Fault> {
    let shards = ShardSet::all(topology.shards);
    let wanted = Wanted { index: "movies", shards: &shards, seed: 7 };
    let request = |_: &CoverPart, alone| NodeRequest::get(if alone { "/alone" } else { "/part" });
    gather(nodes, topology, wanted, &request, &|body| body.starts_with(b"{")).await
}

pub fn covered(gathered: &Gathered) -> BTreeMap<u16, usize> {
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
async fn nodes_that_run_out_of_time_are_late_and_nobody_is_asked_again() {
    let topology = topology(3, 2);
    let always = FakeNodes::new(|_, _| Err(NodeErrorKind::Timeout(Duration::from_secs(1))));
    let gathered = run(&always, &topology).await.unwrap();
    assert_eq!((gathered.late.len(), gathered.missing.len()), (64, 64));
    assert_eq!(always.asked.lock().len(), 2);
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

/// The node that is asked first of what has the seed 7.
pub fn asked_first(topology: &Topology) -> NodeIx {
    cover(topology, "movies", &ShardSet::all(topology.shards), &[], 7).parts[0].node
}

#[tokio::test]
async fn a_document_that_one_replica_does_not_have_yet_is_asked_of_others() {
    let topology = topology(3, 2);
    let (first, lagging) =
        (asked_first(&topology), ResponseError::new(Code::NotFoundSimilarId, "Document `1` not found."));
    let answer = || Ok((lagging.status, String::from_utf8(lagging.to_body()).unwrap()));
    let one = FakeNodes::new(|node, _| if node == first { answer() } else { Ok((200, "{}".to_owned())) });
    assert!(run(&one, &topology).await.unwrap().missing.is_empty());
    let all = FakeNodes::new(|_, _| answer());
    assert_eq!(run(&all, &topology).await.unwrap_err().reply.error(), Some(lagging.clone()));
}

#[tokio::test]
async fn a_success_that_cannot_be_read_is_told_as_none() {
    let topology = topology(3, 2);
    let first = asked_first(&topology);
    let nodes = FakeNodes::new(|node, _| Ok((200, if node == first { "cut of" } else { "{}" }.to_owned())));
    assert!(run(&nodes, &topology).await.unwrap().missing.is_empty());
    let learnt = nodes.learnt.lock();
    assert!(learnt.iter().any(|(node, _)| *node == first), "{learnt:?}");
    for (node, meaning) in learnt.iter() {
        let expected = if *node == first { Meaning::Garbled } else { Meaning::Answer };
        assert_eq!(*meaning, expected, "each answer is told once, as what it is");
    }
}
