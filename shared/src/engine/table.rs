//! All that is decided from: services, grants and locks, indexed so that cost does not grow with their number.
//! Changed only by the filter's sync and the control plane's push, one item at a time.

use std::sync::Arc;

use hashbrown::Equivalent;

use super::Map;
use super::grant::Grant;
use super::lock::Lock;
use super::principal::{Principal, SubjectKey, SubjectRef};
use super::service::Service;
use super::signal::Signal;
use crate::id::{GrantId, LockId};
use crate::time::Timestamp;

/// Services, grants, locks and signals.
#[derive(Debug, Default)]
pub struct Table {
    services: Map<Box<str>, Service>,
    grants: Map<GrantId, Arc<Grant>>,
    /// Sorted by resource within each key.
    by_holder: Map<HolderKey, Vec<Arc<Grant>>>,
    locks: Map<LockId, Lock>,
    signals: Map<Box<str>, Signal>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct HolderKey {
    holder: SubjectKey,
    service: Box<str>,
    action: Box<str>,
}

#[derive(Hash)]
struct HolderRef<'a> {
    holder: SubjectRef<'a>,
    service: &'a str,
    action: &'a str,
}

impl Equivalent<HolderKey> for HolderRef<'_> {
    fn equivalent(&self, key: &HolderKey) -> bool {
        self.holder.equivalent(&key.holder) && *self.service == *key.service && *self.action == *key.action
    }
}

impl HolderKey {
    fn of(grant: &Grant) -> Self {
        Self { holder: SubjectKey(grant.holder.key()), service: grant.service.clone(), action: grant.action.clone() }
    }
}

impl Table {
    /// Adds a service or replaces the one of the same name.
    pub fn put_service(&mut self, service: Service) {
        self.services.insert(service.name().into(), service);
    }

    /// Removes a service; its calls are then refused.
    pub fn remove_service(&mut self, name: &str) {
        self.services.remove(name);
    }

    /// Adds a grant or replaces the one of the same id.
    pub fn put_grant(&mut self, grant: Grant) {
        self.remove_grant(&grant.id);
        let grant = Arc::new(grant);
        let held = self.by_holder.entry(HolderKey::of(&grant)).or_default();
        let at = held.partition_point(|other| other.resource <= grant.resource);
        held.insert(at, Arc::clone(&grant));
        self.grants.insert(grant.id.clone(), grant);
    }

    /// Removes a grant.
    pub fn remove_grant(&mut self, id: &GrantId) {
        let Some(grant) = self.grants.remove(id) else {
            return;
        };
        let key = HolderKey::of(&grant);
        if let Some(held) = self.by_holder.get_mut(&key) {
            held.retain(|other| other.id != *id);
            if held.is_empty() {
                self.by_holder.remove(&key);
            }
        }
    }

    /// Adds a lock or replaces the one of the same id.
    pub fn put_lock(&mut self, lock: Lock) {
        self.locks.insert(lock.id.clone(), lock);
    }

    /// Removes a lock.
    pub fn remove_lock(&mut self, id: &LockId) {
        self.locks.remove(id);
    }

    /// Sets a signal or replaces the one of the same name.
    pub fn put_signal(&mut self, signal: Signal) {
        self.signals.insert(signal.name.clone(), signal);
    }

    /// Ends a signal.
    pub fn remove_signal(&mut self, name: &str) {
        self.signals.remove(name);
    }

    /// The signal of that name, if it was set. Whether it has ended is a question of the time of the call.
    #[must_use]
    pub fn signal(&self, name: &str) -> Option<&Signal> {
        self.signals.get(name)
    }

    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    /// All services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// The grant of that id. Whether it is live is a question of the time.
    #[must_use]
    pub fn grant(&self, id: &GrantId) -> Option<&Grant> {
        self.grants.get(id).map(|grant| &**grant)
    }

    /// All locks, in no order.
    pub fn locks(&self) -> impl Iterator<Item = &Lock> {
        self.locks.values()
    }

    /// How many grants there are.
    #[must_use]
    pub fn grant_count(&self) -> usize {
        self.grants.len()
    }

    pub(crate) fn lock_on(
        &self,
        principal: &Principal<'_>,
        service: &str,
        action: Option<&str>,
        earliest: Timestamp,
    ) -> Option<&Lock> {
        // Locks are few; the smallest id is named so that the answer does not depend on the map's order.
        self.locks.values().filter(|lock| lock.blocks(principal, service, action, earliest)).min_by_key(|lock| &lock.id)
    }

    /// Grants for the action that are found under the principal's user, then under its workload, sorted by resource.
    pub(crate) fn grants_for<'t>(
        &'t self,
        principal: &Principal<'_>,
        service: &str,
        action: &str,
    ) -> [&'t [Arc<Grant>]; 2] {
        let held = |holder: Option<SubjectRef<'_>>| {
            holder
                .and_then(|holder| self.by_holder.get(&HolderRef { holder, service, action }))
                .map(Vec::as_slice)
                .unwrap_or_default()
        };
        [
            held(principal.user.map(|(issuer, subject)| SubjectRef::User(issuer, subject))),
            held(principal.workload.map(SubjectRef::Workload)),
        ]
    }
}
