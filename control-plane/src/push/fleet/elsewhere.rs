//! What replicas tell each other of their VMs through the store: who there is, when each was last answered, and which point
//! it has reached. What comes from there only ever adds to what is known here.

use grantmesh_shared::time::Span;
use grantmesh_shared::wire::sync::Position;

use super::{Fleet, Vm, has_reached};
use crate::app::{OpenWait, StoredVm, VmReached};

impl Fleet {
    /// VMs as the store knows them: what was answered later than here was answered by another replica, at most `margin`
    /// after the time that is kept.
    pub(in crate::push) fn met_elsewhere(&self, stored: Vec<StoredVm>, margin: Span) {
        let mut state = self.state();
        for StoredVm { vm: id, node, services, last_seen, reached, .. } in stored {
            let met = last_seen.plus(margin);
            let vm = state.vms.entry(id.clone()).or_insert_with(|| Vm::new(node, services.clone(), met));
            if vm.last_answer < last_seen {
                vm.last_answer = met;
            }
            if vm.services != services {
                // Which of both it enforces now is not known here: it is waited for by all of them, and its next question
                // here makes it known anew.
                let more = services.into_iter().filter(|service| !vm.services.contains(service)).collect::<Vec<_>>();
                vm.services.extend(more);
                (vm.applied, vm.reached) = (None, None);
                continue;
            }
            vm.reached = vm.reached.max(reached);
            if let Some(reached) = vm.reached {
                state.tell_waiters(&id, reached);
            }
        }
    }

    /// Whether somebody waits here.
    pub(in crate::push) fn is_waited_for(&self) -> bool {
        !self.state().waiters.is_empty()
    }

    /// What VMs have acknowledged here that other replicas wait for and the store does not have.
    pub(in crate::push) fn unshared(&self, waits: &[OpenWait]) -> Vec<VmReached> {
        let state = self.state();
        let acknowledged = state.vms.iter().filter_map(|(id, vm)| {
            let applied = vm.applied?;
            let concerns = |wait: &&OpenWait| wait.service.as_ref().is_none_or(|service| vm.services.contains(service));
            let news =
                |wait: &OpenWait| has_reached(Some(applied), wait.position) && !has_reached(vm.reached, wait.position);
            let services = || vm.services.clone();
            let reached = || VmReached { vm: id.clone(), services: services(), position: applied };
            waits.iter().filter(concerns).any(news).then(reached)
        });
        acknowledged.collect()
    }

    /// The store has them now.
    pub(in crate::push) fn shared(&self, reached: &[VmReached]) {
        let mut state = self.state();
        for VmReached { vm: id, services, position } in reached {
            if let Some(vm) = state.vms.get_mut(id).filter(|vm| vm.services == *services) {
                vm.reached = vm.reached.max(Some(*position));
            }
        }
    }
}

/// Whether an acknowledgement at `applied` is one that some wait is for.
pub(in crate::push) fn is_waited_for(waits: &[OpenWait], applied: Position) -> bool {
    waits.iter().any(|wait| has_reached(Some(applied), wait.position))
}
