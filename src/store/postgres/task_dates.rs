//! Filters of tasks by dates, as SQL that looks at few rows.
//!
//! Whole blocks of uids are counted, and the rows of few are looked at (`store/blocks.rs`).

use crate::store::blocks::{BITS, Begin, Dates};

/// What the rows that are looked at have in common.
pub struct Of<'a> {
    /// Of groups in blocks.
    pub groups: &'a str,
    /// Of tasks: all of the filter.
    pub tasks: &'a str,
    /// True where no task without an index is met.
    pub indexes: bool,
}

// === impl Of ===

impl Of<'_> {
    /// The groups in blocks that are not without, as the table `near`. `blocks`: which blocks.
    fn near(&self, dates: &Dates, blocks: &str) -> String {
        let columns = self.columns();
        format!(
            "near AS MATERIALIZED (SELECT {columns}, sum(n) AS n, bool_and({}) AS inside FROM miroir.blocks
                 WHERE n > 0 AND {} AND NOT ({}){blocks} GROUP BY {columns})",
            dates.inside, self.groups, dates.outside
        )
    }

    /// How many tasks meet the filter.
    pub fn total(&self, dates: &Dates) -> String {
        format!(
            "(WITH {}
             SELECT (SELECT coalesce(sum(n), 0) FROM near WHERE inside)
                 + (SELECT coalesce(sum((SELECT count(*) FROM miroir.tasks member WHERE {} AND {})), 0)
                    FROM near WHERE NOT inside))::bigint",
            self.near(dates, ""),
            self.members(),
            self.tasks
        )
    }

    /// The uids of a page, in the order of `order`: of as many blocks as have so many for sure, and of those that may have some before them. `from`:
    /// the comparison and the uid that a page begins with.
    pub fn newest(&self, dates: &Dates, from: Option<(&str, &str)>, order: &str, limit: &str) -> String {
        let Begin { blocks, whole, tasks } = Begin::at(from);
        format!(
            "WITH {}, walked AS (
                 SELECT block, coalesce(sum(sure) OVER (ORDER BY block {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS passed
                 FROM (SELECT block, coalesce(sum(n) FILTER (WHERE inside{whole}), 0) AS sure FROM near GROUP BY block) blocks)
             SELECT met.uid FROM walked JOIN near USING (block) CROSS JOIN LATERAL (
                 SELECT uid FROM miroir.tasks member WHERE {} AND {}{tasks} ORDER BY uid {order} LIMIT {limit}) met
             WHERE walked.passed < {limit} ORDER BY met.uid {order} LIMIT {limit}",
            self.near(dates, &blocks),
            self.members(),
            self.tasks
        )
    }

    /// By which groups are told apart: as an index of the table of tasks begins.
    fn columns(&self) -> &'static str {
        if self.indexes { "block, status, kind, index_uid" } else { "block, status, kind" }
    }

    /// The tasks of a row of `near`.
    fn members(&self) -> String {
        let of_index = if self.indexes { " AND member.index_uid = near.index_uid" } else { "" };
        format!(
            "member.status = near.status AND member.kind = near.kind{of_index}
             AND member.uid BETWEEN near.block << {BITS} AND ((near.block + 1) << {BITS}) - 1"
        )
    }
}
