//! What a node is asked otherwise than the client asked, and why.

use serde::Serialize;
use serde_json::{Map, Value};

use super::span::Span;

/// One parameter that a node gets otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rewrite {
    /// The search of a multi-search, counted as the node counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<usize>,
    pub parameter: String,
    /// `null` where the client said nothing.
    pub client: Value,
    /// Left out where it names shards, which stand beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Value>,
    pub why: Reason,
}

/// Why a node gets a parameter that the client did not write so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// Another node answers for the shards that are left out.
    ShardsOfTheCover,
    /// Any hit up to the end of the page may lie in it.
    UpToTheEndOfThePage,
    /// So many of the node's hits will be before the page and in it; if not, it is asked for all up to the end.
    ShareOfThePage,
    /// The page, and so many more that each node may list the best hits of all its distinct values, which are then counted.
    DistinctValuesToCount,
    /// Hits of several nodes are compared rule by rule.
    RanksToCompare,
    /// Hits are told apart, or ordered where they tie, by an attribute that the client does not ask for.
    FieldToCompare,
    /// What only the whole answer can have.
    PutTogetherHere,
}

/// `client` against the body of a request to a node: that of one search, or of several under `queries`. `span` says which of its
/// hits the node is asked for.
pub fn rewrites(client: &[&Map<String, Value>], node: &Map<String, Value>, span: Span) -> Vec<Rewrite> {
    let Some(queries) = node.get("queries").and_then(Value::as_array) else {
        return client.first().map(|client| of_one(client, node, span, None)).unwrap_or_default();
    };
    let several = client.iter().zip(queries).enumerate();
    several
        .flat_map(|(at, (client, node))| node.as_object().map(|node| of_one(client, node, span, Some(at))))
        .flatten()
        .collect()
}

fn of_one(client: &Map<String, Value>, node: &Map<String, Value>, span: Span, query: Option<usize>) -> Vec<Rewrite> {
    // What names a search among several is not what it asks.
    let names = |name: &&String| !["indexUid", "federationOptions"].contains(&name.as_str());
    let added = node.keys().filter(|name| !client.contains_key(*name));
    let all = client.keys().chain(added).filter(names);
    let differ =
        all.filter(|name| client.get(*name).unwrap_or(&Value::Null) != node.get(*name).unwrap_or(&Value::Null));
    differ
        .map(|name| {
            let why = Reason::of(name, span);
            Rewrite {
                query,
                parameter: name.clone(),
                client: client.get(name).cloned().unwrap_or_default(),
                node: (why != Reason::ShardsOfTheCover).then(|| node.get(name).cloned().unwrap_or_default()),
                why,
            }
        })
        .collect()
}

// === impl Reason ===

impl Reason {
    fn of(parameter: &str, span: Span) -> Self {
        match parameter {
            "filter" => Self::ShardsOfTheCover,
            "offset" | "limit" | "page" | "hitsPerPage" => match span {
                Span::UpToTheEnd => Self::UpToTheEndOfThePage,
                Span::Share { .. } => Self::ShareOfThePage,
                Span::Beyond { .. } => Self::DistinctValuesToCount,
            },
            "showRankingScoreDetails" => Self::RanksToCompare,
            "attributesToRetrieve" | "fields" => Self::FieldToCompare,
            _ => Self::PutTogetherHere,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(client: &[Value], node: &Value) -> Value {
        let client: Vec<_> = client.iter().map(|body| body.as_object().unwrap()).collect();
        serde_json::to_value(rewrites(&client, node.as_object().unwrap(), Span::UpToTheEnd)).unwrap()
    }

    #[test]
    fn each_parameter_that_differs_is_named_with_its_reason() {
        let client = json!({"q": "a", "limit": 3, "filter": "x = 1"});
        let node = json!({"q": "a", "limit": 8, "filter": ["x = 1", "s IN []"], "showRankingScoreDetails": true});
        assert_eq!(
            shown(&[client], &node),
            json!([
                {"parameter": "limit", "client": 3, "node": 8, "why": "upToTheEndOfThePage"},
                {"parameter": "filter", "client": "x = 1", "why": "shardsOfTheCover"},
                {"parameter": "showRankingScoreDetails", "client": null, "node": true, "why": "ranksToCompare"},
            ])
        );
    }

    #[test]
    fn searches_among_several_are_told_apart() {
        let node = json!({"queries": [{"indexUid": "a", "q": "x"}, {"indexUid": "a", "q": "y", "offset": 0}]});
        let rewritten = shown(&[json!({"q": "x"}), json!({"q": "y"})], &node);
        assert_eq!(
            rewritten,
            json!([{"query": 1, "parameter": "offset", "client": null, "node": 0, "why": "upToTheEndOfThePage"}])
        );
    }
}
