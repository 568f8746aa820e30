//! A request as rules see and change it. What no rule has changed goes on as it came, byte by byte.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::deed;
use crate::meili::operation::{Change, Operation, Read, RouteError, route};
use crate::meili::query::QueryMap;
use crate::plan::{Obstacle, documents, query_search, render, similar};

/// A request, taken apart.
#[derive(Debug)]
pub struct Asked {
    method: String,
    path: String,
    query: String,
    body: Bytes,
    operation: Operation,
    /// The request itself: of a search with its parameters, of several searches without.
    pub(super) whole: Part,
    /// Each of several searches.
    pub(super) queries: Vec<Part>,
    /// The indexes that it names elsewhere than in its path.
    pub(super) others: Vec<String>,
    /// See [`Asked::is_federated`].
    federated: bool,
}

/// One thing that is asked: a request, or one of its searches.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub deed: &'static str,
    pub index: Option<String>,
    /// As a body by POST has them; `None` where there are none, or they cannot be read. A node says then what is wrong with them,
    /// and answers nothing else (`plan::Obstacle`).
    pub parameters: Option<Map<String, Value>>,
    /// Its parameters are others than the client's.
    pub changed: bool,
    /// The client's index, where another is asked in its place.
    pub from: Option<String>,
}

/// A request as it goes on.
#[derive(Debug, PartialEq)]
pub struct Told {
    pub method: String,
    pub operation: Operation,
    pub path: String,
    pub query: String,
    pub body: Bytes,
}

// === impl Asked ===

impl Asked {
    /// `operation` is what `method` and `path` ask for.
    pub fn new(method: &str, path: &str, query: &str, body: Bytes, operation: Operation) -> Self {
        let parameters = parameters(&operation, query, &body);
        let queries = match (&operation, &parameters) {
            (Operation::Read(Read::MultiSearch), Some(body)) => queries(body),
            (_, Some(_) | None) => Vec::new(),
        };
        let others = others(&operation, &body, &queries);
        let is_multi = matches!(operation, Operation::Read(Read::MultiSearch));
        let federated = is_multi && federation(&body).is_some();
        let is_several = matches!(operation, Operation::Read(Read::MultiSearch));
        let whole = Part {
            deed: deed::name(&operation),
            index: operation.index().map(str::to_owned),
            parameters: parameters.filter(|_| !is_several),
            changed: false,
            from: None,
        };
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            body,
            operation,
            whole,
            queries,
            others,
            federated,
        }
    }

    /// What it was to begin with.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The index and the parameters of a search as they are now: of one of several, or of the request itself.
    pub fn search(&self, query: Option<usize>) -> Option<(&str, &Map<String, Value>)> {
        let part = match query {
            None => &self.whole,
            // Of a federation, nobody sees what each search finds.
            Some(_) if self.is_federated() => return None,
            Some(place) => self.queries.get(place)?,
        };
        part.index.as_deref().zip(part.parameters.as_ref())
    }

    /// Where rules have led it: from an index to another.
    pub(super) fn led(&self) -> Vec<(String, String)> {
        let parts = std::iter::once(&self.whole).chain(&self.queries);
        parts.filter_map(|part| part.from.clone().zip(part.index.clone())).collect()
    }

    /// True for several searches that are answered as one list.
    pub(super) fn is_federated(&self) -> bool {
        self.federated
    }

    /// The facets that a federation names, by index.
    pub(super) fn faceted(&self) -> Vec<(String, Vec<String>)> {
        let faceted = self.federation().and_then(|federation| federation.get("facetsByIndex")?.as_object().cloned());
        let faceted = faceted.into_iter().flatten().map(|(index, names)| {
            let names = names.as_array().into_iter().flatten();
            (index, names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
        });
        faceted.collect()
    }

    /// What hits of a federation are told apart by.
    pub(super) fn federation_distinct(&self) -> Option<String> {
        self.federation()?.get("distinct")?.as_str().map(str::to_owned)
    }

    fn federation(&self) -> Option<Map<String, Value>> {
        federation(&self.body)
    }

    /// What is asked now. An error where an index was named that can stand in no path.
    pub fn finish(self) -> Result<Told, RouteError> {
        let Self { mut method, mut path, mut query, mut body, mut operation, whole, queries, .. } = self;
        let mut moved = false;
        if let (true, Some(parameters)) = (whole.changed, &whole.parameters) {
            body = Bytes::from(serde_json::to_vec(parameters).unwrap_or_default());
            if method == "GET" {
                "POST".clone_into(&mut method);
                query.clear();
                if whole.deed == deed::FETCH_DOCUMENTS {
                    path.push_str("/fetch");
                }
                moved = true;
            }
        }
        if let Some(index) = whole.index.as_deref().filter(|index| operation.index() != Some(index)) {
            path = path_of(&path, index);
            moved = true;
        }
        if moved {
            operation = route(&method, &path)?;
        }
        if queries.iter().any(|query| query.changed || query.from.is_some())
            && let Ok(mut whole) = serde_json::from_slice::<Map<String, Value>>(&body)
        {
            let queries: Vec<Value> = queries.into_iter().map(Part::into_query).collect();
            whole.insert("queries".to_owned(), queries.into());
            body = Bytes::from(serde_json::to_vec(&whole).unwrap_or_default());
        }
        Ok(Told { method, operation, path, query, body })
    }
}

