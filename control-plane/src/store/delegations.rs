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
        let user = |issuer, subject| {
            let part = |column| row.opt_text(column)?.ok_or_else(|| row.bad(column, "it names nobody"));
            Ok::<_, StoreError>(User { issuer: part(issuer)?.into(), subject: part(subject)?.into() })
        };
        let ended = row.opt_time("ended_at")?;
        let ended =
            ended.map(|at| Ok::<_, StoreError>((at, user("ended_by_issuer", "ended_by_subject")?))).transpose()?;
        Ok(Self {
            id: row.parsed("id")?,
            delegator: user("delegator_issuer", "delegator_subject")?,
            delegator_groups: row.json("delegator_groups")?,
            delegate: user("delegate_issuer", "delegate_subject")?,
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
        let which = format!("{} ORDER BY id DESC LIMIT {limit}", conditions.join(" AND "));
        self.delegations_where(&which, bound).await
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
        let lasted = format!("ends_at > {since} AND (ended_at IS NULL OR ended_at > {since})");
        self.delegations_where(&format!("{concerning} AND {lasted} ORDER BY id"), bound).await
    }

    /// The delegations to an account that count now.
    pub(crate) async fn delegations_to(&mut self, user: &User, now: Timestamp) -> Result<Vec<Delegation>, StoreError> {
        let mut bound = Bound::default();
        let to = bound.both(("delegate_issuer", &user.issuer), ("delegate_subject", &user.subject));
        let counts = counts(now, &mut bound);
        self.delegations_where(&format!("{to} AND {counts} ORDER BY id"), bound).await
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
        let counts = counts(now, &mut bound);
        self.delegations_where(&format!("({any}) AND {counts} ORDER BY id"), bound).await
    }

    async fn delegations_where(&mut self, which: &str, bound: Bound) -> Result<Vec<Delegation>, StoreError> {
        let sql = format!("{} WHERE {which}", select!());
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
        const GIVEN: &str = "delegator_issuer = $1 AND delegator_subject = $2 AND ends_at > $3 AND ended_at IS NULL";
        const TAKEN: &str = "delegate_issuer = $1 AND delegate_subject = $2 AND ends_at > $3 AND ended_at IS NULL";
        const LATELY: &str = "delegator_issuer = $1 AND delegator_subject = $2 AND created_at > $3";
        Ok(Delegations {
            given: self.count_delegations(GIVEN, delegator, now).await?,
            taken: self.count_delegations(TAKEN, delegate, now).await?,
            given_lately: self.count_delegations(LATELY, delegator, now.minus(LONGEST_DELEGATION)).await?,
        })
    }

    async fn count_delegations(&mut self, which: &str, user: &User, at: Timestamp) -> Result<u64, StoreError> {
        let sql = format!("SELECT 'all' AS id, COUNT(*) AS number FROM delegations WHERE {which}");
        let row = self.row(TABLE, AssertSqlSafe(sql), args![&*user.issuer, &*user.subject, at]).await?;
        row.map_or(Ok(0), |row| row.unsigned("number"))
    }
}

/// What is true of delegations that count now.
fn counts(now: Timestamp, bound: &mut Bound) -> String {
    let now = bound.place(now);
    format!("ends_at > {now} AND starts_at <= {now} AND ended_at IS NULL")
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
