//! Nodes in memory for tests of copies: documents behind a queue that is worked off with a delay, so that what a node has
//! accepted and what it shows differ, as on real ones.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::cluster::settings::ClusterSettings;
use crate::ledger::insync;
use crate::ledger::marks::Marks;
use crate::meili::operation::{Change, DocumentMethod};
use crate::nodes::client::{NodeReply, SubBody, Subrequest, Trace};
use crate::nodes::error::{NodeError, NodeErrorKind};
use crate::nodes::health::publish;
use crate::nodes::transport::Transport;
use crate::placement::settings::{NodeSettings, PlacementSettings};
use crate::placement::shard::SHARD_FIELD;
use crate::placement::topology::{Node, NodeIx, NodeState};
use crate::placement::vocabulary::SharedWords;
use crate::plan::addition::Split;
use crate::plan::deletion::{Deletion, Ids};
use crate::plan::{Plan, broadcast};
use crate::replicas::resilver;
use crate::store::sqlite::SqliteStore;
use crate::tasks::entry::MiroirTask;
use crate::write::body::WholeBody;
use crate::write::documents::{self, AddDocuments};

pub const INDEX: &str = "a";
const SHARDS: u16 = 16;

type Documents = BTreeMap<String, Map<String, Value>>;

/// What a task of a node does.
#[derive(Clone)]
enum Action {
    Replace(Vec<Map<String, Value>>),
    Update(Vec<Map<String, Value>>),
    Delete(Vec<String>),
    /// Of the documents whose `n` is this, as a filter would find them.
    DeleteWhere(i64),
    Nothing,
}

#[derive(Default)]
struct Member {
    documents: Documents,
    queue: VecDeque<(usize, Action)>,
    tasks: Vec<Value>,
    unreachable: bool,
    /// Tasks that replace documents end as failed.
    fails: bool,
    /// Lists of tasks do not heed which are asked for.
    lists_any: bool,
    /// Milliseconds a task takes.
    pace: u64,
}

/// All nodes by id.
#[derive(Clone, Default)]
pub struct Fleet(Arc<Mutex<HashMap<String, Member>>>);

// === impl Fleet ===

impl Fleet {
    pub fn documents(&self, node: &str) -> Documents {
        self.0.lock()[node].documents.clone()
    }

    pub fn change(&self, node: &str, change: impl FnOnce(&mut Documents)) {
        change(&mut self.0.lock().get_mut(node).unwrap().documents);
    }

    pub fn set_unreachable(&self, node: &str, unreachable: bool) {
        self.0.lock().get_mut(node).unwrap().unreachable = unreachable;
    }

    pub fn set_failing(&self, node: &str, fails: bool) {
        self.0.lock().get_mut(node).unwrap().fails = fails;
    }

    /// Lets the lists of a node have its newest tasks, whichever are asked for by their uids.
    pub fn list_any(&self, node: &str) {
        self.0.lock().get_mut(node).unwrap().lists_any = true;
    }

    /// Lets a node take `pace` milliseconds for each task.
    pub fn set_pace(&self, node: &str, pace: u64) {
        self.0.lock().get_mut(node).unwrap().pace = pace;
    }

    async fn work(self, node: String) {
        loop {
            let pace = {
                let mut fleet = self.0.lock();
                let member = fleet.get_mut(&node).unwrap();
                if let Some((task, action)) = member.queue.pop_front() {
                    member.carry_out(task, action);
                }
                member.pace
            };
            tokio::time::sleep(Duration::from_millis(pace)).await;
        }
    }

    fn reply(&self, node: &Node, request: &Subrequest) -> Result<NodeReply, NodeError> {
        let mut fleet = self.0.lock();
        let member = fleet.get_mut(node.id.as_str()).unwrap();
        if member.unreachable {
            return Err(NodeError::new(&node.id, NodeErrorKind::Connect("refused".into())));
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let body = match &request.body {
            SubBody::Bytes(bytes) => bytes.clone(),
            SubBody::Empty | SubBody::Spool(..) => Bytes::new(),
        };
        let (status, answer) = member.answer(&request.method, path, query, &body);
        Ok(NodeReply { status, body: Bytes::from(answer.to_string()), retry_after: None })
    }
}

// === impl Member ===

impl Member {
    fn carry_out(&mut self, task: usize, action: Action) {
        let fails = self.fails && matches!(action, Action::Replace(_));
        match action {
            Action::Replace(_) if fails => {}
            Action::Replace(documents) => {
                self.documents.extend(documents.into_iter().map(|document| (id_of(&document), document)));
            }
            Action::Update(documents) => {
                for document in documents {
                    self.documents.entry(id_of(&document)).or_default().extend(document);
                }
            }
            Action::Delete(ids) => self.documents.retain(|id, _| !ids.contains(id)),
            Action::DeleteWhere(n) => self.documents.retain(|_, document| document.get("n") != Some(&json!(n))),
            Action::Nothing => {}
        }
        self.tasks[task]["status"] = json!(if fails { "failed" } else { "succeeded" });
        self.tasks[task]["finishedAt"] = json!("2999-01-01T00:00:00Z");
    }

