//! A history that is begun anew: the database was restored from a backup, and somebody says to go on from what it has.

use grantmesh_shared::time::Timestamp;
use serde::Serialize;

use super::{App, AppError, Head};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind, LogHash};
use crate::domain::Text;

#[derive(Serialize)]
struct BegunData<'a> {
    epoch: u64,
    before_epoch: u64,
    before_revision: u64,
    before_log_size: u64,
    /// The latest time that was told before: later than the entry's own where time goes back with it.
    before_told_at: Timestamp,
    before_log_root: String,
    reason: &'a Text,
}

impl App {
    /// Begins a new epoch, later than the database's and than `known`, the last that was served. Filters refuse what is
    /// not after what they know; under a later epoch they take everything anew.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn begin_epoch(&self, reason: &Text, known: Option<u64>) -> Result<Head, AppError> {
        let mut tx = self.write().await?;
        let Head { position, log_size, log_root: LogHash(root), told_at, .. } = *tx.before();
        let last = known.unwrap_or(0).max(position.epoch);
        let epoch = last.saturating_add(1).max(millis(tx.now()));
        tx.begin_epoch(epoch, reason.as_str()).await?;
        let data = BegunData {
            epoch,
            before_epoch: position.epoch,
            before_revision: position.revision,
            before_log_size: log_size,
            before_told_at: told_at,
            before_log_root: LogHash(root).to_string(),
            reason,
        };
        tx.log(&Entry { kind: EntryKind::EpochBegun, actor: ActorField::System, ids: EntryIds::default(), data })?;
        Ok(tx.commit().await?)
    }
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.millis()).unwrap_or(0)
}
