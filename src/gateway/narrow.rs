//! A tenant token's rules, written into the searches of its bearer.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::auth::Access;
use super::auth::check::invalid;
use crate::meili::error::ResponseError;
use crate::meili::operation::{Operation, Reach};
use crate::meili::payload;
use crate::meili::query::QueryMap;
use crate::plan::render;

/// A request as it goes on to planning.
#[derive(Debug, PartialEq)]
pub struct Narrowed {
    pub query: String,
    pub body: Bytes,
}

/// Refuses what names an index out of reach in its body, and joins the rules of `access` to the client's filters.
/// Requests of unrestricted clients pass unread.
pub fn narrow(operation: &Operation, access: &Access, query: &str, body: &Bytes) -> Result<Narrowed, ResponseError> {
    let unchanged = || Narrowed { query: query.to_owned(), body: body.clone() };
    if access.is_unrestricted() && access.rules.is_none() {
        return Ok(unchanged());
    }
    let rule = operation.index().and_then(|index| rule(access, index));
    match operation.facts().reach {
        Reach::Path => Ok(unchanged()),
        Reach::QueryFilter => Ok(Narrowed { query: narrow_query(query, rule), body: body.clone() }),
        Reach::BodyFilter => {
            let Some(rule) = rule else {
                return Ok(unchanged());
            };
            let mut value = payload::parse(body)?;
            if let Some(search) = value.as_object_mut() {
                add_filter(search, rule);
            }
            Ok(Narrowed { query: query.to_owned(), body: Bytes::from(value.to_string()) })
        }
        Reach::Queries => {
            let mut value = payload::parse(body)?;
            narrow_queries(&mut value, access)?;
            Ok(Narrowed { query: query.to_owned(), body: Bytes::from(value.to_string()) })
        }
        Reach::Uid => {
            let value = payload::parse(body)?;
            match value.get("uid").and_then(Value::as_str) {
                Some(uid) if !access.allows(uid) => Err(invalid()),
                Some(_) | None => Ok(unchanged()),
            }
        }
        Reach::Swaps => {
            let value = payload::parse(body)?;
            let named = value.as_array().into_iter().flatten().filter_map(|swap| swap.get("indexes"));
            let hidden = named
                .flat_map(|pair| pair.as_array().into_iter().flatten())
                .filter_map(Value::as_str)
                .any(|index| !access.allows(index));
            if hidden { Err(invalid()) } else { Ok(unchanged()) }
        }
        Reach::Template => {
            let hidden = render::indexes(body).iter().any(|index| !access.allows(index));
            if hidden { Err(invalid()) } else { Ok(unchanged()) }
        }
    }
}

fn rule<'a>(access: &'a Access, index: &str) -> Option<&'a Value> {
    access.rules.as_ref()?.filter(index)
}

fn narrow_queries(body: &mut Value, access: &Access) -> Result<(), ResponseError> {
    let Some(queries) = body.get_mut("queries").and_then(Value::as_array_mut) else {
        return Ok(());
    };
    for (position, query) in queries.iter_mut().enumerate() {
        let Some(query) = query.as_object_mut() else {
            continue;
        };
        let index = query.get("indexUid").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !access.allows(&index) {
            let mut error = invalid();
            error.message = format!("Inside `.queries[{position}]`: {}", error.message);
            return Err(error);
        }
        if let Some(rule) = rule(access, &index) {
            add_filter(query, rule);
        }
    }
    Ok(())
}

fn add_filter(search: &mut Map<String, Value>, rule: &Value) {
    let joined = join(search.remove("filter"), rule);
    search.insert("filter".to_owned(), joined);
}

fn narrow_query(query: &str, rule: Option<&Value>) -> String {
    let Some(rule) = rule else {
        return query.to_owned();
    };
    let mut parameters = QueryMap::parse(query);
    // As the engine reads it: JSON where it is JSON, else the text itself.
    let own = parameters
        .get("filter")
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())));
    parameters.set("filter", join(own, rule).to_string());
    parameters.encode()
}

