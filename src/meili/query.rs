//! A query string, decoded as the engine decodes it.

use serde::Serialize;

/// The parameters of a query string in the order they came, names and values percent-decoded and `+` read as a space. Of
/// one that comes twice the last value counts, in the place of the first, as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct QueryMap {
    pairs: Vec<(String, String)>,
}

// === impl QueryMap ===

impl QueryMap {
    /// Reads `a=1&b=2`, without a leading `?`. Never fails: bytes that are no UTF-8 are replaced.
    pub fn parse(query: &str) -> Self {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
            match pairs.iter_mut().find(|(known, _)| *known == name) {
                Some(pair) => pair.1 = value,
                None => pairs.push((name, value)),
            }
        }
        Self { pairs }
    }

    /// The decoded value; an empty one where only the name stands. `None` if the name is missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Also true for a name without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets `name` to `value`, in its place or at the end.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.pairs.iter_mut().find(|(key, _)| key == name) {
            Some(pair) => pair.1 = value.into(),
            None => self.pairs.push((name.to_owned(), value.into())),
        }
    }

    /// Takes out all parameters of that name.
    pub fn remove(&mut self, name: &str) {
        self.pairs.retain(|(key, _)| key != name);
    }

    /// Names and values, decoded, in the order in which the names first came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// True if there is no parameter.
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
    fn of_a_parameter_that_comes_twice_the_last_counts() {
        let query = QueryMap::parse("limit=5&q=a&limit=x&limit=6");
        assert_eq!(query.iter().collect::<Vec<_>>(), [("limit", "6"), ("q", "a")]);
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
