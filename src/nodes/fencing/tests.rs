//! Nodes that look at keys, and gateways that lead in turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;

use super::*;
use crate::meili::error::ResponseError;
use crate::nodes::fence::{Looked, looked_before};
use crate::nodes::metrics::ClusterMetrics;
use crate::nodes::transport::Transport;
use crate::placement::topology::{NodeId, NodeState};
use crate::store::sqlite::SqliteStore;
use crate::store::trust::Trust;

/// A node that looks at keys.
#[derive(Default)]
struct Keyed {
    /// Description, and the key as it is shown.
    keys: Vec<(String, Value)>,
    tasks: Vec<Value>,
    has_no_master_key: bool,
}

#[derive(Clone, Default)]
struct Door(Arc<Mutex<Keyed>>);

fn reply(status: u16, body: &Value) -> Result<NodeReply, NodeError> {
    Ok(NodeReply { status, body: Bytes::from(body.to_string()), retry_after: None })
}

fn refusal(code: Code) -> Result<NodeReply, NodeError> {
    let error = ResponseError::new(code, "no");
    reply(error.status, &serde_json::to_value(&error).unwrap())
}

impl Keyed {
    fn add(&mut self, reign: Reign) -> String {
        let (uid, secret) = (Uuid::new_v4(), format!("secret-{}", Uuid::new_v4()));
        let shown = json!({ "uid": uid, "key": secret, "description": reign.to_string() });
        self.keys.push((reign.to_string(), shown));
        secret
    }

    /// A body ends of which the head was read before.
    fn end_body_of(&mut self, epoch: i64) {
        let (uid, stamp) = (self.tasks.len(), format!("miroir-copy,epoch-{epoch}"));
        self.tasks.push(json!({
            "uid": uid, "indexUid": "a", "status": "enqueued", "type": "documentAdditionOrUpdate", "customMetadata": stamp,
        }));
    }

    fn epochs(&self) -> Vec<i64> {
        self.keys.iter().filter_map(|(described, _)| Reign::of_key(described)).map(|reign| reign.epoch).collect()
    }
}

#[async_trait]
impl Transport for Door {
    async fn exchange(&self, node: &Node, request: &Subrequest, trace: &Trace) -> Result<NodeReply, NodeError> {
        self.exchange_as(node, request, trace, None).await
    }

    async fn exchange_as(
        &self,
        _: &Node,
        request: &Subrequest,
        _: &Trace,
        key: Option<&Secret>,
    ) -> Result<NodeReply, NodeError> {
        let mut node = self.0.lock();
        if let Some(key) = key
            && !node.keys.iter().any(|(_, shown)| shown["key"] == key.expose())
        {
            return refusal(Code::InvalidApiKey);
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        match (request.method.as_str(), path) {
            (_, "/keys") if node.has_no_master_key => refusal(Code::MissingMasterKey),
            ("GET", "/keys") => {
                reply(200, &json!({ "results": node.keys.iter().map(|(_, shown)| shown).collect::<Vec<_>>() }))
            }
            ("POST", "/keys") => {
                let body: Value = serde_json::from_slice(&request.body.in_memory().unwrap()).unwrap();
                assert_eq!(body["actions"], json!(["*"]));
                let described = body["description"].as_str().unwrap().to_owned();
                let shown =
                    json!({ "uid": body["uid"], "key": format!("of-{}", body["uid"]), "description": described });
                node.keys.push((described, shown.clone()));
                reply(201, &shown)
            }
            ("DELETE", _) if path.starts_with("/keys/") => {
                node.keys.retain(|(_, shown)| !path.ends_with(shown["uid"].as_str().unwrap()));
                reply(204, &Value::Null)
            }
            ("GET", "/tasks") => {
                let parameter = |name: &str| {
                    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok())
                };
                let up_to = parameter("from").map_or(node.tasks.len(), |from| (from + 1).min(node.tasks.len()));
                let page = node.tasks[..up_to].iter().rev().take(parameter("limit").unwrap_or(20));
                reply(200, &json!({ "results": page.collect::<Vec<_>>() }))
            }
            _ => {
                let stamp = query.split('&').find_map(|pair| pair.strip_prefix("customMetadata="));
                let task = json!({
                    "uid": node.tasks.len(), "indexUid": "a", "status": "enqueued",
                    "type": "documentAdditionOrUpdate", "customMetadata": stamp,
                });
                node.tasks.push(task.clone());
                reply(202, &task)
            }
        }
    }
}

