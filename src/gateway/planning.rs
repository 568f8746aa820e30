//! One plan for a request, on one topology: what `dispatch` carries out and `explain` shows.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::ledger::registry::index_not_found;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::{Class, Operation};
use crate::meili::query::QueryMap;
use crate::meili::uid::IndexUid;
use crate::nodes::client::Trace;
use crate::placement::topology::Topology;
use crate::plan::read::{self, Infos};
use crate::plan::{Plan, Split, broadcast};

/// A request that waits to be planned.
pub struct Request<'a> {
    pub operation: &'a Operation,
    /// Path and query.
    pub target: &'a str,
    /// Empty for document writes, whose body is read later.
    pub body: &'a [u8],
}

// === impl Request ===

impl Request<'_> {
    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// Plans any request. Reads settings of indexes from a node where they are not cached.
pub async fn plan(
    cluster: &Arc<Cluster>,
    topology: &Topology,
    request: &Request<'_>,
    trace: &Trace,
) -> Result<Plan, ResponseError> {
    request.operation.validate()?;
    if let Operation::AddDocuments { index, method } = request.operation {
        return Ok(Plan::Split(Split {
            index: index.clone(),
            method: *method,
            primary_key: QueryMap::parse(request.query()).get("primaryKey").map(str::to_owned),
        }));
    }
    match request.operation.facts().class {
        Class::Change => {
            let exists = |index: &str| cluster.registry.exists(index);
            let hidden = cluster.hidden_settings();
            let mut plan =
                broadcast::plan(request.operation, request.query(), request.body, topology, &hidden, &exists);
            if let (Plan::Broadcast(intent), Some(version)) = (&mut plan, cluster.engine_version.read().as_deref()) {
                broadcast::show_as_of(version, intent);
            }
            Ok(plan)
        }
        Class::Documents | Class::Read | Class::Own => {
            let named = read::indexes(request.operation, request.body);
            if let Some(reserved) = named.iter().find(|index| IndexUid::is_reserved(index)) {
                return Err(index_not_found(reserved));
            }
            let infos = infos(cluster, &named, trace).await?;
            Ok(read::plan(request.operation, request.target, request.body, &infos, topology))
        }
    }
}

/// What is known of `indexes`; one that does not exist is left out, and the plan makes of that what the engine would.
pub async fn infos(cluster: &Arc<Cluster>, indexes: &[String], trace: &Trace) -> Result<Infos, ResponseError> {
    let mut infos = Infos::new();
    for index in indexes {
        match cluster.registry.info(cluster, index, trace).await {
            Ok(info) => {
                infos.insert(index.clone(), info);
            }
            Err(error) if error.is(Code::IndexNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(infos)
}
