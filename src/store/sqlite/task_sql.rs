//! The table of tasks: rows, and filters as SQL.

use std::fmt::Write as _;

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use time::OffsetDateTime;

use super::schema;
use super::task_blocks::Blocks;
use crate::meili::task::TaskStatus;
use crate::store::terms::{self, Terms};
use crate::store::{StoreError, TaskFilter, TaskList, TaskPage, TaskRef, TaskTableStats, nanos};
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::{TaskKey, Unit};
use crate::tasks::swap::follow_swaps;

/// The batch of a task that is not enqueued any more.
const BATCH: &str = "coalesce(canceled_by, uid)";

/// A `WHERE` clause and its parameters.
struct Condition {
    sql: String,
    values: Vec<SqlValue>,
    blocks: Blocks,
    /// True where it names single tasks, batches or cancelers, which are few: an index finds them.
    names_tasks: bool,
    /// True where it may be met by tasks that others have canceled, which belong to the batches of those.
    canceled: bool,
    unit: Unit,
}

/// What can be filtered by and may change: the columns that repeat it.
#[derive(PartialEq)]
struct Filterable<'a> {
    status: &'a str,
    index_uid: Option<&'a str>,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    canceled_by: Option<u32>,
}

// === impl Filterable ===

impl<'a> Filterable<'a> {
    fn of(task: &'a MiroirTask) -> Self {
        Self {
            status: task.status.as_str(),
            index_uid: task.index_uid.as_deref(),
            started_at: task.started_at.map(nanos),
            finished_at: task.finished_at.map(nanos),
            // Asked for is not done: only a canceled task has a canceler that can be filtered by.
            canceled_by: task.canceled_by.filter(|_| task.status == TaskStatus::Canceled),
        }
    }
}

/// An error if the uid is taken. It is used up for good, also if the task is removed.
pub fn insert(connection: &Connection, task: &MiroirTask) -> Result<(), StoreError> {
    let json = json_of(task)?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO tasks (uid, uuid, kind, status, index_uid, enqueued_at, started_at, finished_at, canceled_by, task)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let filterable = Filterable::of(task);
    statement.execute(params![
        task.uid,
        task.uuid.as_bytes().as_slice(),
        task.kind.as_str(),
        filterable.status,
        filterable.index_uid,
        nanos(task.enqueued_at),
        filterable.started_at,
        filterable.finished_at,
        filterable.canceled_by,
        json,
    ])?;
    schema::use_task_uid(connection, task.uid)
}

/// Writes the row anew if it is still there: a task that was deleted meanwhile does not come back. True when the row says for
/// the first time that the task has ended.
pub fn update(connection: &Connection, task: &MiroirTask) -> Result<bool, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT status, index_uid, started_at, finished_at, canceled_by FROM tasks WHERE uid = ?")?;
    let mut rows = select.query([task.uid])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    let status = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    let was_open = [TaskStatus::Enqueued, TaskStatus::Processing].iter().any(|open| open.as_str() == status);
    let stored = Filterable {
        status,
        index_uid: row.get_ref(1)?.as_str_or_null().map_err(rusqlite::Error::from)?,
        started_at: row.get(2)?,
        finished_at: row.get(3)?,
        canceled_by: row.get(4)?,
    };
    rewrite(connection, task, &stored)?;
    Ok(was_open && task.status.is_final())
}

/// As [`update`]; rows older than a swap follow the swapped indexes.
pub fn finish(connection: &Connection, task: &MiroirTask, swaps: &[(String, String)]) -> Result<bool, StoreError> {
    let ended = update(connection, task)?;
    if swaps.is_empty() {
        return Ok(ended);
    }
    let names: Vec<&String> = swaps.iter().flat_map(|(left, right)| [left, right]).collect();
    let older = {
        let mut select = connection.prepare_cached(
            "SELECT uid FROM tasks WHERE index_uid IN (SELECT value FROM json_each(?)) AND uid < ? ORDER BY uid",
        )?;
        let uids = select.query_map(params![serde_json::json!(names).to_string(), task.uid], |row| row.get(0))?;
        uids.collect::<Result<Vec<u32>, _>>()?
    };
    for uid in older {
        if let Some(mut other) = get(connection, TaskRef::Uid(uid))?
            && follow_swaps(&mut other, swaps)
        {
            update(connection, &other)?;
        }
    }
    Ok(ended)
}

