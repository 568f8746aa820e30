//! Why a walk stops.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::commands::client::ClientError;

/// Why a walk stops. A node that is away by then stays in maintenance, and the same command goes on with it.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error(transparent)]
    Admin(#[from] ClientError),
    #[error("`{0}` is no version of the engine: expected one such as `1.50.0`")]
    NoVersion(String),
    #[error("{node} runs {version}, and an engine does not open what a newer one wrote: nothing was done")]
    Older { node: String, version: String },
    #[error(
        "{node} does not answer ({reason}): bring it back, or take it into maintenance, before others leave. Nothing was done"
    )]
    Unreachable { node: String, reason: String },
    #[error("`sh` cannot be run: {0}")]
    NoShell(io::Error),
    #[error(
        "the command for {node} ended with {status}: {node} stays in maintenance, and the same command goes on with it"
    )]
    Command { node: String, status: ExitStatus },
    #[error("{node} waited {} s for {what}, in vain: {reason}. The same command goes on", limit.as_secs())]
    Late { node: String, what: String, limit: Duration, reason: String },
}