fn reign(epoch: i64) -> Reign {
    Reign { cluster: Uuid::from_u128(1), epoch }
}

/// A gateway that leads in `epoch`, and how often it looked at its lease.
fn leader(door: &Door, epoch: i64, unfenced: Unfenced) -> (NodeClient, Arc<AtomicUsize>) {
    leader_after(door, epoch, unfenced, BTreeMap::new())
}

/// The same where leaders before it have looked at nodes.
fn leader_after(
    door: &Door,
    epoch: i64,
    unfenced: Unfenced,
    before: BTreeMap<NodeId, Looked>,
) -> (NodeClient, Arc<AtomicUsize>) {
    let metrics = ClusterMetrics::new(&prometheus::Registry::new()).unwrap();
    let client = NodeClient::new(Box::new(door.clone()), metrics, Duration::from_secs(5));
    let doubts = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&doubts);
    let doubt = Box::new(move || {
        counts.fetch_add(1, Ordering::SeqCst);
    });
    let fence = Fence::new(reign(epoch), Trust::always(), (Means::NodeKey, unfenced), before, doubt);
    client.go_by(Right::Leads(fence));
    (client, doubts)
}

fn node() -> Node {
    Node { id: NodeId::new("n"), url: String::new(), zone: None, weight: 1.0, state: NodeState::Up }
}

async fn write(client: &NodeClient) -> Result<u16, NodeError> {
    let path = "/indexes/a/documents?customMetadata=miroir-copy";
    let request = Subrequest::json(http::Method::POST, path, Bytes::from("[]"), Duration::from_secs(5), false);
    client.send(&node(), request, &Trace::background("test")).await.map(|reply| reply.status)
}

#[tokio::test]
async fn a_node_takes_changes_of_the_epoch_that_leads_and_of_no_other() {
    let (door, trace) = (Door::default(), Trace::background("test"));
    let (old, old_doubts) = leader(&door, 7, Unfenced::Refuse);
    let early = write(&old).await.unwrap_err();
    assert!(matches!(early.kind, NodeErrorKind::Unfenced(_)), "{early}");
    old.fence(&node(), &trace).await.unwrap();
    assert_eq!(write(&old).await.unwrap(), 202);
    // Another cluster's key, and an operator's own, are left alone.
    door.0.lock().add(Reign { cluster: Uuid::from_u128(2), epoch: 3 });

    let (new, new_doubts) = leader(&door, 8, Unfenced::Refuse);
    new.fence(&node(), &trace).await.unwrap();
    assert_eq!(door.0.lock().epochs(), [3, 8]);
    assert_eq!(write(&new).await.unwrap(), 202);
    let stamps: Vec<Value> = door.0.lock().tasks.iter().map(|task| task["customMetadata"].clone()).collect();
    assert_eq!(stamps, ["miroir-copy,epoch-7", "miroir-copy,epoch-8"]);
    assert_eq!((old_doubts.load(Ordering::SeqCst), new_doubts.load(Ordering::SeqCst)), (0, 0));
    // The old one is refused, and looks at its lease; here that says nothing, so it goes on as if the state had been lost.
    write(&old).await.unwrap();
    assert_eq!((old_doubts.load(Ordering::SeqCst), door.0.lock().epochs()), (2, vec![3, 7]));
}

