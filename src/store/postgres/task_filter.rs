//! Filters of tasks as SQL, and the pages of those that meet them.
//!
//! To count a million rows takes longer than a list should, so the database counts them as they change: `miroir.counts` has a row
//! for each *group*, the tasks of one status, kind and index. Where a filter names nothing else, its total is a sum, and its page
//! is merged from the newest tasks of each group: no scan looks for the few that meet it among the many that do not.

use std::fmt::Write as _;

use super::statement::{Statement, Value};
use crate::store::terms::{self, Terms};
use crate::store::{IndexAccess, TaskFilter, TaskPage, TaskRef};
use crate::tasks::filter::Unit;

/// A filter, with the values that it names.
pub struct Filter {
    /// What a task meets, or one of those that make up a batch.
    sql: String,
    pub values: Vec<Value>,
    names: Names,
    unit: Unit,
}

/// What a filter goes by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Nothing,
    /// Statuses and kinds.
    Groups,
    /// Indexes, and perhaps statuses and kinds.
    GroupsOfIndexes,
    /// Something that is not counted.
    More,
}

// === impl Names ===

impl Names {
    fn of(filter: &TaskFilter) -> Self {
        let dates = [
            filter.before_enqueued_at,
            filter.after_enqueued_at,
            filter.before_started_at,
            filter.after_started_at,
            filter.before_finished_at,
            filter.after_finished_at,
        ];
        let more = filter.uids.is_some() || filter.canceled_by.is_some() || filter.batches.is_some();
        if more || dates.iter().any(Option::is_some) {
            Self::More
        } else if filter.index_uids.is_some() || matches!(filter.access, IndexAccess::Only(_)) {
            Self::GroupsOfIndexes
        } else if filter.statuses.is_some() || filter.kinds.is_some() {
            Self::Groups
        } else {
            Self::Nothing
        }
    }
}

/// What a page needs: the number of all tasks that pass the filter, and its own, newest first unless it is reversed.
pub fn list(page: &TaskPage) -> Vec<Statement> {
    let mut filter = Filter::of(&page.filter);
    let total = Statement::new(format!("SELECT {}", filter.total()), filter.values.clone());
    let place = page.from.map(|from| {
        let (column, value) = column_and_value(from);
        let value = filter.value(value);
        // By its uid a task need not be there any more to have a place in the order.
        match column {
            "uid" => value,
            _ => format!("(SELECT uid FROM miroir.tasks WHERE uuid = {value})"),
        }
    });
    let (from, order) = if page.reverse { (">=", "ASC") } else { ("<=", "DESC") };
    let bound = |uid: &str| place.as_ref().map(|place| format!(" AND {uid} {from} {place}")).unwrap_or_default();
    let limit = filter.value((i64::from(page.limit) + 1).into());
    let met = match (filter.names, filter.unit) {
        (Names::Nothing, Unit::Task) => format!("{}{}", filter.met(), bound("uid")),
        (Names::More, Unit::Task | Unit::Batch) if is_far(page) => format!(
            // Not in the order of an index: what lies between is not to be looked at one by one.
            "uid = ANY(ARRAY(SELECT uid FROM miroir.tasks WHERE {}{} ORDER BY uid + 0 {order} LIMIT {limit}))",
            filter.met(),
            bound("uid")
        ),
        (Names::More, Unit::Task | Unit::Batch) => format!("{}{}", filter.met(), bound("uid")),
        (_, Unit::Task) => format!("uid = ANY(ARRAY({}))", filter.newest(&bound("uid"), order, &limit)),
        (_, Unit::Batch) => format!(
            "uid = ANY(ARRAY({}) || ARRAY(SELECT DISTINCT canceled_by FROM miroir.tasks canceled WHERE {} AND
                 EXISTS (SELECT 1 FROM miroir.tasks canceler WHERE canceler.uid = canceled.canceled_by){}
                 ORDER BY canceled_by {order} LIMIT {limit}))",
            filter.newest(&bound("uid"), order, &limit),
            filter.canceled(),
            bound("canceled_by"),
        ),
    };
    let sql = format!("SELECT task FROM miroir.tasks WHERE {met} ORDER BY uid {order} LIMIT {limit}");
    vec![total, Statement::new(sql, filter.values)]
}

/// True where most of what comes first does not meet the filter, because of when it was.
fn is_far(page: &TaskPage) -> bool {
    let filter = &page.filter;
    let before = [filter.before_enqueued_at, filter.before_started_at, filter.before_finished_at];
    let after = [filter.after_enqueued_at, filter.after_started_at, filter.after_finished_at];
    let dates = if page.reverse { after } else { before };
    dates.iter().any(Option::is_some)
}

/// By which column a task is named.
pub fn column_and_value(id: TaskRef) -> (&'static str, Value) {
    match id {
        TaskRef::Uid(uid) => ("uid", i64::from(uid).into()),
        TaskRef::Uuid(uuid) => ("uuid", Value::Bytes(uuid.as_bytes().to_vec())),
    }
}

// === impl Filter ===

impl Filter {
    /// As SQL.
    pub fn of(filter: &TaskFilter) -> Self {
        let mut condition =
            Self { sql: "true".to_owned(), values: Vec::new(), names: Names::of(filter), unit: filter.unit };
        terms::add(filter, &mut condition);
        condition
    }

