//! Locks as they are kept, together with the item that filters load. A change of state is guarded by `state = 'active'`.

use grantmesh_shared::engine::{Subject, User};
use grantmesh_shared::id::LockId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::table::SubjectItem;
use sqlx::AssertSqlSafe;

use super::select::Select;
use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::audit::AuditError;
use crate::domain::{Lock, LockState, LockStateWord, Text};

const TABLE: (&str, &str) = ("locks", "id");

macro_rules! columns {
    () => {
        "id, state, subject, service, action, reason, created_by_issuer, created_by_subject, created_at, expires_at, revision, ended_at, ended_by_issuer, ended_by_subject, end_reason"
    };
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM locks", $rest)
    };
}

impl TryFrom<Row> for Lock {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let by =
            User { issuer: row.text("created_by_issuer")?.into(), subject: row.text("created_by_subject")?.into() };
        Ok(Self {
            id: row.parsed("id")?,
            subject: subject(&row)?,
            service: row.opt_text("service")?,
            action: row.opt_text("action")?,
            reason: Text::kept(&row.text("reason")?, "reason").map_err(|error| row.bad("reason", error))?,
            created_by: by,
            created_at: row.time("created_at")?,
            expires_at: row.opt_time("expires_at")?,
            revision: row.unsigned("revision")?,
            state: state(&row)?,
        })
    }
}

fn subject(row: &Row) -> Result<Option<Subject>, StoreError> {
    let Some(text) = row.opt_text("subject")? else {
        return Ok(None);
    };
    let item: SubjectItem = serde_json::from_str(&text).map_err(|error| row.bad("subject", error))?;
    Subject::try_from(item).map(Some).map_err(|error| row.bad("subject", error))
}

fn state(row: &Row) -> Result<LockState, StoreError> {
    let word = row.text("state")?;
    let word = LockStateWord::parse(&word).ok_or_else(|| row.bad("state", format!("`{word}` is no state")))?;
    let at = row.opt_time("ended_at")?;
    let at = || at.ok_or_else(|| row.bad("ended_at", format!("the lock is {word} without a time")));
    let part = |column| row.opt_text(column)?.ok_or_else(|| row.bad(column, "a removed lock needs it"));
    Ok(match word {
        LockStateWord::Active => LockState::Active,
        LockStateWord::Expired => LockState::Expired { at: at()? },
        LockStateWord::Removed => LockState::Removed {
            at: at()?,
            by: User { issuer: part("ended_by_issuer")?.into(), subject: part("ended_by_subject")?.into() },
            reason: Text::optional_kept(row.opt_text("end_reason")?.as_deref(), "reason")
                .map_err(|error| row.bad("end_reason", error))?,
        },
    })
}

impl Tx {
    /// A lock.
    pub(crate) async fn lock(&mut self, id: &LockId) -> Result<Option<Lock>, StoreError> {
        self.row(TABLE, select!(" WHERE id = $1"), args![id.as_str()]).await?.map(Lock::try_from).transpose()
    }

    /// A page of locks.
    pub(crate) async fn locks(&mut self, which: &Select) -> Result<Vec<Lock>, StoreError> {
        let (sql, values) = which.statement(columns!(), ("locks", "created_by"), self.is_sqlite());
        self.rows(TABLE, AssertSqlSafe(sql), values).await?.into_iter().map(Lock::try_from).collect()
    }

    /// Active locks whose time is over.
    pub(crate) async fn overdue_locks(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Lock>, StoreError> {
        let sql = select!(" WHERE state = 'active' AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2");
        self.rows(TABLE, sql, args![now, limit]).await?.into_iter().map(Lock::try_from).collect()
    }

    /// When the next active lock expires.
    pub(crate) async fn next_lock_expiry(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT id, expires_at FROM locks WHERE state = 'active' AND expires_at IS NOT NULL \
                   ORDER BY expires_at LIMIT 1";
        self.row(TABLE, sql, args![]).await?.map(|row| row.time("expires_at")).transpose()
    }
}

impl WriteTx {
    /// Keeps a new lock and gives it to filters.
    pub(crate) async fn insert_lock(&mut self, lock: &Lock) -> Result<(), StoreError> {
        self.change();
        let subject = lock.subject.clone().map(SubjectItem::from);
        let subject = subject.map(|subject| serde_json::to_string(&subject)).transpose().map_err(AuditError::Json)?;
        let sql = "INSERT INTO locks (id, state, subject, service, action, reason, created_by_issuer, \
                   created_by_subject, created_at, expires_at, revision) \
                   VALUES ($1, 'active', $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let values = args![
            lock.id.as_str(),
            subject.as_deref(),
            lock.service.as_deref(),
            lock.action.as_deref(),
            lock.reason.as_str(),
            &*lock.created_by.issuer,
            &*lock.created_by.subject,
            lock.created_at,
            lock.expires_at,
            lock.revision,
        ];
        self.execute(sql, values).await?;
        let item = lock.body().into_item().map_err(AuditError::Json)?;
        self.put_item(&item.key, lock.service.as_deref(), item.body.get()).await
    }

    /// Keeps how an active lock ended and takes it from filters.
    pub(crate) async fn end_lock(&mut self, lock: &Lock) -> Result<(), StoreError> {
        self.change();
        let (by, reason) = match &lock.state {
            LockState::Removed { by, reason, .. } => (Some(by), reason.as_ref().map(Text::as_str)),
            _ => (None, None),
        };
        let sql = "UPDATE locks SET state = $1, ended_at = $2, ended_by_issuer = $3, ended_by_subject = $4, \
                   end_reason = $5, revision = $6 WHERE id = $7 AND state = 'active'";
        let values = args![
            lock.state.word().as_str(),
            lock.state.ended_at(),
            by.map(|by| &*by.issuer),
            by.map(|by| &*by.subject),
            reason,
            lock.revision,
            lock.id.as_str(),
        ];
        self.execute_one("locks", lock.id.as_str(), sql, values).await?;
        self.remove_item(&lock.body()).await
    }
}
