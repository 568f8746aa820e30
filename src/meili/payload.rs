//! Request bodies as JSON, refused in the engine's words.

use serde_json::{Map, Value};

use super::error::{Code, ResponseError};

/// Any JSON value.
pub fn parse(body: &[u8]) -> Result<Value, ResponseError> {
    if body.is_empty() {
        return Err(ResponseError::new(Code::MissingPayload, "A json payload is missing."));
    }
    serde_json::from_slice(body).map_err(|error| {
        ResponseError::new(Code::MalformedPayload, format!("The json payload provided is malformed. `{error}`."))
    })
}

/// A JSON object.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, ResponseError> {
    match parse(body)? {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong_kind(&other, "an object", "", Code::BadRequest)),
    }
}

/// ``expected a string, but found an array: `[1]` ``; `at` is the place, `.uid`, or empty for the whole body.
pub fn wrong_kind(found: &Value, expected: &str, at: &str, code: Code) -> ResponseError {
    let kind = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => format!("a boolean: `{found}`"),
        Value::Number(number) if number.is_u64() => format!("a positive integer: `{found}`"),
        Value::Number(number) if number.is_i64() => format!("a negative integer: `{found}`"),
        Value::Number(_) => format!("a number: `{found}`"),
        Value::String(_) => format!("a string: `{found}`"),
        Value::Array(_) => format!("an array: `{found}`"),
        Value::Object(_) => format!("an object: `{found}`"),
    };
    let place = if at.is_empty() { String::new() } else { format!(" at `{at}`") };
    ResponseError::new(code, format!("Invalid value type{place}: expected {expected}, but found {kind}"))
}

/// A text, or none where `null` stands. `at` is where, as the engine writes it: `.url`.
pub fn text(value: &Value, at: &str, code: Code) -> Result<Option<String>, ResponseError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(wrong_kind(value, "a string", at, code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_ends_early_says_where() {
        let error = parse(b"{\"q\": ").unwrap_err();
        assert_eq!(error.code, "malformed_payload");
        assert!(error.message.contains("at line 1 column 6"), "{}", error.message);
        assert_eq!(parse(b"").unwrap_err().message, "A json payload is missing.");
    }
}
