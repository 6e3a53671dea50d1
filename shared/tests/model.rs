//! The engine against a model: a few dozen obvious lines without any index, over generated tables and calls.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]

use grantmesh_shared::engine::{
    Action, ActionSet, ActionTemplates, Audit, Basis, Binding, Call, Condition, Context, Criticality, Decision, Grant,
    GrantHolder, Lock, LockTarget, Now, Principal, Rollout, Rule, Service, ServiceParts, Subject, Table, Unmatched,
    User, decide,
};
use grantmesh_shared::id::{GrantId, LockId, RequestId};
use grantmesh_shared::time::{Span, Timestamp};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

const ISSUERS: [&str; 2] = ["https://one.example", "https://two.example"];
const NAMES: [&str; 3] = ["ann", "ben", "cat"];
const GROUPS: [&str; 3] = ["leads", "ops", "ann"];
const WORKLOADS: [&str; 2] = ["spiffe://mesh/a", "spiffe://mesh/b"];
const ACTIONS: [(&str, &str, &str, &str); 4] = [
    ("thing.read", "GET", "/things/{thing}", "thing/{thing}"),
    ("thing.mine", "GET", "/things/mine", "thing/mine"),
    ("thing.part", "POST", "/things/{thing}/parts/{part}", "thing/{thing}/part/{part}"),
    ("files", "GET", "/files/{rest=**}", "file/{rest}"),
];
const CALLS: [(&str, &str); 9] = [
    ("GET", "/things/a"),
    ("GET", "/things/mine"),
    ("HEAD", "/things/b"),
    ("POST", "/things/a/parts/b"),
    ("POST", "/things/mine/parts/b"),
    ("GET", "/files/a/b"),
    ("GET", "/files/"),
    ("GET", "/things/a/"),
    ("PUT", "/things/a"),
];
const RESOURCES: [&str; 5] = ["thing/a", "thing/mine", "thing/b", "thing/a/part/b", "file/a/b"];

#[derive(Debug, Clone)]
struct World {
    unmatched: Unmatched,
    bindings: Vec<Binding>,
    rules: Vec<Rule>,
    grants: Vec<Grant>,
    locks: Vec<Lock>,
}

#[derive(Debug, Clone)]
struct Caller {
    user: Option<(&'static str, &'static str)>,
    groups: Vec<&'static str>,
    workload: Option<&'static str>,
}

fn action(place: usize) -> Action {
    let (name, method, path, resource) = ACTIONS[place];
    Action {
        name: name.into(),
        method: method.into(),
        templates: ActionTemplates::parse(path, Some(resource)).unwrap(),
        selectors: Vec::new(),
        criticality: Criticality::Standard,
        audit: Audit::All,
        rollout: None,
        query: Vec::new(),
        body: None,
        fields: Vec::new(),
    }
}

impl World {
    fn table(&self) -> Table {
        let parts = ServiceParts {
            name: "svc".into(),
            hosts: Vec::new(),
            unmatched: self.unmatched,
            rollout: Rollout::default(),
            actions: (0..ACTIONS.len()).map(action).collect(),
            bindings: self.bindings.clone(),
            rules: self.rules.clone(),
            denials: Vec::new(),
        };
        let mut table = Table::default();
        table.put_service(Service::new(parts).unwrap());
        self.grants.iter().cloned().for_each(|grant| table.put_grant(grant));
        self.locks.iter().cloned().for_each(|lock| table.put_lock(lock));
        table
    }
}

