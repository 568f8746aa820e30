//! One plan for a request, on one topology: what `dispatch` carries out and `explain` shows.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::{Operation, Own};
use crate::nodes::client::Trace;
use crate::placement::topology::Topology;
use crate::plan::index_info::Infos;
use crate::plan::{Known, Plan, Request};
use crate::tasks::filter::IndexAccess;
use crate::tasks::query::{parse_batch_id, parse_batches, parse_cancel, parse_delete, parse_id, parse_list};

/// The plan as `explain` shows it. What is wrong with a request about tasks is found where they are read, which is not done
/// here: it is looked for, so that it shows as the refusal that comes of it.
pub async fn shown(
    cluster: &Arc<Cluster>,
    topology: &Topology,
    request: Request<'_>,
    trace: &Trace,
) -> Result<Plan, ResponseError> {
    if let Operation::Own(own) = request.operation
        && let Err(error) = check_tasks(own, request.query())
    {
        return Ok(Plan::Refuse(error));
    }
    plan(cluster, topology, request, trace).await
}

/// Plans any request. Reads settings of indexes from a node where they are not cached.
pub async fn plan(
    cluster: &Arc<Cluster>,
    topology: &Topology,
    request: Request<'_>,
    trace: &Trace,
) -> Result<Plan, ResponseError> {
    let checked = match request.check() {
        Ok(checked) => checked,
        Err(error) => return Ok(Plan::Refuse(error)),
    };
    let infos = infos(cluster, &checked.indexes, trace).await?;
    let exists = |index: &str| cluster.ledger.registry.exists(index);
    let version = cluster.nodes.engine_version.read().clone();
    Ok(checked.plan(&Known { topology, infos, version, hidden: cluster.ledger.hidden_settings(), exists: &exists }))
}

/// What is known of `indexes`; one that does not exist is left out, and the plan makes of that what the engine would.
pub async fn infos(cluster: &Arc<Cluster>, indexes: &[String], trace: &Trace) -> Result<Infos, ResponseError> {
    let mut infos = Infos::new();
    for index in indexes {
        match cluster.ledger.info(index, trace).await {
            Ok(info) => {
                infos.insert(index.clone(), info);
            }
            Err(error) if error.is(Code::IndexNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(infos)
}

/// What is wrong with a request about tasks, whoever asks.
fn check_tasks(own: &Own, query: &str) -> Result<(), ResponseError> {
    let everyone = || IndexAccess::All;
    match own {
        Own::ListTasks => parse_list(query, everyone()).map(drop),
        Own::ListBatches => parse_batches(query, everyone()).map(drop),
        Own::GetBatch { id } => parse_batch_id(id).map(drop),
        Own::CancelTasks => parse_cancel(query, everyone()).map(drop),
        Own::DeleteTasks => parse_delete(query, everyone()).map(drop),
        Own::GetTask { id } | Own::DeleteTask { id } | Own::TaskDocuments { id } => parse_id(id).map(drop),
        Own::Health
        | Own::ListKeys
        | Own::CreateKey
        | Own::GetKey { .. }
        | Own::UpdateKey { .. }
        | Own::DeleteKey { .. }
        | Own::ListWebhooks
        | Own::CreateWebhook
        | Own::GetWebhook { .. }
        | Own::UpdateWebhook { .. }
        | Own::DeleteWebhook { .. }
        | Own::CompactTasks
        | Own::StreamTasks
        | Own::StreamBatches
        | Own::StreamLogs
        | Own::StopLogs
        | Own::SetLogTargets
        | Own::Metrics => Ok(()),
    }
}
