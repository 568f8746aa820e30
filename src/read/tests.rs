//! Reads over pretended nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::cluster_nodes::Filters;
use super::gather::Nodes;
use super::gather::tests::{FakeNodes, broken, topology};
use super::query_vectors::QueryVectors;
use super::reader::{Reader, Reply};
use crate::ledger::refusals::Refusals;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::Read;
use crate::placement::shard::{ShardId, ShardSet, shard_value};
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::index_info::IndexInfo;
use crate::plan::rounds::Later;
use crate::plan::scatter::{NodeRequest, Scatter};
use crate::plan::{Plan, read, several};
use crate::read::settings::UnavailableShards;

const DOCUMENTS: u16 = 20;

/// Which shards a subrequest's body asks for; all if it has no filter.
pub(super) fn shards_asked(request: &NodeRequest, topology: &Topology) -> ShardSet {
    let body = String::from_utf8(request.body.clone()).unwrap();
    let all = ShardSet::all(topology.shards);
    let named = |shard: &ShardId| body.contains(&format!("\\\"{}\\\"", shard_value(*shard, 64)));
    if body.contains("_miroir_shard NOT IN") {
        return all.iter().filter(|shard| !named(shard)).collect();
    }
    if !body.contains("_miroir_shard IN") {
        return all;
    }
    all.iter().filter(named).collect()
}

/// A node that holds document n in shard n, scored by n: it answers searches and fetches as an engine would.
fn node(at: NodeIx, request: &NodeRequest, topology: &Topology) -> String {
    let asked = shards_asked(request, topology);
    let own = topology.shards_of(at);
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let mut held: Vec<u16> =
        (0..DOCUMENTS).filter(|id| asked.contains(ShardId(*id)) && own.contains(ShardId(*id))).collect();
    let offset = body["offset"].as_u64().unwrap_or(0) as usize;
    let limit = body["limit"].as_u64().unwrap_or(20) as usize;
    let total = held.len();
    if request.path.ends_with("/stats") {
        let stats = json!({"numberOfDocuments": own.iter().filter(|shard| shard.0 < DOCUMENTS).count(),
            "isIndexing": false, "fieldDistribution": {"id": total, "_miroir_shard": total}});
        return if request.path == "/stats" {
            json!({"databaseSize": 1, "usedDatabaseSize": 1, "lastUpdate": null, "indexes": {"movies": stats}})
                .to_string()
        } else {
            stats.to_string()
        };
    }
    if request.path.ends_with("/fetch") {
        let results: Vec<Value> =
            held.iter().skip(offset).take(limit).map(|id| json!({"id": id, "_miroir_shard": "{"})).collect();
        return json!({"results": results, "offset": offset, "limit": limit, "total": total}).to_string();
    }
    held.reverse();
    let hits: Vec<Value> = held
        .iter()
        .skip(offset)
        .take(limit)
        .map(|id| {
            json!({"id": id, "_miroir_shard": "{",
                "_rankingScoreDetails": {"words": {"order": 0, "score": f64::from(*id) / 100.0}}})
        })
        .collect();
    json!({"hits": hits, "query": "x", "processingTimeMs": at.0, "limit": limit, "offset": offset,
        "estimatedTotalHits": total, "facetDistribution": {"kind": {"a": total}, "_miroir_shard": {"{": total}},
        "facetStats": {}})
    .to_string()
}

/// Carries out `scatter` over pretended nodes. With the answer come the rounds after the first.
pub(super) async fn run<N: Nodes>(
    nodes: &N,
    topology: &Topology,
    unavailable: UnavailableShards,
    scatter: &Scatter,
) -> (Result<Reply, ResponseError>, Vec<Later>) {
    let (query_vectors, refusals) = (QueryVectors::default(), Refusals::default());
    let reader = Reader {
        nodes,
        topology,
        unavailable,
        query_vectors: &query_vectors,
        remembered: &refusals,
        uncounted: Mutex::default(),
        later: Mutex::default(),
    };
    let answer = reader.run(scatter).await;
    (answer, reader.later.into_inner())
}

