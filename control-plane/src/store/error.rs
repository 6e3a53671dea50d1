//! Why the store failed.

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a database that we know.
    #[error("`{0}` is not a database\nwrite `sqlite:PATH` or `postgres://USER@HOST/NAME`")]
    Url(String),
    /// The database cannot be opened.
    #[error(
        "the database cannot be opened\ncheck that it runs, that its folder is there, and that you may write to it"
    )]
    Open(#[source] sqlx::Error),
    /// A statement failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The schema cannot be brought up to date.
    #[error("the database's schema cannot be brought up to date\nis it a newer version's?")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// SQLite before 3.51.3 can corrupt a WAL database under concurrent checkpoints.
    #[error("SQLite {0} is too old: 3.51.3 is needed\nuse the build that comes with its own SQLite")]
    SqliteTooOld(String),
    /// A row that no code of ours writes.
    #[error("the row `{row}` of the table `{table}` is impossible in its column `{column}`: {why}")]
    Impossible {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        row: String,
        /// What is wrong.
        why: String,
    },
    /// A guarded write met another state than it expected.
    #[error("the row `{row}` of the table `{table}` was changed by someone else\nlook at it again")]
    Moved {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
    },
    /// A transaction that changed something and logged nothing.
    #[error("a change without an audit entry was refused")]
    Unlogged,
    /// The log refused an entry, or is not what the head says.
    #[error(transparent)]
    Audit(#[from] crate::audit::AuditError),
}
