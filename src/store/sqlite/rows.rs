//! A state file as rows. Nobody else has it open meanwhile: a gateway that runs keeps it from being opened so, and the other way round.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};
use time::OffsetDateTime;

use super::{ends, make_folder, schema};
use crate::store::StoreError;
use crate::store::rows::{AT_ONCE, Cell, Row, Rows, Source, Table, Target};

/// A state file that is there.
pub struct FileSource(File);

/// One that is to be, under another name until it is whole.
pub struct FileTarget {
    file: File,
    /// The name that it gets.
    path: PathBuf,
}

struct File {
    connection: Connection,
    path: PathBuf,
}

/// Why a state file cannot be had.
pub enum NoFile {
    Missing,
    InUse,
    Failed(StoreError),
}

// === impl File ===

impl File {
    /// Opens a file for this process alone.
    fn open(path: &Path, flags: OpenFlags) -> Result<Self, NoFile> {
        let shown = path.display().to_string();
        let opening = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => NoFile::InUse,
            _ => NoFile::Failed(StoreError::Open { path: shown.clone(), source }),
        };
        let mut connection = Connection::open_with_flags(path, flags).map_err(opening)?;
        // Before the file is first looked at: then the lock on it is taken at once, and kept.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(opening)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(opening)?;
        connection.execute_batch("BEGIN EXCLUSIVE; COMMIT").map_err(opening)?;
        schema::prepare(&mut connection, None).map_err(NoFile::Failed)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    fn page(&self, table: &Table, after: Option<&Row>) -> Result<Vec<Row>, StoreError> {
        let keys = table.keys().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let places = vec!["?"; table.key].join(", ");
        let later = if after.is_some() { format!("WHERE ({keys}) > ({places})") } else { String::new() };
        let sql = format!("SELECT {} FROM {} {later} ORDER BY {keys} LIMIT {AT_ONCE}", table.names(), table.name);
        let mut select = self.connection.prepare_cached(&sql)?;
        let key = after.into_iter().flat_map(|row| &row[..table.key]);
        let mut found = select.query(params_from_iter(key))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let cells = (0..table.columns.len()).map(|column| row.get::<_, Value>(column).map(Cell::from));
            rows.push(cells.collect::<Result<Row, rusqlite::Error>>()?);
        }
        Ok(rows)
    }

    fn last_end(&self) -> Result<i64, StoreError> {
        Ok(i64::try_from(ends::last(&self.connection)?).unwrap_or(i64::MAX))
    }

    /// Gives the file another name, with nothing left in files beside it. It is on the disk then.
    fn rename(self, to: &Path) -> Result<(), StoreError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| StoreError::Folder { path, source }
        };
        // Until then the lock is kept.
        let _: String = self.connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
        std::fs::rename(&self.path, to).map_err(failed(to))?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
    }
}

// === impl Cell ===

impl From<Value> for Cell {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::Int(number),
            // No column holds one.
            Value::Real(number) => Self::Text(number.to_string()),
            Value::Text(text) => Self::Text(text),
            Value::Blob(bytes) => Self::Bytes(bytes),
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

// === impl FileSource ===

impl FileSource {
    /// A file that no gateway has open.
    pub fn open(path: &str) -> Result<Self, NoFile> {
        let path = Path::new(path);
        if !path.exists() {
            return Err(NoFile::Missing);
        }
        File::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX).map(Self)
    }
}

#[async_trait]
impl Rows for FileSource {
    async fn page(&mut self, table: &'static Table, after: Option<&Row>) -> Result<Vec<Row>, StoreError> {
        self.0.page(table, after)
    }

    async fn last_end(&mut self) -> Result<i64, StoreError> {
        self.0.last_end()
    }
}

#[async_trait]
impl Source for FileSource {
    fn is_held(&self) -> bool {
        true
    }

    async fn retire(self: Box<Self>, _to: &str) -> Result<String, StoreError> {
        let Self(file) = *self;
        let left = format!("{}.moved-{}", file.path.display(), OffsetDateTime::now_utc().unix_timestamp());
        file.rename(Path::new(&left))?;
        Ok(left)
    }
}

// === impl FileTarget ===

impl FileTarget {
    /// `None` where there is a file already.
    pub fn create(path: &str) -> Result<Option<Self>, NoFile> {
        let target = Path::new(path);
        // Changes that lie beside it belong to what was there.
        if target.exists() || Path::new(&format!("{path}-wal")).exists() {
            return Ok(None);
        }
        make_folder(path).map_err(NoFile::Failed)?;
        let begun = format!("{path}.moving");
        // What an interrupted move has left.
        let _ = std::fs::remove_file(&begun);
        let file = File::open(Path::new(&begun), OpenFlags::default())?;
        let empty = file.connection.execute_batch("BEGIN IMMEDIATE; DELETE FROM meta");
        empty.map_err(|error| NoFile::Failed(error.into()))?;
        Ok(Some(Self { file, path: target.to_owned() }))
    }
}

#[async_trait]
impl Rows for FileTarget {
    async fn page(&mut self, table: &'static Table, after: Option<&Row>) -> Result<Vec<Row>, StoreError> {
        self.file.page(table, after)
    }

    async fn last_end(&mut self) -> Result<i64, StoreError> {
        self.file.last_end()
    }
}

#[async_trait]
impl Target for FileTarget {
    async fn add(&mut self, table: &'static Table, rows: Vec<Row>) -> Result<(), StoreError> {
        let places = vec!["?"; table.columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.name, table.names());
        let mut insert = self.file.connection.prepare_cached(&sql)?;
        for row in &rows {
            insert.execute(params_from_iter(row))?;
        }
        Ok(())
    }

    async fn set_last_end(&mut self, place: i64) -> Result<(), StoreError> {
        self.file.connection.execute("DELETE FROM sqlite_sequence WHERE name = 'ends'", [])?;
        self.file.connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('ends', ?)", [place])?;
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let Self { file, path } = *self;
        file.connection.execute_batch("COMMIT")?;
        file.rename(&path)
    }
}
