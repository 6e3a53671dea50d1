//! The decision itself: pure and total. [`prepare`] finds what is called, so that only what deciding it reads need be
//! gathered; [`Prepared::decide`] decides. [`decide()`] is both at once.

mod refuse;

use super::action::{Action, BodyMode, Criticality, Field, Rollout};
use super::bind::BoundCall;
use super::call::Call;
use super::canonical::Ambiguity;
use super::condition::{Condition, EvalError, Fuel, Needs, Verdict};
use super::context::{Context, Facts};
use super::grant::Claims;
use super::principal::Principal;
use super::reason::Reason;
use super::route::Routed;
use super::rule::{Binding, Rule};
use super::service::{Group, Selected, Service, Unmatched};
use super::table::{HeldGrant, LoneGrant, Table};
use crate::time::Timestamp;

/// What is known of the control plane's time: it is at least `earliest` and at most `latest`.
/// Whatever ends permission is judged by `latest`, whatever begins it by `earliest`, so errors only ever refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// It is not earlier than this.
    pub earliest: Timestamp,
    /// It is not later than this.
    pub latest: Timestamp,
}

impl Now {
    /// A time that is known exactly.
    #[must_use]
    pub const fn exactly(at: Timestamp) -> Self {
        Self { earliest: at, latest: at }
    }
}

/// The outcome for one call.
#[derive(Debug, Clone)]
pub enum Decision<'t> {
    /// It may pass.
    Allow(Permit<'t>),
    /// It may not pass now; the caller may ask for a grant.
    Ask(Refusal<'t>),
    /// It may not pass.
    Deny(Refusal<'t>),
}

/// Proof that a call was allowed; only [`decide()`] makes one.
#[derive(Debug, Clone)]
pub struct Permit<'t> {
    matched: Option<Matched<'t>>,
    basis: Basis<'t>,
    errors: Vec<ConditionError<'t>>,
    masked: Vec<&'t Field>,
    claim: Option<Claim<'t>>,
}

/// The grant of which a call is to be a use.
#[derive(Debug, Clone)]
enum Claim<'t> {
    /// The one that allows it.
    Basis,
    /// One that reveals. Seldom, so that it is kept apart.
    Other(Box<HeldGrant<'t>>),
}

impl<'t> Permit<'t> {
    /// The action and resource; nothing for an unmatched call of a service that allows those.
    #[must_use]
    pub const fn matched(&self) -> Option<&Matched<'t>> {
        self.matched.as_ref()
    }

    /// What allowed it.
    #[must_use]
    pub const fn basis(&self) -> Basis<'t> {
        self.basis
    }

    /// Conditions that could not be judged on the way.
    #[must_use]
    pub fn errors(&self) -> &[ConditionError<'t>] {
        &self.errors
    }

    /// The grant for a number of uses of which this call is to be one: it allows the call, or reveals fields of the response.
    #[must_use]
    pub fn claim(&self) -> Option<HeldGrant<'t>> {
        match (self.claim.as_ref()?, self.basis) {
            (Claim::Basis, Basis::Grant(grant)) => Some(grant),
            (Claim::Basis, Basis::Role(_) | Basis::Unmatched) => None,
            (Claim::Other(grant), _) => Some(**grant),
        }
    }

    /// The response fields that the caller may not see: no role and no live grant reveals them.
    #[must_use]
    pub fn masked(&self) -> &[&'t Field] {
        &self.masked
    }
}

/// What allowed a call.
#[derive(Debug, Clone, Copy)]
pub enum Basis<'t> {
    /// Standing permission.
    Role(&'t Binding),
    /// A live grant.
    Grant(HeldGrant<'t>),
    /// The service lets unmatched calls pass.
    Unmatched,
}

/// Why a call was refused.
#[derive(Debug, Clone)]
pub struct Refusal<'t> {
    /// The service, where there is one.
    pub service: Option<&'t Service>,
    /// The action and resource, where the call matched one.
    pub matched: Option<Matched<'t>>,
    /// Every reason, the most important first. Never empty.
    pub reasons: Vec<Reason>,
    /// The rules under which the caller may ask; empty exactly for `Deny`.
    pub rules: Vec<&'t Rule>,
    /// Conditions that could not be judged on the way.
    pub errors: Vec<ConditionError<'t>>,
}

/// A condition that could not be judged. It never allowed; if it was a deny rule's, it denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConditionError<'t> {
    /// The binding, rule, deny rule or grant.
    pub by: &'t str,
    /// Why.
    pub error: EvalError,
}

