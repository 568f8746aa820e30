//! Blocks of uids, in which tasks are counted by both stores: what filters by dates say of them.
//!
//! Dates grow with uids, but for some seconds. A table `blocks` knows of every 8,192 uids how many tasks of each group there are, and between
//! which dates they lie. So most blocks are wholly within a filter, or wholly without: the rows of the others are looked at. Example: of a
//! million tasks half ended before noon. That is 61 blocks which are counted, 60 that are left out, and one or two of which each task is
//! asked.

use std::fmt::Write as _;

/// How many of a uid's bits do not matter for its block.
pub const BITS: u32 = 13;

/// What a filter says of dates.
pub struct Dates {
    /// What a group in a block meets that has no task outside of the filter, as far as dates go; and one that has none within.
    pub inside: String,
    pub outside: String,
}

/// Where a page begins, as terms that are added to others; empty ones where it is the first.
#[derive(Default)]
pub struct Begin {
    /// Of blocks that have tasks of the page.
    pub blocks: String,
    /// Of blocks of which no task lies before the page.
    pub whole: String,
    /// Of its tasks.
    pub tasks: String,
}

// === impl Dates ===

impl Default for Dates {
    fn default() -> Self {
        Self { inside: "true".to_owned(), outside: "false".to_owned() }
    }
}

impl Dates {
    /// Adds that `column` is before (`<`) or after (`>`) `value`.
    pub fn compared(&mut self, column: &str, comparison: &str, value: &str) {
        let name = column.trim_end_matches("_at");
        // Every task has this date.
        let dated = if name == "enqueued" { "true" } else { name };
        let (inner, outer, not) = match comparison {
            "<" => ("to", "from", ">="),
            _ => ("from", "to", "<="),
        };
        let _ = write!(self.inside, " AND {dated} AND {name}_{inner} {comparison} {value}");
        let _ = write!(self.outside, " OR NOT {dated} OR {name}_{outer} {not} {value}");
    }
}

// === impl Begin ===

impl Begin {
    /// `from`: the comparison and the uid that the page begins with.
    pub fn at(from: Option<(&str, &str)>) -> Self {
        let Some((comparison, uid)) = from else { return Self::default() };
        let block = format!("({uid}) >> {BITS}");
        Self {
            blocks: format!(" AND block {comparison} {block}"),
            whole: format!(" AND block <> {block}"),
            tasks: format!(" AND uid {comparison} {uid}"),
        }
    }
}