/// Writes a row anew that has `stored` in its columns. Each column that is named costs its index, whether its value is another or
/// not; so what stays is left out.
fn rewrite(connection: &Connection, task: &MiroirTask, stored: &Filterable<'_>) -> Result<(), StoreError> {
    let json = json_of(task)?;
    let new = Filterable::of(task);
    if new == *stored {
        connection.prepare_cached("UPDATE tasks SET task = ? WHERE uid = ?")?.execute(params![json, task.uid])?;
        return Ok(());
    }
    if new.index_uid != stored.index_uid {
        connection
            .prepare_cached("UPDATE tasks SET index_uid = ? WHERE uid = ?")?
            .execute(params![new.index_uid, task.uid])?;
    }
    connection
        .prepare_cached(
            "UPDATE tasks SET status = ?, started_at = ?, finished_at = ?, canceled_by = ?, task = ? WHERE uid = ?",
        )?
        .execute(params![new.status, new.started_at, new.finished_at, new.canceled_by, json, task.uid])?;
    Ok(())
}

fn json_of(task: &MiroirTask) -> Result<String, StoreError> {
    serde_json::to_string(task).map_err(|source| StoreError::Corrupt { what: "task", source })
}

/// `None` if there is none, or none any more.
pub fn get(connection: &Connection, id: TaskRef) -> Result<Option<MiroirTask>, StoreError> {
    let (column, value) = column_and_value(id);
    let mut select = connection.prepare_cached(&format!("SELECT task FROM tasks WHERE {column} = ?"))?;
    let json: Option<String> = select.query_row([value], |row| row.get(0)).optional()?;
    json.map(|json| read(&json)).transpose()
}

/// Newest first unless the page is reversed. The total is of all tasks that pass the filter.
pub fn list(connection: &Connection, page: &TaskPage) -> Result<TaskList, StoreError> {
    let mut filter = Condition::of(&page.filter);
    let total: i64 = connection
        .prepare_cached(&format!("SELECT {}", filter.total()))?
        .query_row(params_from_iter(&filter.values), |row| row.get(0))?;

    let place = page.from.map(|from| {
        let (column, value) = column_and_value(from);
        let value = filter.value(value);
        // By its uid a task need not be there any more to have a place in the order.
        if column == "uid" { value } else { format!("(SELECT uid FROM tasks WHERE uuid = {value})") }
    });
    let (comparison, order) = if page.reverse { (">=", "ASC") } else { ("<=", "DESC") };
    let limit = filter.value(i64::from(page.limit) + 1);
    let sql = filter.page(place.as_deref().map(|place| (comparison, place)), order, &limit);
    let values = filter.values;

    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(&values))?;
    let mut tasks = Vec::new();
    let mut next = None;
    while let Some(row) = rows.next()? {
        let task = read_row(row)?;
        if tasks.len() < page.limit as usize {
            tasks.push(task);
        } else {
            next = Some(TaskKey::of(&task));
        }
    }
    Ok(TaskList { total: u64::try_from(total).unwrap_or(0), tasks, next })
}

/// The uids of the tasks that meet the filter, oldest first.
pub fn uids(connection: &Connection, filter: &TaskFilter) -> Result<Vec<u32>, StoreError> {
    let filter = Condition::of(filter);
    let sql = format!("SELECT uid FROM tasks WHERE {} ORDER BY uid", filter.met());
    let mut select = connection.prepare_cached(&sql)?;
    let uids = select.query_map(params_from_iter(&filter.values), |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(uids)
}

/// Oldest first.
pub fn unfinished(connection: &Connection) -> Result<Vec<MiroirTask>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT task FROM tasks WHERE status IN ('enqueued', 'processing') ORDER BY uid")?;
    let mut rows = select.query([])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(read_row(row)?);
    }
    Ok(tasks)
}

/// Deletes the final ones among the tasks that meet the filter.
pub fn delete(connection: &Connection, filter: &TaskFilter) -> Result<u64, StoreError> {
    let filter = Condition::of(filter);
    let sql = format!("DELETE FROM tasks WHERE status IN ('succeeded', 'failed', 'canceled') AND {}", filter.met());
    let deleted = connection.prepare_cached(&sql)?.execute(params_from_iter(&filter.values))?;
    Ok(deleted as u64)
}

