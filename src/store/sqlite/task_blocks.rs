//! Filters of tasks as SQL that looks at few rows: whole blocks of uids are counted (`store/blocks.rs`).

use std::fmt::Write as _;

use crate::store::blocks::{BITS, Begin, Dates};

/// What a filter says of blocks.
pub struct Blocks {
    /// What groups in blocks meet.
    groups: String,
    dates: Dates,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { groups: "true".to_owned(), dates: Dates::default() }
    }
}

// === impl Blocks ===

impl Blocks {
    /// Adds a term that groups know as well as tasks.
    pub fn and(&mut self, term: &str) {
        // A group of tasks without an index has an empty one.
        let _ = write!(self.groups, " AND {}", term.replace("index_uid", "nullif(index_uid, '')"));
    }

    /// Leaves what a batch is not begun by: its canceler's batch has those that were canceled.
    pub fn and_begun(&mut self) {
        self.groups.push_str(" AND NOT canceled AND status != 'enqueued'");
    }

    /// Adds that `column` is before (`<`) or after (`>`) `value`.
    pub fn compared(&mut self, column: &str, comparison: &str, value: &str) {
        self.dates.compared(column, comparison, value);
    }

    fn near(&self, blocks: &str) -> String {
        format!(
            "near AS MATERIALIZED (SELECT block, sum(n) AS n, min({}) AS inside FROM blocks
                 WHERE n > 0 AND {} AND NOT ({}){blocks} GROUP BY block)",
            self.dates.inside, self.groups, self.dates.outside
        )
    }

    /// How many tasks meet `filter`, which says the same of tasks.
    pub fn total(&self, filter: &str) -> String {
        format!(
            "(WITH {} SELECT (SELECT coalesce(sum(n), 0) FROM near WHERE inside)
                 + (SELECT count(*) FROM near CROSS JOIN tasks ON {} WHERE NOT inside AND {filter}))",
            self.near(""),
            members("near")
        )
    }

    /// What `column` is of the page's tasks, in its order: of as many blocks as have so many for sure, and of those that may have some before them.
    /// `from`: the comparison and the uid that a page begins with.
    pub fn page(&self, column: &str, filter: &str, from: Option<(&str, &str)>, order: &str, limit: &str) -> String {
        let Begin { blocks, whole, tasks } = Begin::at(from);
        format!(
            "WITH {}, walked AS (
                 SELECT block, coalesce(sum(iif(inside{whole}, n, 0))
                     OVER (ORDER BY block {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS passed FROM near)
             SELECT {column} FROM walked CROSS JOIN tasks ON {}
             WHERE passed < {limit} AND {filter}{tasks} ORDER BY uid {order} LIMIT {limit}",
            self.near(&blocks),
            members("walked")
        )
    }
}

/// The tasks of a block.
fn members(of: &str) -> String {
    format!("tasks.uid BETWEEN {of}.block << {BITS} AND (({of}.block + 1) << {BITS}) - 1")
}
