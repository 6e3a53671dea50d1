//! Running calls over a filter that follows a small control plane.

use std::cell::RefCell;

use grantmesh_shared::wire::table::{Body, GrantItem, LockItem, SubjectItem};

use grantmesh_shared::id::GrantId;

use super::*;
use crate::flow::tests::{World, refunds_grant, world};
use crate::records::Told;

const LOCK: &str = "lock/lock_00000000000000000000000000";

fn caller(context: u32) -> Caller {
    Caller { context, root: 1, ..Caller::default() }
}

/// A running refund of Ann's, with what its record says about groups.
fn refund(context: u32, criticality: Criticality, groups: &str) -> Open {
    under(&GrantId::new(1, [1; 10]), context, criticality, groups)
}

fn under(grant: &GrantId, context: u32, criticality: Criticality, groups: &str) -> Open {
    let event = format!(
        r#"{{"kind":"decision","id":"{}","decision":"allow","service":"payments","action":"refund.create",
        "resource":"account/acc-1","method":"POST","path":"/v1/accounts/acc-1/refunds","issuer":"https://id.example",
        "subject":"ann",{groups}"grant":"{}"}}"#,
        DecisionId::new(3, [9; 10]),
        grant,
    );
    let ends_at = Timestamp::from_millis(1_003_000);
    Open {
        whose: 7,
        caller: caller(context),
        ends_at,
        criticality,
        offline: false,
        told: Told::new(event.into_bytes(), Some(grant.clone())).into(),
        call: 0,
    }
}

fn due(streams: &mut Streams, world: &World, millis: u64) -> Vec<(u32, &'static str)> {
    let id = DecisionId::new(4, [4; 10]);
    let ended = streams.due(&world.sync, Mono::from_millis(millis));
    for (open, why) in &ended {
        let event: Event<'static> =
            serde_json::from_slice(&open.ending(*why, &id, world.sync.position()).unwrap()).unwrap();
        let Event::Decision(event) = event else { panic!("{event:?}") };
        assert_eq!((event.decision, &event.reasons[..]), (DecisionWord::Deny, &[why.code().into()][..]));
        assert_eq!((&event.id, event.ended.as_ref()), (&id, Some(&DecisionId::new(3, [9; 10]))));
        assert_eq!(event.position, world.sync.position());
    }
    ended.iter().map(|(open, why)| (open.caller.context, why.code())).collect()
}

fn lock(subject: Option<SubjectItem>, action: Option<&str>) -> Body {
    Body::Lock(LockItem {
        id: LOCK.trim_start_matches("lock/").parse().unwrap(),
        subject,
        service: Some("payments".to_owned()),
        action: action.map(str::to_owned),
        reason: "lost".to_owned(),
        expires_at: None,
    })
}

#[test]
fn a_call_ends_with_its_grant_and_not_before() {
    let (world, mut streams) = (world(&["payments"]), Streams::default());
    assert_eq!(due(&mut streams, &world, 0), []);
    streams.admit(refund(7, Criticality::Low, ""));
    for millis in [0, 100, 2_900] {
        assert_eq!(due(&mut streams, &world, millis), []);
    }
    assert_eq!(due(&mut streams, &world, 3_000), [(7, "grant_ended")]);
    assert_eq!(due(&mut streams, &world, 3_100), []);
    assert!(streams.is_empty());
}

/// Ann's grant, until that time.
fn until(millis: i64) -> Body {
    let Body::Grant(grant) = refunds_grant() else { unreachable!("it is a grant") };
    Body::Grant(GrantItem { expires_at: Timestamp::from_millis(millis), ..grant })
}

#[test]
fn a_revoked_grant_ends_what_runs_and_an_extended_one_does_not() {
    let (mut world, mut streams) = (world(&["payments"]), Streams::default());
    streams.admit(refund(7, Criticality::Low, ""));
    world.tell(100, &[until(1_060_000)], &[]);
    assert_eq!(due(&mut streams, &world, 100), []);
    assert_eq!(due(&mut streams, &world, 4_000), [], "it was extended");
    world.tell(4_100, &[], &[&refunds_grant().key()]);
    assert_eq!(due(&mut streams, &world, 4_100), [(7, "grant_ended")]);
}

#[test]
fn what_has_not_been_heard_of_for_too_long_ends_by_criticality() {
    let (mut world, mut streams) = (world(&["payments"]), Streams::default());
    world.tell(100, &[until(9_000_000)], &[]);
    for (context, criticality) in [(1, Criticality::Low), (2, Criticality::Standard), (3, Criticality::Critical)] {
        streams.admit(refund(context, criticality, ""));
    }
    assert_eq!(due(&mut streams, &world, 5_000), []);
    assert_eq!(due(&mut streams, &world, 5_200), [(3, "stale")]);
    assert_eq!(due(&mut streams, &world, 30_200), [(2, "stale")]);
    assert_eq!(due(&mut streams, &world, 300_000), []);
    assert_eq!(due(&mut streams, &world, 300_200), [(1, "stale")]);
}

