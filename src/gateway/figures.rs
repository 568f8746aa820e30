//! `GET /metrics`: what the gateway counts, and the engine's own families as far as the cluster knows their figures; and what
//! `POST /tasks/compact` frees.

use std::fmt::Write as _;

use prometheus::{Encoder as _, TextEncoder};
use serde_json::{Value, json};

use super::app::{Admitted, App};
use super::auth::check::invalid;
use super::respond::Answer;
use super::{features, planning};
use crate::meili::error::{Code, ResponseError};
use crate::meili::feature::Feature;
use crate::meili::operation::Read;
use crate::meili::task::TaskStatus;
use crate::nodes::error::store_failed;
use crate::placement::topology::Topology;
use crate::plan::{Plan, Request};
use crate::read::{self, Keeping};
use crate::settings::unit;
use crate::store::TaskTableStats;

/// The answer. As in the engine, a key must reach all indexes.
pub async fn metrics(app: &App, topology: &Topology, admitted: &Admitted<'_>) -> Result<Answer, ResponseError> {
    features::require(app, topology, admitted, Feature::Metrics).await?;
    if !admitted.access.is_unrestricted() {
        let mut error = invalid();
        error.message.push_str(" The API key for the `/metrics` route must allow access to all indexes.");
        return Err(error);
    }
    let operation = Read::Stats.into();
    let request = Request { operation: &operation, target: "/stats", body: &[], content_type: None };
    let plan = planning::plan(app.known(), topology, request, &admitted.trace).await?;
    let Plan::Scatter(scatter) = plan else {
        return Err(ResponseError::new(Code::Internal, "Figures of indexes are not planned as figures."));
    };
    let stats = read::run(&app.cluster.reads, topology, &scatter, &admitted.trace, Keeping::Nothing).await?;
    if stats.status != 200 {
        return Ok(Answer::bytes(stats.status, stats.body));
    }
    let stats: Value = serde_json::from_slice(&stats.body).unwrap_or_default();
    let tasks = app.cluster.ledger.store.task_stats().await.map_err(|error| store_failed(&error))?;
    let mut text = engines(&stats, &tasks).into_bytes();
    TextEncoder::new()
        .encode(&app.metrics.registry.gather(), &mut text)
        .map_err(|error| ResponseError::new(Code::Internal, format!("The metrics cannot be encoded: {error}.")))?;
    Ok(Answer { content_type: prometheus::TEXT_FORMAT, ..Answer::bytes(200, text.into()) })
}

/// `POST /tasks/compact`: the state's file without what deleted tasks have left in it. Nothing has to be restarted after it.
pub async fn compact(app: &App, topology: &Topology, admitted: &Admitted<'_>) -> Result<Answer, ResponseError> {
    features::require(app, topology, admitted, Feature::TaskCompaction).await?;
    Ok(match app.cluster.ledger.store.compact().await {
        Ok((before, after)) => {
            tracing::info!(before, after, "the state was compacted");
            let sizes =
                json!({ "preSize": unit::exact(before), "postSize": unit::exact(after), "status": "succeeded" });
            Answer::json(200, &sizes)
        }
        Err(error) => {
            tracing::error!(%error, "the state could not be compacted");
            Answer::json(500, &json!({ "status": "failed", "errorMessage": error.to_string() }))
        }
    })
}

/// The engine's families in Prometheus' text form, of the answer of `GET /stats` and of the table of tasks.
fn engines(stats: &Value, tasks: &TaskTableStats) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, values: Vec<(String, u64)>| {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let size = |name: &str| vec![(String::new(), stats[name].as_u64().unwrap_or(0))];
    family("meilisearch_db_size_bytes", "Meilisearch DB Size In Bytes", size("databaseSize"));
    family("meilisearch_used_db_size_bytes", "Meilisearch Used DB Size In Bytes", size("usedDatabaseSize"));
    let indexes = stats["indexes"].as_object();
    let count = indexes.map_or(0, |indexes| indexes.len() as u64);
    family("meilisearch_index_count", "Meilisearch Index Count", vec![(String::new(), count)]);
    let documents = indexes.into_iter().flatten().map(|(uid, of)| {
        // An index's uid has no character that a label would have to escape.
        (format!("{{index=\"{uid}\"}}"), of["numberOfDocuments"].as_u64().unwrap_or(0))
    });
    family("meilisearch_index_docs_count", "Meilisearch Index Docs Count", documents.collect());
    let of = |status: TaskStatus| tasks.by_status.iter().find(|(is, _)| *is == status).map_or(0, |(_, count)| *count);
    let indexing = u64::from(of(TaskStatus::Processing) > 0);
    family("meilisearch_is_indexing", "Meilisearch Is Indexing", vec![(String::new(), indexing)]);
    let statuses = [
        (TaskStatus::Enqueued, "enqueued"),
        (TaskStatus::Processing, "processing"),
        (TaskStatus::Succeeded, "succeeded"),
        (TaskStatus::Failed, "failed"),
        (TaskStatus::Canceled, "canceled"),
    ];
    let counts =
        statuses.map(|(status, name)| (format!("{{kind=\"statuses\",value=\"{name}\"}}"), of(status))).to_vec();
    family("meilisearch_nb_tasks", "Meilisearch Number of tasks", counts);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_families_have_the_clusters_figures() {
        let stats = json!({
            "databaseSize": 10, "usedDatabaseSize": 9, "lastUpdate": null,
            "indexes": {"a": {"numberOfDocuments": 3}, "b": {"numberOfDocuments": 0}},
        });
        let tasks = TaskTableStats { by_status: vec![(TaskStatus::Processing, 2)], ..TaskTableStats::default() };
        let text = engines(&stats, &tasks);
        for line in [
            "meilisearch_db_size_bytes 10",
            "meilisearch_index_count 2",
            "meilisearch_index_docs_count{index=\"a\"} 3",
            "meilisearch_is_indexing 1",
            "meilisearch_nb_tasks{kind=\"statuses\",value=\"processing\"} 2",
            "meilisearch_nb_tasks{kind=\"statuses\",value=\"failed\"} 0",
        ] {
            assert!(text.lines().any(|is| is == line), "{line} in {text}");
        }
    }
}
