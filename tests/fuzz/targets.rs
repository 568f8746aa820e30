//! What must hold for any input.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use miroir::config::Config;
use miroir::meili::operation::Read;
use miroir::merge::facets::Facets;
use miroir::merge::hit::Hit;
use miroir::merge::order::Rank;
use miroir::merge::raw::Members;
use miroir::merge::reading::Reading;
use miroir::merge::search::{Merged, SearchReply};
use miroir::placement::cover::cover;
use miroir::placement::shard::{ShardId, ShardSet};
use miroir::placement::topology::{Node, NodeId, NodeState, Topology};
use miroir::placement::written::Places;
use miroir::plan::explain::explain;
use miroir::plan::index_info::{IndexInfo, Infos};
use miroir::plan::read::plan;
use miroir::plan::search::SearchPlan;
use miroir::rules::tested;
use miroir::rules::trial::Trial;
use miroir::settings::{FromSection as _, Report, Section};
use miroir::split::document::HiddenFields;
use miroir::split::{Document, PayloadFormat, SplitError, Splitter};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

const SHARDS: u16 = 8;

/// The documents of a body, and why the rest of it is refused.
fn cut(format: PayloadFormat, most: usize, pieces: &[&[u8]]) -> (Vec<String>, Result<(), SplitError>) {
    let mut documents = Vec::new();
    let mut take = |document: &Document<'_>| {
        documents.push(document.raw().to_owned());
        Ok::<(), SplitError>(())
    };
    let mut splitter = Splitter::new(format, most);
    let pushed = pieces.iter().try_for_each(|piece| splitter.push(piece, &mut take));
    let result = pushed.and_then(|()| splitter.finish(&mut take));
    (documents, result)
}

/// The first byte chooses the format, the second the greatest size of a document.
pub fn body(input: &[u8]) {
    let [format, most, body @ ..] = input else { return };
    let format = match format % 4 {
        0 => PayloadFormat::Json,
        1 => PayloadFormat::Ndjson,
        2 => PayloadFormat::Csv { delimiter: b',' },
        _ => PayloadFormat::Csv { delimiter: b';' },
    };
    let most = if most % 2 == 0 { 1 << 20 } else { 48 };
    let (documents, result) = cut(format, most, &[body]);

    // In whatever pieces it comes.
    let size = 1 + xxh3_64(body) as usize % 7;
    let pieces: Vec<&[u8]> = body.chunks(size).collect();
    assert_eq!(cut(format, most, &pieces), (documents.clone(), result.clone()), "in pieces of {size}");

    let hidden = HiddenFields::new(SHARDS);
    let mut places = Places::of_batch(1);
    for raw in &documents {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw).expect("a document is an object");
        let (shard, written) = (ShardId(xxh3_64(raw.as_bytes()) as u16 % SHARDS), places.take().expect("a place"));
        let mut line = Vec::new();
        hidden.splice(raw, shard, written, &mut line);
        assert_eq!(hidden.shard_of(&line), Some(shard));
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "a document is a line");
        let spliced: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&line).expect("a line is an object");
        let of_client = |members: BTreeMap<String, Box<RawValue>>| -> Vec<String> {
            let theirs = members.into_iter().filter(|(key, _)| !key.starts_with("_miroir"));
            theirs.map(|(key, value)| format!("{key}: {}", value.get().replace(['\r', '\n'], " "))).collect()
        };
        assert_eq!(of_client(spliced), of_client(members), "nothing else is changed");
    }

    // What a parser of whole bodies takes, the splitter takes, and finds the same in it.
    if format == PayloadFormat::Json
        && most > body.len()
        && let Ok(expected) = serde_json::from_slice::<Vec<Map<String, Value>>>(body)
    {
        let found: Vec<Map<String, Value>> =
            documents.iter().map(|raw| serde_json::from_str(raw).expect("an object")).collect();
        assert_eq!((found, result), (expected, Ok(())));
    }
}

