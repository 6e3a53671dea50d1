//! When a change counts as arrived: by acknowledgement, by the end of a lease, and not before.

use std::sync::Arc;

use super::*;
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
        fleet.first_contact(&identity(number, SERVICE), "node", NOW);
    }
    fleet
}

fn states(arrival: &Arrival) -> Vec<ArrivalState> {
    arrival.filters.iter().map(|filter| filter.state).collect()
}

#[tokio::test]
async fn the_last_acknowledgement_ends_the_wait() {
    let (fleet, clock) = (Arc::new(fleet(2)), Arc::new(ManualClock::at(NOW)));
    fleet.acknowledged(&id(0), Some(at(7)));
    let waiting = tokio::spawn({
        let (fleet, clock) = (Arc::clone(&fleet), Arc::clone(&clock));
        async move { fleet.wait(Some(SERVICE), at(7), Duration::from_secs(60), &*clock).await }
    });
    while fleet.state().waiters.is_empty() {
        tokio::task::yield_now().await;
    }
    fleet.acknowledged(&id(1), Some(at(6)));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "an earlier revision is no acknowledgement");
    fleet.acknowledged(&id(1), Some(at(8)));
    let arrival = tokio::time::timeout(LOOK_AGAIN / 2, waiting).await.expect("woken, not polled").unwrap();
    assert!(arrival.complete);
    assert_eq!(states(&arrival), [ArrivalState::Acknowledged; 2]);
    assert!(fleet.state().waiters.is_empty(), "the waiter is gone");
}

#[tokio::test]
async fn a_lease_that_ran_out_counts_as_arrived() {
    let (fleet, clock) = (fleet(2), ManualClock::at(NOW));
    fleet.acknowledged(&id(0), Some(at(7)));
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
    fleet.first_contact(&identity(1, "ledger"), "node", NOW);
    assert!(fleet.wait(Some(SERVICE), at(7), Duration::from_secs(60), &clock).await.complete);
    assert!(fleet.first_contact(&identity(2, SERVICE), "node", NOW), "new");
    fleet.born(&id(2), at(7));
    assert_eq!(states(&fleet.arrival(Some(SERVICE), at(7), NOW)), [ArrivalState::Acknowledged]);
    assert_eq!(states(&fleet.arrival(Some(SERVICE), at(8), NOW)), [ArrivalState::Pending]);
}

#[test]
fn vms_of_an_earlier_process_are_live_for_a_lease() {
    let seen = NOW.minus(Span::from_secs(500));
    let stored = StoredVm {
        vm: id(1),
        node: "node".to_owned(),
        credential: None,
        services: vec![SERVICE.to_owned()],
        first_seen: seen,
        last_seen: seen,
        made: 0,
    };
    let fleet = Fleet::load(vec![stored], Freshness::default(), NOW);
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
    fleet.acknowledged(&id(0), Some(at(7)));
    let row = |number: u64, last_seen: Timestamp| StoredVm {
        vm: id(number),
        node: "other".to_owned(),
        credential: None,
        services: vec![SERVICE.to_owned()],
        first_seen: NOW,
        last_seen,
        made: 0,
    };
    let margin = Span::from_secs(10);
    fleet.met_elsewhere(vec![row(0, NOW), row(1, NOW)], margin);
    assert_eq!(states(&fleet.arrival(Some(SERVICE), at(7), NOW)), [ArrivalState::Acknowledged, ArrivalState::Pending]);
    let lease_end = NOW.plus(fleet.lease);
    assert_eq!(fleet.live(lease_end), 1, "ours is over, the other one may have been answered since");
    assert_eq!(fleet.live(lease_end.plus(margin)), 0);
    fleet.met_elsewhere(vec![row(0, lease_end)], margin);
    assert_eq!(fleet.live(lease_end.plus(margin)), 1, "it went over to another replica");
}
