//! Writes against nodes in memory that lose replies, refuse connections and refuse requests.

mod elsewhere;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use parking_lot::Mutex;

use super::*;
use crate::cluster::Cluster;
use crate::cluster::settings::ClusterSettings;
use crate::ledger::marks::Missed;
use crate::meili::operation::Change;
use crate::nodes::client::{NodeReply, SubBody, Subrequest};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::health::publish;
use crate::nodes::transport::Transport;
use crate::placement::settings::{NodeSettings, PlacementSettings};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{Node, NodeId, NodeIx, NodeState};
use crate::plan::write::{RegistryChange, Step, StepBody, Target};
use crate::plan::{Plan, broadcast};
use crate::replicas::interrupted;
use crate::store::IndexEntry;
use crate::store::sqlite::SqliteStore;
use crate::tasks::entry::{NodeTask, Purpose};
use crate::tasks::filter::TaskRef;

/// What a node does with the next writes.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    /// Carries the write out, but the reply gets lost; well again afterwards.
    LosesReply,
    /// Carries the write out, but a proxy in front of it gives up waiting, and has no answer of it to so many questions.
    CutOff(u32),
    Unreachable,
    Refuses,
}

/// A node's mood, and the tasks that it has carried out.
type Member = (Option<Mood>, Vec<Value>);

#[derive(Clone, Default)]
struct Fleet(Arc<Mutex<HashMap<String, Member>>>);

impl Fleet {
    fn set(&self, node: &str, mood: Mood) {
        self.0.lock().entry(node.to_owned()).or_default().0 = Some(mood);
    }

    /// The bodies or paths of the writes that a node has carried out, in order.
    fn log(&self, node: &str) -> Vec<String> {
        let fleet = self.0.lock();
        fleet.get(node).map_or(Vec::new(), |(_, tasks)| {
            tasks.iter().map(|task| task["log"].as_str().unwrap().to_owned()).collect()
        })
    }
}

fn kind(method: &http::Method, path: &str) -> &'static str {
    if path.contains("/settings") {
        "settingsUpdate"
    } else if path.contains("/documents") {
        if *method == http::Method::DELETE { "documentDeletion" } else { "documentAdditionOrUpdate" }
    } else if *method == http::Method::DELETE {
        "indexDeletion"
    } else {
        "indexCreation"
    }
}

