//! Batches collected and turned into writes, without nodes.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::body::WholeBody;
use super::collect::{Collected, Collector, Source};
use super::steps::Addition;
use super::*;
use crate::meili::task::TaskKind;
use crate::placement::shard::{SHARD_FIELD, shard_value};
use crate::placement::topology::{Node, NodeId, NodeIx, NodeState};
use crate::plan::write::{RegistryChange, StepBody, Target, WriteIntent};
use crate::settings::FromSection as _;
use crate::split::rules::DocumentRules;
use crate::write::order::Batches;
use crate::write::settings::WriteSettings;

/// `nodes` nodes in a ring: shard s is on nodes s, s + 1, ...
pub(super) fn topology(nodes: usize, replicas: usize) -> Topology {
    let shards = 64;
    let node = |ix: usize| Node {
        id: NodeId::new(&format!("node-{ix}")),
        url: String::new(),
        zone: None,
        weight: 1.0,
        state: NodeState::Up,
    };
    let owner = |shard: u16, replica: usize| NodeIx((usize::from(shard) + replica) % nodes);
    let owners = (0..shards).map(|shard| (0..replicas).map(|replica| owner(shard, replica)).collect()).collect();
    Topology::with_owners((0..nodes).map(node).collect(), shards, replicas as u8, owners)
}

static BATCHES: std::sync::LazyLock<Batches> = std::sync::LazyLock::new(Batches::default);

fn settings() -> WriteSettings {
    WriteSettings { spool_memory: 1000, max_payload_size: 5000, ..WriteSettings::defaults() }
}

fn by_sku(topology: &Topology) -> Collector<'_> {
    Collector::new(topology, &settings(), &BATCHES, "sku".to_owned())
}

async fn read(collector: Collector<'_>, format: PayloadFormat, body: &str) -> Result<Option<Collected>, ResponseError> {
    let mut body = WholeBody::new(Bytes::copy_from_slice(body.as_bytes()));
    collector.read(Source::Body(&mut body), format).await
}

async fn lines(spool: &crate::nodes::spool::Spool) -> Vec<Value> {
    let mut reader = spool.reader();
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn addition(sets_primary_key: bool) -> Addition {
    Addition {
        index: "books".to_owned(),
        method: DocumentMethod::Update,
        custom_metadata: Some("mine".to_owned()),
        sets_primary_key,
    }
}

#[tokio::test]
async fn every_document_goes_to_the_owners_of_its_shard_in_order_and_in_parts() {
    let topology = topology(3, 2);
    let body: String = (0..600).map(|id| format!("{{\"id\":{},\"n\":{id}}}\n", id % 500)).collect();
    let collected = read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Ndjson, &body)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((collected.received, collected.primary_key.as_deref()), (600, Some("id")));
    assert!(collected.parts.len() > 3, "payloads are cut: {:?}", collected.parts.len());
    let mut seen: BTreeMap<(NodeIx, u64), i64> = BTreeMap::new();
    let mut copies = 0;
    for part in &collected.parts {
        assert!(part.spool.len() <= 5000);
        for document in lines(&part.spool).await {
            let id = document["id"].as_u64().unwrap();
            let shard = crate::placement::document::shard_of(&id.to_string(), topology.shards);
            assert!(topology.owners_of(shard).contains(&part.node) && part.shards.contains(shard));
            assert_eq!(document[SHARD_FIELD], json!(shard_value(shard, topology.shards)));
            let n = document["n"].as_i64().unwrap();
            let before = seen.insert((part.node, id), n).unwrap_or(-1);
            assert!(before < n, "in the body's order");
            copies += 1;
        }
    }
    assert_eq!(copies, 1200);
}

#[tokio::test]
async fn an_integer_and_its_text_are_one_document() {
    let topology = topology(3, 1);
    let body = r#"[{"id":7},{"id":"7"}]"#;
    let collected =
        read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Json, body).await.unwrap().unwrap();
    assert_eq!(collected.parts.len(), 1);
    assert_eq!(lines(&collected.parts[0].spool).await.len(), 2);
}

#[tokio::test]
async fn a_bad_id_fails_the_batch_but_a_malformed_body_comes_first() {
    let topology = topology(3, 2);
    let body = r#"[{"id":1},{"id":"not valid!"},{"name":"no id"}]"#;
    let collected =
        read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Json, body).await.unwrap().unwrap();
    let error = collected.error.as_ref().unwrap().to_response("books");
    assert_eq!(error.code, "invalid_document_id");
    assert!(collected.parts.is_empty(), "nothing is to be sent");
    let intent = addition(true).refused(&collected);
    assert_eq!(Value::Object(intent.details.unwrap()), json!({"receivedDocuments": 3, "indexedDocuments": 0}));
    assert!(intent.ensure_index && intent.steps.is_empty());

    let body = r#"[{"id":1},{"id":"not valid!"},{"name"]"#;
    let error =
        read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Json, body).await.err().unwrap();
    assert_eq!((error.status, error.code.as_str()), (400, "malformed_payload"));
}

