//! Delegations as they are kept: only ever added, and ended once. Whether one counts is told by the clock.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::DelegationId;
use grantmesh_shared::time::Timestamp;
use sqlx::AssertSqlSafe;

use super::select::Bound;
use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::domain::{Delegation, Delegations, Event, EventKind, LONGEST_DELEGATION, Text};

const TABLE: (&str, &str) = ("delegations", "id");

macro_rules! select {
    () => {
        "SELECT id, delegator_issuer, delegator_subject, delegator_groups, delegate_issuer, delegate_subject, service, rule, reason, \
         created_at, starts_at, ends_at, ended_at, ended_by_issuer, ended_by_subject FROM delegations"
    };
}

impl TryFrom<Row> for Delegation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let part =
            |column| row.opt_text(column)?.ok_or_else(|| row.bad(column, "a delegation that was ended needs it"));
        let ended = match row.opt_time("ended_at")? {
            Some(at) => {
                let by = User { issuer: part("ended_by_issuer")?.into(), subject: part("ended_by_subject")?.into() };
                Some((at, by))
            }
            None => None,
        };
        Ok(Self {
            id: row.parsed("id")?,
            delegator: User {
                issuer: row.text("delegator_issuer")?.into(),
                subject: row.text("delegator_subject")?.into(),
            },
            delegator_groups: row.json("delegator_groups")?,
            delegate: User {
                issuer: row.text("delegate_issuer")?.into(),
                subject: row.text("delegate_subject")?.into(),
            },
            service: row.opt_text("service")?,
            rule: row.opt_text("rule")?,
            reason: Text::kept(&row.text("reason")?, "reason").map_err(|error| row.bad("reason", error))?,
            created_at: row.time("created_at")?,
            starts_at: row.time("starts_at")?,
            ends_at: row.time("ends_at")?,
            ended,
        })
    }
}

impl Tx {
    /// A delegation.
    pub(crate) async fn delegation(&mut self, id: &DelegationId) -> Result<Option<Delegation>, StoreError> {
        let sql = concat!(select!(), " WHERE id = $1");
        self.row(TABLE, sql, args![id.as_str()]).await?.map(Delegation::try_from).transpose()
    }

    /// The delegations to or from somebody, or all, newest first; with a time, only those that are not over by then.
    pub(crate) async fn delegations(
        &mut self,
        of: Option<&User>,
        over: Option<Timestamp>,
        (cursor, limit): (Option<&str>, u32),
    ) -> Result<Vec<Delegation>, StoreError> {
        let mut bound = Bound::default();
        let mut conditions = vec!["1 = 1".to_owned()];
        if let Some(of) = of {
            conditions.push(concerning(std::slice::from_ref(of), &mut bound));
        }
        if let Some(now) = over {
            conditions.push(format!("ended_at IS NULL AND ends_at > {}", bound.place(now)));
        }
        conditions.extend(cursor.map(|cursor| format!("id < {}", bound.place(cursor))));
        let limit = bound.place(limit);
        let sql = format!("{} WHERE {} ORDER BY id DESC LIMIT {limit}", select!(), conditions.join(" AND "));
        let rows = self.rows(TABLE, AssertSqlSafe(sql), bound.into_values()).await?;
        rows.into_iter().map(Delegation::try_from).collect()
    }

    /// The delegations to or from a person's accounts that were not over by a time, though they may be now.
    pub(crate) async fn delegations_since(
        &mut self,
        accounts: &[User],
        since: Timestamp,
    ) -> Result<Vec<Delegation>, StoreError> {
        let mut bound = Bound::default();
        let concerning = concerning(accounts, &mut bound);
        let since = bound.place(since);
        let sql = format!(
            "{} WHERE {concerning} AND ends_at > {since} AND (ended_at IS NULL OR ended_at > {since}) ORDER BY id",
            select!()
        );
        let rows = self.rows(TABLE, AssertSqlSafe(sql), bound.into_values()).await?;
        rows.into_iter().map(Delegation::try_from).collect()
    }

    /// The delegations to an account that count now.
    pub(crate) async fn delegations_to(&mut self, user: &User, now: Timestamp) -> Result<Vec<Delegation>, StoreError> {
        let sql = concat!(
            select!(),
            " WHERE delegate_issuer = $1 AND delegate_subject = $2 AND ends_at > $3 AND starts_at <= $3 AND ended_at IS NULL \
             ORDER BY id"
        );
        let rows = self.rows(TABLE, sql, args![&*user.issuer, &*user.subject, now]).await?;
        rows.into_iter().map(Delegation::try_from).collect()
    }

