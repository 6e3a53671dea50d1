//! The durable rows of the fleet: which filter VMs there are, so that a restart of the control plane forgets none of them.

use grantmesh_shared::id::VmId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::{Applied, VmIdentity};

use serde::Serialize;
use tokio::sync::watch;

use super::{App, AppError, FilterIdentity, Invalid, records};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
use crate::domain::shortened;
use crate::store::{OpenWait, StoredVm, VmReached, VmSeen, WaitToTell, WriteTx};

/// The most services and the longest names that a VM may state: an audit entry holds them all.
const MOST_SERVICES: usize = 64;
const LONGEST_NAME: usize = 128;

impl FilterIdentity {
    /// Checks what a VM says of itself against its credential.
    ///
    /// # Errors
    /// If the credential does not cover it.
    pub fn check(&self, vm: &VmIdentity) -> Result<(), Invalid> {
        let refuse = |what: String| Err(Invalid::Filter { what });
        if vm.services.is_empty() || vm.services.len() > MOST_SERVICES {
            return refuse(format!("it enforces {} services (1 to {MOST_SERVICES} are possible)", vm.services.len()));
        }
        match vm.services.iter().find(|service| !self.services.contains(service)) {
            Some(service) => refuse(format!("it enforces the service `{}`", shortened(service, LONGEST_NAME))),
            None => Ok(()),
        }
    }
}

impl FilterIdentity {
    /// How a VM is called: its credential and, where it says one, its proxy. One credential may serve many proxies,
    /// but what one credential's VM said is never taken from another's.
    #[must_use]
    pub fn name_of(&self, vm: &VmIdentity) -> String {
        if vm.node.is_empty() || vm.node == self.node {
            return self.node.clone();
        }
        format!("{}/{}", self.node, shortened(&vm.node, LONGEST_NAME))
    }
}

#[derive(Serialize)]
struct VmData {
    node: String,
    services: Vec<String>,
}

fn vm_entry(kind: EntryKind, vm: &StoredVm) -> Entry<VmData> {
    let ids = EntryIds { vm: Some(vm.vm.clone()), ..EntryIds::default() };
    let data = VmData {
        node: shortened(&vm.node, LONGEST_NAME),
        services: vm.services.iter().map(|service| shortened(service, LONGEST_NAME)).collect(),
    };
    let actor = if kind == EntryKind::FilterJoined { ActorField::Filter } else { ActorField::System };
    Entry { kind, actor, ids, data }
}

/// The VM as it is known, if it is; under this name, which no other's VM may speak in.
pub(super) async fn own_vm(tx: &mut WriteTx, vm: &VmIdentity, name: &str) -> Result<Option<StoredVm>, AppError> {
    let known = tx.vm(&vm.vm).await?;
    if known.as_ref().is_some_and(|known| known.node != name) {
        return Err(Invalid::Filter { what: format!("it is the VM `{}`, which is another node's", vm.vm) }.into());
    }
    Ok(known)
}

impl App {
    /// Keeps a VM at its first contact; must be done before its first answer. Later contacts move its last-seen time.
    /// One that begins with nothing has reached the present point: whoever answers it reads the store after this.
    ///
    /// # Errors
    /// If the VM says a node or service that its credential does not cover, or the VM's id is another node's.
    pub async fn vm_seen(
        &self,
        filter: &FilterIdentity,
        vm: &VmIdentity,
        applied: Option<&Applied>,
    ) -> Result<StoredVm, AppError> {
        filter.check(vm).map_err(AppError::Invalid)?;
        let name = filter.name_of(vm);
        let mut tx = self.write().await?;
        let known = own_vm(&mut tx, vm, &name).await?;
        let first = known.is_none();
        let reached = match &known {
            Some(known) => known.reached.filter(|_| known.services == vm.services),
            None => applied.is_none().then_some(tx.before().position),
        };
        let seen = StoredVm {
            vm: vm.vm.clone(),
            node: name,
            credential: Some(filter.node.clone()),
            services: vm.services.clone(),
            first_seen: known.as_ref().map_or(tx.now(), |known| known.first_seen),
            last_seen: tx.now(),
            made: known.map_or(0, |known| known.made),
            reached,
        };
        tx.put_vm(&seen).await?;
        if first {
            tx.log(&vm_entry(EntryKind::FilterJoined, &seen))?;
        }
        tx.commit().await?;
        Ok(seen)
    }

    /// Keeps the last words of many VMs at once. No audit entry: it only helps a restart, and the count of what a VM
    /// takes with it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn vms_seen_at(&self, seen: &[VmSeen]) -> Result<(), AppError> {
        let mut tx = self.write().await?;
        for vm in seen {
            tx.touch_vm(vm).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Every VM that is kept.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn load_vms(&self) -> Result<Vec<StoredVm>, AppError> {
        Ok(self.read().await?.vms().await?)
    }

    /// Tells that other replicas have news of waits or of acknowledgements. Only a hint, and only with PostgreSQL.
    #[must_use]
    pub fn fleet_told(&self) -> watch::Receiver<()> {
        self.inner.store.fleet_told()
    }

    /// Tells other replicas of waits that began, and takes back those that are over. No audit entry: nothing is changed.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn tell_waits(&self, begun: &[WaitToTell], over: &[String]) -> Result<(), AppError> {
        let mut tx = self.write().await?;
        tx.delete_old_waits().await?;
        for id in over {
            tx.delete_wait(id).await?;
        }
        for wait in begun {
            tx.put_wait(wait).await?;
        }
        if !begun.is_empty() {
            tx.tell_replicas().await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What other replicas wait for.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn waits_elsewhere(&self, replica: &str) -> Result<Vec<OpenWait>, AppError> {
        Ok(self.read().await?.waits_elsewhere(replica, self.inner.settings.clock.now()).await?)
    }

    /// Keeps what VMs have acknowledged, for whoever waits at another replica.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn vms_reached(&self, reached: &[VmReached]) -> Result<(), AppError> {
        let mut tx = self.write().await?;
        tx.reach(reached).await?;
        tx.tell_replicas().await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets those of `vms` that no replica has heard of since `before`; gives how many there were. One that comes back is
    /// a first contact again.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn vms_gone(&self, vms: &[VmId], before: Timestamp) -> Result<usize, AppError> {
        let mut tx = self.write().await?;
        let mut gone = 0;
        for id in vms {
            if let Some(vm) = tx.vm(id).await?.filter(|vm| vm.last_seen < before) {
                records::declare_loss(&mut tx, id).await?;
                tx.delete_vm(id).await?;
                tx.log(&vm_entry(EntryKind::FilterLeft, &vm))?;
                gone += 1;
            }
        }
        tx.commit().await?;
        Ok(gone)
    }
}