#[async_trait]
impl Transport for Fleet {
    async fn exchange(&self, node: &Node, request: &Subrequest, _trace: &Trace) -> Result<NodeReply, NodeError> {
        tokio::task::yield_now().await;
        let mut fleet = self.0.lock();
        let (mood, tasks) = fleet.entry(node.id.to_string()).or_default();
        let mood = mood.get_or_insert(Mood::Well);
        let reply =
            |status, body: Value| Ok(NodeReply { status, body: Bytes::from(body.to_string()), retry_after: None });
        if *mood == Mood::Unreachable {
            return Err(NodeError::new(&node.id, NodeErrorKind::Connect("refused".into())));
        }
        if let (Mood::CutOff(questions), true) = (*mood, request.method == http::Method::GET) {
            *mood = if questions > 1 { Mood::CutOff(questions - 1) } else { Mood::Well };
            return reply(502, json!("no answer of the node"));
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if request.method == http::Method::GET {
            return match path.strip_prefix("/tasks/") {
                Some(uid) => reply(200, tasks[uid.parse::<usize>().unwrap()].clone()),
                None => reply(200, json!({"results": tasks.iter().rev().collect::<Vec<_>>(), "next": null})),
            };
        }
        if *mood == Mood::Refuses {
            let error = ResponseError::new(Code::InvalidSettingsStopWords, "no such thing");
            return reply(400, serde_json::to_value(error).unwrap());
        }
        let stamp = query.split('&').find_map(|pair| pair.strip_prefix("customMetadata="));
        let log = match &request.body {
            SubBody::Bytes(bytes) if path.ends_with("/documents") => String::from_utf8(bytes.to_vec()).unwrap(),
            SubBody::Empty | SubBody::Bytes(_) | SubBody::Spool(..) => format!("{} {path}", request.method),
        };
        let task = json!({
            "uid": tasks.len(), "indexUid": "a", "status": "succeeded", "type": kind(&request.method, path),
            "customMetadata": stamp, "enqueuedAt": "2999-01-01T00:00:00Z", "startedAt": "2999-01-01T00:00:00Z",
            "finishedAt": "2999-01-01T00:00:00Z", "log": log,
        });
        tasks.push(task.clone());
        if *mood == Mood::LosesReply {
            *mood = Mood::Well;
            return Err(NodeError::new(&node.id, NodeErrorKind::Closed("reply lost".into())));
        }
        if let Mood::CutOff(_) = mood {
            return reply(504, json!("no answer of the node in time"));
        }
        reply(202, task)
    }
}

async fn cluster(fleet: &Fleet, directory: &tempfile::TempDir) -> Arc<Cluster> {
    let node = |id: &str| NodeSettings { id: id.into(), url: "http://localhost:1".into(), zone: None, weight: 1.0 };
    let nodes = vec![node("n0"), node("n1"), node("n2")];
    let mut settings =
        ClusterSettings::new(PlacementSettings { shards: Some(16), placement: None, replication_factor: 2, nodes });
    settings.write.timeout = Duration::from_secs(5);
    let path = format!("sqlite:{}/state.db", directory.path().display());
    let store = Arc::new(SqliteStore::open(&path, 16).unwrap());
    let prometheus = prometheus::Registry::new();
    let cluster = Cluster::with_transport(settings, store, &prometheus, Box::new(fleet.clone())).await.unwrap();
    for id in ["n0", "n1", "n2"] {
        set_state(&cluster, id, NodeState::Up);
    }
    cluster
}

fn set_state(cluster: &Cluster, id: &str, state: NodeState) {
    publish(&cluster.nodes, |topology| {
        let ix = topology.find(id).unwrap();
        topology.nodes[ix.0].state = state;
    });
}

/// One batch that every node gets, for all shards.
fn batch(number: usize) -> WriteIntent {
    WriteIntent {
        kind: TaskKind::DocumentAdditionOrUpdate,
        index_uid: Some("a".into()),
        indexes: vec!["a".into()],
        details: None,
        custom_metadata: None,
        ensure_index: true,
        registry: RegistryChange::None,
        copies: 2,
        documents: Default::default(),
        ids: Default::default(),
        steps: vec![Step {
            to: Target::AllNodes,
            method: "POST",
            path: "/indexes/a/documents".into(),
            content_type: Some("application/x-ndjson"),
            body: StepBody::Json(json!(number)),
            shards: ShardSet::all(16),
        }],
    }
}

fn batches(log: &[String]) -> Vec<String> {
    log.iter().filter(|entry| entry.parse::<usize>().is_ok()).cloned().collect()
}

fn trace() -> Trace {
    Trace::new("test")
}

#[tokio::test]
async fn an_index_is_created_on_every_node_before_its_first_documents() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    let task = cluster.writes.submit(batch(1), Vec::new(), &trace()).await.unwrap();
    assert!(task.acknowledged && cluster.ledger.registry.exists("a"));
    assert_eq!(task.parts.len(), 9);
    for node in ["n0", "n1", "n2"] {
        assert_eq!(fleet.log(node), ["POST /indexes", "PATCH /indexes/a/settings", "1"]);
    }
    cluster.writes.submit(batch(2), Vec::new(), &trace()).await.unwrap();
    assert_eq!(fleet.log("n0").len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_sees_concurrent_writes_in_the_order_of_their_uids() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    let writes = (0..40).map(|number| {
        let cluster = Arc::clone(&cluster);
        tokio::spawn(async move {
            let task = cluster.writes.submit(batch(number), Vec::new(), &trace()).await.unwrap();
            (task.uid, number.to_string())
        })
    });
    let mut written: Vec<(u32, String)> =
        futures::future::join_all(writes).await.into_iter().map(|write| write.unwrap()).collect();
    written.sort();
    let expected: Vec<String> = written.into_iter().map(|(_, number)| number).collect();
    for node in ["n0", "n1", "n2"] {
        assert_eq!(batches(&fleet.log(node)), expected, "{node}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_reply_was_lost_is_found_again_and_not_repeated() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    cluster.writes.submit(batch(1), Vec::new(), &trace()).await.unwrap();
    fleet.set("n1", Mood::LosesReply);
    let task = cluster.writes.submit(batch(2), Vec::new(), &trace()).await.unwrap();
    assert!(task.parts.iter().all(|part| part.task_uid.is_some()));
    assert_eq!(batches(&fleet.log("n1")), ["1", "2"]);
    assert!(cluster.nodes.topology().stale.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_a_proxy_gave_up_waiting_for_is_found_again_and_not_repeated() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    cluster.writes.submit(batch(1), Vec::new(), &trace()).await.unwrap();
    fleet.set("n1", Mood::CutOff(3));
    let task = cluster.writes.submit(batch(2), Vec::new(), &trace()).await.unwrap();
    assert!(task.parts.iter().all(|part| part.task_uid.is_some()));
    assert_eq!(batches(&fleet.log("n1")), ["1", "2"]);
    assert!(cluster.nodes.topology().stale.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_misses_a_write_is_stale_before_the_acknowledgement_and_so_after_a_restart() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let first = cluster(&fleet, &directory).await;
    first.writes.submit(batch(1), Vec::new(), &trace()).await.unwrap();
    fleet.set("n2", Mood::Unreachable);
    let task = first.writes.submit(batch(2), Vec::new(), &trace()).await.unwrap();
    assert!(task.acknowledged);
    let node = first.nodes.topology().find("n2").unwrap();
    assert_eq!(first.nodes.topology().node(node).state, NodeState::Down);
    let owned = first.nodes.topology().shards_of(node).clone();
    assert_eq!(first.nodes.topology().stale_of(node, "a"), Some(&owned));
    drop(first);
    let second = cluster(&fleet, &directory).await;
    assert_eq!(second.nodes.topology().stale_of(node, "a"), Some(&owned));
    assert!(second.ledger.registry.exists("a"));
}

/// A row as it is when the gateway is killed while its subrequests leave: `holders` have accepted it, the others have not.
async fn interrupt(cluster: &Cluster, fleet: &Fleet, holders: &[&str]) -> MiroirTask {
    let index = Some("a".to_owned());
    let mut task = MiroirTask::new(0, TaskKind::DocumentAdditionOrUpdate, index, OffsetDateTime::now_utc());
    let topology = cluster.nodes.topology();
    for node in topology.indexes() {
        let shards = topology.shards_of(node).clone();
        task.parts.push(NodeTask::unsent(topology.node(node).id.clone(), Purpose::Main, shards));
    }
    let entry = IndexEntry { uid: "a".into(), primary_key: None, leading: Vec::new() };
    cluster.ledger.store.begin_write(task.clone(), vec![("a".into(), Some(entry))]).await.unwrap();
    for node in holders {
        fleet.0.lock().entry((*node).to_owned()).or_default().1.push(json!({
            "uid": 0, "indexUid": "a", "status": "succeeded", "type": "documentAdditionOrUpdate",
            "customMetadata": task.id(), "enqueuedAt": "2999-01-01T00:00:00Z",
        }));
    }
    task
}

async fn decide(cluster: &Cluster, node: &NodeId) -> Result<bool, interrupted::InterruptedError> {
    interrupted::hear(&cluster.replicas.interrupted, &cluster.tracking, node).await
}

#[tokio::test(start_paused = true)]
async fn a_write_that_a_crash_interrupted_is_decided_once_its_nodes_have_been_asked() {
    for (holders, stale, status) in [
        (vec!["n0"], vec!["n0"], TaskStatus::Failed),
        (vec!["n0", "n1"], vec!["n2"], TaskStatus::Succeeded),
        (vec!["n0", "n1", "n2"], vec![], TaskStatus::Succeeded),
        (vec![], vec![], TaskStatus::Failed),
    ] {
        let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
        let first = cluster(&fleet, &directory).await;
        let task = interrupt(&first, &fleet, &holders).await;
        drop(first);
        let second = cluster(&fleet, &directory).await;
        for node in ["n0", "n1"] {
            assert!(!decide(&second, &NodeId::new(node)).await.unwrap(), "{holders:?}: {node} is too early");
        }
        assert!(decide(&second, &NodeId::new("n2")).await.unwrap());
        let topology = second.nodes.topology();
        for node in topology.indexes() {
            let id = topology.node(node).id.as_str();
            let wanted = stale.contains(&id).then(|| topology.shards_of(node));
            assert_eq!(topology.stale_of(node, "a"), wanted, "{holders:?}: {id}");
        }
        second.tracking.reconciler.ended(task.uid).await;
        let row = second.ledger.store.get_task(TaskRef::Uid(task.uid)).await.unwrap().unwrap();
        assert_eq!(row.status, status, "{holders:?}: {row:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_stay_away_are_not_waited_for_to_decide_an_interrupted_write() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let first = cluster(&fleet, &directory).await;
    interrupt(&first, &fleet, &["n0", "n1", "n2"]).await;
    drop(first);
    let second = cluster(&fleet, &directory).await;
    fleet.set("n2", Mood::Unreachable);
    let node = |id: &str| NodeId::new(id);
    assert!(!decide(&second, &node("n0")).await.unwrap());
    assert!(!decide(&second, &node("n1")).await.unwrap());
    assert!(decide(&second, &node("n2")).await.is_ok_and(|free| !free));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(decide(&second, &node("n0")).await.unwrap());
    let topology = second.nodes.topology();
    let away = topology.find("n2").unwrap();
    assert_eq!(topology.stale_of(away, "a"), Some(topology.shards_of(away)));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_too_few_replicas_could_take_leaves_nothing_behind() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    for id in ["n0", "n1"] {
        set_state(&cluster, id, NodeState::Down);
    }
    let error = cluster.writes.submit(batch(1), Vec::new(), &trace()).await.unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (503, "miroir_no_replica"));
    assert!(fleet.log("n2").is_empty() && !cluster.ledger.registry.exists("a"));
}

#[tokio::test(start_paused = true)]
async fn settings_that_every_node_refuses_create_no_index_and_leave_no_row() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    for id in ["n0", "n1", "n2"] {
        fleet.set(id, Mood::Refuses);
    }
    let operation = Change::UpdateSettings { index: "a".into() };
    let Plan::Broadcast(intent) = broadcast::plan(
        &operation,
        "",
        br#"{"stopWords":1}"#,
        &cluster.nodes.topology(),
        &cluster.ledger.hidden_settings(),
        &|_| false,
    ) else {
        panic!()
    };
    let error = cluster.writes.submit(*intent, Vec::new(), &trace()).await.unwrap_err();
    assert_eq!(error.message, "no such thing");
    assert!(!cluster.ledger.registry.exists("a"));
    assert!(cluster.ledger.store.indexes().await.unwrap().is_empty());
    assert_eq!(cluster.ledger.store.get_task(TaskRef::Uid(0)).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_a_down_node_misses_is_remembered() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    set_state(&cluster, "n1", NodeState::Down);
    let operation = Change::CreateIndex;
    let Plan::Broadcast(intent) = broadcast::plan(
        &operation,
        "",
        br#"{"uid":"a"}"#,
        &cluster.nodes.topology(),
        &cluster.ledger.hidden_settings(),
        &|_| false,
    ) else {
        panic!()
    };
    cluster.writes.submit(*intent, Vec::new(), &trace()).await.unwrap();
    assert_eq!(fleet.log("n0"), ["POST /indexes", "PATCH /indexes/a/settings"]);
    assert!(fleet.log("n1").is_empty());
    assert_eq!(cluster.ledger.bookkeeping.missed_by(&NodeId::new("n1")).await, Missed::of(["a".to_owned()]));
    assert!(cluster.ledger.bookkeeping.missed_by(&NodeId::new("n0")).await.is_nothing());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_documents_is_nothing_to_a_node_without_shards() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    publish(&cluster.nodes, |topology| {
        let owners = topology.owners.iter().map(|_| vec![NodeIx(0), NodeIx(1)]).collect();
        topology.set_owners(owners);
    });
    set_state(&cluster, "n2", NodeState::Joining);
    let operation = Change::DeleteDocumentsByFilter { index: "a".into() };
    let (topology, hidden) = (cluster.nodes.topology(), cluster.ledger.hidden_settings());
    let plan = broadcast::plan(&operation, "", br#"{"filter":"n = 1"}"#, &topology, &hidden, &|_| true);
    let Plan::DeleteMatching(intent) = plan else { panic!() };
    let task = cluster.writes.submit(*intent, Vec::new(), &trace()).await.unwrap();
    assert_eq!(task.parts.iter().map(|part| part.node.as_str()).collect::<Vec<_>>(), ["n0", "n1"]);
    assert!(fleet.log("n2").is_empty());
    assert!(cluster.ledger.bookkeeping.missed_by(&NodeId::new("n2")).await.is_nothing());
}

#[tokio::test]
async fn a_batch_that_failed_before_any_node_saw_it_is_a_failed_task_and_its_index_exists() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    let intent = WriteIntent { steps: Vec::new(), ..batch(1) };
    let error = ResponseError::new(Code::InvalidDocumentId, "bad id");
    let task = cluster.writes.record_failed(intent, error.clone(), &trace()).await.unwrap();
    // Until the nodes have its index it is under way; what is stored says already how it ends.
    assert_eq!((task.status, &task.error), (TaskStatus::Enqueued, &None));
    cluster.tracking.reconciler.ended(task.uid).await;
    let ended = cluster.ledger.store.get_task(TaskRef::Uid(task.uid)).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.error), (TaskStatus::Failed, Some(error)));
    assert_eq!(fleet.log("n1"), ["POST /indexes", "PATCH /indexes/a/settings"]);
    assert!(cluster.ledger.registry.exists("a"));
}
