//! Which filter VMs there are, what each has applied and until when each may still act on what it was told.
//! Asked by everything with `wait`, which returns when every VM that could still act on the old state has acknowledged or its
//! lease ran out.

pub(super) mod elsewhere;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grantmesh_shared::id::VmId;
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::records::StreamState;
use grantmesh_shared::wire::sync::{Freshness, Position, VmIdentity};
use tokio::sync::Notify;

use crate::app::{StoredVm, VmSeen};
use crate::clock::Clock;
use crate::domain::MOST_DECISIONS;

/// How much longer than its lease a VM is counted, so that it is not shown as live for ever nor forgotten at once.
const FORGET_AFTER: Span = Span::from_secs(3_600);

/// How long after its lease a VM that comes back is kept anew: well before anybody may forget it.
const KEEP_ANEW_AFTER: Span = Span::from_secs(1_800);

/// The longest a waiter sleeps before it looks at the leases again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// One VM, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetRow {
    /// The VM.
    pub vm: VmId,
    /// Its node.
    pub node: String,
    /// The services it enforces.
    pub services: Vec<String>,
    /// What it has acknowledged.
    pub applied: Option<Position>,
    /// When it was last answered.
    pub last_seen: Timestamp,
    /// Whether it may still act on what it was told.
    pub live: bool,
    /// How its stream of records stood when it last said so here.
    pub stream: Option<StreamState>,
}

/// What became of a change at one VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalState {
    /// The VM has applied it.
    Acknowledged,
    /// The VM has heard nothing for so long that it admits nothing any more.
    LeaseExpired,
    /// Neither is known.
    Pending,
}

impl ArrivalState {
    /// The word as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::LeaseExpired => "lease_expired",
            Self::Pending => "pending",
        }
    }
}

/// What became of a change at one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterArrival {
    /// The VM.
    pub vm: VmId,
    /// Its node.
    pub node: String,
    /// What became of it.
    pub state: ArrivalState,
}

/// What became of a change at every VM that it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Whether none is pending.
    pub complete: bool,
    /// The VMs, by id.
    pub filters: Vec<FilterArrival>,
}

#[derive(Debug)]
struct Vm {
    node: String,
    services: Vec<String>,
    applied: Option<Position>,
    /// All that it acts on is of this point or later, as the store has it for every replica.
    reached: Option<Position>,
    /// Nothing it was told can count for longer than a lease after this.
    last_answer: Timestamp,
    stream: Option<StreamState>,
    unkept: bool,
}

impl Vm {
    /// One of which only this is known.
    const fn new(node: String, services: Vec<String>, last_answer: Timestamp) -> Self {
        Self { node, services, applied: None, reached: None, last_answer, stream: None, unkept: false }
    }
}

/// Whether who is known to be at `known` has the change at `position`. Of another epoch nothing is known: a later one may have
/// been begun without the change.
fn has_reached(known: Option<Position>, position: Position) -> bool {
    known.is_some_and(|known| known.epoch == position.epoch && known.revision >= position.revision)
}

#[derive(Debug)]
struct Waiter {
    position: Position,
    missing: HashSet<VmId>,
    done: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    vms: BTreeMap<VmId, Vm>,
    waiters: HashMap<u64, Waiter>,
    next_waiter: u64,
}

impl State {
    fn tell_waiters(&mut self, id: &VmId, known: Position) {
        for waiter in self.waiters.values_mut().filter(|waiter| has_reached(Some(known), waiter.position)) {
            if waiter.missing.remove(id) && waiter.missing.is_empty() {
                waiter.done.notify_one();
            }
        }
    }
}

/// Every VM that was seen and not forgotten.
#[derive(Debug)]
pub struct Fleet {
    lease: Span,
    state: Mutex<State>,
}

