//! What is answered: JSON, nothing, or an error.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use crate::error::{Code, ResponseError};
use crate::queue::task::Task;
use crate::queue::view;

pub type Answer = Result<Response, ResponseError>;

/// The answer to a request that made a task.
pub fn accepted(task: &Task) -> Response {
    json(StatusCode::ACCEPTED, &view::summary(task))
}

pub fn ok(value: &Value) -> Response {
    json(StatusCode::OK, value)
}

pub fn json(status: StatusCode, value: &Value) -> Response {
    with_body(status, value.to_string().into_bytes())
}

pub fn refused(error: &ResponseError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = with_body(status, error.to_body());
    if error.is(Code::TooManySearchRequests) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    }
    response
}

fn with_body(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

pub fn wrong_method() -> Response {
    empty(StatusCode::METHOD_NOT_ALLOWED)
}
