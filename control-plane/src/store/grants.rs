//! Grants as they are kept, together with the item that filters load. A change of state is guarded by the state before.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Timestamp;
use sqlx::AssertSqlSafe;

use super::select::Select;
use super::tx::{Row, Tx, Value, args};
use super::{StoreError, WriteTx};
use crate::audit::AuditError;
use crate::domain::{Event, EventKind, Grant, GrantState, GrantStateWord, Text, Use, UseCount, warn_at};

const TABLE: (&str, &str) = ("grants", "id");

macro_rules! columns {
    () => {
        concat!(
            "id, state, request, holder_issuer, holder_subject, service, action, resource, rule, starts_at, ",
            "expires_at, terms, uses, claimed, break_glass, revision, ended_at, ended_by_issuer, ended_by_subject, reason"
        )
    };
}

const COLUMNS: &str = columns!();

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM grants", $rest)
    };
}

impl TryFrom<Row> for Grant {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            request: row.parsed("request")?,
            holder: User { issuer: row.text("holder_issuer")?.into(), subject: row.text("holder_subject")?.into() },
            service: row.text("service")?,
            action: row.text("action")?,
            resource: row.text("resource")?,
            rule: row.text("rule")?,
            starts_at: row.time("starts_at")?,
            expires_at: row.time("expires_at")?,
            terms: row.json("terms")?,
            uses: uses(&row)?,
            break_glass: row.unsigned::<u32>("break_glass")? == 1,
            revision: row.unsigned("revision")?,
            state: state(&row)?,
        })
    }
}

/// Who ended a grant, and why, where that is kept.
fn ended_by(grant: &Grant) -> (Option<&User>, Option<&str>) {
    match &grant.state {
        GrantState::Revoked { by, reason, .. } => (by.as_ref(), Some(reason.as_str())),
        _ => (None, None),
    }
}

fn uses(row: &Row) -> Result<Option<UseCount>, StoreError> {
    let claimed = row.unsigned("claimed")?;
    Ok(row.opt_unsigned("uses")?.map(|allowed| UseCount { allowed, claimed }))
}

fn state(row: &Row) -> Result<GrantState, StoreError> {
    let word = row.text("state")?;
    let word = GrantStateWord::parse(&word).ok_or_else(|| row.bad("state", format!("`{word}` is no state")))?;
    let at = row.opt_time("ended_at")?;
    let at = || at.ok_or_else(|| row.bad("ended_at", format!("the grant is {word} without a time")));
    let by = row.opt_text("ended_by_issuer")?.zip(row.opt_text("ended_by_subject")?);
    let reason = || row.opt_text("reason")?.ok_or_else(|| row.bad("reason", "a revoked grant needs it"));
    Ok(match word {
        GrantStateWord::Scheduled => GrantState::Scheduled,
        GrantStateWord::Active => GrantState::Active,
        GrantStateWord::Expired => GrantState::Expired { at: at()? },
        GrantStateWord::Released => GrantState::Released { at: at()? },
        GrantStateWord::Exhausted => GrantState::Exhausted { at: at()? },
        GrantStateWord::Revoked => GrantState::Revoked {
            at: at()?,
            by: by.map(|(issuer, subject)| User { issuer: issuer.into(), subject: subject.into() }),
            reason: Text::kept(&reason()?, "reason").map_err(|error| row.bad("reason", error))?,
        },
    })
}

/// Which grants that are in force, scheduled or linger.
#[derive(Debug, Clone)]
pub(crate) struct LiveGrants {
    pub(crate) holder: Option<User>,
    pub(crate) service: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) limit: u32,
}

impl Tx {
    /// Grants that somebody may still end, oldest first.
    pub(crate) async fn live_grants(&mut self, which: &LiveGrants) -> Result<Vec<Grant>, StoreError> {
        let LiveGrants { holder, service, action, rule, limit } = which;
        let (mut sql, mut values) =
            (select!(" WHERE (state IN ('scheduled', 'active') OR lingers = 1)").to_owned(), Vec::new());
        let parts = [
            ("holder_issuer", holder.as_ref().map(|user| &*user.issuer)),
            ("holder_subject", holder.as_ref().map(|user| &*user.subject)),
            ("service", service.as_deref()),
            ("action", action.as_deref()),
            ("rule", rule.as_deref()),
        ];
        for (column, stated) in parts {
            let Some(stated) = stated else { continue };
            values.push(Value::from(stated));
            sql.push_str(&format!(" AND {column} = ${}", values.len()));
        }
        values.push(Value::from(*limit));
        sql.push_str(&format!(" ORDER BY id LIMIT ${}", values.len()));
        self.rows(TABLE, AssertSqlSafe(sql), values).await?.into_iter().map(Grant::try_from).collect()
    }

    /// A grant.
    pub(crate) async fn grant(&mut self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        self.row(TABLE, select!(" WHERE id = $1"), args![id.as_str()]).await?.map(Grant::try_from).transpose()
    }

