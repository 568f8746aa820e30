//! `${NAME}` and `${NAME:-default}` in the texts of a configuration.

use serde_json::Value;

use super::Environment;
use crate::settings::Report;
use crate::settings::section::{child, item};

/// Expands every text in `value`, which stands at `path`. `$$` is a dollar sign.
pub(super) fn expand(value: &mut Value, path: &str, environment: Environment, report: &Report) {
    match value {
        Value::String(text) => {
            if text.contains('$') {
                let optional = is_optional(text);
                *text = expand_text(text, path, environment, report);
                if optional && text.is_empty() {
                    *value = Value::Null;
                }
            }
        }
        Value::Array(items) => {
            for (position, value) in items.iter_mut().enumerate() {
                expand(value, &item(path, position), environment, report);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                expand(value, &child(path, key), environment, report);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// True for `${NAME:-}` and nothing else: a key that need not be set. Example: with `admin_key: ${ADMIN_KEY:-}` and no such
/// variable there is no admin key, as if the line were not there.
fn is_optional(text: &str) -> bool {
    text.strip_prefix("${")
        .and_then(|rest| rest.strip_suffix(":-}"))
        .is_some_and(|name| !name.contains(['$', '}', ':']))
}

fn expand_text(text: &str, path: &str, environment: Environment, report: &Report) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = after.find('}') else {
                report.problem(path, "`${` without a closing `}`");
                return out;
            };
            // Values of a request, which rules put in.
            if path.starts_with("rules[") && after[..end].contains(['.', '(']) {
                out.push_str("${");
                rest = after;
                continue;
            }
            let (name, default) = match after[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (&after[..end], None),
            };
            rest = &after[end + 1..];
            // As in a shell, `:-` also stands in for a variable that is set to nothing.
            match (environment(name).filter(|value| default.is_none() || !value.is_empty()), default) {
                (Some(value), _) => out.push_str(&value),
                (None, Some(default)) => out.push_str(default),
                (None, None) => report.problem(path, format!("the environment variable `{name}` is not set")),
            }
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> (String, usize) {
        let environment = |name: &str| match name {
            "HOST" => Some("example.org".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let report = Report::default();
        let out = expand_text(text, "here", &environment, &report);
        (out, report.into_parts().0.len())
    }

    #[test]
    fn variables_take_their_values_or_defaults() {
        for (text, expected) in [
            ("http://${HOST}:7700", "http://example.org:7700"),
            ("${HOST}${HOST}", "example.orgexample.org"),
            ("${NONE:-x}", "x"),
            ("${NONE:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("costs $5 and $$5 and $${HOST}", "costs $5 and $5 and ${HOST}"),
        ] {
            assert_eq!(expanded(text), (expected.to_owned(), 0), "{text}");
        }
    }

    #[test]
    fn a_value_that_may_be_left_unset_is_absent_then() {
        let environment = |name: &str| (name == "HOST").then(|| "example.org".to_owned());
        let mut file =
            serde_json::json!({"a": "${NONE:-}", "b": "${HOST:-}", "c": "x${NONE:-}", "d": ["${NONE:-}${NONE:-}"]});
        let report = Report::default();
        expand(&mut file, "", &environment, &report);
        assert_eq!(file, serde_json::json!({"a": null, "b": "example.org", "c": "x", "d": [""]}));
        assert_eq!(report.into_parts().0.len(), 0);
    }

    #[test]
    fn an_unset_variable_is_a_problem() {
        assert_eq!(expanded("a${NONE}b${NONE2}").1, 2);
        assert_eq!(expanded("a${HOST").1, 1);
    }
}
