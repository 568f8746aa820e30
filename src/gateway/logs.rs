//! `/logs`: the gateway's own log lines, as an engine shows its own.

use tracing_subscriber::filter::Targets;

use super::app::{Admitted, App};
use super::features;
use super::respond::Answer;
use crate::logging::{self, Listening, Look};
use crate::meili::error::{Code, ResponseError};
use crate::meili::feature::Feature;
use crate::placement::topology::Topology;
use crate::plan::log_wish::{LogLook, LogWish};

/// `POST /logs/stream`: lines from now on, for one client at a time.
pub async fn listen(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    wish: LogWish,
) -> Result<Listening, ResponseError> {
    features::require(app, topology, admitted, Feature::Logs).await?;
    let look = match wish.look.heard()? {
        LogLook::Human => Look::Plain,
        LogLook::Json => Look::Json,
    };
    logging::listen(wish.targets, look).ok_or_else(|| {
        ResponseError::new(Code::BadRequest, "The `/logs/stream` route is currently in use by someone else.")
    })
}

/// `DELETE /logs/stream`.
pub async fn hush(app: &App, topology: &Topology, admitted: &Admitted<'_>) -> Result<Answer, ResponseError> {
    features::require(app, topology, admitted, Feature::Logs).await?;
    logging::hush();
    Ok(Answer::empty(204))
}

/// `POST /logs/stderr`.
pub async fn set_stderr(
    app: &App,
    topology: &Topology,
    admitted: &Admitted<'_>,
    targets: &Targets,
) -> Result<Answer, ResponseError> {
    features::require(app, topology, admitted, Feature::Logs).await?;
    if logging::set_targets(targets) {
        tracing::info!(%targets, "log lines go by other targets from now on");
    }
    Ok(Answer::empty(204))
}
