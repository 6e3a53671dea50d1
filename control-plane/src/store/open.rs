//! Opening either database: what must hold of a connection before it is used.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, Row as _};

use super::StoreError;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The oldest SQLite whose WAL is sound with several connections.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How long a write waits for another one.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Connections of one database.
#[derive(Debug, Clone)]
pub(super) enum Pools {
    /// One writer, so that writes queue in this process instead of meeting in the file; readers never wait for it.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

/// Whether the database is to be used, or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Made if it is not there, and brought up to date.
    Use,
    /// Nothing is made or written.
    Look,
}

impl Pools {
    pub(super) async fn open(database: &str, mode: Mode) -> Result<Self, StoreError> {
        if let Some(path) = database.strip_prefix("sqlite:") {
            return sqlite(path.strip_prefix("//").unwrap_or(path), mode).await;
        }
        if database.starts_with("postgres://") || database.starts_with("postgresql://") {
            return postgres(database, mode).await;
        }
        Err(StoreError::Url(without_password(database)))
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A URL for an error message: what stands before `@` may be a secret.
fn without_password(database: &str) -> String {
    let shown = database.rsplit_once('@').map_or(database, |(_, rest)| rest);
    shown.chars().take(128).collect()
}

async fn sqlite(path: &str, mode: Mode) -> Result<Pools, StoreError> {
    if path.is_empty() || path.starts_with(":memory:") {
        return Err(StoreError::Url(format!("sqlite:{path}")));
    }
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(LOCK_WAIT);
    let writing = match mode {
        Mode::Use => options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full),
        Mode::Look => options.clone().pragma("query_only", "on"),
    };
    // Before anything is written by one that would spoil it.
    let mut bare = SqliteConnection::connect("sqlite::memory:").await.map_err(StoreError::Open)?;
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut bare).await?;
    if !recent_enough(&version) {
        return Err(StoreError::SqliteTooOld(version));
    }
    if mode == Mode::Use {
        migrate(&writing).await?;
    }
    let pool = || SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None).acquire_timeout(LOCK_WAIT * 2);
    let writer = pool().max_connections(1).connect_with(writing).await.map_err(StoreError::Open)?;
    let reading = options.pragma("query_only", "on");
    let readers = pool().max_connections(4).connect_with(reading).await.map_err(StoreError::Open)?;
    Ok(Pools::Sqlite { writer, readers })
}

/// Brings the schema up to date. A table that is made anew is referred to by others meanwhile, so references are looked at
/// when all is done, as SQLite's own documentation has it.
async fn migrate(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let options = options.clone().foreign_keys(false);
    let only = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(StoreError::Open)?;
    let before = steps(&only).await;
    SQLITE_MIGRATIONS.run(&only).await?;
    // It reads every row, so only where something was made anew.
    let broken = if before == steps(&only).await {
        None
    } else {
        sqlx::query("PRAGMA foreign_key_check").fetch_optional(&only).await?
    };
    only.close().await;
    match broken {
        None => Ok(()),
        Some(row) => {
            let (table, refers_to): (String, String) = (row.try_get(0)?, row.try_get(2)?);
            let why = format!("a row of it refers to one of `{refers_to}` that is not there");
            Err(StoreError::Impossible { table: "schema", column: "references", row: table, why })
        }
    }
}

/// How many steps the schema has taken; none where there is no schema yet.
async fn steps(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations").fetch_one(pool).await.unwrap_or(0)
}

fn recent_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= OLDEST_SQLITE
}

async fn postgres(url: &str, mode: Mode) -> Result<Pools, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(StoreError::Open)?.application_name("grantmesh").options([
        // Stated, so that no server's own default can lose an acknowledged commit or let a write hang.
        ("synchronous_commit", "on"),
        ("lock_timeout", &LOCK_WAIT.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", "60000"),
    ]);
    let pool = PgPoolOptions::new().max_connections(12).acquire_timeout(LOCK_WAIT * 2);
    let pool = pool.connect_with(options).await.map_err(StoreError::Open)?;
    if mode == Mode::Use {
        POSTGRES_MIGRATIONS.run(&pool).await?;
    }
    Ok(Pools::Postgres(pool))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, fine) in
            [("3.51.3", true), ("3.100.0", true), ("4.0", true), ("3.51.2", false), ("3.6.23", false), ("", false)]
        {
            assert_eq!(recent_enough(version), fine, "{version}");
        }
    }

    #[tokio::test]
    async fn looking_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing.db");
        let url = format!("sqlite:{}", path.display());
        assert!(matches!(Pools::open(&url, Mode::Look).await, Err(StoreError::Open(_))));
        assert!(!path.exists());
        for url in ["sqlite:", "sqlite::memory:", "mysql://host/db", "grantmesh.db"] {
            assert!(matches!(Pools::open(url, Mode::Use).await, Err(StoreError::Url(_))), "{url}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(without_password("mysql://bob:secret@host/db"), "host/db");
    }
}
