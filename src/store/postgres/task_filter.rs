//! Filters of tasks as SQL, and the pages of those that meet them.
//!
//! To count a million rows takes longer than a list should, so the database counts them as they change: `miroir.counts` has a row
//! for each *group*, the tasks of one status, kind and index. Where a filter names nothing else, its total is a sum, and its page
//! is merged from the newest tasks of each group: no scan looks for the few that meet it among the many that do not. Dates are
//! looked for in few blocks of uids (`task_dates.rs`, `store/blocks.rs`).

use std::fmt::Write as _;

use super::statement::{Statement, Value};
use super::task_dates::Of;
use crate::meili::task::TaskStatus;
use crate::store::blocks::Dates;
use crate::store::terms::{self, Terms};
use crate::store::{IndexAccess, TaskFilter, TaskPage, TaskRef};
use crate::tasks::filter::Unit;

/// A filter, with the values that it names.
pub struct Filter {
    /// What a task meets, or one of those that make up a batch.
    sql: String,
    /// What its group meets, where dates are all that it does not know.
    groups: String,
    dates: Dates,
    pub values: Vec<Value>,
    names: Names,
    /// True where it may be met by tasks that others have canceled, which belong to the batches of those.
    canceled: bool,
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
    /// Dates, and perhaps groups; which are of indexes.
    Dates {
        indexes: bool,
    },
    /// Single tasks, batches or cancelers, and perhaps anything else.
    Tasks,
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
        let indexes = filter.index_uids.is_some() || matches!(filter.access, IndexAccess::Only(_));
        if filter.uids.is_some() || filter.canceled_by.is_some() || filter.batches.is_some() {
            Self::Tasks
        } else if dates.iter().any(Option::is_some) {
            Self::Dates { indexes }
        } else if indexes {
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
    let (comparison, order) = if page.reverse { (">=", "ASC") } else { ("<=", "DESC") };
    let from = place.as_deref().map(|place| (comparison, place));
    let bound =
        |uid: &str| from.map(|(comparison, place)| format!(" AND {uid} {comparison} {place}")).unwrap_or_default();
    let limit = filter.value((i64::from(page.limit) + 1).into());
    let met = match (filter.names, filter.unit) {
        (Names::Nothing, Unit::Task) | (Names::Tasks, Unit::Task | Unit::Batch) => {
            format!("{}{}", filter.met(), bound("uid"))
        }
        (_, Unit::Batch) if filter.canceled => format!(
            "uid = ANY(ARRAY({}) || ARRAY(SELECT uid FROM {} canceler WHERE
                 EXISTS (SELECT 1 FROM miroir.tasks known WHERE known.uid = canceler.uid){}
                 ORDER BY uid {order} LIMIT {limit}))",
            filter.newest(from, order, &limit),
            filter.cancelers(),
            bound("uid"),
        ),
        (_, Unit::Task | Unit::Batch) => format!("uid = ANY(ARRAY({}))", filter.newest(from, order, &limit)),
    };
    let sql = format!("SELECT task FROM miroir.tasks WHERE {met} ORDER BY uid {order} LIMIT {limit}");
    vec![total, Statement::new(sql, filter.values)]
}

/// By which column a task is named.
pub fn column_and_value(id: TaskRef) -> (&'static str, Value) {
    match id {
        TaskRef::Uid(uid) => ("uid", i64::from(uid).into()),
        TaskRef::Uuid(uuid) => ("uuid", Value::Bytes(uuid.as_bytes().to_vec())),
    }
}

/// The tasks of batches among those that meet `terms`.
fn begun(terms: &str) -> String {
    format!("status <> 'enqueued' AND {terms}")
}

// === impl Filter ===

impl Filter {
    /// As SQL.
    pub fn of(filter: &TaskFilter) -> Self {
        let mut condition = Self {
            sql: "true".to_owned(),
            groups: "true".to_owned(),
            dates: Dates::default(),
            values: Vec::new(),
            names: Names::of(filter),
            canceled: filter.statuses.as_ref().is_none_or(|statuses| statuses.contains(&TaskStatus::Canceled)),
            unit: filter.unit,
        };
        terms::add(filter, &mut condition);
        condition
    }

    /// What rows meet. A batch is met by the task that has its uid, if any of its tasks meets the filter.
    pub fn met(&self) -> String {
        match self.unit {
            Unit::Task => self.sql.clone(),
            Unit::Batch if !self.canceled => format!("({} AND canceled_by IS NULL)", begun(&self.sql)),
            Unit::Batch => format!(
                "(({} AND canceled_by IS NULL) OR uid IN (SELECT canceled_by FROM miroir.tasks WHERE {}))",
                begun(&self.sql),
                self.canceled()
            ),
        }
    }

