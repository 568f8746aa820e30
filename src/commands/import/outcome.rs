//! What came of a request to the target.

use serde_json::Value;

use super::error::{ImportError, during};
use crate::dumps::remote::{Remote, RemoteError};

/// Says what was refused; stops where nobody answers.
pub fn note(what: &str, outcome: Result<Value, RemoteError>) -> Result<(), ImportError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(RemoteError::Refused(error)) if error.code != "invalid_api_key" => {
            println!("{what} is not taken along: {}", error.message);
            Ok(())
        }
        Err(source) => Err(ImportError::Remote { what: what.to_owned(), source }),
    }
}

/// Waits for the task of a change, and insists on its success.
pub fn done(what: &str, remote: &Remote, accepted: Result<Value, RemoteError>) -> Result<(), ImportError> {
    let accepted = during(what, accepted)?;
    let task = during(what, remote.wait(&accepted))?;
    if task["status"] == "succeeded" {
        return Ok(());
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Err(ImportError::Task {
        what: what.to_owned(),
        uid: text(&task["uid"]),
        status: text(&task["status"]),
        message: text(&task["error"]["message"]),
    })
}
