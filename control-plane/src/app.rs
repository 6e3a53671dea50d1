//! The use cases: each is one transaction that loads, lets `domain` decide, writes with the expected state in the `WHERE`,
//! appends its audit entries and takes the next revision. Called by `http`, `push`, `tasks` and the CLI.
//! Nothing here speaks HTTP, and nothing elsewhere writes to the store.
//!
//! Time is read from the clock after the transaction has its lock, so decisions are in the order of their times.

mod access;
mod audit;
mod error;
mod fleet;
mod grants;
mod policy;
mod push;
mod reconcile;
mod records;
mod requests;
mod reviews;
mod settings;

use std::sync::Arc;

use grantmesh_shared::wire::sync::Position;
use tokio::sync::watch;

use crate::domain::Grant;
use crate::store::Store;

pub use crate::store::{Head, StoredItem, StoredVm};
pub use audit::{AuditEntry, AuditPage, LogReport, verify_database};
pub use error::{AppError, Conflict, Forbidden, Invalid, RecordsRefused};
pub use grants::{Ended, GrantFilter};
pub use policy::{NewPolicy, compile_policy};
pub use push::Items;
pub use records::FilterIdentity;
pub use requests::{Filed, IdempotencyKey, Prefill, RequestFilter};
pub use reviews::Reviewed;
pub use settings::{Limits, Settings};

/// The use cases over one store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    settings: Settings,
    rulebooks: access::ServiceCache,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The things, newest first.
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

impl App {
    /// Opens the database, brings its schema up to date and checks it.
    ///
    /// # Errors
    /// If the database cannot be used.
    pub async fn open(settings: Settings) -> Result<Self, AppError> {
        let store = Store::open(&settings.database, settings.limits.tombstone_revisions, &*settings.clock).await?;
        Ok(Self { inner: Arc::new(Inner { store, settings, rulebooks: access::ServiceCache::default() }) })
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

    fn store(&self) -> &Store {
        &self.inner.store
    }

    /// How many things go on a page.
    fn limit(&self, page: &Page) -> u32 {
        let most = self.inner.settings.limits.page.max(1);
        page.limit.unwrap_or(most).clamp(1, most)
    }
}
