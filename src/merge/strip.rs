//! Takes Miroir's hidden fields, and what was asked for only to compare, out of what a node sent.

use std::borrow::Cow;

use serde_json::Value;

use crate::meili::settings::Setting;
use crate::placement::joins;
use crate::placement::shard::SHARD_FIELD;
use crate::placement::templates;
use crate::placement::written::{WRITTEN_FIELD, WRITTEN_RULE};
use crate::plan::broadcast::HiddenPart;
use crate::plan::shown::Shown;
use crate::split::document::RESERVED_PREFIX;

use super::hit::Hit;
use super::raw::{Members, ObjectWriter, Raw};
use super::scores::MostTypos;

/// Copies the document `text` without the hidden fields. Only a member of the document itself is meant: a name in a
/// nested object or inside a string is the client's own.
pub fn document(text: &str, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    if !names_hidden_fields(text) {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let members = Members::parse(text)?;
    let mut object = ObjectWriter::new(out);
    for (name, value) in members.0.iter().filter(|(name, _)| !name.starts_with(RESERVED_PREFIX)) {
        object.raw(name, value.get());
    }
    object.finish();
    Ok(())
}

/// Copies a hit of a reply as the client asked for it.
pub fn listed(
    found: &Hit<'_>,
    shown: &Shown,
    typos: Option<&MostTypos>,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let is_bare = !shown.score && !shown.details && shown.helpers.is_empty();
    if is_bare && found.write_bare(out) {
        return Ok(());
    }
    hit(found.text, shown, typos, out)
}

/// Copies a hit as the client asked for it, its scores restated by `typos` where that is needed.
pub fn hit(text: &str, shown: &Shown, typos: Option<&MostTypos>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let members = Members::parse(text)?;
    let restated = typos.zip(members.get("_rankingScoreDetails")).and_then(|(typos, details)| {
        let score = members.get("_rankingScore").and_then(|score| score.get().parse().ok());
        typos.restate(score, details.get())
    });
    let mut object = ObjectWriter::new(out);
    for (name, value) in &members.0 {
        match name.as_ref() {
            hidden if hidden.starts_with(RESERVED_PREFIX) => {}
            "_rankingScore" if !shown.score => {}
            "_rankingScoreDetails" if !shown.details => {}
            "_rankingScore" | "_rankingScoreDetails" if let Some(restated) = &restated => {
                let is_score = name == "_rankingScore";
                let value = restated.score.filter(|_| is_score).map_or_else(|| restated.details.clone(), Value::from);
                object.raw(name, &value.to_string());
            }
            "_rankingScoreDetails" => document(value.get(), object.key(name))?,
            "_formatted" => {
                let formatted = shown.helpers.iter().filter(|helper| helper.formatted);
                let fields: Vec<&str> = formatted.map(|helper| helper.field.as_str()).collect();
                if let Some(kept) = without(*value, &fields)? {
                    object.raw(name, &kept);
                }
            }
            "_matchesPosition" => {
                object.raw(name, without(*value, &[])?.as_deref().unwrap_or("{}"));
            }
            key => {
                let paths: Vec<&str> = shown.helpers.iter().filter_map(|helper| rest_of(&helper.field, key)).collect();
                if let Some(kept) = without_paths(*value, &paths)? {
                    object.raw(name, &kept);
                }
            }
        }
    }
    object.finish();
    Ok(())
}

/// `filterableAttributes` without the hidden item.
pub fn filterable_attributes(attributes: &mut Value) {
    if let Value::Array(items) = attributes {
        items.retain(|item| !is_hidden_item(item));
    }
}

/// What takes a hidden `part` out of the value of a setting.
pub fn of_part(part: HiddenPart) -> fn(&mut Value) {
    match part {
        HiddenPart::Filterable => filterable_attributes,
        HiddenPart::Names => names,
        HiddenPart::Templates => embedders,
        HiddenPart::Template => chat,
        HiddenPart::Joins => joins::shown,
    }
}

/// A list of names, such as ranking rules or displayed attributes, without Miroir's own.
pub fn names(names: &mut Value) {
    if let Value::Array(items) = names {
        items.retain(|name| !name.as_str().is_some_and(|name| name == WRITTEN_FIELD || name == WRITTEN_RULE));
    }
}

/// Embedders with their templates as the client wrote them.
pub fn embedders(embedders: &mut Value) {
    templates::each_of_embedders(embedders, &|template: &str| templates::plain(template).into_owned());
}

/// What an index says for chats, with its template as the client wrote it.
pub fn chat(chat: &mut Value) {
    templates::each(chat, &|template: &str| templates::plain(template).into_owned());
}

/// The answer of `GET /indexes/{uid}/settings` without the hidden items.
pub fn settings(settings: &mut Value) {
    for setting in Setting::ALL.iter().chain(Setting::NEWER) {
        if let (Some(part), Some(value)) = (HiddenPart::of(*setting), settings.get_mut(setting.key())) {
            of_part(part)(value);
        }
    }
}

fn is_hidden_item(item: &Value) -> bool {
    let is_hidden = |name: &Value| name.as_str() == Some(SHARD_FIELD);
    let patterns = item.get("attributePatterns").and_then(Value::as_array);
    is_hidden(item) || patterns.is_some_and(|patterns| !patterns.is_empty() && patterns.iter().all(is_hidden))
}

fn names_hidden_fields(text: &str) -> bool {
    // An engine writes names without escapes, so their bytes stand in the text if they are there at all.
    memchr::memmem::find(text.as_bytes(), RESERVED_PREFIX.as_bytes()).is_some()
}

/// An object's text without the hidden fields and `fields`; `None` if nothing is left of one that had more.
fn without(raw: Raw<'_>, fields: &[&str]) -> Result<Option<String>, serde_json::Error> {
    if fields.is_empty() && !names_hidden_fields(raw.get()) {
        return Ok(Some(raw.get().to_owned()));
    }
    let members = Members::parse(raw.get())?;
    let mut out = Vec::with_capacity(raw.get().len());
    let mut object = ObjectWriter::new(&mut out);
    let mut kept = 0;
    for (name, value) in members.0.iter().filter(|(name, _)| !name.starts_with(RESERVED_PREFIX)) {
        let paths: Vec<&str> = fields.iter().filter_map(|field| rest_of(field, name)).collect();
        if let Some(value) = without_paths(*value, &paths)? {
            object.raw(name, &value);
            kept += 1;
        }
    }
    object.finish();
    let text = String::from_utf8(out).expect("written from strings");
    Ok((kept > 0 || members.0.is_empty()).then_some(text))
}

/// A value without what lies at `paths` in it; `None` if it goes itself, or has nothing else.
fn without_paths<'a>(raw: Raw<'a>, paths: &[&str]) -> Result<Option<Cow<'a, str>>, serde_json::Error> {
    if paths.is_empty() {
        return Ok(Some(Cow::Borrowed(raw.get())));
    }
    if paths.contains(&"") {
        return Ok(None);
    }
    let mut inner = serde_json::from_str(raw.get())?;
    let left = paths.iter().all(|path| remove_path(&mut inner, path));
    Ok(left.then(|| Cow::Owned(inner.to_string())))
}

