//! A rendered template without the hidden fields, which a template that goes through all fields of a document lists too.

use std::borrow::Cow;

use serde_json::Value;

use super::error::MergeError;
use crate::placement::templates;
use crate::split::document::RESERVED_PREFIX;

/// The answer of a node as the client sees it.
pub fn shown(reply: &[u8]) -> Result<Vec<u8>, MergeError> {
    let mut value: Value = serde_json::from_slice(reply)?;
    if let Some(Value::String(template)) = value.get_mut("template")
        && let Cow::Owned(written) = templates::plain(template)
    {
        *template = written;
    }
    if let Some(rendered) = value.get_mut("rendered") {
        hide(rendered);
    }
    Ok(value.to_string().into_bytes())
}

fn hide(rendered: &mut Value) {
    match rendered {
        Value::String(text) => {
            if let Cow::Owned(kept) = without_fields(text) {
                *text = kept;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(members) => members.iter_mut().for_each(|(_, member)| hide(member)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Without the lines of hidden fields as the engine's own template writes them, the last one maybe cut short: an embedder that an
/// older Miroir made has it without a guard.
/// Example: of `title: Heat\n_miroir_shard: {}{}{{}}\n` the first line stays.
fn without_fields(text: &str) -> Cow<'_, str> {
    if !text.contains(RESERVED_PREFIX) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split_inclusive('\n').filter(|line| !line.starts_with(RESERVED_PREFIX)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(of: &Value) -> Value {
        let reply = json!({"template": "{{ doc }}", "rendered": of}).to_string();
        serde_json::from_slice::<Value>(&shown(reply.as_bytes()).unwrap()).unwrap()["rendered"].clone()
    }

    #[test]
    fn lines_of_hidden_fields_are_left_out() {
        let text = "title: Heat\n_miroir_shard: {}{}{{}}\n_miroir_written: [[]{\n";
        assert_eq!(rendered(&json!(text)), "title: Heat\n");
        assert_eq!(rendered(&json!({"a": [text, 1]})), json!({"a": ["title: Heat\n", 1]}));
        assert_eq!(rendered(&json!("title: Heat\n_miroir_sha")), "title: Heat\n");
    }

    #[test]
    fn what_a_client_wrote_stays() {
        for text in ["", "a", "a\n\nb\n", "see _miroir_shard"] {
            assert_eq!(rendered(&json!(text)), text);
        }
        assert_eq!(rendered(&json!(null)), json!(null));
    }
}