fn topology() -> Topology {
    let node = |at: usize| Node {
        id: NodeId::new(&format!("node-{at}")),
        url: format!("http://node-{at}:7700"),
        zone: None,
        weight: 1.0,
        state: NodeState::Up,
    };
    // Two replicas on three nodes: two parts for most searches, and none that holds all.
    Topology::build((0..3).map(node).collect(), SHARDS, 2)
}

fn names_reserved(value: Option<&Value>) -> bool {
    let names = value.and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).any(|name| name.starts_with("_miroir"))
}

/// The body of a search, and what else could be asked with it.
pub fn search(input: &[u8]) {
    let topology = topology();
    let info =
        IndexInfo::from_settings("movies", Some("id".into()), &serde_json::json!({"sortableAttributes": ["year"]}));
    let infos: Infos = [("movies".to_owned(), Arc::new(info.clone()))].into();
    let index = || "movies".to_owned();
    for (operation, path) in [
        (Read::SearchPost { index: index() }, "/indexes/movies/search"),
        (Read::FacetSearch { index: index() }, "/indexes/movies/facet-search"),
        (Read::SimilarPost { index: index() }, "/indexes/movies/similar"),
        (Read::FetchDocuments { index: index() }, "/indexes/movies/documents/fetch"),
        (Read::MultiSearch, "/multi-search"),
    ] {
        let made = explain(&plan(&operation, path, input, &infos, &topology), &topology);
        assert_eq!(
            made,
            explain(&plan(&operation, path, input, &infos, &topology), &topology),
            "plans repeat themselves"
        );
    }
    let query = String::from_utf8_lossy(input);
    let path = format!("/indexes/movies/search?{}", query.replace(['\n', '\r'], "&"));
    explain(&plan(&Read::SearchGet { index: index() }, &path, b"", &infos, &topology), &topology);

    let Ok(Value::Object(asked)) = serde_json::from_slice(input) else { return };
    let Ok(plan) = SearchPlan::new(&info, asked.clone()) else { return };
    for name in ["sort", "facets", "attributesToRetrieve"] {
        assert!(!names_reserved(asked.get(name)), "{name} names what is Miroir's");
    }
    let parts = cover(&topology, "movies", &ShardSet::all(SHARDS), &[], 7).parts;
    let mut seen = ShardSet::new();
    for part in &parts {
        assert!(part.shards.iter().all(|shard| !seen.contains(shard)), "a shard is asked for twice");
        seen.union_with(&part.shards);
        let request = plan.request(part, SHARDS, false);
        assert_eq!((request.method, request.path.as_str()), ("POST", "/indexes/movies/search"));
        let body: Map<String, Value> = serde_json::from_slice(&request.body).expect("a body is an object");
        let own = match (body.get("filter"), asked.get("filter")) {
            (Some(own), None | Some(Value::Null)) => own,
            (Some(Value::Array(items)), Some(Value::Array(theirs))) => {
                assert!(items.starts_with(theirs), "the client's filter is kept");
                items.last().expect("a filter")
            }
            (Some(Value::Array(items)), Some(theirs)) => {
                assert_eq!(&items[0], theirs, "the client's filter is kept");
                &items[1]
            }
            (other, _) => panic!("no filter for the shards: {other:?}"),
        };
        assert!(own.as_str().is_some_and(|text| text.starts_with("_miroir_shard")), "{own}");
        assert_eq!(body.get("q"), asked.get("q"), "words are the client's");
    }
    assert_eq!(seen.len(), usize::from(SHARDS));
}

/// True if a member has a name of Miroir's own.
fn leaks(object: &Value) -> bool {
    object.as_object().is_some_and(|members| members.keys().any(|key| key.starts_with("_miroir")))
}

