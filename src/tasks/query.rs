//! Query strings of the task routes, with the engine's errors.

use super::filter::{IndexAccess, TaskFilter, TaskPage, TaskRef};
use crate::meili::error::ResponseError;

/// `GET /tasks?...`.
pub fn parse_list(query: &str, access: IndexAccess) -> Result<TaskPage, ResponseError> {
    let _ = (query, access);
    todo!()
}

/// `POST /tasks/cancel?...`.
pub fn parse_cancel(query: &str, access: IndexAccess) -> Result<TaskFilter, ResponseError> {
    let _ = (query, access);
    todo!()
}

/// `DELETE /tasks?...`.
pub fn parse_delete(query: &str, access: IndexAccess) -> Result<TaskFilter, ResponseError> {
    let _ = (query, access);
    todo!()
}

/// The id in `/tasks/{id}`.
pub fn parse_id(id: &str) -> Result<TaskRef, ResponseError> {
    let _ = id;
    todo!()
}
