//! When a change counts as arrived: by acknowledgement, by the end of a lease, and not before.

use std::sync::Arc;

use super::*;
use crate::app::{OpenWait, VmReached};
use crate::clock::ManualClock;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SERVICE: &str = "payments";

fn at(revision: u64) -> Position {
    Position { epoch: 1, revision }
}

fn id(number: u64) -> VmId {
    VmId::new(number, [0; 10])
}

fn identity(number: u64, service: &str) -> VmIdentity {
    VmIdentity { vm: id(number), node: "node".to_owned(), services: vec![service.to_owned()] }
}

/// A fleet of VMs that were all answered now.
fn fleet(count: u64) -> Fleet {
    let fleet = Fleet::load(Vec::new(), Freshness { critical_ms: 1_000, standard_ms: 2_000, low_ms: 10_000 }, NOW);
    for number in 0..count {
        fleet.first_contact(&identity(number, SERVICE), "node", None, NOW);
    }
    fleet
}

/// A VM as the store has it.
fn row(number: u64, last_seen: Timestamp, reached: Option<Position>) -> StoredVm {
    StoredVm {
        vm: id(number),
        node: "node".to_owned(),
        credential: None,
        services: vec![SERVICE.to_owned()],
        first_seen: NOW,
        last_seen,
        made: 0,
        reached,
    }
}

fn wait(service: Option<&str>, position: Position) -> OpenWait {
    OpenWait { service: service.map(str::to_owned), position }
}

fn states(arrival: &Arrival) -> Vec<ArrivalState> {
    arrival.filters.iter().map(|filter| filter.state).collect()
}

#[tokio::test]
async fn the_last_acknowledgement_ends_the_wait() {
    let (fleet, clock) = (Arc::new(fleet(2)), Arc::new(ManualClock::at(NOW)));
    fleet.acknowledged(&id(0), at(7));
    let waiting = tokio::spawn({
        let (fleet, clock) = (Arc::clone(&fleet), Arc::clone(&clock));
        async move { fleet.wait(Some(SERVICE), at(7), Duration::from_secs(60), &*clock).await }
    });
    while fleet.state().waiters.is_empty() {
        tokio::task::yield_now().await;
    }
    fleet.acknowledged(&id(1), at(6));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "an earlier revision is no acknowledgement");
    fleet.acknowledged(&id(1), at(8));
    let arrival = tokio::time::timeout(LOOK_AGAIN / 2, waiting).await.expect("woken, not polled").unwrap();
    assert!(arrival.complete);
    assert_eq!(states(&arrival), [ArrivalState::Acknowledged; 2]);
    assert!(fleet.state().waiters.is_empty(), "the waiter is gone");
}

#[tokio::test]
async fn a_lease_that_ran_out_counts_as_arrived() {
    let (fleet, clock) = (fleet(2), ManualClock::at(NOW));
    fleet.acknowledged(&id(0), at(7));
    let lease = fleet.lease;
    assert_eq!(lease, Span::from_millis(10_100), "the largest bound and 1 %");
    clock.advance(lease.minus_one());
    let early = fleet.wait(Some(SERVICE), at(7), Duration::from_millis(1), &clock).await;
    assert!(!early.complete);
    assert_eq!(states(&early), [ArrivalState::Acknowledged, ArrivalState::Pending]);
    clock.advance(Span::from_millis(1));
    let late = fleet.wait(Some(SERVICE), at(7), Duration::from_secs(60), &clock).await;
    assert!(late.complete);
    assert_eq!(states(&late), [ArrivalState::Acknowledged, ArrivalState::LeaseExpired]);
}

trait MinusOne {
    fn minus_one(self) -> Self;
}

impl MinusOne for Span {
    fn minus_one(self) -> Self {
        Self::from_millis(self.millis() - 1)
    }
}

