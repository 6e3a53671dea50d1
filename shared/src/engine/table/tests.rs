//! The table's grants against a list that is searched from its beginning.

use proptest::prelude::*;

use super::*;
use crate::engine::{Bind, Digest, GrantHolder, User, Uses};
use crate::id::RequestId;

/// One of few holders, actions and resources, so that they meet; how odd it is comes from its number.
fn grant(number: u64, kind: u8) -> Grant {
    let user =
        |name: u8| User { issuer: format!("https://{}.example", name % 2).into(), subject: format!("u{name}").into() };
    let workload = "spiffe://mesh/w".parse().unwrap();
    let holder = match kind % 4 {
        0 => GrantHolder::Workload(workload),
        1 => GrantHolder::Both(user(1), workload),
        other => GrantHolder::User(user(other)),
    };
    let resource = match kind / 4 % 4 {
        0 => String::new(),
        1 => "thing/1".to_owned(),
        2 => "thing/a/ü".to_owned(),
        _ => format!("plain{}", "x".repeat(usize::from(kind) * 100)),
    };
    let odd = |is: bool| is.then(|| Box::new((Bind::default(), Digest([kind; 32]))));
    Grant {
        id: GrantId::new(number << 20, [kind; 10]),
        request: RequestId::new(number.wrapping_mul(7) << 18, [3; 10]),
        holder,
        service: "svc".into(),
        action: format!("act{}", kind / 64).into(),
        resource: resource.into(),
        rule: "rule".into(),
        starts_at: Timestamp::from_millis(i64::from(kind).wrapping_sub(100)),
        expires_at: Timestamp::from_millis(i64::MAX.wrapping_sub(i64::from(kind))),
        conditions: Vec::new(),
        bound: odd(kind.is_multiple_of(5)),
        reveals: Vec::new(),
        uses: kind
            .is_multiple_of(3)
            .then_some(Uses { allowed: u32::from(kind) + 1, exhausted: kind.is_multiple_of(2) }),
        break_glass: kind.is_multiple_of(7),
    }
}

#[track_caller]
fn is_as(held: &HeldGrant<'_>, grant: &Grant) {
    let (user, workload) = match &grant.holder {
        GrantHolder::User(user) => (Some(user), None),
        GrantHolder::Workload(workload) => (None, Some(workload)),
        GrantHolder::Both(user, workload) => (Some(user), Some(workload)),
    };
    assert_eq!((held.id(), held.request()), (grant.id.clone(), grant.request.clone()));
    assert_eq!(held.user(), user.map(|user| (&*user.issuer, &*user.subject)));
    assert_eq!(held.workload(), workload.map(|workload| workload.as_str()));
    assert_eq!((held.service(), held.action(), held.rule()), (&*grant.service, &*grant.action, &*grant.rule));
    assert_eq!((held.resource(), held.uses()), (grant.resource.to_string(), grant.uses));
    assert_eq!((held.starts_at(), held.expires_at()), (grant.starts_at, grant.expires_at));
    assert_eq!(held.break_glass(), grant.break_glass);
    assert_eq!(held.bound(), grant.bound.as_deref());
    assert_eq!(held.is_plain(), grant.bound.is_none());
}

fn holder(grant: &Grant) -> (SubjectRef<'_>, &str, &str) {
    let subject = match &grant.holder {
        GrantHolder::User(user) | GrantHolder::Both(user, _) => SubjectRef::User(&user.issuer, &user.subject),
        GrantHolder::Workload(workload) => SubjectRef::Workload(workload.as_str()),
    };
    (subject, &grant.service, &grant.action)
}

/// The ids of the grants that are shown for a resource, or of some, sorted.
fn shown(table: &Table, grant: &Grant, resource: Option<&str>) -> Vec<GrantId> {
    let (subject, service, action) = holder(grant);
    let mut found = Vec::new();
    table.grants.each(subject, (service, action), resource, &mut |grant| {
        found.push(grant.id());
        false
    });
    found.sort();
    found
}

