//! Reconcilers: no input, idempotent, run on a period and on a signal. Each gives how many things it changed.

use grantmesh_shared::time::{Span, Timestamp};

use super::{App, AppError, grants, locks, requests, signals};
use crate::audit::{ActorField, EntryKind};
use crate::domain::SignalEnd;

/// How long an idempotency key is kept.
const KEYS_KEPT: Span = Span::from_secs(24 * 3_600);

impl App {
    /// Ends the grants whose time ended: state, audit entry and the filters' item in one transaction.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn expire_grants(&self) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        // Looked up without the head first: nearly always there is nothing to do.
        while !self.read().await?.overdue_grants(self.inner.settings.clock.now(), 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let now = tx.now();
            let due = tx.overdue_grants(now, batch).await?;
            let count = due.len();
            for grant in due {
                grants::expire(&mut tx, grant).await?;
            }
            tx.commit().await?;
            done += count;
        }
        Ok(done)
    }

    /// Tells the holders of grants that are about to end: once for each end that a grant has had.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn warn_holders(&self) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        while !self.read().await?.grants_to_warn(self.inner.settings.clock.now(), 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let now = tx.now();
            let due = tx.grants_to_warn(now, batch).await?;
            for grant in &due {
                tx.warned(grant).await?;
                tx.log(&grants::expiring_entry(grant))?;
            }
            tx.commit().await?;
            done += due.len();
        }
        Ok(done)
    }

    /// Ends the locks whose time ended.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn expire_locks(&self) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        while !self.read().await?.overdue_locks(self.inner.settings.clock.now(), 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let now = tx.now();
            let due = tx.overdue_locks(now, batch).await?;
            let count = due.len();
            for lock in due {
                locks::expire(&mut tx, lock).await?;
            }
            tx.commit().await?;
            done += count;
        }
        Ok(done)
    }

    /// Ends the signals whose time ended. Filters have stopped by the time alone; this is for the log and the table.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn expire_signals(&self) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        while !self.read().await?.overdue_signals(self.inner.settings.clock.now(), 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let now = tx.now();
            let due = tx.overdue_signals(now, batch).await?;
            for signal in &due {
                signals::end(&mut tx, signal, SignalEnd::Expired).await?;
            }
            tx.commit().await?;
            done += due.len();
        }
        Ok(done)
    }

    /// Reminds the reviewers of requests that wait.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn remind_reviewers(&self) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        while !self.read().await?.requests_to_remind(self.inner.settings.clock.now(), 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let now = tx.now();
            let book = self.rulebook(&mut tx).await?;
            let due = tx.requests_to_remind(now, batch).await?;
            for request in &due {
                let suggested = self.suggested_for(&mut tx, &book, (request, now), false).await?;
                tx.reminded(request, &suggested, now).await?;
                tx.log(&requests::ended_entry(request, EntryKind::RequestReminded, ActorField::System))?;
            }
            tx.commit().await?;
            done += due.len();
        }
        Ok(done)
    }

    /// Lets others review the requests that nobody has decided. Whom that is, the rule says when they do.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn escalate_requests(&self) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        while !self.read().await?.requests_to_escalate(self.inner.settings.clock.now(), 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let now = tx.now();
            let book = self.rulebook(&mut tx).await?;
            let due = tx.requests_to_escalate(now, batch).await?;
            for request in &due {
                let suggested = self.suggested_for(&mut tx, &book, (request, now), true).await?;
                tx.escalated(request, &suggested, now).await?;
                tx.log(&requests::ended_entry(request, EntryKind::RequestEscalated, ActorField::System))?;
            }
            tx.commit().await?;
            done += due.len();
        }
        Ok(done)
    }

    /// Times out the requests that nobody decided in time. Nothing is ever approved by time.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn time_out_requests(&self) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        while !self.read().await?.overdue_requests(self.inner.settings.clock.now(), 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let now = tx.now();
            let due = tx.overdue_requests(now, batch).await?;
            let count = due.len();
            for request in due {
                requests::time_out(&mut tx, request).await?;
            }
            tx.commit().await?;
            done += count;
        }
        Ok(done)
    }

    /// Forgets idempotency keys of more than a day ago.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn forget_idempotency_keys(&self) -> Result<usize, AppError> {
        let mut tx = self.write().await?;
        let before = tx.now().minus(KEYS_KEPT);
        let forgotten = tx.forget_idempotency_keys(before).await?;
        tx.commit().await?;
        Ok(usize::try_from(forgotten).unwrap_or(usize::MAX))
    }

    /// When the next grant starts, or a grant, request, lock or signal ends by its time; lets the task sleep until then.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn next_deadline(&self) -> Result<Option<Timestamp>, AppError> {
        let mut tx = self.read().await?;
        let deadlines = [
            tx.next_expiry().await?,
            tx.next_start().await?,
            tx.next_warning().await?,
            tx.next_post_review_due().await?,
            tx.next_time_out().await?,
            tx.next_wait().await?,
            tx.next_lock_expiry().await?,
            tx.next_signal_expiry().await?,
        ];
        Ok(deadlines.into_iter().flatten().min())
    }
}
