//! Hits of all searches told apart by their values of one attribute.

use std::collections::HashSet;

use serde_json::Value;

use crate::merge::error::MergeError;
use crate::plan::values::{Key, values_at, visit};

/// The values that hits so far have.
pub struct Met<'a> {
    /// `None` where every hit is kept.
    field: Option<&'a str>,
    values: HashSet<Key>,
}

// === impl Met ===

impl<'a> Met<'a> {
    /// Without a `field` every hit is new.
    pub fn new(field: Option<&'a str>) -> Self {
        Self { field, values: HashSet::new() }
    }

    /// Notes the values of `hit`, unless a hit before it had one of them: then it is false.
    pub fn is_new(&mut self, hit: &str) -> Result<bool, MergeError> {
        let Some(field) = self.field else { return Ok(true) };
        let document: Value = serde_json::from_str(hit)?;
        let mut values = values_at(&document, field);
        // Unlike among the hits of one search, an empty text is a value to the engine here.
        visit(&document, field, &mut |leaf| {
            values.extend(leaf.as_str().filter(|text| text.is_empty()).map(|empty| Key::Text(empty.to_owned())));
        });
        let is_new = values.is_disjoint(&self.values);
        if is_new {
            self.values.extend(values);
        }
        Ok(is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_new_until_one_of_its_values_was_met() {
        let mut met = Met::new(Some("maker.name"));
        let mut is_new = |name: &str| met.is_new(&format!(r#"{{"maker":{{"name":{name}}}}}"#)).unwrap();
        assert!(is_new(r#""Ada""#) && !is_new(r#""ADA""#));
        assert!(!is_new(r#"["Bob","ada"]"#) && is_new(r#""Bob""#), "what is left out has no say");
        assert!(is_new("null") && is_new("null"), "nothing is no value");
        assert!(is_new(r#""""#) && !is_new(r#""""#));
        assert!(is_new("7") && is_new(r#""7""#));
    }

    #[test]
    fn without_an_attribute_every_hit_is_new() {
        let mut met = Met::new(None);
        assert!(met.is_new("{}").unwrap() && met.is_new("{}").unwrap());
    }
}