/// What a call matched.
#[derive(Debug, Clone)]
pub struct Matched<'t> {
    /// The service.
    pub service: &'t Service,
    /// Its action.
    pub action: &'t Action,
    /// What the call touches.
    pub resource: String,
}

impl Matched<'_> {
    /// How strictly decisions about it are carried out: as the action says, or else the service.
    #[must_use]
    pub fn rollout(&self) -> Rollout {
        self.action.rollout.unwrap_or_else(|| self.service.rollout())
    }
}

/// A call whose service and place are found.
#[derive(Debug, Clone, Copy)]
pub struct Prepared<'t, 'c> {
    table: &'t Table,
    call: &'c Call<'c>,
    place: Place<'t>,
    claims: Claims<'c>,
    offline: Option<&'t LoneGrant>,
}

#[derive(Debug, Clone, Copy)]
enum Place<'t> {
    Nowhere,
    /// To some servers another path is the same, for this reason.
    Ambiguous(&'t Service, Ambiguity),
    Unmatched(&'t Service),
    Group(&'t Service, &'t Group),
}

/// Finds what a call calls.
#[must_use]
pub fn prepare<'t, 'c>(table: &'t Table, call: &'c Call<'c>) -> Prepared<'t, 'c> {
    let place = match table.service(call.service) {
        None => Place::Nowhere,
        Some(service) => match service.group(call.method, &call.path) {
            Routed::Action(group) => Place::Group(service, group),
            Routed::Unmatched => Place::Unmatched(service),
            Routed::TrailingSlash => Place::Ambiguous(service, Ambiguity::TrailingSlash),
            Routed::LetterCase => Place::Ambiguous(service, Ambiguity::LetterCase),
        },
    };
    Prepared { table, call, place, claims: Claims::None, offline: None }
}

/// Decides one call at one time. See the module's head for the order.
#[must_use]
pub fn decide<'t>(table: &'t Table, call: &Call<'_>, context: &Context<'_>, now: Now) -> Decision<'t> {
    prepare(table, call).decide(context, now)
}

impl<'t, 'c> Prepared<'t, 'c> {
    /// The same, with what is known of the call's claim.
    #[must_use]
    pub const fn with(self, claims: Claims<'c>) -> Self {
        Self { claims, ..self }
    }

    /// The same, with a grant from outside of the table that is for whatever the call is. It stands before roles and other
    /// grants, and as behind locks and deny rules as they.
    #[must_use]
    pub const fn with_offline(self, grant: &'t LoneGrant) -> Self {
        Self { offline: Some(grant), ..self }
    }

