//! Which entries of the log tell of calls under a grant. What they tell stands in the log alone.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::GrantId;

use super::log::StoredEntry;
use super::select::Select;
use super::tx::{Tx, Value, args};
use super::{StoreError, WriteTx};
use crate::domain::{Grant, GrantStateWord};

impl Tx {
    /// The newest entries about calls under a grant, before a place in the log.
    pub(crate) async fn grant_calls(
        &mut self,
        grant: &GrantId,
        before: u64,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let sql = "SELECT log_entries.seq AS seq, entry FROM grant_calls JOIN log_entries ON log_entries.seq = grant_calls.seq \
                   WHERE grant_id = $1 AND grant_calls.seq < $2 ORDER BY grant_calls.seq DESC LIMIT $3";
        let rows = self.rows(("log_entries", "seq"), sql, args![grant.as_str(), before, limit]).await?;
        rows.iter().map(|row| Ok(StoredEntry { seq: row.unsigned("seq")?, bytes: row.bytes("entry")? })).collect()
    }
}

/// So many of the grants that somebody has used are looked at, for the last of a kind.
const LATELY: u32 = 100;

impl Tx {
    /// The last of somebody's grants of an action under a rule that has ended and was used, if it is among the latest that
    /// they used at all: each state has those in their order.
    pub(crate) async fn last_used_grant(
        &mut self,
        holder: &User,
        (service, rule, action): (&str, &str, &str),
    ) -> Result<Option<Grant>, StoreError> {
        let mut last: Option<Grant> = None;
        for state in
            [GrantStateWord::Expired, GrantStateWord::Revoked, GrantStateWord::Released, GrantStateWord::Exhausted]
        {
            let select = Select {
                owner: Some(holder.clone()),
                used: Some(true),
                ..Select::all(Some(state.as_str()), None, LATELY)
            };
            let of_it = |grant: &Grant| grant.service == service && grant.rule == rule && grant.action == action;
            let found = self.grants(&select).await?.into_iter().find(|grant| of_it(grant) && !grant.break_glass);
            last = last.into_iter().chain(found).max_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        }
        Ok(last)
    }
}

impl WriteTx {
    /// Keeps that a grant was used. What a filter says of a grant of another service is not believed.
    pub(crate) async fn mark_used(&mut self, grant: &GrantId, service: &str) -> Result<(), StoreError> {
        let sql = "UPDATE grants SET used = 1 WHERE id = $1 AND service = $2 AND used = 0";
        self.execute(sql, args![grant.as_str(), service]).await.map(drop)
    }

    /// Notes which entries tell of calls under grants.
    pub(crate) async fn insert_grant_calls(&mut self, calls: Vec<(GrantId, u64)>) -> Result<(), StoreError> {
        let rows = calls.into_iter().flat_map(|(grant, seq)| [Value::from(grant.as_str()), Value::from(seq)]).collect();
        self.insert_many("INSERT INTO grant_calls (grant_id, seq)", 2, rows).await
    }
}
