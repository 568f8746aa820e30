//! A state on a PostgreSQL server as rows. Who reads or writes them leads meanwhile.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row as SqlRow;

use super::address::{Address, chain};
use super::claim::{Claim, MOVED, note_moved, too_few};
use super::link::Link;
use super::schema::EMPTY;
use super::seat::Seat;
use super::statement::{Statement, Value};
use super::{on_a_thread, prepare};
use crate::store::leadership::{Candidate, Leadership as _, WhenLed, WhenLost};
use crate::store::rows::{AT_ONCE, Cell, Kind, Row, Rows, Source, Table, Target};
use crate::store::{SHARDS, StoreError};

/// A transaction, in which all is read or written.
const BEGIN: &str = "SET LOCAL idle_in_transaction_session_timeout = '120s'";

/// The rows, and the right to change them.
pub struct ServerRows {
    link: Link,
    claim: Claim,
    seat: Arc<Seat>,
}

fn failed(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Postgres(chain(error))
}

fn candidate(when_lost: WhenLost) -> Candidate {
    Candidate {
        name: "miroir state move".to_owned(),
        url: None,
        alone: Duration::ZERO,
        when_led: WhenLed::Refuse,
        when_lost,
    }
}

// === impl ServerRows ===

impl ServerRows {
    /// The state that is there, as it is at this moment. Waits for the end of another's lease.
    pub async fn source(address: Address) -> Result<Self, StoreError> {
        let rows = Self::lead(address, WhenLost::Refuse).await?;
        rows.batch(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {BEGIN}")).await?;
        Ok(rows)
    }

    /// A state that is yet to be written: there is none, or one that was moved away. `None` where there is another.
    pub async fn target(address: Address) -> Result<Option<Self>, StoreError> {
        let when_lost = if was_moved(&address).await? { WhenLost::Empty } else { WhenLost::Refuse };
        let rows = Self::lead(address, when_lost).await?;
        rows.batch(&format!("BEGIN; {BEGIN}")).await?;
        let anything = Statement::new(
            "SELECT EXISTS (SELECT FROM miroir.tasks) OR EXISTS (SELECT FROM miroir.indexes)
                 OR EXISTS (SELECT FROM miroir.stale) OR EXISTS (SELECT FROM miroir.keys)
                 OR EXISTS (SELECT FROM miroir.ends) OR EXISTS (SELECT FROM miroir.meta WHERE name <> $1)",
            vec![SHARDS.into()],
        );
        if rows.run(&anything).await?.first().is_none_or(|row| row.get(0)) {
            return Ok(None);
        }
        rows.batch(EMPTY).await?;
        Ok(Some(rows))
    }

    async fn lead(address: Address, when_lost: WhenLost) -> Result<Self, StoreError> {
        let seat = Seat::take(address.clone(), &candidate(when_lost))?;
        let claim = seat.lead()?;
        let (claim, _) = on_a_thread(|| prepare(&address, claim, None, when_lost))?;
        let link = Link::connect(&address).await.map_err(StoreError::Away)?;
        claim.is_at(link.system.as_ref())?;
        Ok(Self { link, claim, seat })
    }

    async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.link.client.batch_execute(sql).await.map_err(|error| failed(&error))
    }

    async fn run(&self, statement: &Statement) -> Result<Vec<SqlRow>, StoreError> {
        statement.run(&self.link.client).await.map_err(|error| failed(&error))
    }
}

/// True where a state was that is somewhere else now.
async fn was_moved(address: &Address) -> Result<bool, StoreError> {
    let link = Link::connect(address).await.map_err(StoreError::Away)?;
    let there = Statement::plain("SELECT to_regclass('miroir.leader') IS NOT NULL");
    let is_there = there.run(&link.client).await.map_err(|error| failed(&error))?;
    if !is_there.first().is_some_and(|row| row.get(0)) {
        return Ok(false);
    }
    let lost = Statement::plain("SELECT lost FROM miroir.leader WHERE id = 1").run(&link.client).await;
    let lost = lost.map_err(|error| failed(&error))?;
    let why: Option<String> = lost.first().and_then(|row| row.get(0));
    Ok(why.is_some_and(|why| why.starts_with(MOVED)))
}

/// Texts are ordered by their bytes, as in a state file.
fn ordered((name, kind): &(&str, Kind)) -> String {
    match kind {
        Kind::Text => format!("{name} COLLATE \"C\""),
        Kind::Int | Kind::Bytes => (*name).to_owned(),
    }
}