    /// What deciding reads of the call beyond method, path and principal; nothing if that is enough.
    #[must_use]
    pub const fn needs(&self) -> Option<&'t Needs> {
        match self.place {
            Place::Group(_, group) => Some(group.needs()),
            Place::Unmatched(service) => Some(service.unmatched_needs()),
            Place::Nowhere | Place::Ambiguous(..) => None,
        }
    }

    /// Name and JSON pointer of each part of the request's body that deciding reads.
    #[must_use]
    pub fn body(&self) -> &'t [(Box<str>, Box<str>)] {
        match self.place {
            Place::Group(_, group) => group.body(),
            _ => &[],
        }
    }

    /// How the request's body is read before the call is decided: the strictest that one of the actions says which the
    /// call may be. Nothing if none says anything.
    #[must_use]
    pub fn body_mode(&self) -> Option<BodyMode> {
        let modes = || self.may_be().filter_map(|action| action.body);
        modes().find(|mode| *mode == BodyMode::Strict).or_else(|| modes().next())
    }

    /// Whether the response of an action that the call may be has fields that are masked unless revealed.
    #[must_use]
    pub fn may_mask(&self) -> bool {
        self.may_be().any(|action| action.masked_fields().next().is_some())
    }

    /// The actions that the call may be: several only where the body tells which.
    fn may_be(&self) -> impl Iterator<Item = &'t Action> {
        let group = match self.place {
            Place::Group(service, group) => Some((service, group)),
            _ => None,
        };
        group
            .into_iter()
            .flat_map(|(service, group)| group.places().iter().filter_map(move |place| service.actions().get(*place)))
    }

    /// Whether a refusal is carried out for the caller before it is known which action is called: if it is for one that
    /// the call may be.
    #[must_use]
    pub fn enforces(&self) -> bool {
        let (Place::Ambiguous(service, _) | Place::Unmatched(service) | Place::Group(service, _)) = self.place else {
            return true;
        };
        let own = service.rollout();
        let enforces = |rollout: Rollout| rollout.enforces(service.name(), &self.call.principal);
        match self.place {
            Place::Group(..) => self.may_be().any(|action| enforces(action.rollout.unwrap_or(own))),
            _ => enforces(own),
        }
    }

    /// The action that the call is, as far as its body tells; nothing if it is none.
    #[must_use]
    pub fn action(&self, body: super::context::BodyFacts<'_>) -> Option<&'t Action> {
        let Place::Group(service, group) = self.place else { return None };
        match service.select(group, body) {
            Selected::Action(place) => service.actions().get(place),
            _ => None,
        }
    }

    /// The most critical of the actions that the call may be; nothing if it is none's.
    #[must_use]
    pub fn criticality(&self) -> Option<Criticality> {
        self.may_be().map(|action| action.criticality).max()
    }

    /// Decides.
    #[must_use]
    pub fn decide(&self, context: &Context<'_>, now: Now) -> Decision<'t> {
        let (service, selected) = match self.place {
            Place::Nowhere => return deny(None, None, Reason::UnknownService(self.call.service.to_owned())),
            Place::Ambiguous(service, ambiguity) => return deny(Some(service), None, Reason::Ambiguous(ambiguity)),
            Place::Unmatched(service) => (service, Selected::Unmatched),
            Place::Group(service, group) => (service, service.select(group, context.body)),
        };
        let found = match selected {
            Selected::Action(place) => service.actions().get(place).map(|action| (place, action)),
            _ => None,
        };
        let matched = found.map(|(_, action)| Matched {
            service,
            action,
            resource: action.templates.resource_of(self.call.path.as_str()).unwrap_or_default(),
        });
        let action = found.map(|(_, action)| &*action.name);
        if let Some(lock) = self.table.lock_on(&self.call.principal, service.name(), action, now.earliest) {
            let reason = Reason::Locked { id: lock.id.clone(), text: lock.reason.to_string() };
            return deny(Some(service), matched, reason);
        }
        match selected {
            Selected::NotRead => return deny(Some(service), None, Reason::BodyNotRead),
            Selected::Ambiguous(pointer) => {
                return deny(Some(service), None, Reason::AmbiguousBody { pointer: pointer.to_owned() });
            }
            Selected::Action(_) | Selected::Unmatched => {}
        }
        let place = found.map(|(place, _)| place);
        let mut judging = Judging {
            table: self.table,
            service,
            call: self.call,
            context,
            now,
            action: found.map(|(_, action)| action),
            resource: matched.as_ref().map_or("", |matched| matched.resource.as_str()),
            fuel: Fuel::per_call(),
            errors: Vec::new(),
            claims: self.claims,
        };
        if matched.is_some() && self.call.principal.is_anonymous() {
            return deny(Some(service), matched, Reason::NoPrincipal);
        }
        for denial in service.denials_for(place, &self.call.principal) {
            let verdict = judging.judge(&denial.name, &denial.condition);
            if verdict.denies() {
                let Judging { errors, .. } = judging;
                let (rule, text) = (denial.name.to_string(), denial.reason.to_string());
                let mut reasons = vec![Reason::DenyRule { rule, text }];
                reasons.extend(refuse::condition_reason(&denial.name, verdict));
                let rules = Vec::new();
                return Decision::Deny(Refusal { service: Some(service), matched, reasons, rules, errors });
            }
        }
        let Some(place) = place else {
            let Judging { errors, .. } = judging;
            return match service.unmatched() {
                Unmatched::Allow => {
                    let masked = Vec::new();
                    Decision::Allow(Permit { matched: None, basis: Basis::Unmatched, errors, masked, claim: None })
                }
                Unmatched::Deny => deny(Some(service), None, Reason::Unmatched { service: service.name().to_owned() }),
            };
        };
        let offline = self.offline.map(LoneGrant::held).filter(|grant| judging.miss(grant).is_none());
        let basis = offline.map(Basis::Grant).or_else(|| judging.role(place).map(Basis::Role));
        let basis = basis.or_else(|| judging.grant().map(Basis::Grant));
        match basis {
            Some(basis) => {
                let (masked, revealing) = judging.masked(place, basis);
                let claim = match basis {
                    Basis::Grant(grant) if grant.uses().is_some() => Some(Claim::Basis),
                    _ => revealing.map(|grant| Claim::Other(Box::new(grant))),
                };
                let Judging { errors, .. } = judging;
                Decision::Allow(Permit { matched, basis, errors, masked, claim })
            }
            None => judging.refuse(place).with(matched),
        }
    }
}

fn deny<'t>(service: Option<&'t Service>, matched: Option<Matched<'t>>, reason: Reason) -> Decision<'t> {
    Decision::Deny(Refusal { service, matched, reasons: vec![reason], rules: Vec::new(), errors: Vec::new() })
}

/// The rules under which a principal may ask for an action on a resource, without a call at hand. A rule whose condition
/// names something that only a call has does not let ask so.
#[must_use]
pub fn rules_to_ask<'t>(
    table: &'t Table,
    service: &'t Service,
    ask: (&str, &str),
    principal: &Principal<'_>,
    (context, now): (&Context<'_>, Now),
) -> Vec<&'t Rule> {
    let (action, resource) = ask;
    let Some(place) = service.place_of(action) else { return Vec::new() };
    let mut fuel = Fuel::per_call();
    let criticality = service.actions().get(place).map_or(Criticality::Critical, |action| action.criticality);
    let mut rules = service.rules_for(place, principal);
    rules.retain(|rule| {
        let facts = Facts {
            principal,
            method: None,
            path: None,
            context,
            service: service.name(),
            action,
            resource,
            criticality,
            template: None,
            now,
            table,
        };
        rule.condition.verdict(&facts, &mut fuel).allows()
    });
    rules
}