async fn read<N: Nodes>(
    nodes: &N,
    topology: &Topology,
    unavailable: UnavailableShards,
    operation: Read,
    path: &str,
    body: &str,
) -> Result<Reply, ResponseError> {
    let info = IndexInfo { primary_key: Some("id".to_owned()), ..IndexInfo::new("movies") };
    let infos = [("movies".to_owned(), Arc::new(info))].into();
    match several::or_refusal(read::plan(&operation, path, body.as_bytes(), &infos, topology), topology) {
        Plan::Scatter(scatter) => run(nodes, topology, unavailable, &scatter).await.0,
        other => panic!("no scatter: {other:?}"),
    }
}

fn filters(body: &Value) -> Filters {
    Filters::of(&NodeRequest { body: body.to_string().into_bytes(), ..NodeRequest::get("/x") })
}

#[test]
fn a_long_filter_is_heavy_and_a_long_vector_is_not() {
    let long = "population = 1 OR ".repeat(2000);
    assert_eq!(filters(&json!({"q": "a", "filter": long})).length, long.len() + 2);
    assert_eq!(filters(&json!({"queries": [{"filter": long}, {"filter": long}]})).length, 2 * (long.len() + 2));
    assert_eq!(filters(&json!({"vector": vec![0.123_456_789; 3072], "filter": "a = 1"})).length, 7);
}

/// Those that were measured to take an engine half a second, and those that take less.
#[test]
fn a_filter_is_long_by_what_an_engine_takes_for_it() {
    let conditions =
        |count: usize| (0..count).map(|n| format!("population = {}", n * 37)).collect::<Vec<_>>().join(" OR ");
    let numbers = |count: usize| (0..count).map(|n| (n * 13).to_string()).collect::<Vec<_>>().join(", ");
    let ids = |count: usize| (0..count).map(|n| format!("\"{n:036}\"")).collect::<Vec<_>>().join(", ");
    let is_long = |filter: String| filters(&json!({"filter": filter})).is_long();
    assert!(is_long(conditions(1000)) && is_long(conditions(1999)));
    assert!(is_long(format!("n IN [{}]", numbers(5000))) && is_long(format!("n IN [{}]", ids(4000))));
    assert!(!is_long(conditions(500)) && !is_long(format!("n IN [{}]", numbers(2000))));
    assert!(!is_long(format!("n IN [{}]", ids(1000))), "who may see what is often said so");
}

fn search() -> Read {
    Read::SearchPost { index: "movies".into() }
}

fn ids(reply: &Reply, list: &str) -> Vec<u64> {
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    body[list].as_array().unwrap().iter().map(|hit| hit["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_search_reads_as_one_nodes_answer_whichever_node_is_dead() {
    let topology = topology(4, 2);
    for dead in [None, Some(NodeIx(0)), Some(NodeIx(3))] {
        let nodes =
            FakeNodes::new(
                |at, request| {
                    if Some(at) == dead { Err(broken()) } else { Ok((200, node(at, request, &topology))) }
                },
            );
        let body = r#"{"q":"x","offset":3,"limit":4,"facets":["*"]}"#;
        let reply =
            read(&nodes, &topology, UnavailableShards::Error, search(), "/indexes/movies/search", body).await.unwrap();
        assert_eq!(ids(&reply, "hits"), [16, 15, 14, 13]);
        let mut shown: Value = serde_json::from_slice(&reply.body).unwrap();
        let keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "hits",
                "query",
                "processingTimeMs",
                "limit",
                "offset",
                "estimatedTotalHits",
                "facetDistribution",
                "facetStats"
            ]
        );
        assert_eq!(shown["hits"][0], json!({"id": 16}));
        shown["hits"].take();
        shown["processingTimeMs"].take();
        assert_eq!(
            shown,
            json!({"hits": null, "query": "x", "processingTimeMs": null, "limit": 4, "offset": 3,
                "estimatedTotalHits": 20, "facetDistribution": {"kind": {"a": 20}}, "facetStats": {}})
        );
    }
}

