//! Reviews as they are kept: only ever added. One person one vote is also a constraint of the table.

use std::collections::HashMap;

use grantmesh_shared::engine::User;
use grantmesh_shared::id::RequestId;
use sqlx::AssertSqlSafe;

use super::tx::{Row, Tx, Value, args};
use super::{StoreError, WriteTx};
use crate::domain::{OnBehalfOf, Request, Review, Text, Verdict};

impl TryFrom<Row> for Review {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let verdict = row.text("verdict")?;
        let reason = row.opt_text("reason")?;
        Ok(Self {
            id: row.parsed("id")?,
            reviewer: User {
                issuer: row.text("reviewer_issuer")?.into(),
                subject: row.text("reviewer_subject")?.into(),
            },
            reviewer_groups: row.json("reviewer_groups")?,
            on_behalf_of: on_behalf_of(&row)?,
            verdict: Verdict::parse(&verdict)
                .ok_or_else(|| row.bad("verdict", format!("`{verdict}` is no verdict")))?,
            reason: Text::optional_kept(reason.as_deref(), "reason").map_err(|error| row.bad("reason", error))?,
            duration: row.opt_span("duration_ms")?,
            uses: row.opt_unsigned("uses")?,
            reveals: row.opt_json("reveals")?,
            at: row.time("at")?,
        })
    }
}

pub(super) fn on_behalf_of(row: &Row) -> Result<Option<OnBehalfOf>, StoreError> {
    let Some(delegation) = row.opt_parsed("delegation")? else { return Ok(None) };
    let user =
        User { issuer: row.text("on_behalf_of_issuer")?.into(), subject: row.text("on_behalf_of_subject")?.into() };
    Ok(Some(OnBehalfOf { delegation, user, groups: row.json("on_behalf_of_groups")? }))
}

impl Tx {
    /// Gives requests their reviews.
    pub(super) async fn load_reviews(&mut self, requests: &mut [Request]) -> Result<(), StoreError> {
        if requests.is_empty() {
            return Ok(());
        }
        let places: Vec<String> = (1..=requests.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT id, request, place, reviewer_issuer, reviewer_subject, reviewer_groups, verdict, reason, duration_ms, uses, reveals, at, \
             delegation, on_behalf_of_issuer, on_behalf_of_subject, on_behalf_of_groups FROM reviews WHERE request IN ({}) ORDER BY request, place",
            places.join(", ")
        );
        let ids: Vec<Value> = requests.iter().map(|request| Value::from(request.id.as_str())).collect();
        let mut found: HashMap<RequestId, Vec<Review>> = HashMap::new();
        for row in self.rows(("reviews", "id"), AssertSqlSafe(sql), ids).await? {
            found.entry(row.parsed("request")?).or_default().push(row.try_into()?);
        }
        for request in requests {
            request.reviews = found.remove(&request.id).unwrap_or_default();
        }
        Ok(())
    }
}

impl WriteTx {
    /// Keeps a review, the `place`th of its request.
    pub(crate) async fn insert_review(
        &mut self,
        request: &RequestId,
        place: usize,
        review: &Review,
    ) -> Result<(), StoreError> {
        self.change();
        let sql = "INSERT INTO reviews (id, request, place, reviewer_issuer, reviewer_subject, reviewer_groups, verdict, reason, \
                   duration_ms, uses, reveals, at, delegation, on_behalf_of_issuer, on_behalf_of_subject, on_behalf_of_groups) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
        let of = review.on_behalf_of.as_ref();
        let values = args![
            review.id.as_str(),
            request.as_str(),
            u64::try_from(place).unwrap_or(u64::MAX),
            &*review.reviewer.issuer,
            &*review.reviewer.subject,
            serde_json::json!(review.reviewer_groups).to_string(),
            review.verdict.as_str(),
            review.reason.as_ref().map(Text::as_str),
            review.duration,
            review.uses,
            review.reveals.as_ref().map(|fields| serde_json::json!(fields).to_string()).as_deref(),
            review.at,
            of.map(|of| of.delegation.as_str()),
            of.map(|of| &*of.user.issuer),
            of.map(|of| &*of.user.subject),
            of.map(|of| serde_json::json!(of.groups).to_string()).as_deref(),
        ];
        self.execute(sql, values).await?;
        for voter in review.voters() {
            self.has_reviewed(request, voter).await?;
        }
        Ok(())
    }
}
