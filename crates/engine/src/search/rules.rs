//! Which searches can share a federated list: those whose ranking rules compare.
//!
//! A query's rules are first made canonical: what has no effect on it is left out (each omission is noted for the error
//! message), then neighbouring relevancy rules count as one.

use std::collections::HashMap;
use std::fmt::Write as _;

use milli::{AscDesc, Criterion, Member};
use milli_core as milli;

use super::params::MatchingStrategy;
use crate::error::{Code, ResponseError};

/// What a search asks for, as far as its rules go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    Words(MatchingStrategy),
    Meaning,
}

/// What a rule compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Relevancy,
    Ascending,
    Descending,
    AscendingGeo,
    DescendingGeo,
}

/// One rule that counts: what it compares, its names, where it stands.
#[derive(Debug, Clone)]
struct Rule {
    kind: Kind,
    name: String,
    place: Place,
}

/// Where a rule stands among the canonical ones.
#[derive(Debug, Clone, Copy)]
enum Place {
    Rules { first: usize, last: usize },
    Sort { rule: usize, criterion: usize },
}

/// The rules of one query.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    notes: Vec<String>,
    query: usize,
    uid: String,
}

/// Collects canonical rules and notes.
#[derive(Default)]
struct Canonical {
    criteria: Vec<Criterion>,
    sort: Vec<AscDesc>,
    notes: Vec<String>,
    /// What first sorted by a field, and where.
    sorted: HashMap<String, Sorted>,
    /// Where a point was first sorted by, and how.
    sorted_by_point: Option<Sorted>,
    /// Where a rule was first seen, by name.
    seen: HashMap<String, String>,
    words: Words,
}

/// A rule that sorts, as notes name it.
#[derive(Clone)]
struct Sorted {
    name: String,
    place: String,
}

/// Whether the rule `words` counts already.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Words {
    #[default]
    Absent,
    Prepended,
    Given,
}

// === impl Rules ===

impl Rules {
    pub fn new(criteria: &[Criterion], sort: Option<&[AscDesc]>, asked: Asked, query: usize, uid: &str) -> Self {
        let mut canonical = Canonical::default();
        for (position, criterion) in criteria.iter().enumerate() {
            let goes_on = match criterion {
                Criterion::Words
                | Criterion::Typo
                | Criterion::Proximity
                | Criterion::Attribute
                | Criterion::Exactness => canonical.relevancy(criterion, position, asked),
                Criterion::Sort => canonical.sort(position, sort),
                Criterion::Asc(field) | Criterion::Desc(field) => canonical.field(criterion, field, position),
            };
            if !goes_on {
                break;
            }
        }
        Self { rules: canonical.joined(), notes: canonical.notes, query, uid: uid.to_owned() }
    }

    /// How many comparisons the rules make.
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// Refuses a query whose rules do not compare with those of an earlier one.
    pub fn check(&self, previous: &Self) -> Result<(), ResponseError> {
        let pairs = self.rules.iter().zip(&previous.rules);
        let Some((current, earlier)) = pairs.into_iter().find(|(current, earlier)| current.kind != earlier.kind) else {
            return Ok(());
        };
        let (first, second) = (previous.query, self.query);
        let mut message = format!("The results of queries #{first} and #{second} are incompatible: \n");
        // Writing to a string cannot fail.
        let _ = writeln!(message, "  1. {}", previous.describe(earlier));
        let _ = writeln!(message, "  2. {}", self.describe(current));
        let _ = writeln!(message, "  - {}", reason(earlier.kind, current.kind));
        for side in [previous, self] {
            if side.notes.is_empty() {
                continue;
            }
            let query = side.query;
            let _ = writeln!(
                message,
                "  - note: The ranking rules of query #{query} were modified during canonicalization:"
            );
            message.extend(side.notes.iter().map(String::as_str));
        }
        Err(ResponseError::new(Code::InvalidMultiSearchQueryRankingRules, message))
    }

    fn describe(&self, rule: &Rule) -> String {
        let Self { query, uid, .. } = self;
        let source = match rule.place {
            Place::Rules { first, last } if first == last => {
                format!("`queries[{query}]`, `{uid}.rankingRules[{first}]`")
            }
            Place::Rules { first, last } => format!("`queries[{query}]`, `{uid}.rankingRules[{first}..={last}]`"),
            Place::Sort { rule, criterion } => {
                format!("`queries[{query}].sort[{criterion}]`, `{uid}.rankingRules[{rule}]`")
            }
        };
        format!("{source}: {} rule(s) {}", rule.kind.name(), rule.name)
    }
}

