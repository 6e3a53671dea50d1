//! What is decided from and about, in plain data: a generated policy with its grants, locks and signals, and calls.
//! The engine gets it as a [`Table`] and a [`Call`]; the model reads it as it stands here.

use std::sync::LazyLock;

use grantmesh_shared::engine::{
    Action, ActionSet, ActionTemplates, Audit, Bind, Binding, BodyFacts, BoundCall, Call, Condition, Context,
    Criticality, DenyRule, Digest, FactValue, Field, FieldPlace, Grant, GrantHolder, Lock, LockTarget, Now, Principal,
    Rollout, Rule, Selector, Service, ServiceParts, Signal, Subject, Table, Through, Unmatched, User, Uses,
};
use grantmesh_shared::id::{GrantId, LockId, RequestId};
use grantmesh_shared::time::Timestamp;

use crate::conditions::{CONDITIONS, compiled};
use crate::dice::Dice;

pub(crate) const ISSUERS: [&str; 2] = ["https://one.example", "https://two.example"];
pub(crate) const NAMES: [&str; 3] = ["ann", "ben", "cat"];
/// A group may have a user's name.
pub(crate) const GROUPS: [&str; 3] = ["leads", "ops", "ann"];
pub(crate) const WORKLOADS: [&str; 2] = ["spiffe://mesh/a", "spiffe://mesh/b"];
pub(crate) const SIGNALS: [&str; 2] = ["incident", "freeze"];
pub(crate) const MASKED: [&str; 2] = ["card", "email"];

/// An action: name, method, path, resource, and texts in the body that tell it from others.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) selectors: &'static [(&'static str, &'static str)],
}

const fn known(
    name: &'static str,
    method: &'static str,
    path: &'static str,
    resource: &'static str,
    selectors: &'static [(&'static str, &'static str)],
) -> Known {
    Known { name, method, path, resource, selectors }
}

pub(crate) const ACTIONS: [Known; 9] = [
    known("thing.read", "GET", "/things/{thing}", "thing/{thing}", &[]),
    known("thing.mine", "GET", "/things/mine", "thing/mine", &[]),
    known("thing.head", "HEAD", "/things/mine", "thing/mine", &[]),
    known("thing.part", "POST", "/things/{thing}/parts/{part}", "thing/{thing}/part/{part}", &[]),
    known("files", "GET", "/files/{rest=**}", "file/{rest}", &[]),
    known("dir", "GET", "/dir/", "dir", &[]),
    known("rpc.list", "POST", "/rpc", "rpc", &[("/method", "list")]),
    known("rpc.call", "POST", "/rpc", "rpc", &[("/method", "call")]),
    known("rpc.refund", "POST", "/rpc", "rpc", &[("/method", "call"), ("/name", "refund")]),
];

pub(crate) const TARGETS: [(&str, &str); 22] = [
    ("GET", "/THINGS/a"),
    ("GET", "/things/MINE"),
    ("HEAD", "/things/A"),
    ("GET", "/files/a/"),
    ("GET", "/things/a"),
    ("GET", "/things/a?dry=yes"),
    ("GET", "/things/mine"),
    ("HEAD", "/things/b"),
    ("HEAD", "/things/mine"),
    ("HEAD", "/things/mine/"),
    ("POST", "/things/a/parts/b"),
    ("POST", "/things/a/parts/b?"),
    ("POST", "/things/a/parts/b?dry=yes"),
    ("POST", "/things/mine/parts/b"),
    ("GET", "/files/a/b"),
    ("GET", "/files/"),
    ("GET", "/dir"),
    ("GET", "/dir/"),
    ("GET", "/things/a/"),
    ("PUT", "/things/a"),
    ("POST", "/rpc"),
    ("POST", "/rpc"),
];

