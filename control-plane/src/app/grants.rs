//! Reading and ending grants.

use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::Position;

use serde::Serialize;

use super::delegations::{Deed, Reviewable};
use super::schedule::request_of;
use super::{App, AppError, Conflict, Forbidden, Invalid, Listed, Only, Page, extension};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
use crate::domain::{Actor, AlreadyEnded, EndedBy, Grant, GrantState, GrantStateWord, Rulebook, Text};
use crate::store::{Tx, WriteTx};

/// Which grants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantFilter {
    /// Only in this state.
    pub state: Option<GrantStateWord>,
    /// Only those that were used, or that were not.
    pub used: Option<bool>,
    /// And what else.
    pub only: Only,
}

/// A grant that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The grant.
    pub grant: Grant,
    /// Filters that have applied this position no longer have the grant.
    pub position: Position,
}

impl App {
    /// One grant. Visible to its holder, the rule's reviewers, operators and auditors, and to whoever may review in the place
    /// of others what was done under it.
    ///
    /// # Errors
    /// `NotFound` if there is none or it is not visible.
    pub async fn grant(&self, actor: &Actor, id: &GrantId) -> Result<Grant, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        self.visible_grant(&mut tx, (actor, &book), id, self.inner.settings.clock.now()).await
    }

    /// A grant that the actor may see: by what they are, or, if it was given by breaking the glass, because they may review
    /// that. Lists of grants have only the former.
    ///
    /// # Errors
    /// `NotFound` if there is none or it is not visible.
    pub(super) async fn visible_grant(
        &self,
        tx: &mut Tx,
        (actor, book): (&Actor, &Rulebook),
        id: &GrantId,
        now: Timestamp,
    ) -> Result<Grant, AppError> {
        let unknown = || AppError::not_found("grant", id.as_str());
        let grant = tx.grant(id).await?.ok_or_else(unknown)?;
        if self.sees(actor, book, &grant.holder, &grant.service, &grant.rule) {
            return Ok(grant);
        }
        if !grant.break_glass {
            return Err(unknown());
        }
        let policy = request_of(tx, &grant).await?.ask.policy;
        let deed = Deed { service: &grant.service, right: &grant.rule, policy: &policy };
        let sees = self.may_review(tx, (actor, book), Reviewable::Deed(deed), now).await?;
        sees.then_some(grant).ok_or_else(unknown)
    }

    /// The grants that the actor may see, newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn grants(&self, actor: &Actor, filter: &GrantFilter, page: &Page) -> Result<Listed<Grant>, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        let id = |millis| GrantId::new(millis, [0; 10]).to_string();
        let mut select = self.select(actor, &book, filter.state.map(GrantStateWord::as_str), &filter.only, page, id);
        select.used = filter.used;
        let found = tx.grants(&select).await?;
        Ok(Listed::of(found, &select, |grant| grant.id.to_string()))
    }

    /// Ends a grant before its time. For reviewers of its rule, owners of its service and operators.
    ///
    /// # Errors
    /// If the actor may not, the grant ended already, or the reason is none.
    pub async fn revoke(&self, actor: &Actor, id: &GrantId, reason: &str) -> Result<Ended, AppError> {
        let reason = Text::new(reason, "reason").map_err(Invalid::Text)?;
        let mut tx = self.write().await?;
        let book = self.rulebook(&mut tx).await?;
        let now = tx.now();
        let grant = self.visible_grant(&mut tx, (actor, &book), id, now).await?;
        if !self.may_revoke(actor, &book, &grant) {
            return Err(Forbidden::NotAReviewer { rule: grant.rule }.into());
        }
        self.end(tx, &book, grant, EndedBy::Revoker(actor.user.clone(), reason)).await
    }

    /// Gives a grant back. For its holder.
    ///
    /// # Errors
    /// If the actor is not the holder, or the grant ended already.
    pub async fn release(&self, actor: &Actor, id: &GrantId) -> Result<Ended, AppError> {
        let mut tx = self.write().await?;
        let book = self.rulebook(&mut tx).await?;
        let now = tx.now();
        let grant = self.visible_grant(&mut tx, (actor, &book), id, now).await?;
        if grant.holder != actor.user {
            return Err(Forbidden::NotTheHolder.into());
        }
        self.end(tx, &book, grant, EndedBy::Holder).await
    }

    async fn end(&self, mut tx: WriteTx, book: &Rulebook, grant: Grant, by: EndedBy) -> Result<Ended, AppError> {
        let (grant, written) = self.settle(&mut tx, book, grant).await?;
        if written && grant.state.ended_at().is_some() {
            tx.commit().await?;
            return Err(Conflict::AlreadyEnded(AlreadyEnded { state: grant.state.word() }).into());
        }
        let grant = end(&mut tx, grant, by).await?;
        let position = tx.commit().await?.position;
        Ok(Ended { grant, position })
    }

    pub(super) fn may_revoke(&self, actor: &Actor, book: &Rulebook, grant: &Grant) -> bool {
        self.is_operator(actor)
            || book.is_reviewer(actor, &grant.service, &grant.rule)
            || book.owns(actor, &grant.service)
    }
}