    fn answer(&mut self, method: &http::Method, path: &str, query: &str, body: &Bytes) -> (u16, Value) {
        let documents = format!("/indexes/{INDEX}/documents");
        let parameter = |name: &str| {
            let prefix = format!("{name}=");
            query.split('&').find_map(|pair| pair.strip_prefix(prefix.as_str())).map(str::to_owned)
        };
        let stamp = parameter("customMetadata");
        match (method.as_str(), path) {
            ("POST", path) if path == format!("{documents}/fetch") => (200, self.fetch(body)),
            ("POST", path) if path == documents => {
                self.enqueue(Action::Replace(objects(body)), "documentAdditionOrUpdate", stamp)
            }
            ("PUT", path) if path == documents => {
                self.enqueue(Action::Update(objects(body)), "documentAdditionOrUpdate", stamp)
            }
            ("POST", path) if path == format!("{documents}/delete-batch") => {
                let ids = serde_json::from_slice(body).unwrap();
                self.enqueue(Action::Delete(ids), "documentDeletion", stamp)
            }
            ("POST", path) if path == format!("{documents}/delete") => {
                let asked: Value = serde_json::from_slice(body).unwrap();
                let n = asked["filter"][0].as_str().unwrap().strip_prefix("n = ").unwrap().parse().unwrap();
                self.enqueue(Action::DeleteWhere(n), "documentDeletion", stamp)
            }
            ("POST", "/indexes") => self.enqueue(Action::Nothing, "indexCreation", None),
            ("PATCH", _) => self.enqueue(Action::Nothing, "settingsUpdate", None),
            ("GET", "/tasks") => {
                let open = query.contains("statuses=enqueued,processing");
                let swaps = query.contains("types=indexSwap");
                let from: usize = parameter("from").map_or(usize::MAX, |from| from.parse().unwrap());
                let limit: usize = parameter("limit").map_or(20, |limit| limit.parse().unwrap());
                let named = parameter("uids").filter(|_| !self.lists_any);
                let is_named = |uid: usize| {
                    named.as_ref().is_none_or(|uids| uids.split(',').any(|named| named.parse() == Ok(uid)))
                };
                let matches = |task: &&Value| {
                    let uid = task["uid"].as_u64().unwrap() as usize;
                    uid <= from && is_named(uid) && !swaps && (!open || task["status"] == "enqueued")
                };
                let results: Vec<&Value> = self.tasks.iter().rev().filter(matches).take(limit).collect();
                (200, json!({"results": results, "next": null}))
            }
            ("GET", path) => match path.strip_prefix("/tasks/") {
                Some(uid) => (200, self.tasks[uid.parse::<usize>().unwrap()].clone()),
                None => (200, json!({})),
            },
            (method, path) => panic!("{method} {path}"),
        }
    }

    fn enqueue(&mut self, action: Action, kind: &str, stamp: Option<String>) -> (u16, Value) {
        let uid = self.tasks.len();
        self.tasks.push(json!({
            "uid": uid, "indexUid": INDEX, "status": "enqueued", "type": kind, "customMetadata": stamp,
            "enqueuedAt": "2999-01-01T00:00:00Z",
        }));
        self.queue.push_back((uid, action));
        (202, self.tasks[uid].clone())
    }