/// What grants are for: action, resource, and a call of them.
const GRANTED: [(&str, &str, &str, &str); 13] = [
    ("thing.read", "thing/a", "GET", "/things/a"),
    ("thing.read", "thing/a", "GET", "/things/a?dry=yes"),
    ("thing.read", "thing/b", "HEAD", "/things/b"),
    ("thing.mine", "thing/mine", "GET", "/things/mine"),
    ("thing.head", "thing/mine", "HEAD", "/things/mine"),
    ("thing.part", "thing/a/part/b", "POST", "/things/a/parts/b"),
    ("thing.part", "thing/mine/part/b", "POST", "/things/mine/parts/b"),
    ("files", "file/a/b", "GET", "/files/a/b"),
    ("files", "file/a", "GET", "/files/a"),
    ("dir", "dir", "GET", "/dir/"),
    ("rpc.list", "rpc", "POST", "/rpc"),
    ("rpc.call", "rpc", "POST", "/rpc"),
    ("rpc.refund", "rpc", "POST", "/rpc"),
];

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) unmatched: Unmatched,
    pub(crate) bindings: Vec<Given>,
    pub(crate) rules: Vec<Asking>,
    pub(crate) denials: Vec<Denied>,
    pub(crate) grants: Vec<Held>,
    pub(crate) locks: Vec<Lock>,
    pub(crate) signals: Vec<(&'static str, i64)>,
}

/// A binding. Conditions are places in [`CONDITIONS`].
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) actions: ActionSet,
    pub(crate) reveals: Vec<&'static str>,
    pub(crate) condition: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Asking {
    pub(crate) name: String,
    pub(crate) actions: Vec<&'static str>,
    pub(crate) eligible: Vec<Subject>,
    pub(crate) condition: usize,
    pub(crate) grant_condition: usize,
    pub(crate) bind: Option<Bind>,
    pub(crate) reveals: Vec<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) struct Denied {
    pub(crate) name: String,
    pub(crate) actions: ActionSet,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) except: Vec<Subject>,
    pub(crate) condition: usize,
}

/// A grant, made under one of the rules.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) id: GrantId,
    pub(crate) holder: GrantHolder,
    pub(crate) action: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) starts_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) conditions: Vec<usize>,
    /// What is bound, and the call that was approved.
    pub(crate) bound: Option<(Bind, Told)>,
    pub(crate) reveals: Vec<&'static str>,
    /// Whether none is left, if it is for a number of uses.
    pub(crate) uses: Option<bool>,
}

/// One call with everything that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    pub(crate) user: Option<(&'static str, &'static str)>,
    pub(crate) groups: Vec<&'static str>,
    pub(crate) workload: Option<&'static str>,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) query: Vec<(&'static str, &'static str)>,
    pub(crate) claims: Vec<(&'static str, FactValue<'static>)>,
    /// `None` if it was not read, an empty list also where there is none.
    pub(crate) body: Option<Vec<(&'static str, FactValue<'static>)>>,
    pub(crate) no_body: bool,
    pub(crate) host: Option<&'static str>,
    pub(crate) country: Option<&'static str>,
    pub(crate) auth_time: Option<i64>,
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
}

fn number(text: &str) -> FactValue<'static> {
    FactValue::Number(text.parse().unwrap())
}

