//! Filters of tasks by dates, as SQL that looks at few rows.
//!
//! Dates grow with uids, but for some seconds. `miroir.blocks` knows of every 8,192 uids how many tasks of each group there are, and
//! between which dates they lie. So most blocks are wholly within a filter, or wholly without: the rows of the others are looked at. Example: of a
//! million tasks half ended before noon. That is 61 blocks which are counted, 60 that are left out, and one or two of which each task is asked.

use std::fmt::Write as _;

/// How many of a uid's bits do not matter for its block.
const BITS: u32 = 13;

/// What a filter says of dates.
#[derive(Default)]
pub struct Dates {
    /// What a group in a block is that has no task outside of the filter, as far as dates go; and one that has none within.
    inside: String,
    outside: String,
}

/// What the rows that are looked at have in common.
pub struct Of<'a> {
    /// Of groups in blocks.
    pub groups: &'a str,
    /// Of tasks: all of the filter.
    pub tasks: &'a str,
    /// True where no task without an index is met.
    pub indexes: bool,
}

// === impl Dates ===

impl Dates {
    pub fn is_empty(&self) -> bool {
        self.inside.is_empty()
    }

    /// Adds that `column` is before (`<`) or after (`>`) `value`.
    pub fn compared(&mut self, column: &str, comparison: &str, value: &str) {
        let name = column.trim_end_matches("_at");
        // Every task has this date.
        let dated = if name == "enqueued" { "true" } else { name };
        let (inner, outer, not) = match comparison {
            "<" => ("to", "from", ">="),
            _ => ("from", "to", "<="),
        };
        let (and, or) = if self.is_empty() { ("", "") } else { (" AND ", " OR ") };
        let _ = write!(self.inside, "{and}{dated} AND {name}_{inner} {comparison} {value}");
        let _ = write!(self.outside, "{or}NOT {dated} OR {name}_{outer} {not} {value}");
    }

    /// The groups in blocks that are not without, as the table `near`. `blocks`: which blocks.
    fn near(&self, of: &Of<'_>, blocks: &str) -> String {
        let columns = columns(of);
        format!(
            "near AS MATERIALIZED (SELECT {columns}, sum(n) AS n, bool_and({}) AS inside FROM miroir.blocks
                 WHERE n > 0 AND {} AND NOT ({}){blocks} GROUP BY {columns})",
            self.inside, of.groups, self.outside
        )
    }

    /// How many tasks meet the filter.
    pub fn total(&self, of: &Of<'_>) -> String {
        format!(
            "(WITH {}
             SELECT (SELECT coalesce(sum(n), 0) FROM near WHERE inside)
                 + (SELECT coalesce(sum((SELECT count(*) FROM miroir.tasks member WHERE {} AND {})), 0)
                    FROM near WHERE NOT inside))::bigint",
            self.near(of, ""),
            members(of),
            of.tasks
        )
    }

    /// The uids of a page, in the order of `order`: of as many blocks as have so many for sure, and of those that may have some before them. `from`:
    /// the comparison and the uid that a page begins with.
    pub fn newest(&self, of: &Of<'_>, from: Option<(&str, &str)>, order: &str, limit: &str) -> String {
        let (mut blocks, mut whole, mut bound) = (String::new(), String::new(), String::new());
        if let Some((comparison, uid)) = from {
            let block = format!("({uid}) >> {BITS}");
            blocks = format!(" AND block {comparison} {block}");
            // Of the page's own block some lie before the page.
            whole = format!(" AND block <> {block}");
            bound = format!(" AND uid {comparison} {uid}");
        }
        format!(
            "WITH {}, walked AS (
                 SELECT block, coalesce(sum(sure) OVER (ORDER BY block {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS passed
                 FROM (SELECT block, coalesce(sum(n) FILTER (WHERE inside{whole}), 0) AS sure FROM near GROUP BY block) blocks)
             SELECT met.uid FROM walked JOIN near USING (block) CROSS JOIN LATERAL (
                 SELECT uid FROM miroir.tasks member WHERE {} AND {}{bound} ORDER BY uid {order} LIMIT {limit}) met
             WHERE walked.passed < {limit} ORDER BY met.uid {order} LIMIT {limit}",
            self.near(of, &blocks),
            members(of),
            of.tasks
        )
    }
}

/// By which groups are told apart: as an index of the table of tasks begins.
fn columns(of: &Of<'_>) -> &'static str {
    if of.indexes { "block, status, kind, index_uid" } else { "block, status, kind" }
}

/// The tasks of a row of `near`.
fn members(of: &Of<'_>) -> String {
    let of_index = if of.indexes { " AND member.index_uid = near.index_uid" } else { "" };
    format!(
        "member.status = near.status AND member.kind = near.kind{of_index}
             AND member.uid BETWEEN near.block << {BITS} AND ((near.block + 1) << {BITS}) - 1"
    )
}
