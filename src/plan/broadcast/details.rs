//! What the details of a task name in some versions of the engine only.

use serde_json::Value;

use crate::meili::operation::Change;
use crate::meili::settings::Setting;
use crate::meili::task::TaskKind;
use crate::meili::versions::{has_setting, shows_renames};
use crate::plan::write::{StepBody, WriteIntent};

/// Writes the details of `intent`, which `change` makes, as an engine of `version` shows them; a reset is one of all that it has.
pub fn show_as_of(version: &str, change: &Change, intent: &mut WriteIntent) {
    let Some(details) = intent.details.as_mut() else { return };
    if intent.kind == TaskKind::IndexSwap && shows_renames(version) {
        let swaps = details.get_mut("swaps").and_then(Value::as_array_mut);
        for swap in swaps.into_iter().flatten().filter_map(Value::as_object_mut) {
            swap.entry("rename").or_insert(Value::Bool(false));
        }
    }
    if let Change::ResetSettings { .. } = change {
        let newer: Vec<(String, Value)> = Setting::NEWER
            .iter()
            .filter(|setting| has_setting(Some(version), **setting))
            .map(|setting| (setting.key().to_owned(), Value::Null))
            .collect();
        details.extend(newer.iter().cloned());
        for step in &mut intent.steps {
            if let StepBody::Json(Value::Object(body)) = &mut step.body {
                body.extend(newer.iter().cloned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::plan::write::Target;

    fn intent(kind: TaskKind, details: Value) -> WriteIntent {
        let step = super::super::intent::whole("POST", "/x", StepBody::Json(details.clone()));
        assert!(matches!(step.to, Target::AllNodes));
        let Value::Object(details) = details else { panic!("details are an object") };
        super::super::intent::of_index(kind, "a", details, step)
    }

    fn shown(version: &str, change: &Change, details: Value) -> Value {
        let kind = if *change == Change::SwapIndexes { TaskKind::IndexSwap } else { TaskKind::SettingsUpdate };
        let mut intent = intent(kind, details);
        show_as_of(version, change, &mut intent);
        if let (Change::ResetSettings { .. }, StepBody::Json(sent)) = (change, &intent.steps[0].body) {
            assert_eq!(Some(sent), intent.details.clone().map(Value::Object).as_ref(), "all that is told is reset");
        }
        Value::Object(intent.details.unwrap())
    }

    #[test]
    fn a_swap_says_that_it_renames_nothing_where_the_engine_says_so() {
        let old = json!({"swaps": [{"indexes": ["a", "b"]}]});
        assert_eq!(shown("1.15.0", &Change::SwapIndexes, old.clone()), old);
        let new = json!({"swaps": [{"indexes": ["a", "b"], "rename": false}]});
        assert_eq!(shown("1.50.0", &Change::SwapIndexes, old), new);
    }

    #[test]
    fn a_reset_names_every_setting_of_the_engine_and_a_change_its_own() {
        let all: Map<String, Value> =
            Setting::ALL.iter().map(|setting| (setting.key().to_owned(), Value::Null)).collect();
        let names = |version| {
            let shown = shown(version, &Change::ResetSettings { index: "a".into() }, Value::Object(all.clone()));
            shown.as_object().unwrap().contains_key("foreignKeys")
        };
        assert!(names("1.50.0") && !names("1.15.0"));
        let update = Change::UpdateSettings { index: "a".into() };
        for change in [json!({"chat": null, "stopWords": []}), Value::Object(all.clone())] {
            assert_eq!(shown("1.50.0", &update, change.clone()), change);
        }
    }
}
