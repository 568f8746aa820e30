//! A workspace of chats: how a chat talks to a language model. Its settings in requests, and what answers show of them.
//!
//! | module | what lives there |
//! |---|---|
//! | `parts` | what settings consist of: sources, texts, prompts |
//! | `wanted` | a body that changes settings |

mod parts;
mod wanted;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{Code, ResponseError};

pub use parts::{Prompt, Source, Text};
pub use wanted::Wanted;

/// The settings of a workspace as clients set them: nothing of them belongs into a log, as there is a secret among them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workspace {
    source: Source,
    /// Those that are set.
    texts: BTreeMap<Text, String>,
    /// Those that are not the engine's own.
    prompts: BTreeMap<Prompt, String>,
}

/// All workspaces.
pub type Workspaces = BTreeMap<String, Workspace>;

/// 404 as the routes of a workspace word it.
pub fn not_found(workspace: &str) -> ResponseError {
    ResponseError::new(Code::ChatNotFound, format!("chat {workspace} not found"))
}

/// 404 as the routes of its settings word it.
pub fn no_settings(workspace: &str) -> ResponseError {
    ResponseError::new(Code::ChatNotFound, format!("Chat `{workspace}` not found"))
}

// === impl Workspace ===

impl Workspace {
    /// What it becomes by what is wanted: what is `null` goes back to its default, what is not named stays.
    pub fn changed(&self, wanted: Wanted) -> Result<Self, ResponseError> {
        let mut changed = self.clone();
        if let Some(source) = wanted.source {
            changed.source = source.unwrap_or_default();
        }
        lay_over(&mut changed.texts, wanted.texts);
        match wanted.prompts {
            Some(Some(prompts)) => lay_over(&mut changed.prompts, prompts),
            Some(None) => changed.prompts.clear(),
            None => {}
        }
        changed.check()?;
        Ok(changed)
    }

    /// As an engine of 1.50 shows it, the secret masked.
    pub fn view(&self) -> Value {
        self.said(Text::shown)
    }

    /// As a dump of an engine of 1.50 has it, the secret as it is.
    pub fn dumped(&self) -> Value {
        self.said(|_, value| value.to_owned())
    }

    fn said(&self, shown_as: impl Fn(Text, &str) -> String) -> Value {
        let mut shown = Map::from_iter([("source".to_owned(), self.source.as_str().into())]);
        for text in Text::ALL {
            let value = self.texts.get(text).map(|value| shown_as(*text, value));
            shown.insert(text.key().to_owned(), value.into());
        }
        let said = |prompt: &Prompt| self.prompts.get(prompt).map_or(prompt.default(), String::as_str);
        let prompts = Prompt::ALL.iter().map(|prompt| (prompt.key().to_owned(), said(prompt).into()));
        shown.insert("prompts".to_owned(), Value::Object(prompts.collect()));
        Value::Object(shown)
    }

    /// Refuses a source that cannot be asked by what is said of it.
    fn check(&self) -> Result<(), ResponseError> {
        let lacks = |texts: &[Text]| texts.iter().any(|text| !self.texts.contains_key(text));
        let message = match self.source {
            Source::AzureOpenAi if lacks(&[Text::BaseUrl, Text::DeploymentId, Text::ApiVersion]) => {
                "azureOpenAi requires setting a valid `baseUrl`, `deploymentId`, and `apiVersion`"
            }
            Source::VLlm if lacks(&[Text::BaseUrl]) => "vLlm requires setting a valid `baseUrl`",
            Source::AzureOpenAi | Source::VLlm | Source::OpenAi | Source::Mistral => return Ok(()),
        };
        Err(ResponseError::new(Code::BadRequest, message))
    }
}

fn lay_over<T: Ord>(there: &mut BTreeMap<T, String>, wanted: BTreeMap<T, Option<String>>) {
    for (name, value) in wanted {
        match value {
            Some(value) => there.insert(name, value),
            None => there.remove(&name),
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(workspace: &Workspace, body: &Value) -> Workspace {
        workspace.changed(Wanted::read(body).ok().unwrap()).ok().unwrap()
    }

    #[test]
    fn what_is_null_is_the_default_again_and_what_is_not_named_stays() {
        let body = json!({"source": "mistral", "apiKey": "abcdefghijklmnop", "orgId": "o",
            "prompts": {"system": "hi", "searchQParam": "q"}});
        let first = changed(&Workspace::default(), &body);
        let shown = first.view();
        assert_eq!(
            (&shown["source"], &shown["apiKey"], &shown["orgId"]),
            (&json!("mistral"), &json!("abXXXX..."), &json!("o"))
        );
        assert_eq!(shown["baseUrl"], Value::Null);
        let second = changed(&first, &json!({"orgId": null, "prompts": {"searchQParam": null}})).view();
        assert_eq!((&second["source"], &second["orgId"]), (&json!("mistral"), &Value::Null));
        assert_eq!(second["prompts"]["system"], "hi");
        assert_eq!(second["prompts"]["searchQParam"], Prompt::SearchQParam.default());
        let third = changed(&first, &json!({"source": null, "prompts": null, "apiKey": null, "orgId": null}));
        assert!(third == Workspace::default());
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let kept = changed(
            &Workspace::default(),
            &json!({"source": "vLlm", "baseUrl": "http://a", "prompts": {"system": "s"}}),
        );
        let text = serde_json::to_string(&kept).unwrap();
        assert!(serde_json::from_str::<Workspace>(&text).unwrap() == kept, "{text}");
    }

    #[test]
    fn a_dump_has_what_makes_the_workspace_again() {
        let body =
            json!({"source": "vLlm", "baseUrl": "http://a", "apiKey": "abcdefghijklmnop", "prompts": {"system": "s"}});
        let kept = changed(&Workspace::default(), &body);
        let dumped = kept.dumped();
        assert_eq!((&dumped["apiKey"], &dumped["orgId"]), (&json!("abcdefghijklmnop"), &Value::Null));
        let again = changed(&Workspace::default(), &dumped);
        assert_eq!((again.view(), again.dumped()), (kept.view(), dumped));
    }

    // Seen of an engine of 1.50.
    #[test]
    fn a_source_must_be_reachable() {
        let refused = |body: Value| {
            let wanted = Wanted::read(&body).ok().unwrap();
            Workspace::default().changed(wanted).err().map(|error| (error.code, error.message))
        };
        let wrong = |message: &str| Some(("bad_request".to_owned(), message.to_owned()));
        assert_eq!(refused(json!({"source": "vLlm"})), wrong("vLlm requires setting a valid `baseUrl`"));
        assert_eq!(refused(json!({"source": "vLlm", "baseUrl": "x"})), None);
        assert_eq!(
            refused(json!({"source": "azureOpenAi", "baseUrl": "x", "apiVersion": "1"})),
            wrong("azureOpenAi requires setting a valid `baseUrl`, `deploymentId`, and `apiVersion`")
        );
    }
}
