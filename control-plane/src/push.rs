//! How state reaches filters: answers their questions from a table in memory that follows the store.
//! Called by `http` for `/filter/v1/*` and for whatever has `wait`; kept current by [`Push::run`].
//!
//! An answer makes a filter's knowledge fresh, so none is given before the store was read *after* the question came
//! (`current`); many questions share one read. Never answers from a table that it could not check.

mod answer;
mod crossing;
mod fleet;
mod interest;
mod snapshots;
mod table;

pub use answer::{PushError, SignedAnswer};
pub use fleet::{Arrival, ArrivalState, FilterArrival, Fleet, FleetRow};
pub use table::{Home, ItemChange, PushTable, Scope, Step};

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use grantmesh_shared::time::Span;
use grantmesh_shared::wire::sync::{Freshness, Position};
use grantmesh_shared::wire::table::Item;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::app::{App, AppError, StoredItem};
use crate::keys::Ed25519Key;
use crossing::Crossing;
use interest::Interest;
use snapshots::Snapshots;

/// How often the store is read when nobody asks: the longest that another replica's change goes unseen if its wake is lost.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a question may wait for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the fleet's last-seen times are kept.
const KEEP_PERIOD: Duration = Duration::from_secs(5);

/// How much later than its kept time another replica may have answered a VM.
const KEEP_MARGIN: Span = Span::from_secs(10);

/// The push of state to filters.
#[derive(Debug)]
pub struct Push {
    app: App,
    signing: Arc<Ed25519Key>,
    freshness: Freshness,
    table: RwLock<PushTable>,
    snapshots: Snapshots,
    interest: Interest,
    fleet: Fleet,
    crossing: Crossing,
    /// Reads of the store that were asked for, by number.
    asked: AtomicU64,
    wake: Notify,
    done: watch::Sender<Read>,
    held: AtomicU64,
    stopping: AtomicBool,
    ended: AtomicBool,
}

/// The latest finished read of the store.
#[derive(Debug, Clone, Copy)]
struct Read {
    /// It began after this request for it.
    serves: u64,
    ok: bool,
}

/// A held question; counted while it lives.
struct Held<'p>(&'p AtomicU64);

impl<'p> Held<'p> {
    fn count(held: &'p AtomicU64) -> Self {
        held.fetch_add(1, Ordering::Relaxed);
        Self(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Push {
    /// Loads the table and the fleet.
    ///
    /// # Errors
    /// If the store or the random source fails.
    pub async fn start(app: App, signing: Arc<Ed25519Key>, freshness: Freshness) -> Result<Arc<Self>, AppError> {
        let table = load(&app).await?;
        let fleet = Fleet::load(app.load_vms().await?, freshness, app.settings().clock.now());
        let crossing = Crossing::new(&app)?;
        let (done, _) = watch::channel(Read { serves: 0, ok: true });
        Ok(Arc::new(Self {
            app,
            signing,
            freshness,
            table: RwLock::new(table),
            snapshots: Snapshots::default(),
            interest: Interest::default(),
            fleet,
            crossing,
            asked: AtomicU64::new(0),
            wake: Notify::new(),
            done,
            held: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }))
    }

    /// Follows the store and the other replicas until [`Push::end`]. Runs as one task.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.follow_store(), self.cross());
        self.keep_fleet().await;
    }

    async fn follow_store(&self) {
        let mut changed = self.app.changed();
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keep = tokio::time::interval(KEEP_PERIOD);
        while !self.ended.load(Ordering::Acquire) {
            tokio::select! {
                () = self.wake.notified() => {}
                Ok(()) = changed.changed() => {
                    let head = *changed.borrow_and_update();
                    // Filters are not told an earlier time by one replica than by another.
                    self.app.settings().clock.reach(head.told_at);
                    if head.position == self.read_table().position() { continue }
                }
                _ = period.tick() => {}
                _ = keep.tick() => {
                    self.keep_fleet().await;
                    continue;
                }
            }
            self.read_store().await;
        }
    }

    /// Answers every held question and holds none from now on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.interest.wake_all();
    }

    /// Whether [`Push::stop`] was called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends [`Push::run`]; questions that come later are not answered.
    pub fn end(&self) {
        self.stop();
        self.ended.store(true, Ordering::Release);
        self.wake.notify_one();
        self.crossing.look();
    }

    /// Who follows, and how far.
    #[must_use]
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// How many questions are held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// The point up to which the table is known.
    #[must_use]
    pub fn position(&self) -> Position {
        self.read_table().position()
    }

    /// Returns once the table holds everything that was committed before this call.
    async fn current(&self) -> Result<(), PushError> {
        let ticket = self.asked.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        let mut done = self.done.subscribe();
        self.wake.notify_one();
        let read = tokio::time::timeout(STORE_TIMEOUT, done.wait_for(|read| read.serves >= ticket)).await;
        match read {
            Ok(Ok(read)) if read.ok => Ok(()),
            _ => Err(PushError::Unavailable),
        }
    }

    async fn read_store(&self) {
        let serves = self.asked.load(Ordering::Acquire);
        let read = self.follow().await;
        if let Err(error) = &read {
            tracing::warn!(%error, "the store cannot be read; filters get no answers until it can");
        }
        self.done.send_replace(Read { serves, ok: read.is_ok() });
    }

    async fn follow(&self) -> Result<(), AppError> {
        let head = self.app.head().await?;
        let known = self.position();
        if head.position == known {
            return Ok(());
        }
        if head.position.epoch != known.epoch || head.position < known || known.revision < head.delta_floor {
            let table = load(&self.app).await?;
            *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
            self.interest.wake_all();
            return Ok(());
        }
        let items = self.app.items_since(known.revision).await?;
        let changes = changes(items.items);
        let changed = {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            table.apply(items.head.position, items.head.delta_floor, changes)
        };
        self.interest.wake(&changed);
        Ok(())
    }

    async fn keep_fleet(&self) {
        let seen = self.fleet.take_unkept();
        if seen.is_empty() {
            return;
        }
        if let Err(error) = self.app.vms_seen_at(&seen).await {
            tracing::warn!(%error, "the last-seen times of {} filters could not be kept", seen.len());
        }
    }

    fn read_table(&self) -> RwLockReadGuard<'_, PushTable> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(app: &App) -> Result<PushTable, AppError> {
    let items = app.items_since(0).await?;
    Ok(PushTable::load(items.head.position, items.head.delta_floor, changes(items.items)))
}

/// Items of the store as the table takes them. A body that is not JSON cannot be in the store; it would be left out.
fn changes(items: Vec<StoredItem>) -> Vec<ItemChange> {
    items
        .into_iter()
        .filter_map(|StoredItem { key, service, revision, body, is_first }| {
            let item = match body {
                None => None,
                Some(body) => match serde_json::value::RawValue::from_string(body) {
                    Ok(body) => Some(Item { key: key.clone(), body }),
                    Err(error) => {
                        tracing::error!(%error, key, "an item of the store is not JSON and is not sent to filters");
                        return None;
                    }
                },
            };
            Some(ItemChange { revision, home: service.map(String::into_boxed_str), key, item, is_first })
        })
        .collect()
}
