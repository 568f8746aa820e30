//! Random changes of inputs, repeatable by their seed.

use serde_json::{Map, Number, Value};

/// What inputs are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bytes,
    /// JSON, of which values are changed four times out of five, and bytes else.
    Json,
}

/// Makes one changed input after the other.
pub struct Changer {
    state: u64,
    kind: Kind,
    inputs: Vec<Vec<u8>>,
    /// The inputs that are JSON, and every value in them.
    trees: Vec<Value>,
    values: Vec<Value>,
}

/// What parsers tend to trip over.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\0",
    "\u{feff}",
    "null",
    "true",
    "-0",
    "1e400",
    "1E-7",
    "18446744073709551616",
    "-9223372036854775809",
    "\\u0000",
    "\\ud800",
    "_miroir_shard",
    "_miroir",
    "_geo",
    "_vectors",
    "id",
    "*",
    "AND",
    "OR",
    "=",
    "'",
    "é",
    "日本",
    "${KEY}",
    "${",
    "}}",
    "---",
    "&a",
    "*a",
    "1s",
    "64MiB",
];

fn strange_values() -> Vec<Value> {
    let texts = [
        "",
        "*",
        "_miroir_shard",
        "_miroir_shard:asc",
        "_miroir_shard = \"{\"",
        "a\u{0}b",
        "_geoPoint(1,2):asc",
        "desc",
        "all",
    ];
    let numbers = ["0", "-1", "1", "18446744073709551615", "-9223372036854775808", "1.5", "1e308", "-0.0"];
    let numbers = numbers.iter().filter_map(|text| text.parse::<Number>().ok().map(Value::Number));
    let mut values: Vec<Value> = texts.iter().map(|text| Value::from(*text)).chain(numbers).collect();
    values.extend([Value::Null, Value::Bool(true), Value::Array(Vec::new()), Value::Object(Map::new())]);
    values
}

fn collect(value: &Value, found: &mut Vec<Value>) {
    found.push(value.clone());
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

// === impl Changer ===

impl Changer {
    pub fn new(seed: u64, kind: Kind, inputs: &[&[u8]]) -> Self {
        let trees: Vec<Value> = inputs.iter().filter_map(|input| serde_json::from_slice(input).ok()).collect();
        let mut values = strange_values();
        trees.iter().for_each(|tree| collect(tree, &mut values));
        Self { state: seed, kind, inputs: inputs.iter().map(|input| input.to_vec()).collect(), trees, values }
    }

    /// The next changed input.
    pub fn next(&mut self) -> Vec<u8> {
        if self.kind == Kind::Json && !self.trees.is_empty() && self.below(5) > 0 {
            let at = self.below(self.trees.len());
            let mut tree = self.trees[at].clone();
            for _ in 0..=self.below(4) {
                self.change_value(&mut tree, 0);
            }
            return tree.to_string().into_bytes();
        }
        let at = self.below(self.inputs.len());
        let mut bytes = self.inputs[at].clone();
        for _ in 0..=self.below(4) {
            self.change_bytes(&mut bytes);
        }
        bytes
    }

    /// splitmix64, by Sebastiano Vigna.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.random() % bound as u64) as usize
    }

    fn change_bytes(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(16)).min(bytes.len());
        match self.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.random() as u8,
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let again = bytes[at.min(end)..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            4 => bytes.truncate(at),
            5 => {
                let other = self.below(self.inputs.len());
                let other = self.inputs[other].clone();
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let token = TOKENS[self.below(TOKENS.len())].bytes();
                drop(bytes.splice(at..at, token));
            }
        }
    }

    /// Goes down to some value and changes it.
    fn change_value(&mut self, value: &mut Value, depth: usize) {
        let goes_on = depth < 12 && self.below(5) > 0;
        match value {
            Value::Array(items) if goes_on && !items.is_empty() => {
                let at = self.below(items.len());
                match self.below(8) {
                    0 => drop(items.remove(at)),
                    1 => items.push(items[at].clone()),
                    2 => items.swap(0, at),
                    _ => self.change_value(&mut items[at], depth + 1),
                }
            }
            Value::Object(members) if goes_on && !members.is_empty() => {
                let at = self.below(members.len());
                let name = members.keys().nth(at).cloned().unwrap_or_default();
                match self.below(8) {
                    0 => drop(members.remove(&name)),
                    1 => drop(members.insert("_miroir_shard".to_owned(), Value::from("{"))),
                    _ => {
                        if let Some(member) = members.get_mut(&name) {
                            self.change_value(member, depth + 1);
                        }
                    }
                }
            }
            _ => {
                let at = self.below(self.values.len());
                *value = self.values[at].clone();
            }
        }
    }
}
