//! The answers to `sync` and `heartbeat`, and the signature that every answer to a filter carries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::offline::OfflineToken;
use grantmesh_shared::wire::records::StreamState;
use grantmesh_shared::wire::signature::{Signature, from_hex};
use grantmesh_shared::wire::sync::{
    Applied, Change, HeartbeatAnswer, HeartbeatKind, HeartbeatRequest, PageRequest, Position, SyncAnswer, SyncKind,
    SyncRequest, VmIdentity,
};
use grantmesh_shared::wire::table::Item;
use grantmesh_shared::wire::{PROTOCOL_VERSION, TableHash};
use serde::Serialize;

use super::snapshots::Pages;
use super::table::{Page, Scope, Step};
use super::{Held, Push};
use crate::app::{AppError, FilterIdentity};

/// The longest that a question is held, whatever it asks for.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The longest pause before a page of a snapshot.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// An answer in exactly the bytes that are signed.
#[derive(Debug, Clone)]
pub struct SignedAnswer {
    /// The body.
    pub body: Vec<u8>,
    /// What its header says.
    pub signature: Signature,
}

/// Why a filter's question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The filter speaks another version.
    #[error(
        "version {0} of the protocol is not spoken here\nuse a filter of the same release; this one speaks version {PROTOCOL_VERSION}"
    )]
    Version(u8),
    /// Not a nonce.
    #[error("the nonce is not 32 hexadecimal digits")]
    Nonce,
    /// Nothing is loaded, or one thing twice.
    #[error("the filter names no service, or one twice")]
    Services,
    /// A service that the credential does not cover.
    #[error(
        "the credential does not cover the service `{0}`\nissue one with `grantmesh credential --name NODE --service SERVICE`"
    )]
    NotCovered(String),
    /// The filter has applied changes that the store does not have.
    #[error(
        "the filter is ahead of this control plane's database\nif the database was restored from a backup, begin a new epoch"
    )]
    Ahead,
    /// The store cannot be read.
    #[error("the database cannot be read\nask again")]
    Unavailable,
    /// The use case refused or failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// An answer without JSON form; never in practice.
    #[error("the answer could not be written")]
    Json(#[from] serde_json::Error),
}

impl Push {
    /// Checks what every question of a filter says of itself.
    ///
    /// # Errors
    /// If it is of another version or the credential does not cover it.
    pub fn check(&self, filter: &FilterIdentity, v: u8, nonce: &str, vm: &VmIdentity) -> Result<(), PushError> {
        if v != PROTOCOL_VERSION {
            return Err(PushError::Version(v));
        }
        if from_hex::<16>(nonce).is_none() {
            return Err(PushError::Nonce);
        }
        if let Some(service) = vm.services.iter().find(|service| !filter.services.contains(service)) {
            return Err(PushError::NotCovered(service.chars().take(64).collect()));
        }
        let twice = vm
            .services
            .iter()
            .enumerate()
            .any(|(at, service)| vm.services.iter().skip(at.saturating_add(1)).any(|other| other == service));
        if vm.services.is_empty() || twice { Err(PushError::Services) } else { Ok(()) }
    }

    /// Signs an answer.
    ///
    /// # Errors
    /// Never in practice: every answer has a JSON form.
    pub fn sign<Answer: Serialize>(&self, answer: &Answer) -> Result<SignedAnswer, PushError> {
        let body = serde_json::to_vec(answer)?;
        let signature = self.signing.sign_answer(&body);
        Ok(SignedAnswer { body, signature })
    }

    /// Signs a break-glass token; gives its text.
    ///
    /// # Errors
    /// Never in practice: every token has a JSON form.
    pub fn sign_offline(&self, token: &OfflineToken) -> Result<String, PushError> {
        let payload = token.payload()?;
        Ok(OfflineToken::text(&payload, &self.signing.sign_offline(&payload)))
    }

    /// Signs the body of an answer that is already written.
    #[must_use]
    pub fn sign_body(&self, body: &[u8]) -> Signature {
        self.signing.sign_answer(body)
    }