    /// What rows meet. A batch is met by the task that has its uid, if any of its tasks meets the filter.
    pub fn met(&self) -> String {
        match self.unit {
            Unit::Task => self.sql.clone(),
            Unit::Batch => format!(
                "(({} AND canceled_by IS NULL) OR uid IN (SELECT canceled_by FROM miroir.tasks WHERE {}))",
                self.begun(),
                self.canceled()
            ),
        }
    }

    /// The tasks of batches.
    fn begun(&self) -> String {
        format!("status <> 'enqueued' AND {}", self.sql)
    }

    /// Those that belong to the batch of their canceler.
    fn canceled(&self) -> String {
        format!("canceled_by IS NOT NULL AND {}", self.begun())
    }

    /// How many rows meet it.
    fn total(&self) -> String {
        let sum = |groups: &str| format!("(SELECT coalesce(sum(n), 0)::bigint FROM miroir.counts WHERE {groups})");
        match (self.names, self.unit) {
            (Names::More, _) => format!("(SELECT count(*) FROM miroir.tasks WHERE {})", self.met()),
            (_, Unit::Task) => sum(&self.sql),
            (_, Unit::Batch) => format!(
                "{} + (SELECT count(*) FROM miroir.tasks
                       WHERE uid = ANY(ARRAY(SELECT DISTINCT canceled_by FROM miroir.tasks WHERE {}))
                           AND ({} AND canceled_by IS NULL) IS NOT TRUE)",
                sum(&format!("NOT canceled AND {}", self.begun())),
                self.canceled(),
                self.begun()
            ),
        }
    }

    /// The uids of the page's tasks, batches' cancelers aside: the first of each group, and of these the first.
    fn newest(&self, bound: &str, order: &str, limit: &str) -> String {
        let (columns, of_index) = match self.names {
            Names::GroupsOfIndexes => ("status, kind, index_uid", " AND member.index_uid = found.index_uid"),
            Names::Nothing | Names::Groups | Names::More => ("status, kind", ""),
        };
        let (groups, own) = match self.unit {
            Unit::Task => (self.sql.clone(), ""),
            Unit::Batch => (format!("NOT canceled AND {}", self.begun()), " AND member.canceled_by IS NULL"),
        };
        format!(
            "SELECT newest.uid FROM (SELECT DISTINCT {columns} FROM miroir.counts WHERE n > 0 AND {groups}) found
             CROSS JOIN LATERAL (SELECT uid FROM miroir.tasks member
                 WHERE member.status = found.status AND member.kind = found.kind{of_index}{own}{bound}
                 ORDER BY uid {order} LIMIT {limit}) newest
             ORDER BY newest.uid {order} LIMIT {limit}"
        )
    }

    /// Where it stands in the statement.
    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }
}

impl Terms for Filter {
    fn one_of<'a>(&mut self, column: &str, members: impl Iterator<Item = &'a str>) {
        let value = self.value(Value::texts(members));
        let _ = write!(self.sql, " AND {column} = ANY({value})");
    }

    fn one_of_tasks(&mut self, column: &str, members: &[TaskRef]) {
        let mut uids = Vec::new();
        let mut uuids = Vec::new();
        for member in members {
            match member {
                TaskRef::Uid(uid) => uids.push(i64::from(*uid)),
                TaskRef::Uuid(uuid) => uuids.push(uuid.as_bytes().to_vec()),
            }
        }
        let value = self.value(Value::Ints(uids));
        if uuids.is_empty() {
            let _ = write!(self.sql, " AND {column} = ANY({value})");
            return;
        }
        let named = self.value(Value::Blobs(uuids));
        let _ = write!(
            self.sql,
            " AND {column} = ANY({value} || ARRAY(SELECT named.uid FROM miroir.tasks named WHERE named.uuid = ANY({named})))"
        );
    }

    fn compared(&mut self, column: &str, comparison: &str, nanos: i64) {
        let value = self.value(nanos.into());
        let _ = write!(self.sql, " AND {column} {comparison} {value}");
    }

    fn in_batches(&mut self, batches: &[u32]) {
        let value = self.value(Value::Ints(batches.iter().copied().map(i64::from).collect()));
        // The batch of a task that is not enqueued any more is its canceler's or its own. Said twice so that indexes help.
        let _ = write!(
            self.sql,
            " AND status <> 'enqueued' AND (canceled_by = ANY({value}) OR (canceled_by IS NULL AND uid = ANY({value})))"
        );
    }

    fn allowed(&mut self, patterns: &[String]) {
        let mut terms = vec!["false".to_owned()];
        for pattern in patterns.iter().filter(|pattern| !pattern.contains('\0')) {
            terms.push(match pattern.strip_suffix('*') {
                // Not LIKE, whose wildcards could stand in the pattern.
                Some(prefix) => format!("starts_with(index_uid, {})", self.value(prefix.into())),
                None => format!("index_uid = {}", self.value(pattern.as_str().into())),
            });
        }
        let _ = write!(self.sql, " AND index_uid IS NOT NULL AND ({})", terms.join(" OR "));
    }
}
