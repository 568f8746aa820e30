//! Why an import stops.

use std::io;
use std::path::PathBuf;

use crate::dumps::remote::RemoteError;

/// Why an import stops. What was loaded stays, and the same command goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no dump, or it is broken: {reason}", path.display())]
    Broken { path: PathBuf, reason: String },
    #[error(
        "{} is a dump of format {version}, and only V6 is read: start a Meilisearch from it, and import that by `--from`",
        path.display()
    )]
    Version { path: PathBuf, version: String },
    #[error(
        "the source is of Meilisearch {source_version}, the target's nodes of {target_version}: they may not know all of its \
         settings. Bring the nodes up to {source_version}, or say `--accept-newer`"
    )]
    Newer { source_version: String, target_version: String },
    #[error("{what}: {source}")]
    Remote { what: String, source: RemoteError },
    #[error("{what}: the task {uid} ended as {status}: {message}")]
    Task { what: String, uid: String, status: String, message: String },
    #[error("index `{index}` is there already and was not made by this import: delete it, or say `--overwrite`")]
    Exists { index: String },
    #[error("{} is of another import (`{other}`): remove it to begin anew, or name another by `--state`", path.display())]
    OtherImport { path: PathBuf, other: String },
    #[error("cannot write {}: {source}", path.display())]
    State { path: PathBuf, source: io::Error },
    /// Of the archive, while it is read as a stream.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Says during what a request failed.
pub fn during<T>(what: impl Into<String>, outcome: Result<T, RemoteError>) -> Result<T, ImportError> {
    outcome.map_err(|source| ImportError::Remote { what: what.into(), source })
}
