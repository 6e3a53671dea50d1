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
    by_holder: Map<HolderKey, Held>,
    locks: Map<LockId, Lock>,
    signals: Map<Box<str>, Signal>,
    /// Whether a signal that is not set is unknown instead of untrue. Filters know all that are set.
    #[cfg(feature = "policy")]
    only_said: bool,
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

/// So many grants of one holder for one action are searched; more are found by their resources.
const FEW: usize = 32;

/// The grants of one holder for one action.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// By resource.
    sorted: Vec<Arc<Grant>>,
    /// The same by resource, once there are more than [`FEW`]; empty until then.
    by_resource: Map<Box<str>, Vec<Arc<Grant>>>,
}

impl Held {
    fn put(&mut self, grant: &Arc<Grant>) {
        let at = self.sorted.partition_point(|other| other.resource <= grant.resource);
        self.sorted.insert(at, Arc::clone(grant));
        if !self.by_resource.is_empty() {
            self.by_resource.entry_ref(&*grant.resource).or_default().push(Arc::clone(grant));
        } else if self.sorted.len() > FEW {
            for grant in &self.sorted {
                self.by_resource.entry_ref(&*grant.resource).or_default().push(Arc::clone(grant));
            }
        }
    }

    fn remove(&mut self, grant: &Grant) {
        let begin = self.sorted.partition_point(|other| other.resource < grant.resource);
        let place = self.sorted.iter().skip(begin).position(|other| other.id == grant.id);
        if let Some(place) = place {
            self.sorted.remove(begin.saturating_add(place));
        }
        if self.sorted.len() <= FEW {
            self.by_resource.clear();
        } else if let Some(same) = self.by_resource.get_mut(&*grant.resource) {
            same.retain(|other| other.id != grant.id);
            if same.is_empty() {
                self.by_resource.remove(&*grant.resource);
            }
        }
    }

    /// All of them, by resource.
    pub(crate) fn all(&self) -> &[Arc<Grant>] {
        &self.sorted
    }

    /// Those for the resource, in the order in which they came.
    pub(crate) fn of(&self, resource: &str) -> &[Arc<Grant>] {
        if !self.by_resource.is_empty() {
            return self.by_resource.get(resource).map(Vec::as_slice).unwrap_or_default();
        }
        let begin = self.sorted.partition_point(|grant| *grant.resource < *resource);
        let from = self.sorted.get(begin..).unwrap_or_default();
        let count = from.iter().take_while(|grant| *grant.resource == *resource).count();
        from.get(..count).unwrap_or_default()
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
        self.by_holder.entry(HolderKey::of(&grant)).or_default().put(&grant);
        self.grants.insert(grant.id.clone(), grant);
    }

    /// Removes a grant.
    pub fn remove_grant(&mut self, id: &GrantId) {
        let Some(grant) = self.grants.remove(id) else {
            return;
        };
        let key = HolderKey::of(&grant);
        if let Some(held) = self.by_holder.get_mut(&key) {
            held.remove(&grant);
            if held.sorted.is_empty() {
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

    /// Grants for the action that are found under the principal's user, then under its workload.
    pub(crate) fn grants_for<'t>(
        &'t self,
        principal: &Principal<'_>,
        service: &str,
        action: &str,
    ) -> [Option<&'t Held>; 2] {
        let held = |holder: Option<SubjectRef<'_>>| self.by_holder.get(&HolderRef { holder: holder?, service, action });
        [
            held(principal.user.map(|(issuer, subject)| SubjectRef::User(issuer, subject))),
            held(principal.workload.map(SubjectRef::Workload)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{GrantHolder, User};
    use crate::id::RequestId;

    fn grant(number: u64) -> Arc<Grant> {
        let user = User { issuer: "i".into(), subject: "s".into() };
        Arc::new(Grant {
            id: GrantId::new(number, [0; 10]),
            request: RequestId::new(0, [0; 10]),
            holder: GrantHolder::User(user),
            service: "svc".into(),
            action: "act".into(),
            resource: format!("thing/{}", number.wrapping_mul(7) % 40).into(),
            rule: "rule".into(),
            starts_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(1),
            conditions: Vec::new(),
            bound: None,
            reveals: Vec::new(),
            uses: None,
            break_glass: false,
        })
    }

    /// What is found for every resource is what is there for it, in the order in which it came.
    fn check(held: &Held, there: &[u64]) {
        for resource in (0..41).map(|number| format!("thing/{number}")) {
            let found: Vec<&GrantId> = held.of(&resource).iter().map(|grant| &grant.id).collect();
            let same: Vec<_> =
                there.iter().map(|number| grant(*number)).filter(|grant| *grant.resource == *resource).collect();
            assert_eq!(found, same.iter().map(|grant| &grant.id).collect::<Vec<_>>(), "{resource} of {}", there.len());
        }
        assert_eq!(held.all().len(), there.len());
        assert!(held.all().is_sorted_by_key(|grant| &grant.resource));
    }

    #[test]
    fn few_grants_and_many_are_found_alike() {
        let (mut held, mut there) = (Held::default(), Vec::new());
        let numbers = u64::try_from(FEW).unwrap().wrapping_mul(3);
        for number in 0..numbers {
            held.put(&grant(number));
            there.push(number);
            check(&held, &there);
        }
        // Away again from the middle, past the bound in both directions.
        for number in (0..numbers).map(|number| number.wrapping_mul(37).wrapping_add(5).checked_rem(numbers).unwrap()) {
            held.remove(&grant(number));
            there.retain(|other| *other != number);
            check(&held, &there);
            if number.is_multiple_of(3) {
                held.put(&grant(number));
                there.push(number);
                check(&held, &there);
                held.remove(&grant(number));
                there.pop();
            }
        }
        assert!(held.all().is_empty());
    }
}