/// True if a number is greater than any count can be: sums of such are not meant to be right.
fn is_absurd(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_none_or(|number| number.abs() > (1u64 << 53) as f64),
        Value::Array(items) => items.iter().any(is_absurd),
        Value::Object(members) => members.values().any(is_absurd),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// A search, an index's settings, and nodes' replies, as in `tests/golden/merge`.
pub fn merge(input: &[u8]) {
    let Ok(Value::Object(case)) = serde_json::from_slice(input) else { return };
    let (Some(Value::Object(asked)), Some(Value::Array(replies))) = (case.get("search"), case.get("replies")) else {
        return;
    };
    if replies.iter().any(is_absurd) {
        return;
    }
    let settings = case.get("settings").cloned().unwrap_or_default();
    let info = IndexInfo::from_settings("movies", Some("id".into()), &settings);
    let Ok(plan) = SearchPlan::new(&info, asked.clone()) else { return };
    let replies: Vec<String> = replies.iter().map(Value::to_string).collect();
    let bodies: Vec<&[u8]> = replies.iter().map(String::as_bytes).collect();
    let Ok(merged) = Merged::new(&plan, &bodies) else { return };
    let facets = plan.facets.as_ref().map(Facets::new);
    let Ok(of_nodes) = merged.facets() else { return };
    let facets = facets.map(|mut facets| {
        let added = of_nodes.iter().try_for_each(|node| facets.add_node(node));
        (facets, added)
    });
    if matches!(facets, Some((_, Err(_)))) {
        return;
    }
    let total = merged.total_of(&merged.totals());
    let Ok(bytes) = merged.write(facets.as_ref().map(|(facets, _)| facets), total, None) else { return };
    let answer: Value = serde_json::from_slice(&bytes).expect("an answer is JSON");
    let hits = answer["hits"].as_array().expect("hits");
    assert!(hits.len() as u64 <= plan.window.take(), "more hits than were asked for");
    for hit in hits {
        let parts = ["_formatted", "_matchesPosition", "_rankingScoreDetails"];
        assert!(!leaks(hit) && !parts.iter().any(|part| leaks(&hit[part])), "{hit}");
    }
    if plan.facets.is_some() {
        assert!(!leaks(&answer["facetDistribution"]), "{answer}");
    }
}

/// A node's reply or one of its hits, read in one pass, against what `serde_json` finds in it.
pub fn scan(input: &[u8]) {
    let of_all = |input| serde_json::from_slice::<BTreeMap<String, &RawValue>>(input).ok();
    let expected = of_all(input);
    let read = Members::of_bytes(input).ok();
    assert_eq!(read.is_some(), expected.is_some(), "one of the two readers refuses it");
    if let (Some(read), Some(expected)) = (read, expected) {
        // Of a name that comes twice the map keeps the last.
        let read: BTreeMap<&str, &str> = read.0.iter().map(|(name, value)| (name.as_ref(), value.get())).collect();
        let expected: BTreeMap<&str, &str> =
            expected.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
        assert_eq!(read, expected);
    }
    // Whatever it is, reading it ends.
    let reply = SearchReply::parse(input);
    let judged = Reading::of(input);
    assert_eq!(judged.is_ok(), reply.is_ok(), "judged as it is read");
    if let (Ok(judged), Ok(reply)) = (judged, &reply) {
        let elsewhere = input.to_vec();
        let again = judged.reply(&elsewhere).map(|again| format!("{again:?}"));
        assert_eq!(again.ok(), Some(format!("{reply:?}")), "what was found is what is read");
    }
    assert!(reply.is_err() || of_all(input).is_some_and(|members| members.contains_key("hits")));
    let Ok(text) = std::str::from_utf8(input) else { return };
    drop(Rank::parse(text));
    let mut out = Vec::new();
    if Hit::parse(text).is_ok_and(|hit| hit.write_bare(&mut out)) {
        // A name of half a character is kept, and no reader takes it.
        let hit = of_all(&out);
        assert_eq!(hit.is_some(), of_all(input).is_some(), "a hit stays an object");
        let is_ours =
            |name: &String| name.starts_with("_miroir") || name == "_rankingScore" || name == "_rankingScoreDetails";
        assert!(!hit.is_some_and(|hit| hit.keys().any(is_ours)), "{}", String::from_utf8_lossy(&out));
    }
}

/// A hook, a program, and a document that is written and found.
pub fn programs(input: &[u8]) {
    let Ok(Value::Object(case)) = serde_json::from_slice(input) else { return };
    let (Some(Value::String(hook)), Some(program), Some(document)) =
        (case.get("hook"), case.get("program"), case.get("document"))
    else {
        return;
    };
    if !["run", "when", "on_document", "on_answer"].contains(&hook.as_str()) {
        return;
    }
    let mut rule = serde_json::json!({ "name": "r", "params": { "n": 2 } });
    rule[hook] = program.clone();
    if hook == "when" {
        rule = serde_json::json!({ "name": "r", "when": program, "label": "x" });
    }
    let report = Report::default();
    let mut file = Section::new("", serde_json::json!({ "rules": [rule] }), &report);
    let rules = tested::read(&mut file);
    if !report.into_parts().0.is_empty() {
        return;
    }
    let request = if hook == "on_document" { "POST /indexes/a/documents" } else { "POST /indexes/a/search" };
    let answer = serde_json::json!({ "hits": [document, { "id": 7 }], "estimatedTotalHits": 2 });
    let asked = serde_json::json!({ "request": request, "body": { "q": "abc", "limit": 5 }, "client": "10.0.0.1",
        "claims": { "plan": "gold" }, "document": document, "answer": answer });
    let report = Report::default();
    let trial = Trial::read(&mut Section::new("", asked, &report));
    // A document may be none.
    let Ok(shown) = trial.shown(&rules) else { return };
    let ids = |document: &Value| -> Vec<(String, Value)> {
        let fields = document.as_object().into_iter().flatten();
        // A number beyond all integers is read a last digit off each time, here and not in what is written.
        let ids = fields.filter(|(name, value)| name.to_lowercase().ends_with("id") && !value.is_f64());
        ids.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    if let Some(written) = shown.get("document").filter(|written| !written.is_null()) {
        assert_eq!(ids(written), ids(document), "a document keeps its id");
    }
    if let Some(found) = shown.get("answer") {
        assert_eq!(found["hits"].as_array().map(Vec::len), Some(2), "all hits are there");
        assert_eq!(found["estimatedTotalHits"], 2, "totals stay");
        if hook != "on_answer" {
            // As above: what is shown was read once more.
            let again: Value = serde_json::from_str(&answer.to_string()).expect("it is JSON");
            assert_eq!(*found, again);
        }
    }
}

const KEY: &str = "a-key-that-nobody-may-see";

/// A configuration file, of which the environment knows a key.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // Whoever puts a key where an address belongs reads in the complaint what he wrote.
    let misplaced = match serde_saphyr::from_str::<Value>(text) {
        Ok(Value::Object(mut sections)) => {
            sections.retain(|name, value| {
                !matches!((name.as_str(), value), ("master_key" | "admin_key" | "node_key", Value::String(_)))
            });
            Value::Object(sections).to_string().contains("KEY")
        }
        Ok(_) => true,
        Err(_) => false,
    };
    let environment = |name: &str| (name == "KEY").then(|| KEY.to_owned());
    let said = match Config::parse(text, Path::new("/nowhere"), &environment) {
        Ok((config, warnings)) => {
            assert!(config.cluster.replication_factor >= 1 && config.cluster.shards_when_new() >= 1);
            format!("{config:?} {warnings:?}")
        }
        Err(problems) => {
            assert!(!problems.to_string().is_empty(), "a refusal says why");
            format!("{problems} {problems:?}")
        }
    };
    assert!(misplaced || !said.contains(KEY), "{said}");
}
