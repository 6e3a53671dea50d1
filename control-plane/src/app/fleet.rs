//! The durable rows of the fleet: which filter VMs there are, so that a restart of the control plane forgets none of them.

use grantmesh_shared::id::VmId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::VmIdentity;

use super::{App, AppError, FilterIdentity};
use crate::store::StoredVm;

impl App {
    /// Keeps a VM at its first contact; must be done before its first answer. Later contacts only move its last-seen time.
    ///
    /// # Errors
    /// If the VM says a node or service that its credential does not cover, or the VM's id is another node's.
    pub async fn vm_seen(&self, _filter: &FilterIdentity, _vm: &VmIdentity) -> Result<StoredVm, AppError> {
        unimplemented!()
    }

    /// Moves the last-seen times of many VMs at once. No audit entry: it only helps a restart.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn vms_seen_at(&self, _seen: &[(VmId, Timestamp)]) -> Result<(), AppError> {
        unimplemented!()
    }

    /// Every VM that is kept.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn load_vms(&self) -> Result<Vec<StoredVm>, AppError> {
        unimplemented!()
    }

    /// Forgets VMs whose lease has run out long ago; gives how many there were. One that comes back is a first contact again.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn vms_gone(&self, _vms: &[VmId]) -> Result<usize, AppError> {
        unimplemented!()
    }
}
