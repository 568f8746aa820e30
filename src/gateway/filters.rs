//! Where the filters of a read stand: found in its path or body, and put back there as others.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::meili::operation::Read;
use crate::meili::query::QueryMap;
use crate::plan::query_search;

/// A filter, and the index that is filtered.
pub(super) struct Filter {
    pub index: String,
    pub filter: Value,
    /// Its place in a list of searches.
    pub place: Option<usize>,
}

/// Where the filters of a request stand.
pub(super) struct Filters {
    query: QueryMap,
    body: Value,
    pub filters: Vec<Filter>,
    /// True if what they mean together is bounded.
    pub together: bool,
}

// === impl Filters ===

impl Filters {
    /// `None` for a request without filters, or that cannot be read.
    pub fn of(read: &Read, target: &str, body: &[u8]) -> Option<Self> {
        let query = QueryMap::parse(target.split_once('?').map_or("", |(_, query)| query));
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let filter_of = |search: &Map<String, Value>| search.get("filter").cloned();
        let alone = |index: &str, filter: Option<Value>| -> Vec<Filter> {
            filter.map(|filter| Filter { index: index.to_owned(), filter, place: None }).into_iter().collect()
        };
        let (filters, together): (Vec<Filter>, _) = match read {
            Read::SearchPost { index }
            | Read::FacetSearch { index }
            | Read::SimilarPost { index }
            | Read::FetchDocuments { index } => (alone(index, filter_of(body.as_object()?)), false),
            Read::SearchGet { index } | Read::SimilarGet { index } | Read::ListDocuments { index } => {
                (alone(index, query.get("filter").map(query_search::filter)), false)
            }
            Read::MultiSearch => {
                let queries = body.get("queries")?.as_array()?.iter().enumerate();
                let filters = queries.filter_map(|(place, query)| {
                    let index = query.get("indexUid")?.as_str()?.to_owned();
                    Some(Filter { index, filter: filter_of(query.as_object()?)?, place: Some(place) })
                });
                (filters.collect(), body.get("federation").is_some_and(Value::is_object))
            }
            Read::Version
            | Read::ListDynamicSearchRules
            | Read::GetDynamicSearchRule { .. }
            | Read::Stats
            | Read::ListIndexes
            | Read::GetIndex { .. }
            | Read::IndexStats { .. }
            | Read::GetDocument { .. }
            | Read::ListFields { .. }
            | Read::RenderTemplate
            | Read::GetSettings { .. }
            | Read::GetSetting { .. }
            | Read::GetExperimentalFeatures
            | Read::GetNetwork => return None,
        };
        Some(Self { query, body, filters, together })
    }

    /// The request with these filters: path and query, and the body, which is `sent` where nothing of it is changed.
    pub fn written(mut self, target: &str, sent: &Bytes) -> (String, Bytes) {
        let path = target.split('?').next().unwrap_or_default();
        let mut in_body = false;
        for Filter { filter, place, .. } in self.filters {
            let search = match place {
                Some(place) => self.body.get_mut("queries").and_then(|queries| queries.get_mut(place)),
                None if self.body.is_object() => Some(&mut self.body),
                None => None,
            };
            match search {
                Some(search) => {
                    search["filter"] = filter;
                    in_body = true;
                }
                None => self.query.set("filter", filter.to_string()),
            }
        }
        let target = if self.query.is_empty() { path.to_owned() } else { format!("{path}?{}", self.query.encode()) };
        (target, if in_body { Bytes::from(self.body.to_string()) } else { sent.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filters_are_found_and_put_back_where_they_stand() {
        let replaced = |read: Read, target: &str, body: Value| {
            let mut filters = Filters::of(&read, target, body.to_string().as_bytes()).unwrap();
            let found: Vec<Value> = filters.filters.iter().map(|filter| filter.filter.clone()).collect();
            filters.filters.iter_mut().for_each(|filter| filter.filter = json!("x = 1"));
            let (target, body) = filters.written(target, &Bytes::new());
            (found, target, String::from_utf8(body.to_vec()).unwrap())
        };
        let index = || "a".to_owned();
        assert_eq!(
            replaced(Read::SearchPost { index: index() }, "/s", json!({"q": "b", "filter": ["c"]})),
            (vec![json!(["c"])], "/s".to_owned(), r#"{"q":"b","filter":"x = 1"}"#.to_owned())
        );
        assert_eq!(
            replaced(Read::SearchGet { index: index() }, "/s?q=b&filter=c+%3D+1", json!(null)),
            (vec![json!("c = 1")], "/s?q=b&filter=%22x+%3D+1%22".to_owned(), String::new())
        );
        let several = json!({"queries": [{"indexUid": "a"}, {"indexUid": "b", "filter": "c"}]});
        assert_eq!(
            replaced(Read::MultiSearch, "/m", several),
            (
                vec![json!("c")],
                "/m".to_owned(),
                r#"{"queries":[{"indexUid":"a"},{"indexUid":"b","filter":"x = 1"}]}"#.to_owned()
            )
        );
        assert!(Filters::of(&Read::Version, "/version", b"").is_none());
    }
}