/// Ends a grant before its time, with what is asked for it.
pub(super) async fn end(tx: &mut WriteTx, grant: Grant, by: EndedBy) -> Result<Grant, AppError> {
    let is_scheduled = grant.state == GrantState::Scheduled;
    let grant = grant.end(by, tx.now(), tx.revision()).map_err(Conflict::AlreadyEnded)?;
    // Filters have only what is in force.
    if is_scheduled {
        tx.settle_scheduled(&grant).await?;
    } else {
        tx.end_grant(&grant).await?;
    }
    tx.log(&ended_entry(&grant))?;
    extension::drop_pending(tx, &grant.id).await?;
    Ok(grant)
}

/// Ends a grant whose time ended, within a transaction that found it so. One that was exhausted stays that; what ran under
/// it ends.
pub(super) async fn expire(tx: &mut WriteTx, grant: Grant) -> Result<Grant, AppError> {
    if let GrantState::Exhausted { .. } = grant.state {
        let grant = Grant { revision: tx.revision(), ..grant };
        tx.end_grant(&grant).await?;
        tx.log(&ended_entry(&grant))?;
        return Ok(grant);
    }
    let grant = grant.expire(tx.now(), tx.revision()).map_err(Conflict::AlreadyEnded)?;
    tx.end_grant(&grant).await?;
    tx.log(&ended_entry(&grant))?;
    Ok(grant)
}

#[derive(Serialize)]
pub(super) struct EndedData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Text>,
    /// Whether it was given at once, without an approval: that is marked wherever such a grant is named.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    break_glass: bool,
    revision: u64,
}

pub(super) fn ended_entry(grant: &Grant) -> Entry<EndedData<'_>> {
    let (kind, actor, reason) = match &grant.state {
        GrantState::Revoked { by, reason, .. } => {
            let by = by.clone().map_or(ActorField::System, ActorField::User);
            (EntryKind::GrantRevoked, by, Some(reason))
        }
        GrantState::Released { .. } => (EntryKind::GrantReleased, ActorField::User(grant.holder.clone()), None),
        GrantState::Exhausted { .. } => (EntryKind::GrantForgotten, ActorField::System, None),
        GrantState::Scheduled | GrantState::Active | GrantState::Expired { .. } => {
            (EntryKind::GrantExpired, ActorField::System, None)
        }
    };
    let ids = EntryIds { request: Some(grant.request.clone()), grant: Some(grant.id.clone()), ..EntryIds::default() };
    let data = EndedData { reason, break_glass: grant.break_glass, revision: grant.revision };
    Entry { kind, actor, ids, data }
}

#[derive(Serialize)]
pub(super) struct ExpiringData {
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    break_glass: bool,
}

/// That a grant is about to end.
pub(super) fn expiring_entry(grant: &Grant) -> Entry<ExpiringData> {
    let ids = EntryIds { request: Some(grant.request.clone()), grant: Some(grant.id.clone()), ..EntryIds::default() };
    let data = ExpiringData { expires_at: grant.expires_at, break_glass: grant.break_glass };
    Entry { kind: EntryKind::GrantExpiring, actor: ActorField::System, ids, data }
}
