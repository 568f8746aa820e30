//! The parameters of `GET /indexes/{uid}/search` as a POST body, by the engine's own rules.

use serde_json::{Map, Value, json};

use crate::meili::query::QueryMap;

use super::Obstacle;

/// How the text of a parameter becomes JSON.
enum Kind {
    Text,
    Count,
    Flag,
    Number,
    /// Comma-separated.
    List,
    Sort,
    /// JSON if it parses as such, else an expression.
    Filter,
    /// Comma-separated numbers.
    Vector,
}

fn kind_of(name: &str) -> Option<Kind> {
    Some(match name {
        "q" | "distinct" | "highlightPreTag" | "highlightPostTag" | "cropMarker" | "matchingStrategy" => Kind::Text,
        "offset" | "limit" | "page" | "hitsPerPage" | "cropLength" => Kind::Count,
        "retrieveVectors"
        | "showMatchesPosition"
        | "showRankingScore"
        | "showRankingScoreDetails"
        | "showPerformanceDetails" => Kind::Flag,
        "rankingScoreThreshold" => Kind::Number,
        "attributesToRetrieve"
        | "attributesToCrop"
        | "attributesToHighlight"
        | "facets"
        | "attributesToSearchOn"
        | "locales" => Kind::List,
        "sort" => Kind::Sort,
        "filter" => Kind::Filter,
        "vector" => Kind::Vector,
        _ => return None,
    })
}

/// The body that asks the same; an obstacle where the engine would refuse the query string.
pub fn body(query: &QueryMap) -> Result<Map<String, Value>, Obstacle> {
    let mut body = Map::new();
    for (name, text) in query.iter() {
        if matches!(name, "hybridEmbedder" | "hybridSemanticRatio") {
            continue;
        }
        let kind = kind_of(name).ok_or(Obstacle::Judge)?;
        body.insert(name.to_owned(), value(kind, text)?);
    }
    if let Some(hybrid) = hybrid(query)? {
        body.insert("hybrid".into(), hybrid);
    }
    if body.contains_key("vector") && !body.contains_key("hybrid") {
        return Err(Obstacle::Judge);
    }
    Ok(body)
}

fn value(kind: Kind, text: &str) -> Result<Value, Obstacle> {
    Ok(match kind {
        Kind::Text => text.into(),
        Kind::Count => count(text)?.into(),
        Kind::Flag => flag(text)?.into(),
        Kind::Number => number(text)?,
        Kind::List => list(text).into(),
        Kind::Sort => sort(text).into(),
        Kind::Filter => filter(text),
        Kind::Vector => list(text).into_iter().map(number).collect::<Result<Vec<_>, _>>()?.into(),
    })
}

/// Decimal digits alone: no fraction, no exponent.
pub fn count(text: &str) -> Result<u64, Obstacle> {
    text.parse().map_err(|_| Obstacle::Judge)
}

/// `true` or `false`, in small letters alone.
pub fn flag(text: &str) -> Result<bool, Obstacle> {
    text.parse().map_err(|_| Obstacle::Judge)
}

/// As the engine reads it: what is empty between two commas is no member.
pub fn list(text: &str) -> Vec<&str> {
    text.split(',').filter(|member| !member.is_empty()).collect()
}

/// What is JSON is that, all else is one expression.
pub fn filter(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// A decimal number; white space around it does not matter, what is not finite is none.
pub fn number(text: &str) -> Result<Value, Obstacle> {
    let number: f64 = text.trim().parse().map_err(|_| Obstacle::Judge)?;
    if number.is_finite() { Ok(number.into()) } else { Err(Obstacle::Judge) }
}

fn hybrid(query: &QueryMap) -> Result<Option<Value>, Obstacle> {
    match (query.get("hybridEmbedder"), query.get("hybridSemanticRatio")) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Obstacle::Judge),
        (Some(embedder), None) => Ok(Some(json!({"embedder": embedder}))),
        (Some(embedder), Some(ratio)) => Ok(Some(json!({"embedder": embedder, "semanticRatio": number(ratio)?}))),
    }
}

/// Splits at commas, but not at those inside `_geoPoint(...)`.
pub fn sort(text: &str) -> Vec<String> {
    let mut criteria: Vec<String> = Vec::new();
    let mut inside = false;
    for piece in text.trim_matches('"').split(',').map(str::trim) {
        match criteria.last_mut() {
            Some(last) if inside && !piece.starts_with("_geoPoint(") => {
                last.push(',');
                last.push_str(piece);
                inside = !(piece.ends_with("):asc") || piece.ends_with("):desc"));
            }
            Some(_) | None => {
                inside = piece.starts_with("_geoPoint(");
                criteria.push(piece.to_owned());
            }
        }
    }
    criteria
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> Result<Value, Obstacle> {
        body(&QueryMap::parse(query)).map(Value::Object)
    }

    #[test]
    fn a_query_string_is_the_same_search_as_a_body() {
        let query = "q=a+b&limit=3&facets=x,y&sort=_geoPoint(1.0,2):asc,name:desc&filter=%5B%22a%20%3D%201%22%5D\
                     &showRankingScore=true&rankingScoreThreshold=0.5&hybridEmbedder=e";
        assert_eq!(
            parsed(query).unwrap(),
            json!({"q": "a b", "limit": 3, "facets": ["x", "y"], "sort": ["_geoPoint(1.0,2):asc", "name:desc"],
                "filter": ["a = 1"], "showRankingScore": true, "rankingScoreThreshold": 0.5,
                "hybrid": {"embedder": "e"}})
        );
        assert_eq!(parsed("filter=a%20%3D%201").unwrap(), json!({"filter": "a = 1"}));
        assert_eq!(parsed("limit=x&facets=a,,b,&limit=6").unwrap(), json!({"limit": 6, "facets": ["a", "b"]}));
    }

    #[test]
    fn what_the_engine_would_refuse_is_left_to_the_engine() {
        for query in ["limit=x", "limit=-1", "nope=1", "showRankingScore=1", "vector=1,2", "hybridSemanticRatio=1"] {
            assert!(matches!(parsed(query), Err(Obstacle::Judge)), "{query}");
        }
    }
}