#[tokio::test]
async fn lost_shards_are_named_or_refused_as_configured() {
    let topology = topology(3, 1);
    let nodes = FakeNodes::new(
        |at, request| {
            if at == NodeIx(1) { Err(broken()) } else { Ok((200, node(at, request, &topology))) }
        },
    );
    let path = "/indexes/movies/search";
    let partial = read(&nodes, &topology, UnavailableShards::Partial, search(), path, "{}").await.unwrap();
    assert_eq!(&partial.degraded, topology.shards_of(NodeIx(1)));
    assert!(ids(&partial, "hits").iter().all(|id| !partial.degraded.contains(ShardId(*id as u16))));
    let error = read(&nodes, &topology, UnavailableShards::Error, search(), path, "{}").await.unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (503, "miroir_no_replica"));
}

#[tokio::test]
async fn shards_that_are_lost_while_values_are_counted_are_named_too() {
    let topology = topology(3, 1);
    let asked = AtomicUsize::new(0);
    let nodes = FakeNodes::new(|at, request| {
        // The hits come, and then the node is gone.
        let gone = at == NodeIx(1) && asked.fetch_add(1, Ordering::Relaxed) > 0;
        if gone { Err(broken()) } else { Ok((200, node(at, request, &topology))) }
    });
    let body = r#"{"q":"x","distinct":"kind","limit":4,"facets":["kind"]}"#;
    let path = "/indexes/movies/search";
    let partial = read(&nodes, &topology, UnavailableShards::Partial, search(), path, body).await.unwrap();
    assert_eq!(ids(&partial, "hits"), [19, 18, 17, 16]);
    assert!(asked.load(Ordering::Relaxed) > 1, "nodes are asked again");
    assert_eq!(&partial.degraded, topology.shards_of(NodeIx(1)));
    asked.store(0, Ordering::Relaxed);
    let error = read(&nodes, &topology, UnavailableShards::Error, search(), path, body).await.unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (503, "miroir_no_replica"));
}