#[test]
fn a_page_of_a_step_ends_what_runs() {
    for (gone, locked, expected) in [(true, None, "grant_ended"), (false, Some(lock(None, None)), "locked")] {
        let (mut world, mut streams) = (world(&["payments"]), Streams::default());
        world.tell(100, &[until(9_000_000)], &[]);
        streams.admit(refund(7, Criticality::Low, ""));
        assert_eq!(due(&mut streams, &world, 100), []);
        let known = world.sync.position();
        let key = until(9_000_000).key();
        let removes = if gone { vec![key.as_str()] } else { Vec::new() };
        world.tell_page(200, &locked.into_iter().collect::<Vec<_>>(), &removes, true);
        assert_eq!(world.sync.position(), known, "more is to come");
        assert_eq!(due(&mut streams, &world, 200), [(7, expected)]);
    }
}

#[test]
fn a_lock_ends_the_calls_that_it_blocks_and_no_others() {
    let group = |name: &str| SubjectItem::Group { issuer: "https://id.example".to_owned(), name: name.to_owned() };
    let workload = SubjectItem::Workload("spiffe://mesh/bot".to_owned());
    for (subject, action, groups, ends) in [
        (None, None, "", true),
        (None, Some("refund.create"), "", true),
        (None, Some("account.read"), "", false),
        (Some(group("support")), None, r#""groups":["support"],"#, true),
        (Some(group("leads")), None, r#""groups":["support"],"#, false),
        // Too many groups to be recorded: nobody knows that the lock is not for one of them.
        (Some(group("leads")), None, "", true),
        (Some(workload.clone()), None, r#""workload":"spiffe://mesh/bot","#, true),
        (Some(workload.clone()), None, r#""workload":"spiffe://mesh/other","#, false),
        // As far as it was recorded it may be the one.
        (Some(workload.clone()), None, r#""workload":"spiffe://me…","#, true),
        (None, Some("account.read"), r#""workload":"spiffe://me…","#, false),
    ] {
        let (mut world, mut streams) = (world(&["payments"]), Streams::default());
        world.tell(100, &[until(9_000_000)], &[]);
        streams.admit(refund(7, Criticality::Low, groups));
        assert_eq!(due(&mut streams, &world, 100), []);
        let locked = lock(subject.clone(), action);
        world.tell(200, &[locked], &[]);
        let expected: &[_] = if ends { &[(7, "locked")] } else { &[] };
        assert_eq!(due(&mut streams, &world, 200), expected, "{subject:?} {action:?}");
        // It is compared with a lock once, and again with the next one that comes.
        assert_eq!(due(&mut streams, &world, 300), []);
        world.tell(400, &[], &[LOCK]);
        streams.admit(refund(8, Criticality::Low, groups));
        assert_eq!(due(&mut streams, &world, 400), []);
    }
}

#[test]
fn what_could_not_be_reset_is_due_again_whatever_the_reason() {
    for locked in [false, true] {
        let (mut world, mut streams) = (world(&["payments"]), Streams::default());
        world.tell(100, &[until(9_000_000)], &[]);
        streams.admit(refund(7, Criticality::Low, ""));
        assert_eq!(due(&mut streams, &world, 100), []);
        if locked {
            world.tell(200, &[lock(None, None)], &[]);
        } else {
            world.tell(200, &[], &[&refunds_grant().key()]);
        }
        for millis in [200, 300, 400] {
            let (open, why) = streams.due(&world.sync, Mono::from_millis(millis)).pop().expect("it is due");
            assert_eq!(why.code(), if locked { "locked" } else { "grant_ended" });
            streams.take_back(open);
        }
    }
}

#[test]
fn no_tick_compares_or_resets_more_than_a_part_and_none_is_forgotten() {
    let (mut world, mut streams) = (world(&["payments"]), Streams::default());
    world.tell(100, &[until(9_000_000)], &[]);
    let many = u32::try_from(JUDGED_PER_TICK * 3).unwrap();
    (0..many).for_each(|context| streams.admit(refund(context, Criticality::Low, "")));
    assert_eq!(due(&mut streams, &world, 100), []);
    world.tell(200, &[lock(None, None)], &[]);
    let mut ended: Vec<u32> = Vec::new();
    for tick in 0..3 {
        let now = due(&mut streams, &world, 200 + tick);
        assert_eq!(now.len(), JUDGED_PER_TICK);
        ended.extend(now.into_iter().map(|(context, _)| context));
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..many).collect::<Vec<_>>());
    assert!(streams.is_empty() && due(&mut streams, &world, 300).is_empty());
}

#[test]
fn calls_that_have_ended_by_themselves_are_forgotten_part_by_part() {
    let mut streams = Streams::default();
    (0..u32::try_from(MOST).unwrap()).for_each(|context| {
        assert!(streams.has_room(|| 1));
        streams.admit(refund(context, Criticality::Low, ""));
    });
    assert!(!streams.has_room(|| 7), "more than half is theirs");
    assert!(!streams.has_room(|| 1));
    let asked = RefCell::new(0_usize);
    let is_there = |caller: Caller| {
        *asked.borrow_mut() += 1;
        caller.context.is_multiple_of(2)
    };
    streams.find(is_there);
    assert_eq!(*asked.borrow(), FOUND_PER_TICK);
    assert_eq!(streams.len(), MOST - FOUND_PER_TICK / 2);
    (0..MOST.div_ceil(FOUND_PER_TICK)).for_each(|_| streams.find(is_there));
    assert_eq!(streams.len(), MOST / 2);
}

#[test]
fn a_call_by_a_token_runs_while_nothing_is_heard_and_until_the_tokens_end() {
    let (mut world, mut streams) = (world(&["payments"]), Streams::default());
    let ends_at = Timestamp::from_millis(1_400_000);
    let grant = GrantId::new(8, [8; 10]);
    streams.admit(Open { offline: true, ends_at, ..under(&grant, 7, Criticality::Critical, "") });
    assert_eq!(due(&mut streams, &world, 300_000), [], "stale, and of no grant of the table");
    assert_eq!(due(&mut streams, &world, 399_000), []);
    assert_eq!(due(&mut streams, &world, 400_000), [(7, "grant_ended")]);
    let ends_at = Timestamp::from_millis(9_000_000);
    streams.admit(Open { offline: true, ends_at, ..under(&grant, 8, Criticality::Critical, "") });
    assert_eq!(due(&mut streams, &world, 400_100), []);
    world.tell(400_200, &[lock(None, None)], &[]);
    assert_eq!(due(&mut streams, &world, 400_200), [(8, "locked")]);
}

#[test]
fn once_its_use_is_told_a_call_by_a_token_ends_with_the_grant() {
    let (mut world, mut streams) = (world(&["payments"]), Streams::default());
    world.tell(100, &[], &[&refunds_grant().key()]);
    let ends_at = Timestamp::from_millis(9_000_000);
    streams.admit(Open { offline: true, ends_at, ..refund(7, Criticality::Low, "") });
    assert_eq!(due(&mut streams, &world, 200), []);
    world.tell(300, &[until(9_000_000)], &[]);
    assert_eq!(due(&mut streams, &world, 300), []);
    world.tell(400, &[], &[&refunds_grant().key()]);
    assert_eq!(due(&mut streams, &world, 400), [(7, "grant_ended")]);
}

#[test]
fn a_token_that_came_to_no_grant_lets_nothing_run_for_long() {
    let (mut world, mut streams) = (world(&["payments"]), Streams::default());
    // The holder has lost the right: what the use came to was over before this filter heard of it.
    world.tell(50, &[], &[&refunds_grant().key()]);
    assert_eq!(due(&mut streams, &world, 90), []);
    let ends_at = Timestamp::from_millis(9_000_000);
    streams.admit(Open { offline: true, ends_at, ..refund(7, Criticality::Low, "") });
    for millis in [60_000, 100_000] {
        assert_eq!(due(&mut streams, &world, millis), [], "nothing is heard");
    }
    let mut ended = Vec::new();
    for millis in (100_100..140_000).step_by(500) {
        world.tell(millis, &[], &[]);
        ended.extend(due(&mut streams, &world, millis).into_iter().map(|ended| (millis, ended)));
    }
    assert_eq!(ended, [(130_100, (7, "grant_ended"))]);
}

#[test]
fn after_a_sleep_nobody_knows_whether_a_token_has_ended() {
    let (mut world, mut streams) = (world(&["payments"]), Streams::default());
    let (grant, ends_at) = (GrantId::new(8, [8; 10]), Timestamp::from_millis(9_000_000));
    streams.admit(Open { offline: true, ends_at, ..under(&grant, 7, Criticality::Low, "") });
    assert!(world.sync.knows_time());
    world.sync.doubt(Mono::from_millis(100));
    assert!(!world.sync.knows_time());
    assert_eq!(due(&mut streams, &world, 200), [], "a question settles it");
    assert_eq!(due(&mut streams, &world, 60_000), [(7, "stale")]);
}

#[test]
fn the_end_of_a_call_that_shares_its_record_tells_which_it_was() {
    let world = world(&["payments"]);
    let first = refund(7, Criticality::Low, r#""request_id":"r0","#);
    first.told.take(5, Some("r1")).unwrap();
    first.told.take(6, None).unwrap();
    for (call, expected) in [(0, Some("r0")), (1, Some("r1")), (2, None)] {
        let open = Open { told: first.told.clone(), call, ..refund(8, Criticality::Low, "") };
        let end = open.ending(Why::Locked, &DecisionId::new(4, [4; 10]), world.sync.position()).unwrap();
        let Event::Decision(event) = serde_json::from_slice::<Event<'static>>(&end).unwrap() else { panic!() };
        assert_eq!((event.ended, event.request_id.as_deref()), (Some(DecisionId::new(3, [9; 10])), expected));
        assert_eq!((event.count, event.more.len()), (1, 0));
    }
    let none = Open { call: 3, ..first };
    assert_eq!(none.ending(Why::Locked, &DecisionId::new(4, [4; 10]), world.sync.position()), None);
}
