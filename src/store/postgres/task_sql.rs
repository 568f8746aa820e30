//! The table of tasks: rows, and filters as SQL.

use std::sync::Arc;

use time::OffsetDateTime;
use tokio_postgres::Row;

use super::schema;
use super::statement::{Replies, Statement, Value};
use super::task_filter::{Filter, column_and_value};
use super::worker::Then;
use crate::meili::task::TaskStatus;
use crate::store::{StoreError, TaskFilter, TaskList, TaskRef, TaskTableStats, nanos};
use crate::tasks::entry::MiroirTask;
use crate::tasks::filter::TaskKey;
use crate::tasks::swap::follow_swaps;

/// So many tasks that follow a swap are read at once.
const CHUNK: i64 = 1000;
/// A deletion of more is several commits, so that none holds up what waits behind it for long.
pub const DELETED_AT_ONCE: i64 = 20_000;

const COLUMNS: &str = "uid, uuid, kind, status, index_uid, enqueued_at, started_at, finished_at, canceled_by, task";
const FINAL: &str = "status IN ('succeeded', 'failed', 'canceled')";

fn as_json(task: &MiroirTask) -> Result<String, StoreError> {
    serde_json::to_string(task).map_err(|source| StoreError::Corrupt { what: "task", source })
}

/// In the order of [`COLUMNS`].
fn columns(task: &MiroirTask) -> Result<Vec<Value>, StoreError> {
    // Asked for is not done: only a canceled task has a canceler that can be filtered by.
    let canceled_by = if task.status == TaskStatus::Canceled { task.canceled_by } else { None };
    Ok(vec![
        i64::from(task.uid).into(),
        Value::Bytes(task.uuid.as_bytes().to_vec()),
        task.kind.as_str().into(),
        task.status.as_str().into(),
        Value::MaybeText(task.index_uid.clone()),
        nanos(task.enqueued_at).into(),
        Value::MaybeInt(task.started_at.map(nanos)),
        Value::MaybeInt(task.finished_at.map(nanos)),
        Value::MaybeInt(canceled_by.map(i64::from)),
        as_json(task)?.into(),
    ])
}

/// An error if the uid is taken. It is used up for good, also if the task is removed. With `keep` its end is kept.
pub fn insert(task: &MiroirTask, keep: bool) -> Result<Vec<Statement>, StoreError> {
    let sql = format!("INSERT INTO miroir.tasks ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
    let mut statements = vec![Statement::new(sql, columns(task)?), schema::use_task_uid(task.uid)];
    if keep && task.status.is_final() {
        statements.push(Statement::new(
            "WITH next AS (UPDATE miroir.last_end SET place = place + 1 RETURNING place)
             INSERT INTO miroir.ends (place, task) SELECT place, $1 FROM next",
            vec![as_json(task)?.into()],
        ));
    }
    Ok(statements)
}

/// Writes the row anew if it is still there: a task that was deleted meanwhile does not come back. If it was open until then its end
/// is kept with `keep`.
pub fn update(task: &MiroirTask, keep: bool) -> Result<Statement, StoreError> {
    let mut values = columns(task)?;
    values.push(Value::Bool(keep && task.status.is_final()));
    let sql = format!(
        "WITH old AS (SELECT uid, {FINAL} AS ended FROM miroir.tasks WHERE uid = $1 FOR UPDATE),
         written AS (UPDATE miroir.tasks SET ({COLUMNS}) = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) FROM old
                     WHERE tasks.uid = old.uid RETURNING old.ended),
         next AS (UPDATE miroir.last_end SET place = place + 1 FROM written WHERE $11 AND NOT ended RETURNING place),
         kept AS (INSERT INTO miroir.ends (place, task) SELECT place, $10 FROM next)
         SELECT FROM written"
    );
    Ok(Statement::new(sql, values))
}

fn next_older(names: &[String], before: u32, after: i64) -> Statement {
    Statement::new(
        "SELECT uid, task FROM miroir.tasks WHERE index_uid = ANY($1) AND uid < $2 AND uid > $3 ORDER BY uid LIMIT $4",
        vec![Value::texts(names.iter().map(String::as_str)), i64::from(before).into(), after.into(), CHUNK.into()],
    )
}

/// Rows older than a swap follow the swapped indexes: what is asked first, and what is made of each answer.
pub fn older_follow(swap: u32, swaps: Vec<(String, String)>) -> (Statement, Then) {
    let names: Vec<String> = swaps.iter().flat_map(|(left, right)| [left.clone(), right.clone()]).collect();
    let first = next_older(&names, swap, -1);
    let then = move |replies: &Replies| {
        let rows = replies.last().map(Vec::as_slice).unwrap_or_default();
        let mut statements = Vec::new();
        for row in rows {
            let mut task = read(row.get(1))?;
            if follow_swaps(&mut task, &swaps) {
                statements.push(Statement::new(
                    "UPDATE miroir.tasks SET index_uid = $2, task = $3 WHERE uid = $1",
                    vec![i64::from(task.uid).into(), Value::MaybeText(task.index_uid.clone()), as_json(&task)?.into()],
                ));
            }
        }
        if let Some(last) = rows.last().filter(|_| rows.len() as i64 == CHUNK) {
            statements.push(next_older(&names, swap, last.get(0)));
        } else if !statements.is_empty() {
            // So that the next answer ends it.
            statements.push(Statement::plain("SELECT 0::bigint, ''::text WHERE false"));
        }
        Ok(statements)
    };
    (first, Arc::new(then))
}

