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
        Self { tx, store, before, frontier, entries: Vec::new(), hashes: Vec::new(), changed: false, now }
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

    /// Marks that state is changed: the revision is taken, and an entry must follow.
    pub(super) const fn change(&mut self) {
        self.changed = true;
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
        if self.changed {
            head.position.revision = self.revision();
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