/// The client's filter AND the rule: the outer array of a filter is a conjunction.
fn join(own: Option<Value>, rule: &Value) -> Value {
    let terms = |filter: Value| match filter {
        Value::Array(terms) => terms,
        term => vec![term],
    };
    match own {
        None | Some(Value::Null) => rule.clone(),
        Some(own) => Value::Array([terms(own), terms(rule.clone())].concat()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::meili::operation::{Change, Read};
    use crate::meili::pattern::IndexPattern;

    fn tenant(rules: Value) -> Access {
        Access {
            key_indexes: Some(vec![IndexPattern::all()]),
            rules: Some(serde_json::from_value(rules).unwrap()),
            may_not_create: true,
            key_uid: None,
        }
    }

    fn body(value: Value) -> Bytes {
        Bytes::from(value.to_string())
    }

    fn filter_of(narrowed: &Narrowed) -> Value {
        serde_json::from_slice::<Value>(&narrowed.body).unwrap()["filter"].clone()
    }

    #[test]
    fn the_rule_is_joined_to_the_clients_filter() {
        let access = tenant(json!({"movies": {"filter": "tenant = 1"}}));
        let operation = Read::SearchPost { index: "movies".into() }.into();
        for (own, joined) in [
            (json!({}), json!("tenant = 1")),
            (json!({"filter": null}), json!("tenant = 1")),
            (json!({"filter": "a = 1 OR b = 2"}), json!(["a = 1 OR b = 2", "tenant = 1"])),
            (json!({"filter": [["a = 1", "b = 2"], "c = 3"]}), json!([["a = 1", "b = 2"], "c = 3", "tenant = 1"])),
        ] {
            let narrowed = narrow(&operation, &access, "", &body(own)).unwrap();
            assert_eq!(filter_of(&narrowed), joined);
        }
    }

    #[test]
    fn a_body_that_repeats_its_filter_cannot_shake_the_rule_off() {
        let access = tenant(json!({"movies": {"filter": "tenant = 1"}}));
        let operation = Read::SearchPost { index: "movies".into() }.into();
        let twice = Bytes::from_static(br#"{"filter": "a = 1", "filter": "b = 2"}"#);
        let narrowed = narrow(&operation, &access, "", &twice).unwrap();
        assert_eq!(narrowed.body, br#"{"filter":["b = 2","tenant = 1"]}"#.as_slice());
        assert_eq!(narrow(&operation, &access, "", &Bytes::from_static(b"{")).unwrap_err().code, "malformed_payload");
    }

    #[test]
    fn a_search_by_get_is_narrowed_in_its_query() {
        let access = tenant(json!({"*": {"filter": ["tenant = 1"]}}));
        let operation = Read::SearchGet { index: "movies".into() }.into();
        let narrowed = narrow(&operation, &access, "q=x&filter=a+%3D+1", &Bytes::new()).unwrap();
        let parameters = QueryMap::parse(&narrowed.query);
        assert_eq!(parameters.get("filter"), Some(r#"["a = 1","tenant = 1"]"#));
        assert_eq!(parameters.get("q"), Some("x"));
    }

    #[test]
    fn each_query_of_many_is_checked_and_narrowed() {
        let access = tenant(json!({"a": {"filter": "x = 1"}, "b": null}));
        let queries = json!({"queries": [{"indexUid": "a"}, {"indexUid": "b", "filter": "y = 2"}]});
        let narrowed = narrow(&Read::MultiSearch.into(), &access, "", &body(queries)).unwrap();
        let value: Value = serde_json::from_slice(&narrowed.body).unwrap();
        assert_eq!(value["queries"][0]["filter"], json!("x = 1"));
        assert_eq!(value["queries"][1]["filter"], json!("y = 2"));
        let hidden = json!({"queries": [{"indexUid": "a"}, {"indexUid": "c"}]});
        let error = narrow(&Read::MultiSearch.into(), &access, "", &body(hidden)).unwrap_err();
        assert_eq!(error.message, "Inside `.queries[1]`: The provided API key is invalid.");
    }

    #[test]
    fn a_swap_out_of_reach_is_refused() {
        let access = Access { key_indexes: Some(vec![IndexPattern::parse("a*").unwrap()]), ..Access::default() };
        let swap = body(json!([{"indexes": ["a1", "b"]}]));
        assert_eq!(narrow(&Change::SwapIndexes.into(), &access, "", &swap).unwrap_err().code, "invalid_api_key");
        let swap = body(json!([{"indexes": ["a1", "a2"]}]));
        assert!(narrow(&Change::SwapIndexes.into(), &access, "", &swap).is_ok());
    }

    #[test]
    fn a_template_or_a_document_out_of_reach_is_refused() {
        let access = Access { key_indexes: Some(vec![IndexPattern::parse("a*").unwrap()]), ..Access::default() };
        let asked = |template: &str, input: &str| {
            let asked = json!({"template": {"indexUid": template}, "input": {"indexUid": input, "id": "1"}});
            narrow(&Read::RenderTemplate.into(), &access, "", &body(asked)).map_err(|error| error.code)
        };
        assert!(asked("a1", "a2").is_ok());
        assert_eq!(asked("a1", "b").unwrap_err(), "invalid_api_key");
        assert_eq!(asked("b", "a1").unwrap_err(), "invalid_api_key");
    }
}
