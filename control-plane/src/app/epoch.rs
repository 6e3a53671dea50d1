//! A history that is begun anew: the database was restored from a backup, and somebody says to go on from what it has.

use grantmesh_shared::time::{Span, Timestamp};
use serde::Serialize;

use super::{App, AppError, Head};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
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

/// A history that was begun anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochBegun {
    /// Where the one before had come to, as the database had it.
    pub before: Head,
    /// Where this one begins.
    pub head: Head,
}

impl EpochBegun {
    /// How far the time that is told goes back with it, if it does.
    #[must_use]
    pub fn time_goes_back(&self) -> Option<Span> {
        Some(self.before.told_at.since(self.head.told_at)).filter(|back| *back > Span::default())
    }
}

impl App {
    /// Begins a new epoch, later than the database's and than `known`, the last that was served. Filters refuse what is
    /// not after what they know; under a later epoch they take everything anew.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn begin_epoch(&self, reason: &Text, known: Option<u64>) -> Result<EpochBegun, AppError> {
        let mut tx = self.write().await?;
        let before = *tx.before();
        let last = known.unwrap_or(0).max(before.position.epoch);
        let epoch = last.saturating_add(1).max(millis(tx.now()));
        tx.begin_epoch(epoch, reason.as_str()).await?;
        let data = BegunData {
            epoch,
            before_epoch: before.position.epoch,
            before_revision: before.position.revision,
            before_log_size: before.log_size,
            before_told_at: before.told_at,
            before_log_root: before.log_root.to_string(),
            reason,
        };
        tx.log(&Entry { kind: EntryKind::EpochBegun, actor: ActorField::System, ids: EntryIds::default(), data })?;
        Ok(EpochBegun { before, head: tx.commit().await? })
    }
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.millis()).unwrap_or(0)
}
