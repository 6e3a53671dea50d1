//! The head row: read by everyone, locked first and moved last by every write.

use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::Position;

use super::StoreError;
use super::tx::{Row, Tx, args};
use crate::audit::LogHash;

/// The one row that every commit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Epoch and revision.
    pub position: Position,
    /// How many entries the log has.
    pub log_size: u64,
    /// The log's root.
    pub log_root: LogHash,
    /// A delta from before this revision is not complete any more.
    pub delta_floor: u64,
    /// When the last commit was, by the clock of whoever made it.
    pub told_at: Timestamp,
}

impl Head {
    /// Whether this head is of a later commit. Every commit grows the log, so its size orders them.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        (self.position.epoch, self.log_size) > (other.position.epoch, other.log_size)
    }
}

const TABLE: (&str, &str) = ("head", "one");

impl TryFrom<Row> for Head {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            position: Position { epoch: row.unsigned("epoch")?, revision: row.unsigned("revision")? },
            log_size: row.unsigned("log_size")?,
            log_root: LogHash(row.hash("log_root")?),
            delta_floor: row.unsigned("delta_floor")?,
            told_at: row.time("told_at")?,
        })
    }
}

impl Tx {
    /// The head as this transaction sees it.
    pub(crate) async fn head(&mut self) -> Result<Head, StoreError> {
        let sql = "SELECT one, epoch, revision, log_size, log_root, delta_floor, told_at FROM head WHERE one = 1";
        self.row(TABLE, sql, args![]).await?.ok_or_else(missing)?.try_into()
    }

    /// The head, which nobody else can move until this transaction ends.
    pub(super) async fn lock_head(&mut self) -> Result<Head, StoreError> {
        match self {
            // `BEGIN IMMEDIATE` has locked the whole database already.
            Self::Sqlite(_) => self.head().await,
            Self::Postgres(_) => {
                let sql = "SELECT one, epoch, revision, log_size, log_root, delta_floor, told_at FROM head WHERE one = 1 FOR UPDATE";
                self.row(TABLE, sql, args![]).await?.ok_or_else(missing)?.try_into()
            }
        }
    }

    /// Makes the head of a new database; the epoch is the time, so that a history that is begun anew is later than any before.
    pub(super) async fn make_head(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO head (one, epoch, revision, log_size, log_root, delta_floor) VALUES (1, $1, 0, 0, $2, 0) \
                   ON CONFLICT (one) DO NOTHING";
        let epoch = u64::try_from(now.millis()).unwrap_or(0);
        self.execute(sql, args![epoch, LogHash::EMPTY.0.to_vec()]).await.map(drop)
    }

    /// Moves the head on, from exactly where it was.
    pub(super) async fn move_head(&mut self, from: &Head, to: &Head) -> Result<(), StoreError> {
        let sql = "UPDATE head SET revision = $1, log_size = $2, log_root = $3, delta_floor = $4, epoch = $8, told_at = $9 \
                   WHERE one = 1 AND epoch = $5 AND revision = $6 AND log_size = $7";
        let values = args![
            to.position.revision,
            to.log_size,
            to.log_root.0.to_vec(),
            to.delta_floor,
            from.position.epoch,
            from.position.revision,
            from.log_size,
            to.position.epoch,
            to.told_at,
        ];
        self.execute_one("head", "1", sql, values).await
    }
}

fn missing() -> StoreError {
    StoreError::Impossible { table: "head", column: "one", row: "1".to_owned(), why: "there is no row".to_owned() }
}