    fn fetch(&self, body: &Bytes) -> Value {
        let asked: Value = serde_json::from_slice(body).unwrap();
        let limit = asked["limit"].as_u64().unwrap() as usize;
        let found: Vec<&Map<String, Value>> = match (&asked["ids"], &asked["filter"]) {
            (Value::Array(ids), _) => ids.iter().filter_map(|id| self.documents.get(id.as_str().unwrap())).collect(),
            (_, Value::String(filter)) => {
                let shards: Vec<&str> = filter.split('"').skip(1).step_by(2).collect();
                let matches =
                    |document: &&Map<String, Value>| shards.contains(&document[SHARD_FIELD].as_str().unwrap());
                self.documents.values().filter(matches).collect()
            }
            other => panic!("{other:?}"),
        };
        let total = found.len();
        json!({"results": found.into_iter().take(limit).collect::<Vec<_>>(), "total": total})
    }
}

fn id_of(document: &Map<String, Value>) -> String {
    document["id"].as_str().map_or_else(|| document["id"].to_string(), str::to_owned)
}

/// A JSON array or NDJSON.
fn objects(body: &Bytes) -> Vec<Map<String, Value>> {
    if body.starts_with(b"[") {
        return serde_json::from_slice(body).unwrap();
    }
    serde_json::Deserializer::from_slice(body).into_iter().map(|document| document.unwrap()).collect()
}

#[async_trait]
impl Transport for Fleet {
    async fn exchange(&self, node: &Node, request: &Subrequest, _trace: &Trace) -> Result<NodeReply, NodeError> {
        // A request takes its time, there and back.
        tokio::time::sleep(Duration::from_micros(200)).await;
        let request = match &request.body {
            SubBody::Spool(spool, range) => {
                let mut reader = spool.slice(range.clone()).reader();
                let mut bytes = Vec::new();
                while let Some(chunk) = reader.next().await.unwrap() {
                    bytes.extend_from_slice(&chunk);
                }
                Subrequest { body: SubBody::Bytes(Bytes::from(bytes)), ..request.clone() }
            }
            SubBody::Empty | SubBody::Bytes(_) => request.clone(),
        };
        let reply = self.reply(node, &request);
        tokio::time::sleep(Duration::from_micros(200)).await;
        reply
    }
}

/// A cluster of such nodes, its index made, its resilver at work.
pub struct Bed {
    pub fleet: Fleet,
    pub cluster: Arc<Cluster>,
    shutdown: tokio::sync::watch::Sender<bool>,
}

impl Bed {
    pub async fn start(nodes: usize, cutover: Duration) -> Self {
        let fleet = Fleet::default();
        let ids: Vec<String> = (0..nodes).map(|node| format!("n{node}")).collect();
        for id in &ids {
            fleet.0.lock().insert(id.clone(), Member { pace: 1, ..Member::default() });
            tokio::spawn(fleet.clone().work(id.clone()));
        }
        let settings = |id: &String| NodeSettings { id: id.clone(), url: "http://x".into(), zone: None, weight: 1.0 };
        let placement = PlacementSettings {
            shards: Some(SHARDS),
            placement: None,
            replication_factor: 2,
            nodes: ids.iter().map(settings).collect(),
        };
        let mut settings = ClusterSettings::new(placement);
        // Nobody probes these nodes: there is nothing to wait for at the start.
        settings.health.start_wait = Duration::ZERO;
        // These nodes know no words.
        settings.search.words = SharedWords::No;
        settings.resilver.cutover = cutover;
        let store = Arc::new(SqliteStore::open(":memory:", SHARDS).unwrap());
        let transport = Box::new(fleet.clone());
        let cluster = Cluster::with_transport(settings, store, &prometheus::Registry::new(), transport).await.unwrap();
        let (shutdown, stop) = tokio::sync::watch::channel(false);
        let bed = Self { fleet, cluster, shutdown };
        for id in &ids {
            bed.set_state(id, NodeState::Up);
        }
        bed.add(DocumentMethod::Replace, &[]).await;
        let copies = &bed.cluster.replicas.copies;
        tokio::spawn(resilver::run(
            Arc::clone(copies),
            Arc::clone(&bed.cluster.replicas.repairs),
            Arc::clone(&bed.cluster.writes),
            stop,
        ));
        bed
    }

    pub fn ix(&self, node: &str) -> NodeIx {
        self.cluster.nodes.topology().find(node).unwrap()
    }

    pub fn set_state(&self, node: &str, state: NodeState) {
        publish(&self.cluster.nodes, |topology| {
            let ix = topology.find(node).unwrap();
            topology.nodes[ix.0].state = state;
        });
        self.cluster.ledger.copies_due.notify_one();
    }

    /// Takes a node away, as one that is killed.
    pub fn lose(&self, node: &str) {
        self.fleet.set_unreachable(node, true);
        self.set_state(node, NodeState::Down);
    }

