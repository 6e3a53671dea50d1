//! The decision by the obvious way: every rule of the design in its order, each list walked from its beginning, no index,
//! nothing of the engine but its plain data types. Slow, and short enough to be read against DESIGN and ARCHITECTURE.

use std::collections::BTreeSet;

use grantmesh_shared::engine::{ActionSet, Bind, FactValue, GrantHolder, Subject, Unmatched, User};

use crate::conditions::{CONDITIONS, Seen};
use crate::world::{ACTIONS, Given, Held, Known, MASKED, Told, World};

/// A decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// `allow role`, `allow grant`, `allow unmatched`, `ask` or `deny`.
    pub(crate) word: &'static str,
    /// The code of the first reason; empty for what is allowed.
    pub(crate) code: &'static str,
    /// What may have allowed it (any of them), or lets ask (all of them).
    pub(crate) by: BTreeSet<String>,
    /// Response fields that are masked.
    pub(crate) masked: Vec<&'static str>,
    /// Whose conditions err, among all that concern the call.
    pub(crate) errors: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Holds,
    Fails,
    Unsure,
    Errs,
}

fn is_user(user: &User, told: &Told) -> bool {
    told.user == Some((&*user.issuer, &*user.subject))
}

fn names(subject: &Subject, told: &Told) -> bool {
    match subject {
        Subject::User(user) => is_user(user, told),
        Subject::Group { issuer, name } => {
            told.user.is_some_and(|(of, _)| *of == **issuer) && told.groups.iter().any(|group| **group == **name)
        }
        Subject::Workload(workload) => told.workload == Some(workload.as_str()),
        Subject::Through(through) => told.workload == Some(through.workload().as_str()) && names(through.user(), told),
    }
}

fn named(subjects: &[Subject], told: &Told) -> bool {
    subjects.iter().any(|subject| names(subject, told))
}

fn is_held_by(holder: &GrantHolder, told: &Told) -> bool {
    match holder {
        GrantHolder::User(user) => is_user(user, told),
        GrantHolder::Workload(workload) => told.workload == Some(workload.as_str()),
        GrantHolder::Both(user, workload) => is_user(user, told) && told.workload == Some(workload.as_str()),
    }
}

/// The resource, if the path is one of the action's.
fn resource(action: &Known, path: &str) -> Option<String> {
    let (mut wanted, mut given) = (action.path.split('/').skip(1), path.split('/').skip(1));
    let mut resource = action.resource.to_owned();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(resource),
            (Some(want), Some(have)) if want.ends_with("=**}") => {
                let rest = [have].into_iter().chain(given).collect::<Vec<_>>().join("/");
                return (!rest.is_empty() && !rest.ends_with('/'))
                    .then(|| resource.replace(&want.replace("=**", ""), &rest));
            }
            (Some(want), Some(have)) if want.starts_with('{') && !have.is_empty() => {
                resource = resource.replace(want, have);
            }
            (Some(want), Some(have)) if want == have => {}
            _ => return None,
        }
    }
}

/// The actions of a method that a path leads to: those with the narrowest template.
fn at(method: &str, path: &str) -> Vec<&'static Known> {
    let fits = |action: &&Known| action.method == method && resource(action, path).is_some();
    // A text is narrower than a parameter, and that than a rest; the first difference counts.
    let width = |action: &Known| {
        let kind = |part: &str| u8::from(part.starts_with('{')) + u8::from(part.ends_with("=**}"));
        action.path.split('/').map(kind).collect::<Vec<_>>()
    };
    let narrowest = ACTIONS.iter().filter(fits).map(width).min();
    ACTIONS.iter().filter(fits).filter(|action| Some(width(action)) == narrowest).collect()
}