// === impl Part ===

impl Part {
    /// Sets a parameter, if that is another value than it has.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        if let Some(parameters) = &mut self.parameters
            && parameters.get(name) != Some(&value)
        {
            parameters.insert(name.to_owned(), value);
            self.changed = true;
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(parameters) = &mut self.parameters
            && parameters.shift_remove(name).is_some()
        {
            self.changed = true;
        }
    }

    fn into_query(self) -> Value {
        let mut query = Map::new();
        if let Some(index) = self.index {
            query.insert("indexUid".to_owned(), index.into());
        }
        query.extend(self.parameters.unwrap_or_default());
        query.into()
    }
}

/// What several searches say of being answered as one list.
fn federation(body: &[u8]) -> Option<Map<String, Value>> {
    let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    body.get("federation")?.as_object().cloned()
}

/// What a request says, as a body by POST says it. `None` for what says nothing, or nothing that can be read.
fn parameters(operation: &Operation, query: &str, body: &[u8]) -> Option<Map<String, Value>> {
    let by_get = |read: fn(&QueryMap) -> Result<Map<String, Value>, Obstacle>| read(&QueryMap::parse(query)).ok();
    match operation {
        Operation::Read(Read::SearchGet { .. }) => by_get(query_search::body),
        Operation::Read(Read::SimilarGet { .. }) => by_get(similar::body_of),
        Operation::Read(Read::ListDocuments { .. }) => by_get(documents::body_of),
        Operation::Read(
            Read::SearchPost { .. }
            | Read::FacetSearch { .. }
            | Read::SimilarPost { .. }
            | Read::FetchDocuments { .. }
            | Read::MultiSearch,
        )
        | Operation::Change(Change::EditDocuments { .. } | Change::DeleteDocumentsByFilter { .. }) => {
            serde_json::from_slice(body).ok()
        }
        Operation::Own(_)
        | Operation::Read(_)
        | Operation::Change(_)
        | Operation::Documents(_)
        | Operation::Work(_)
        | Operation::Unsupported { .. } => None,
    }
}

/// The searches of several. None if one of them is no search: then none is carried out.
fn queries(body: &Map<String, Value>) -> Vec<Part> {
    let queries = body.get("queries").and_then(Value::as_array).into_iter().flatten();
    let parts: Option<Vec<Part>> = queries
        .map(|query| {
            let mut parameters = query.as_object()?.clone();
            let index = parameters.shift_remove("indexUid")?.as_str()?.to_owned();
            Some(Part {
                deed: deed::SEARCH,
                index: Some(index),
                parameters: Some(parameters),
                changed: false,
                from: None,
            })
        })
        .collect();
    parts.unwrap_or_default()
}

fn others(operation: &Operation, body: &[u8], queries: &[Part]) -> Vec<String> {
    let json = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    let mut named = match operation {
        Operation::Read(Read::MultiSearch) => queries.iter().filter_map(|query| query.index.clone()).collect(),
        Operation::Read(Read::RenderTemplate) => render::indexes(body),
        Operation::Change(Change::CreateIndex | Change::UpdateIndex { .. }) => {
            json()["uid"].as_str().map(str::to_owned).into_iter().collect()
        }
        Operation::Change(Change::SwapIndexes) => {
            let swaps = json();
            let pairs = swaps.as_array().into_iter().flatten().filter_map(|swap| swap.get("indexes")?.as_array());
            pairs.flatten().filter_map(|index| index.as_str().map(str::to_owned)).collect()
        }
        Operation::Own(_)
        | Operation::Read(_)
        | Operation::Change(_)
        | Operation::Documents(_)
        | Operation::Work(_)
        | Operation::Unsupported { .. } => Vec::new(),
    };
    named.sort();
    named.dedup();
    named
}

