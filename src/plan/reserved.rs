//! Names that belong to Miroir: a client that uses one is told so.

use serde_json::{Map, Value};

use crate::meili::error::{Code, ResponseError};

use super::Obstacle;
use super::filter;

const PREFIX: &str = "_miroir";

/// Parameters of a search that name attributes.
const ATTRIBUTE_LISTS: &[&str] = &[
    "attributesToRetrieve",
    "attributesToHighlight",
    "attributesToCrop",
    "attributesToSearchOn",
    "facets",
    "sort",
    "fields",
];

/// Refuses a search, or a fetch of documents, that names what is Miroir's.
pub fn check_search(body: &Map<String, Value>) -> Result<(), Obstacle> {
    for parameter in ATTRIBUTE_LISTS {
        for name in body.get(*parameter).and_then(Value::as_array).into_iter().flatten() {
            check_name(name.as_str().unwrap_or_default())?;
        }
    }
    for parameter in ["distinct", "facetName"] {
        check_name(body.get(parameter).and_then(Value::as_str).unwrap_or_default())?;
    }
    match body.get("filter") {
        Some(filter) if filter::names_reserved(filter) => Err(refusal(PREFIX)),
        Some(_) | None => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), Obstacle> {
    if name.starts_with(PREFIX) { Err(refusal(name)) } else { Ok(()) }
}

fn refusal(name: &str) -> Obstacle {
    let message = format!("`{name}` is reserved: names that begin with `{PREFIX}` belong to Miroir.");
    Obstacle::Refuse(ResponseError::new(Code::MiroirReservedField, message))
}