/// Everything in the list is found by its id and by its holder and resource, once, and nothing else.
fn check(table: &Table, list: &[Grant]) {
    check_after(table, list, &[]);
}

/// The same, where holders had too many grants to be kept together, like these: what is left of theirs stays apart.
fn check_after(table: &Table, list: &[Grant], many: &[Grant]) {
    assert_eq!(table.grant_count(), list.len());
    for grant in list {
        is_as(&table.grant(&grant.id).unwrap(), grant);
        let alike = || list.iter().filter(|other| holder(other) == holder(grant));
        for resource in ["", "thing/1", "thing/a/ü", "thing/", &grant.resource] {
            let there = alike().filter(|other| *other.resource == *resource).map(|other| other.id.clone());
            let mut there: Vec<GrantId> = there.collect();
            there.sort();
            assert_eq!(shown(table, grant, Some(resource)), there, "{resource}");
        }
        let some = shown(table, grant, None).len();
        let had_many = alike().count() > 16 || many.iter().any(|other| holder(other) == holder(grant));
        assert!(some <= alike().count() && (had_many || some == alike().count()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn grants_come_and_go(steps in proptest::collection::vec((0_u64..80, any::<u8>(), 0_u8..3), 1..400)) {
        let (mut table, mut list, mut many) = (Table::default(), Vec::<Grant>::new(), Vec::new());
        for (number, kind, what) in steps {
            let new = grant(number, kind & 0b0111_1111);
            list.retain(|other| other.id != new.id);
            match what {
                0 => table.remove_grant(&new.id),
                1 => table.put_grant(new.clone()),
                _ => table.put_grant_noted(new.clone(), &[kind; 32]),
            }
            if what > 0 {
                prop_assert_eq!(table.grant(&new.id).unwrap().note().copied(), (what > 1).then_some([kind; 32]));
                list.push(new.clone());
            }
            if list.iter().filter(|other| holder(other) == holder(&new)).count() > 16 {
                many.push(new);
            }
        }
        check_after(&table, &list, &many);
        // All away: nothing stays behind, in any index.
        for grant in &list {
            table.remove_grant(&grant.id);
        }
        check(&table, &[]);
        for grant in &list {
            prop_assert!(table.grant(&grant.id).is_none() && shown(&table, grant, None).is_empty());
        }
        prop_assert!(table.grants.is_clear());
    }
}

#[test]
fn the_first_of_many_may_go_and_all_that_are_shown_with_it() {
    // Seventy of one holder for one action: some are kept together, all are found by their resources.
    let list: Vec<Grant> =
        (0..70).map(|number| Grant { resource: format!("thing/{number}").into(), ..grant(number, 2) }).collect();
    for order in [(0..70).collect::<Vec<usize>>(), (0..70).rev().collect(), (0..70).map(|at| at * 37 % 70).collect()] {
        let mut table = Table::default();
        list.iter().for_each(|grant| table.put_grant(grant.clone()));
        let mut left: Vec<usize> = (0..70).collect();
        for gone in order {
            table.remove_grant(&list[gone].id);
            left.retain(|at| *at != gone);
            for (at, grant) in list.iter().enumerate() {
                let found = shown(&table, grant, Some(&grant.resource));
                let there = left.contains(&at).then(|| grant.id.clone());
                assert_eq!(found, there.into_iter().collect::<Vec<_>>());
            }
        }
        assert!(table.grants.is_clear());
        // And they may come again.
        list.iter().for_each(|grant| table.put_grant(grant.clone()));
        check(&table, &list);
    }
}

#[test]
fn grants_that_come_and_go_leave_no_room_behind() {
    let mut table = Table::default();
    let kept: Vec<Grant> = (0..3).map(|number| grant(number, 2)).collect();
    kept.iter().for_each(|grant| table.put_grant(grant.clone()));
    for number in 3..20_000 {
        let new = grant(number, u8::try_from(number % 60).unwrap());
        table.put_grant(new.clone());
        table.remove_grant(&new.id);
    }
    let (rows, bytes) = table.grants.rows();
    assert!(rows <= 20 && bytes < 1_024, "{rows} rows of {bytes} bytes");
    check(&table, &kept);
}

#[test]
fn holders_and_actions_that_meet_at_a_place_are_told_apart() {
    // So many of either that a dozen of them have the same 24 bits of a hash.
    const MANY: u64 = 20_000;
    for (users, actions) in [(MANY, 1), (1, MANY)] {
        let of = |number: u64| {
            let user = User { issuer: "https://id.example".into(), subject: format!("user-{}", number % users).into() };
            let action = format!("act{}", number % actions).into();
            Grant { holder: GrantHolder::User(user), action, bound: None, ..grant(number, 4) }
        };
        let mut table = Table::default();
        (0..MANY).for_each(|number| table.put_grant(of(number)));
        for number in 0..MANY {
            let grant = of(number);
            let found = (shown(&table, &grant, Some("thing/1")), shown(&table, &grant, None));
            assert_eq!(found, (vec![grant.id.clone()], vec![grant.id]));
        }
    }
}

/// A million grants have 48 MB in a filter: this is what they have in rows, beside some seven bytes in the map of ids.
#[test]
fn a_grant_of_many_takes_less_than_35_bytes() {
    const BEGIN: u64 = 1_800_000_000_000;
    let mut table = Table::default();
    let random = |number: u64| {
        let [.., a, b, c] = number.to_be_bytes();
        [1, 2, 3, 4, 5, 6, 7, a, b, c]
    };
    let list = (0..2_000_u64).map(|number| {
        let begins = BEGIN + number * 7;
        let user = User { issuer: "https://id.example".into(), subject: format!("user-{}", number / 10).into() };
        Grant {
            id: GrantId::new(begins, random(number)),
            // As the control plane makes them: what is random of both is the same.
            request: RequestId::new(begins - 90_000, random(number)),
            holder: GrantHolder::User(user),
            resource: format!("account/acc-{number}").into(),
            starts_at: Timestamp::from_millis(begins.cast_signed() + 3),
            expires_at: Timestamp::from_millis(begins.cast_signed() + 900_003),
            bound: None,
            uses: None,
            break_glass: false,
            ..grant(number, 2)
        }
    });
    let list: Vec<Grant> = list.collect();
    list.iter().for_each(|grant| table.put_grant(grant.clone()));
    let (rows, bytes) = table.grants.rows();
    assert!(bytes < list.len() * 35 && rows < list.len() / 25, "{rows} rows of {bytes} bytes");
    list.iter().step_by(7).for_each(|grant| is_as(&table.grant(&grant.id).unwrap(), grant));
}

#[test]
fn a_grant_may_be_larger_than_rows_are() {
    let long = |number: u64| Grant { resource: format!("thing/{}", "x".repeat(20_000)).into(), ..grant(number, 2) };
    let mut list = vec![grant(0, 2), long(1), grant(2, 2), long(3), grant(4, 2)];
    let mut table = Table::default();
    list.iter().for_each(|grant| table.put_grant(grant.clone()));
    check(&table, &list);
    for gone in [1, 0, 1] {
        table.remove_grant(&list.remove(gone).id);
        check(&table, &list);
    }
}

#[test]
fn a_table_of_many_is_thinned_out_and_freed_in_parts() {
    let (mut table, mut list) = (Table::default(), Vec::new());
    for number in 0..4_000 {
        let new = grant(number, u8::try_from(number % 120).unwrap());
        table.put_grant(new.clone());
        list.push(new);
    }
    for (number, grant) in list.iter().enumerate() {
        if number % 7 > 0 {
            table.remove_grant(&grant.id);
        }
    }
    let list: Vec<Grant> = list.into_iter().step_by(7).collect();
    check(&table, &list);
    let mut parts = 1;
    while table.free_some() {
        parts += 1;
    }
    assert!((2..100).contains(&parts), "{parts}");
}
