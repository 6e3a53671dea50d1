//! Who is suggested for a pending request, and who is known to review. A suggestion is there as long as its request is
//! pending and the person has not reviewed it: so many wait for them.

use std::collections::HashMap;

use grantmesh_shared::engine::User;
use grantmesh_shared::id::RequestId;
use sqlx::AssertSqlSafe;

use super::select::Bound;
use super::tx::{Row, Tx, Value, args};
use super::{StoreError, WriteTx};
use crate::domain::{Actor, MOST_CANDIDATES};

/// For each reviewed request that is wanted, so many are looked at, however few of them people had to review.
const LOOKED_AT: u32 = 10;

const SUGGESTIONS: (&str, &str) = ("suggestions", "subject");

fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User { issuer: row.text("issuer")?.into(), subject: row.text("subject")?.into() })
}

impl Tx {
    /// Who is suggested for a request, the first to ask first.
    pub(crate) async fn suggested(&mut self, request: &RequestId) -> Result<Vec<User>, StoreError> {
        let sql = "SELECT issuer, subject FROM suggestions WHERE request = $1 ORDER BY place";
        self.rows(SUGGESTIONS, sql, args![request.as_str()]).await?.iter().map(user).collect()
    }

    /// For how many requests each of these is suggested.
    pub(crate) async fn times_suggested(&mut self, people: &[Actor]) -> Result<HashMap<User, u64>, StoreError> {
        if people.is_empty() {
            return Ok(HashMap::new());
        }
        let places: Vec<String> = (1..=people.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT issuer, subject, COUNT(*) AS times FROM suggestions WHERE subject IN ({}) GROUP BY issuer, subject",
            places.join(", ")
        );
        let names: Vec<Value> = people.iter().map(|actor| Value::from(&*actor.user.subject)).collect();
        let rows = self.rows(SUGGESTIONS, AssertSqlSafe(sql), names).await?;
        rows.iter().map(|row| Ok((user(row)?, row.unsigned("times")?))).collect()
    }

    /// Who has reviewed the latest requests under a rule that anybody has, of so many times as many that there were at all;
    /// each once, with the groups of their latest review.
    pub(crate) async fn lately_reviewed(
        &mut self,
        service: &str,
        rule: &str,
        limit: u32,
    ) -> Result<Vec<Actor>, StoreError> {
        let sql = "SELECT reviewer_issuer AS issuer, reviewer_subject AS subject, reviewer_groups AS own_groups FROM reviews \
                   WHERE request IN (SELECT id FROM (SELECT id FROM requests WHERE service = $1 AND rule = $2 ORDER BY id DESC \
                   LIMIT $4) AS newest WHERE EXISTS (SELECT 1 FROM reviews r WHERE r.request = newest.id) ORDER BY id DESC LIMIT $3) \
                   ORDER BY at DESC, id DESC LIMIT $3";
        let most = limit.saturating_mul(LOOKED_AT);
        let mut found: Vec<Actor> = Vec::new();
        for row in self.rows(("reviews", "subject"), sql, args![service, rule, limit, most]).await? {
            let user = user(&row)?;
            if !found.iter().any(|actor| actor.user == user) {
                found.push(Actor::new(&user.issuer, &user.subject, row.json("own_groups")?));
            }
        }
        Ok(found)
    }

    /// The groups with which each of these last asked for something, of those who have. At most as many as candidates, so
    /// that one statement is enough.
    pub(crate) async fn groups_of(&mut self, users: &[User]) -> Result<HashMap<User, Vec<String>>, StoreError> {
        if users.is_empty() {
            return Ok(HashMap::new());
        }
        let mut bound = Bound::default();
        // Each by its own index look-up, however much anybody has asked for.
        let latest = users.iter().take(MOST_CANDIDATES).enumerate().map(|(at, User { issuer, subject })| {
            let (issuer, subject) = (bound.place(&**issuer), bound.place(&**subject));
            format!(
                "SELECT issuer, subject, own_groups FROM (SELECT requester_issuer AS issuer, requester_subject AS subject, \
                 requester_groups AS own_groups FROM requests WHERE requester_issuer = {issuer} \
                 AND requester_subject = {subject} ORDER BY id DESC LIMIT 1) AS latest_{at}"
            )
        });
        let sql = latest.collect::<Vec<_>>().join(" UNION ALL ");
        let rows = self.rows(("requests", "subject"), AssertSqlSafe(sql), bound.into_values()).await?;
        rows.iter().map(|row| Ok((user(row)?, row.json("own_groups")?))).collect()
    }
}

impl WriteTx {
    /// Keeps who is suggested for a request, in the place of whoever was.
    pub(crate) async fn suggest(&mut self, request: &RequestId, people: &[User]) -> Result<(), StoreError> {
        self.suggest_nobody(request).await?;
        for (place, User { issuer, subject }) in people.iter().enumerate() {
            let sql = "INSERT INTO suggestions (request, place, issuer, subject) VALUES ($1, $2, $3, $4)";
            let place = u64::try_from(place).unwrap_or(u64::MAX);
            self.execute(sql, args![request.as_str(), place, &**issuer, &**subject]).await?;
        }
        Ok(())
    }

    /// Nobody need look at a request any more.
    pub(super) async fn suggest_nobody(&mut self, request: &RequestId) -> Result<(), StoreError> {
        self.execute("DELETE FROM suggestions WHERE request = $1", args![request.as_str()]).await.map(drop)
    }

    /// Somebody has reviewed a request.
    pub(super) async fn has_reviewed(&mut self, request: &RequestId, user: &User) -> Result<(), StoreError> {
        let sql = "DELETE FROM suggestions WHERE request = $1 AND issuer = $2 AND subject = $3";
        self.execute(sql, args![request.as_str(), &*user.issuer, &*user.subject]).await.map(drop)
    }
}