/// One call while it is decided.
struct Judging<'t, 'c> {
    table: &'t Table,
    service: &'t Service,
    call: &'c Call<'c>,
    context: &'c Context<'c>,
    now: Now,
    action: Option<&'t Action>,
    resource: &'c str,
    fuel: Fuel,
    errors: Vec<ConditionError<'t>>,
    claims: Claims<'c>,
}

impl<'t, 'c> Judging<'t, 'c> {
    /// Judges a condition, and notes it if that cannot be done.
    fn judge(&mut self, by: &'t str, condition: &Condition) -> Verdict {
        if condition.is_always() {
            return Verdict::Holds;
        }
        let facts = Facts {
            principal: &self.call.principal,
            method: Some(self.call.method),
            path: Some(self.call.path),
            context: self.context,
            service: self.service.name(),
            action: self.action.map_or("", |action| &action.name),
            resource: self.resource,
            criticality: self.action.map_or(Criticality::Standard, |action| action.criticality),
            template: self.action.map(|action| &action.templates.path),
            now: self.now,
            table: self.table,
        };
        let verdict = condition.verdict(&facts, &mut self.fuel);
        if let Verdict::Errs(error) = verdict
            && !self.errors.iter().any(|known| known.by == by)
        {
            self.errors.push(ConditionError { by, error });
        }
        verdict
    }

