//! Questions about what a node's cut list leaves open.

use serde_json::{Map, Value};

use super::filter;
use super::node_request::NodeRequest;
use super::values::{Key, normalize};

/// Into how many parts a node's shards are divided to count its hits: a total is capped, a sum of totals is not.
pub const HITS_PARTS: usize = 8;

/// How many documents a node is asked to list at most.
pub const MOST_LISTED: u64 = 50_000;

/// A question to one node about the documents over which its facets are counted.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// How many documents there are.
    Hits,
    /// The facet's values among the documents that have one of `known`, and among those that have none, nor one of
    /// `apart`: if the first shows nothing but `known`, the second is the exact continuation of the list.
    Rest { facet: String, apart: Vec<FacetValue>, known: Vec<FacetValue> },
    /// The numbers up to `bound`.
    UpTo { facet: String, bound: f64 },
    /// How many documents have each of `values`.
    Counts { facet: String, values: Vec<FacetValue> },
    /// The documents that have a text of the digits of one of `values`, which are numbers.
    Digits { facet: String, values: Vec<FacetValue> },
    /// For each of `values` the documents that have its digits as a text, and those that have the number.
    Twice { facet: String, values: Vec<FacetValue> },
    /// How many documents there are in each shard.
    Sizes,
    /// How many documents there are, where they can be fetched.
    Total,
    /// The documents themselves with what they have in `facet`.
    Documents { facet: String, listing: Listing },
}

/// Who can list the documents over which facets are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lister {
    Nobody,
    /// A search, which ranks them and lists `maxTotalHits` at most.
    Search,
    /// Without words, a distinct attribute and a threshold a filter finds them all: they are fetched as documents, at a
    /// twentieth of the cost.
    Fetch,
}

/// How documents are listed.
#[derive(Debug, Clone, PartialEq)]
pub enum Listing {
    /// By one search.
    Found,
    /// By so many searches or a few more, each for as many shards. Example: 85 shards in 18 groups are listed four by four.
    FoundInGroups(usize),
    /// By a search for each shard.
    FoundByShard,
    /// As documents, without those that have one of `apart`.
    Fetched { apart: Vec<FacetValue> },
}

/// One value of a facet.
#[derive(Debug, Clone, PartialEq)]
pub struct FacetValue {
    /// As the node that named it first writes it.
    pub shown: String,
    /// `Some` for a number.
    pub number: Option<f64>,
    /// What strings are compared by.
    pub(crate) text: String,
}

// === impl Probe ===

impl Probe {
    /// The facet asked for.
    pub fn facet(&self) -> Option<&str> {
        match self {
            Self::Hits | Self::Sizes | Self::Total => None,
            Self::Rest { facet, .. }
            | Self::UpTo { facet, .. }
            | Self::Counts { facet, .. }
            | Self::Digits { facet, .. }
            | Self::Twice { facet, .. }
            | Self::Documents { facet, .. } => Some(facet),
        }
    }

    /// Asks for the documents that the filter in `body` finds, or for how many they are. `None` for a probe that a search answers, and
    /// where the engine's language cannot say it.
    pub fn request_fetched(&self, index: &str, mut body: Map<String, Value>) -> Option<NodeRequest> {
        let (fields, limit, apart) = match self {
            Self::Total => (Vec::new(), 0, None),
            Self::Documents { facet, listing: Listing::Fetched { apart } } => {
                (vec![facet.as_str()], MOST_LISTED, without(facet, apart)?)
            }
            _ => return None,
        };
        body.insert("fields".into(), fields.into());
        body.insert("offset".into(), 0.into());
        body.insert("limit".into(), limit.into());
        if let Some(apart) = apart {
            filter::and(&mut body, &apart);
        }
        Some(NodeRequest::post(format!("/indexes/{index}/documents/fetch"), &body))
    }

    /// True if it asks for documents, or how many there are to be fetched.
    pub fn is_of_documents(&self) -> bool {
        matches!(self, Self::Total | Self::Documents { .. })
    }

    /// True if it is no search that answers it.
    pub fn is_fetched(&self) -> bool {
        match self {
            Self::Total | Self::Documents { listing: Listing::Fetched { .. }, .. } => true,
            Self::Hits
            | Self::Sizes
            | Self::Rest { .. }
            | Self::UpTo { .. }
            | Self::Counts { .. }
            | Self::Digits { .. }
            | Self::Twice { .. }
            | Self::Documents { .. } => false,
        }
    }

