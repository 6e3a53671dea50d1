//! Who is to be woken when something of a service changes: one registration per held question, gone when it is answered.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::table::{Home, Scope};

/// The registrations, by service.
#[derive(Debug, Default)]
pub(super) struct Interest {
    next: AtomicU64,
    waiting: Mutex<HashMap<Box<str>, Numbered>>,
}

/// Those who wait for one service, by their numbers.
type Numbered = HashMap<u64, Arc<Notify>>;

/// One registration.
#[derive(Debug)]
pub(super) struct Registered<'i> {
    interest: &'i Interest,
    scope: &'i Scope,
    number: u64,
    notify: Arc<Notify>,
}

impl Registered<'_> {
    /// Returns when something of the scope changed since the registration or the last return.
    pub(super) async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut waiting = self.interest.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for service in self.scope.services() {
            if let Some(of_service) = waiting.get_mut(service) {
                of_service.remove(&self.number);
                if of_service.is_empty() {
                    waiting.remove(service);
                }
            }
        }
    }
}

impl Interest {
    /// Registers for a scope. Changes from now on are not missed.
    pub(super) fn register<'i>(&'i self, scope: &'i Scope) -> Registered<'i> {
        let (number, notify) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::new(Notify::new()));
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for service in scope.services() {
            waiting.entry(service.into()).or_default().insert(number, Arc::clone(&notify));
        }
        Registered { interest: self, scope, number, notify }
    }

    /// Wakes those who follow one of the changed services; all if something changed that concerns every service.
    pub(super) fn wake(&self, changed: &HashSet<Home>) {
        if changed.contains(&None) {
            return self.wake_all();
        }
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let services = changed.iter().flatten().filter_map(|service| waiting.get(service));
        services.flat_map(HashMap::values).for_each(|notify| notify.notify_one());
    }

    /// Wakes everyone.
    pub(super) fn wake_all(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().flat_map(HashMap::values).for_each(|notify| notify.notify_one());
    }
}