/// Where method and path lead.
#[derive(Debug, PartialEq, Eq)]
enum Led {
    To(Vec<&'static str>),
    Nowhere,
    /// To some servers elsewhere.
    Unclear(&'static str),
}

fn leads(method: &str, path: &str) -> Led {
    let other_slash = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    let led = match (at(method, path), at(method, &other_slash)) {
        (actions, _) if !actions.is_empty() => Led::To(actions.iter().map(|action| action.name).collect()),
        (_, others) if !others.is_empty() => Led::Unclear("trailing_slash"),
        _ => Led::Nowhere,
    };
    // The templates here are in small letters, so capitals are never needed to tell them apart.
    let small = path.to_ascii_lowercase();
    if small == path {
        return led;
    }
    match leads(method, &small) {
        Led::Nowhere => led,
        other if other == led => led,
        _ => Led::Unclear("letter_case"),
    }
}

struct Judge<'a> {
    world: &'a World,
    told: &'a Told,
    action: Option<&'static Known>,
    resource: String,
    errors: BTreeSet<String>,
}

/// What the engine is to say.
pub(crate) fn decide(world: &World, told: &Told) -> Said {
    let deny = |code| Said { word: "deny", code, ..Said::default() };
    if told.service != "svc" {
        return deny("unknown_service");
    }
    let path = told.target.split('?').next().unwrap();
    // HEAD is GET where it leads nowhere itself.
    let methods = if told.method == "HEAD" { vec!["HEAD", "GET"] } else { vec![told.method] };
    let led = methods.into_iter().map(|method| leads(method, path)).find(|led| *led != Led::Nowhere);
    let mut actions = match led.unwrap_or(Led::Nowhere) {
        Led::To(names) => ACTIONS.iter().filter(|action| names.contains(&action.name)).collect(),
        Led::Nowhere => Vec::new(),
        Led::Unclear(code) => return deny(code),
    };
    // Which of several it is, the body says.
    let asked: Vec<(&str, &str)> = actions.iter().flat_map(|action| action.selectors).copied().collect();
    let field = |pointer: &str| told.body.iter().flatten().find(|(name, _)| *name == pointer).map(|(_, value)| *value);
    let mut unclear = None;
    if !asked.is_empty() {
        let plain = |value: Option<FactValue<'_>>| matches!(value, None | Some(FactValue::Text(_)));
        if told.body.is_none() {
            unclear = Some("body_not_read");
        } else if !asked.iter().all(|(pointer, _)| plain(field(pointer))) {
            unclear = Some("ambiguous_body");
        }
        let fits = |action: &&Known| {
            action.selectors.iter().all(|(pointer, text)| field(pointer) == Some(FactValue::Text(text)))
        };
        actions.retain(fits);
        actions.sort_by_key(|action| action.selectors.len());
    }
    let action = actions.last().copied().filter(|_| unclear.is_none());
    let resource = action.map(|action| resource(action, path).unwrap()).unwrap_or_default();
    let mut judge = Judge { world, told, action, resource, errors: BTreeSet::new() };
    if judge.is_locked() {
        return deny("locked");
    }
    if let Some(code) = unclear {
        return deny(code);
    }
    if action.is_some() && told.user.is_none() && told.workload.is_none() {
        return deny("no_principal");
    }
    if judge.is_denied() {
        return Said { errors: judge.errors, ..deny("deny_rule") };
    }
    let Some(action) = action else {
        let said = if world.unmatched == Unmatched::Allow {
            Said { word: "allow unmatched", ..Said::default() }
        } else {
            deny("unmatched")
        };
        return Said { errors: judge.errors, ..said };
    };
    judge.finish(action)
}

impl Judge<'_> {
    fn outcome(&mut self, by: &str, condition: usize) -> Outcome {
        let (_, judge) = CONDITIONS[condition];
        let at = |at| {
            judge(&Seen {
                world: self.world,
                told: self.told,
                action: self.action.map_or("", |action| action.name),
                resource: &self.resource,
                critical: self.action.is_some_and(|action| action.method == "POST"),
                at,
            })
        };
        match (at(self.told.earliest), at(self.told.latest)) {
            (Some(true), Some(true)) => Outcome::Holds,
            (Some(false), Some(false)) => Outcome::Fails,
            (Some(_), Some(_)) => Outcome::Unsure,
            _ => {
                self.errors.insert(by.to_owned());
                Outcome::Errs
            }
        }
    }

    fn covers(&self, actions: &ActionSet) -> bool {
        match (actions, self.action) {
            (ActionSet::All, _) => true,
            (ActionSet::Named(_), None) => false,
            (ActionSet::Named(names), Some(action)) => names.iter().any(|name| **name == *action.name),
        }
    }

    /// A lock ends late: when its end has certainly passed.
    fn is_locked(&self) -> bool {
        self.world.locks.iter().any(|lock| {
            lock.expires_at.is_none_or(|end| self.told.earliest < end.millis())
                && lock.target.subject.as_ref().is_none_or(|subject| names(subject, self.told))
                && lock.target.service.as_deref().is_none_or(|service| service == "svc")
                && lock.target.action.as_deref().is_none_or(|locked| self.action.is_some_and(|it| it.name == locked))
        })
    }

