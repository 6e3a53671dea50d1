//! Filter VMs as they are kept.

use grantmesh_shared::id::VmId;
use grantmesh_shared::time::Timestamp;

use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};

/// A filter VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVm {
    /// Its id.
    pub vm: VmId,
    /// Its node.
    pub node: String,
    /// The services it enforces.
    pub services: Vec<String>,
    /// Its first contact.
    pub first_seen: Timestamp,
    /// Its last contact that was kept.
    pub last_seen: Timestamp,
}

const TABLE: (&str, &str) = ("vms", "vm");

impl TryFrom<Row> for StoredVm {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            vm: row.parsed("vm")?,
            node: row.text("node")?,
            services: row.json("services")?,
            first_seen: row.time("first_seen")?,
            last_seen: row.time("last_seen")?,
        })
    }
}

impl Tx {
    /// A VM.
    pub(crate) async fn vm(&mut self, vm: &VmId) -> Result<Option<StoredVm>, StoreError> {
        let sql = "SELECT vm, node, services, first_seen, last_seen FROM vms WHERE vm = $1";
        self.row(TABLE, sql, args![vm.as_str()]).await?.map(StoredVm::try_from).transpose()
    }

    /// All VMs.
    pub(crate) async fn vms(&mut self) -> Result<Vec<StoredVm>, StoreError> {
        let sql = "SELECT vm, node, services, first_seen, last_seen FROM vms ORDER BY vm";
        self.rows(TABLE, sql, args![]).await?.into_iter().map(StoredVm::try_from).collect()
    }
}

impl WriteTx {
    /// Keeps a VM; one that is there gets the services and last-seen time.
    pub(crate) async fn put_vm(&mut self, vm: &StoredVm) -> Result<(), StoreError> {
        let sql = "INSERT INTO vms (vm, node, services, first_seen, last_seen) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (vm) DO UPDATE SET services = excluded.services, last_seen = excluded.last_seen \
                   WHERE vms.node = excluded.node";
        let services = serde_json::json!(vm.services).to_string();
        let values = args![vm.vm.as_str(), vm.node.as_str(), services, vm.first_seen, vm.last_seen];
        self.execute_one("vms", vm.vm.as_str(), sql, values).await
    }

    /// Moves a VM's last-seen time, never back.
    pub(crate) async fn touch_vm(&mut self, vm: &VmId, at: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE vms SET last_seen = $1 WHERE vm = $2 AND last_seen < $1";
        self.execute(sql, args![at, vm.as_str()]).await.map(drop)
    }

    /// Forgets a VM; tells whether it was there.
    pub(crate) async fn delete_vm(&mut self, vm: &VmId) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM vms WHERE vm = $1", args![vm.as_str()]).await? > 0)
    }
}