    /// Takes in how a VM says that its stream of records stands; nothing of a VM that is not known under this credential.
    pub fn reported(&self, filter: &FilterIdentity, vm: &VmIdentity, stream: StreamState) {
        if self.fleet.knows(vm, &filter.name_of(vm), self.now()) {
            self.fleet.reported(&vm.vm, stream);
        }
    }

    /// Answers a heartbeat.
    ///
    /// # Errors
    /// If the question is refused or the store cannot be read.
    pub async fn heartbeat(
        &self,
        filter: &FilterIdentity,
        asked: &HeartbeatRequest,
    ) -> Result<SignedAnswer, PushError> {
        self.check(filter, asked.v, &asked.nonce, &asked.filter)?;
        self.contact(filter, &asked.filter, asked.applied.as_ref()).await?;
        self.reported(filter, &asked.filter, asked.stream);
        let scope = Scope::of(&asked.filter.services);
        let (position, table_hash) = {
            let table = self.read_table();
            (table.changed(&scope), table.hash(&scope))
        };
        let server_time = self.now();
        self.fleet.answered(&asked.filter.vm, server_time);
        self.sign(&HeartbeatAnswer {
            v: PROTOCOL_VERSION,
            kind: HeartbeatKind::Heartbeat,
            nonce: asked.nonce.clone(),
            position,
            table_hash,
            server_time,
            freshness: self.freshness,
        })
    }

    /// Answers a long poll: at once if there is something to apply, else when there is or the wait is over.
    ///
    /// # Errors
    /// If the question is refused or the store cannot be read.
    pub async fn sync(&self, filter: &FilterIdentity, asked: &SyncRequest) -> Result<SignedAnswer, PushError> {
        self.check(filter, asked.v, &asked.nonce, &asked.filter)?;
        let scope = Scope::of(&asked.filter.services);
        if let Some(page) = asked.page {
            return self.next_page(filter, asked, &scope, page).await;
        }
        let registered = self.interest.register(&scope);
        self.contact(filter, &asked.filter, asked.applied.as_ref()).await?;
        let wait = Duration::from_millis(asked.wait_ms).min(MAX_WAIT);
        let held = Held::count(&self.held);
        let changed = async {
            while !self.stopping.load(Ordering::Acquire) && self.is_unchanged(&scope, asked.applied.as_ref()) {
                registered.changed().await;
            }
        };
        // Either the loop ended or the time did; what is sent is decided below, from the table as it is then.
        let _ = tokio::time::timeout(wait, changed).await;
        drop(held);
        self.step(asked, &scope)
    }

    /// A page of a snapshot or step that a filter loads: the first of another one if that is gone.
    async fn next_page(
        &self,
        filter: &FilterIdentity,
        asked: &SyncRequest,
        scope: &Scope,
        page: PageRequest,
    ) -> Result<SignedAnswer, PushError> {
        let pause = Duration::from_millis(page.pause_ms).min(MAX_PAUSE);
        // Nothing ends it but its time.
        let _over = tokio::time::timeout(pause, std::future::pending::<()>()).await;
        let index = usize::try_from(page.index).unwrap_or(usize::MAX);
        self.seen(filter, &asked.filter, asked.applied.as_ref()).await?;
        // It is of its point, whatever came since: the store need not be asked, for thousands of them.
        let applied = asked.applied.as_ref();
        let from = applied.map(|applied| applied.position);
        let begun = self.snapshots.begun(scope, from, page.position, self.now());
        let has_it = |pages: &Arc<Pages>| index < pages.pages.len() && pages.cut == page.cut;
        if let Some(pages) = begun.filter(has_it) {
            return self.page(asked, page.position, &pages, index);
        }
        self.contact(filter, &asked.filter, applied).await?;
        let elsewhere = self.snapshots.elsewhere(scope, &self.read_table(), applied, page.position, self.now());
        match elsewhere.filter(has_it) {
            Some(pages) => self.page(asked, page.position, &pages, index),
            None => self.step(asked, scope),
        }
    }

