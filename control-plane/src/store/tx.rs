//! One way to speak to both databases: the same SQL text with `$1` placeholders, values of three kinds, and rows that
//! are read strictly. The only file that knows both drivers' row and argument types.

use std::fmt;
use std::str::FromStr;

use grantmesh_shared::time::{Span, Timestamp};
use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{ColumnIndex, Row as _, SqlSafeStr, Transaction};

use super::StoreError;

/// A transaction. Rolls back when it is dropped.
pub(crate) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "Tx::Sqlite",
            Self::Postgres(_) => "Tx::Postgres",
        })
    }
}

/// A value for a placeholder. `None` is NULL, still of its type, which PostgreSQL needs to know.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        // Nothing of ours counts that far; a comparison with the end of the range is still right.
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<Option<u64>> for Value {
    fn from(value: Option<u64>) -> Self {
        value.map_or(Self::Int(None), Self::from)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.millis()))
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::millis))
    }
}

impl From<Span> for Value {
    fn from(value: Span) -> Self {
        Self::from(value.millis())
    }
}

impl From<Option<Span>> for Value {
    fn from(value: Option<Span>) -> Self {
        value.map_or(Self::Int(None), Self::from)
    }
}

impl From<Option<u32>> for Value {
    fn from(value: Option<u32>) -> Self {
        Self::Int(value.map(i64::from))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

/// The values of a statement, in the order of its placeholders.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::tx::Value::from($value)),*] };
}
pub(crate) use args;

macro_rules! bound {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $args {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

impl Tx {
    /// Whether this is SQLite.
    pub(super) const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Runs a statement; gives how many rows it touched.
    pub(crate) async fn execute(&mut self, sql: impl SqlSafeStr, args: Vec<Value>) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => bound!(sql, args).execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx) => bound!(sql, args).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs a guarded write of one row.
    ///
    /// # Errors
    /// `Moved` unless it touched exactly one row.
    pub(crate) async fn execute_one(
        &mut self,
        table: &'static str,
        row: &str,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<(), StoreError> {
        match self.execute(sql, args).await? {
            1 => Ok(()),
            _ => Err(StoreError::Moved { table, row: row.to_owned() }),
        }
    }

    /// Reads rows of a table; `key` is the column that names a row in errors.
    pub(crate) async fn rows(
        &mut self,
        (table, key): (&'static str, &'static str),
        sql: impl SqlSafeStr,
        args: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let row = |cells| Row { cells, table, key };
        Ok(match self {
            Self::Sqlite(tx) => {
                let rows = bound!(sql, args).fetch_all(&mut **tx).await?;
                rows.into_iter().map(|cells| row(Cells::Sqlite(cells))).collect()
            }
            Self::Postgres(tx) => {
                let rows = bound!(sql, args).fetch_all(&mut **tx).await?;
                rows.into_iter().map(|cells| row(Cells::Postgres(cells))).collect()
            }
        })
    }

    /// Reads at most one row.
    pub(crate) async fn row(
        &mut self,
        of: (&'static str, &'static str),
        sql: impl SqlSafeStr,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(of, sql, args).await?.into_iter().next())
    }

    /// Inserts many rows with as few statements as the databases take. `insert` ends before `VALUES`.
    pub(crate) async fn insert_many(
        &mut self,
        insert: &str,
        columns: usize,
        rows: Vec<Value>,
    ) -> Result<(), StoreError> {
        /// Well below both databases' limit of placeholders.
        const MOST: usize = 4_000;
        let mut rows = rows.into_iter();
        loop {
            let part: Vec<Value> = rows.by_ref().take(MOST / columns.max(1) * columns).collect();
            if part.is_empty() {
                return Ok(());
            }
            let tuple = |row: usize| {
                let places: Vec<String> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
                format!("({})", places.join(", "))
            };
            let tuples: Vec<String> = (0..part.len() / columns.max(1)).map(tuple).collect();
            let sql = format!("{insert} VALUES {}", tuples.join(", "));
            self.execute(sqlx::AssertSqlSafe(sql), part).await?;
        }
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

enum Cells {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A row that was read. Every accessor's error names table, column and row.
pub(crate) struct Row {
    cells: Cells,
    table: &'static str,
    key: &'static str,
}

impl Row {
    fn get<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: for<'r> sqlx::Decode<'r, Sqlite>
            + sqlx::Type<Sqlite>
            + for<'r> sqlx::Decode<'r, Postgres>
            + sqlx::Type<Postgres>,
        &'static str: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        let got = match &self.cells {
            Cells::Sqlite(row) => row.try_get(column),
            Cells::Postgres(row) => row.try_get(column),
        };
        got.map_err(|error| self.bad(column, error))
    }

    /// The error for a column that no code of ours writes like this.
    pub(crate) fn bad(&self, column: &'static str, why: impl fmt::Display) -> StoreError {
        let row = match &self.cells {
            Cells::Sqlite(row) => row
                .try_get::<String, _>(self.key)
                .or_else(|_| row.try_get::<i64, _>(self.key).map(|key| key.to_string())),
            Cells::Postgres(row) => row
                .try_get::<String, _>(self.key)
                .or_else(|_| row.try_get::<i64, _>(self.key).map(|key| key.to_string())),
        };
        StoreError::Impossible { table: self.table, column, row: row.unwrap_or_default(), why: why.to_string() }
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.get(column)
    }

    pub(crate) fn opt_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.get(column)
    }

    pub(crate) fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        self.get(column)
    }

    pub(crate) fn hash(&self, column: &'static str) -> Result<[u8; 32], StoreError> {
        self.bytes(column)?.try_into().map_err(|_| self.bad(column, "it is not 32 bytes"))
    }

    pub(crate) fn unsigned<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, StoreError> {
        let value: i64 = self.get(column)?;
        T::try_from(value).map_err(|_| self.bad(column, format!("`{value}` is out of range")))
    }

    pub(crate) fn opt_unsigned<T: TryFrom<i64>>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let value: Option<i64> = self.get(column)?;
        let read = |value| T::try_from(value).map_err(|_| self.bad(column, format!("`{value}` is out of range")));
        value.map(read).transpose()
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.get(column).map(Timestamp::from_millis)
    }

    pub(crate) fn opt_time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }

    pub(crate) fn span(&self, column: &'static str) -> Result<Span, StoreError> {
        self.unsigned(column).map(Span::from_millis)
    }

    pub(crate) fn opt_span(&self, column: &'static str) -> Result<Option<Span>, StoreError> {
        let value: Option<i64> = self.get(column)?;
        let read = |value| u64::try_from(value).map(Span::from_millis).map_err(|_| self.bad(column, "it is negative"));
        value.map(read).transpose()
    }

    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|error| self.bad(column, error))
    }

    pub(crate) fn opt_parsed<T: FromStr<Err: fmt::Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let text = self.opt_text(column)?;
        text.map(|text| text.parse().map_err(|error| self.bad(column, error))).transpose()
    }

    pub(crate) fn opt_json<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let text = self.opt_text(column)?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| self.bad(column, error))).transpose()
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|error| self.bad(column, error))
    }
}
