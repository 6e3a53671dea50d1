//! Post-reviews as they are kept. A decision is guarded by `state = 'open'`.

use std::collections::HashMap;

use grantmesh_shared::engine::User;
use grantmesh_shared::id::{GrantId, PostReviewId};
use grantmesh_shared::time::Timestamp;
use sqlx::AssertSqlSafe;

use super::reviews::on_behalf_of;
use super::select::Select;
use super::tx::{Row, Tx, Value, args};
use super::{StoreError, WriteTx};
use crate::domain::{Event, EventKind, GlassBroken, PostReview, PostReviewState, PostReviewWord, Text};

const TABLE: (&str, &str) = ("post_reviews", "id");

macro_rules! columns {
    () => {
        concat!(
            "id, state, grant_id, request, holder_issuer, holder_subject, service, action, resource, rule, said, policy, ",
            "opened_at, due_at, decided_at, decided_by_issuer, decided_by_subject, reason, delegation, on_behalf_of_issuer, ",
            "on_behalf_of_subject, on_behalf_of_groups"
        )
    };
}

const COLUMNS: &str = columns!();

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM post_reviews", $rest)
    };
}

/// How many post-reviews are open, how many of them are overdue, and how often the glass was broken at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PostReviewSums {
    /// All that there ever were.
    pub all: u64,
    /// Those that are open.
    pub open: u64,
    /// Those of them that are overdue.
    pub overdue: u64,
}

impl TryFrom<Row> for PostReview {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let said = row.text("said")?;
        Ok(Self {
            id: row.parsed("id")?,
            grant: row.parsed("grant_id")?,
            request: row.parsed("request")?,
            holder: User { issuer: row.text("holder_issuer")?.into(), subject: row.text("holder_subject")?.into() },
            service: row.text("service")?,
            action: row.text("action")?,
            resource: row.text("resource")?,
            rule: row.text("rule")?,
            reason: Text::kept(&said, "reason").map_err(|error| row.bad("said", error))?,
            policy: row.parsed("policy")?,
            opened_at: row.time("opened_at")?,
            due_at: row.time("due_at")?,
            state: state(&row)?,
        })
    }
}

fn state(row: &Row) -> Result<PostReviewState, StoreError> {
    let word = row.text("state")?;
    let word = PostReviewWord::parse(&word).ok_or_else(|| row.bad("state", format!("`{word}` is no state")))?;
    if word == PostReviewWord::Open {
        return Ok(PostReviewState::Open);
    }
    let needed = |column| row.bad(column, format!("it is {word} without it"));
    let at = row.opt_time("decided_at")?.ok_or_else(|| needed("decided_at"))?;
    let by = row.opt_text("decided_by_issuer")?.zip(row.opt_text("decided_by_subject")?);
    let (issuer, subject) = by.ok_or_else(|| needed("decided_by_issuer"))?;
    let by = User { issuer: issuer.into(), subject: subject.into() };
    let reason = row.opt_text("reason")?;
    let reason = Text::optional_kept(reason.as_deref(), "reason").map_err(|error| row.bad("reason", error))?;
    let on_behalf_of = on_behalf_of(row)?;
    match word {
        PostReviewWord::Accepted | PostReviewWord::Open => {
            Ok(PostReviewState::Accepted { at, by, on_behalf_of, reason })
        }
        PostReviewWord::Disputed => {
            let reason = reason.ok_or_else(|| needed("reason"))?;
            Ok(PostReviewState::Disputed { at, by, on_behalf_of, reason })
        }
    }
}

impl Tx {
    /// A post-review.
    pub(crate) async fn post_review(&mut self, id: &PostReviewId) -> Result<Option<PostReview>, StoreError> {
        self.row(TABLE, select!(" WHERE id = $1"), args![id.as_str()]).await?.map(PostReview::try_from).transpose()
    }

    /// The post-reviews of what was done under these grants; each grant has one at most. At most a page of grants, so that
    /// one statement is enough.
    pub(crate) async fn post_reviews_of(
        &mut self,
        grants: &[&GrantId],
    ) -> Result<HashMap<GrantId, PostReview>, StoreError> {
        if grants.is_empty() {
            return Ok(HashMap::new());
        }
        let places: Vec<String> = (1..=grants.len()).map(|place| format!("${place}")).collect();
        let sql = format!("{} WHERE grant_id IN ({})", select!(""), places.join(", "));
        let ids: Vec<Value> = grants.iter().map(|id| Value::from(id.as_str())).collect();
        let rows = self.rows(TABLE, AssertSqlSafe(sql), ids).await?;
        rows.into_iter().map(PostReview::try_from).map(|found| found.map(|of| (of.grant.clone(), of))).collect()
    }

    /// A page of post-reviews.
    pub(crate) async fn post_reviews(&mut self, which: &Select) -> Result<Vec<PostReview>, StoreError> {
        let (sql, values) = which.statement(COLUMNS, ("post_reviews", "holder"), self.is_sqlite());
        self.rows(TABLE, AssertSqlSafe(sql), values).await?.into_iter().map(PostReview::try_from).collect()
    }