/// The decision as one line, by the obvious way.
fn model(world: &World, (method, path): (&str, &str), principal: &Principal<'_>, now: Now) -> String {
    let fits = |place: &usize| {
        let action = action(*place);
        (*action.method == *method || (method == "HEAD" && *action.method == *"GET"))
            && action.templates.resource_of(path).is_some()
    };
    // The narrower template is the later one of the two that overlap.
    let matched = (0..ACTIONS.len()).rfind(fits).map(action);
    if matched.is_none() && path.ends_with('/') && path != "/files/" {
        return "deny".to_owned();
    }
    let name = matched.as_ref().map(|action| action.name.clone());
    let locked = world.locks.iter().any(|lock| {
        lock.expires_at.is_none_or(|end| now.earliest < end)
            && lock.target.subject.as_ref().is_none_or(|subject| subject.names(principal))
            && lock.target.service.as_deref().is_none_or(|service| service == "svc")
            && (lock.target.action.is_none() || lock.target.action == name)
    });
    if locked {
        return "deny".to_owned();
    }
    let Some(action) = matched else {
        return if world.unmatched == Unmatched::Allow { "allow unmatched" } else { "deny" }.to_owned();
    };
    if principal.user.is_none() && principal.workload.is_none() {
        return "deny".to_owned();
    }
    let has = |actions: &[Box<str>]| actions.contains(&action.name);
    let names = |subjects: &[Subject]| subjects.iter().any(|subject| subject.names(principal));
    let by_role = |binding: &Binding| {
        binding.actions.has(&action.name) && names(&binding.subjects) && binding.condition == Condition::Always
    };
    if world.bindings.iter().any(by_role) {
        return "allow role".to_owned();
    }
    let resource = action.templates.resource_of(path).unwrap();
    let by_grant = |grant: &Grant| {
        grant.holder.is(principal)
            && grant.action == action.name
            && *grant.resource == *resource
            && grant.starts_at <= now.earliest
            && now.latest < grant.expires_at
    };
    if world.grants.iter().any(by_grant) {
        return "allow grant".to_owned();
    }
    let may_ask = |rule: &Rule| has(&rule.actions) && names(&rule.eligible) && rule.condition == Condition::Always;
    if world.rules.iter().any(may_ask) { "ask" } else { "deny" }.to_owned()
}

fn word(decision: &Decision<'_>) -> String {
    match decision {
        Decision::Allow(permit) => match permit.basis() {
            Basis::Role(_) => "allow role",
            Basis::Grant(_) => "allow grant",
            Basis::Unmatched => "allow unmatched",
        },
        Decision::Ask(_) => "ask",
        Decision::Deny(_) => "deny",
    }
    .to_owned()
}

fn user() -> impl Strategy<Value = (&'static str, &'static str)> {
    (select(&ISSUERS[..]), select(&NAMES[..]))
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        user().prop_map(|(issuer, subject)| Subject::User(User { issuer: issuer.into(), subject: subject.into() })),
        (select(&ISSUERS[..]), select(&GROUPS[..]))
            .prop_map(|(issuer, name)| Subject::Group { issuer: issuer.into(), name: name.into() }),
        select(&WORKLOADS[..]).prop_map(|id| Subject::Workload(id.parse().unwrap())),
    ]
}

fn subjects() -> impl Strategy<Value = Vec<Subject>> {
    prop::collection::vec(subject(), 1..3)
}

fn actions() -> impl Strategy<Value = Vec<Box<str>>> {
    subsequence(ACTIONS.map(|action| Box::<str>::from(action.0)).to_vec(), 1..3)
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![4 => Just(Condition::Always), 1 => Just(Condition::Unsupported)]
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0_i64..12).prop_map(Timestamp::from_millis)
}

