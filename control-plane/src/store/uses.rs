//! Uses as they are kept: taken once, told once. That no more are taken than were approved is also a constraint of the
//! table of grants, and that no call takes two one of this table.

use grantmesh_shared::id::{DecisionId, GrantId, UseId};
use grantmesh_shared::wire::records::UseOutcome;

use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::domain::{Use, UseOutcomeTold};

const TABLE: (&str, &str) = ("uses", "id");

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, grant_id, number, decision, vm, node, claimed_at, outcome, status, told_at FROM uses",
            $rest
        )
    };
}

impl TryFrom<Row> for Use {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let known = |word: String| {
            UseOutcome::parse(&word).ok_or_else(|| row.bad("outcome", format!("`{word}` is no outcome")))
        };
        let told = match (row.opt_text("outcome")?.map(known).transpose()?, row.opt_time("told_at")?) {
            (Some(word), Some(at)) => Some(UseOutcomeTold { word, status: row.opt_unsigned("status")?, at }),
            _ => None,
        };
        Ok(Self {
            id: row.parsed("id")?,
            grant: row.parsed("grant_id")?,
            number: row.unsigned("number")?,
            decision: row.parsed("decision")?,
            vm: row.parsed("vm")?,
            node: row.text("node")?,
            claimed_at: row.time("claimed_at")?,
            outcome: told,
        })
    }
}

impl Tx {
    /// The use that was taken for a call.
    pub(crate) async fn use_by_decision(&mut self, decision: &DecisionId) -> Result<Option<Use>, StoreError> {
        let sql = select!(" WHERE decision = $1");
        self.row(TABLE, sql, args![decision.as_str()]).await?.map(Use::try_from).transpose()
    }

    /// A use.
    pub(crate) async fn usage(&mut self, id: &UseId) -> Result<Option<Use>, StoreError> {
        self.row(TABLE, select!(" WHERE id = $1"), args![id.as_str()]).await?.map(Use::try_from).transpose()
    }

    /// The uses of a grant, in their order. They are as many as a grant can be for, at most.
    pub(crate) async fn uses(&mut self, grant: &GrantId) -> Result<Vec<Use>, StoreError> {
        let sql = select!(" WHERE grant_id = $1 ORDER BY number");
        self.rows(TABLE, sql, args![grant.as_str()]).await?.into_iter().map(Use::try_from).collect()
    }
}

impl WriteTx {
    pub(super) async fn insert_use(&mut self, taken: &Use) -> Result<(), StoreError> {
        let sql = "INSERT INTO uses (id, grant_id, number, decision, vm, node, claimed_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let values = args![
            taken.id.as_str(),
            taken.grant.as_str(),
            taken.number,
            taken.decision.as_str(),
            taken.vm.as_str(),
            &*taken.node,
            taken.claimed_at,
        ];
        self.execute(sql, values).await.map(drop)
    }

    /// Keeps what came of a use; the first word counts.
    pub(crate) async fn tell_use(&mut self, id: &UseId, told: &UseOutcomeTold) -> Result<(), StoreError> {
        let sql = "UPDATE uses SET outcome = $1, status = $2, told_at = $3 WHERE id = $4 AND outcome IS NULL";
        let values = args![told.word.as_str(), told.status.map(u32::from), told.at, id.as_str()];
        self.execute(sql, values).await.map(drop)
    }
}