    pub fn bring_back(&self, node: &str) {
        self.fleet.set_unreachable(node, false);
        self.set_state(node, NodeState::Up);
    }

    /// Marks all replicas of a node stale.
    pub async fn make_stale(&self, node: &str) {
        let ix = self.ix(node);
        let shards = self.cluster.nodes.topology().shards_of(ix).clone();
        let marks = Marks { stale: vec![(ix, INDEX.to_owned(), shards)], missed: Vec::new() };
        insync::mark(&self.cluster.ledger, &marks).await.unwrap();
    }

    pub async fn add(&self, method: DocumentMethod, documents: &[Value]) -> MiroirTask {
        let request = AddDocuments {
            split: Split::new(INDEX, method, "primaryKey=id", Some("application/json")).unwrap(),
            content_encoding: None,
            limit: u64::MAX,
            may_create: true,
            makings: Arc::default(),
        };
        let mut body = WholeBody::new(json!(documents).to_string());
        let trace = Trace::new("test");
        documents::add(&self.cluster.writes, self.cluster.nodes.topology(), request, &mut body, &trace).await.unwrap()
    }

    pub async fn delete(&self, ids: &[u32]) -> MiroirTask {
        let ids = Ids::Listed(ids.iter().map(u32::to_string).collect());
        let deletion = Deletion::new(INDEX, ids, "").unwrap();
        let topology = self.cluster.nodes.topology();
        documents::delete(&self.cluster.writes, topology, &deletion, &Trace::new("test")).await.unwrap()
    }

    pub async fn delete_where(&self, n: i64) -> MiroirTask {
        let operation = Change::DeleteDocumentsByFilter { index: INDEX.into() };
        let body = json!({"filter": format!("n = {n}")}).to_string();
        let topology = self.cluster.nodes.topology();
        let hidden = self.cluster.ledger.hidden_settings();
        let plan = broadcast::plan(&operation, "", body.as_bytes(), &topology, &hidden, &|_| true);
        let Plan::DeleteMatching(intent) = plan else { panic!("a deletion by filter") };
        self.cluster.writes.submit(*intent, Vec::new(), &Trace::new("test")).await.unwrap()
    }

    /// Waits until no replica is stale and no node has a task left.
    pub async fn at_rest(&self) {
        let rest = async {
            loop {
                // What a health check does: a reply on its way may have taken a node out that is back already.
                let topology = self.cluster.nodes.topology();
                for node in topology.nodes.iter().filter(|node| node.state != NodeState::Up) {
                    if !self.fleet.0.lock()[node.id.as_str()].unreachable {
                        self.set_state(node.id.as_str(), NodeState::Up);
                    }
                }
                let idle = self.fleet.0.lock().values().all(|member| member.queue.is_empty());
                let stale = !self.cluster.nodes.topology().stale.is_empty();
                let polled = !self.cluster.ledger.store.unfinished_tasks().await.unwrap().is_empty();
                if idle && !stale && !polled {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), rest).await.is_err() {
            panic!(
                "no rest: {:?} {:?}",
                self.cluster.replicas.copies.running(),
                self.cluster.replicas.copies.failures()
            );
        }
    }

    /// Every owner of every shard holds the same documents; returns the ids.
    pub fn assert_equal_replicas(&self) -> BTreeSet<String> {
        let topology = self.cluster.nodes.topology();
        let mut ids = BTreeSet::new();
        for shard in (0..topology.shards).map(crate::placement::shard::ShardId) {
            let of = |node: &NodeIx| -> Documents {
                let documents = self.fleet.documents(topology.node(*node).id.as_str());
                documents
                    .into_iter()
                    .filter(|(id, _)| crate::placement::document::shard_of(id, topology.shards) == shard)
                    .collect()
            };
            let owners = topology.owners_of(shard);
            let first = of(&owners[0]);
            for other in &owners[1..] {
                assert_eq!(first, of(other), "{shard:?} on {:?}", topology.node(*other).id);
            }
            ids.extend(first.into_keys());
        }
        ids
    }

    pub fn copied(&self, node: &str) -> u64 {
        self.cluster.nodes.metrics.resilvered_documents.with_label_values(&[node]).get()
    }

    pub fn deleted(&self, node: &str) -> u64 {
        self.cluster.replicas.copies.metrics.deleted.with_label_values(&[node]).get()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.shutdown.send_replace(true);
    }
}
