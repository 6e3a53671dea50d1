//! Starting scheduled grants: at their time by a reconciler, and earlier than that by whoever deals with one whose time has
//! come. Both decide inside of the transaction that writes, under the policy in force.

use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::signature::Sha256Hash;
use serde::Serialize;

use super::{App, AppError, Conflict, grants};
use crate::audit::{ActorField, AuditError, Entry, EntryIds, EntryKind, terms_hash};
use crate::domain::{Automatic, Grant, GrantState, Request, Rulebook};
use crate::store::{StoreError, Tx, WriteTx};

impl App {
    /// Starts the scheduled grants whose time has come, or ends those that must not start.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn start_grants(&self) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        // Looked up without the head first: nearly always there is nothing to do.
        while !self.read().await?.due_grants(self.inner.settings.clock.now(), 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let book = self.rulebook(&mut tx).await?;
            let now = tx.now();
            let due = tx.due_grants(now, batch).await?;
            let count = due.len();
            for grant in due {
                self.start(&mut tx, &book, grant).await?;
            }
            tx.commit().await?;
            done += count;
        }
        Ok(done)
    }

    /// Brings a grant to the state that it is in by now: started if its time has come, ended if it is over. Gives whether
    /// something was written that must be committed.
    pub(super) async fn settle(
        &self,
        tx: &mut WriteTx,
        book: &Rulebook,
        grant: Grant,
    ) -> Result<(Grant, bool), AppError> {
        if grant.is_due(tx.now()) {
            return Ok((self.start(tx, book, grant).await?, true));
        }
        if grant.is_over(tx.now()) {
            return Ok((grants::expire(tx, grant).await?, true));
        }
        Ok((grant, false))
    }

    async fn start(&self, tx: &mut WriteTx, book: &Rulebook, grant: Grant) -> Result<Grant, AppError> {
        let request = request_of(tx, &grant).await?;
        let then = self.then(tx, &request.ask).await?;
        let rules = then.rules(&request.ask, book);
        let now = tx.now();
        // Who has left a group since, as far as they have asked for something without it, starts nothing by it.
        let holder = [request.ask.requester.clone()];
        let latest = tx.groups_of(&holder).await?.remove(&request.ask.requester);
        let request = request.in_groups_still(latest.as_deref().unwrap_or_default());
        let mut today = None;
        if request.automatic.as_ref().is_some_and(Automatic::approves) {
            let said = tx.signals_of_keys(&book.said_of(&request.ask)).await?;
            today = book.automatic(&request.ask, (&request.ask.actor(), &said), now);
        }
        let started = grant.start(&request, rules, today.as_ref(), (now, tx.revision()));
        let grant = started.map_err(Conflict::AlreadyEnded)?;
        tx.settle_scheduled(&grant).await?;
        match grant.state {
            GrantState::Active => tx.log(&started_entry(&grant)?)?,
            _ => tx.log(&grants::ended_entry(&grant))?,
        }
        Ok(grant)
    }
}

/// The request that a grant came of.
pub(super) async fn request_of(tx: &mut Tx, grant: &Grant) -> Result<Request, AppError> {
    let impossible = || StoreError::Impossible {
        table: "grants",
        column: "request",
        row: grant.id.to_string(),
        why: "there is no such request".to_owned(),
    };
    Ok(tx.request(&grant.request).await?.ok_or_else(impossible)?)
}

#[derive(Serialize)]
struct StartedData {
    starts_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Sha256Hash>,
    revision: u64,
}

fn started_entry(grant: &Grant) -> Result<Entry<StartedData>, AuditError> {
    let ids = EntryIds { request: Some(grant.request.clone()), grant: Some(grant.id.clone()), ..EntryIds::default() };
    let data = StartedData {
        starts_at: grant.starts_at,
        expires_at: grant.expires_at,
        uses: grant.uses.map(|uses| uses.allowed),
        terms: terms_hash(&grant.terms)?,
        revision: grant.revision,
    };
    Ok(Entry { kind: EntryKind::GrantStarted, actor: ActorField::System, ids, data })
}
