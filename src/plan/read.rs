//! Plans every operation that changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::meili::operation::Operation;
use crate::placement::topology::Topology;

use super::Plan;
use super::index_info::IndexInfo;

/// What is known of the indexes that a request names; one that does not exist is absent.
pub type Infos = BTreeMap<String, Arc<IndexInfo>>;

/// The indexes that [`plan`] wants in its `infos`.
pub fn indexes(operation: &Operation, body: &[u8]) -> Vec<String> {
    let _ = (operation, body);
    todo!("seam")
}

/// The plan of a read. `path` is the request's path and query as the client wrote them.
pub fn plan(operation: &Operation, path: &str, body: &[u8], infos: &Infos, topology: &Topology) -> Plan {
    let _ = (operation, path, body, infos, topology);
    todo!("seam")
}