impl Fleet {
    /// The VMs that an earlier process answered. Until when it last answered them is not known exactly, so each counts as
    /// possibly live for a lease from now.
    #[must_use]
    pub fn load(stored: Vec<StoredVm>, freshness: Freshness, now: Timestamp) -> Self {
        let known = |StoredVm { vm, node, services, reached, .. }: StoredVm| {
            (vm, Vm { reached, ..Vm::new(node, services, now) })
        };
        let vms = stored.into_iter().map(known);
        let lease = freshness.lease().millis();
        // Filters measure with a clock that may run up to 1 % slow.
        let lease = Span::from_millis(lease.saturating_add(lease.div_ceil(100)));
        Self { lease, state: Mutex::new(State { vms: vms.collect(), ..State::default() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this VM was seen with the same node and services, and not so long ago that another replica may be about to
    /// forget it in the store.
    pub(super) fn knows(&self, identity: &VmIdentity, node: &str, now: Timestamp) -> bool {
        let is_kept = |vm: &Vm| now < self.lease_end(vm).plus(KEEP_ANEW_AFTER);
        let same = |vm: &Vm| vm.node == node && vm.services == identity.services;
        self.state().vms.get(&identity.vm).is_some_and(|vm| same(vm) && is_kept(vm))
    }

    /// A VM that was not seen before, or not with these services, or long ago; it is in the store already, and with it the
    /// point that it has reached.
    pub(super) fn first_contact(&self, identity: &VmIdentity, node: &str, reached: Option<Position>, now: Timestamp) {
        let vm = Vm { reached, ..Vm::new(node.to_owned(), identity.services.clone(), now) };
        self.state().vms.insert(identity.vm.clone(), vm);
    }

    /// What a VM says it has applied.
    pub(super) fn acknowledged(&self, id: &VmId, applied: Position) {
        let mut state = self.state();
        let Some(vm) = state.vms.get_mut(id) else {
            return;
        };
        // A heartbeat and a poll of one VM may overtake each other. A filter never goes back, so the older one says nothing.
        vm.applied = vm.applied.max(Some(applied));
        state.tell_waiters(id, applied);
    }

    /// How a VM says that its stream of records stands.
    pub(super) fn reported(&self, id: &VmId, stream: StreamState) {
        if let Some(vm) = self.state().vms.get_mut(id) {
            // Two of its questions may overtake each other; it never counts back.
            if vm.stream.is_none_or(|known| stream.made >= known.made) {
                vm.stream = Some(stream);
            }
        }
    }

    /// A VM is answered now: its lease begins anew.
    pub(super) fn answered(&self, id: &VmId, now: Timestamp) {
        if let Some(vm) = self.state().vms.get_mut(id) {
            vm.last_answer = vm.last_answer.max(now);
            vm.unkept = true;
        }
    }

    /// The last words that are to be kept in the store.
    pub(super) fn take_unkept(&self) -> Vec<VmSeen> {
        let mut state = self.state();
        let seen = |(id, vm): (&VmId, &mut Vm)| {
            let made = vm.stream.map_or(0, |stream| stream.made.min(MOST_DECISIONS));
            std::mem::take(&mut vm.unkept).then(|| VmSeen { vm: id.clone(), at: vm.last_answer, made })
        };
        state.vms.iter_mut().filter_map(seen).collect()
    }

    /// A VM that the store last heard of before this admits nothing any more, whichever replica answered it.
    #[must_use]
    pub const fn silent_before(&self, now: Timestamp) -> Timestamp {
        now.minus(self.lease).minus(super::KEEP_MARGIN)
    }

    /// A VM that the store last heard of before this is forgotten, whichever replica answered it.
    #[must_use]
    pub const fn forgotten_before(&self, now: Timestamp) -> Timestamp {
        self.silent_before(now).minus(FORGET_AFTER)
    }

    /// Takes out the VMs that heard nothing for long after their lease; the caller forgets them in the store too.
    #[must_use]
    pub fn take_forgotten(&self, now: Timestamp) -> Vec<VmId> {
        let mut state = self.state();
        let over = |vm: &Vm| now >= self.lease_end(vm).plus(FORGET_AFTER);
        let forgotten: Vec<VmId> = state.vms.iter().filter(|(_, vm)| over(vm)).map(|(id, _)| id.clone()).collect();
        forgotten.iter().for_each(|id| {
            state.vms.remove(id);
        });
        forgotten
    }

    fn lease_end(&self, vm: &Vm) -> Timestamp {
        vm.last_answer.plus(self.lease)
    }

    /// How many VMs may still act on what they were told.
    #[must_use]
    pub fn live(&self, now: Timestamp) -> usize {
        self.state().vms.values().filter(|vm| now < self.lease_end(vm)).count()
    }

    /// How many records wait in the VMs that live, and for how long the oldest had when its VM last said so.
    #[must_use]
    pub fn queued(&self, now: Timestamp) -> (u64, Span) {
        let state = self.state();
        let live = state.vms.values().filter(|vm| now < self.lease_end(vm)).filter_map(|vm| vm.stream);
        live.fold((0, Span::default()), |(queued, lag), stream| {
            (queued.saturating_add(stream.kept), lag.max(Span::from_millis(stream.lag_ms)))
        })
    }

    /// Every VM, by id.
    #[must_use]
    pub fn rows(&self, now: Timestamp) -> Vec<FleetRow> {
        let row = |(id, vm): (&VmId, &Vm)| FleetRow {
            vm: id.clone(),
            node: vm.node.clone(),
            services: vm.services.clone(),
            applied: vm.applied,
            last_seen: vm.last_answer,
            live: now < self.lease_end(vm),
            stream: vm.stream,
        };
        self.state().vms.iter().map(row).collect()
    }

    /// What became of the change at `position` at the VMs of a service; at all of them if none is named.
    #[must_use]
    pub fn arrival(&self, service: Option<&str>, position: Position, now: Timestamp) -> Arrival {
        self.arrival_in(&self.state(), service, position, now)
    }

    fn arrival_in(&self, state: &State, service: Option<&str>, position: Position, now: Timestamp) -> Arrival {
        let enforces = |vm: &Vm| service.is_none_or(|service| vm.services.iter().any(|name| name == service));
        let concerned = state.vms.iter().filter(|(_, vm)| enforces(vm));
        let filters: Vec<FilterArrival> = concerned
            .map(|(id, vm)| {
                let state = if has_reached(vm.applied, position) || has_reached(vm.reached, position) {
                    ArrivalState::Acknowledged
                } else if now >= self.lease_end(vm) {
                    ArrivalState::LeaseExpired
                } else {
                    ArrivalState::Pending
                };
                FilterArrival { vm: id.clone(), node: vm.node.clone(), state }
            })
            .collect();
        Arrival { complete: filters.iter().all(|filter| filter.state != ArrivalState::Pending), filters }
    }

    /// Waits until the change at `position` has arrived at every VM that it concerns, or `bound` is over.
    pub async fn wait(&self, service: Option<&str>, position: Position, bound: Duration, clock: &dyn Clock) -> Arrival {
        let waiting = self.register(service, position, clock.now());
        let arrived = async {
            // An acknowledgement wakes at once; the end of a lease is a matter of the clock.
            while let Some(next) = self.still_missing(&waiting, clock.now()) {
                let _ = tokio::time::timeout(next.clamp(Duration::from_millis(1), LOOK_AGAIN), waiting.done.notified())
                    .await;
            }
        };
        // Either it arrived or the time is over; what is told is read below.
        let _ = tokio::time::timeout(bound, arrived).await;
        self.arrival(service, position, clock.now())
    }

    fn register(&self, service: Option<&str>, position: Position, now: Timestamp) -> Waiting<'_> {
        let done = Arc::new(Notify::new());
        let mut state = self.state();
        let filters = self.arrival_in(&state, service, position, now).filters;
        let pending = filters.into_iter().filter(|filter| filter.state == ArrivalState::Pending);
        let missing: HashSet<VmId> = pending.map(|filter| filter.vm).collect();
        let number = state.next_waiter;
        state.next_waiter = state.next_waiter.wrapping_add(1);
        state.waiters.insert(number, Waiter { position, missing, done: Arc::clone(&done) });
        Waiting { fleet: self, number, done }
    }

    /// How long until the next lease of a missing VM ends; nothing if none is missing any more.
    fn still_missing(&self, waiting: &Waiting<'_>, now: Timestamp) -> Option<Duration> {
        let State { vms, waiters, .. } = &mut *self.state();
        let missing = &mut waiters.get_mut(&waiting.number)?.missing;
        missing.retain(|id| vms.get(id).is_some_and(|vm| now < self.lease_end(vm)));
        missing.iter().filter_map(|id| vms.get(id)).map(|vm| self.lease_end(vm).since(now).duration()).min()
    }
}

/// A waiter's registration, gone with it.
struct Waiting<'f> {
    fleet: &'f Fleet,
    number: u64,
    done: Arc<Notify>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.fleet.state().waiters.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
