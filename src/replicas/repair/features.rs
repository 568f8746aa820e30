//! Experimental features of a returning node: as on a node that serves.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::RepairError;
use super::index::post;
use crate::nodes::client::{Subrequest, Trace};
use crate::placement::topology::Node;
use crate::replicas::part::Replicas;

/// Makes the features that both engines know equal to those of `reference`. The caller holds `direct`: a client's change between
/// the two looks would be taken for a difference, and undone.
pub(super) async fn repair_features(
    replicas: &Arc<Replicas>,
    node: &Node,
    reference: &Node,
    trace: &Trace,
) -> Result<(), RepairError> {
    let path = "/experimental-features";
    // Engines differ in which features they know; one that has none of this is no reason to stay down.
    let wanted = replicas.nodes.client.get_json::<Map<String, Value>>(reference, path, trace).await;
    let held = replicas.nodes.client.get_json::<Map<String, Value>>(node, path, trace).await;
    let (Ok(Some(wanted)), Ok(Some(held))) = (wanted, held) else { return Ok(()) };
    let change: Map<String, Value> =
        wanted.into_iter().filter(|(name, value)| held.get(name).is_some_and(|held| held != value)).collect();
    if change.is_empty() {
        return Ok(());
    }
    let body = Value::Object(change);
    let request = Subrequest { method: http::Method::PATCH, ..post(path, &body, replicas) };
    let reply = replicas.nodes.client.send(node, request, trace).await?;
    let _: Value = replicas.nodes.client.read(node, &reply)?;
    Ok(())
}
