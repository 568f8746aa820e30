//! The task routes.

use std::sync::Arc;

use serde_json::Value;

use super::task_host::TaskHost;
use crate::meili::error::ResponseError;
use crate::tasks::filter::IndexAccess;
use crate::tasks::view::UidFormat;

/// `GET /tasks`: the answer's body.
pub async fn list<H: TaskHost>(
    host: &Arc<H>,
    query: &str,
    access: IndexAccess,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let _ = (host, query, access, format);
    todo!()
}

/// `GET /tasks/{id}`.
pub async fn get<H: TaskHost>(
    host: &Arc<H>,
    id: &str,
    access: IndexAccess,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let _ = (host, id, access, format);
    todo!()
}

/// `POST /tasks/cancel`: the summary of the cancelation (status 200).
pub async fn cancel<H: TaskHost>(
    host: &Arc<H>,
    query: &str,
    access: IndexAccess,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let _ = (host, query, access, format);
    todo!()
}

/// `DELETE /tasks`: the summary of the deletion (status 200).
pub async fn delete<H: TaskHost>(
    host: &Arc<H>,
    query: &str,
    access: IndexAccess,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let _ = (host, query, access, format);
    todo!()
}

/// `DELETE /tasks/{id}`: the summary of the deletion (status 200).
pub async fn delete_one<H: TaskHost>(
    host: &Arc<H>,
    id: &str,
    access: IndexAccess,
    format: UidFormat,
) -> Result<Value, ResponseError> {
    let _ = (host, id, access, format);
    todo!()
}