fn binding() -> impl Strategy<Value = Binding> {
    (subjects(), actions(), condition()).prop_map(|(subjects, actions, condition)| Binding {
        name: "b".into(),
        role: "r".into(),
        subjects,
        actions: ActionSet::Named(actions),
        reveals: Vec::new(),
        condition,
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    (subjects(), actions(), condition()).prop_map(|(eligible, actions, condition)| Rule {
        name: "rule".into(),
        actions,
        eligible,
        reviewers: Vec::new(),
        approvals: 1,
        max_duration: Span::from_secs(1),
        default_duration: Span::from_secs(1),
        request_timeout: Span::from_secs(1),
        condition,
        grant_condition: Condition::Always,
        bind: None,
        reveals: Vec::new(),
    })
}

fn holder() -> impl Strategy<Value = GrantHolder> {
    let user = user().prop_map(|(issuer, subject)| User { issuer: issuer.into(), subject: subject.into() });
    let workload = select(&WORKLOADS[..]).prop_map(|id| id.parse().unwrap());
    (user, workload, 0..3).prop_map(|(user, workload, kind)| match kind {
        0 => GrantHolder::User(user),
        1 => GrantHolder::Workload(workload),
        _ => GrantHolder::Both(user, workload),
    })
}

fn grant() -> impl Strategy<Value = Grant> {
    (any::<[u8; 10]>(), holder(), select(&ACTIONS[..]), select(&RESOURCES[..]), moment(), 1_u64..12).prop_map(
        |(id, holder, action, resource, starts_at, length)| Grant {
            id: GrantId::new(0, id),
            request: RequestId::new(0, [0; 10]),
            holder,
            service: "svc".into(),
            action: action.0.into(),
            resource: resource.into(),
            rule: "rule".into(),
            starts_at,
            expires_at: starts_at.plus(Span::from_millis(length)),
            conditions: Vec::new(),
            bound: None,
            reveals: Vec::new(),
        },
    )
}

fn lock() -> impl Strategy<Value = Lock> {
    let target = (prop::option::of(subject()), prop::option::of(Just("svc")), prop::option::of(select(&ACTIONS[..])));
    (any::<[u8; 10]>(), target, prop::option::of(moment())).prop_map(|(id, (subject, service, action), expires_at)| {
        Lock {
            id: LockId::new(0, id),
            target: LockTarget {
                subject,
                service: service.map(Into::into),
                action: action.map(|action| action.0.into()),
            },
            reason: "r".into(),
            expires_at,
        }
    })
}

fn world() -> impl Strategy<Value = World> {
    (
        prop_oneof![Just(Unmatched::Deny), Just(Unmatched::Allow)],
        prop::collection::vec(binding(), 0..3),
        prop::collection::vec(rule(), 0..3),
        prop::collection::vec(grant(), 0..8),
        prop::collection::vec(lock(), 0..2),
    )
        .prop_map(|(unmatched, bindings, rules, grants, locks)| World {
            unmatched,
            bindings,
            rules,
            grants,
            locks,
        })
}

fn caller() -> impl Strategy<Value = Caller> {
    (prop::option::weighted(0.9, user()), subsequence(GROUPS.to_vec(), 0..3), prop::option::of(select(&WORKLOADS[..])))
        .prop_map(|(user, groups, workload)| Caller { user, groups, workload })
}

fn now() -> impl Strategy<Value = Now> {
    (0_i64..12, 0_u64..3).prop_map(|(at, spread)| {
        let earliest = Timestamp::from_millis(at);
        Now { earliest, latest: earliest.plus(Span::from_millis(spread)) }
    })
}

fn decided(world: &World, call: (&str, &str), caller: &Caller, now: Now) -> String {
    let principal = Principal { user: caller.user, groups: &caller.groups, workload: caller.workload };
    let table = world.table();
    let found = Call::new("svc", call.0.as_bytes(), call.1.as_bytes(), principal).unwrap();
    word(&decide(&table, &found, &Context::EMPTY, now))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_decides_as_the_model(world in world(), caller in caller(), call in select(&CALLS[..]), now in now()) {
        let principal = Principal { user: caller.user, groups: &caller.groups, workload: caller.workload };
        prop_assert_eq!(decided(&world, call, &caller, now), model(&world, call, &principal, now));
    }

    #[test]
    fn a_lock_never_allows_more(world in world(), lock in lock(), caller in caller(), call in select(&CALLS[..]), now in now()) {
        let mut locked = world.clone();
        locked.locks.push(lock);
        let (before, after) = (decided(&world, call, &caller, now), decided(&locked, call, &caller, now));
        prop_assert!(after == before || after == "deny", "{before} -> {after}");
    }

    #[test]
    fn a_grant_never_refuses_and_its_end_never_allows(world in world(), grant in grant(), caller in caller(), call in select(&CALLS[..]), now in now()) {
        let mut granted = world.clone();
        granted.grants.push(grant);
        let (without, with) = (decided(&world, call, &caller, now), decided(&granted, call, &caller, now));
        prop_assert!(with == without || with == "allow grant" && !without.starts_with("allow"), "{without} -> {with}");
    }

    #[test]
    fn order_and_detours_do_not_matter(world in world(), caller in caller(), call in select(&CALLS[..]), now in now(), place in any::<Index>()) {
        let mut other = world.clone();
        other.bindings.reverse();
        other.rules.reverse();
        other.grants.reverse();
        other.locks.reverse();
        prop_assert_eq!(decided(&other, call, &caller, now), decided(&world, call, &caller, now));

        // A grant that is put, replaced, removed and put again leaves the same table.
        let mut table = world.table();
        if !world.grants.is_empty() {
            let grant = place.get(&world.grants).clone();
            table.put_grant(Grant { resource: "thing/elsewhere".into(), ..grant.clone() });
            table.remove_grant(&grant.id);
            table.put_grant(grant.clone());
            table.put_grant(grant);
        }
        let principal = Principal { user: caller.user, groups: &caller.groups, workload: caller.workload };
        let found = Call::new("svc", call.0.as_bytes(), call.1.as_bytes(), principal).unwrap();
        prop_assert_eq!(word(&decide(&table, &found, &Context::EMPTY, now)), decided(&world, call, &caller, now));
        prop_assert_eq!(table.grant_count(), world.grants.iter().map(|grant| &grant.id).collect::<std::collections::BTreeSet<_>>().len());
    }
}