// === impl Canonical ===

impl Canonical {
    /// False when nothing after this rule counts.
    fn relevancy(&mut self, criterion: &Criterion, position: usize, asked: Asked) -> bool {
        let name = criterion.to_string();
        let place = in_rules(position);
        match asked {
            Asked::Nothing => {
                self.note(format!(
                    "Removed relevancy rule `{name}` at position {place} because the query is a placeholder search (`q`: \"\")"
                ));
            }
            Asked::Meaning => match self.seen.get("vector").cloned() {
                None => {
                    self.seen.insert("vector".to_owned(), place);
                    self.criteria.push(criterion.clone());
                }
                Some(vector) if self.sorted.is_empty() => self.note(format!(
                    "Removed relevancy rule `{name}` at position {place} because the query is a vector search and `vector` was already inserted at position {vector}"
                )),
                Some(vector) => {
                    self.note(format!(
                        "Truncated relevancy rule `{name}` at position {place} and later rules because the query is a vector search and `vector` was inserted at position {vector}"
                    ));
                    return false;
                }
            },
            Asked::Words(strategy) => self.keyword(criterion, &name, place, strategy),
        }
        true
    }

    fn keyword(&mut self, criterion: &Criterion, name: &str, place: String, strategy: MatchingStrategy) {
        let all = strategy == MatchingStrategy::All;
        if *criterion == Criterion::Words {
            if all {
                self.note(format!(
                    "Removed rule `words` at position {place} because `query.matchingWords` is set to `all`"
                ));
                return;
            }
            match self.words {
                Words::Absent => {}
                Words::Prepended => {
                    self.note(format!("Removed rule `words` at position {place} because it was previously prepended"));
                }
                Words::Given => {
                    self.duplicate(name, &place);
                    return;
                }
            }
            self.words = Words::Given;
            self.seen.insert(name.to_owned(), place);
            self.criteria.push(criterion.clone());
            return;
        }
        if !all && self.words == Words::Absent {
            self.note(format!("Prepended rule `words` before first relevancy rule `{name}` at position {place}"));
            self.criteria.push(Criterion::Words);
            self.words = Words::Prepended;
        }
        if self.seen.contains_key(name) {
            self.duplicate(name, &place);
        } else {
            self.seen.insert(name.to_owned(), place);
            self.criteria.push(criterion.clone());
        }
    }

    fn sort(&mut self, position: usize, sort: Option<&[AscDesc]>) -> bool {
        let place = in_rules(position);
        let Some(criteria) = sort else {
            // The engine's own note is indented by one less here.
            let number = self.notes.len() + 1;
            self.notes
                .push(format!("   {number}. Removed rule `sort` at position {place} because `query.sort` is empty\n"));
            return true;
        };
        if self.seen.contains_key("sort") {
            self.duplicate("sort", &place);
            return true;
        }
        self.seen.insert("sort".to_owned(), place);
        self.criteria.push(Criterion::Sort);
        for (number, criterion) in criteria.iter().enumerate() {
            let place = format!("#{number} in `query.sort` (as `sort` is #{position} in ranking rules)");
            let here = |name: String| Sorted { name, place: place.clone() };
            let earlier = match criterion {
                AscDesc::Asc(Member::Field(field)) => self.first_by(field, here(format!("{field}:asc"))),
                AscDesc::Desc(Member::Field(field)) => self.first_by(field, here(format!("{field}:desc"))),
                AscDesc::Asc(Member::Geo(_)) => self.first_by_point(here("_geo(..):asc".to_owned())),
                AscDesc::Desc(Member::Geo(_)) => self.first_by_point(here("_geo(..):desc".to_owned())),
            };
            match earlier {
                Some(earlier) => self.repeated(&earlier, &place),
                None => self.sort.push(criterion.clone()),
            }
        }
        true
    }

    fn field(&mut self, criterion: &Criterion, field: &str, position: usize) -> bool {
        let place = in_rules(position);
        match self.first_by(field, Sorted { name: criterion.to_string(), place: place.clone() }) {
            Some(earlier) => self.repeated(&earlier, &place),
            None => self.criteria.push(criterion.clone()),
        }
        true
    }

