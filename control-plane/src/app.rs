//! The use cases: each is one transaction that loads, lets `domain` decide, writes with the expected state in the `WHERE`,
//! appends its audit entries and takes the next revision. Called by `http`, `push`, `tasks` and the CLI.
//! Nothing here speaks HTTP, and nothing elsewhere writes to the store.
//!
//! Time is read from the clock after the transaction has its lock, so decisions are in the order of their times.

mod access;
mod audit;
mod break_glass;
mod delegations;
mod epoch;
mod error;
mod events;
mod explain;
mod extension;
mod fleet;
mod grants;
mod holds;
mod ledger;
mod locks;
mod offline;
mod once;
mod outbox;
mod policy;
mod push;
mod reconcile;
mod records;
mod requests;
mod reviews;
mod revoke_many;
mod routing;
mod schedule;
mod settings;
mod signals;
mod simulate;
mod uses;

use std::sync::Arc;

use grantmesh_shared::engine::{Service, User};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::Position;
use tokio::sync::{Semaphore, watch};

use crate::clock::{NewId, new_id};
use crate::domain::{Actor, Grant, People, Rulebook};
use crate::store::{Select, Store, Tx, Visible, WriteTx};

pub use crate::domain::RecordsRefused;
pub use crate::store::{
    Delivery, DeliveryFilter, DeliverySums, Head, OpenWait, PostReviewSums, StoredItem, StoredVm, StreamSums,
    VmReached, VmSeen, WaitToTell,
};
pub use audit::{AuditEntry, AuditPage, LogReport, verify_database};
pub use break_glass::{Broke, PostReviewFilter};
pub use epoch::EpochBegun;
pub use error::{AppError, Conflict, Forbidden, Invalid, PolicyChanged};
pub use explain::{Explained, StatedCall};
pub use extension::Extended;
pub use grants::{Ended, GrantFilter};
pub use ledger::{Ledger, Suggestion};
pub use locks::LockChanged;
pub use once::IdempotencyKey;
pub use outbox::Attempt;
pub use policy::{Applied, CheckedPolicy, NewPolicy, compile_policy, examine_documents, examine_policy};
pub use push::Items;
pub use records::{Appended, FilterIdentity};
pub use requests::{Filed, Prefill, RequestFilter};
pub use reviews::Reviewed;
pub use revoke_many::{RevokeFilter, RevokedMany};
pub use routing::Reviewers;
pub use settings::{Limits, Settings};
pub use signals::{DeclaredSignal, SignalChanged, WhichSignal};
pub use simulate::{Changed, MOST_SIMULATED, NotJudged, Reviewing, Simulation};

/// The use cases over one store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    inner: Arc<Inner>,
    /// What is called by these is one send, known again by its key.
    once: Option<Arc<once::Once>>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    settings: Settings,
    services: access::Cache<Service>,
    people: access::Cache<People>,
    /// How many more policies may be checked at once for people who need not be trusted.
    checks: Arc<Semaphore>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The things, in the order of the list.
    pub items: Vec<T>,
    /// Where the next page begins; nothing if this is the last.
    pub next: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// [`Listed::next`] of the page before. Anything else gives an empty or arbitrary page, never an error.
    pub cursor: Option<String>,
    /// How many; the limit's maximum if nothing or more is said.
    pub limit: Option<u32>,
}

/// What a list of requests or grants is narrowed to, besides a state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Only {
    /// Only one's own.
    pub mine: bool,
    /// Only those of the person of this subject, of the reader's own issuer.
    pub owner: Option<String>,
    /// Only of this service.
    pub service: Option<String>,
    /// Only of this action; it means something only within a service.
    pub action: Option<String>,
    /// Only under this rule; it means something only within a service.
    pub rule: Option<String>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
    /// The oldest first.
    pub oldest_first: bool,
}

impl<T> Listed<T> {
    fn of(items: Vec<T>, select: &Select, id: impl Fn(&T) -> String) -> Self {
        Self::up_to(items, select.limit.saturating_sub(1), id)
    }

    /// A page of so many of what was read, which is one more if there is another page.
    fn up_to(mut items: Vec<T>, shown: u32, id: impl Fn(&T) -> String) -> Self {
        let shown = usize::try_from(shown).unwrap_or(usize::MAX);
        let more = items.len() > shown;
        items.truncate(shown);
        let next = items.last().filter(|_| more).map(id);
        Self { items, next }
    }
}

impl App {
    /// Opens the database, brings its schema up to date and checks it.
    ///
    /// # Errors
    /// If the database cannot be used.
    pub async fn open(settings: Settings) -> Result<Self, AppError> {
        let store = Store::open(&settings.database, settings.limits.tombstone_revisions, &*settings.clock).await?;
        let checks = Arc::new(Semaphore::new(settings.limits.checks));
        let (services, people) = (access::Cache::default(), access::Cache::default());
        Ok(Self { inner: Arc::new(Inner { store, settings, services, people, checks }), once: None })
    }

    /// What the use cases were opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Tells of every commit: of this process at once, of other replicas when their wake arrives. Only a hint and never
    /// late by more than the caller's own polling of [`App::head`], which feeds this signal too.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<Head> {
        self.inner.store.changed()
    }

    /// The position from which filters know of a grant's present state.
    #[must_use]
    pub fn position_of(&self, grant: &Grant) -> Position {
        Position { epoch: self.inner.store.epoch(), revision: grant.revision }
    }

    /// Closes the database; whatever is under way fails or is finished before this returns.
    pub async fn close(&self) {
        self.inner.store.close().await;
    }

    async fn read(&self) -> Result<Tx, AppError> {
        Ok(self.inner.store.read().await?)
    }

    async fn write(&self) -> Result<WriteTx, AppError> {
        Ok(self.inner.store.write(&*self.inner.settings.clock).await?)
    }

    fn new_id<Id: NewId>(&self, tx: &WriteTx) -> Result<Id, AppError> {
        Ok(new_id(tx.now(), &*self.inner.settings.random)?)
    }

    /// The statement's part of a page: one row more than is shown tells whether there is another page. `id` gives the first
    /// id of a time.
    fn select(
        &self,
        actor: &Actor,
        book: &Rulebook,
        state: Option<&'static str>,
        only: &Only,
        page: &Page,
        id: impl Fn(u64) -> String,
    ) -> Select {
        let at = |at: Timestamp| id(u64::try_from(at.millis()).unwrap_or(0));
        let named = only.owner.as_deref().map(|subject| User { subject: subject.into(), ..actor.user.clone() });
        // Both said at once fit nobody but the actor.
        let visible = match &named {
            Some(named) if only.mine && *named != actor.user => {
                Visible::Of { user: actor.user.clone(), rules: Vec::new(), backups: Vec::new() }
            }
            _ => self.visible(actor, book),
        };
        Select {
            visible,
            owner: named.or_else(|| only.mine.then(|| actor.user.clone())),
            state,
            service: only.service.clone(),
            action: only.action.clone(),
            rule: only.rule.clone(),
            from: only.since.map(at),
            before: only.until.map(at),
            ascending: only.oldest_first,
            cursor: page.cursor.clone(),
            limit: self.rows(page),
            overdue: None,
            used: None,
        }
    }

    /// So many rows are read for a page: one more than are shown.
    fn rows(&self, page: &Page) -> u32 {
        let most = self.inner.settings.limits.page.max(1);
        page.limit.unwrap_or(most).clamp(1, most).saturating_add(1)
    }
}
