//! Filter VMs as they are kept.

use std::collections::BTreeMap;

use grantmesh_shared::id::VmId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::Position;

use super::tx::{Row, Tx, Value, args};
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
    /// All that it acts on is of this point or later, as far as that was kept.
    pub reached: Option<Position>,
}

/// What a VM that enforces these services has acknowledged, to be kept for other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmReached {
    /// The VM.
    pub vm: VmId,
    /// The services it enforces: with others it has acknowledged nothing yet.
    pub services: Vec<String>,
    /// What it has acknowledged.
    pub position: Position,
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

/// How many VMs one statement names, well below both databases' limit of placeholders.
const MOST_NAMED: usize = 1_000;

fn services_text(services: &[String]) -> String {
    serde_json::json!(services).to_string()
}

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
            reached: match row.opt_unsigned("reached_epoch")? {
                Some(epoch) => Some(Position { epoch, revision: row.unsigned("reached_revision")? }),
                None => None,
            },
        })
    }
}

impl Tx {
    /// A VM.
    pub(crate) async fn vm(&mut self, vm: &VmId) -> Result<Option<StoredVm>, StoreError> {
        let sql = "SELECT vm, node, credential, services, first_seen, last_seen, made, reached_epoch, reached_revision \
                   FROM vms WHERE vm = $1";
        self.row(TABLE, sql, args![vm.as_str()]).await?.map(StoredVm::try_from).transpose()
    }

    /// All VMs.
    pub(crate) async fn vms(&mut self) -> Result<Vec<StoredVm>, StoreError> {
        let sql = "SELECT vm, node, credential, services, first_seen, last_seen, made, reached_epoch, reached_revision \
                   FROM vms ORDER BY vm";
        self.rows(TABLE, sql, args![]).await?.into_iter().map(StoredVm::try_from).collect()
    }
}

impl WriteTx {
    /// Keeps a VM; one that is there gets the services, the last-seen time and the point that it has reached.
    pub(crate) async fn put_vm(&mut self, vm: &StoredVm) -> Result<(), StoreError> {
        let sql = "INSERT INTO vms (vm, node, services, first_seen, last_seen, credential, made, \
                   reached_epoch, reached_revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                   ON CONFLICT (vm) DO UPDATE SET services = excluded.services, last_seen = excluded.last_seen, \
                   credential = excluded.credential, reached_epoch = excluded.reached_epoch, \
                   reached_revision = excluded.reached_revision WHERE vms.node = excluded.node";
        let (node, services, credential) = (vm.node.as_str(), services_text(&vm.services), vm.credential.as_deref());
        let (epoch, revision) = (vm.reached.map(|reached| reached.epoch), vm.reached.map(|reached| reached.revision));
        let values =
            args![vm.vm.as_str(), node, services, vm.first_seen, vm.last_seen, credential, vm.made, epoch, revision];
        self.execute_one("vms", vm.vm.as_str(), sql, values).await
    }

    /// Moves a VM's last-seen time and its count of decisions, neither ever back.
    pub(crate) async fn touch_vm(&mut self, VmSeen { vm, at, made }: &VmSeen) -> Result<(), StoreError> {
        let sql = "UPDATE vms SET last_seen = CASE WHEN last_seen < $1 THEN $1 ELSE last_seen END, \
                   made = CASE WHEN made < $2 THEN $2 ELSE made END WHERE vm = $3";
        self.execute(sql, args![*at, *made, vm.as_str()]).await.map(drop)
    }

    /// Moves the points that VMs have reached, never back, and none of a VM whose services are others by now.
    pub(crate) async fn reach(&mut self, reached: &[VmReached]) -> Result<(), StoreError> {
        let mut alike: BTreeMap<(Position, String), Vec<&VmId>> = BTreeMap::new();
        for VmReached { vm, services, position } in reached {
            alike.entry((*position, services_text(services))).or_default().push(vm);
        }
        for ((Position { epoch, revision }, services), vms) in alike {
            for part in vms.chunks(MOST_NAMED) {
                let places: Vec<String> = (0..part.len()).map(|at| format!("${}", at.saturating_add(4))).collect();
                let sql = format!(
                    "UPDATE vms SET reached_epoch = $1, reached_revision = $2 WHERE services = $3 AND vm IN ({}) AND \
                     (reached_epoch IS NULL OR reached_epoch < $1 OR (reached_epoch = $1 AND reached_revision < $2))",
                    places.join(", ")
                );
                let mut values = args![epoch, revision, services.as_str()];
                values.extend(part.iter().map(|vm| Value::from(vm.as_str())));
                self.execute(sqlx::AssertSqlSafe(sql), values).await?;
            }
        }
        Ok(())
    }

    /// Forgets a VM.
    pub(crate) async fn delete_vm(&mut self, vm: &VmId) -> Result<(), StoreError> {
        self.execute("DELETE FROM vms WHERE vm = $1", args![vm.as_str()]).await.map(drop)
    }
}
