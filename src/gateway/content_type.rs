//! Bodies that must be JSON, and the refusal of anything else.

use super::head::Head;
use crate::meili::error::{Code, ResponseError};

/// Refuses a body that does not say it is JSON, as the engine does.
pub fn require_json(head: &Head) -> Result<(), ResponseError> {
    let Some(value) = head.headers.get(http::header::CONTENT_TYPE) else {
        let message = "A Content-Type header is missing. Accepted values for the Content-Type header are: \
                       `application/json`";
        return Err(ResponseError::new(Code::MissingContentType, message));
    };
    let text = value.to_str().unwrap_or("unknown");
    if is_json(text) {
        return Ok(());
    }
    let message = format!(
        "The Content-Type `{text}` is invalid. Accepted values for the Content-Type header are: `application/json`"
    );
    Err(ResponseError::new(Code::InvalidContentType, message))
}

/// `application/json`, with any parameters, and `application/<anything>+json`.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((_, subtype)) = essence.split_once('/') else {
        return false;
    };
    let suffix = subtype.rsplit('+').next().unwrap_or(subtype);
    suffix.eq_ignore_ascii_case("json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(content_type: Option<&str>) -> Head {
        let mut headers = http::HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(http::header::CONTENT_TYPE, value.parse().unwrap());
        }
        Head::new(http::Method::POST, &"/multi-search".parse().unwrap(), headers)
    }

    #[test]
    fn json_with_parameters_is_json() {
        for good in ["application/json", "application/json; charset=utf-8", "application/ld+json", "text/JSON"] {
            assert!(require_json(&head(Some(good))).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_not_json_is_named() {
        let error = require_json(&head(Some("test"))).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (415, "invalid_content_type"));
        assert_eq!(
            error.message,
            "The Content-Type `test` is invalid. Accepted values for the Content-Type header are: `application/json`"
        );
        assert_eq!(require_json(&head(None)).unwrap_err().code, "missing_content_type");
    }
}