#[tokio::test]
async fn a_key_that_was_deleted_is_made_anew_once() {
    let (door, trace) = (Door::default(), Trace::background("test"));
    let (client, doubts) = leader(&door, 7, Unfenced::Refuse);
    client.fence(&node(), &trace).await.unwrap();
    door.0.lock().keys.clear();
    let writes = futures::future::join_all((0..5).map(|_| write(&client))).await;
    assert!(writes.iter().all(|written| *written.as_ref().unwrap() == 202));
    assert_eq!((doubts.load(Ordering::SeqCst), door.0.lock().epochs()), (1, vec![7]));
    client.fence(&node(), &trace).await.unwrap();
    assert_eq!(door.0.lock().epochs(), [7], "a key that is there is kept");
}

#[tokio::test]
async fn a_node_without_keys_takes_part_only_where_that_is_allowed() {
    let (door, trace) = (Door::default(), Trace::background("test"));
    door.0.lock().has_no_master_key = true;
    let error = leader(&door, 7, Unfenced::Refuse).0.fence(&node(), &trace).await.unwrap_err();
    assert!(error.to_string().contains("gateway.unfenced_nodes"), "{error}");
    let (client, _) = leader(&door, 7, Unfenced::Allow);
    client.fence(&node(), &trace).await.unwrap();
    assert_eq!(write(&client).await.unwrap(), 202);
}

#[tokio::test]
async fn what_came_late_is_found_behind_the_barrier() {
    let (door, trace) = (Door::default(), Trace::background("test"));
    let (old, _) = leader(&door, 7, Unfenced::Refuse);
    old.fence(&node(), &trace).await.unwrap();
    write(&old).await.unwrap();
    let (new, _) = leader(&door, 8, Unfenced::Refuse);
    new.fence(&node(), &trace).await.unwrap();
    assert!(new.late_arrivals(&node(), &trace).await.unwrap().is_none(), "what was there before is decided");
    for epoch in [8, 7, 8] {
        door.0.lock().end_body_of(epoch);
    }
    for _ in 0..500 {
        write(&new).await.unwrap();
    }
    let late = new.late_arrivals(&node(), &trace).await.unwrap().unwrap();
    assert_eq!(late.tasks.iter().map(|task| task.uid).collect::<Vec<_>>(), [2]);
    new.noted(&node(), &late);
    assert!(new.late_arrivals(&node(), &trace).await.unwrap().is_none());
}

#[tokio::test]
async fn what_came_late_while_nobody_led_is_found_by_the_next_leader() {
    let (door, trace, store) = (Door::default(), Trace::background("test"), SqliteStore::open(":memory:", 4).unwrap());
    let mut found = Vec::new();
    for epoch in 7..=10 {
        let before = looked_before(&store).await.unwrap();
        let (client, _) = leader_after(&door, epoch, Unfenced::Refuse, before);
        client.fence(&node(), &trace).await.unwrap();
        if let Some(late) = client.late_arrivals(&node(), &trace).await.unwrap() {
            found.extend(late.tasks.iter().map(|task| (epoch, task.uid)));
            client.noted(&node(), &late);
        }
        client.keep_looked(&node(), &store).await.unwrap();
        write(&client).await.unwrap();
        if epoch == 8 {
            // It dies, and what epoch 7 had opened ends before anybody else leads.
            door.0.lock().end_body_of(7);
        }
    }
    assert_eq!(found, [(9, 2)], "each task is another leader's, and one came late");
}

#[tokio::test]
async fn who_follows_changes_nothing() {
    let metrics = ClusterMetrics::new(&prometheus::Registry::new()).unwrap();
    let client = NodeClient::new(Box::new(Door::default()), metrics, Duration::from_secs(5));
    client.go_by(Right::Follows);
    let error = write(&client).await.unwrap_err();
    assert!(matches!(error.kind, NodeErrorKind::Unfenced(_)), "{error}");
    let read = Subrequest::get("/tasks?limit=1", Duration::from_secs(5));
    assert_eq!(client.send(&node(), read, &Trace::background("test")).await.unwrap().status, 200);
}
