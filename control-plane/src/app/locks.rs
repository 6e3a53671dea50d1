//! Making, reading and removing locks. For operators; auditors read them too.

use grantmesh_shared::id::LockId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::SubjectItem;
use serde::Serialize;

use super::once::still_there;
use super::{App, AppError, Conflict, Invalid, Listed, Page};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
use crate::domain::{Actor, Lock, LockEnded, LockState, LockStateWord, NewLock, Text};
use crate::store::{Select, WriteTx};

/// A lock that was made or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockChanged {
    /// The lock.
    pub lock: Lock,
    /// Filters that have applied this position know.
    pub position: Position,
}

impl App {
    /// Makes a lock. For operators.
    ///
    /// # Errors
    /// If the actor is none, or the lock names nothing that is there.
    pub async fn create_lock(&self, actor: &Actor, new: &NewLock) -> Result<LockChanged, AppError> {
        self.must_operate(actor, "lock")?;
        let mut tx = self.write().await?;
        if let Some(id) = self.repeated::<LockId>(&mut tx, &actor.user).await? {
            let lock = still_there(tx.lock(&id).await?, id.as_str())?;
            let position = self.position_at(lock.revision);
            return Ok(LockChanged { lock, position });
        }
        let book = self.rulebook(&mut tx).await?;
        let id = self.new_id(&tx)?;
        let lock = Lock::new(actor, new, &book, id, tx.now(), tx.revision()).map_err(Invalid::Lock)?;
        tx.insert_lock(&lock).await?;
        tx.log(&created_entry(&lock))?;
        self.keep_key(&mut tx, &actor.user, lock.id.as_str()).await?;
        let position = tx.commit().await?.position;
        Ok(LockChanged { lock, position })
    }

    /// Removes a lock. For operators.
    ///
    /// # Errors
    /// If the actor is none, there is no such lock, or it ended already.
    pub async fn remove_lock(&self, actor: &Actor, id: &LockId, reason: Option<&str>) -> Result<LockChanged, AppError> {
        self.must_operate(actor, "remove a lock")?;
        let reason = Text::optional(reason, "reason").map_err(Invalid::Text)?;
        let mut tx = self.write().await?;
        let lock = tx.lock(id).await?.ok_or_else(|| AppError::not_found("lock", id.as_str()))?;
        if lock.is_over(tx.now()) {
            expire(&mut tx, lock).await?;
            tx.commit().await?;
            return Err(Conflict::LockEnded(LockEnded { state: LockStateWord::Expired }).into());
        }
        let lock = lock.remove(actor.user.clone(), reason, tx.now(), tx.revision()).map_err(Conflict::LockEnded)?;
        tx.end_lock(&lock).await?;
        tx.log(&ended_entry(&lock))?;
        let position = tx.commit().await?.position;
        Ok(LockChanged { lock, position })
    }

    /// The locks, newest first. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither.
    pub async fn locks(
        &self,
        actor: &Actor,
        state: Option<LockStateWord>,
        page: &Page,
    ) -> Result<Listed<Lock>, AppError> {
        self.must_audit(actor, "see the locks")?;
        let select = Select::all(state.map(LockStateWord::as_str), page.cursor.clone(), self.rows(page));
        let found = self.read().await?.locks(&select).await?;
        Ok(Listed::of(found, &select, |lock| lock.id.to_string()))
    }

    /// The position from which filters know of a change at a revision.
    #[must_use]
    pub fn position_at(&self, revision: u64) -> Position {
        Position { epoch: self.inner.store.epoch(), revision }
    }
}

/// Ends a lock whose time ended, within a transaction that found it so.
pub(super) async fn expire(tx: &mut WriteTx, lock: Lock) -> Result<(), AppError> {
    let lock = lock.expire(tx.now(), tx.revision()).map_err(Conflict::LockEnded)?;
    tx.end_lock(&lock).await?;
    Ok(tx.log(&ended_entry(&lock))?)
}

fn ids(lock: &Lock) -> EntryIds {
    EntryIds { lock: Some(lock.id.clone()), ..EntryIds::default() }
}

#[derive(Serialize)]
struct CreatedData<'a> {
    subject: Option<SubjectItem>,
    service: Option<&'a str>,
    action: Option<&'a str>,
    expires_at: Option<Timestamp>,
    reason: &'a Text,
    revision: u64,
}

fn created_entry(lock: &Lock) -> Entry<CreatedData<'_>> {
    let data = CreatedData {
        subject: lock.subject.clone().map(SubjectItem::from),
        service: lock.service.as_deref(),
        action: lock.action.as_deref(),
        expires_at: lock.expires_at,
        reason: &lock.reason,
        revision: lock.revision,
    };
    Entry { kind: EntryKind::LockCreated, actor: ActorField::User(lock.created_by.clone()), ids: ids(lock), data }
}

#[derive(Serialize)]
struct EndedData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Text>,
    revision: u64,
}

fn ended_entry(lock: &Lock) -> Entry<EndedData<'_>> {
    let (kind, actor, reason) = match &lock.state {
        LockState::Removed { by, reason, .. } => {
            (EntryKind::LockRemoved, ActorField::User(by.clone()), reason.as_ref())
        }
        LockState::Active | LockState::Expired { .. } => (EntryKind::LockExpired, ActorField::System, None),
    };
    Entry { kind, actor, ids: ids(lock), data: EndedData { reason, revision: lock.revision } }
}
