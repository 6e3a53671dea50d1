//! What a person asked before, as far as it counts for one more ask. Each question has an index of its own, so that a long
//! history costs nothing.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::RequestId;
use grantmesh_shared::time::{Span, Timestamp};

use super::StoreError;
use super::tx::{Tx, args};
use crate::domain::{Ask, AskHistory, COUNTED_OVER};

const TABLE: (&str, &str) = ("requests", "id");

impl Tx {
    /// What an account of the requester's has asked before; `cool_down` is how long a denial counts.
    pub(crate) async fn ask_history(
        &mut self,
        ask: &Ask,
        account: &User,
        cool_down: Option<Span>,
    ) -> Result<AskHistory, StoreError> {
        let now = ask.created_at;
        let (issuer, subject) = (&*account.issuer, &*account.subject);
        let (service, rule) = (&*ask.service, &*ask.rule);
        let sql = "SELECT 'pending' AS id, COUNT(*) AS count FROM requests WHERE requester_issuer = $1 AND requester_subject = $2 \
                   AND state = 'pending' AND service = $3 AND rule = $4 AND times_out_at > $5";
        let row = self.row(TABLE, sql, args![issuer, subject, service, rule, now]).await?;
        let pending = row.map(|row| row.unsigned("count")).transpose()?.unwrap_or(0);

        // Ids begin with their time, so that the index by requester leads to the last hour.
        let since = now.minus(COUNTED_OVER);
        let from = RequestId::new(u64::try_from(since.millis()).unwrap_or(0), [0; 10]);
        let sql = "SELECT 'filed' AS id, COUNT(*) AS count, MIN(created_at) AS first_filed FROM requests \
                   WHERE requester_issuer = $1 AND requester_subject = $2 AND id > $3 AND service = $4 AND rule = $5 \
                   AND created_at > $6";
        let row = self.row(TABLE, sql, args![issuer, subject, from.as_str(), service, rule, since]).await?;
        let (filed, first_filed) = match row {
            Some(row) => (row.unsigned("count")?, row.opt_time("first_filed")?),
            None => (0, None),
        };
        let denied_at = match cool_down {
            Some(cool_down) => self.denied_at(ask, account, now.minus(cool_down)).await?,
            None => None,
        };
        Ok(AskHistory { pending, filed, first_filed, denied_at })
    }

    /// When the same was denied to an account last, after `since`.
    async fn denied_at(
        &mut self,
        ask: &Ask,
        account: &User,
        since: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT id, decided_at FROM requests WHERE requester_issuer = $1 AND requester_subject = $2 \
                   AND state = 'denied' AND decided_at > $3 AND service = $4 AND rule = $5 AND action = $6 AND resource = $7 \
                   ORDER BY decided_at DESC LIMIT 1";
        let values =
            args![&*account.issuer, &*account.subject, since, &*ask.service, &*ask.rule, &*ask.action, &*ask.resource,];
        self.row(TABLE, sql, values).await?.map(|row| row.time("decided_at")).transpose()
    }

    /// The latest request of the same account for the same that its rule denied by itself after `since`.
    pub(crate) async fn denied_by_itself(
        &mut self,
        ask: &Ask,
        since: Timestamp,
    ) -> Result<Option<RequestId>, StoreError> {
        let sql = "SELECT id FROM requests WHERE requester_issuer = $1 AND requester_subject = $2 AND state = 'denied' \
                   AND decided_at > $3 AND service = $4 AND rule = $5 AND action = $6 AND resource = $7 AND kind = $8 \
                   AND COALESCE(shown, '') = $9 AND automatic IS NOT NULL ORDER BY decided_at DESC, id DESC LIMIT 1";
        let shown = ask.shown.as_ref().map(|shown| serde_json::json!(shown).to_string());
        let values = args![
            &*ask.requester.issuer,
            &*ask.requester.subject,
            since,
            &*ask.service,
            &*ask.rule,
            &*ask.action,
            &*ask.resource,
            ask.kind.as_str(),
            shown.unwrap_or_default(),
        ];
        self.row(TABLE, sql, values).await?.map(|row| row.parsed("id")).transpose()
    }

    /// The pending request of the same account for the same: whatever is said of its length, its calls and why.
    pub(crate) async fn alike(&mut self, ask: &Ask) -> Result<Option<RequestId>, StoreError> {
        let sql = "SELECT id FROM requests WHERE requester_issuer = $1 AND requester_subject = $2 AND state = 'pending' \
                   AND service = $3 AND rule = $4 AND action = $5 AND resource = $6 AND times_out_at > $7 AND kind = $8 \
                   AND COALESCE(extends, '') = $9 AND COALESCE(starts_at, 0) = $10 AND COALESCE(shown, '') = $11 \
                   ORDER BY id LIMIT 1";
        let shown = ask.shown.as_ref().map(|shown| serde_json::json!(shown).to_string());
        let values = args![
            &*ask.requester.issuer,
            &*ask.requester.subject,
            &*ask.service,
            &*ask.rule,
            &*ask.action,
            &*ask.resource,
            ask.created_at,
            ask.kind.as_str(),
            ask.kind.extended().map(|grant| grant.as_str()).unwrap_or_default(),
            ask.starts_at.unwrap_or_default(),
            shown.unwrap_or_default(),
        ];
        self.row(TABLE, sql, values).await?.map(|row| row.parsed("id")).transpose()
    }
}