/// No row if there is none, or none any more.
pub fn get(id: TaskRef) -> Statement {
    let (column, value) = column_and_value(id);
    Statement::new(format!("SELECT task FROM miroir.tasks WHERE {column} = $1"), vec![value])
}

/// The tasks that rows of one column hold.
pub fn tasks(rows: &[Row]) -> Result<Vec<MiroirTask>, StoreError> {
    rows.iter().map(|row| read(row.get(0))).collect()
}

/// Reads what [`super::task_filter::list`] asks.
pub fn as_list(replies: &Replies, limit: u32) -> Result<TaskList, StoreError> {
    let [total, rows] = &replies[..] else { return Err(StoreError::Stopped) };
    let total: i64 = total.first().map_or(0, |row| row.get(0));
    let mut tasks = tasks(rows)?;
    let next = tasks.get(limit as usize).map(TaskKey::of);
    tasks.truncate(limit as usize);
    Ok(TaskList { total: u64::try_from(total).unwrap_or(0), tasks, next })
}

/// The uids of the tasks that meet the filter, oldest first.
pub fn uids(filter: &TaskFilter) -> Statement {
    let filter = Filter::of(filter);
    Statement::new(format!("SELECT uid FROM miroir.tasks WHERE {} ORDER BY uid", filter.met()), filter.values)
}

/// Oldest first.
pub fn unfinished() -> Statement {
    Statement::plain("SELECT task FROM miroir.tasks WHERE status IN ('enqueued', 'processing') ORDER BY uid")
}

/// Deletes the final ones among the tasks that meet the filter, [`DELETED_AT_ONCE`] at most; brings how many.
pub fn delete(filter: &TaskFilter) -> Statement {
    let filter = Filter::of(filter);
    deletion(&format!("{FINAL} AND {}", filter.met()), filter.values)
}

/// As [`delete`], of tasks that ended before `cutoff`.
pub fn purge(cutoff: OffsetDateTime) -> Statement {
    deletion(&format!("finished_at < $1 AND {FINAL}"), vec![nanos(cutoff).into()])
}

fn deletion(condition: &str, mut values: Vec<Value>) -> Statement {
    values.push(DELETED_AT_ONCE.into());
    let number = values.len();
    let sql = format!(
        "WITH deleted AS (DELETE FROM miroir.tasks WHERE uid = ANY(ARRAY(
             SELECT uid FROM miroir.tasks WHERE {condition} ORDER BY uid LIMIT ${number})) RETURNING 1)
         SELECT count(*) FROM deleted"
    );
    Statement::new(sql, values)
}

/// Forgets groups that have no task any more, as those of indexes that are gone.
pub fn forget_groups() -> [Statement; 2] {
    ["counts", "blocks"].map(|table| Statement::new(format!("DELETE FROM miroir.{table} WHERE n = 0"), Vec::new()))
}

/// No error where there is none.
pub fn remove(uid: u32) -> Statement {
    Statement::new("DELETE FROM miroir.tasks WHERE uid = $1", vec![i64::from(uid).into()])
}

/// How many there are of each status, and when the oldest open one came.
pub fn stats() -> Vec<Statement> {
    let count = |status: &TaskStatus| {
        let sql = "SELECT coalesce(sum(n), 0)::bigint FROM miroir.counts WHERE status = $1";
        Statement::new(sql, vec![status.as_str().into()])
    };
    let oldest = "SELECT min(enqueued_at) FROM miroir.tasks WHERE status IN ('enqueued', 'processing')";
    TaskStatus::ALL.iter().map(count).chain([Statement::plain(oldest)]).collect()
}

/// Reads what [`stats`] asks.
pub fn as_stats(replies: &Replies) -> TaskTableStats {
    let number = |rows: &Vec<Row>| rows.first().and_then(|row| row.get::<_, Option<i64>>(0));
    let by_status = TaskStatus::ALL
        .iter()
        .zip(replies)
        .map(|(status, rows)| (*status, number(rows).and_then(|count| u64::try_from(count).ok()).unwrap_or(0)))
        .collect();
    let nanos = replies.last().and_then(number);
    let oldest_unfinished = nanos.and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok());
    TaskTableStats { by_status, oldest_unfinished }
}

fn read(json: &str) -> Result<MiroirTask, StoreError> {
    serde_json::from_str(json).map_err(|source| StoreError::Corrupt { what: "task", source })
}
