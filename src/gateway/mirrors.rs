//! Searches that rules want asked again of another index: once the client has its answer, a few at a time, and left out where too many
//! wait. What they find is compared with what the client got, counted, and told to nobody else.

use std::sync::Arc;

use super::app::App;
use super::planning;
use super::rule_metrics::Mirroring;
use super::shadow::Shadow;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::{Operation, Read};
use crate::nodes::client::Trace;
use crate::plan::{Plan, Request};
use crate::read::{self, Keeping};
use crate::rules::mirror::Difference;

/// Why there is nothing to compare. Nothing of what was asked is in it.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Refused(String),
    #[error("it was answered with {0}")]
    Status(u16),
    #[error("not all shards have answered")]
    Degraded,
    #[error("an answer cannot be read")]
    Answer,
}

/// Asks them, soon, on the runtime of the caller. Those for which there is no room are dropped.
pub fn send(app: &Arc<App>, shadows: Vec<Shadow>) {
    for shadow in shadows {
        let Some(held) = app.mirrors.hold(&shadow) else {
            app.ruling.metrics.count_mirrored(&shadow.rule, Mirroring::Dropped);
            continue;
        };
        let app = Arc::clone(app);
        tokio::spawn(async move {
            // Nobody closes it.
            let _turn = app.mirrors.turns.acquire().await;
            let outcome = ask(&shadow, &app).await;
            app.ruling.metrics.count_mirrored(&shadow.rule, told(&shadow, outcome));
            drop(held);
        });
    }
}

async fn ask(shadow: &Shadow, app: &App) -> Result<Option<Difference>, Failed> {
    let topology = app.cluster.nodes.topology();
    let trace = Trace::background("mirror");
    let operation: Operation = Read::SearchPost { index: shadow.to.clone() }.into();
    let target = format!("/indexes/{}/search", shadow.to);
    let content_type = Some("application/json");
    let request = Request { operation: &operation, target: &target, body: &shadow.body, content_type };
    let refused = |error: ResponseError| Failed::Refused(error.code);
    let plan = planning::plan(app.known(), &topology, request, &trace).await.map_err(refused)?;
    if let Plan::Refuse(error) = plan {
        return Err(refused(error));
    }
    let Plan::Scatter(scatter) = plan else {
        return Err(refused(ResponseError::new(Code::Internal, "A search is not planned as a search.")));
    };
    let reply = read::run(&app.cluster.reads, &topology, &scatter, &trace, Keeping::Nothing).await.map_err(refused)?;
    if reply.status != 200 {
        return Err(Failed::Status(reply.status));
    }
    if !reply.degraded.is_empty() {
        return Err(Failed::Degraded);
    }
    let key = app.cluster.ledger.registry.entry(&shadow.from).and_then(|entry| entry.primary_key);
    shadow.compared(&reply.body, key.as_deref()).ok_or(Failed::Answer)
}

/// Logs what is worth it: where answers differ, and by how much, but nothing of what is in them or was asked.
fn told(shadow: &Shadow, outcome: Result<Option<Difference>, Failed>) -> Mirroring {
    let Shadow { rule, from, to, request_id, .. } = shadow;
    match outcome {
        Ok(None) => Mirroring::Same,
        Ok(Some(Difference { hits, first, totals })) => {
            let said = |total: Option<u64>| total.map(|total| total.to_string()).unwrap_or_default();
            tracing::info!(
                rule,
                request_id,
                index = from,
                mirror = to,
                hits = hits.0,
                mirror_hits = hits.1,
                first_other_hit = first,
                total = said(totals.0),
                mirror_total = said(totals.1),
                "a mirrored search has another answer"
            );
            Mirroring::Differs
        }
        Err(error) => {
            tracing::warn!(rule, request_id, index = from, mirror = to, %error, "a mirrored search has failed");
            Mirroring::Failed
        }
    }
}
