//! Whether scores of differently filled shards compare, and what comparing costs.
//!
//! The same cities lie once in one index and once in three of very unequal size. Every hit must have the same rank, rule by
//! rule, wherever it lies, and the merged lists must have the order of the one. Only then is anything measured.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::Write as _;

use criterion::{Criterion, criterion_group, criterion_main};
use miroir::merge::order::Rank;
use miroir::merge::search::Merged;
use miroir::plan::index_info::IndexInfo;
use miroir::plan::search::SearchPlan;
use miroir_engine::engine::{Engine, EngineOptions, Features, IndexHandle};
use miroir_engine::indexing::{AdditionMethod, IndexOperation, apply};
use miroir_engine::search::{SearchQuery, search};
use miroir_engine::settings::parse_update;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

/// Hundredths of the documents that each shard has.
const SHARES: [usize; 3] = [3, 17, 80];
const QUERIES: usize = 400;
const LIMIT: u64 = 40;

/// One index in an engine of its own.
struct Shard {
    index: IndexHandle,
    _engine: Engine,
    _folder: tempfile::TempDir,
}

// === impl Shard ===

impl Shard {
    fn new(documents: &[Value]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = EngineOptions { index_map_size: 512 << 20, indexing_threads: Some(1) };
        let engine = Engine::open(folder.path(), options).expect("an engine");
        let mut file = tempfile::NamedTempFile::new_in(folder.path()).expect("a file");
        for document in documents {
            writeln!(file, "{document}").expect("a document is written");
        }
        let payload = file.into_temp_path().keep().expect("the file stays");
        let settings = json!({"filterableAttributes": ["country"], "sortableAttributes": ["population"]});
        let settings =
            parse_update(settings.to_string().as_bytes(), Features::default()).expect("the settings are right");
        let primary_key = Some("id".to_owned());
        let operations = [
            IndexOperation::Settings { settings },
            IndexOperation::DocumentAddition { method: AdditionMethod::Replace, primary_key, payload },
        ];
        for operation in operations {
            for outcome in apply(&engine, "cities", &[operation], &|| false).expect("the operation is carried out") {
                assert_eq!(outcome.error, None);
            }
        }
        Self { index: engine.index("cities").expect("the index"), _engine: engine, _folder: folder }
    }

    fn search(&self, query: &Value) -> Vec<u8> {
        let query = SearchQuery::from_json(query.to_string().as_bytes()).expect("the search is right");
        search(&self.index, &query).expect("an answer").to_string().into_bytes()
    }
}

fn cities() -> Vec<Value> {
    let text = include_str!("../examples/data/cities.ndjson");
    text.lines().map(|line| serde_json::from_str(line).expect("a city")).collect()
}

/// Unequal parts, none of them a run of neighbours.
fn divided(documents: &[Value]) -> Vec<Vec<Value>> {
    let mut parts = vec![Vec::new(); SHARES.len()];
    for (at, document) in documents.iter().enumerate() {
        let mut place = (at * 37) % 100;
        let part = SHARES.iter().position(|share| {
            let inside = place < *share;
            place = place.saturating_sub(*share);
            inside
        });
        parts[part.unwrap_or(0)].push(document.clone());
    }
    parts
}

/// Names of cities: whole, begun, mistyped, several words, sorted and filtered.
fn queries(documents: &[Value]) -> Vec<Value> {
    let step = (documents.len() / QUERIES).max(1);
    let names = documents.iter().step_by(step).filter_map(|city| Some((city["name"].as_str()?, &city["country"])));
    names
        .enumerate()
        .map(|(at, (name, country))| {
            let letters: Vec<char> = name.chars().collect();
            let text = match at % 5 {
                0 => letters[..letters.len().min(3)].iter().collect(),
                1 if letters.len() > 5 => letters[..2].iter().chain(&letters[3..]).collect(),
                2 => format!("{name} {}", country.as_str().unwrap_or_default()),
                _ => name.to_owned(),
            };
            let mut query = json!({"q": text, "limit": LIMIT, "showRankingScoreDetails": true});
            if at % 7 == 0 {
                query["sort"] = json!(["population:desc"]);
            }
            if at % 11 == 0 {
                query["filter"] = json!(format!("country = {country}"));
            }
            query
        })
        .collect()
}

fn plan(query: &Value) -> SearchPlan {
    let body: Map<String, Value> = query.as_object().cloned().unwrap_or_default();
    let info = IndexInfo { primary_key: Some("id".to_owned()), ..IndexInfo::new("cities") };
    SearchPlan::new(&info, body).expect("the search is right")
}

fn merged(plan: &SearchPlan, bodies: &[&[u8]]) -> Vec<u8> {
    let merged = Merged::new(plan, bodies).expect("replies");
    let total = merged.total_of(&merged.totals());
    merged.write(None, total, None).expect("an answer")
}

