//! The most that a search may ask for.

use serde_json::{Map, Value};

use super::deed;
use crate::settings::{FromSection, Section};

/// Bounds of one search; what has none is not bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// Hits of a page, by `limit` or `hitsPerPage`: more are cut down to it.
    limit: Option<u64>,
    /// Hits before the page: who asks for later ones is refused.
    offset: Option<u64>,
    facets: Option<u64>,
    /// Letters of the query.
    q: Option<u64>,
    /// Bytes of the filter, as JSON.
    filter: Option<u64>,
    /// Criteria of the order.
    sort: Option<u64>,
    /// Searches of one request.
    queries: Option<u64>,
}

/// What the engine takes where nothing is said.
const DEFAULT_LIMIT: u64 = 20;

// === impl Cap ===

impl FromSection for Cap {
    fn read(section: &mut Section) -> Self {
        let mut bound = |key: &str| section.parsed(key, None, "a whole number", |value| value.as_u64().map(Some));
        Self {
            limit: bound("limit"),
            offset: bound("offset"),
            facets: bound("facets"),
            q: bound("q"),
            filter: bound("filter"),
            sort: bound("sort"),
            queries: bound("queries"),
        }
    }
}

impl Cap {
    /// True if it limits nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self { limit: None, offset: None, facets: None, q: None, filter: None, sort: None, queries: None }
    }

    /// True if it bounds how many searches there are.
    pub fn bounds_queries(&self) -> bool {
        self.queries.is_some()
    }

    /// Why several searches in one request are too many.
    pub fn refuses_queries(&self, count: usize) -> Option<String> {
        let most = self.queries.filter(|most| count as u64 > *most)?;
        Some(format!("{count} searches in one request, and at most {most} are allowed."))
    }

    /// What is set in the place of what asks for too much; an error for what is refused.
    pub fn cut(&self, deed: &str, parameters: &Map<String, Value>) -> Result<Vec<(String, Value)>, String> {
        let number = |name: &str| parameters.get(name).and_then(Value::as_u64);
        let length = |name: &str| parameters.get(name).and_then(Value::as_array).map(|items| items.len() as u64);
        let over = |most: Option<u64>, is: Option<u64>| most.zip(is).filter(|(most, is)| is > most);
        if let Some((most, is)) = over(self.facets, length("facets")) {
            return Err(format!("`facets` names {is} facets, and at most {most} are allowed."));
        }
        if let Some((most, is)) = over(self.sort, length("sort")) {
            return Err(format!("`sort` has {is} criteria, and at most {most} are allowed."));
        }
        let letters = parameters.get("q").and_then(Value::as_str).map(|q| q.chars().count() as u64);
        if let Some((most, is)) = over(self.q, letters) {
            return Err(format!("`q` has {is} letters, and at most {most} are allowed."));
        }
        let bytes =
            parameters.get("filter").filter(|filter| !filter.is_null()).map(|filter| filter.to_string().len() as u64);
        if let Some((most, is)) = over(self.filter, bytes) {
            return Err(format!("`filter` has {is} bytes, and at most {most} are allowed."));
        }
        let mut cut = Vec::new();
        let has_pages =
            ["page", "hitsPerPage"].iter().any(|name| parameters.get(*name).is_some_and(|value| !value.is_null()));
        // A facet search has no page.
        let size = if has_pages { "hitsPerPage" } else { "limit" };
        let mut asked = number(size).unwrap_or(DEFAULT_LIMIT);
        if let Some(most) = self.limit.filter(|most| asked > *most && deed != deed::FACET_SEARCH) {
            cut.push((size.to_owned(), most.into()));
            asked = most;
        }
        let before = if has_pages {
            number("page").unwrap_or(1).saturating_sub(1).saturating_mul(asked)
        } else {
            number("offset").unwrap_or(0)
        };
        if let Some((most, is)) = over(self.offset, Some(before)) {
            return Err(format!("The page begins after {is} hits, and at most {most} are allowed."));
        }
        Ok(cut)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Report;

    fn cut(cap: Value, search: Value) -> Result<Value, String> {
        let report = Report::default();
        let cap = Cap::read(&mut Section::new("cap", cap, &report));
        assert!(report.into_parts().0.is_empty());
        cap.cut(deed::SEARCH, search.as_object().unwrap()).map(|cut| cut.into_iter().collect::<Map<_, _>>().into())
    }

    #[test]
    fn a_page_is_cut_down() {
        for (search, set) in [
            (json!({}), json!({"limit": 10})),
            (json!({"limit": 5}), json!({})),
            (json!({"limit": 50}), json!({"limit": 10})),
            (json!({"page": 2, "hitsPerPage": 50}), json!({"hitsPerPage": 10})),
            (json!({"page": 2}), json!({"hitsPerPage": 10})),
            (json!({"hitsPerPage": 3, "limit": 1000}), json!({})),
        ] {
            assert_eq!(cut(json!({"limit": 10}), search.clone()), Ok(set), "{search}");
        }
        assert_eq!(cut(json!({"limit": 100}), json!({})), Ok(json!({})));
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        for (cap, search) in [
            (json!({"offset": 100}), json!({"offset": 101})),
            (json!({"offset": 100}), json!({"page": 12, "hitsPerPage": 10})),
            (json!({"facets": 1}), json!({"facets": ["a", "b"]})),
            (json!({"sort": 0}), json!({"sort": ["a:asc"]})),
            (json!({"q": 3}), json!({"q": "äöüß"})),
            (json!({"filter": 8}), json!({"filter": ["a = 1"]})),
        ] {
            assert!(cut(cap, search.clone()).is_err(), "{search}");
        }
        assert_eq!(
            cut(json!({"offset": 100, "limit": 10}), json!({"page": 11, "hitsPerPage": 50})),
            Ok(json!({"hitsPerPage": 10}))
        );
        assert_eq!(cut(json!({"q": 4, "filter": 9}), json!({"q": "äöüß", "filter": null})), Ok(json!({})));
    }
}