    /// Those that belong to the batch of their canceler.
    fn canceled(&self) -> String {
        format!("canceled_by IS NOT NULL AND {}", begun(&self.sql))
    }

    /// The uids of those who have canceled one that meets the filter. One after the other: each may have canceled many.
    fn cancelers(&self) -> String {
        format!(
            "(WITH RECURSIVE each AS (
                 SELECT min(canceled_by) AS uid FROM miroir.tasks WHERE canceled_by IS NOT NULL
                 UNION ALL
                 SELECT (SELECT min(canceled_by) FROM miroir.tasks WHERE canceled_by > each.uid) FROM each WHERE uid IS NOT NULL)
             SELECT each.uid FROM each WHERE uid IS NOT NULL AND EXISTS (
                 SELECT 1 FROM miroir.tasks WHERE canceled_by = each.uid AND {}))",
            begun(&self.sql)
        )
    }

    /// How many rows meet it.
    fn total(&self) -> String {
        if self.names == Names::Tasks {
            return format!("(SELECT count(*) FROM miroir.tasks WHERE {})", self.met());
        }
        let own = match self.names {
            Names::Dates { .. } => self.in_blocks(|of, dates| of.total(dates)),
            Names::Nothing | Names::Groups | Names::GroupsOfIndexes | Names::Tasks => {
                format!("(SELECT coalesce(sum(n), 0)::bigint FROM miroir.counts WHERE {})", self.own_groups())
            }
        };
        match self.unit {
            Unit::Batch if self.canceled => format!(
                "{own} + (SELECT count(*) FROM miroir.tasks WHERE uid = ANY(ARRAY(SELECT uid FROM {} cancelers))
                           AND ({} AND canceled_by IS NULL) IS NOT TRUE)",
                self.cancelers(),
                begun(&self.sql)
            ),
            Unit::Task | Unit::Batch => own,
        }
    }

    /// The groups of the tasks that it means, batches' cancelers aside.
    fn own_groups(&self) -> String {
        match self.unit {
            Unit::Task => self.groups.clone(),
            Unit::Batch => format!("NOT canceled AND {}", begun(&self.groups)),
        }
    }

    /// What `own_groups` are of tasks.
    fn own(&self) -> &'static str {
        match self.unit {
            Unit::Task => "",
            Unit::Batch => " AND canceled_by IS NULL",
        }
    }

    /// Asks for what it means by blocks, batches' cancelers aside.
    fn in_blocks(&self, ask: impl Fn(&Of<'_>, &Dates) -> String) -> String {
        let indexes = self.names == Names::Dates { indexes: true };
        let tasks = format!("{}{}", self.sql, self.own());
        ask(&Of { groups: &self.own_groups(), tasks: &tasks, indexes }, &self.dates)
    }

    /// The uids of the page's tasks, batches' cancelers aside: the first of each group, and of these the first.
    fn newest(&self, from: Option<(&str, &str)>, order: &str, limit: &str) -> String {
        let (columns, of_index) = match self.names {
            Names::Dates { .. } => return self.in_blocks(|of, dates| of.newest(dates, from, order, limit)),
            Names::GroupsOfIndexes => ("status, kind, index_uid", " AND member.index_uid = found.index_uid"),
            Names::Nothing | Names::Groups | Names::Tasks => ("status, kind", ""),
        };
        let bound = from.map(|(comparison, place)| format!(" AND uid {comparison} {place}")).unwrap_or_default();
        let (groups, own) = (self.own_groups(), self.own());
        format!(
            "SELECT newest.uid FROM (SELECT DISTINCT {columns} FROM miroir.counts WHERE n > 0 AND {groups}) found
             CROSS JOIN LATERAL (SELECT uid FROM miroir.tasks member
                 WHERE member.status = found.status AND member.kind = found.kind{of_index}{own}{bound}
                 ORDER BY uid {order} LIMIT {limit}) newest
             ORDER BY newest.uid {order} LIMIT {limit}"
        )
    }

    /// Adds what groups know as well as tasks.
    fn and(&mut self, term: &str) {
        for sql in [&mut self.sql, &mut self.groups] {
            let _ = write!(sql, " AND {term}");
        }
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
        self.and(&format!("{column} = ANY({value})"));
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
        self.dates.compared(column, comparison, &value);
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
        self.and(&format!("index_uid IS NOT NULL AND ({})", terms.join(" OR ")));
    }
}
