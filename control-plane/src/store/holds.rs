//! Holds as they are kept. What their requests become is in the table of those.

use grantmesh_shared::id::{DecisionId, RequestId, VmId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::holds::HoldEnd;

use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::domain::Hold;

const TABLE: (&str, &str) = ("holds", "decision");

/// The most holds of one request that are read.
const MOST_READ: u32 = 1_000;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT decision, request, filed, vm, node, since, until, ended, ended_at FROM holds", $rest)
    };
}

impl TryFrom<Row> for Hold {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let ended = match (row.opt_text("ended")?, row.opt_time("ended_at")?) {
            (Some(word), Some(at)) => {
                let known = [HoldEnd::Over, HoldEnd::Gone].into_iter().find(|known| known.as_str() == word);
                Some((known.ok_or_else(|| row.bad("ended", format!("`{word}` is no end of a hold")))?, at))
            }
            _ => None,
        };
        Ok(Self {
            decision: row.parsed("decision")?,
            request: row.parsed("request")?,
            filed: row.unsigned::<u8>("filed")? == 1,
            vm: row.parsed("vm")?,
            node: row.text("node")?,
            since: row.time("since")?,
            until: row.time("until")?,
            ended,
        })
    }
}

impl Tx {
    /// A hold.
    pub(crate) async fn hold(&mut self, decision: &DecisionId) -> Result<Option<Hold>, StoreError> {
        let sql = select!(" WHERE decision = $1");
        self.row(TABLE, sql, args![decision.as_str()]).await?.map(Hold::try_from).transpose()
    }

    /// The newest holds of a request, the oldest of them first.
    pub(crate) async fn holds(&mut self, request: &RequestId) -> Result<Vec<Hold>, StoreError> {
        let sql = select!(" WHERE request = $1 ORDER BY since DESC, decision DESC LIMIT $2");
        let rows = self.rows(TABLE, sql, args![request.as_str(), MOST_READ]).await?;
        rows.into_iter().rev().map(Hold::try_from).collect()
    }

    /// Whether a request was filed for a call, and whether a call waits for it, of however many there were.
    pub(crate) async fn is_held(&mut self, request: &RequestId, now: Timestamp) -> Result<(bool, bool), StoreError> {
        let sql = "SELECT request AS decision, COUNT(CASE WHEN filed = 1 THEN 1 END) AS filed, \
                   COUNT(CASE WHEN ended IS NULL AND until > $2 THEN 1 END) AS waiting FROM holds WHERE request = $1 GROUP BY request";
        let Some(row) = self.row(TABLE, sql, args![request.as_str(), now]).await? else { return Ok((false, false)) };
        Ok((row.unsigned::<u64>("filed")? > 0, row.unsigned::<u64>("waiting")? > 0))
    }

    /// How many calls of a VM wait.
    pub(crate) async fn waiting_holds(&mut self, vm: &VmId, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "SELECT vm AS decision, COUNT(*) AS waiting FROM holds WHERE vm = $1 AND until > $2 AND ended IS NULL GROUP BY vm";
        let found = self.row(TABLE, sql, args![vm.as_str(), now]).await?;
        found.map_or(Ok(0), |row| row.unsigned("waiting"))
    }
}

impl WriteTx {
    /// Keeps a new hold.
    pub(crate) async fn insert_hold(&mut self, hold: &Hold) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO holds (decision, request, filed, vm, node, since, until) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let values = args![
            hold.decision.as_str(),
            hold.request.as_str(),
            u32::from(hold.filed),
            hold.vm.as_str(),
            &*hold.node,
            hold.since,
            hold.until,
        ];
        self.execute(sql, values).await.map(drop)
    }

    /// Ends a hold of this VM, once; tells whether it did.
    pub(crate) async fn end_hold(
        &mut self,
        decision: &DecisionId,
        vm: &VmId,
        why: HoldEnd,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE holds SET ended = $1, ended_at = $2 WHERE decision = $3 AND vm = $4 AND ended IS NULL";
        let now = self.now();
        Ok(self.execute(sql, args![why.as_str(), now, decision.as_str(), vm.as_str()]).await? == 1)
    }
}
