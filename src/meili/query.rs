//! A query string, decoded as the engine decodes it.

use serde::Serialize;

/// The parameters of a query string in the order they came, names and values percent-decoded and `+` read as a space.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct QueryMap {
    pairs: Vec<(String, String)>,
}

// === impl QueryMap ===

impl QueryMap {
    /// Reads `a=1&b=2`, without a leading `?`. Never fails: bytes that are no UTF-8 are replaced.
    pub fn parse(query: &str) -> Self {
        Self { pairs: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect() }
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets `name` to `value` in the place of its first occurrence, or at the end; further ones go.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let at = self.pairs.iter().position(|(key, _)| key == name).unwrap_or(self.pairs.len());
        self.remove(name);
        self.pairs.insert(at, (name.to_owned(), value.into()));
    }

    pub fn remove(&mut self, name: &str) {
        self.pairs.retain(|(key, _)| key != name);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The query string again, encoded, without a leading `?`.
    pub fn encode(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let query = QueryMap::parse("q=caf%C3%A9+au%20lait&limit=3&empty=&flag");
        assert_eq!(query.get("q"), Some("café au lait"));
        assert_eq!(query.get("limit"), Some("3"));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("absent"), None);
        assert!(QueryMap::parse("").is_empty());
    }

    #[test]
    fn what_was_set_is_read_back() {
        let mut query = QueryMap::parse("a=1&b=2&a=3");
        query.set("a", "x&y");
        query.set("c", "d e");
        query.remove("b");
        assert_eq!(query.encode(), "a=x%26y&c=d+e");
        assert_eq!(QueryMap::parse(&query.encode()), query);
    }
}
