//! All that a state holds, as rows: what a move from one store to another reads and writes. Both kinds of stores have the same
//! tables, with the same values in them.

use async_trait::async_trait;

use super::StoreError;

/// So many rows are read and written at once.
pub const AT_ONCE: u32 = 500;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Text,
    Bytes,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The values of [`Table::columns`], in their order.
pub type Row = Vec<Cell>;

/// A table that is moved.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Kind)],
    /// So many of the first columns tell each row from the others.
    pub key: usize,
}

/// Every table of a state, but who leads and the counts that a server keeps of its tasks.
pub const TABLES: &[Table] = &[
    Table { name: "meta", columns: &[("name", Kind::Text), ("value", Kind::Text)], key: 1 },
    Table {
        name: "tasks",
        columns: &[
            ("uid", Kind::Int),
            ("uuid", Kind::Bytes),
            ("kind", Kind::Text),
            ("status", Kind::Text),
            ("index_uid", Kind::Text),
            ("enqueued_at", Kind::Int),
            ("started_at", Kind::Int),
            ("finished_at", Kind::Int),
            ("canceled_by", Kind::Int),
            ("task", Kind::Text),
        ],
        key: 1,
    },
    Table { name: "indexes", columns: &[("uid", Kind::Text), ("entry", Kind::Text)], key: 1 },
    Table {
        name: "stale",
        columns: &[("node", Kind::Text), ("index_uid", Kind::Text), ("shards", Kind::Text)],
        key: 2,
    },
    Table { name: "keys", columns: &[("uid", Kind::Bytes), ("key", Kind::Text)], key: 1 },
    Table { name: "ends", columns: &[("place", Kind::Int), ("task", Kind::Text)], key: 1 },
];

/// The rows of a state, of which nobody else changes any meanwhile.
#[async_trait]
pub trait Rows: Send {
    /// The first [`AT_ONCE`] rows after `after`, in the order of their keys.
    async fn page(&mut self, table: &'static Table, after: Option<&Row>) -> Result<Vec<Row>, StoreError>;
    /// The place of the last end that was kept, be it forgotten since.
    async fn last_end(&mut self) -> Result<i64, StoreError>;
}

/// A state that is moved away.
#[async_trait]
pub trait Source: Rows {
    /// False when another gateway may have changed it since it was opened.
    fn is_held(&self) -> bool;
    /// Sees to it that no gateway serves by it any more; says where it is left.
    async fn retire(self: Box<Self>, to: &str) -> Result<String, StoreError>;
}

/// An empty state. Nothing of what is put there is to be seen before it is committed.
#[async_trait]
pub trait Target: Rows {
    async fn add(&mut self, table: &'static Table, rows: Vec<Row>) -> Result<(), StoreError>;
    async fn set_last_end(&mut self, place: i64) -> Result<(), StoreError>;
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

// === impl Table ===

impl Table {
    /// The names of all columns, with commas.
    pub fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// The columns of the key.
    pub fn keys(&self) -> &'static [(&'static str, Kind)] {
        &self.columns[..self.key]
    }
}