    /// A page of grants.
    pub(crate) async fn grants(&mut self, which: &Select) -> Result<Vec<Grant>, StoreError> {
        let (sql, values) = which.statement(COLUMNS, ("grants", "holder"), self.is_sqlite());
        self.rows(TABLE, AssertSqlSafe(sql), values).await?.into_iter().map(Grant::try_from).collect()
    }

    /// Grants that filters hold and whose time is over.
    pub(crate) async fn overdue_grants(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Grant>, StoreError> {
        let sql =
            select!(" WHERE (state = 'active' OR lingers = 1) AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2");
        self.rows(TABLE, sql, args![now, limit]).await?.into_iter().map(Grant::try_from).collect()
    }

    /// Scheduled grants whose time has come.
    pub(crate) async fn due_grants(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Grant>, StoreError> {
        let sql = select!(" WHERE state = 'scheduled' AND starts_at <= $1 ORDER BY starts_at, id LIMIT $2");
        self.rows(TABLE, sql, args![now, limit]).await?.into_iter().map(Grant::try_from).collect()
    }

    /// When the time of the next scheduled grant comes.
    pub(crate) async fn next_start(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT id, starts_at FROM grants WHERE state = 'scheduled' ORDER BY starts_at LIMIT 1";
        self.row(TABLE, sql, args![]).await?.map(|row| row.time("starts_at")).transpose()
    }

    /// Grants whose holders are to be warned of their end.
    pub(crate) async fn grants_to_warn(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Grant>, StoreError> {
        let sql = select!(
            " WHERE state = 'active' AND warn_at IS NOT NULL AND warn_at <= $1 AND expires_at > $1 ORDER BY warn_at, id LIMIT $2"
        );
        self.rows(TABLE, sql, args![now, limit]).await?.into_iter().map(Grant::try_from).collect()
    }

    /// When the next holder is to be warned.
    pub(crate) async fn next_warning(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let sql =
            "SELECT id, warn_at FROM grants WHERE state = 'active' AND warn_at IS NOT NULL ORDER BY warn_at LIMIT 1";
        self.row(TABLE, sql, args![]).await?.map(|row| row.time("warn_at")).transpose()
    }

    /// When the time of the next grant that filters hold ends.
    pub(crate) async fn next_expiry(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let sql =
            "SELECT id, expires_at FROM grants WHERE (state = 'active' OR lingers = 1) ORDER BY expires_at LIMIT 1";
        self.row(TABLE, sql, args![]).await?.map(|row| row.time("expires_at")).transpose()
    }
}

impl WriteTx {
    /// Keeps a new grant, gives it to filters if it is in force, and tells of it.
    pub(crate) async fn insert_grant(&mut self, grant: &Grant) -> Result<(), StoreError> {
        self.change();
        let terms = serde_json::to_string(&grant.terms).map_err(AuditError::Json)?;
        let sql = "INSERT INTO grants (id, state, request, holder_issuer, holder_subject, service, action, resource, rule, \
                   starts_at, expires_at, revision, terms, uses, warn_at, break_glass) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
        let values = args![
            grant.id.as_str(),
            grant.state.word().as_str(),
            grant.request.as_str(),
            &*grant.holder.issuer,
            &*grant.holder.subject,
            &*grant.service,
            &*grant.action,
            &*grant.resource,
            &*grant.rule,
            grant.starts_at,
            grant.expires_at,
            grant.revision,
            terms,
            grant.uses.map(|uses| uses.allowed),
            warn_at(grant.starts_at, grant.expires_at),
            u32::from(grant.break_glass),
        ];
        self.execute(sql, values).await?;
        self.give(grant).await?;
        // Nobody issued one that broken glass gave, which is told as that.
        if grant.break_glass {
            return Ok(());
        }
        self.tell(&Event::of_grant(EventKind::GrantIssued, grant)).await
    }

    /// Gives a grant to filters, if it is in force: one that is scheduled is nothing that they must know.
    async fn give(&mut self, grant: &Grant) -> Result<(), StoreError> {
        if grant.state != GrantState::Active {
            return Ok(());
        }
        let item = grant.body().into_item().map_err(AuditError::Json)?;
        self.put_item(&item.key, Some(&grant.service), item.body.get()).await
    }

    /// Keeps what became of a scheduled grant, and gives it to filters if it is in force now.
    pub(crate) async fn settle_scheduled(&mut self, grant: &Grant) -> Result<(), StoreError> {
        self.change();
        let terms = serde_json::to_string(&grant.terms).map_err(AuditError::Json)?;
        let (by, reason) = ended_by(grant);
        let sql = "UPDATE grants SET state = $1, starts_at = $2, expires_at = $3, terms = $4, uses = $5, warn_at = $6, \
                   ended_at = $7, ended_by_issuer = $8, ended_by_subject = $9, reason = $10, revision = $11 \
                   WHERE id = $12 AND state = 'scheduled'";
        let values = args![
            grant.state.word().as_str(),
            grant.starts_at,
            grant.expires_at,
            terms,
            grant.uses.map(|uses| uses.allowed),
            warn_at(grant.starts_at, grant.expires_at),
            grant.state.ended_at(),
            by.map(|by| &*by.issuer),
            by.map(|by| &*by.subject),
            reason,
            grant.revision,
            grant.id.as_str(),
        ];
        self.execute_one("grants", grant.id.as_str(), sql, values).await?;
        self.give(grant).await?;
        let kind = match grant.state {
            GrantState::Scheduled | GrantState::Active => EventKind::GrantStarted,
            GrantState::Revoked { .. } => EventKind::GrantRevoked,
            GrantState::Expired { .. } | GrantState::Released { .. } | GrantState::Exhausted { .. } => {
                EventKind::GrantEnded
            }
        };
        self.tell(&Event::of_grant(kind, grant)).await
    }

    /// Keeps the later end of a grant that ended at `before`, and tells filters of it.
    pub(crate) async fn extend_grant(&mut self, grant: &Grant, before: Timestamp) -> Result<(), StoreError> {
        self.change();
        let terms = serde_json::to_string(&grant.terms).map_err(AuditError::Json)?;
        let sql = "UPDATE grants SET expires_at = $1, terms = $2, warn_at = $3, revision = $4 \
                   WHERE id = $5 AND state = 'active' AND expires_at = $6";
        let warned = warn_at(grant.starts_at, grant.expires_at);
        let values = args![grant.expires_at, terms, warned, grant.revision, grant.id.as_str(), before];
        self.execute_one("grants", grant.id.as_str(), sql, values).await?;
        self.give(grant).await?;
        self.tell(&Event::of_grant(EventKind::GrantExtended, grant)).await
    }

    /// Keeps that the holder of a grant was warned of its end.
    pub(crate) async fn warned(&mut self, grant: &Grant) -> Result<(), StoreError> {
        let sql = "UPDATE grants SET warn_at = NULL \
                   WHERE id = $1 AND state = 'active' AND expires_at = $2 AND warn_at IS NOT NULL";
        let values = args![grant.id.as_str(), grant.expires_at];
        self.execute_one("grants", grant.id.as_str(), sql, values).await?;
        self.tell(&Event::of_grant(EventKind::GrantEnding, grant)).await
    }

    /// Keeps how a grant ended that filters hold, takes it from them and tells of it.
    pub(crate) async fn end_grant(&mut self, grant: &Grant) -> Result<(), StoreError> {
        self.change();
        let (by, reason) = ended_by(grant);
        let sql = "UPDATE grants SET state = $1, ended_at = $2, ended_by_issuer = $3, ended_by_subject = $4, reason = $5, \
                   revision = $6, lingers = 0 WHERE id = $7 AND (state = 'active' OR lingers = 1)";
        let values = args![
            grant.state.word().as_str(),
            grant.state.ended_at(),
            by.map(|by| &*by.issuer),
            by.map(|by| &*by.subject),
            reason,
            grant.revision,
            grant.id.as_str(),
        ];
        self.execute_one("grants", grant.id.as_str(), sql, values).await?;
        self.remove_item(&grant.body()).await?;
        let kind = match grant.state {
            GrantState::Revoked { .. } => EventKind::GrantRevoked,
            GrantState::Expired { .. } | GrantState::Released { .. } => EventKind::GrantEnded,
            // That was told when its last use was taken.
            GrantState::Scheduled | GrantState::Active | GrantState::Exhausted { .. } => return Ok(()),
        };
        self.tell(&Event::of_grant(kind, grant)).await
    }

    /// Keeps a use that was taken, and the grant as it is with it. Filters hear of it only when it was the last.
    pub(crate) async fn claim(&mut self, grant: &Grant, taken: &Use) -> Result<(), StoreError> {
        let exhausted = matches!(grant.state, GrantState::Exhausted { .. });
        let sql = "UPDATE grants SET claimed = $1, used = 1, state = $2, ended_at = $3, revision = $4, lingers = $5 \
                   WHERE id = $6 AND state = 'active' AND claimed = $7";
        let values = args![
            taken.number,
            grant.state.word().as_str(),
            grant.state.ended_at(),
            grant.revision,
            u32::from(exhausted),
            grant.id.as_str(),
            taken.number.saturating_sub(1),
        ];
        self.execute_one("grants", grant.id.as_str(), sql, values).await?;
        self.insert_use(taken).await?;
        if exhausted {
            let item = grant.body().into_item().map_err(AuditError::Json)?;
            self.put_item(&item.key, Some(&grant.service), item.body.get()).await?;
            self.tell(&Event::of_grant(EventKind::GrantEnded, grant)).await?;
        }
        Ok(())
    }
}
