//! The refusal with everything that nearly allowed the call: built only where a call is refused, so it may allocate.

use super::{Decision, Judging, Matched, Refusal};
use crate::engine::condition::Verdict;
use crate::engine::reason::Reason;
use crate::engine::rule::Rule;
use crate::engine::service::Service;
use crate::engine::table::HeldGrant;

/// The most near misses of one kind that a refusal names.
const MAX_NEAR_MISSES: usize = 8;

/// So many held grants are looked at for near misses.
const MAX_LOOKED_AT: usize = 64;

/// A refusal whose action and resource are still lent out.
pub(super) struct Refused<'t> {
    service: &'t Service,
    reasons: Vec<Reason>,
    rules: Vec<&'t Rule>,
    errors: Vec<super::ConditionError<'t>>,
}

impl<'t> Refused<'t> {
    pub(super) fn with(self, matched: Option<Matched<'t>>) -> Decision<'t> {
        let Self { service, reasons, rules, errors } = self;
        let refusal = Refusal { service: Some(service), matched, reasons, rules, errors };
        if refusal.rules.is_empty() { Decision::Deny(refusal) } else { Decision::Ask(refusal) }
    }
}

/// What a condition that did not simply hold has to say for itself.
pub(super) fn condition_reason(by: &str, verdict: Verdict) -> Option<Reason> {
    let by = || by.to_owned();
    match verdict {
        Verdict::Holds => None,
        Verdict::Fails => Some(Reason::ConditionFails { by: by() }),
        Verdict::Unsure => Some(Reason::ConditionUnsure { by: by() }),
        Verdict::Errs(error) => Some(Reason::ConditionErrs { by: by(), error }),
    }
}

impl<'t> Judging<'t, '_> {
    pub(super) fn refuse(mut self, place: usize) -> Refused<'t> {
        let service = self.service;
        let principal = self.call.principal;
        let action = self.action.map_or("", |action| &action.name).to_owned();
        let mut reasons = vec![Reason::NoRole { action: action.clone() }];
        for binding in service.bindings_for(place, &principal).take(MAX_NEAR_MISSES) {
            let verdict = self.judge(&binding.name, &binding.condition);
            reasons.extend(condition_reason(&binding.name, verdict));
        }
        // Those that are used up stay for a while, and would hide the others.
        let mut some: Vec<HeldGrant<'t>> = Vec::new();
        self.table.each_grant(&principal, self.names(), None, &mut |grant| {
            some.push(*grant);
            some.len() >= MAX_LOOKED_AT
        });
        let mut named: Vec<&HeldGrant<'t>> = Vec::new();
        for last in [false, true] {
            named.extend(some.iter().filter(|grant| grant.is_exhausted() == last));
        }
        for grant in named.into_iter().take(MAX_NEAR_MISSES) {
            reasons.push(if grant.is_for(self.resource) {
                self.miss(grant).unwrap_or_else(|| Reason::GrantOtherHolder { id: grant.id() })
            } else {
                let (granted, called) = (grant.resource(), self.resource.to_owned());
                Reason::GrantOtherResource { id: grant.id(), granted, called }
            });
        }
        let mut rules = Vec::new();
        let mut unmet = Vec::new();
        for rule in service.rules_for(place, &principal) {
            let verdict = self.judge(&rule.name, &rule.condition);
            match condition_reason(&rule.name, verdict) {
                None => rules.push(rule),
                Some(reason) if unmet.len() < MAX_NEAR_MISSES => unmet.push(reason),
                Some(_) => {}
            }
        }
        reasons.append(&mut unmet);
        if rules.is_empty() {
            reasons.push(Reason::NotEligible { action });
        }
        reasons.extend(rules.iter().map(|rule| Reason::MayAsk { rule: rule.name.to_string() }));
        Refused { service, reasons, rules, errors: self.errors }
    }
}