#[tokio::test]
async fn a_bad_point_fails_the_batch_of_an_index_that_wants_points_but_a_bad_id_comes_first() {
    let topology = topology(3, 2);
    let read_it = |checks: bool, body: &'static str| {
        let rules = DocumentRules { geo: checks, ..DocumentRules::default() };
        let collector = Collector::guessing(&topology, &settings(), &BATCHES).checking(rules, Meets::Replacing);
        async move { read(collector, PayloadFormat::Json, body).await.unwrap().unwrap() }
    };
    let body = r#"[{"id":1,"_geo":{"lat":1,"lng":2}},{"id":2,"_geo":5},{"id":3}]"#;
    let collected = read_it(true, body).await;
    let error = collected.error.unwrap().to_response("books");
    assert_eq!(error.code, "invalid_document_geo_field");
    assert!(error.message.starts_with("Index `books`: The `_geo` field in the document with the id: `\"2\"` is not"));
    assert!(collected.parts.is_empty());
    assert!(read_it(false, body).await.error.is_none());
    let collected = read_it(true, r#"[{"id":2,"_geo":5},{"id":"not valid!"}]"#).await;
    assert_eq!(collected.error.unwrap().to_response("books").code, "invalid_document_id");
}

#[tokio::test]
async fn a_reserved_field_refuses_the_body() {
    let topology = topology(3, 2);
    let body = r#"[{"id":1},{"id":2,"_miroir_shard":"x"}]"#;
    let error =
        read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Json, body).await.err().unwrap();
    assert_eq!((error.status, error.code.as_str()), (400, "miroir_reserved_field"));
}

#[tokio::test]
async fn a_body_of_no_bytes_is_missing() {
    let topology = topology(3, 2);
    let collected =
        read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Csv { delimiter: b',' }, "").await;
    assert!(collected.unwrap().is_none());
    assert_eq!(missing_payload(PayloadFormat::Csv { delimiter: b',' }).message, "A csv payload is missing.");
}

#[tokio::test]
async fn the_write_names_the_key_and_tells_it_to_every_node_when_it_is_new() {
    let topology = topology(4, 1);
    let intent_of = async |sets| -> WriteIntent {
        let collector = Collector::new(&topology, &settings(), &BATCHES, "a b".to_owned());
        let collected = read(collector, PayloadFormat::Json, r#"[{"a b":1}]"#).await.unwrap().unwrap();
        let (intent, spools) = addition(sets).intent(collected, &topology);
        assert_eq!(spools.len(), 1);
        intent
    };
    let intent = intent_of(true).await;
    assert_eq!((intent.kind, intent.copies, intent.steps.len()), (TaskKind::DocumentAdditionOrUpdate, 1, 4));
    assert!(
        intent.steps.iter().all(|step| step.method == "PUT" && step.path == "/indexes/books/documents?primaryKey=a+b")
    );
    let set =
        RegistryChange::SetPrimaryKey { index: "books".to_owned(), primary_key: "a b".to_owned(), leading: Vec::new() };
    assert_eq!(intent.registry, set);
    assert_eq!(intent.custom_metadata.as_deref(), Some("mine"));
    assert_eq!(Value::Object(intent.details.unwrap()), json!({"receivedDocuments": 1, "indexedDocuments": null}));

    let intent = intent_of(false).await;
    assert_eq!((intent.steps.len(), intent.registry), (1, RegistryChange::None));
}

#[tokio::test]
async fn no_documents_are_a_write_to_all_nodes() {
    let topology = topology(3, 2);
    let collected =
        read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Json, "[]").await.unwrap().unwrap();
    let (intent, spools) = addition(true).intent(collected, &topology);
    assert!(spools.is_empty());
    assert_eq!(intent.steps.len(), 1);
    assert_eq!((intent.steps[0].to, intent.steps[0].path.as_str()), (Target::AllNodes, "/indexes/books/documents"));
    assert!(matches!(&intent.steps[0].body, StepBody::Json(body) if *body == json!([])));
    assert_eq!(intent.registry, RegistryChange::None);
}