    /// What sorted by `field` before, or `None` after noting that `here` is the first.
    fn first_by(&mut self, field: &str, here: Sorted) -> Option<Sorted> {
        let earlier = self.sorted.get(field).cloned();
        if earlier.is_none() {
            self.sorted.insert(field.to_owned(), here);
        }
        earlier
    }

    fn first_by_point(&mut self, here: Sorted) -> Option<Sorted> {
        let earlier = self.sorted_by_point.clone();
        self.sorted_by_point.get_or_insert(here);
        earlier
    }

    /// The engine names the rule that stays, also where the one it removes sorts the other way.
    fn repeated(&mut self, earlier: &Sorted, place: &str) {
        let Sorted { name, place: first } = earlier;
        self.note(format!(
            "Removed duplicate rule `{name}` at position {place} as it already appears at position {first}"
        ));
    }

    fn duplicate(&mut self, name: &str, place: &str) {
        let earlier = self.seen.get(name).cloned().unwrap_or_default();
        self.note(format!(
            "Removed duplicate rule `{name}` at position {place} as it already appears at position {earlier}"
        ));
    }

    fn note(&mut self, text: String) {
        let number = self.notes.len() + 1;
        self.notes.push(format!("    {number}. {text}\n"));
    }

    /// The rules that count, neighbouring relevancy rules as one.
    fn joined(&self) -> Vec<Rule> {
        let mut joined: Vec<Rule> = Vec::new();
        for (position, criterion) in self.criteria.iter().enumerate() {
            let here = Place::Rules { first: position, last: position };
            let kind = match criterion {
                Criterion::Words
                | Criterion::Typo
                | Criterion::Proximity
                | Criterion::Attribute
                | Criterion::Exactness => {
                    if let Some(Rule { kind: Kind::Relevancy, name, place: Place::Rules { first, last } }) =
                        joined.last_mut()
                    {
                        // A `sort` that has nothing to sort by stands among the names too.
                        let names: Vec<String> =
                            self.criteria[*first..=position].iter().map(ToString::to_string).collect();
                        *name = names.join(", ");
                        *last = position;
                        continue;
                    }
                    Kind::Relevancy
                }
                Criterion::Asc(field) if field == "_geo" => Kind::AscendingGeo,
                Criterion::Desc(field) if field == "_geo" => Kind::DescendingGeo,
                Criterion::Asc(_) => Kind::Ascending,
                Criterion::Desc(_) => Kind::Descending,
                Criterion::Sort => {
                    joined.extend(self.sort.iter().enumerate().map(|(number, criterion)| {
                        let (kind, name) = match criterion {
                            AscDesc::Asc(Member::Field(field)) => (Kind::Ascending, format!("on field `{field}`")),
                            AscDesc::Desc(Member::Field(field)) => (Kind::Descending, format!("on field `{field}`")),
                            AscDesc::Asc(Member::Geo(_)) => (Kind::AscendingGeo, "default".to_owned()),
                            AscDesc::Desc(Member::Geo(_)) => (Kind::DescendingGeo, "default".to_owned()),
                        };
                        Rule { kind, name, place: Place::Sort { rule: position, criterion: number } }
                    }));
                    continue;
                }
            };
            joined.push(Rule { kind, name: criterion.to_string(), place: here });
        }
        joined
    }
}

// === impl Kind ===

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Relevancy => "relevancy",
            Self::Ascending => "ascending sort",
            Self::Descending => "descending sort",
            Self::AscendingGeo => "ascending geo sort",
            Self::DescendingGeo => "descending geo sort",
        }
    }

    fn is_geo(self) -> bool {
        match self {
            Self::AscendingGeo | Self::DescendingGeo => true,
            Self::Relevancy | Self::Ascending | Self::Descending => false,
        }
    }
}

fn in_rules(position: usize) -> String {
    format!("#{position} in ranking rules")
}

fn reason(earlier: Kind, current: Kind) -> &'static str {
    let relevancy = earlier == Kind::Relevancy || current == Kind::Relevancy;
    match (relevancy, earlier.is_geo() || current.is_geo(), earlier.is_geo() && current.is_geo()) {
        (true, true, _) => "cannot compare a relevancy rule with a geosort rule",
        (true, false, _) => "cannot compare a relevancy rule with a sort rule",
        (false, _, true) => "cannot compare two geosort rules in opposite directions",
        (false, true, false) => "cannot compare a sort rule with a geosort rule",
        (false, false, false) => "cannot compare two sort rules in opposite directions",
    }
}