    /// What is not known not to hold denies.
    fn is_denied(&mut self) -> bool {
        let mut denied = false;
        for denial in &self.world.denials {
            let concerns = self.covers(&denial.actions)
                && (denial.subjects.is_empty() || named(&denial.subjects, self.told))
                && !named(&denial.except, self.told);
            denied |= concerns && self.outcome(&denial.name, denial.condition) != Outcome::Fails;
        }
        denied
    }

    fn has_role(&mut self, given: &Given) -> bool {
        self.covers(&given.actions)
            && named(&given.subjects, self.told)
            && self.outcome(&given.name, given.condition) == Outcome::Holds
    }

    /// A grant begins late and ends early: it allows only when it has certainly begun and has not possibly ended.
    fn has_grant(&mut self, held: &Held) -> bool {
        let live = held.starts_at <= self.told.earliest && self.told.latest < held.expires_at;
        let fits = self.action.is_some_and(|action| action.name == held.action) && held.resource == self.resource;
        if !live || !fits || held.uses == Some(true) || !is_held_by(&held.holder, self.told) {
            return false;
        }
        // The engine stops at the first that does not hold.
        let mut conditions = held.conditions.iter();
        conditions.all(|at| self.outcome(held.id.as_str(), *at) == Outcome::Holds)
            && held.bound.as_ref().is_none_or(|(bind, approved)| is_bound(bind, approved, self.told))
    }

    fn finish(mut self, action: &Known) -> Said {
        let world = self.world;
        let roles: Vec<&Given> = world.bindings.iter().filter(|given| self.has_role(given)).collect();
        let grants: Vec<&Held> = world.grants.iter().filter(|held| self.has_grant(held)).collect();
        let revealed = |field: &&str| {
            roles.iter().any(|given| given.reveals.contains(field))
                || grants.iter().any(|held| held.reveals.contains(field))
        };
        let masked: Vec<&'static str> = MASKED.iter().filter(|field| !revealed(field)).copied().collect();
        let said = Said { masked, ..Said::default() };
        if !roles.is_empty() {
            let by = roles.iter().map(|given| given.name.clone()).collect();
            return Said { word: "allow role", by, errors: self.errors, ..said };
        }
        if !grants.is_empty() {
            // One for a number of uses only where no other allows.
            let limited = grants.iter().all(|held| held.uses.is_some());
            let by = grants.iter().filter(|held| limited || held.uses.is_none());
            let by = by.map(|held| held.id.to_string()).collect();
            return Said { word: "allow grant", by, errors: self.errors, ..said };
        }
        let mut by = BTreeSet::new();
        for rule in &world.rules {
            let concerns = rule.actions.contains(&action.name) && named(&rule.eligible, self.told);
            if concerns && self.outcome(&rule.name, rule.condition) == Outcome::Holds {
                by.insert(rule.name.clone());
            }
        }
        let word = if by.is_empty() { "deny" } else { "ask" };
        Said { word, code: "no_role", by, errors: self.errors, masked: Vec::new() }
    }
}

/// Whether a call is the one that was approved, in all that is bound: the parts themselves, not a digest over them.
fn is_bound(bind: &Bind, approved: &Told, told: &Told) -> bool {
    type Pairs<'t> = &'t [(&'static str, &'static str)];
    let same = |one: Pairs<'_>, other: Pairs<'_>, name: &str| {
        let of = |pairs: Pairs<'_>| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        of(one).is_some() && of(one) == of(other)
    };
    let field = |told: &Told, name: &str| {
        let value = told.body.iter().flatten().find(|(known, _)| *known == name).map(|(_, value)| *value);
        value.filter(|value| matches!(value, FactValue::Text(_) | FactValue::Number(_) | FactValue::Bool(_)))
    };
    (approved.user, approved.workload) == (told.user, told.workload)
        && (!bind.exact || (approved.method, approved.target) == (told.method, told.target))
        && bind.headers.iter().all(|name| same(&approved.headers, &told.headers, name))
        && bind.query.iter().all(|name| same(&approved.query, &told.query, name))
        && bind.fields.iter().all(|name| field(approved, name).is_some() && field(approved, name) == field(told, name))
}