/// No error where there is none.
pub fn remove(connection: &Connection, uid: u32) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM tasks WHERE uid = ?")?.execute([uid])?;
    Ok(())
}

/// Removes tasks that ended before `cutoff`; returns how many.
pub fn purge(connection: &Connection, cutoff: OffsetDateTime) -> Result<u64, StoreError> {
    let mut delete = connection
        .prepare_cached("DELETE FROM tasks WHERE finished_at < ? AND status IN ('succeeded', 'failed', 'canceled')")?;
    let purged = delete.execute([nanos(cutoff)])?;
    // Groups that have no task any more, as those of indexes that are gone.
    connection.execute("DELETE FROM blocks WHERE n = 0", [])?;
    Ok(purged as u64)
}

/// Every status is there, also with no task.
pub fn stats(connection: &Connection) -> Result<TaskTableStats, StoreError> {
    let mut stats = TaskTableStats::default();
    let mut count = connection.prepare_cached("SELECT count(*) FROM tasks WHERE status = ?")?;
    for status in TaskStatus::ALL {
        let number: i64 = count.query_row([status.as_str()], |row| row.get(0))?;
        stats.by_status.push((*status, u64::try_from(number).unwrap_or(0)));
    }
    let mut oldest =
        connection.prepare_cached("SELECT min(enqueued_at) FROM tasks WHERE status IN ('enqueued', 'processing')")?;
    let nanos: Option<i64> = oldest.query_row([], |row| row.get(0))?;
    stats.oldest_unfinished = nanos.and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok());
    Ok(stats)
}

fn read_row(row: &Row<'_>) -> Result<MiroirTask, StoreError> {
    read(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)
}

fn read(json: &str) -> Result<MiroirTask, StoreError> {
    serde_json::from_str(json).map_err(|source| StoreError::Corrupt { what: "task", source })
}

fn column_and_value(id: TaskRef) -> (&'static str, SqlValue) {
    match id {
        TaskRef::Uid(uid) => ("uid", SqlValue::Integer(i64::from(uid))),
        TaskRef::Uuid(uuid) => ("uuid", SqlValue::Blob(uuid.as_bytes().to_vec())),
    }
}

// === impl Condition ===

impl Condition {
    fn of(filter: &TaskFilter) -> Self {
        let mut condition = Self {
            sql: "1".to_owned(),
            values: Vec::new(),
            blocks: Blocks::default(),
            names_tasks: filter.uids.is_some() || filter.canceled_by.is_some() || filter.batches.is_some(),
            canceled: filter.statuses.as_ref().is_none_or(|statuses| statuses.contains(&TaskStatus::Canceled)),
            unit: filter.unit,
        };
        terms::add(filter, &mut condition);
        if condition.unit == Unit::Batch {
            condition.blocks.and_begun();
        }
        condition
    }

    /// What rows meet. A batch is met by the task that has its uid, if any of its tasks meets the filter.
    fn met(&self) -> String {
        match self.unit {
            Unit::Task => self.sql.clone(),
            Unit::Batch => {
                format!("uid IN (SELECT {BATCH} FROM tasks WHERE status != 'enqueued' AND {})", self.sql)
            }
        }
    }

    /// What rows meet, those aside that are met by those whom they have canceled.
    fn own(&self) -> String {
        match self.unit {
            Unit::Task => self.sql.clone(),
            Unit::Batch => format!("status != 'enqueued' AND canceled_by IS NULL AND {}", self.sql),
        }
    }