    /// The filters of the searches that ask it. `None` where the engine's language cannot say it. Empty where it goes by
    /// shards.
    pub fn filters(&self) -> Option<Vec<String>> {
        Some(match self {
            Self::Hits | Self::Sizes | Self::Total | Self::Documents { .. } => Vec::new(),
            Self::Rest { facet, apart, known } => {
                let field = quote(facet)?;
                let all = apart.iter().chain(known).map(FacetValue::in_filter).collect::<Option<Vec<_>>>()?;
                let (known, all) = (all[apart.len()..].join(", "), all.join(", "));
                vec![format!("{field} IN [{known}]"), format!("NOT {field} IN [{all}]")]
            }
            Self::UpTo { facet, bound } => vec![format!("{} <= {bound}", quote(facet)?)],
            Self::Counts { facet, values } => {
                let field = quote(facet)?;
                let one = |value: &FacetValue| Some(format!("{field} = {}", value.in_filter()?));
                values.iter().map(one).collect::<Option<Vec<_>>>()?
            }
            Self::Digits { facet, values } => {
                let texts = values.iter().map(FacetValue::in_filter_as_text).collect::<Option<Vec<_>>>()?;
                vec![format!("{} IN [{}]", quote(facet)?, texts.join(", "))]
            }
            Self::Twice { facet, values } => {
                let field = quote(facet)?;
                let kinds = [FacetValue::in_filter_as_text, FacetValue::in_filter_as_number];
                let both = values.iter().flat_map(|value| kinds.map(|kind| kind(value)));
                both.map(|value| Some(format!("{field} = {}", value?))).collect::<Option<Vec<_>>>()?
            }
        })
    }
}

/// The documents that have none of `values` in `facet`, if there are any. `None` where the engine's language cannot say it.
fn without(facet: &str, values: &[FacetValue]) -> Option<Option<String>> {
    if values.is_empty() {
        return Some(None);
    }
    let values = values.iter().map(FacetValue::in_filter).collect::<Option<Vec<_>>>()?;
    Some(Some(format!("NOT {} IN [{}]", quote(facet)?, values.join(", "))))
}

// === impl FacetValue ===

impl FacetValue {
    /// A value that is a text; letters of any case, composed or not, are one.
    pub fn text(shown: String) -> Self {
        let text = normalize(&shown);
        Self { shown, number: None, text }
    }

    /// As a node lists it.
    pub fn number(number: f64) -> Self {
        Self { shown: number.to_string(), number: Some(number), text: String::new() }
    }

    /// Equal for values that the engine counts as one.
    pub fn key(&self) -> Key {
        match self.number {
            Some(number) => Key::Number(number.to_bits()),
            None => Key::Text(self.text.clone()),
        }
    }

    /// As a filter names it; the engine takes a quoted number for a number too.
    pub fn in_filter(&self) -> Option<String> {
        quote(if self.number.is_some() { &self.shown } else { &self.text })
    }

    /// As a filter names the string of the same digits: with a space before it, it is no number, and for strings the
    /// engine leaves the space out.
    pub fn in_filter_as_text(&self) -> Option<String> {
        quote(&format!(" {}", self.shown))
    }

    /// As a filter names the number alone: in digits that no document has as a text.
    pub fn in_filter_as_number(&self) -> Option<String> {
        quote(&format!("{}e0000", self.shown))
    }
}

/// `text` as one word of a filter. The engine has no way to write a quote after a backslash, or one at the end.
pub fn quote(text: &str) -> Option<String> {
    let backslash = text.contains('\\');
    if text.ends_with('\\') || (backslash && text.contains('"') && text.contains('\'')) {
        return None;
    }
    Some(if !text.contains('"') {
        format!("\"{text}\"")
    } else if !text.contains('\'') {
        format!("'{text}'")
    } else {
        format!("\"{}\"", text.replace('"', "\\\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_the_engine_reads_them() {
        assert_eq!(quote("a b").unwrap(), "\"a b\"");
        assert_eq!(quote("say \"x\"").unwrap(), "'say \"x\"'");
        assert_eq!(quote("it's \"x\"").unwrap(), "\"it's \\\"x\\\"\"");
        assert_eq!(quote("C:\\dir").unwrap(), "\"C:\\dir\"");
        assert_eq!(quote("C:\\"), None);
        assert_eq!(quote("\\'\""), None);
    }

    #[test]
    fn a_probe_says_what_it_asks() {
        let (apart, known) = (vec![FacetValue::text("FR".into())], vec![FacetValue::number(3.5)]);
        let rest = Probe::Rest { facet: "maker.country".into(), apart, known };
        let field = "\"maker.country\"";
        assert_eq!(
            rest.filters().unwrap(),
            [format!("{field} IN [\"3.5\"]"), format!("NOT {field} IN [\"fr\", \"3.5\"]")]
        );
        let up_to = Probe::UpTo { facet: "size".into(), bound: -2.5 };
        assert_eq!(up_to.filters().unwrap(), ["\"size\" <= -2.5"]);
        let (facet, values) = ("size".to_owned(), vec![FacetValue::number(5.0), FacetValue::number(-1.5)]);
        let digits = Probe::Digits { facet: facet.clone(), values: values.clone() };
        assert_eq!(digits.filters().unwrap(), ["\"size\" IN [\" 5\", \" -1.5\"]"]);
        let twice = Probe::Twice { facet: facet.clone(), values: values.clone() };
        let each = ["\" 5\"", "\"5e0000\"", "\" -1.5\"", "\"-1.5e0000\""].map(|value| format!("\"size\" = {value}"));
        assert_eq!(twice.filters().unwrap(), each);
        let counts = Probe::Counts { facet, values: vec![FacetValue::text("XL".into())] };
        assert_eq!(counts.filters().unwrap(), ["\"size\" = \"xl\""]);
    }
}