    /// Open post-reviews that are overdue and of which nobody was told yet.
    pub(crate) async fn overdue_post_reviews(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<PostReview>, StoreError> {
        let sql = select!(" WHERE state = 'open' AND overdue_at IS NULL AND due_at <= $1 ORDER BY due_at, id LIMIT $2");
        self.rows(TABLE, sql, args![now, limit]).await?.into_iter().map(PostReview::try_from).collect()
    }

    /// When the next open post-review is overdue.
    pub(crate) async fn next_post_review_due(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let sql =
            "SELECT id, due_at FROM post_reviews WHERE state = 'open' AND overdue_at IS NULL ORDER BY due_at LIMIT 1";
        self.row(TABLE, sql, args![]).await?.map(|row| row.time("due_at")).transpose()
    }

    /// How many there are.
    pub(crate) async fn post_review_sums(&mut self, now: Timestamp) -> Result<PostReviewSums, StoreError> {
        let sql = "SELECT 'all' AS which, COUNT(*) AS count FROM post_reviews \
                   UNION ALL SELECT 'open', COUNT(*) FROM post_reviews WHERE state = 'open' \
                   UNION ALL SELECT 'overdue', COUNT(*) FROM post_reviews WHERE state = 'open' AND due_at <= $1";
        let mut sums = PostReviewSums::default();
        for row in self.rows(("post_reviews", "which"), sql, args![now]).await? {
            let count = row.unsigned("count")?;
            match row.text("which")?.as_str() {
                "all" => sums.all = count,
                "open" => sums.open = count,
                _ => sums.overdue = count,
            }
        }
        Ok(sums)
    }
}

impl WriteTx {
    /// Keeps what broken glass led to, and tells of it: the request that stands for it, the grant, the open post-review.
    pub(crate) async fn insert_broken_glass(&mut self, broken: &GlassBroken) -> Result<(), StoreError> {
        self.insert_request(&broken.request, &[]).await?;
        self.insert_grant(&broken.grant).await?;
        self.tell(&Event::of_broken_glass(broken)).await?;
        self.insert_post_review(&broken.post_review).await
    }

    async fn insert_post_review(&mut self, review: &PostReview) -> Result<(), StoreError> {
        self.change();
        let sql = "INSERT INTO post_reviews (id, state, grant_id, request, holder_issuer, holder_subject, service, action, \
                   resource, rule, said, policy, opened_at, due_at) \
                   VALUES ($1, 'open', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        let values = args![
            review.id.as_str(),
            review.grant.as_str(),
            review.request.as_str(),
            &*review.holder.issuer,
            &*review.holder.subject,
            &*review.service,
            &*review.action,
            &*review.resource,
            &*review.rule,
            review.reason.as_str(),
            review.policy.as_str(),
            review.opened_at,
            review.due_at,
        ];
        self.execute(sql, values).await?;
        self.tell(&Event::of_post_review(EventKind::PostReviewOpened, review)).await
    }

    /// Keeps what an open post-review came to, and tells of it.
    pub(crate) async fn decide_post_review(&mut self, review: &PostReview) -> Result<(), StoreError> {
        self.change();
        let (at, by, reason) = match review.state.decided() {
            Some((at, by, reason)) => (Some(at), Some(by), reason),
            None => (None, None, None),
        };
        let sql = "UPDATE post_reviews SET state = $1, decided_at = $2, decided_by_issuer = $3, decided_by_subject = $4, \
                   reason = $5, delegation = $7, on_behalf_of_issuer = $8, on_behalf_of_subject = $9, \
                   on_behalf_of_groups = $10 WHERE id = $6 AND state = 'open'";
        let of = review.state.on_behalf_of();
        let values = args![
            review.state.word().as_str(),
            at,
            by.map(|by| &*by.issuer),
            by.map(|by| &*by.subject),
            reason.map(Text::as_str),
            review.id.as_str(),
            of.map(|of| of.delegation.as_str()),
            of.map(|of| &*of.user.issuer),
            of.map(|of| &*of.user.subject),
            of.map(|of| serde_json::json!(of.groups).to_string()).as_deref(),
        ];
        self.execute_one("post_reviews", review.id.as_str(), sql, values).await?;
        let kind = match review.state {
            PostReviewState::Open => return Ok(()),
            PostReviewState::Accepted { .. } => EventKind::PostReviewAccepted,
            PostReviewState::Disputed { .. } => EventKind::PostReviewDisputed,
        };
        self.tell(&Event::of_post_review(kind, review)).await
    }

    /// Tells that a post-review is overdue, and keeps that it was told.
    pub(crate) async fn told_overdue(&mut self, review: &PostReview, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE post_reviews SET overdue_at = $1 WHERE id = $2 AND state = 'open' AND overdue_at IS NULL";
        self.execute_one("post_reviews", review.id.as_str(), sql, args![now, review.id.as_str()]).await?;
        self.tell(&Event::of_post_review(EventKind::PostReviewOverdue, review)).await
    }
}
