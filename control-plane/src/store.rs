//! Everything that is kept, and all SQL.

use grantmesh_shared::id::VmId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::Position;
use tokio::sync::watch;

use crate::audit::LogHash;
use crate::clock::Clock;

/// The one row that every commit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Epoch and revision.
    pub position: Position,
    /// How many entries the log has.
    pub log_size: u64,
    /// The log's root.
    pub log_root: LogHash,
    /// A delta from before this revision is not complete any more.
    pub delta_floor: u64,
}

/// An item of filters' tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    /// Its key, `grant/…`.
    pub key: String,
    /// The service whose filters need it; nothing if all do.
    pub service: Option<String>,
    /// When it changed last.
    pub revision: u64,
    /// The exact JSON of its body; nothing if it was removed.
    pub body: Option<String>,
}

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

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[error("store")]
pub struct StoreError;

#[derive(Debug)]
pub(crate) struct Store;
impl Store {
    pub(crate) async fn open(_: &str, _: u64, _: &dyn Clock) -> Result<Self, StoreError> { unimplemented!() }
    pub(crate) fn changed(&self) -> watch::Receiver<Head> { unimplemented!() }
    pub(crate) fn epoch(&self) -> u64 { unimplemented!() }
}