    /// The delegations by any of these that count now.
    pub(crate) async fn delegations_by(
        &mut self,
        delegators: &[User],
        now: Timestamp,
    ) -> Result<Vec<Delegation>, StoreError> {
        if delegators.is_empty() {
            return Ok(Vec::new());
        }
        let mut bound = Bound::default();
        let by =
            |User { issuer, subject }: &User| bound.both(("delegator_issuer", issuer), ("delegator_subject", subject));
        let any = delegators.iter().map(by).collect::<Vec<_>>().join(" OR ");
        let now = bound.place(now);
        let sql = format!(
            "{} WHERE ({any}) AND ends_at > {now} AND starts_at <= {now} AND ended_at IS NULL ORDER BY id",
            select!()
        );
        let rows = self.rows(TABLE, AssertSqlSafe(sql), bound.into_values()).await?;
        rows.into_iter().map(Delegation::try_from).collect()
    }

    /// How many delegations there are that are not over: given by one, and taken by another.
    pub(crate) async fn delegations_so_far(
        &mut self,
        delegator: &User,
        delegate: &User,
        now: Timestamp,
    ) -> Result<Delegations, StoreError> {
        let given = "SELECT 'given' AS id, COUNT(*) AS number FROM delegations WHERE delegator_issuer = $1 \
                     AND delegator_subject = $2 AND ends_at > $3 AND ended_at IS NULL";
        let taken = "SELECT 'taken' AS id, COUNT(*) AS number FROM delegations WHERE delegate_issuer = $1 \
                     AND delegate_subject = $2 AND ends_at > $3 AND ended_at IS NULL";
        let lately = "SELECT 'lately' AS id, COUNT(*) AS number FROM delegations WHERE delegator_issuer = $1 \
                      AND delegator_subject = $2 AND created_at > $3";
        let mut so_far = Delegations::default();
        let since = now.minus(LONGEST_DELEGATION);
        if let Some(row) = self.row(TABLE, lately, args![&*delegator.issuer, &*delegator.subject, since]).await? {
            so_far.given_lately = row.unsigned("number")?;
        }
        if let Some(row) = self.row(TABLE, given, args![&*delegator.issuer, &*delegator.subject, now]).await? {
            so_far.given = row.unsigned("number")?;
        }
        if let Some(row) = self.row(TABLE, taken, args![&*delegate.issuer, &*delegate.subject, now]).await? {
            so_far.taken = row.unsigned("number")?;
        }
        Ok(so_far)
    }
}

/// What is true of delegations to or from one of these accounts.
fn concerning(accounts: &[User], bound: &mut Bound) -> String {
    let mut any = Vec::new();
    for User { issuer, subject } in accounts {
        let (issuer, subject) = (bound.place(&**issuer), bound.place(&**subject));
        any.push(format!("delegator_issuer = {issuer} AND delegator_subject = {subject}"));
        any.push(format!("delegate_issuer = {issuer} AND delegate_subject = {subject}"));
    }
    format!("({})", any.join(" OR "))
}

impl WriteTx {
    /// Keeps a new delegation.
    pub(crate) async fn insert_delegation(&mut self, delegation: &Delegation) -> Result<(), StoreError> {
        self.change();
        let sql = "INSERT INTO delegations (id, delegator_issuer, delegator_subject, delegator_groups, delegate_issuer, \
                   delegate_subject, service, rule, reason, created_at, starts_at, ends_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let values = args![
            delegation.id.as_str(),
            &*delegation.delegator.issuer,
            &*delegation.delegator.subject,
            serde_json::json!(delegation.delegator_groups).to_string(),
            &*delegation.delegate.issuer,
            &*delegation.delegate.subject,
            delegation.service.as_deref(),
            delegation.rule.as_deref(),
            delegation.reason.as_str(),
            delegation.created_at,
            delegation.starts_at,
            delegation.ends_at,
        ];
        self.execute(sql, values).await?;
        self.tell(&Event::of_delegation(EventKind::DelegationGiven, delegation)).await
    }

    /// Keeps who ended a delegation, and when.
    pub(crate) async fn end_delegation(&mut self, delegation: &Delegation) -> Result<(), StoreError> {
        self.change();
        let sql = "UPDATE delegations SET ended_at = $1, ended_by_issuer = $2, ended_by_subject = $3 \
                   WHERE id = $4 AND ended_at IS NULL";
        let (at, by) = delegation.ended.as_ref().map_or((None, None), |(at, by)| (Some(*at), Some(by)));
        let values = args![at, by.map(|by| &*by.issuer), by.map(|by| &*by.subject), delegation.id.as_str()];
        self.execute_one("delegations", delegation.id.as_str(), sql, values).await?;
        self.tell(&Event::of_delegation(EventKind::DelegationEnded, delegation)).await
    }
}