#[tokio::test]
async fn an_answer_renews_the_lease() {
    let (fleet, clock) = (fleet(1), ManualClock::at(NOW));
    clock.advance(Span::from_millis(10_000));
    fleet.answered(&id(0), clock.now());
    clock.advance(Span::from_millis(10_000));
    assert_eq!(states(&fleet.arrival(Some(SERVICE), at(1), clock.now())), [ArrivalState::Pending]);
    assert_eq!(fleet.live(clock.now()), 1);
    let told = |made| StreamState { made, kept: made, lag_ms: 20 };
    fleet.reported(&id(0), told(7));
    fleet.reported(&id(0), told(5));
    assert_eq!(fleet.queued(clock.now()), (7, Span::from_millis(20)));
    assert_eq!(fleet.take_unkept(), [VmSeen { vm: id(0), at: NOW.plus(Span::from_millis(10_000)), made: 7 }]);
    assert!(fleet.take_unkept().is_empty());
}

#[tokio::test]
async fn other_services_and_new_vms_do_not_hold_it_up() {
    let (fleet, clock) = (fleet(0), ManualClock::at(NOW));
    fleet.first_contact(&identity(1, "ledger"), "node", None, NOW);
    assert!(fleet.wait(Some(SERVICE), at(7), Duration::from_secs(60), &clock).await.complete);
    fleet.first_contact(&identity(2, SERVICE), "node", Some(at(7)), NOW);
    assert_eq!(states(&fleet.arrival(Some(SERVICE), at(7), NOW)), [ArrivalState::Acknowledged]);
    assert_eq!(states(&fleet.arrival(Some(SERVICE), at(8), NOW)), [ArrivalState::Pending]);
}

#[test]
fn vms_of_an_earlier_process_are_live_for_a_lease() {
    let seen = NOW.minus(Span::from_secs(500));
    let fleet = Fleet::load(vec![row(1, seen, None)], Freshness::default(), NOW);
    assert_eq!(fleet.live(NOW), 1);
    assert_eq!(states(&fleet.arrival(Some(SERVICE), at(1), NOW)), [ArrivalState::Pending]);
    let later = NOW.plus(fleet.lease);
    assert_eq!((fleet.live(later), fleet.take_forgotten(later).len()), (0, 0));
    assert_eq!(fleet.take_forgotten(later.plus(FORGET_AFTER)), [id(1)]);
    assert!(fleet.rows(later).is_empty());
}

#[test]
fn vms_of_other_replicas_are_waited_for() {
    let fleet = fleet(1);
    fleet.acknowledged(&id(0), at(7));
    let margin = Span::from_secs(10);
    fleet.met_elsewhere(vec![row(0, NOW, None), row(1, NOW, None)], margin);
    assert_eq!(states(&fleet.arrival(Some(SERVICE), at(7), NOW)), [ArrivalState::Acknowledged, ArrivalState::Pending]);
    let lease_end = NOW.plus(fleet.lease);
    assert_eq!(fleet.live(lease_end), 1, "ours is over, the other one may have been answered since");
    assert_eq!(fleet.live(lease_end.plus(margin)), 0);
    fleet.met_elsewhere(vec![row(0, lease_end, None)], margin);
    assert_eq!(fleet.live(lease_end.plus(margin)), 1, "it went over to another replica");
}

