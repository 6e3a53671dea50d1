//! All that is decided from: services, grants and locks, indexed so that cost does not grow with their number.
//! Changed only by the filter's sync and the control plane's push, one item at a time.

mod grants;
mod held;
mod kinds;
mod lone;
mod places;
mod record;
mod rows;
mod slab;

use super::Map;
use super::grant::Grant;
use super::lock::Lock;
use super::principal::{Principal, SubjectRef};
use super::service::Service;
use super::signal::Signal;
use crate::id::{GrantId, LockId};
use crate::time::Timestamp;

use grants::Grants;
pub use held::HeldGrant;
pub use lone::LoneGrant;

/// So many services are freed at a time: to free one takes some ten microseconds, more if it is large.
const FREED: usize = 4;

/// Services, grants, locks and signals.
#[derive(Debug, Default)]
pub struct Table {
    services: Map<Box<str>, Service>,
    grants: Grants,
    locks: Map<LockId, Lock>,
    signals: Map<Box<str>, Signal>,
    /// Whether a signal that is not set is unknown instead of untrue. Filters know all that are set.
    #[cfg(feature = "policy")]
    only_said: bool,
}

impl Table {
    /// Adds a service or replaces the one of the same name, which it gives: to drop a service takes longer than this.
    pub fn put_service(&mut self, service: Service) -> Option<Service> {
        self.services.insert(service.name().into(), service)
    }

    /// Removes a service, which it gives; its calls are then refused.
    pub fn remove_service(&mut self, name: &str) -> Option<Service> {
        self.services.remove(name)
    }

    /// Adds a grant or replaces the one of the same id.
    pub fn put_grant(&mut self, grant: Grant) {
        self.grants.put(grant, None);
    }

    /// As [`Self::put_grant`], with something that [`HeldGrant::note`] gives back.
    pub fn put_grant_noted(&mut self, grant: Grant, note: &[u8; 32]) {
        self.grants.put(grant, Some(note));
    }

    /// Removes a grant.
    pub fn remove_grant(&mut self, id: &GrantId) {
        self.grants.remove(id.bits());
    }

    /// Frees a part of a table that nobody asks any more, in a fraction of a millisecond. Tells whether anything is left: to
    /// drop a table of a million grants at once takes far longer.
    pub fn free_some(&mut self) -> bool {
        let mut is_any = false;
        for _ in 0..FREED {
            let Some(name) = self.services.keys().next().cloned() else { break };
            is_any |= self.services.remove(&name).is_some();
        }
        is_any || self.grants.free()
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

    /// The same, with nothing known of signals that it does not have: a condition that names one errs.
    #[cfg(feature = "policy")]
    #[must_use]
    pub(super) fn with_only_what_is_said(self) -> Self {
        Self { only_said: true, ..self }
    }

    /// Whether nothing is known of signals that it does not have.
    pub(crate) const fn has_only_what_is_said(&self) -> bool {
        #[cfg(feature = "policy")]
        return self.only_said;
        #[cfg(not(feature = "policy"))]
        false
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
    pub fn grant(&self, id: &GrantId) -> Option<HeldGrant<'_>> {
        self.grants.get(id.bits())
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

    /// Shows the grants for an action that are found under the principal's user, then those found under its workload, until
    /// `show` has seen enough: those for a resource, or else some of them (all, unless they are many). Whether the principal
    /// is the holder in every part is still to be asked.
    pub(crate) fn each_grant<'t>(
        &'t self,
        principal: &Principal<'_>,
        action: (&str, &str),
        resource: Option<&str>,
        show: &mut dyn FnMut(&HeldGrant<'t>) -> bool,
    ) {
        let user = principal.user.map(|(issuer, subject)| SubjectRef::User(issuer, subject));
        let workload = principal.workload.map(SubjectRef::Workload);
        for holder in [user, workload].into_iter().flatten() {
            if self.grants.each(holder, action, resource, show) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
