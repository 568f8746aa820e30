//! Documents of other indexes in hits, over pretended nodes that hold some of them each.

use std::sync::Arc;

use serde_json::{Value, json};

use super::gather::tests::{FakeNodes, broken, topology};
use super::reader::Reply;
use super::tests::{run, shards_asked};
use crate::meili::error::ResponseError;
use crate::meili::operation::Read;
use crate::placement::document::shard_of;
use crate::placement::shard::ShardId;
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::index_info::{IndexInfo, Infos};
use crate::plan::scatter::NodeRequest;
use crate::plan::{Plan, read};
use crate::read::settings::UnavailableShards;

/// Book n lies in shard n and names author n.
const BOOKS: u16 = 6;

fn infos() -> Infos {
    let key =
        |foreign: &str, field: &str| json!({"foreignIndexUid": foreign, "fieldName": format!("_miroir_key_{field}")});
    let keys = json!([key("authors", "author"), key("authors", "others.id"), key("nobody", "none")]);
    let all = [("books", json!({"foreignKeys": keys})), ("authors", json!({"displayedAttributes": ["name"]}))];
    let info = |(uid, settings): (&str, Value)| IndexInfo::from_settings(uid, Some("id".into()), &settings);
    all.map(info).map(|info| (info.uid.clone(), Arc::new(info))).into()
}

fn book(n: u16) -> Value {
    json!({"id": n, "author": format!("a{n}"), "others": [{"id": "a1"}, {"id": "gone"}], "_formatted": {"author": format!("a{n}")}})
}

fn node(at: NodeIx, request: &NodeRequest, topology: &Topology) -> String {
    let (asked, own) = (shards_asked(request, topology), topology.shards_of(at));
    let holds = |shard: ShardId| asked.contains(shard) && own.contains(shard);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    if request.path == "/indexes/authors/documents/fetch" {
        assert_eq!(body["fields"], json!(["name", "id", "_miroir_written"]));
        let ids = body["ids"].as_array().unwrap().iter().filter_map(Value::as_str);
        let found = ids.filter(|id| *id != "gone" && holds(shard_of(id, topology.shards)));
        let found: Vec<Value> = found
            .map(|id| json!({"id": id, "name": format!("Name of {id}"), "_vectors": {}, "_miroir_written": id}))
            .collect();
        return json!({"results": found, "offset": 0, "limit": 20, "total": found.len()}).to_string();
    }
    let federated = request.path == "/multi-search";
    let hits: Vec<Value> = (0..BOOKS)
        .filter(|n| holds(ShardId(*n)))
        .map(|n| {
            let mut hit = book(n);
            hit["_rankingScoreDetails"] = json!({"words": {"order": 0, "score": 1.0 - f64::from(n) / 100.0}});
            if federated {
                hit["_federation"] = json!({"indexUid": "books", "queriesPosition": 0, "weightedRankingScore": 1.0 - f64::from(n) / 100.0});
            }
            hit
        })
        .collect();
    let total = hits.len();
    json!({"hits": hits, "query": "", "processingTimeMs": 1, "limit": 20, "offset": 0, "estimatedTotalHits": total})
        .to_string()
}

async fn ask(nodes: &FakeNodes<'_>, topology: &Topology, operation: Read, body: Value) -> Result<Reply, ResponseError> {
    let infos = infos();
    let path = if operation == Read::MultiSearch { "/multi-search" } else { "/indexes/books/search" };
    let Plan::Scatter(scatter) = read::plan(&operation, path, body.to_string().as_bytes(), &infos, topology) else {
        panic!("a search is scattered");
    };
    run(nodes, topology, UnavailableShards::Error, &scatter).await.0
}

fn hits(reply: &Reply, at: &str) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    body.pointer(at).and_then(Value::as_array).unwrap().clone()
}

fn joined(n: u16) -> Value {
    let name = |id: &str| json!({"name": format!("Name of {id}")});
    let author = name(&format!("a{n}"));
    json!({"id": n, "author": author, "others": [{"id": name("a1")}, {"id": {}}], "_formatted": {"author": author}})
}

#[tokio::test]
async fn hits_of_all_nodes_show_documents_of_all_nodes_in_one_round_more() {
    let topology = topology(3, 2);
    for dead in [None, Some(NodeIx(1))] {
        let nodes =
            FakeNodes::new(
                |at, request| {
                    if Some(at) == dead { Err(broken()) } else { Ok((200, node(at, request, &topology))) }
                },
            );
        let search = || Read::SearchPost { index: "books".into() };
        let found = hits(&ask(&nodes, &topology, search(), json!({})).await.unwrap(), "/hits");
        assert_eq!(found, (0..BOOKS).map(joined).collect::<Vec<_>>());
        let fetched = |nodes: &FakeNodes<'_>| {
            nodes.asked.lock().iter().filter(|(_, request)| request.path.ends_with("/fetch")).count()
        };
        assert!(fetched(&nodes) <= 4, "each node once, and those that stand in for a dead one");
        let several = json!({"queries": [{"indexUid": "books"}, {"indexUid": "books", "limit": 1}]});
        let several = ask(&nodes, &topology, Read::MultiSearch, several).await.unwrap();
        assert_eq!(hits(&several, "/results/0/hits"), found);
        assert_eq!(hits(&several, "/results/1/hits"), found[..1]);
    }
}

#[tokio::test]
async fn a_common_list_shows_them_too() {
    let topology = topology(3, 1);
    let nodes = FakeNodes::new(|at, request| Ok((200, node(at, request, &topology))));
    let body = json!({"federation": {}, "queries": [{"indexUid": "books"}]});
    let reply = ask(&nodes, &topology, Read::MultiSearch, body).await.unwrap();
    for (n, mut hit) in (0..BOOKS).zip(hits(&reply, "/hits")) {
        assert!(hit.as_object_mut().unwrap().shift_remove("_federation").is_some());
        assert_eq!(hit, joined(n));
    }
}
