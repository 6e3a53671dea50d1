//! Everything that is kept, and all SQL: SQLite or PostgreSQL, one file per noun, one text per statement for both.
//! Called by `app` only. A write locks the head row first; every state change is guarded by the state it expects.
//!
//! ```text
//!  app ─► Store::read  ─► Tx       (a snapshot; never waits for writers)
//!      └► Store::write ─► WriteTx  (holds the head; log + revision + rows in one commit) ─► changed()
//! ```

mod delegations;
mod epochs;
mod error;
mod grants;
mod head;
mod holds;
mod idempotency;
mod items;
mod ledger;
mod limits;
mod locks;
mod log;
mod offline;
mod open;
mod outbox;
mod policies;
mod post_reviews;
mod requests;
mod reviews;
mod select;
mod signals;
mod streams;
mod suggestions;
mod tx;
mod uses;
mod vms;
mod waits;
mod wake;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::audit::{ActorField, Entry, EntryIds, EntryKind, Frontier};
use crate::clock::Clock;
use open::{Mode, Pools};

pub use error::StoreError;
pub use head::Head;
pub use items::StoredItem;
pub use outbox::{Delivery, DeliveryFilter, DeliverySums};
pub use post_reviews::PostReviewSums;
pub use streams::StreamSums;
pub use vms::{StoredVm, VmReached, VmSeen};
pub use waits::{OpenWait, WaitToTell};

pub(crate) use grants::LiveGrants;
pub(crate) use idempotency::StoredKey;
pub(crate) use log::{StoredEntry, StoredHash};
pub(crate) use policies::PolicyTexts;
pub(crate) use select::{Select, Visible};
pub(crate) use tx::Tx;
pub(crate) use write::WriteTx;

/// One database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pools: Pools,
    tombstone_revisions: u64,
    signal: watch::Sender<Head>,
    fleet: watch::Sender<()>,
    /// The frontier after the last commit of this process; right as long as no other replica has committed since.
    frontier: Mutex<Frontier>,
    listener: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.listener.iter().for_each(JoinHandle::abort);
    }
}

impl Store {
    /// Opens a database, making and upgrading its schema.
    pub(crate) async fn open(database: &str, tombstone_revisions: u64, clock: &dyn Clock) -> Result<Self, StoreError> {
        let pools = Pools::open(database, Mode::Use).await?;
        let mut tx = begin_write(&pools).await?;
        tx.make_head(clock.now()).await?;
        tx.commit().await?;
        let head = begin_read(&pools).await?.head().await?;
        let (signal, fleet) = (watch::Sender::new(head), watch::Sender::new(()));
        let listener = match &pools {
            Pools::Postgres(pool) => Some(wake::listen(pool.clone(), signal.clone(), fleet.clone())),
            Pools::Sqlite { .. } => None,
        };
        let frontier = Mutex::default();
        let store = Self { inner: Arc::new(Inner { pools, tombstone_revisions, signal, fleet, frontier, listener }) };
        store.begin_log(clock).await?;
        Ok(store)
    }

    /// The first entry of a log tells which history it is of.
    async fn begin_log(&self, clock: &dyn Clock) -> Result<(), StoreError> {
        #[derive(serde::Serialize)]
        struct Begun {
            epoch: u64,
        }
        let mut tx = self.write(clock).await?;
        if tx.before().log_size == 0 {
            let data = Begun { epoch: self.epoch() };
            tx.log(&Entry { kind: EntryKind::LogBegun, actor: ActorField::System, ids: EntryIds::default(), data })?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// A snapshot to read from.
    pub(crate) async fn read(&self) -> Result<Tx, StoreError> {
        begin_read(&self.inner.pools).await
    }

    /// A write. Waits for the one before; the time is read when it has its turn.
    pub(crate) async fn write(&self, clock: &dyn Clock) -> Result<WriteTx, StoreError> {
        let mut tx = begin_write(&self.inner.pools).await?;
        let head = tx.lock_head().await?;
        clock.reach(head.told_at);
        let known = self.inner.frontier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fits = known.size() == head.log_size && known.root()? == head.log_root;
        let frontier = if fits { known } else { tx.log_frontier(head.log_size, head.log_root).await? };
        Ok(WriteTx::new(tx, self.clone(), head, frontier, clock.now()))
    }

    /// Tells of commits.
    pub(crate) fn changed(&self) -> watch::Receiver<Head> {
        self.inner.signal.subscribe()
    }

    /// Tells that replicas have news of waits or acknowledgements, this one among them. Only a hint.
    pub(crate) fn fleet_told(&self) -> watch::Receiver<()> {
        self.inner.fleet.subscribe()
    }

    /// Tells waiters of a head that was read, in case a wake was lost.
    pub(crate) fn publish(&self, head: Head) {
        wake::publish(&self.inner.signal, head);
    }

    /// The epoch of this database's history, as far as this process has heard.
    pub(crate) fn epoch(&self) -> u64 {
        self.inner.signal.borrow().position.epoch
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.inner.listener.iter().for_each(JoinHandle::abort);
        self.inner.pools.close().await;
    }

    fn tombstone_revisions(&self) -> u64 {
        self.inner.tombstone_revisions
    }

    fn committed(&self, head: Head, frontier: Frontier) {
        *self.inner.frontier.lock().unwrap_or_else(PoisonError::into_inner) = frontier;
        self.publish(head);
    }
}

/// A snapshot of a database that is only looked at: nothing is made, upgraded or written.
pub(crate) async fn look(database: &str) -> Result<Tx, StoreError> {
    begin_read(&Pools::open(database, Mode::Look).await?).await
}

async fn begin_read(pools: &Pools) -> Result<Tx, StoreError> {
    Ok(match pools {
        Pools::Sqlite { readers, .. } => Tx::Sqlite(readers.begin().await?),
        Pools::Postgres(pool) => {
            Tx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?)
        }
    })
}

async fn begin_write(pools: &Pools) -> Result<Tx, StoreError> {
    Ok(match pools {
        Pools::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
        Pools::Postgres(pool) => Tx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?),
    })
}
