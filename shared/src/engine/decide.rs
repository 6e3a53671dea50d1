//! The decision itself: pure and total.

use super::call::Call;
use super::canonical::Ambiguity;
use super::grant::Grant;
use super::reason::Reason;
use super::route::Routed;
use super::service::{Action, Binding, Rule, Service, Unmatched};
use super::table::Table;
use crate::time::Timestamp;

/// The most near misses that a refusal names.
const MAX_NEAR_MISSES: usize = 8;

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
}

/// What allowed a call.
#[derive(Debug, Clone, Copy)]
pub enum Basis<'t> {
    /// Standing permission.
    Role(&'t Binding),
    /// A live grant.
    Grant(&'t Grant),
    /// The service lets unmatched calls pass.
    Unmatched,
}

/// Why a call was refused.
#[derive(Debug, Clone)]
pub struct Refusal<'t> {
    /// The action and resource, where the call matched one.
    pub matched: Option<Matched<'t>>,
    /// Every reason, the most important first. Never empty.
    pub reasons: Vec<Reason>,
    /// The rules under which the caller may ask; empty exactly for `Deny`.
    pub rules: Vec<&'t Rule>,
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

/// Decides one call at one time. See the module's head for the order.
#[must_use]
pub fn decide<'t>(table: &'t Table, call: &Call<'_>, now: Now) -> Decision<'t> {
    let Some(service) = table.service(call.service) else {
        return deny(None, Reason::UnknownService(call.service.to_owned()));
    };
    let place = match service.place(call.method, &call.path) {
        Routed::Action(place) => Some(place),
        Routed::Unmatched => None,
        Routed::TrailingSlash => return deny(None, Reason::Ambiguous(Ambiguity::TrailingSlash)),
    };
    let found = place.and_then(|place| service.actions().get(place).map(|action| (place, action)));
    let matched = found.map(|(_, action)| Matched {
        service,
        action,
        resource: action.templates.resource_of(call.path.as_str()).unwrap_or_default(),
    });
    let action_name = found.map(|(_, action)| &*action.name);
    if let Some(lock) = table.lock_on(&call.principal, service.name(), action_name, now.earliest) {
        return deny(matched, Reason::Locked { id: lock.id.clone(), text: lock.reason.to_string() });
    }
    let (Some((place, _)), Some(matched)) = (found, matched) else {
        return match service.unmatched() {
            Unmatched::Allow => Decision::Allow(Permit { matched: None, basis: Basis::Unmatched }),
            Unmatched::Deny => deny(None, Reason::Unmatched { service: service.name().to_owned() }),
        };
    };
    if call.principal.is_anonymous() {
        return deny(Some(matched), Reason::NoPrincipal);
    }
    if let Some(binding) = service.bindings_for(place, &call.principal).find(|binding| binding.condition.is_always()) {
        return Decision::Allow(Permit { matched: Some(matched), basis: Basis::Role(binding) });
    }
    let held = table.grants_for(&call.principal, service.name(), &matched.action.name);
    for grants in held {
        let first = grants.partition_point(|grant| *grant.resource < *matched.resource);
        let same = grants.iter().skip(first).take_while(|grant| *grant.resource == *matched.resource);
        for grant in same {
            if miss(grant, call, now).is_none() {
                return Decision::Allow(Permit { matched: Some(matched), basis: Basis::Grant(grant) });
            }
        }
    }
    refuse(service, place, matched, call, held.into_iter().flatten().map(|grant| &**grant), now)
}

fn deny(matched: Option<Matched<'_>>, reason: Reason) -> Decision<'_> {
    Decision::Deny(Refusal { matched, reasons: vec![reason], rules: Vec::new() })
}

/// Why a grant for the right action and resource does not allow the call; nothing if it does.
fn miss(grant: &Grant, call: &Call<'_>, now: Now) -> Option<Reason> {
    let id = || grant.id.clone();
    if !grant.holder.is(&call.principal) {
        return Some(Reason::GrantOtherHolder { id: id() });
    }
    if now.latest >= grant.expires_at {
        return Some(Reason::GrantEnded { id: id(), at: grant.expires_at });
    }
    if now.earliest < grant.starts_at {
        return Some(Reason::GrantNotStarted { id: id(), at: grant.starts_at });
    }
    (!grant.condition.is_always()).then(|| Reason::ConditionUnsupported { by: grant.id.to_string() })
}

/// The refusal with everything that nearly allowed the call.
fn refuse<'t>(
    service: &'t Service,
    place: usize,
    matched: Matched<'t>,
    call: &Call<'_>,
    held: impl Iterator<Item = &'t Grant>,
    now: Now,
) -> Decision<'t> {
    let action = || matched.action.name.to_string();
    let mut reasons = vec![Reason::NoRole { action: action() }];
    let unsupported = service.bindings_for(place, &call.principal).take(MAX_NEAR_MISSES);
    reasons.extend(unsupported.map(|binding| Reason::ConditionUnsupported { by: binding.name.to_string() }));
    let near = held.map(|grant| {
        if *grant.resource == *matched.resource {
            return miss(grant, call, now).unwrap_or(Reason::GrantOtherHolder { id: grant.id.clone() });
        }
        let (granted, called) = (grant.resource.to_string(), matched.resource.clone());
        Reason::GrantOtherResource { id: grant.id.clone(), granted, called }
    });
    reasons.extend(near.take(MAX_NEAR_MISSES));
    let rules = service.rules_for(place, &call.principal);
    if rules.is_empty() {
        reasons.push(Reason::NotEligible { action: action() });
        return Decision::Deny(Refusal { matched: Some(matched), reasons, rules });
    }
    reasons.extend(rules.iter().map(|rule| Reason::MayAsk { rule: rule.name.to_string() }));
    Decision::Ask(Refusal { matched: Some(matched), reasons, rules })
}
