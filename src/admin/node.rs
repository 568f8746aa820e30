//! `GET /nodes/{id}`: one node, asked now which engine it runs, also while it is in maintenance.

use serde_json::{Value, json};

use crate::meili::error::{Code, ResponseError};
use crate::nodes::Nodes;
use crate::nodes::client::Trace;

/// What the node says of itself; `unreachable` says why it says nothing. 404 for a node that is none of the cluster's.
pub async fn view(nodes: &Nodes, id: &str) -> Result<Value, ResponseError> {
    let topology = nodes.topology();
    let found = topology.find(id).filter(|ix| topology.members().any(|member| member == *ix));
    let ix = found.ok_or_else(|| {
        let message = format!("no node is called `{id}`");
        ResponseError { status: 404, ..ResponseError::new(Code::BadRequest, message) }
    })?;
    let node = topology.node(ix);
    let said = nodes.client.get_json::<Value>(node, "/version", &Trace::background("version")).await;
    let (version, unreachable) = match said {
        Ok(said) => (said.and_then(|said| said["pkgVersion"].as_str().map(str::to_owned)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(json!({ "id": node.id, "url": node.url, "state": node.state, "version": version, "unreachable": unreachable }))
}