    /// The uids of those who have canceled one that meets the filter. One after the other: each may have canceled many.
    fn cancelers(&self) -> String {
        format!(
            "(WITH RECURSIVE each (uid) AS (
                 SELECT min(canceled_by) FROM tasks WHERE canceled_by IS NOT NULL
                 UNION ALL
                 SELECT (SELECT min(canceled_by) FROM tasks WHERE canceled_by > each.uid) FROM each WHERE each.uid IS NOT NULL)
             SELECT each.uid AS uid FROM each WHERE each.uid IS NOT NULL AND EXISTS (
                 SELECT 1 FROM tasks WHERE canceled_by = each.uid AND status != 'enqueued' AND {}))",
            self.sql
        )
    }

    /// True where cancelers count as well.
    fn has_cancelers(&self) -> bool {
        self.unit == Unit::Batch && self.canceled
    }

    /// How many rows meet it.
    fn total(&self) -> String {
        if self.names_tasks {
            return format!("(SELECT count(*) FROM tasks WHERE {})", self.met());
        }
        let (own, filter) = (self.blocks.total(&self.own()), self.own());
        if !self.has_cancelers() {
            return own;
        }
        format!(
            "{own} + (SELECT count(*) FROM tasks WHERE uid IN (SELECT uid FROM {}) AND ({filter}) IS NOT TRUE)",
            self.cancelers()
        )
    }

    /// The rows of a page. `from`: the comparison and the uid that it begins with.
    fn page(&self, from: Option<(&str, &str)>, order: &str, limit: &str) -> String {
        let bound = from.map(|(comparison, place)| format!(" AND uid {comparison} {place}")).unwrap_or_default();
        let rows = |met: &str| format!("SELECT task FROM tasks WHERE {met}{bound} ORDER BY uid {order} LIMIT {limit}");
        if self.names_tasks {
            return rows(&self.met());
        }
        if !self.has_cancelers() {
            return self.blocks.page("task", &self.own(), from, order, limit);
        }
        let own = self.blocks.page("uid", &self.own(), from, order, limit);
        rows(&format!("uid IN (SELECT uid FROM ({own}) UNION SELECT uid FROM {})", self.cancelers()))
    }

    /// Adds what groups know as well as tasks.
    fn and(&mut self, term: &str) {
        let _ = write!(self.sql, " AND {term}");
        self.blocks.and(term);
    }

    /// Where it stands in the statement.
    fn value(&mut self, value: impl Into<SqlValue>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }
}

impl Terms for Condition {
    /// Lists go in as one JSON parameter: their length has no bound, SQL's parameters have one.
    fn one_of<'a>(&mut self, column: &str, members: impl Iterator<Item = &'a str>) {
        let members: Vec<&str> = members.collect();
        let value = self.value(serde_json::json!(members).to_string());
        self.and(&format!("{column} IN (SELECT value FROM json_each({value}))"));
    }

    fn one_of_tasks(&mut self, column: &str, members: &[TaskRef]) {
        let mut uids = Vec::new();
        let mut uuids = Vec::new();
        for member in members {
            match member {
                TaskRef::Uid(uid) => uids.push(*uid),
                TaskRef::Uuid(uuid) => uuids.push(uuid.simple().to_string()),
            }
        }
        let uids = self.value(serde_json::json!(uids).to_string());
        let uuids = self.value(serde_json::json!(uuids).to_string());
        let by_uuid = format!("SELECT uid FROM tasks WHERE uuid IN (SELECT unhex(value) FROM json_each({uuids}))");
        let _ = write!(self.sql, " AND ({column} IN (SELECT value FROM json_each({uids})) OR {column} IN ({by_uuid}))");
    }

    fn compared(&mut self, column: &str, comparison: &str, nanos: i64) {
        let value = self.value(nanos);
        self.blocks.compared(column, comparison, &value);
        let _ = write!(self.sql, " AND {column} {comparison} {value}");
    }

    fn in_batches(&mut self, batches: &[u32]) {
        let value = self.value(serde_json::json!(batches).to_string());
        let _ = write!(self.sql, " AND status != 'enqueued' AND {BATCH} IN (SELECT value FROM json_each({value}))");
    }

    fn allowed(&mut self, patterns: &[String]) {
        let mut terms = vec!["0".to_owned()];
        for pattern in patterns {
            match pattern.strip_suffix('*') {
                // `substr` and not LIKE or GLOB, whose wildcards could stand in the pattern.
                Some(prefix) => {
                    let prefix = self.value(prefix.to_owned());
                    terms.push(format!("substr(index_uid, 1, length({prefix})) = {prefix}"));
                }
                None => {
                    let index = self.value(pattern.clone());
                    terms.push(format!("index_uid = {index}"));
                }
            }
        }
        self.and(&format!("index_uid IS NOT NULL AND ({})", terms.join(" OR ")));
    }
}
