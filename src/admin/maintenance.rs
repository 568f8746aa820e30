//! `POST` and `DELETE /nodes/{id}/maintenance`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ledger::Ledger;
use crate::ledger::maintenance::{self, MaintenanceError};
use crate::meili::error::{Code, ResponseError};
use crate::meili::query::QueryMap;
use crate::nodes::error::store_failed;

/// How long the answer waits for what is under way to the node.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// Takes the node out of service; `?force=true` also where its shards need it. The answer says whether it is idle, so
/// that it can be stopped.
pub async fn begin(ledger: &Ledger, node: &str, query: &str) -> Result<Value, ResponseError> {
    let force = QueryMap::parse(query).get("force") == Some("true");
    maintenance::begin(ledger, node, force).await.map_err(refused)?;
    let topology = ledger.nodes.topology();
    let ix = topology.find(node).ok_or_else(|| refused(MaintenanceError::Unknown(node.to_owned())))?;
    let idle = maintenance::idle(ledger, &topology.node(ix).id, IDLE_LIMIT).await;
    Ok(json!({ "node": node, "state": topology.node(ix).state, "idle": idle }))
}

/// Answers with the state that the node has then: joining, until a probe finds it well.
pub async fn end(ledger: &Ledger, node: &str) -> Result<Value, ResponseError> {
    maintenance::end(ledger, node).await.map_err(refused)?;
    let topology = ledger.nodes.topology();
    Ok(json!({ "node": node, "state": topology.find(node).map(|ix| topology.node(ix).state) }))
}

fn refused(error: MaintenanceError) -> ResponseError {
    let message = error.to_string();
    match error {
        MaintenanceError::Unknown(_) => ResponseError { status: 404, ..ResponseError::new(Code::BadRequest, message) },
        MaintenanceError::Needed { .. } => {
            ResponseError { status: 409, ..ResponseError::new(Code::MiroirNoReplica, message) }
        }
        MaintenanceError::Store(error) => store_failed(&error),
    }
}
