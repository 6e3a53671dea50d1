//! A write: holds the head from its first statement to its commit, and cannot change anything without logging it.

use std::ops::{Deref, DerefMut};

use grantmesh_shared::time::Timestamp;
use serde::Serialize;

use super::log::{StoredEntry, StoredHash};
use super::tx::{Tx, args};
use super::{Head, Store, StoreError};
use crate::audit::{Entry, Frontier, LogHash};

/// A write transaction. Whatever it changes has the revision [`WriteTx::revision`]. Rolls back when it is dropped.
#[derive(Debug)]
pub(crate) struct WriteTx {
    tx: Tx,
    store: Store,
    before: Head,
    frontier: Frontier,
    entries: Vec<StoredEntry>,
    hashes: Vec<StoredHash>,
    /// Something that filters or people can see was changed.
    changed: bool,
    /// The epoch that begins with this transaction, if one does.
    epoch: Option<u64>,
    now: Timestamp,
}

impl Deref for WriteTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for WriteTx {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

impl WriteTx {
    pub(super) fn new(tx: Tx, store: Store, before: Head, frontier: Frontier, now: Timestamp) -> Self {
        Self { tx, store, before, frontier, entries: Vec::new(), hashes: Vec::new(), changed: false, epoch: None, now }
    }

    /// The time of this transaction, read while it held the head.
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// The head before this transaction.
    pub(crate) const fn before(&self) -> &Head {
        &self.before
    }

    /// The revision of everything that this transaction changes.
    pub(crate) const fn revision(&self) -> u64 {
        self.before.position.revision.saturating_add(1)
    }

    /// The place that the next entry of the log has.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.frontier.size()
    }

    /// Marks that state is changed: the revision is taken, and an entry must follow.
    pub(super) const fn change(&mut self) {
        self.changed = true;
    }

    /// Lets an epoch begin with this transaction.
    pub(super) const fn set_epoch(&mut self, epoch: u64) {
        self.epoch = Some(epoch);
        self.change();
    }

    /// Appends an entry to the log.
    pub(crate) fn log<Data: Serialize>(&mut self, entry: &Entry<Data>) -> Result<(), StoreError> {
        let seq = self.frontier.size();
        let bytes = entry.bytes(seq, self.now)?;
        let hashes = self.frontier.append(LogHash::of_entry(&bytes))?;
        self.hashes.extend(hashes.into_iter().map(|(idx, hash)| StoredHash { idx, hash }));
        self.entries.push(StoredEntry { seq, bytes });
        Ok(())
    }

    /// Makes everything of this transaction durable and tells of it.
    pub(crate) async fn commit(mut self) -> Result<Head, StoreError> {
        if self.entries.is_empty() {
            if self.changed {
                return Err(StoreError::Unlogged);
            }
            self.tx.commit().await?;
            return Ok(self.before);
        }
        let mut head = self.before;
        head.log_size = self.frontier.size();
        head.log_root = self.frontier.root()?;
        head.told_at = self.now;
        if self.changed {
            head.position.revision = self.revision();
            head.position.epoch = self.epoch.unwrap_or(head.position.epoch);
            head.delta_floor = self.tx.prune_tombstones(&head, self.store.tombstone_revisions()).await?;
        }
        self.tx.insert_log(std::mem::take(&mut self.entries), std::mem::take(&mut self.hashes)).await?;
        self.tx.move_head(&self.before, &head).await?;
        if let Tx::Postgres(_) = &self.tx {
            self.tx.execute("SELECT pg_notify($1, '')", args![super::wake::CHANNEL]).await?;
        }
        self.tx.commit().await?;
        self.store.committed(head, self.frontier);
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{ActorField, EntryIds, EntryKind};
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn a_change_without_an_entry_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("db").display());
        let store = Store::open(&url, 100, &SystemClock).await.unwrap();
        let before = store.read().await.unwrap().head().await.unwrap();
        let mut tx = store.write(&SystemClock).await.unwrap();
        tx.put_item("service/a", Some("a"), "{}").await.unwrap();
        assert!(matches!(tx.commit().await, Err(StoreError::Unlogged)));
        let mut read = store.read().await.unwrap();
        assert_eq!(read.head().await.unwrap(), before);
        assert!(read.all_items().await.unwrap().is_empty());

        // With its entry it is, under the next revision; and an entry alone takes no revision.
        let actor = ActorField::System;
        let entry = Entry { kind: EntryKind::GrantExpired, actor, ids: EntryIds::default(), data: () };
        let mut tx = store.write(&SystemClock).await.unwrap();
        tx.put_item("service/a", Some("a"), "{}").await.unwrap();
        tx.log(&entry).unwrap();
        let after = tx.commit().await.unwrap();
        assert_eq!(after.position.revision, before.position.revision + 1);
        let mut tx = store.write(&SystemClock).await.unwrap();
        tx.log(&entry).unwrap();
        let logged = tx.commit().await.unwrap();
        assert_eq!((logged.position, logged.log_size), (after.position, after.log_size + 1));
        assert!(store.read().await.unwrap().head().await.unwrap().is_after(&after));
    }
}
