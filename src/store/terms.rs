//! What a filter of tasks asks of rows, whatever the dialect of SQL: each field is one term.

use super::{IndexAccess, TaskFilter, TaskRef, nanos};

/// A `WHERE` clause that is being made. Each call adds a term that rows must meet, too.
pub trait Terms {
    /// The column has one of these texts.
    fn one_of<'a>(&mut self, column: &str, members: impl Iterator<Item = &'a str>);
    /// The column has the uid of one of these tasks.
    fn one_of_tasks(&mut self, column: &str, members: &[TaskRef]);
    /// The column, a date in nanoseconds since 1970, is before (`<`) or after (`>`) another.
    fn compared(&mut self, column: &str, comparison: &str, nanos: i64);
    /// The task is of one of these batches.
    fn in_batches(&mut self, batches: &[u32]);
    /// The task is of an index that one of these patterns names.
    fn allowed(&mut self, patterns: &[String]);
}

/// Adds all terms of `filter`; whether tasks or batches are meant is the caller's to heed.
pub fn add(filter: &TaskFilter, terms: &mut impl Terms) {
    let TaskFilter {
        uids,
        statuses,
        kinds,
        index_uids,
        canceled_by,
        before_enqueued_at,
        after_enqueued_at,
        before_started_at,
        after_started_at,
        before_finished_at,
        after_finished_at,
        access,
        batches,
        unit: _,
    } = filter;
    if let Some(uids) = uids {
        terms.one_of_tasks("uid", uids);
    }
    if let Some(statuses) = statuses {
        terms.one_of("status", statuses.iter().map(|status| status.as_str()));
    }
    if let Some(kinds) = kinds {
        terms.one_of("kind", kinds.iter().map(|kind| kind.as_str()));
    }
    if let Some(index_uids) = index_uids {
        terms.one_of("index_uid", index_uids.iter().map(String::as_str));
    }
    if let Some(canceled_by) = canceled_by {
        terms.one_of_tasks("canceled_by", canceled_by);
    }
    for (column, comparison, date) in [
        ("enqueued_at", "<", before_enqueued_at),
        ("enqueued_at", ">", after_enqueued_at),
        ("started_at", "<", before_started_at),
        ("started_at", ">", after_started_at),
        ("finished_at", "<", before_finished_at),
        ("finished_at", ">", after_finished_at),
    ] {
        if let Some(date) = date {
            terms.compared(column, comparison, nanos(*date));
        }
    }
    if let Some(batches) = batches {
        terms.in_batches(batches);
    }
    if let IndexAccess::Only(patterns) = access {
        terms.allowed(patterns);
    }
}