/// `/indexes/a/search` of another index. An index uid has no character that would have to be escaped.
fn path_of(path: &str, index: &str) -> String {
    let steps = path.split('/').enumerate().map(|(place, step)| if place == 2 { index } else { step });
    steps.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(method: &str, target: &str, body: &Value) -> Asked {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        Asked::new(method, path, query, body, route(method, path).unwrap())
    }

    #[test]
    fn what_nobody_changes_goes_on_as_it_came() {
        let spaced = Bytes::from_static(b"{ \"q\": \"a\", \"limit\": 1.50e1,\"q\":\"b\" }");
        let operation = route("POST", "/indexes/a/search").unwrap();
        let told = Asked::new("POST", "/indexes/a/search", "x=1", spaced.clone(), operation.clone()).finish().unwrap();
        let same = Told {
            method: "POST".into(),
            operation,
            path: "/indexes/a/search".into(),
            query: "x=1".into(),
            body: spaced,
        };
        assert_eq!(told, same);
        let several = json!({"queries": [{"q": "a", "indexUid": "b"}]});
        assert_eq!(asked("POST", "/multi-search", &several).finish().unwrap().body, several.to_string());
    }

    #[test]
    fn a_search_by_get_that_is_changed_goes_on_as_its_body() {
        for (target, path) in [
            ("/indexes/a/search?q=x&limit=3", "/indexes/a/search"),
            ("/indexes/a/documents?limit=3&fields=x", "/indexes/a/documents/fetch"),
            ("/indexes/a/similar?id=1&embedder=e&limit=3", "/indexes/a/similar"),
        ] {
            let mut asked = asked("GET", target, &Value::Null);
            asked.whole.set("limit", 2.into());
            let told = asked.finish().unwrap();
            assert_eq!((told.path.as_str(), told.query.as_str()), (path, ""));
            assert_eq!(told.operation, route("POST", path).unwrap());
            assert_eq!(serde_json::from_slice::<Value>(&told.body).unwrap()["limit"], 2);
        }
    }

    #[test]
    fn another_index_stands_in_path_and_query() {
        let mut one = asked("PUT", "/indexes/a/documents", &Value::Null);
        one.whole.index = Some("b".to_owned());
        let told = one.finish().unwrap();
        assert_eq!((told.path.as_str(), told.operation.index()), ("/indexes/b/documents", Some("b")));
        let mut several = asked("POST", "/multi-search", &json!({"queries": [{"indexUid": "a"}, {"indexUid": "c"}]}));
        assert_eq!(several.others, ["a", "c"]);
        several.queries[0].index = Some("b".to_owned());
        several.queries[0].from = Some("a".to_owned());
        let body: Value = serde_json::from_slice(&several.finish().unwrap().body).unwrap();
        assert_eq!(body, json!({"queries": [{"indexUid": "b"}, {"indexUid": "c"}]}));
    }

    #[test]
    fn indexes_are_found_wherever_they_are_named() {
        let swap = asked("POST", "/swap-indexes", &json!([{"indexes": ["b", "a"]}, {"indexes": ["c", "a"]}]));
        assert_eq!(swap.others, ["a", "b", "c"]);
        assert_eq!(asked("POST", "/indexes", &json!({"uid": "new"})).others, ["new"]);
        assert_eq!(asked("PATCH", "/indexes/a", &json!({"uid": "b"})).others, ["b"]);
    }

    #[test]
    fn what_cannot_be_read_has_no_parameters() {
        assert_eq!(asked("GET", "/indexes/a/search?limit=x", &Value::Null).whole.parameters, None);
        assert_eq!(asked("POST", "/indexes/a/search", &json!([1])).whole.parameters, None);
        assert!(asked("POST", "/multi-search", &json!({"queries": [{"indexUid": "a"}, 7]})).queries.is_empty());
    }
}
