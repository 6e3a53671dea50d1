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
    /// The credential that it came with; nothing if it was last heard of before credentials were kept.
    pub credential: Option<String>,
    /// The services it enforces.
    pub services: Vec<String>,
    /// Its first contact.
    pub first_seen: Timestamp,
    /// Its last contact that was kept.
    pub last_seen: Timestamp,
    /// How many decisions there were to record, by its own word.
    pub made: u64,
}

/// A VM's last word that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmSeen {
    /// The VM.
    pub vm: VmId,
    /// When it was last answered.
    pub at: Timestamp,
    /// How many decisions there were to record, by its own word.
    pub made: u64,
}

const TABLE: (&str, &str) = ("vms", "vm");

impl TryFrom<Row> for StoredVm {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            vm: row.parsed("vm")?,
            node: row.text("node")?,
            credential: row.opt_text("credential")?,
            services: row.json("services")?,
            first_seen: row.time("first_seen")?,
            last_seen: row.time("last_seen")?,
            made: row.unsigned("made")?,
        })
    }
}

impl Tx {
    /// A VM.
    pub(crate) async fn vm(&mut self, vm: &VmId) -> Result<Option<StoredVm>, StoreError> {
        let sql = "SELECT vm, node, credential, services, first_seen, last_seen, made FROM vms WHERE vm = $1";
        self.row(TABLE, sql, args![vm.as_str()]).await?.map(StoredVm::try_from).transpose()
    }

    /// All VMs.
    pub(crate) async fn vms(&mut self) -> Result<Vec<StoredVm>, StoreError> {
        let sql = "SELECT vm, node, credential, services, first_seen, last_seen, made FROM vms ORDER BY vm";
        self.rows(TABLE, sql, args![]).await?.into_iter().map(StoredVm::try_from).collect()
    }
}

impl WriteTx {
    /// Keeps a VM; one that is there gets the services and last-seen time.
    pub(crate) async fn put_vm(&mut self, vm: &StoredVm) -> Result<(), StoreError> {
        let sql = "INSERT INTO vms (vm, node, services, first_seen, last_seen, credential, made) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) \
                   ON CONFLICT (vm) DO UPDATE SET services = excluded.services, last_seen = excluded.last_seen, \
                   credential = excluded.credential WHERE vms.node = excluded.node";
        let services = serde_json::json!(vm.services).to_string();
        let (node, credential) = (vm.node.as_str(), vm.credential.as_deref());
        let values = args![vm.vm.as_str(), node, services, vm.first_seen, vm.last_seen, credential, vm.made];
        self.execute_one("vms", vm.vm.as_str(), sql, values).await
    }

    /// Moves a VM's last-seen time and its count of decisions, neither ever back.
    pub(crate) async fn touch_vm(&mut self, VmSeen { vm, at, made }: &VmSeen) -> Result<(), StoreError> {
        let sql = "UPDATE vms SET last_seen = CASE WHEN last_seen < $1 THEN $1 ELSE last_seen END, \
                   made = CASE WHEN made < $2 THEN $2 ELSE made END WHERE vm = $3";
        self.execute(sql, args![*at, *made, vm.as_str()]).await.map(drop)
    }

    /// Forgets a VM; tells whether it was there.
    pub(crate) async fn delete_vm(&mut self, vm: &VmId) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM vms WHERE vm = $1", args![vm.as_str()]).await? > 0)
    }
}
