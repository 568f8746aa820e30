//! Lists of indexes as a client may see them: without Miroir's own, and without those out of its key's reach.

use serde_json::{Value, json};

use super::app::{Admitted, App};
use super::auth::Access;
use super::respond::{Answer, no_node};
use crate::meili::error::{Code, ResponseError};
use crate::meili::uid::IndexUid;
use crate::nodes::client::Subrequest;
use crate::nodes::meaning::{ForForward, Meaning};
use crate::placement::topology::Topology;
use crate::plan::indexes::{IndexList, IndexPage};

/// `GET /indexes`: all indexes of one node, those that the client may see, and of them the page.
pub async fn indexes(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    list: &IndexList,
) -> Result<Answer, ResponseError> {
    for candidate in &list.candidates {
        let request = Subrequest::get(list.request.path.clone(), app.settings().limits.forward_timeout);
        let Ok(reply) = app.cluster.nodes.client.send(topology.node(*candidate), request, &admitted.trace).await else {
            continue;
        };
        return match Meaning::of_reply(&reply).policy().forward {
            ForForward::NextNode => {
                let node = &topology.node(*candidate).id;
                tracing::warn!(%node, status = reply.status, "a list of indexes failed");
                continue;
            }
            ForForward::Relay if !reply.is_success() => Ok(Answer::bytes(reply.status, reply.body)),
            ForForward::Relay => page(&admitted.access, &reply.body, list.page),
        };
    }
    Err(no_node())
}

fn page(access: &Access, body: &[u8], page: IndexPage) -> Result<Answer, ResponseError> {
    let IndexPage { offset, limit } = page;
    let all: Value = serde_json::from_slice(body)
        .map_err(|_| ResponseError::new(Code::Internal, "A node's list of indexes cannot be read."))?;
    let shows = |uid: &str| access.allows(uid) && !IndexUid::is_reserved(uid);
    let entries = all["results"].as_array().into_iter().flatten();
    let seen: Vec<&Value> = entries.filter(|entry| entry["uid"].as_str().is_some_and(shows)).collect();
    let results: Vec<&Value> = seen.iter().skip(offset).take(limit).copied().collect();
    let body = json!({ "results": results, "offset": offset, "limit": limit, "total": seen.len() });
    Ok(Answer::json(200, &body))
}

/// `GET /stats` without the indexes that the key may not see.
pub fn stats(access: &Access, answer: Answer) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else { return answer };
    if let Some(indexes) = body.get_mut("indexes").and_then(Value::as_object_mut) {
        indexes.retain(|uid, _| access.allows(uid));
    }
    Answer { degraded: answer.degraded.clone(), ..Answer::json(answer.status, &body) }
}
