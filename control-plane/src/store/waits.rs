//! Open waits for a change to arrive, as replicas tell each other of them.

use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::Position;

use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};

/// Somebody waits until the VMs of a service have a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWait {
    /// The service; all if none is named.
    pub service: Option<String>,
    /// The change.
    pub position: Position,
}

/// A wait that other replicas are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitToTell {
    /// A name that no other wait has.
    pub id: String,
    /// The replica that waits.
    pub replica: String,
    /// What for.
    pub wait: OpenWait,
    /// When it is over at the latest.
    pub ends_at: Timestamp,
}

const TABLE: (&str, &str) = ("waits", "wait");

impl TryFrom<Row> for OpenWait {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let position = Position { epoch: row.unsigned("epoch")?, revision: row.unsigned("revision")? };
        Ok(Self { service: row.opt_text("service")?, position })
    }
}

impl Tx {
    /// What other replicas wait for, each thing once. How late it is only decides how long they are told of, so replicas'
    /// clocks need not agree.
    pub(crate) async fn waits_elsewhere(&mut self, replica: &str, now: Timestamp) -> Result<Vec<OpenWait>, StoreError> {
        let sql = "SELECT min(wait) AS wait, service, epoch, revision FROM waits WHERE replica <> $1 AND ends_at > $2 \
                   GROUP BY service, epoch, revision";
        self.rows(TABLE, sql, args![replica, now]).await?.into_iter().map(OpenWait::try_from).collect()
    }

    /// Tells every replica with this commit that something of waits or acknowledgements is new. Only a hint.
    pub(crate) async fn tell_replicas(&mut self) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            self.execute("SELECT pg_notify($1, '')", args![super::wake::FLEET_CHANNEL]).await?;
        }
        Ok(())
    }
}

impl WriteTx {
    /// Keeps a wait until it ends. One that is kept already, because only the answer to its write was lost, stays.
    pub(crate) async fn put_wait(
        &mut self,
        WaitToTell { id, replica, wait, ends_at }: &WaitToTell,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO waits (wait, replica, service, epoch, revision, ends_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (wait) DO NOTHING";
        let (service, Position { epoch, revision }) = (wait.service.as_deref(), wait.position);
        let values = args![id.as_str(), replica.as_str(), service, epoch, revision, *ends_at];
        self.execute(sql, values).await.map(drop)
    }

    /// Ends a wait.
    pub(crate) async fn delete_wait(&mut self, id: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM waits WHERE wait = $1", args![id]).await.map(drop)
    }

    /// Forgets waits that their replica did not live to end.
    pub(crate) async fn delete_old_waits(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        self.execute("DELETE FROM waits WHERE ends_at <= $1", args![now]).await.map(drop)
    }
}