#[tokio::test]
async fn an_acknowledgement_that_another_replica_kept_ends_the_wait() {
    let (fleet, clock) = (Arc::new(fleet(1)), Arc::new(ManualClock::at(NOW)));
    let waiting = tokio::spawn({
        let (fleet, clock) = (Arc::clone(&fleet), Arc::clone(&clock));
        async move { fleet.wait(Some(SERVICE), at(7), Duration::from_secs(60), &*clock).await }
    });
    while !fleet.is_waited_for() {
        tokio::task::yield_now().await;
    }
    let earlier = Position { epoch: 0, revision: 99 };
    let later = Position { epoch: 2, revision: 1 };
    for other in [None, Some(at(6)), Some(earlier)] {
        fleet.met_elsewhere(vec![row(0, NOW, other)], Span::from_secs(10));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "{other:?} is not what is waited for");
    }
    fleet.met_elsewhere(vec![row(0, NOW, Some(at(7)))], Span::from_secs(10));
    let arrival = tokio::time::timeout(LOOK_AGAIN / 2, waiting).await.expect("woken, not polled").unwrap();
    assert_eq!(states(&arrival), [ArrivalState::Acknowledged]);
    // What was kept before is no word on what comes later, and what is kept of an older point takes nothing back.
    fleet.met_elsewhere(vec![row(0, NOW, Some(at(3)))], Span::from_secs(10));
    assert_eq!(states(&fleet.arrival(None, at(7), NOW)), [ArrivalState::Acknowledged]);
    assert_eq!(states(&fleet.arrival(None, at(8), NOW)), [ArrivalState::Pending]);
    // In an epoch that was begun later the change may never have been.
    fleet.met_elsewhere(vec![row(0, NOW, Some(later))], Span::from_secs(10));
    assert_eq!(states(&fleet.arrival(None, at(7), NOW)), [ArrivalState::Pending]);
}

#[test]
fn only_what_somebody_waits_for_is_kept_and_once() {
    let fleet = fleet(3);
    fleet.first_contact(&identity(9, "ledger"), "node", None, NOW);
    for (number, revision) in [(0, 7), (1, 6), (9, 7)] {
        fleet.acknowledged(&id(number), at(revision));
    }
    let unshared = |waits: &[OpenWait]| -> Vec<VmId> { fleet.unshared(waits).into_iter().map(|vm| vm.vm).collect() };
    assert!(unshared(&[]).is_empty());
    assert!(unshared(&[wait(None, at(8)), wait(None, Position { epoch: 0, revision: 1 })]).is_empty());
    assert_eq!(unshared(&[wait(Some("ledger"), at(7))]), [id(9)]);
    assert_eq!(unshared(&[wait(None, at(7))]), [id(0), id(9)]);
    let waits = [wait(Some(SERVICE), at(7)), wait(Some(SERVICE), at(5))];
    let reached = fleet.unshared(&waits);
    let kept =
        |number, revision| VmReached { vm: id(number), services: vec![SERVICE.to_owned()], position: at(revision) };
    assert_eq!(reached, [kept(0, 7), kept(1, 6)]);
    fleet.shared(&reached);
    assert!(fleet.unshared(&waits).is_empty());
    fleet.acknowledged(&id(1), at(9));
    assert_eq!(fleet.unshared(&waits), [kept(1, 9)], "it has the later change now too");
}

#[test]
fn a_vm_whose_services_differ_elsewhere_is_waited_for_by_all_of_them() {
    let fleet = fleet(1);
    fleet.acknowledged(&id(0), at(7));
    let moved = StoredVm { services: vec!["ledger".to_owned()], ..row(0, NOW, Some(at(7))) };
    fleet.met_elsewhere(vec![moved], Span::from_secs(10));
    for service in [SERVICE, "ledger"] {
        assert_eq!(states(&fleet.arrival(Some(service), at(7), NOW)), [ArrivalState::Pending], "{service}");
    }
    assert!(!fleet.knows(&identity(0, SERVICE), "node", NOW), "its next question makes it known anew");
}

#[test]
fn a_vm_that_comes_back_is_kept_anew_before_anybody_forgets_it() {
    let fleet = fleet(1);
    let known = |now| fleet.knows(&identity(0, SERVICE), "node", now);
    let last = NOW.plus(fleet.lease).plus(KEEP_ANEW_AFTER);
    assert!(known(last.minus(Span::from_millis(1))));
    assert!(!known(last));
    assert!(fleet.forgotten_before(last) < NOW && fleet.take_forgotten(last).is_empty());
    let forgotten = NOW.plus(fleet.lease).plus(FORGET_AFTER);
    assert_eq!(fleet.take_forgotten(forgotten), [id(0)]);
    assert_eq!(
        fleet.forgotten_before(forgotten),
        NOW.minus(super::super::KEEP_MARGIN),
        "others may have answered it since"
    );
}
