//! Which entries of the log tell of calls under a grant. What they tell stands in the log alone.

use grantmesh_shared::id::GrantId;

use super::log::StoredEntry;
use super::tx::{Tx, Value, args};
use super::{StoreError, WriteTx};

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

impl WriteTx {
    /// Notes which entries tell of calls under grants.
    pub(crate) async fn insert_grant_calls(&mut self, calls: Vec<(GrantId, u64)>) -> Result<(), StoreError> {
        let rows = calls.into_iter().flat_map(|(grant, seq)| [Value::from(grant.as_str()), Value::from(seq)]).collect();
        self.insert_many("INSERT INTO grant_calls (grant_id, seq)", 2, rows).await
    }
}
