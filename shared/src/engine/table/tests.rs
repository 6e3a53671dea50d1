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
    assert_eq!(held.read().bound(), grant.bound.as_deref());
    assert_eq!(held.is_plain(), grant.bound.is_none());
}

fn holder(grant: &Grant) -> (SubjectRef<'_>, &str, &str) {
    let subject = match &grant.holder {
        GrantHolder::User(user) | GrantHolder::Both(user, _) => SubjectRef::User(&user.issuer, &user.subject),
        GrantHolder::Workload(workload) => SubjectRef::Workload(workload.as_str()),
    };
    (subject, &grant.service, &grant.action)
}

/// Everything in the list is found by its id and by its holder and resource, in the order in which it came, and nothing else.
fn check(table: &Table, list: &[Grant]) {
    assert_eq!(table.grant_count(), list.len());
    for grant in list {
        is_as(&table.grant(&grant.id).unwrap(), grant);
        let (subject, service, action) = holder(grant);
        let held = table.grants.held(subject, service, action).unwrap();
        let alike = || list.iter().filter(|other| holder(other) == holder(grant));
        for resource in ["", "thing/1", "thing/a/ü", "thing/", &grant.resource] {
            let found: Vec<GrantId> = held.of(resource).map(|grant| grant.id()).collect();
            let there = alike().filter(|other| *other.resource == *resource).map(|other| other.id.clone());
            assert_eq!(found, there.collect::<Vec<_>>(), "{resource}");
        }
        let some = held.some().count();
        assert!(some <= alike().count() && (alike().count() > 8 || some == alike().count()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn grants_come_and_go(steps in proptest::collection::vec((0_u64..80, any::<u8>(), 0_u8..3), 1..400)) {
        let (mut table, mut list) = (Table::default(), Vec::<Grant>::new());
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
                list.push(new);
            }
        }
        check(&table, &list);
        // All away: nothing stays behind, in any index.
        for grant in &list {
            table.remove_grant(&grant.id);
        }
        check(&table, &[]);
        for grant in &list {
            let (subject, service, action) = holder(grant);
            prop_assert!(table.grant(&grant.id).is_none() && table.grants.held(subject, service, action).is_none());
        }
    }
}

#[test]
fn a_table_of_many_is_moved_about_and_freed_in_parts() {
    let (mut table, mut list) = (Table::default(), Vec::new());
    for number in 0..4_000 {
        let new = grant(number, u8::try_from(number % 120).unwrap());
        table.put_grant(new.clone());
        list.push(new);
    }
    // Most pieces are emptied on the way.
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
