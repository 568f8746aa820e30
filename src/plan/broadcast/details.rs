//! What the details of a task name in some versions of the engine only.

use serde_json::{Map, Value};

use crate::meili::settings::Setting;
use crate::meili::task::TaskKind;
use crate::meili::versions::{shows_foreign_keys, shows_renames};
use crate::plan::write::WriteIntent;

/// Writes the details of `intent` as an engine of `version` shows them.
pub fn show_as_of(version: &str, intent: &mut WriteIntent) {
    let Some(details) = intent.details.as_mut() else { return };
    if intent.kind == TaskKind::IndexSwap && shows_renames(version) {
        let swaps = details.get_mut("swaps").and_then(Value::as_array_mut);
        for swap in swaps.into_iter().flatten().filter_map(Value::as_object_mut) {
            swap.entry("rename").or_insert(Value::Bool(false));
        }
    }
    if is_reset(intent.kind, details) && shows_foreign_keys(version) {
        details.insert("foreignKeys".to_owned(), Value::Null);
    }
}

/// A reset of all settings is shown with each of them.
fn is_reset(kind: TaskKind, details: &Map<String, Value>) -> bool {
    kind == TaskKind::SettingsUpdate && details.get("chat") == Some(&Value::Null) && details.len() >= Setting::ALL.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::write::{StepBody, Target};

    fn intent(kind: TaskKind, details: Value) -> WriteIntent {
        let step = super::super::intent::whole("POST", "/x", StepBody::Empty);
        assert!(matches!(step.to, Target::AllNodes));
        let Value::Object(details) = details else { panic!("details are an object") };
        super::super::intent::of_index(kind, "a", details, step)
    }

    fn shown(version: &str, kind: TaskKind, details: Value) -> Value {
        let mut intent = intent(kind, details);
        show_as_of(version, &mut intent);
        Value::Object(intent.details.unwrap())
    }

    #[test]
    fn a_swap_says_that_it_renames_nothing_where_the_engine_says_so() {
        let old = json!({"swaps": [{"indexes": ["a", "b"]}]});
        assert_eq!(shown("1.15.0", TaskKind::IndexSwap, old.clone()), old);
        let new = json!({"swaps": [{"indexes": ["a", "b"], "rename": false}]});
        assert_eq!(shown("1.50.0", TaskKind::IndexSwap, old), new);
    }

    #[test]
    fn a_reset_names_every_setting_of_the_engine_and_a_change_its_own() {
        let all: Map<String, Value> =
            Setting::ALL.iter().map(|setting| (setting.key().to_owned(), Value::Null)).collect();
        let names = |version| {
            let shown = shown(version, TaskKind::SettingsUpdate, Value::Object(all.clone()));
            shown.as_object().unwrap().contains_key("foreignKeys")
        };
        assert!(names("1.50.0") && !names("1.15.0"));
        let change = json!({"chat": null, "stopWords": []});
        assert_eq!(shown("1.50.0", TaskKind::SettingsUpdate, change.clone()), change);
    }
}