fn value(kind: Kind, cell: &Cell) -> Value {
    match (kind, cell) {
        (_, Cell::Int(number)) => (*number).into(),
        (_, Cell::Text(text)) => text.as_str().into(),
        (_, Cell::Bytes(bytes)) => Value::Bytes(bytes.clone()),
        (Kind::Int, Cell::Null) => Value::MaybeInt(None),
        (Kind::Text | Kind::Bytes, Cell::Null) => Value::MaybeText(None),
    }
}

fn cell(kind: Kind, row: &SqlRow, column: usize) -> Cell {
    let found = match kind {
        Kind::Int => row.get::<_, Option<i64>>(column).map(Cell::Int),
        Kind::Text => row.get::<_, Option<String>>(column).map(Cell::Text),
        Kind::Bytes => row.get::<_, Option<Vec<u8>>>(column).map(Cell::Bytes),
    };
    found.unwrap_or(Cell::Null)
}

#[async_trait]
impl Rows for ServerRows {
    async fn page(&mut self, table: &'static Table, after: Option<&Row>) -> Result<Vec<Row>, StoreError> {
        let keys = table.keys().iter().map(ordered).collect::<Vec<_>>().join(", ");
        let places = (1..=table.key).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ");
        let later = if after.is_some() { format!("WHERE ({keys}) > ({places})") } else { String::new() };
        let sql =
            format!("SELECT {} FROM miroir.{} {later} ORDER BY {keys} LIMIT {AT_ONCE}", table.names(), table.name);
        let key = after.into_iter().flat_map(|row| row.iter().zip(table.keys()));
        let values = key.map(|(cell, (_, kind))| value(*kind, cell)).collect();
        let rows = self.run(&Statement::new(sql, values)).await?;
        let cells = |row: &SqlRow| -> Row {
            table.columns.iter().enumerate().map(|(column, (_, kind))| cell(*kind, row, column)).collect()
        };
        Ok(rows.iter().map(cells).collect())
    }

    async fn last_end(&mut self) -> Result<i64, StoreError> {
        let rows = self.run(&Statement::plain("SELECT place FROM miroir.last_end")).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }
}

#[async_trait]
impl Source for ServerRows {
    fn is_held(&self) -> bool {
        self.seat.trust().holds()
    }

    async fn retire(self: Box<Self>, to: &str) -> Result<String, StoreError> {
        self.batch("COMMIT").await?;
        self.seat.release();
        // Nobody has led since, or has it already.
        if self.run(&note_moved(to, self.claim.epoch)).await?.is_empty() {
            return Err(StoreError::Lost(
                self.claim.diagnose(&self.link.client).await.map_err(|error| failed(&error))?,
            ));
        }
        Ok("its rows are still in the schema `miroir`, marked as moved".to_owned())
    }
}

#[async_trait]
impl Target for ServerRows {
    async fn add(&mut self, table: &'static Table, rows: Vec<Row>) -> Result<(), StoreError> {
        let mut values = Vec::with_capacity(rows.len() * table.columns.len());
        let mut tuples = Vec::with_capacity(rows.len());
        for row in &rows {
            let places = row.iter().zip(table.columns).map(|(cell, (_, kind))| {
                values.push(value(*kind, cell));
                format!("${}", values.len())
            });
            tuples.push(format!("({})", places.collect::<Vec<_>>().join(", ")));
        }
        let sql = format!("INSERT INTO miroir.{} ({}) VALUES {}", table.name, table.names(), tuples.join(", "));
        self.run(&Statement::new(sql, values)).await.map(drop)
    }

    async fn set_last_end(&mut self, place: i64) -> Result<(), StoreError> {
        let set = Statement::new("UPDATE miroir.last_end SET place = $1", vec![place.into()]);
        self.run(&set).await.map(drop)
    }

    /// Fenced at the end and not at the beginning: the leader's row stays free for the renewals of the lease meanwhile.
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let counted = self.run(&self.claim.fence()).await?;
        match counted.first().map(|row| row.get::<_, i64>(0)) {
            Some(count) if count == self.claim.commits + 1 => self.batch("COMMIT").await,
            counted => {
                self.batch("ROLLBACK").await?;
                let loss = match counted {
                    Some(count) => too_few(count - 1, self.claim.commits),
                    None => self.claim.diagnose(&self.link.client).await.map_err(|error| failed(&error))?,
                };
                Err(StoreError::Lost(loss))
            }
        }
    }
}
