//! Keys to other indexes, which a target takes only where it has them and their feature is on.

use serde_json::{Map, Value};

use super::error::{ImportError, during};
use crate::dumps::remote::Remote;
use crate::meili::settings::Setting;

/// What of an index's settings the target takes: one that shows no such keys refuses all settings because of them.
pub fn taken(uid: &str, mut settings: Map<String, Value>, remote: &Remote) -> Result<Map<String, Value>, ImportError> {
    if settings.contains_key(Setting::ForeignKeys.key()) {
        let path = format!("/indexes/{uid}/settings");
        let there = during(format!("settings of `{uid}`"), remote.send("GET", &path, None))?;
        if leave_out(&mut settings, there.as_object()) {
            println!("index `{uid}`: its foreign keys are not taken along: the target shows none");
        }
    }
    Ok(settings)
}

/// Takes out keys that `there`, the settings of the target, has no place for. True if there were any.
pub fn leave_out(settings: &mut Map<String, Value>, there: Option<&Map<String, Value>>) -> bool {
    let name = Setting::ForeignKeys.key();
    if there.is_some_and(|there| there.contains_key(name)) {
        return false;
    }
    let keys = settings.shift_remove(name);
    keys.is_some_and(|keys| keys.as_array().is_some_and(|keys| !keys.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_left_out_where_the_target_has_no_place_for_them() {
        let left = |settings: Value, there: Value| {
            let Value::Object(mut settings) = settings else { unreachable!() };
            (leave_out(&mut settings, there.as_object()), Value::Object(settings))
        };
        let keys = json!({"foreignKeys": [{"fieldName": "a"}], "stopWords": []});
        assert_eq!(left(keys.clone(), json!({"stopWords": []})), (true, json!({"stopWords": []})));
        assert_eq!(left(keys.clone(), json!({"foreignKeys": []})), (false, keys));
        assert_eq!(left(json!({"foreignKeys": []}), json!({})), (false, json!({})));
    }
}
