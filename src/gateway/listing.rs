//! Lists of indexes as a client may see them: without Miroir's own, and without those out of its key's reach.

use serde_json::{Value, json};

use super::app::{Admitted, App};
use super::auth::Access;
use super::respond::{Answer, no_node};
use crate::ledger::registry::Registry;
use crate::meili::error::{Code, ResponseError};
use crate::meili::uid::IndexUid;
use crate::nodes::client::{NodeReply, Subrequest};
use crate::nodes::meaning::{ForForward, Meaning};
use crate::placement::topology::{NodeIx, Topology};
use crate::plan::indexes::{IndexList, IndexPage};

/// `GET /indexes`: all indexes of one node, those that the client may see, and of them the page.
pub async fn indexes(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    list: &IndexList,
) -> Result<Answer, ResponseError> {
    let reply = of_any(app, topology, admitted, (&list.candidates, &list.request.path)).await?;
    if !reply.is_success() {
        return Ok(Answer::bytes(reply.status, reply.body));
    }
    page(&app.cluster.ledger.registry, &admitted.access, &reply.body, list.page)
}

/// `GET /indexes/{uid}`, as one node has the index.
pub async fn index(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    (candidates, target): (&[NodeIx], &str),
) -> Result<Answer, ResponseError> {
    let reply = of_any(app, topology, admitted, (candidates, target)).await?;
    let view: Option<Value> = serde_json::from_slice(&reply.body).ok().filter(|_| reply.is_success());
    let Some(mut view) = view else { return Ok(Answer::bytes(reply.status, reply.body)) };
    show_as_made(&app.cluster.ledger.registry, &mut view);
    Ok(Answer::json(reply.status, &view))
}

/// What the first node answers that can.
async fn of_any(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    (candidates, path): (&[NodeIx], &str),
) -> Result<NodeReply, ResponseError> {
    for candidate in candidates {
        let request = Subrequest::get(path, app.settings().limits.forward_timeout);
        let Ok(reply) = app.cluster.nodes.client.send(topology.node(*candidate), request, &admitted.trace).await else {
            continue;
        };
        return match Meaning::of_reply(&reply).policy().forward {
            ForForward::NextNode => {
                let node = &topology.node(*candidate).id;
                tracing::warn!(%node, path, status = reply.status, "a node does not say what indexes it has");
                continue;
            }
            ForForward::Relay => Ok(reply),
        };
    }
    Err(no_node())
}

/// What Miroir set of an index when it was made is no change of it.
fn show_as_made(registry: &Registry, view: &mut Value) {
    if view["uid"].as_str().is_some_and(|uid| registry.is_new(uid)) {
        view["updatedAt"] = view["createdAt"].clone();
    }
}

fn page(registry: &Registry, access: &Access, body: &[u8], page: IndexPage) -> Result<Answer, ResponseError> {
    let IndexPage { offset, limit } = page;
    let all: Value = serde_json::from_slice(body)
        .map_err(|_| ResponseError::new(Code::Internal, "A node's list of indexes cannot be read."))?;
    let shows = |uid: &str| access.allows(uid) && !IndexUid::is_reserved(uid);
    let entries = all["results"].as_array().into_iter().flatten();
    let seen: Vec<&Value> = entries.filter(|entry| entry["uid"].as_str().is_some_and(shows)).collect();
    let mut results: Vec<Value> = seen.iter().skip(offset).take(limit).map(|entry| (*entry).clone()).collect();
    results.iter_mut().for_each(|view| show_as_made(registry, view));
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