#[tokio::test]
async fn pages_of_documents_walk_through_every_document_once() {
    let topology = topology(3, 2);
    for dead in [None, Some(NodeIx(2))] {
        let nodes =
            FakeNodes::new(
                |at, request| {
                    if Some(at) == dead { Err(broken()) } else { Ok((200, node(at, request, &topology))) }
                },
            );
        let mut seen = Vec::new();
        for offset in (0..DOCUMENTS).step_by(3) {
            let path = format!("/indexes/movies/documents?offset={offset}&limit=3");
            let list = Read::ListDocuments { index: "movies".into() };
            let reply = read(&nodes, &topology, UnavailableShards::Error, list, &path, "").await.unwrap();
            assert!(!reply.body.windows(7).any(|bytes| bytes == b"_miroir"));
            seen.extend(ids(&reply, "results"));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..u64::from(DOCUMENTS)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn statistics_count_each_document_once() {
    let topology = topology(3, 2);
    let nodes = FakeNodes::new(|at, request| Ok((200, node(at, request, &topology))));
    let one = Read::IndexStats { index: "movies".into() };
    let reply = read(&nodes, &topology, UnavailableShards::Error, one, "/indexes/movies/stats", "").await.unwrap();
    let stats: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(stats, json!({"numberOfDocuments": 20, "isIndexing": false, "fieldDistribution": {"id": 20}}));
    let reply = read(&nodes, &topology, UnavailableShards::Error, Read::Stats, "/stats", "").await.unwrap();
    let all: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(all["indexes"]["movies"]["numberOfDocuments"], json!(20));
    assert_eq!(all["databaseSize"], json!(3));
}

#[tokio::test]
async fn a_wrong_request_is_answered_with_the_engines_words_about_it() {
    let topology = topology(3, 1);
    let nodes = FakeNodes::new(|_, request| {
        let text = if request.body == br#"{"filter":"a = 1"}"# { "own words" } else { "other words" };
        let message = format!("{text}: Available filterable attribute patterns are: `_miroir_shard`.");
        Ok((
            400,
            json!({"message": message, "code": "invalid_search_filter", "type": "invalid_request", "link": ""})
                .to_string(),
        ))
    });
    let path = "/indexes/movies/search";
    for (body, words) in [(r#"{"filter":"a = 1"}"#, "own words"), (r#"{"limit":-1}"#, "other words")] {
        let reply = read(&nodes, &topology, UnavailableShards::Error, search(), path, body).await.unwrap();
        assert_eq!(reply.status, 400);
        let shown: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            shown["message"],
            json!(format!("{words}: This index does not have configured filterable attributes."))
        );
    }
}

#[tokio::test]
async fn one_nodes_answer_never_passes_for_the_clusters() {
    let topology = topology(3, 1);
    let nodes = FakeNodes::new(|_, _| Ok((200, "{}".into())));
    let error =
        read(&nodes, &topology, UnavailableShards::Error, search(), "/indexes/movies/search", r#"{"limit":"x"}"#)
            .await
            .unwrap_err();
    assert_eq!(error.code, "miroir_not_supported");
}

#[tokio::test]
async fn what_several_nodes_cannot_answer_is_refused_unless_the_engine_finds_fault_with_it() {
    let (topology, path) = (topology(3, 1), "/indexes/movies/documents/fetch");
    let fetch = || Read::FetchDocuments { index: "movies".into() };
    let body = r#"{"sort":["_geoPoint(1,2):asc"]}"#;
    let nodes = FakeNodes::new(|_, _| Ok((200, "{}".into())));
    let error = read(&nodes, &topology, UnavailableShards::Error, fetch(), path, body).await.unwrap_err();
    assert_eq!(error.code, "miroir_not_supported");
    assert_eq!(nodes.asked.lock().len(), 1);
    let wrong = ResponseError::new(Code::InvalidSearchSort, "Attribute `_geo` is not sortable.");
    let nodes = FakeNodes::new(|_, _| Ok((400, String::from_utf8(wrong.to_body()).unwrap())));
    let reply = read(&nodes, &topology, UnavailableShards::Error, fetch(), path, body).await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (400, &wrong.to_body()[..]));
}

#[tokio::test]
async fn several_searches_answer_in_their_order() {
    let topology = topology(3, 1);
    let nodes = FakeNodes::new(|at, request| Ok((200, node(at, request, &topology))));
    let body = r#"{"queries":[{"indexUid":"movies","limit":1},{"indexUid":"movies","offset":1,"limit":2}]}"#;
    let reply =
        read(&nodes, &topology, UnavailableShards::Error, Read::MultiSearch, "/multi-search", body).await.unwrap();
    let shown: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(shown["results"][0]["indexUid"], json!("movies"));
    assert_eq!(shown["results"][0]["hits"], json!([{"id": 19}]));
    assert_eq!(shown["results"][1]["hits"], json!([{"id": 18}, {"id": 17}]));
}

#[tokio::test]
async fn a_document_comes_from_any_replica_without_the_hidden_field() {
    let topology = topology(3, 2);
    let shard = crate::placement::document::shard_of("7", 64);
    let owner = topology.owners_of(shard)[0];
    let nodes =
        FakeNodes::new(
            |at, _| {
                if at == owner { Err(broken()) } else { Ok((200, r#"{"id":7,"_miroir_shard":"{"}"#.into())) }
            },
        );
    let one = Read::GetDocument { index: "movies".into(), id: "7".into() };
    let reply =
        read(&nodes, &topology, UnavailableShards::Error, one, "/indexes/movies/documents/7", "").await.unwrap();
    assert_eq!(reply.body, r#"{"id":7}"#);
}

/// Hits by words and by a vector; a node that is newer shows the vector of the query.
fn hybrid_node(at: NodeIx, request: &NodeRequest, topology: &Topology, is_newer: bool) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let by_vector = body["hybrid"].is_object();
    let mut asked = request.clone();
    if by_vector {
        // The nearest are the last by words, so the page is cut out of all of them.
        let mut all = body.clone();
        all["limit"] = json!(DOCUMENTS);
        asked.body = all.to_string().into_bytes();
    }
    let mut reply: Value = serde_json::from_str(&node(at, &asked, topology)).unwrap();
    if by_vector {
        let hits = reply["hits"].as_array_mut().unwrap();
        hits.reverse();
        hits.truncate(body["limit"].as_u64().unwrap_or(20) as usize);
        for hit in hits {
            let similarity = 0.5 - hit["id"].as_f64().unwrap() / 100.0;
            hit["_rankingScore"] = json!(similarity);
            hit["_rankingScoreDetails"] = json!({"vectorSort": {"order": 0, "similarity": similarity}});
        }
        reply["semanticHitCount"] = json!(0);
        if is_newer && body["retrieveVectors"] == json!(true) {
            reply["queryVector"] = json!([0.5, 1.0]);
        }
    } else {
        for hit in reply["hits"].as_array_mut().unwrap() {
            hit["_rankingScore"] = json!(hit["id"].as_f64().unwrap() / 100.0);
        }
    }
    reply.to_string()
}

#[tokio::test]
async fn words_are_embedded_once_where_nodes_show_the_vector_of_a_query() {
    let topology = topology(4, 1);
    for (is_newer, body) in [
        (true, json!({"q": "x", "limit": 40, "hybrid": {"embedder": "e", "semanticRatio": 0.7}})),
        (true, json!({"q": "x", "limit": 40, "hybrid": {"embedder": "e", "semanticRatio": 1.0}})),
        (false, json!({"q": "x", "limit": 40, "hybrid": {"embedder": "e", "semanticRatio": 0.7}})),
    ] {
        let nodes = FakeNodes::new(|at, request| Ok((200, hybrid_node(at, request, &topology, is_newer))));
        let path = "/indexes/movies/search";
        let reply = read(&nodes, &topology, UnavailableShards::Error, search(), path, &body.to_string()).await.unwrap();
        assert_eq!(ids(&reply, "hits").len(), usize::from(DOCUMENTS), "{body}");
        let asked = nodes.asked.lock();
        let bodies = asked.iter().map(|(_, request)| serde_json::from_slice::<Value>(&request.body).unwrap());
        let by_vector: Vec<Value> = bodies.filter(|body| body["hybrid"].is_object()).collect();
        let embedded = by_vector.iter().filter(|body| body.get("vector").is_none()).count();
        assert_eq!((by_vector.len(), embedded), (5, if is_newer { 1 } else { 5 }), "{body}");
    }
}

#[tokio::test]
async fn a_node_that_fails_between_words_and_vectors_costs_no_hit() {
    let topology = topology(3, 2);
    let nodes = FakeNodes::new(|at, request| {
        let is_by_vector = String::from_utf8_lossy(&request.body).contains("hybrid");
        if at == NodeIx(1) && is_by_vector {
            Err(broken())
        } else {
            Ok((200, hybrid_node(at, request, &topology, false)))
        }
    });
    let body = r#"{"q":"x","limit":6,"hybrid":{"embedder":"e","semanticRatio":0.6}}"#;
    let reply =
        read(&nodes, &topology, UnavailableShards::Error, search(), "/indexes/movies/search", body).await.unwrap();
    assert_eq!(ids(&reply, "hits"), [0, 1, 2, 3, 4, 5]);
    assert!(reply.degraded.is_empty());
}
