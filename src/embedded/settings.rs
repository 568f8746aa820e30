//! The settings of an index: read, checked as request bodies, applied.

use serde_json::Value;

use super::engine::IndexHandle;
use crate::meili::error::ResponseError;
use crate::meili::settings::Setting;

/// Checks the body of `PATCH /indexes/{uid}/settings`; the answer is the task's `details` and what is stored with it.
pub fn parse_update(_body: &[u8]) -> Result<Value, ResponseError> {
    todo!()
}

/// Checks the body of `PUT`/`PATCH /indexes/{uid}/settings/{setting}`.
pub fn parse_one(_setting: Setting, _body: &[u8]) -> Result<Value, ResponseError> {
    todo!()
}

/// `DELETE /indexes/{uid}/settings`: details and stored form.
pub fn reset() -> Value {
    todo!()
}

/// `DELETE /indexes/{uid}/settings/{setting}`: details and stored form.
pub fn reset_one(_setting: Setting) -> Value {
    todo!()
}

/// The body of `GET /indexes/{uid}/settings`, secrets hidden.
pub fn get(_index: &IndexHandle) -> Result<Value, ResponseError> {
    todo!()
}

/// The body of `GET /indexes/{uid}/settings/{setting}`.
pub fn get_one(_index: &IndexHandle, _setting: Setting) -> Result<Value, ResponseError> {
    todo!()
}
