//! Tokens for times without a control plane, as they are kept. That one was used is guarded by `used_at IS NULL`.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Timestamp;
use sqlx::AssertSqlSafe;

use super::select::Bound;
use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::domain::{Actor, Offline, Text};

const TABLE: (&str, &str) = ("offline_tokens", "grant_id");

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT grant_id, holder_issuer, holder_subject, holder_groups, service, rule, actions, said, policy, ",
            "max_duration_ms, review_within_ms, issued_at, expires_at, used_at FROM offline_tokens",
            $rest
        )
    };
}

impl TryFrom<Row> for Offline {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let said = row.text("said")?;
        let (issuer, subject) = (row.text("holder_issuer")?, row.text("holder_subject")?);
        Ok(Self {
            grant: row.parsed("grant_id")?,
            holder: Actor::new(&issuer, &subject, row.json("holder_groups")?),
            service: row.text("service")?,
            right: row.text("rule")?,
            actions: row.json("actions")?,
            reason: Text::kept(&said, "reason").map_err(|error| row.bad("said", error))?,
            policy: row.parsed("policy")?,
            max_duration: row.span("max_duration_ms")?,
            review_within: row.span("review_within_ms")?,
            issued_at: row.time("issued_at")?,
            expires_at: row.time("expires_at")?,
            used_at: row.opt_time("used_at")?,
        })
    }
}

impl Tx {
    /// The token whose use comes to this grant.
    pub(crate) async fn offline_token(&mut self, grant: &GrantId) -> Result<Option<Offline>, StoreError> {
        self.row(TABLE, select!(" WHERE grant_id = $1"), args![grant.as_str()])
            .await?
            .map(Offline::try_from)
            .transpose()
    }

    /// Tokens that are good, of everybody or of one holder, newest first.
    pub(crate) async fn offline_tokens(
        &mut self,
        holder: Option<&User>,
        now: Timestamp,
        (cursor, limit): (Option<&str>, u32),
    ) -> Result<Vec<Offline>, StoreError> {
        let mut bound = Bound::default();
        let mut conditions = vec![format!("expires_at > {}", bound.place(now))];
        conditions.extend(
            holder.map(|User { issuer, subject }| bound.both(("holder_issuer", issuer), ("holder_subject", subject))),
        );
        conditions.extend(cursor.map(|cursor| format!("grant_id < {}", bound.place(cursor))));
        let limit = bound.place(limit);
        let sql = format!("{} WHERE {} ORDER BY grant_id DESC LIMIT {limit}", select!(""), conditions.join(" AND "));
        let rows = self.rows(TABLE, AssertSqlSafe(sql), bound.into_values()).await?;
        rows.into_iter().map(Offline::try_from).collect()
    }
}

impl WriteTx {
    /// Keeps a token that is signed.
    pub(crate) async fn insert_offline_token(&mut self, token: &Offline) -> Result<(), StoreError> {
        self.change();
        let sql = "INSERT INTO offline_tokens (grant_id, holder_issuer, holder_subject, holder_groups, service, rule, actions, \
                   said, policy, max_duration_ms, review_within_ms, issued_at, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        let values = args![
            token.grant.as_str(),
            &*token.holder.user.issuer,
            &*token.holder.user.subject,
            serde_json::json!(token.holder.groups).to_string(),
            &*token.service,
            &*token.right,
            serde_json::json!(token.actions).to_string(),
            token.reason.as_str(),
            token.policy.as_str(),
            token.max_duration,
            token.review_within,
            token.issued_at,
            token.expires_at,
        ];
        self.execute(sql, values).await.map(drop)
    }

    /// Keeps that a token was used.
    pub(crate) async fn offline_token_used(&mut self, grant: &GrantId, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE offline_tokens SET used_at = $1 WHERE grant_id = $2 AND used_at IS NULL";
        self.execute_one("offline_tokens", grant.as_str(), sql, args![now, grant.as_str()]).await
    }
}
