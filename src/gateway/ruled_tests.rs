use prometheus::Registry;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::gateway::narrow::narrow;
use crate::meili::operation::route;
use crate::meili::pattern::IndexPattern;
use crate::rules::language::Deadlines;
use crate::rules::rule::Rule;
use crate::settings::{Report, Section};

#[test]
fn what_becomes_of_a_request_is_counted_by_rule() {
    let report = Report::default();
    let rules = json!({"rules": [
        {"name": "cap", "cap": {"limit": 3}},
        {"name": "no", "indexes": ["b"], "refuse": {"message": "no"}},
    ]});
    let rules: Vec<Rule> = Section::new("", rules, &report).read_list("rules");
    let registry = Registry::new();
    let ruling = Ruling::new(rules, Deadlines::none().most, RuleMetrics::register(&registry).unwrap());
    let book = ruling.book().unwrap();
    let mut ctx = RequestContext::new();
    let mut ask = |path: &str| {
        let head = Head::new(http::Method::POST, &path.parse().unwrap(), http::HeaderMap::new());
        let request = (&head, route("POST", path).unwrap(), Bytes::from_static(b"{}"));
        ruling
            .apply(&book, request, (&Access::full(), None), &mut ctx)
            .map(|applied| applied.asked.finish().unwrap().body)
    };
    assert_eq!(ask("/indexes/a/search").unwrap(), "{\"limit\":3}");
    assert_eq!(ask("/indexes/b/search").unwrap_err().message, "no");
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for (rule, outcome, count) in
        [("cap", "applied", 2), ("cap", "refused", 0), ("no", "refused", 1), ("no", "applied", 0)]
    {
        let line = format!("miroir_rules_total{{outcome=\"{outcome}\",rule=\"{rule}\"}} {count}");
        assert!(text.contains(&line), "{line} in {text}");
    }
}

/// Rules that change as much as rules can.
fn menu() -> Vec<Value> {
    let rules = json!([
        {"set": {"limit": 3, "q": "y"}},
        {"filter": "x = 1 OR y = 2"},
        {"filter": "x = ${quote(headers.x-who ?? request.index)}"},
        {"indexes": ["a"], "route": "b"},
        {"route": "secret"},
        {"split": {"by": "request.index", "weights": {"a": 1, "b": 1, "c": 1}}},
        {"remove": ["q", "limit", "attributesToRetrieve"]},
        {"default": {"attributesToRetrieve": ["*"]}},
        {"on": "search", "run": "search.q = \"z\"; search.limit = 9;"},
        {"on": "search", "mirror": {"to": "secret"}},
        {"cap": {"limit": 2}},
        {"header": {"X-A": "b"}, "stop": true},
    ]);
    rules.as_array().cloned().unwrap_or_default()
}

fn searches(body: &Value) -> Vec<&Value> {
    body["queries"].as_array().map_or_else(|| vec![body], |queries| queries.iter().collect())
}

proptest! {
    /// Whatever rules make of a request: it asks indexes that the key and the token allow, each by the token's filter, or it is refused.
    #[test]
    fn no_rule_lifts_what_a_key_or_a_token_allows(
        chosen in prop::sample::subsequence(menu(), 0..6).prop_shuffle(),
        asked in prop::sample::select(vec![
            ("POST", "/indexes/a/search", json!({"q": "x", "filter": "t = 9 OR t = 1"})),
            ("GET", "/indexes/a/search", json!("q=x&filter=t+%3D+9")),
            ("POST", "/indexes/b/facet-search", json!({"facetName": "x"})),
            ("GET", "/indexes/a/similar", json!("id=1&embedder=e")),
            ("POST", "/multi-search", json!({"queries": [{"indexUid": "a"}, {"indexUid": "b", "filter": ["t = 9"]}]})),
            ("POST", "/multi-search", json!({"federation": {}, "queries": [{"indexUid": "a", "q": "x"}]})),
        ]),
    ) {
        let named = chosen.into_iter().enumerate().map(|(place, mut rule)| {
            rule["name"] = format!("r{place}").into();
            rule
        });
        let report = Report::default();
        let rules: Vec<Rule> = Section::new("", json!({"rules": named.collect::<Vec<_>>()}), &report).read_list("rules");
        prop_assert!(report.into_parts().0.is_empty());
        let ruling = Ruling::new(rules, Deadlines::none().most, RuleMetrics::register(&Registry::new()).unwrap());
        let access = Access {
            key_indexes: Some(vec![IndexPattern::parse("a").unwrap(), IndexPattern::parse("b").unwrap()]),
            rules: Some(serde_json::from_value(json!({"a": {"filter": "t = 1"}, "b": {"filter": "t = 2"}})).unwrap()),
            ..Access::default()
        };
        let (method, path, said) = asked;
        let (target, body) = match said.as_str() {
            Some(query) => (format!("{path}?{query}"), Bytes::new()),
            None => (path.to_owned(), Bytes::from(said.to_string())),
        };
        let head = Head::new(method.parse().unwrap(), &target.parse().unwrap(), http::HeaderMap::new());
        let request = (&head, route(method, path).unwrap(), body);
        let told = match ruling.book() {
            None => Asked::new(method, path, &head.query, request.2, request.1).finish().unwrap(),
            Some(book) => {
                let ruled = ruling.apply(&book, request, (&access, None), &mut RequestContext::new());
                let Ok(Applied { asked, mirrored, .. }) = ruled else { return Ok(()) };
                for shadow in Shadow::all(&book, &asked, mirrored, "") {
                    let Shadow { from, body, .. } = shadow.narrowed(&access).unwrap();
                    let wanted = match from.as_str() {
                        "a" => json!("t = 1"),
                        "b" => json!("t = 2"),
                        // The request itself is refused.
                        _ => continue,
                    };
                    let search: Value = serde_json::from_slice(&body).unwrap();
                    let filter = &search["filter"];
                    let is_last = filter.as_array().is_some_and(|terms| terms.last() == Some(&wanted));
                    prop_assert!(*filter == wanted || is_last, "{search} of {from}");
                }
                asked.finish().unwrap()
            }
        };
        // As the gateway asks the key again.
        if told.operation.index().is_some_and(|index| !access.allows(index)) {
            return Ok(());
        }
        let Ok(narrowed) = narrow(&told.operation, &access, &told.query, &told.body) else { return Ok(()) };
        let query = crate::meili::query::QueryMap::parse(&narrowed.query);
        let by_get = query.get("filter").map(|filter| json!({"filter": serde_json::from_str::<Value>(filter).unwrap_or_else(|_| filter.into())}));
        let body = by_get.unwrap_or_else(|| serde_json::from_slice(&narrowed.body).unwrap());
        for search in searches(&body) {
            let index = told.operation.index().or(search["indexUid"].as_str()).unwrap();
            prop_assert!(access.allows(index), "{index}");
            let wanted = json!(if index == "a" { "t = 1" } else { "t = 2" });
            let filter = &search["filter"];
            prop_assert!(*filter == wanted || filter.as_array().is_some_and(|terms| terms.last() == Some(&wanted)), "{search}");
        }
    }
}
