//! A statement with its values, as it is kept until it is committed: a connection that breaks costs a second try, not an answer.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

/// A value of a statement.
#[derive(Debug, Clone)]
pub enum Value {
    Int(i64),
    MaybeInt(Option<i64>),
    Bool(bool),
    Text(String),
    MaybeText(Option<String>),
    Bytes(Vec<u8>),
    /// Lists go in as one value: their length has no bound.
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Blobs(Vec<Vec<u8>>),
}

/// SQL with `$1`, `$2` and so on.
#[derive(Debug, Clone)]
pub struct Statement {
    sql: String,
    values: Vec<Value>,
}

/// What each of some statements brought.
pub type Replies = Vec<Vec<Row>>;

// === impl Value ===

impl Value {
    /// Texts to compare with. PostgreSQL's texts hold no zero, so one with a zero is equal to none.
    pub fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        Self::Texts(texts.filter(|text| !text.contains('\0')).map(str::to_owned).collect())
    }

    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Int(value) => (value, Type::INT8),
            Self::MaybeInt(value) => (value, Type::INT8),
            Self::Bool(value) => (value, Type::BOOL),
            Self::Text(value) => (value, Type::TEXT),
            Self::MaybeText(value) => (value, Type::TEXT),
            Self::Bytes(value) => (value, Type::BYTEA),
            Self::Ints(value) => (value, Type::INT8_ARRAY),
            Self::Texts(value) => (value, Type::TEXT_ARRAY),
            Self::Blobs(value) => (value, Type::BYTEA_ARRAY),
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

// === impl Statement ===

impl Statement {
    /// `values` stand where `sql` says `$1`, `$2` and so on.
    pub fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self { sql: sql.into(), values }
    }

    /// One that has no values.
    pub fn plain(sql: &str) -> Self {
        Self::new(sql, Vec::new())
    }

    /// Sent at the first poll, so what is polled in order is carried out in order without waiting for answers. No name is given
    /// to it at the server: behind a pooler the next transaction may be another connection's.
    pub async fn run(&self, client: &Client) -> Result<Vec<Row>, tokio_postgres::Error> {
        let values: Vec<_> = self.values.iter().map(Value::typed).collect();
        client.query_typed(&self.sql, &values).await
    }
}
