//! The body of `PATCH /chats/{workspace}/settings`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::parts::{Prompt, Source, Text};
use crate::meili::error::{Code, ResponseError};
use crate::meili::payload::{text, wrong_kind};
use crate::meili::unknown;

/// What a body says; of each the outer `None` is a field that is not there, the inner one is `null`.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Option<Source>>,
    #[serde(flatten, serialize_with = "without_secret")]
    pub(super) texts: BTreeMap<Text, Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompts: Option<Option<BTreeMap<Prompt, Option<String>>>>,
}

/// Plans are shown to operators.
fn without_secret<S: serde::Serializer>(
    texts: &BTreeMap<Text, Option<String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = |(text, value): (&Text, &Option<String>)| (*text, value.as_deref().map(|value| text.shown(value)));
    serializer.collect_map(texts.iter().map(shown))
}

// === impl Wanted ===

/// Nothing of it belongs into a log.
impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted").finish_non_exhaustive()
    }
}

impl Wanted {
    /// Whether what it says makes a workspace depends on what there is.
    pub fn read(body: &Value) -> Result<Self, ResponseError> {
        let Some(fields) = body.as_object() else {
            return Err(wrong_kind(body, "an object", "", Code::BadRequest));
        };
        let mut wanted = Self::default();
        for (name, value) in fields {
            if name == "source" {
                wanted.source = Some(source(value)?);
            } else if name == "prompts" {
                wanted.prompts = Some(prompts(value)?);
            } else if let Some(named) = Text::ALL.iter().find(|named| named.key() == name) {
                wanted.texts.insert(*named, text(value, &format!(".{name}"), named.code())?);
            } else {
                let texts = Text::ALL.iter().map(|text| text.key());
                let known: Vec<&str> = ["source"].into_iter().chain(texts).chain(["prompts"]).collect();
                return Err(unknown::field(name, &known));
            }
        }
        Ok(wanted)
    }
}

fn source(value: &Value) -> Result<Option<Source>, ResponseError> {
    let Some(word) = text(value, ".source", Code::BadRequest)? else { return Ok(None) };
    let found = Source::ALL.iter().find(|source| source.as_str() == word);
    let known: Vec<&str> = Source::ALL.iter().map(|source| source.as_str()).collect();
    found.copied().map(Some).ok_or_else(|| unknown::value(&word, ".source", &known, Code::BadRequest))
}

fn prompts(value: &Value) -> Result<Option<BTreeMap<Prompt, Option<String>>>, ResponseError> {
    if value.is_null() {
        return Ok(None);
    }
    let fields = value.as_object().ok_or_else(|| wrong_kind(value, "an object", ".prompts", Code::BadRequest))?;
    let mut prompts = BTreeMap::new();
    for (name, value) in fields {
        let Some(prompt) = Prompt::ALL.iter().find(|prompt| prompt.key() == name) else {
            let known: Vec<&str> = Prompt::ALL.iter().map(|prompt| prompt.key()).collect();
            return Err(unknown::field_inside(name, ".prompts", &known));
        };
        prompts.insert(*prompt, text(value, &format!(".prompts.{name}"), prompt.code())?);
    }
    Ok(Some(prompts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // Seen of an engine of 1.50.
    #[test]
    fn refusals_are_worded_as_the_engine_words_them() {
        let cases = [
            (json!([]), "bad_request", "Invalid value type: expected an object, but found an array: `[]`"),
            (
                json!({"nope": 1}),
                "bad_request",
                "Unknown field `nope`: expected one of `source`, `orgId`, `projectId`, `apiVersion`, `deploymentId`, \
                 `baseUrl`, `apiKey`, `prompts`",
            ),
            (
                json!({"source": "x"}),
                "bad_request",
                "Unknown value `x` at `.source`: expected one of `openAi`, `mistral`, `azureOpenAi`, `vLlm`",
            ),
            (
                json!({"apiKey": 1}),
                "invalid_chat_completion_api_key",
                "Invalid value type at `.apiKey`: expected a string, but found a positive integer: `1`",
            ),
            (
                json!({"baseUrl": true}),
                "invalid_chat_completion_base_api",
                "Invalid value type at `.baseUrl`: expected a string, but found a boolean: `true`",
            ),
            (
                json!({"prompts": true}),
                "bad_request",
                "Invalid value type at `.prompts`: expected an object, but found a boolean: `true`",
            ),
            (
                json!({"prompts": {"searchQParam": true}}),
                "invalid_chat_completion_search_query_param_prompt",
                "Invalid value type at `.prompts.searchQParam`: expected a string, but found a boolean: `true`",
            ),
            (
                json!({"prompts": {"nope": 1}}),
                "bad_request",
                "Unknown field `nope` inside `.prompts`: expected one of `system`, `searchDescription`, `searchQParam`, \
                 `searchFilterParam`, `searchIndexUidParam`",
            ),
        ];
        for (body, code, message) in cases {
            let error = Wanted::read(&body).err().unwrap();
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, message), "{body}");
        }
    }

    #[test]
    fn a_plan_shows_no_secret() {
        let wanted = Wanted::read(&json!({"apiKey": "abcdefghijklmnop", "orgId": null})).ok().unwrap();
        assert_eq!(serde_json::to_value(&wanted).unwrap(), json!({"orgId": null, "apiKey": "abXXXX..."}));
    }
}
