//! One plan for a request, on one topology: what `dispatch` carries out and `explain` shows.

use time::OffsetDateTime;

use super::auth::Keyring;
use super::unlike;
use crate::ledger::Ledger;
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::Trace;
use crate::placement::topology::Topology;
use crate::plan::index_info::Infos;
use crate::plan::{Known, Plan, Request};

/// Plans any request. Reads settings of indexes from a node where they are not cached.
pub async fn plan(
    (ledger, keyring): (&Ledger, &Keyring),
    topology: &Topology,
    request: Request<'_>,
    trace: &Trace,
) -> Result<Plan, ResponseError> {
    let alike = unlike::alike(ledger, topology, &request, trace).await;
    let request = match &alike {
        Some((target, body)) => Request { target, body, ..request },
        None => request,
    };
    let checked = match request.check() {
        Ok(checked) => checked,
        Err(error) => return Ok(Plan::Refuse(error)),
    };
    let mut infos = infos(ledger, &checked.indexes, trace).await?;
    let foreign = foreign_indexes(&infos);
    if !foreign.is_empty() {
        infos.extend(self::infos(ledger, &foreign, trace).await?);
    }
    let exists = |index: &str| ledger.registry.exists(index);
    let known = Known {
        topology,
        infos,
        version: ledger.nodes.versions.least(),
        hidden: ledger.hidden_settings(),
        has_master_key: keyring.has_master_key(),
        now: OffsetDateTime::now_utc(),
        exists: &exists,
    };
    Ok(checked.plan(&known))
}

/// The indexes whose documents are shown in hits of these, as far as they are others.
fn foreign_indexes(infos: &Infos) -> Vec<String> {
    let keys = infos.values().flat_map(|info| &info.joins);
    keys.map(|key| key.foreign.clone()).filter(|index| !infos.contains_key(index)).collect()
}

/// What is known of `indexes`; one that does not exist is left out, and the plan makes of that what the engine would.
pub async fn infos(ledger: &Ledger, indexes: &[String], trace: &Trace) -> Result<Infos, ResponseError> {
    let mut infos = Infos::new();
    for index in indexes {
        match ledger.info(index, trace).await {
            Ok(info) => {
                infos.insert(index.clone(), info);
            }
            Err(error) if error.is(Code::IndexNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(infos)
}