    /// Notes who asks, makes sure that the answer will be from the present state, and takes the acknowledgement.
    async fn contact(
        &self,
        filter: &FilterIdentity,
        vm: &VmIdentity,
        applied: Option<&Applied>,
    ) -> Result<(), PushError> {
        self.seen(filter, vm, applied).await?;
        self.current().await?;
        // What the store does not have cannot have been told by it: it would prove changes of another history.
        if let Some(position) = applied.map(|applied| applied.position).filter(|applied| *applied <= self.position()) {
            self.fleet.acknowledged(&vm.vm, position);
            self.crossing.acknowledged(position);
        }
        Ok(())
    }

    /// Notes who asks: a VM is kept in the store before its first answer, so that no restart forgets one that was told
    /// something.
    async fn seen(&self, filter: &FilterIdentity, vm: &VmIdentity, applied: Option<&Applied>) -> Result<(), PushError> {
        let name = filter.name_of(vm);
        if !self.fleet.knows(vm, &name, self.now()) {
            let kept = self.app.vm_seen(filter, vm, applied).await?;
            self.fleet.first_contact(vm, &name, kept.reached, self.now());
        }
        Ok(())
    }

    fn is_unchanged(&self, scope: &Scope, applied: Option<&Applied>) -> bool {
        self.read_table().is_unchanged(scope, applied)
    }

    fn step(&self, asked: &SyncRequest, scope: &Scope) -> Result<SignedAnswer, PushError> {
        let table = self.read_table();
        let (position, table_hash) = (table.position(), table.hash(scope));
        let from = asked.applied.map(|applied| applied.position);
        // Filters that were away together ask for the same: it is made once.
        let follows = asked.applied.filter(|applied| asked.in_pages && table.follows(scope, applied));
        let same = follows.map(|applied| applied.position);
        if let Some(pages) = same.and_then(|from| self.snapshots.same_step(scope, from, &table, position, self.now())) {
            drop(table);
            return self.page(asked, position, &pages, 0);
        }
        let change = match (table.step(scope, asked.applied.as_ref(), asked.in_pages), from) {
            (Step::Ahead, _) => return Err(PushError::Ahead),
            (Step::Unchanged, _) => Change::Unchanged,
            (Step::Delta(pages), Some(from)) if pages.len() > 1 => {
                let pages = self.snapshots.step(scope, from, &table, position, pages, self.now());
                drop(table);
                return self.page(asked, position, &pages, 0);
            }
            (Step::Delta(pages), _) => delta(&pages, 0, 0),
            (Step::Snapshot, _) => {
                let pages = self.snapshots.fresh(scope, &table, position, self.now());
                drop(table);
                return self.page(asked, position, &pages, 0);
            }
        };
        drop(table);
        self.answer(asked, position, table_hash, change)
    }

    /// A page of what was begun.
    fn page(
        &self,
        asked: &SyncRequest,
        position: Position,
        pages: &Pages,
        at: usize,
    ) -> Result<SignedAnswer, PushError> {
        let change = match delta(&pages.pages, at, pages.cut) {
            Change::Delta { puts, index, more, .. } if !pages.is_step => Change::Snapshot { index, last: !more, puts },
            delta => delta,
        };
        self.answer(asked, position, pages.table_hash, change)
    }

    fn answer(
        &self,
        asked: &SyncRequest,
        position: Position,
        table_hash: TableHash,
        change: Change,
    ) -> Result<SignedAnswer, PushError> {
        let server_time = self.now();
        self.fleet.answered(&asked.filter.vm, server_time);
        self.sign(&SyncAnswer {
            v: PROTOCOL_VERSION,
            kind: SyncKind::Sync,
            nonce: asked.nonce.clone(),
            position,
            table_hash,
            server_time,
            freshness: self.freshness,
            change,
        })
    }

    fn now(&self) -> Timestamp {
        self.app.settings().clock.now()
    }
}

/// This page, as one of a step that is cut so.
fn delta(pages: &[Page], at: usize, cut: u32) -> Change {
    let page = pages.get(at);
    Change::Delta {
        puts: page.iter().flat_map(|page| &page.puts).map(|item| Item::clone(item)).collect(),
        removes: page.iter().flat_map(|page| &page.removes).map(|key| key.to_string()).collect(),
        index: u32::try_from(at).unwrap_or(u32::MAX),
        more: at.saturating_add(1) < pages.len(),
        with_next: page.is_some_and(|page| page.with_next),
        cut,
    }
}
