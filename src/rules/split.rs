//! Shares of callers: the same caller is always in the same one, whatever else is asked and whichever gateway is asked.

use serde_json::Value;

use super::subject::Subject;
use super::term::Term;
use crate::meili::uid::IndexUid;
use crate::placement::stable_hash::hash_bytes;
use crate::settings::Section;

/// Some of all callers: `share: { of: 10%, by: client.ip }`.
#[derive(Debug, Clone)]
pub struct Share {
    by: Term,
    /// In parts of [`WHOLE`].
    of: u64,
    /// Shares of different rules are not the same callers.
    salt: String,
}

/// Callers shared out among indexes: `split: { by: client.ip, weights: { products: 90, products_b: 10 } }`.
#[derive(Debug, Clone)]
pub struct Split {
    by: Term,
    weights: Vec<(String, u64)>,
    salt: String,
}

/// All callers, in the parts that shares are counted in.
pub(super) const WHOLE: u64 = 10_000;

// === impl Share ===

impl Share {
    /// Takes the key `share`.
    pub fn read(section: &mut Section) -> Option<Self> {
        let salt = section.path_of("share");
        let (of, by) = section.parsed("share", None, "`{ of: 10%, by: client.ip }`", |value| {
            let share =
                value.as_object().filter(|share| share.keys().all(|key| ["of", "by"].contains(&key.as_str())))?;
            Some(Some((percent(share.get("of")?.as_str()?)?, share.get("by")?.as_str()?.to_owned())))
        })?;
        match Term::parse(&by) {
            Ok(by) => Some(Self { by, of, salt }),
            Err(message) => {
                section.problem("share", message);
                None
            }
        }
    }

    /// False, too, for a caller without the value that decides.
    pub fn has(&self, subject: &Subject<'_>) -> bool {
        place(&self.by, &self.salt, subject, WHOLE).is_some_and(|place| place < self.of)
    }
}

// === impl Split ===

impl Split {
    /// Takes the key `split` of the rule `name`.
    pub fn read(section: &mut Section, name: &str) -> Option<Self> {
        let expected = "`{ by: client.ip, weights: { index: 90, other: 10 } }`, weights whole numbers up to 1000000";
        let (by, weights) = section.parsed("split", None, expected, |value| {
            let split =
                value.as_object().filter(|split| split.keys().all(|key| ["by", "weights"].contains(&key.as_str())))?;
            let weights = split.get("weights")?.as_object()?.iter().map(|(index, weight)| {
                let weight = weight.as_u64().filter(|weight| *weight <= 1_000_000)?;
                IndexUid::parse(index).is_ok().then(|| (index.clone(), weight))
            });
            let weights: Vec<(String, u64)> = weights.collect::<Option<_>>()?;
            let any = weights.iter().any(|(_, weight)| *weight > 0);
            any.then_some(Some((split.get("by")?.as_str()?.to_owned(), weights)))
        })?;
        match Term::parse(&by) {
            Ok(by) => Some(Self { by, weights, salt: name.to_owned() }),
            Err(message) => {
                section.problem("split", message);
                None
            }
        }
    }

    /// The index of this caller; `None` for one without the value that decides.
    pub fn index(&self, subject: &Subject<'_>) -> Option<&str> {
        let whole = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut place = place(&self.by, &self.salt, subject, whole)?;
        self.weights.iter().find_map(|(index, weight)| {
            if place < *weight {
                return Some(index.as_str());
            }
            place -= weight;
            None
        })
    }
}

/// `12.5%` in parts of [`WHOLE`].
pub(super) fn percent(text: &str) -> Option<u64> {
    let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    if !(0.0..=100.0).contains(&percent) {
        return None;
    }
    // In whole parts; what a float cannot hold is not among them.
    (0..=WHOLE).find(|parts| *parts as f64 >= percent * 100.0)
}

/// Where a caller stands among `whole` places.
fn place(by: &Term, salt: &str, subject: &Subject<'_>, whole: u64) -> Option<u64> {
    let text = match by.value(subject)? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    hash_bytes(format!("{salt}\n{text}").as_bytes()).checked_rem(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::subject::tests::caller;
    use crate::settings::Report;

    fn counted(mut is_in: impl FnMut(&Subject<'_>) -> bool) -> usize {
        let is_one = |user: usize| {
            let caller = caller(json!({"user": user}), "", &[]);
            let subject = Subject::of(&caller, "search", Some("products"));
            let first = is_in(&subject);
            assert_eq!(first, is_in(&subject), "the same caller is in the same share");
            first
        };
        (0..4000).map(is_one).filter(|is_in| *is_in).count()
    }

    #[test]
    fn a_share_is_about_as_large_as_it_says() {
        let report = Report::default();
        let share = |of: &str| {
            let value = json!({"share": {"of": of, "by": "claims.user"}});
            Share::read(&mut Section::new("rules[0]", value, &report)).unwrap()
        };
        let tenth = counted(|subject| share("10%").has(subject));
        assert!((320..480).contains(&tenth), "{tenth} of 4000");
        assert_eq!(counted(|subject| share("0%").has(subject)), 0);
        assert_eq!(counted(|subject| share("100%").has(subject)), 4000);
    }

    #[test]
    fn callers_are_shared_out_by_weight() {
        let report = Report::default();
        let value = json!({"split": {"by": "claims.user", "weights": {"a": 3, "none": 0, "b": 1}}});
        let split = Split::read(&mut Section::new("rules[0]", value, &report), "ab").unwrap();
        let of_b = counted(|subject| split.index(subject) == Some("b"));
        assert!((880..1120).contains(&of_b), "{of_b} of 4000");
        assert_eq!(counted(|subject| split.index(subject) == Some("none")), 0);
        let nobody = caller(json!({}), "", &[]);
        assert_eq!(split.index(&Subject::of(&nobody, "search", None)), None);
    }

    #[test]
    fn what_makes_no_shares_is_a_problem() {
        for value in [
            json!({"share": {"of": "10", "by": "client.ip"}}),
            json!({"share": {"of": "101%", "by": "client.ip"}}),
            json!({"share": {"of": "10%", "by": "client"}}),
            json!({"share": {"of": "10%", "by": "client.ip", "and": 1}}),
        ] {
            let report = Report::default();
            assert!(Share::read(&mut Section::new("r", value.clone(), &report)).is_none(), "{value}");
            assert_eq!(report.into_parts().0.len(), 1, "{value}");
        }
        for value in [
            json!({"split": {"by": "client.ip", "weights": {"a": 0}}}),
            json!({"split": {"by": "client.ip", "weights": {"a b": 1}}}),
            json!({"split": {"by": "client.ip", "weights": {"a": -1}}}),
            json!({"split": {"weights": {"a": 1}}}),
        ] {
            let report = Report::default();
            assert!(Split::read(&mut Section::new("r", value.clone(), &report), "r").is_none(), "{value}");
            assert_eq!(report.into_parts().0.len(), 1, "{value}");
        }
    }
}