    /// The first role that allows the call.
    fn role(&mut self, place: usize) -> Option<&'t Binding> {
        let service = self.service;
        service
            .bindings_for(place, &self.call.principal)
            .find(|binding| self.judge(&binding.name, &binding.condition).allows())
    }

    /// The first live grant that allows the call: one for a number of uses only where no other does, or where a use of it
    /// was claimed for this call.
    fn grant(&mut self) -> Option<HeldGrant<'t>> {
        if let Claims::Held(id) = self.claims
            && let Some(claimed) = self.find(&mut |judging, grant| grant.is(id) && judging.miss(grant).is_none())
        {
            return Some(claimed);
        }
        // Looked through again only where some are limited: most calls come by here, and have one grant.
        let mut any_limited = false;
        let unlimited = self.find(&mut |judging, grant| {
            any_limited |= grant.has_uses();
            grant.uses().is_none() && judging.miss(grant).is_none()
        });
        if unlimited.is_some() || !any_limited {
            return unlimited;
        }
        self.find(&mut |judging, grant| grant.has_uses() && judging.miss(grant).is_none())
    }

    /// The first grant for the action and resource under the principal that is what is sought.
    fn find(&mut self, is: &mut dyn FnMut(&mut Self, &HeldGrant<'t>) -> bool) -> Option<HeldGrant<'t>> {
        let mut found = None;
        let (table, resource, principal) = (self.table, self.resource, self.call.principal);
        table.each_grant(&principal, self.names(), Some(resource), &mut |grant| {
            if is(self, grant) {
                found = Some(*grant);
            }
            found.is_some()
        });
        found
    }

    /// The service and the action.
    fn names(&self) -> (&'t str, &'t str) {
        (self.service.name(), self.action.map_or("", |action| &action.name))
    }

    /// Why a grant for the right action and resource does not allow the call; nothing if it does. Once in the module, however
    /// many places ask.
    #[inline(never)]
    fn miss(&mut self, grant: &HeldGrant<'t>) -> Option<Reason> {
        let id = || grant.id();
        if !grant.is_held_by(&self.call.principal) {
            return Some(Reason::GrantOtherHolder { id: id() });
        }
        if self.now.latest >= grant.expires_at() {
            return Some(Reason::GrantEnded { id: id(), at: grant.expires_at() });
        }
        if self.now.earliest < grant.starts_at() {
            return Some(Reason::GrantNotStarted { id: id(), at: grant.starts_at() });
        }
        let is_held = matches!(self.claims, Claims::Held(claimed) if grant.is(claimed));
        if grant.is_exhausted() && !is_held {
            return Some(Reason::GrantExhausted { id: id() });
        }
        if matches!(self.claims, Claims::Refused(refused) if refused.iter().any(|id| grant.is(id))) {
            return Some(Reason::ClaimRefused { id: id() });
        }
        for condition in grant.conditions() {
            let verdict = self.judge(grant.name(), condition);
            if !verdict.allows() {
                return refuse::condition_reason(grant.name(), verdict);
            }
        }
        let (bind, digest) = grant.bound()?;
        let (action, fields): (&str, _) =
            self.action.map_or(("", [].as_slice()), |action| (&action.name, action.fields.as_slice()));
        let bound = BoundCall { call: self.call, context: self.context, action, fields, resource: self.resource };
        match bind.digest(bound) {
            Ok(found) if found == *digest => None,
            Ok(_) => Some(Reason::GrantOtherCall { id: id() }),
            Err(error) => Some(Reason::GrantUnbound { id: id(), text: error.to_string() }),
        }
    }

    /// The response fields that no role and no live grant of the principal reveals; and the grant for a number of uses that
    /// is used for revealing some. Of those, `basis` reveals what it reveals, and another one is looked for only beside a role.
    fn masked(&mut self, place: usize, basis: Basis<'t>) -> (Vec<&'t Field>, Option<HeldGrant<'t>>) {
        let mut masked: Vec<&'t Field> = self.action.into_iter().flat_map(Action::masked_fields).collect();
        if masked.is_empty() {
            return (masked, None);
        }
        let service = self.service;
        for binding in service.bindings_for(place, &self.call.principal).filter(|binding| !binding.reveals.is_empty()) {
            if self.judge(&binding.name, &binding.condition).allows() {
                masked.retain(|field| !binding.reveals.contains(&field.name));
            }
        }
        let mut revealing: Vec<HeldGrant<'t>> = Vec::new();
        self.table.each_grant(&self.call.principal, self.names(), Some(self.resource), &mut |grant| {
            revealing.extend((!grant.reveals().is_empty()).then_some(*grant));
            false
        });
        let own = match basis {
            Basis::Grant(grant) => Some(grant.id()),
            Basis::Role(_) | Basis::Unmatched => None,
        };
        for grant in &revealing {
            let counts = grant.uses().is_none() || own.as_ref().is_some_and(|own| grant.is(own));
            if counts && self.miss(grant).is_none() {
                masked.retain(|field| !grant.reveals().contains(&field.name));
            }
        }
        let claims = self.claims;
        let mut claim = None;
        if own.is_none() && !matches!(claims, Claims::Out) {
            let reveals = |grant: &HeldGrant<'_>, masked: &[&Field]| {
                masked.iter().any(|field| grant.reveals().contains(&field.name))
            };
            let is_held = |grant: &HeldGrant<'_>| matches!(claims, Claims::Held(id) if grant.is(id));
            // One of which a use was claimed for this call comes before the others.
            for first in [true, false] {
                let is_next = |grant: &&HeldGrant<'t>| {
                    let is_held = is_held(grant);
                    grant.uses().is_some() && is_held == first && (is_held || grant.has_uses())
                };
                let mut limited = revealing.iter().filter(is_next);
                claim = claim.or_else(|| limited.find(|grant| reveals(grant, &masked) && self.miss(grant).is_none()));
            }
        }
        if let Some(grant) = claim {
            masked.retain(|field| !grant.reveals().contains(&field.name));
        }
        (masked, claim.copied())
    }
}
