//! What dynamic search rules may pin in an index.
//!
//! Every node has all rules and applies them itself, to the documents that it holds: so conditions are judged by the engine, and a
//! pinned document, which lies in one shard, is counted, marked and shown as one node would. Only where it stands among the hits
//! of all nodes is said here and in `merge/pins.rs`, and for that it is known which rules there are.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::Value;

use crate::meili::error::{Code, ResponseError};

/// The farthest position at which a rule may pin a document.
pub const FARTHEST: u64 = 500;

/// So many documents an engine pins in one search at most.
pub const MOST: usize = 100;

/// A document that a rule may pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    pub id: String,
    pub position: u64,
    /// The uid of the rule.
    pub rule: String,
    pub precedence: Option<u64>,
}

/// All that active rules may pin in one index, in the order in which the engine places it: rules by precedence, those without one
/// last, and each rule's documents as it lists them. Rules of one precedence stand here by uid; the engine has them in an order of
/// its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pins {
    pub all: Vec<Pin>,
    /// True if some rule is for a certain time.
    pub timed: bool,
}

// === impl Pins ===

impl Pins {
    /// Of `rules` as a node lists them; what is none is left out.
    pub fn of(index: &str, rules: &[Value]) -> Self {
        let mut pins = Self::default();
        let active = rules.iter().filter(|rule| rule.get("active") != Some(&Value::Bool(false)));
        let mut active: Vec<(&Value, &str, Option<u64>)> = active
            .filter_map(|rule| Some((rule, rule.get("uid")?.as_str()?, rule.get("precedence").and_then(Value::as_u64))))
            .collect();
        active.sort_by_key(|(_, uid, precedence)| (precedence.is_none(), *precedence, *uid));
        for (rule, uid, precedence) in active {
            let actions = rule.get("actions").and_then(Value::as_array).into_iter().flatten();
            let before = pins.all.len();
            for action in actions {
                let of_index = action.pointer("/selector/indexUid").and_then(Value::as_str);
                let id = action.pointer("/selector/id").and_then(Value::as_str);
                let position = action.pointer("/action/position").and_then(Value::as_u64);
                if let (Some(id), Some(position)) = (id, position)
                    && of_index.is_none_or(|of_index| of_index == index)
                {
                    pins.all.push(Pin { id: id.to_owned(), position, rule: uid.to_owned(), precedence });
                }
            }
            let time = rule.pointer("/conditions/time").and_then(Value::as_object);
            pins.timed |= before < pins.all.len() && time.is_some_and(|time| !time.is_empty());
        }
        pins
    }

    /// True if nothing is pinned, whatever is searched for.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many hits a node is asked for where a page ends with the hit `reach`: all that it pins are among them, and beside them as
    /// many as the page may show. Example: rules pin at 0 and at 7, and the first 5 hits are wanted. Whether the document for 7, which
    /// comes first in order, is there decides where the other one stands: so 10 are asked for.
    pub fn reach(&self, reach: u64) -> u64 {
        let farthest = self.all.iter().map(|pin| pin.position + 1).max().unwrap_or(0);
        if reach == 0 { 0 } else { reach.max(farthest) + self.all.len().min(MOST) as u64 }
    }

    /// The places in [`Pins::all`] of what may have pinned the document `id` at `position`.
    pub fn places(&self, id: &str, position: u64) -> Vec<usize> {
        let is = |pin: &Pin| pin.id == id && pin.position == position;
        (0..self.all.len()).filter(|place| is(&self.all[*place])).collect()
    }

    /// The order of two pinned documents, each with the places of what may have pinned it; `None` where that does not tell.
    pub fn order(&self, left: &[usize], right: &[usize]) -> Option<Ordering> {
        let mut pairs = left.iter().flat_map(|left| right.iter().map(|right| self.order_of(*left, *right)));
        let first = pairs.next()??;
        pairs.all(|order| order == Some(first)).then_some(first)
    }

    fn order_of(&self, left: usize, right: usize) -> Option<Ordering> {
        let (one, other) = (self.all.get(left)?, self.all.get(right)?);
        if one.rule == other.rule {
            return Some(left.cmp(&right));
        }
        let rank = |pin: &Pin| (pin.precedence.is_none(), pin.precedence);
        Some(rank(one).cmp(&rank(other))).filter(|order| order.is_ne())
    }

    /// The refusal of a search of `index` among whose hits of several nodes pins cannot be placed.
    pub fn not_placed(&self, index: &str, with: &str) -> ResponseError {
        let rule = self.all.first().map(|pin| pin.rule.as_str()).unwrap_or_default();
        ResponseError::new(
            Code::MiroirNotSupported,
            format!(
                "The dynamic search rule `{rule}` may pin documents of index `{index}`, which is not supported by Miroir in \
                 {with} over several nodes."
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(uid: &str, precedence: Value, pins: &[(&str, u64)]) -> Value {
        let actions = pins.iter().map(|(id, position)| {
            json!({"selector": {"indexUid": "shop", "id": id}, "action": {"type": "pin", "position": position}})
        });
        json!({"uid": uid, "active": true, "precedence": precedence, "conditions": {}, "actions": actions.collect::<Vec<_>>()})
    }

    fn ids(pins: &Pins) -> Vec<&str> {
        pins.all.iter().map(|pin| pin.id.as_str()).collect()
    }

    #[test]
    fn rules_stand_by_precedence_and_only_active_ones_of_the_index_count() {
        let mut off = rule("off", json!(0), &[("x", 0)]);
        off["active"] = json!(false);
        let mut other = rule("other", json!(0), &[("y", 0)]);
        other["actions"][0]["selector"]["indexUid"] = json!("films");
        other["conditions"]["time"] = json!({"start": "2026-01-01T00:00:00Z"});
        let mut any = rule("any", json!(9), &[("a", 3), ("b", 1)]);
        any["actions"][0]["selector"] = json!({"id": "a"});
        let rules =
            [rule("none", Value::Null, &[("c", 0)]), any.clone(), off, other, rule("first", json!(2), &[("d", 4)])];
        let pins = Pins::of("shop", &rules);
        assert_eq!(ids(&pins), ["d", "a", "b", "c"]);
        assert!(!pins.timed, "no time of this index");
        any["conditions"]["time"] = json!({"end": "2026-01-01T00:00:00Z"});
        assert!(Pins::of("shop", &[any]).timed);
        assert!(Pins::of("books", &rules[..1]).is_empty());
    }

    #[test]
    fn a_node_is_asked_for_the_page_and_for_all_that_it_pins() {
        let pins = Pins::of("shop", &[rule("r", Value::Null, &[("a", 7), ("b", 0)])]);
        assert_eq!([0, 5, 20].map(|reach| pins.reach(reach)), [0, 10, 22]);
    }

    #[test]
    fn what_one_precedence_pins_is_in_no_known_order() {
        let rules = [
            rule("a", json!(1), &[("x", 0), ("y", 0)]),
            rule("b", json!(1), &[("z", 0)]),
            rule("c", json!(2), &[("z", 0), ("w", 0)]),
        ];
        let pins = Pins::of("shop", &rules);
        let order = |left: &str, right: &str| pins.order(&pins.places(left, 0), &pins.places(right, 0));
        assert_eq!(order("x", "y"), Some(Ordering::Less));
        assert_eq!(order("w", "x"), Some(Ordering::Greater));
        assert_eq!(order("x", "z"), None, "b and a have one precedence");
        assert_eq!(order("z", "w"), Some(Ordering::Less), "both that pin z come before");
        assert_eq!(order("unknown", "x"), None);
    }
}
