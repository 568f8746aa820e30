//! Which fields a mask hides.

use crate::meili::error::{Code, ResponseError};

/// What is masked in an index.
pub type HiddenIn<'a> = dyn Fn(&str) -> Hidden + 'a;

/// Names of fields: each hides what it names and all below; with a star at its end, all that begin so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hidden {
    names: Vec<String>,
}

/// What is masked is refused by its name; whether it exists is not said.
pub fn refusal(name: &str, what: &str) -> ResponseError {
    ResponseError::new(Code::MiroirRefused, format!("`{name}` is masked: {what}."))
}

// === impl Hidden ===

impl Hidden {
    /// Of names as the file has them. The message says what is wrong with one.
    pub fn parse(names: Vec<String>) -> Result<Self, String> {
        for name in &names {
            let plain = name.strip_suffix('*').unwrap_or(name);
            if name.is_empty() || plain.contains('*') || plain.trim() != plain {
                return Err(format!("expected names of fields such as `cost_price` or `supplier.*`, found `{name}`"));
            }
        }
        Ok(Self { names })
    }

    /// What hides the same of documents that are shown at `field` of others.
    pub fn below(&self, field: &str) -> Self {
        Self { names: self.names.iter().map(|name| format!("{field}.{name}")).collect() }
    }

    /// Hides everything that is shown at `field`.
    pub fn all_below(field: &str) -> Self {
        Self { names: vec![format!("{field}.*")] }
    }

    /// True if no field is hidden.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Hides what `other` does, too.
    pub fn add(&mut self, other: &Self) {
        self.names.extend(other.names.iter().filter(|name| !self.names.contains(name)).cloned().collect::<Vec<_>>());
    }

    /// True for a field that must not be seen.
    pub fn hides(&self, path: &str) -> bool {
        self.names.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        })
    }

    /// True for a field that has something hidden in it, itself or below.
    pub fn touches(&self, path: &str) -> bool {
        self.hides(path)
            || self
                .names
                .iter()
                .any(|name| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_hides_what_is_below_it_and_a_star_what_begins_so() {
        let hidden = Hidden::parse(["cost", "supplier.*", "internal_*", "a.b"].map(str::to_owned).to_vec()).unwrap();
        for path in ["cost", "cost.net", "supplier.name", "internal_notes", "internal_a.b", "a.b", "a.b.c"] {
            assert!(hidden.hides(path) && hidden.touches(path), "{path}");
        }
        for path in ["costs", "supplier", "internal", "a", "a.bc", "b"] {
            assert!(!hidden.hides(path), "{path}");
        }
        assert!(hidden.touches("supplier") && hidden.touches("a") && !hidden.touches("b") && !hidden.touches("intern"));
        assert!(Hidden::parse(vec!["a*b".to_owned()]).is_err() && Hidden::parse(vec![String::new()]).is_err());
        assert!(Hidden::parse(vec!["*".to_owned()]).unwrap().hides("anything"));
    }
}