/// What is left of `path` below `key`: empty if it names `key` itself, `None` if it leads elsewhere.
fn rest_of<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(key)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// Removes `path` below `value`; false if nothing is left of `value`.
fn remove_path(value: &mut Value, path: &str) -> bool {
    match value {
        Value::Object(object) => {
            object.retain(|key, inner| match rest_of(path, key) {
                None => true,
                Some("") => false,
                Some(rest) => remove_path(inner, rest),
            });
            !object.is_empty()
        }
        Value::Array(items) => {
            items.retain_mut(|item| remove_path(item, path));
            !items.is_empty()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::shown::Helper;

    fn strip(text: &str) -> String {
        let mut out = Vec::new();
        document(text, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn strip_hit(text: &str, shown: &Shown) -> String {
        let mut out = Vec::new();
        hit(text, shown, None, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_hidden_field_goes_wherever_it_stands() {
        assert_eq!(strip(r#"{"id":1,"_miroir_shard":"{{{{{{{{"}"#), r#"{"id":1}"#);
        assert_eq!(strip(r#"{"_miroir_shard":"{}{{\"{{{{","id":1}"#), r#"{"id":1}"#);
        assert_eq!(strip(r#"{"_miroir_shard":"{{{{{{{{"}"#), "{}");
    }

    #[test]
    fn nested_keys_and_strings_of_that_name_are_the_clients_own() {
        let text = r#"{"a":{"_miroir_shard":1},"b":"\"_miroir_shard\":1,","c":["_miroir_shard"]}"#;
        assert_eq!(strip(text), text);
        assert_eq!(strip_hit(text, &Shown::default()), text);
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text = r#"{"n":1.10000000000000000000001,"_miroir_shard":"{","m":1e2}"#;
        assert_eq!(strip(text), r#"{"n":1.10000000000000000000001,"m":1e2}"#);
    }

    #[test]
    fn a_hit_shows_scores_only_if_asked() {
        let text = r#"{"id":1,"_rankingScore":0.5,"_rankingScoreDetails":{"words":{}}}"#;
        assert_eq!(strip_hit(text, &Shown::default()), r#"{"id":1}"#);
        let both = Shown { score: true, details: true, helpers: Vec::new() };
        assert_eq!(strip_hit(text, &both), text);
    }

    #[test]
    fn formatted_and_matches_lose_the_hidden_field() {
        let text = r#"{"id":1,"_formatted":{"id":"1","_miroir_shard":"{"},"_matchesPosition":{"_miroir_shard":[]}}"#;
        assert_eq!(strip_hit(text, &Shown::default()), r#"{"id":1,"_formatted":{"id":"1"},"_matchesPosition":{}}"#);
        let only = r#"{"_formatted":{"_miroir_shard":"{"}}"#;
        assert_eq!(strip_hit(only, &Shown::default()), "{}");
    }

    #[test]
    fn a_helper_attribute_goes_again() {
        let text = r#"{"id":1,"brand":"x","_formatted":{"id":"1","brand":"x"}}"#;
        let helper = |field: &str, formatted| Shown {
            helpers: vec![Helper { field: field.into(), formatted }],
            ..Shown::default()
        };
        assert_eq!(strip_hit(text, &helper("brand", true)), r#"{"id":1,"_formatted":{"id":"1"}}"#);
        assert_eq!(strip_hit(text, &helper("brand", false)), r#"{"id":1,"_formatted":{"id":"1","brand":"x"}}"#);
        let nested = r#"{"maker":[{"name":"x","city":"y"},{"name":"z"}],"makers":1}"#;
        assert_eq!(strip_hit(nested, &helper("maker.name", true)), r#"{"maker":[{"city":"y"}],"makers":1}"#);
    }

    #[test]
    fn settings_lose_the_hidden_item() {
        let mut value = json!({"filterableAttributes": [
            "a", {"attributePatterns": ["_miroir_shard"], "features": {}}, {"attributePatterns": ["b"]}
        ]});
        settings(&mut value);
        assert_eq!(value, json!({"filterableAttributes": ["a", {"attributePatterns": ["b"]}]}));
    }
}
