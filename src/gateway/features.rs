//! Routes that the gateway answers itself, and only while a feature is on.

use serde_json::{Map, Value};

use super::app::{Admitted, App};
use super::respond::no_node;
use crate::meili::error::{Code, ResponseError};
use crate::meili::feature::{Feature, Unknown};
use crate::placement::topology::Topology;

/// Refuses what asks for a feature that is off. All nodes have the same; the first that answers is believed.
pub async fn require(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    feature: Feature,
) -> Result<(), ResponseError> {
    let client = &app.cluster.nodes.client;
    for node in topology.indexes().map(|node| topology.node(node)).filter(|node| node.state.serves_reads()) {
        let answer = client.get_json::<Map<String, Value>>(node, "/experimental-features", &admitted.trace).await;
        let Ok(Some(features)) = answer else { continue };
        return match features.get(feature.key()).and_then(Value::as_bool) {
            Some(true) => Ok(()),
            Some(false) => Err(feature.refusal()),
            None if feature.unknown() == Unknown::Served => Ok(()),
            None => Err(ResponseError::new(
                Code::MiroirNotSupported,
                format!("The nodes' engine has no feature `{}`.", feature.key()),
            )),
        };
    }
    Err(no_node())
}