#[tokio::test]
async fn no_documents_mind_no_other_key() {
    let topology = topology(3, 2);
    let changed = || IdError::Changed { stored: "sku".to_owned() };
    let refusing = || Collector::refusing(&topology, &settings(), &BATCHES, changed());
    let none = read(refusing(), PayloadFormat::Json, "[]").await.unwrap().unwrap();
    assert!(none.error.is_none());
    let (intent, _) = addition(false).intent(none, &topology);
    assert_eq!(intent.steps[0].path, "/indexes/books/documents?primaryKey=sku");
    let one = read(refusing(), PayloadFormat::Json, r#"[{"id":1}]"#).await.unwrap().unwrap();
    assert!(matches!(one.error, Some(BatchError::Id(IdError::Changed { stored })) if stored == "sku"));
    let meanwhile = Collector::new(&topology, &settings(), &BATCHES, "id".to_owned());
    let meanwhile = read(meanwhile, PayloadFormat::Json, "[]").await.unwrap().unwrap();
    let settled = split_by_stored(meanwhile, "sku", by_sku(&topology)).await.unwrap();
    assert!(settled.error.is_none());
    assert_eq!(settled.primary_key.as_deref(), Some("sku"));
}

#[tokio::test]
async fn a_guessed_key_gives_way_to_the_one_the_index_got_meanwhile() {
    let topology = topology(3, 1);
    let body = r#"[{"id":1,"sku":"b"}]"#;
    let guessed =
        read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Json, body).await.unwrap().unwrap();
    let settled = split_by_stored(guessed, "sku", by_sku(&topology)).await.unwrap();
    assert_eq!((settled.primary_key.as_deref(), settled.received), (Some("sku"), 1));
    assert!(settled.error.is_none());
    let shard = crate::placement::document::shard_of("b", topology.shards);
    assert!(settled.parts[0].shards.contains(shard));
}

#[tokio::test]
async fn a_named_key_fails_against_the_one_the_index_got_meanwhile() {
    let topology = topology(3, 1);
    let collector = Collector::new(&topology, &settings(), &BATCHES, "id".to_owned());
    let named = read(collector, PayloadFormat::Json, r#"[{"id":1}]"#).await.unwrap().unwrap();
    let settled = split_by_stored(named, "sku", by_sku(&topology)).await.unwrap();
    let error = settled.error.unwrap().to_response("books");
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("index_primary_key_already_exists", "Index already has a primary key: `sku`.")
    );
}

#[test]
fn an_addition_can_be_awaited_on_any_thread() {
    fn is_send<T: Send>(_: fn(&Arc<Writes>, Arc<Topology>, AddDocuments, &'static mut dyn BodySource) -> T) {}
    is_send(|writes, topology, request, body| {
        let writes = Arc::clone(writes);
        async move { add(&writes, topology, request, body, &Trace::new("")).await.is_ok() }
    });
}

#[tokio::test]
async fn a_document_that_comes_again_counts_once_and_is_sent_each_time() {
    let topology = topology(3, 1);
    let body = r#"[{"id":"ab"},{"id":"\u0061b"},{"id":"c"}]"#;
    let collected =
        read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Json, body).await.unwrap().unwrap();
    let (intent, _spools) = addition(false).intent(collected, &topology);
    assert_eq!(intent.documents.values().sum::<u64>(), 2);
    assert_eq!(Value::Object(intent.details.unwrap()), json!({"receivedDocuments": 3, "indexedDocuments": null}));
}

#[tokio::test]
async fn vectors_of_no_shape_fail_the_batch_in_any_index() {
    let topology = topology(3, 2);
    let body = r#"[{"id":1},{"id":2,"_vectors":{"any":"x"}},{"id":3}]"#;
    let collected =
        read(Collector::guessing(&topology, &settings(), &BATCHES), PayloadFormat::Json, body).await.unwrap().unwrap();
    let error = collected.error.unwrap().to_response("books");
    assert_eq!(error.code, "invalid_vectors_type");
    assert!(error.message.starts_with("Index `books`: Bad embedder configuration in the document with id: `2`. "));
    assert!(collected.parts.is_empty());
}

#[tokio::test]
async fn a_body_that_skips_is_listed_first_and_then_shared_out_by_what_exists() {
    let topology = topology(3, 2);
    let body = r#"[{"id":1,"a":1},{"id":"two"},{"id":1,"a":2},{"id":3}]"#;
    let collector = Collector::guessing(&topology, &settings(), &BATCHES).listing(&settings());
    let listed = read(collector, PayloadFormat::Json, body).await.unwrap().unwrap();
    assert_eq!((listed.received, listed.primary_key.as_deref()), (4, Some("id")));
    assert_eq!(listed.ids.ids, ["1", "two", "3"].map(str::to_owned).into());
    assert_eq!(listed.ids.by_shard.values().sum::<u64>(), 3);
    assert!(listed.parts.is_empty());

    let collector = Collector::new(&topology, &settings(), &BATCHES, "id".to_owned()).only(["1".to_owned()].into());
    let kept = listed.unsplit.unwrap();
    let taken = collector.read(Source::Spools(&kept), PayloadFormat::Ndjson).await.unwrap().unwrap();
    assert_eq!((taken.received, taken.parts.len()), (4, 2));
    for part in &taken.parts {
        let values: Vec<Value> = lines(&part.spool).await.iter().map(|line| line["a"].clone()).collect();
        assert_eq!(values, [1, 2]);
    }
}