fn ranks(body: &[u8]) -> Vec<(Value, Rank)> {
    let mut answer: Value = serde_json::from_slice(body).expect("an answer");
    let hits = answer["hits"].as_array_mut().expect("hits").iter_mut();
    hits.map(|hit| {
        let details = to_raw_value(&hit["_rankingScoreDetails"]).expect("JSON");
        (hit["id"].take(), Rank::parse(details.get()).expect("the scores of a hit"))
    })
    .collect()
}

/// What comparing showed.
#[derive(Default)]
struct Compared {
    hits: usize,
    /// Searches that differ, and how.
    differences: Vec<String>,
    /// Those of them whose last word is one letter. It begins too many words: the engine takes some of them, and others
    /// in another vocabulary (docs/exactness.md).
    capped: usize,
}

/// True where the last word is one letter.
fn ends_in_a_letter(query: &Value) -> bool {
    let text = query["q"].as_str().unwrap_or_default();
    text.split(|letter: char| !letter.is_alphanumeric())
        .rfind(|word| !word.is_empty())
        .is_some_and(|word| word.chars().count() == 1)
}

fn compare(whole: &Shard, parts: &[Shard], queries: &[Value]) -> Compared {
    let mut compared = Compared::default();
    for query in queries {
        let want = ranks(&whole.search(query));
        let bodies: Vec<Vec<u8>> = parts.iter().map(|part| part.search(query)).collect();
        compared.hits += want.len();
        if let Some(difference) = difference(query, &want, &bodies) {
            compared.differences.push(difference);
            compared.capped += usize::from(ends_in_a_letter(query));
        }
    }
    compared
}

fn difference(query: &Value, want: &[(Value, Rank)], bodies: &[Vec<u8>]) -> Option<String> {
    let known: HashMap<String, &Rank> = want.iter().map(|(id, rank)| (id.to_string(), rank)).collect();
    for (id, rank) in bodies.iter().flat_map(|body| ranks(body)) {
        if let Some(twin) = known.get(&id.to_string()).filter(|twin| rank.compare(twin).is_ne()) {
            return Some(format!("{query}: {id} has {rank:?} in its shard and {twin:?} among all"));
        }
    }
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let got = ranks(&merged(&plan(query), &bodies));
    if got.len() != want.len() {
        return Some(format!("{query}: {} hits, not {}", got.len(), want.len()));
    }
    let differ = got.iter().zip(want).position(|((_, got), (_, want))| got.compare(want).is_ne());
    differ.map(|at| format!("{query}: place {at} has {:?}, not {:?}", got[at].1, want[at].1))
}

fn bench(criterion: &mut Criterion) {
    let documents = cities();
    let whole = Shard::new(&documents);
    let divided = divided(&documents);
    let parts: Vec<Shard> = divided.iter().map(|part| Shard::new(part)).collect();
    let queries = queries(&documents);
    let Compared { hits, differences, capped } = compare(&whole, &parts, &queries);
    assert!(hits > queries.len(), "too few hits to prove anything: {hits}");
    let sizes: Vec<usize> = divided.iter().map(Vec::len).collect();
    println!(
        "{} searches of {} cities in shards of {sizes:?}, {hits} hits: {} searches have a hit whose rank differs in its shard, or \
         a merged list of another order than one index",
        queries.len(),
        documents.len(),
        differences.len(),
    );
    for difference in &differences {
        println!("  {difference}");
    }
    assert_eq!(differences.len(), capped, "scores do not compare");

    let mut group = criterion.benchmark_group("score_comparability");
    let mut next = queries.iter().cycle();
    let mut query = || next.next().expect("there are searches");
    group.bench_function("one_index", |bencher| bencher.iter(|| whole.search(black_box(query()))));
    group.bench_function("one_index_without_details", |bencher| {
        let mut plain: Vec<Value> = queries.clone();
        plain.iter_mut().for_each(|query| query["showRankingScoreDetails"] = false.into());
        let mut next = plain.iter().cycle();
        bencher.iter(|| whole.search(black_box(next.next().expect("there are searches"))));
    });
    group
        .bench_function("largest_shard", |bencher| bencher.iter(|| parts[SHARES.len() - 1].search(black_box(query()))));
    let replies: Vec<(SearchPlan, Vec<Vec<u8>>)> =
        queries.iter().map(|query| (plan(query), parts.iter().map(|part| part.search(query)).collect())).collect();
    let mut next = replies.iter().cycle();
    group.bench_function("merge", |bencher| {
        bencher.iter(|| {
            let (plan, bodies) = next.next().expect("there are replies");
            let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
            merged(black_box(plan), &bodies)
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
