//! What is said of chats: workspaces, and a setting of each index. A Meilisearch keeps both while the switch for chats is off, but takes and
//! shows them only while it is on. So it is on while they are loaded and compared.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::compare::Difference;
use super::error::{ImportError, during};
use super::outcome::note;
use super::source::Source;
use super::state::State;
use crate::dumps::remote::{Remote, RemoteError};
use crate::meili::secret::masked;

/// The switch.
const SWITCH: &str = "chatCompletions";
const FEATURES: &str = "/experimental-features";

/// Switches chats on where the source says something of them and they are off, and sends the workspaces.
pub fn open(source: &dyn Source, remote: &Remote, state: &mut State) -> Result<(), ImportError> {
    let says = !source.chats().is_empty() || source.indexes().iter().any(|index| is_own(&index.settings));
    if !says {
        return Ok(());
    }
    let features = during("experimental features", remote.send("GET", FEATURES, None))?;
    if features[SWITCH] != true {
        // Should this be stopped in between, the next run knows that the switch is to go off again.
        state.done.chats_were_off = true;
        state.save()?;
        let switched = remote.send("PATCH", FEATURES, Some(&json!({ SWITCH: true })));
        // Without an answer it may have been done.
        if matches!(switched, Err(RemoteError::Refused(_))) {
            state.done.chats_were_off = false;
            state.save()?;
            return note("what is said of chats", switched);
        }
        during("the switch for chats", switched)?;
    }
    for (workspace, settings) in source.chats() {
        let sent = remote.send("PATCH", &path(workspace), Some(settings));
        note(&format!("workspace `{workspace}` of chats"), sent)?;
    }
    Ok(())
}

/// Switches chats off if they were off before.
pub fn close(remote: &Remote, state: &mut State) -> Result<(), ImportError> {
    if state.done.chats_were_off {
        during("the switch for chats", remote.send("PATCH", FEATURES, Some(&json!({ SWITCH: false }))))?;
        state.done.chats_were_off = false;
        state.save()?;
    }
    Ok(())
}

/// What of an index's settings the target takes: one without chats, or where they are off, refuses all settings because of theirs.
pub fn taken(uid: &str, mut settings: Map<String, Value>, remote: &Remote) -> Result<Map<String, Value>, ImportError> {
    if settings.contains_key("chat") {
        let there = during(format!("settings of `{uid}`"), remote.send("GET", &settings_of(uid), None))?;
        if there.get("chat").is_none() {
            if is_own(&settings) {
                println!("index `{uid}`: its chat settings are not taken along: the target shows none");
            }
            settings.shift_remove("chat");
        }
    }
    Ok(settings)
}

/// Which workspaces are others than those of the source.
pub fn compare(source: &dyn Source, remote: &Remote) -> Result<Vec<Difference>, ImportError> {
    let mut found = Vec::new();
    for (workspace, wanted) in source.chats() {
        let there = match remote.send("GET", &path(workspace), None) {
            Err(RemoteError::Refused(_)) => Value::Null,
            other => during(format!("workspace `{workspace}`"), other)?,
        };
        let differs = wanted.as_object().into_iter().flatten().any(|(name, value)| match value.as_str() {
            Some(secret) if name == "apiKey" => there[name] != masked(secret),
            Some(_) | None => there[name] != *value,
        });
        if differs {
            found.push(Difference::Chat { workspace: workspace.clone() });
        }
    }
    Ok(found)
}

/// Whether the setting is another than that of an index for which nobody has set it. A template that cannot be told from the engine's
/// own counts as one that somebody has set.
fn is_own(settings: &Map<String, Value>) -> bool {
    let Some(chat) = settings.get("chat") else { return false };
    let template = chat["documentTemplate"].as_str().unwrap_or(ENGINES_OWN);
    chat["description"].as_str().is_some_and(|text| !text.is_empty())
        || chat["searchParameters"].as_object().is_some_and(|parameters| !parameters.is_empty())
        || chat["documentTemplateMaxBytes"].as_u64().is_some_and(|bytes| bytes != 400)
        || template != ENGINES_OWN
}

/// What an engine of 1.50 shows where nobody has set a template.
const ENGINES_OWN: &str = "{% for field in fields %}{% if field.is_searchable and field.value != nil %}{{ field.name }}: \
                           {{ field.value }}\n{% endif %}{% endfor %}";

/// Where the settings of a workspace are.
pub fn path(workspace: &str) -> String {
    format!("/chats/{}/settings", utf8_percent_encode(workspace, NON_ALPHANUMERIC))
}

fn settings_of(uid: &str) -> String {
    format!("/indexes/{uid}/settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_new_index_shows_is_nobodys_own() {
        let of = |chat: Value| is_own(&Map::from_iter([("chat".to_owned(), chat)]));
        let new = json!({"description": "", "documentTemplate": ENGINES_OWN, "documentTemplateMaxBytes": 400,
            "searchParameters": {}});
        assert!(!of(new.clone()) && !is_own(&Map::new()));
        for (name, value) in [
            ("description", json!("d")),
            ("documentTemplate", json!("{{ doc.a }}")),
            ("documentTemplateMaxBytes", json!(7)),
            ("searchParameters", json!({"limit": 3})),
        ] {
            let mut other = new.clone();
            other[name] = value;
            assert!(of(other), "{name}");
        }
    }

    #[test]
    fn any_name_of_a_workspace_is_one_part_of_a_path() {
        assert_eq!(path("a/b c?"), "/chats/a%2Fb%20c%3F/settings");
    }
}
