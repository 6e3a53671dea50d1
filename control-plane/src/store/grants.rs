//! Grants as they are kept, together with the item that filters load. A change of state is guarded by `state = 'active'`.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Timestamp;
use sqlx::AssertSqlSafe;

use super::select::Select;
use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::audit::AuditError;
use crate::domain::{Grant, GrantState, GrantStateWord, Text};

const TABLE: (&str, &str) = ("grants", "id");

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, state, request, holder_issuer, holder_subject, service, action, resource, rule, starts_at, expires_at, ",
            "terms, revision, ended_at, ended_by_issuer, ended_by_subject, reason FROM grants",
            $rest
        )
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
            revision: row.unsigned("revision")?,
            state: state(&row)?,
        })
    }
}

fn state(row: &Row) -> Result<GrantState, StoreError> {
    let word = row.text("state")?;
    let word = GrantStateWord::parse(&word).ok_or_else(|| row.bad("state", format!("`{word}` is no state")))?;
    let at = row.opt_time("ended_at")?;
    let at = || at.ok_or_else(|| row.bad("ended_at", format!("the grant is {word} without a time")));
    let part = |column| row.opt_text(column)?.ok_or_else(|| row.bad(column, "a revoked grant needs it"));
    Ok(match word {
        GrantStateWord::Active => GrantState::Active,
        GrantStateWord::Expired => GrantState::Expired { at: at()? },
        GrantStateWord::Released => GrantState::Released { at: at()? },
        GrantStateWord::Revoked => GrantState::Revoked {
            at: at()?,
            by: User { issuer: part("ended_by_issuer")?.into(), subject: part("ended_by_subject")?.into() },
            reason: Text::new(&part("reason")?, "reason").map_err(|error| row.bad("reason", error))?,
        },
    })
}

impl Tx {
    /// A grant.
    pub(crate) async fn grant(&mut self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        self.row(TABLE, select!(" WHERE id = $1"), args![id.as_str()]).await?.map(Grant::try_from).transpose()
    }

    /// A page of grants.
    pub(crate) async fn grants(&mut self, which: &Select) -> Result<Vec<Grant>, StoreError> {
        let (sql, values) = which.statement(select!(""), "holder");
        self.rows(TABLE, AssertSqlSafe(sql), values).await?.into_iter().map(Grant::try_from).collect()
    }

    /// Active grants whose time is over.
    pub(crate) async fn overdue_grants(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Grant>, StoreError> {
        let sql = select!(" WHERE state = 'active' AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2");
        self.rows(TABLE, sql, args![now, limit]).await?.into_iter().map(Grant::try_from).collect()
    }

    /// When the next active grant expires.
    pub(crate) async fn next_expiry(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT id, expires_at FROM grants WHERE state = 'active' ORDER BY expires_at LIMIT 1";
        self.row(TABLE, sql, args![]).await?.map(|row| row.time("expires_at")).transpose()
    }
}

impl WriteTx {
    /// Keeps a new grant and gives it to filters.
    pub(crate) async fn insert_grant(&mut self, grant: &Grant) -> Result<(), StoreError> {
        self.change();
        let terms = serde_json::to_string(&grant.terms).map_err(AuditError::Json)?;
        let sql = "INSERT INTO grants (id, state, request, holder_issuer, holder_subject, service, action, resource, rule, \
                   starts_at, expires_at, revision, terms) \
                   VALUES ($1, 'active', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let values = args![
            grant.id.as_str(),
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
        ];
        self.execute(sql, values).await?;
        let item = grant.body().into_item().map_err(AuditError::Json)?;
        self.put_item(&item.key, Some(&grant.service), item.body.get()).await
    }

    /// Keeps how an active grant ended and takes it from filters.
    pub(crate) async fn end_grant(&mut self, grant: &Grant) -> Result<(), StoreError> {
        self.change();
        let (by, reason) = match &grant.state {
            GrantState::Revoked { by, reason, .. } => (Some(by), Some(reason.as_str())),
            _ => (None, None),
        };
        let sql = "UPDATE grants SET state = $1, ended_at = $2, ended_by_issuer = $3, ended_by_subject = $4, reason = $5, \
                   revision = $6 WHERE id = $7 AND state = 'active'";
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
        self.remove_item(&grant.body()).await
    }
}
