//! Lists of indexes as a client may see them: without Miroir's own, and without those out of its key's reach.

use serde_json::{Value, json};

use super::auth::Access;
use super::respond::Answer;
use super::{Admitted, App, no_node};
use crate::meili::error::{Code, ResponseError};
use crate::meili::query::QueryMap;
use crate::meili::uid::IndexUid;
use crate::nodes::client::Subrequest;
use crate::placement::topology::Topology;
use crate::plan::forward::Forward;

/// `GET /indexes`: all indexes of one node, those that the client may see, and of them the page.
pub async fn indexes(app: &App, topology: &Topology, admitted: &Admitted<'_>) -> Result<Answer, ResponseError> {
    let query = QueryMap::parse(&admitted.head.query);
    let number = |name: &'static str, default: usize| match query.get(name) {
        Some(text) => text.parse().map_err(|_| name),
        None => Ok(default),
    };
    let page = match query.iter().find(|(name, _)| !matches!(*name, "offset" | "limit")) {
        Some(_) => Err("unknown"),
        None => number("offset", 0).and_then(|offset| Ok((offset, number("limit", 20)?))),
    };
    // Where the page makes no sense, the node says so in the engine's words.
    let path = if page.is_ok() { format!("/indexes?limit={}", u32::MAX) } else { admitted.head.target() };
    for candidate in Forward::to_any(topology).candidates {
        let request = Subrequest::get(path.clone(), app.settings.forward_timeout);
        let Ok(reply) = app.cluster.client.send(topology.node(candidate), request, &admitted.trace).await else {
            continue;
        };
        if page.is_err() && reply.is_success() {
            return Err(ResponseError::new(
                Code::MiroirNotSupported,
                "The request has parameters that this version of Miroir does not know.",
            ));
        }
        let (Ok((offset, limit)), true) = (page, reply.is_success()) else {
            return Ok(Answer::bytes(reply.status, reply.body));
        };
        let all: Value = serde_json::from_slice(&reply.body)
            .map_err(|_| ResponseError::new(Code::Internal, "A node's list of indexes cannot be read."))?;
        let seen: Vec<&Value> = all["results"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| {
                entry["uid"].as_str().is_some_and(|uid| admitted.access.allows(uid) && !IndexUid::is_reserved(uid))
            })
            .collect();
        let results: Vec<&Value> = seen.iter().skip(offset).take(limit).copied().collect();
        let body = json!({ "results": results, "offset": offset, "limit": limit, "total": seen.len() });
        return Ok(Answer::json(200, &body));
    }
    Err(no_node())
}

/// `GET /stats` without the indexes that the key may not see.
pub fn stats(access: &Access, answer: Answer) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else { return answer };
    if let Some(indexes) = body.get_mut("indexes").and_then(Value::as_object_mut) {
        indexes.retain(|uid, _| access.allows(uid));
    }
    Answer { degraded: answer.degraded.clone(), ..Answer::json(answer.status, &body) }
}
