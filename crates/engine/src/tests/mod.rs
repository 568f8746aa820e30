//! The engine on small corpora: what clients would see.

mod documents;
mod hits;
mod indexes;
mod settings;

use std::io::Write as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::{Engine, EngineOptions, Features, IndexHandle};
use crate::error::ResponseError;
use crate::indexing::{AdditionMethod, IndexOperation, OperationOutcome, apply};
use crate::search::{SearchQuery, search};

struct Node {
    engine: Engine,
    folder: TempDir,
}

impl Node {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { engine: open(&folder), folder }
    }

    fn restarted(self) -> Self {
        let Self { engine, folder } = self;
        drop(engine);
        Self { engine: open(&folder), folder }
    }

    fn addition(&self, method: AdditionMethod, key: Option<&str>, docs: &Value) -> IndexOperation {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        for doc in docs.as_array().unwrap() {
            writeln!(file, "{doc}").unwrap();
        }
        let payload = file.into_temp_path().keep().unwrap();
        IndexOperation::DocumentAddition { method, primary_key: key.map(str::to_owned), payload }
    }

    fn run(&self, operations: &[IndexOperation]) -> Vec<OperationOutcome> {
        apply(&self.engine, "movies", operations, &|| false).unwrap()
    }

    fn one(&self, operation: IndexOperation) -> OperationOutcome {
        self.run(&[operation]).pop().unwrap()
    }

    fn add(&self, docs: Value) {
        let outcome = self.one(self.addition(AdditionMethod::Replace, None, &docs));
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.indexed_documents, Some(docs.as_array().unwrap().len() as u64));
    }

    fn set(&self, update: Value) {
        let settings = crate::settings::parse_update(update.to_string().as_bytes(), Features::default()).unwrap();
        assert_eq!(self.one(IndexOperation::Settings { settings }).error, None);
    }

    fn index(&self) -> IndexHandle {
        self.engine.index("movies").unwrap()
    }

    fn try_search(&self, query: Value) -> Result<Value, ResponseError> {
        search(&self.index(), &SearchQuery::from_json(query.to_string().as_bytes()).unwrap())
    }

    fn search(&self, query: Value) -> Value {
        self.try_search(query).unwrap()
    }

    fn ids(&self, query: Value) -> Vec<i64> {
        let answer = self.search(query);
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_i64().unwrap()).collect()
    }
}

fn open(folder: &TempDir) -> Engine {
    let options = EngineOptions { index_map_size: 256 << 20, indexing_threads: Some(1) };
    Engine::open(folder.path(), options).unwrap()
}

fn films() -> Value {
    json!([
        {"id": 1, "title": "The Red Balloon", "genres": ["Fantasy", "Short"], "year": 1956, "director": {"name": "Lamorisse"}},
        {"id": 2, "title": "Three Colours: Red", "genres": ["Drama"], "year": 1994, "director": {"name": "Kieślowski"}},
        {"id": 3, "title": "Three Colours: Blue", "genres": ["Drama"], "year": 1993, "director": {"name": "Kieślowski"}},
        {"id": 4, "title": "Balloon", "genres": ["Thriller", "Drama"], "year": 2018.5, "director": null}
    ])
}
