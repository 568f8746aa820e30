//! What the body of a search says, read name by name.

use serde_json::{Map, Value};

use super::Obstacle;
use super::shown::Helper;
use super::window::Paging;

const DEFAULT_LIMIT: u64 = 20;

/// Either of `page` and `hitsPerPage` is enough to have pages.
pub(super) fn paging(body: &Map<String, Value>) -> Result<Paging, Obstacle> {
    let offset = count(body, "offset", false)?;
    let limit = count(body, "limit", false)?;
    let page = count(body, "page", true)?;
    let hits_per_page = count(body, "hitsPerPage", true)?;
    Ok(if page.is_some() || hits_per_page.is_some() {
        Paging::Page { page: page.unwrap_or(1), hits_per_page: hits_per_page.unwrap_or(DEFAULT_LIMIT) }
    } else {
        Paging::Offset { offset: offset.unwrap_or(0), limit: limit.unwrap_or(DEFAULT_LIMIT) }
    })
}

fn count(body: &Map<String, Value>, name: &str, nullable: bool) -> Result<Option<u64>, Obstacle> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::Null) if nullable => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(Obstacle::Judge),
    }
}

/// False if it is not there; [`Obstacle::Judge`] for what is no truth value.
pub(super) fn flag(body: &Map<String, Value>, name: &str) -> Result<bool, Obstacle> {
    match body.get(name) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or(Obstacle::Judge),
    }
}

/// True for anything but null.
pub(super) fn present(body: &Map<String, Value>, name: &str) -> bool {
    body.get(name).is_some_and(|value| !value.is_null())
}

/// The distinct attribute as a helper, where the client's own list of attributes does not bring it.
pub(super) fn helper(body: &Map<String, Value>, field: &str) -> Option<Helper> {
    let attributes = names(body, "attributesToRetrieve")?;
    let brings = |names: &[&str]| names.iter().any(|name| *name == "*" || is_at_or_below(field, name));
    if brings(&attributes) {
        return None;
    }
    let highlighted = names(body, "attributesToHighlight").unwrap_or_default();
    let cropped: Vec<&str> = names(body, "attributesToCrop")
        .unwrap_or_default()
        .into_iter()
        .map(|name| name.split(':').next().unwrap_or(name))
        .collect();
    Some(Helper { field: field.to_owned(), formatted: !brings(&highlighted) && !brings(&cropped) })
}

/// The attribute of a rule such as `price:asc`.
pub(super) fn sorted_field(rule: &str) -> Option<&str> {
    let field = rule.strip_suffix(":asc").or_else(|| rule.strip_suffix(":desc"))?;
    (!field.starts_with("_geo")).then_some(field)
}

/// The texts of a list; what is no text in it is left out. `None` if there is no list of that name.
pub(super) fn names<'a>(body: &'a Map<String, Value>, name: &str) -> Option<Vec<&'a str>> {
    Some(body.get(name)?.as_array()?.iter().filter_map(Value::as_str).collect())
}

/// True for `maker` and `maker.name` with the name `maker`, false for `makers`.
pub(super) fn is_at_or_below(field: &str, name: &str) -> bool {
    field.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
