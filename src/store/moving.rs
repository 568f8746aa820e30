//! A state is moved from one store to another: row by row, compared before it counts, and never served at both.

use sha2::{Digest as _, Sha256};

use super::StoreError;
use super::open::Place;
use super::rows::{AT_ONCE, Cell, Row, Rows, TABLES, Table};

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub summary: Summary,
    /// Where what was moved away is left.
    pub left: String,
}

/// What a state holds, in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many rows each table has.
    pub counts: Vec<(&'static str, u64)>,
    /// Of every value of every row, in hexadecimal.
    pub digest: String,
}

/// Why nothing was moved, or not all is done.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{place} holds a state already: nothing was moved")]
    Occupied { place: String },
    #[error("there is no state at {place}")]
    Missing { place: String },
    #[error("{place} is in use: stop its gateway first")]
    InUse { place: String },
    #[error("another gateway may have changed the state meanwhile: nothing was moved")]
    NotHeld,
    #[error("what was written is not what was read ({read:?}, then {written:?}): nothing was moved")]
    Unequal { read: Summary, written: Summary },
    #[error(
        "{to} has the state now, but it could not be taken away from {from} ({source}): no gateway may use that any more"
    )]
    NotRetired { from: String, to: String, source: Box<StoreError> },
}

/// Sums a state up as its rows go by.
struct Tally {
    counts: Vec<(&'static str, u64)>,
    digest: Sha256,
}

/// Moves the state that `from` names to where `to` names none yet. Neither may be in use, and whoever holds the lease of one is
/// waited for. Where this fails nothing was moved, unless the error says otherwise.
pub async fn move_state(from: Place<'_>, to: Place<'_>) -> Result<Moved, MoveError> {
    let mut source = from.source().await?;
    let mut target = to.target().await?;
    let mut tally = Tally::default();
    for table in TABLES {
        tally.begin(table);
        let mut after = None;
        loop {
            let rows = source.page(table, after.as_ref()).await?;
            tally.add(&rows);
            let Some(last) = rows.last().cloned() else { break };
            let is_last = rows.len() < AT_ONCE as usize;
            target.add(table, rows).await?;
            if is_last {
                break;
            }
            after = Some(last);
        }
    }
    let place = source.last_end().await?;
    target.set_last_end(place).await?;
    let (read, written) = (tally.end(place), summary(target.as_mut()).await?);
    if read != written {
        return Err(MoveError::Unequal { read, written });
    }
    if !source.is_held() {
        return Err(MoveError::NotHeld);
    }
    target.commit().await?;
    let left = source.retire(to.state).await.map_err(|source| MoveError::NotRetired {
        from: from.state.to_owned(),
        to: to.state.to_owned(),
        source: Box::new(source),
    })?;
    Ok(Moved { summary: read, left })
}

/// What a state holds.
pub async fn summary(rows: &mut (impl Rows + ?Sized)) -> Result<Summary, StoreError> {
    let mut tally = Tally::default();
    for table in TABLES {
        tally.begin(table);
        let mut after: Option<Row> = None;
        loop {
            let page = rows.page(table, after.as_ref()).await?;
            tally.add(&page);
            if page.len() < AT_ONCE as usize {
                break;
            }
            after = page.into_iter().next_back();
        }
    }
    Ok(tally.end(rows.last_end().await?))
}

// === impl Tally ===

impl Default for Tally {
    fn default() -> Self {
        Self { counts: Vec::new(), digest: Sha256::new() }
    }
}

impl Tally {
    fn begin(&mut self, table: &Table) {
        self.value(b't', table.name.as_bytes());
        self.counts.push((table.name, 0));
    }

    fn add(&mut self, rows: &[Row]) {
        if let Some((_, count)) = self.counts.last_mut() {
            *count += rows.len() as u64;
        }
        for cell in rows.iter().flatten() {
            match cell {
                Cell::Null => self.value(b'0', b""),
                Cell::Int(number) => self.value(b'i', &number.to_be_bytes()),
                Cell::Text(text) => self.value(b's', text.as_bytes()),
                Cell::Bytes(bytes) => self.value(b'b', bytes),
            }
        }
    }

    /// Its kind and length go before a value, so that no two states have the same bytes.
    fn value(&mut self, kind: u8, bytes: &[u8]) {
        self.digest.update([kind]);
        self.digest.update((bytes.len() as u64).to_be_bytes());
        self.digest.update(bytes);
    }

    fn end(mut self, last_end: i64) -> Summary {
        self.value(b'l', &last_end.to_be_bytes());
        let digest = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Summary { counts: self.counts, digest }
    }
}