static AMOUNTS: LazyLock<[FactValue<'static>; 5]> =
    LazyLock::new(|| [number("5"), number("100"), number("100.5"), FactValue::Text("5"), FactValue::Other]);
static LEVELS: LazyLock<[FactValue<'static>; 4]> =
    LazyLock::new(|| [number("1"), number("2.0"), number("2"), FactValue::Bool(true)]);
const NOTES: [FactValue<'static>; 3] = [FactValue::Text("x"), FactValue::Text("y"), FactValue::Bool(true)];
const METHODS: [FactValue<'static>; 4] =
    [FactValue::Text("list"), FactValue::Text("call"), FactValue::Text("drop"), FactValue::Other];
const TOOLS: [FactValue<'static>; 3] = [FactValue::Text("refund"), FactValue::Text("other"), FactValue::Bool(true)];

impl Told {
    pub(crate) fn generate(dice: &mut Dice) -> Self {
        let (method, target) = dice.pick(&TARGETS);
        let earliest = dice.below(12) as i64;
        let mut body = Vec::new();
        let parts: [(&str, &[FactValue<'static>]); 4] =
            [("/method", &METHODS), ("/name", &TOOLS), ("amount", &*AMOUNTS), ("note", &NOTES)];
        for (name, values) in parts {
            // Mostly what makes a call of one action, so that the rest is reached.
            let usual = if dice.chance(60) { values.get(..2).unwrap_or(values) } else { values };
            body.extend(dice.maybe(usual).map(|value| (name, value)));
        }
        let no_body = dice.chance(5);
        Self {
            service: if dice.chance(98) { "svc" } else { "nil" },
            method,
            target,
            user: dice.chance(85).then(|| (dice.pick(&ISSUERS), dice.pick(&NAMES))),
            groups: dice.some(&GROUPS),
            workload: dice.maybe(&WORKLOADS),
            headers: dice.maybe(&["T-1", "T-2"]).map(|value| ("x-ticket", value)).into_iter().collect(),
            query: dice.maybe(&["yes", "no"]).map(|value| ("dry", value)).into_iter().collect(),
            claims: dice.maybe(&*LEVELS).map(|value| ("level", value)).into_iter().collect(),
            body: dice.chance(92).then(|| if no_body { Vec::new() } else { body }),
            no_body,
            host: dice.maybe(&["a.example", "b.example"]),
            country: dice.maybe(&["DE", "FR"]),
            auth_time: dice.maybe(&[0, 4, 8]),
            earliest,
            latest: earliest + dice.below(3) as i64,
        }
    }

    /// The same call with something of it as another has it.
    pub(crate) fn mixed(&self, other: &Self, dice: &mut Dice) -> Self {
        let mut mixed = self.clone();
        match dice.below(9) {
            0 => mixed.user = other.user,
            1 => mixed.workload = other.workload,
            2 => mixed.headers.clone_from(&other.headers),
            3 => mixed.query.clone_from(&other.query),
            4 => (mixed.body, mixed.no_body) = (other.body.clone(), other.no_body),
            5 => mixed.target = other.target,
            6 => mixed.groups.clone_from(&other.groups),
            7 => mixed.claims.clone_from(&other.claims),
            _ => (mixed.earliest, mixed.latest) = (other.earliest, other.latest),
        }
        mixed
    }

    pub(crate) fn principal(&self) -> Principal<'_> {
        Principal { user: self.user, groups: &self.groups, workload: self.workload }
    }

    pub(crate) fn call(&self) -> Call<'_> {
        Call::new(self.service, self.method.as_bytes(), self.target.as_bytes(), self.principal()).unwrap()
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            host: self.host,
            headers: &self.headers,
            query: &self.query,
            claims: &self.claims,
            body: match &self.body {
                None => BodyFacts::NotRead,
                Some(_) if self.no_body => BodyFacts::Absent,
                Some(fields) => BodyFacts::Fields(fields),
            },
            country: self.country,
            auth_time: self.auth_time.map(Timestamp::from_millis),
            ..Context::EMPTY
        }
    }

    pub(crate) const fn now(&self) -> Now {
        Now { earliest: Timestamp::from_millis(self.earliest), latest: Timestamp::from_millis(self.latest) }
    }
}

pub(crate) fn user(dice: &mut Dice) -> User {
    User { issuer: dice.pick(&ISSUERS).into(), subject: dice.pick(&NAMES).into() }
}

fn subject(dice: &mut Dice) -> Subject {
    let named = |dice: &mut Dice| {
        if dice.chance(50) {
            return Subject::User(user(dice));
        }
        Subject::Group { issuer: dice.pick(&ISSUERS).into(), name: dice.pick(&GROUPS).into() }
    };
    let workload = dice.pick(&WORKLOADS).parse().unwrap();
    match dice.below(5) {
        0 => Subject::Workload(workload),
        1 => Subject::Through(Through::new(named(dice), workload).unwrap()),
        _ => named(dice),
    }
}

fn boxed(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| Box::from(*name)).collect()
}

fn names(dice: &mut Dice) -> Vec<&'static str> {
    let mut names: Vec<_> = dice.many(1, 4, |dice| ACTIONS[dice.below(ACTIONS.len())].name);
    names.sort_unstable();
    names.dedup();
    names
}

fn action_set(dice: &mut Dice) -> ActionSet {
    if dice.chance(25) { ActionSet::All } else { ActionSet::Named(boxed(&names(dice))) }
}

/// No condition half of the time.
fn condition(dice: &mut Dice) -> usize {
    if dice.chance(40) { 0 } else { dice.below(CONDITIONS.len()) }
}

fn bind(dice: &mut Dice) -> Option<Bind> {
    let bind = Bind {
        exact: dice.chance(30),
        fields: boxed(&dice.some(&["amount", "note"])),
        headers: boxed(&dice.some(&["x-ticket"])),
        query: boxed(&dice.some(&["dry"])),
    };
    (dice.chance(40) && bind != Bind::default()).then_some(bind)
}

pub(crate) fn grant_id(number: u64) -> GrantId {
    GrantId::new(number, [0; 10])
}

pub(crate) fn lock(dice: &mut Dice, number: u64) -> Lock {
    let [high, low, ..] = dice.roll().to_be_bytes();
    Lock {
        id: LockId::new(number, [high, low, 0, 0, 0, 0, 0, 0, 0, 0]),
        target: LockTarget {
            subject: dice.chance(60).then(|| subject(dice)),
            service: dice.maybe(&["svc", "svc", "nil"]).map(Into::into),
            action: dice.chance(50).then(|| ACTIONS[dice.below(ACTIONS.len())].name.into()),
        },
        reason: "r".into(),
        expires_at: dice.chance(60).then(|| Timestamp::from_millis(dice.below(12) as i64)),
    }
}

/// A grant under one of the rules, with its terms.
pub(crate) fn held(dice: &mut Dice, rules: &[Asking], number: u64) -> Held {
    let rule = (!rules.is_empty()).then(|| &rules[dice.below(rules.len())]);
    let action = match rule {
        Some(rule) => dice.pick(&rule.actions),
        None => ACTIONS[dice.below(ACTIONS.len())].name,
    };
    let fitting: Vec<_> = GRANTED.iter().filter(|(name, ..)| *name == action).copied().collect();
    let (_, resource, method, target) = dice.pick(&fitting);
    let approved = Told { service: "svc", method, target, ..Told::generate(dice) };
    let mut holder = match dice.below(3) {
        0 => GrantHolder::User(user(dice)),
        1 => GrantHolder::Workload(dice.pick(&WORKLOADS).parse().unwrap()),
        _ => GrantHolder::Both(user(dice), dice.pick(&WORKLOADS).parse().unwrap()),
    };
    let bound = rule.and_then(|rule| rule.bind.clone()).map(|bind| (bind, approved));
    if let Some((_, Told { user: Some((issuer, subject)), .. })) = &bound {
        holder = GrantHolder::User(User { issuer: (*issuer).into(), subject: (*subject).into() });
    }
    let starts_at = dice.below(8) as i64;
    let uses = dice.chance(25).then(|| dice.chance(50));
    Held {
        id: grant_id(number),
        holder,
        action,
        resource,
        starts_at,
        expires_at: starts_at + 1 + dice.below(12) as i64,
        conditions: rule.map(|rule| rule.grant_condition).filter(|at| *at != 0).into_iter().collect(),
        bound,
        // What one use more reveals depends on which grant is taken; that has tests of its own.
        reveals: rule.filter(|_| uses.is_none()).map(|rule| rule.reveals.clone()).unwrap_or_default(),
        uses,
    }
}

impl World {
    pub(crate) fn generate(dice: &mut Dice) -> Self {
        let mut count = 0;
        let mut name = |kind: &str| {
            count += 1;
            format!("{kind}-{count}")
        };
        let bindings = dice.many(0, 4, |dice| Given {
            name: name("binding"),
            subjects: dice.many(1, 2, subject),
            actions: action_set(dice),
            reveals: dice.some(&MASKED),
            condition: condition(dice),
        });
        let rules = dice.many(0, 3, |dice| Asking {
            name: name("rule"),
            actions: names(dice),
            eligible: dice.many(1, 2, subject),
            condition: condition(dice),
            grant_condition: condition(dice),
            bind: bind(dice),
            reveals: dice.some(&MASKED),
        });
        let denials =
            if dice.chance(50) { Vec::new() } else { dice.many(1, 2, |dice| Self::denied(dice, name("denial"))) };
        let mut number = 0;
        let grants = dice.many(0, 8, |dice| {
            number += 1;
            held(dice, &rules, number)
        });
        let locks = if dice.chance(60) { Vec::new() } else { dice.many(1, 2, |dice| lock(dice, number + 1)) };
        let signals = SIGNALS.into_iter().filter(|_| dice.chance(50)).collect::<Vec<_>>();
        let signals = signals.into_iter().map(|signal| (signal, dice.below(12) as i64)).collect();
        let unmatched = dice.pick(&[Unmatched::Deny, Unmatched::Allow]);
        Self { unmatched, bindings, rules, denials, grants, locks, signals }
    }

    pub(crate) fn denied(dice: &mut Dice, name: String) -> Denied {
        Denied {
            name,
            actions: action_set(dice),
            subjects: dice.many(0, 2, subject),
            except: dice.many(0, 1, subject),
            // An unconditional one for everyone leaves nothing else to see.
            condition: dice.below(CONDITIONS.len()),
        }
    }

    pub(crate) fn parts(&self) -> ServiceParts {
        ServiceParts {
            name: "svc".into(),
            hosts: Vec::new(),
            unmatched: self.unmatched,
            rollout: Rollout::default(),
            actions: ACTIONS.iter().map(Known::action).collect(),
            bindings: self.bindings.iter().map(Given::binding).collect(),
            rules: self.rules.iter().map(Asking::rule).collect(),
            denials: self.denials.iter().map(Denied::rule).collect(),
            break_glass: Vec::new(),
            owners: Vec::new(),
        }
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::default();
        table.put_service(Service::new(self.parts()).unwrap());
        self.grants.iter().for_each(|held| table.put_grant(held.grant()));
        self.locks.iter().cloned().for_each(|lock| table.put_lock(lock));
        for (name, until) in &self.signals {
            table.put_signal(Signal { name: (*name).into(), expires_at: Timestamp::from_millis(*until) });
        }
        table
    }
}

fn declared(name: &str, place: FieldPlace, mask: bool) -> Field {
    Field { name: name.into(), place, pointer: format!("/{name}").into(), mask }
}

impl Known {
    fn action(&self) -> Action {
        Action {
            name: self.name.into(),
            method: self.method.into(),
            templates: ActionTemplates::parse(self.path, Some(self.resource)).unwrap(),
            selectors: self
                .selectors
                .iter()
                .map(|(pointer, value)| Selector { pointer: (*pointer).into(), value: (*value).into() })
                .collect(),
            criticality: if self.method == "POST" { Criticality::Critical } else { Criticality::Low },
            audit: Audit::All,
            rollout: None,
            query: vec!["dry".into()],
            body: None,
            fields: vec![
                declared("amount", FieldPlace::Request, false),
                declared("note", FieldPlace::Request, false),
                declared("card", FieldPlace::Response, true),
                declared("email", FieldPlace::Response, true),
                declared("plain", FieldPlace::Response, false),
            ],
        }
    }
}

impl Given {
    fn binding(&self) -> Binding {
        Binding {
            name: (*self.name).into(),
            role: "role".into(),
            subjects: self.subjects.clone(),
            actions: self.actions.clone(),
            reveals: boxed(&self.reveals),
            condition: compiled(self.condition),
        }
    }
}

impl Asking {
    fn rule(&self) -> Rule {
        Rule {
            name: (*self.name).into(),
            actions: boxed(&self.actions),
            eligible: self.eligible.clone(),
            condition: compiled(self.condition),
            grant_condition: compiled(self.grant_condition),
            bind: self.bind.clone(),
            reveals: boxed(&self.reveals),
            hold: None,
            workflow: Box::default(),
        }
    }
}

impl Denied {
    fn rule(&self) -> DenyRule {
        DenyRule {
            name: (*self.name).into(),
            actions: self.actions.clone(),
            subjects: self.subjects.clone(),
            except: self.except.clone(),
            condition: compiled(self.condition),
            reason: "never".into(),
        }
    }
}

impl Held {
    pub(crate) fn grant(&self) -> Grant {
        let bound = self.bound.as_ref().map(|(bind, approved)| {
            let (call, context) = (approved.call(), approved.context());
            let fields = ["amount", "note"].map(|name| declared(name, FieldPlace::Request, false));
            let (action, resource) = (self.action, self.resource);
            let parts = BoundCall { call: &call, context: &context, action, fields: &fields, resource };
            // What could not be bound fits no call.
            let digest = bind.digest(parts).unwrap_or(Digest([0; 32]));
            Box::new((bind.clone(), digest))
        });
        let conditions: Vec<Condition> = self.conditions.iter().map(|at| compiled(*at)).collect();
        Grant {
            id: self.id.clone(),
            request: RequestId::new(0, [0; 10]),
            holder: self.holder.clone(),
            service: "svc".into(),
            action: self.action.into(),
            resource: self.resource.into(),
            rule: "rule".into(),
            starts_at: Timestamp::from_millis(self.starts_at),
            expires_at: Timestamp::from_millis(self.expires_at),
            conditions,
            bound,
            reveals: boxed(&self.reveals),
            uses: self.uses.map(|exhausted| Uses { allowed: 1, exhausted }),
            break_glass: false,
        }
    }
}
