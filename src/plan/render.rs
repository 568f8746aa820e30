//! A template rendered, for a look at what an embedder would be given.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Obstacle;
use super::node_request::NodeRequest;
use super::scattered::{Covered, ReadKind, Scattered};
use crate::meili::error::{Code, ResponseError};
use crate::placement::document::shard_of;
use crate::placement::shard::ShardId;
use crate::placement::stable_hash::hash_bytes;
use crate::placement::templates;
use crate::placement::vocabulary::is_words_id;

/// Templates are the same on all nodes; a document is on some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderPlan {
    /// The document that is put into the template; `None` where the request brings all there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Held>,
    /// What nodes are asked: the client's request, its template guarded against hidden fields.
    pub request: NodeRequest,
}

/// A document that an index has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    pub index: String,
    pub shard: ShardId,
}

/// The indexes that a template or what is put into it come from.
pub fn indexes(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let named = ["/template/indexUid", "/input/indexUid"].into_iter().filter_map(|place| body.pointer(place)?.as_str());
    named.map(str::to_owned).collect()
}

// === impl RenderPlan ===

impl RenderPlan {
    /// What is wrong with `body` any node says as well as another.
    pub fn new(mut body: Map<String, Value>, shards: u16) -> Result<Self, Obstacle> {
        let document = held(&body, shards)?;
        if let Some(Value::String(inline)) = body.get_mut("template").and_then(|template| template.get_mut("inline")) {
            *inline = templates::guarded(inline);
        }
        Ok(Self { document, request: NodeRequest::post("/render-template", &body) })
    }
}

impl Scattered for RenderPlan {
    fn kind(&self) -> ReadKind {
        ReadKind::Other
    }

    fn seed(&self) -> u64 {
        self.document.as_ref().map_or(0, |held| hash_bytes(held.index.as_bytes()))
    }

    fn faults_are_the_clients(&self) -> bool {
        true
    }

    fn covers<'a>(&'a self, _: &'a NodeRequest, _: u16) -> Vec<Covered<'a>> {
        let Some(held) = &self.document else { return Vec::new() };
        let wanted = [held.shard].into_iter().collect();
        vec![Covered::new(&held.index, wanted, self.seed(), |_, _| self.request.clone())]
    }
}

/// The document of an index that `body` puts into a template.
fn held(body: &Map<String, Value>, shards: u16) -> Result<Option<Held>, Obstacle> {
    let Some(input) = body.get("input").and_then(Value::as_object) else { return Ok(None) };
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    match (text("kind"), text("indexUid"), text("id")) {
        (Some("indexDocument"), Some(index), Some(id)) if is_words_id(id) => {
            let message = format!("error while fetching input: document `{id}` not found in `{index}`");
            Err(Obstacle::Refuse(ResponseError::new(Code::RenderDocumentNotFound, message)))
        }
        (Some("indexDocument"), Some(index), Some(id)) => {
            Ok(Some(Held { index: index.to_owned(), shard: shard_of(id, shards) }))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(input: Value) -> RenderPlan {
        let Value::Object(body) =
            json!({"template": {"kind": "inlineDocumentTemplate", "inline": "x"}, "input": input})
        else {
            panic!("an object")
        };
        RenderPlan::new(body, 16).unwrap()
    }

    #[test]
    fn a_document_is_asked_of_those_that_hold_it() {
        let document = plan(json!({"kind": "indexDocument", "indexUid": "movies", "id": "7"})).document.unwrap();
        assert_eq!((document.index.as_str(), document.shard), ("movies", shard_of("7", 16)));
    }

    #[test]
    fn whatever_else_is_put_in_any_node_can_render() {
        for input in [
            json!(null),
            json!({"kind": "inlineDocument", "inline": {"id": 7}}),
            json!({"kind": "indexDocument", "indexUid": "movies"}),
            json!({"kind": "indexDocument", "indexUid": "movies", "id": 7}),
        ] {
            assert_eq!(plan(input).document, None);
        }
    }

    #[test]
    fn documents_of_words_are_not_there() {
        let id = "-".repeat(62);
        let Value::Object(body) = json!({"input": {"kind": "indexDocument", "indexUid": "movies", "id": id}}) else {
            panic!("an object")
        };
        let Err(Obstacle::Refuse(error)) = RenderPlan::new(body, 16) else { panic!("refused") };
        assert_eq!(error.code, "render_document_not_found");
    }
}
