//! Decides recorded calls again under another policy: what would have become of them. Called by the control plane for
//! `policy simulate`. Records do not hold everything that conditions can name; where the outcome could depend on what is not
//! recorded, no outcome is given, but what is missing.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Policy;
use super::cases::Outcome;
use crate::engine::{
    Automatic, Basis, BodyFacts, Call, Condition, Context, Criticality, Decision, FactValue, Facts, Grant, GrantHolder,
    Needs, Now, Principal, Reason, Rule, Service, Table, User, decides, prepare, verdicts,
};
use crate::id::{GrantId, RequestId};
use crate::time::{Span, Timestamp};
use crate::wire::records::{DecisionEvent, DecisionWord};
use crate::wire::table::ItemError;

/// A policy under which records are decided again.
#[derive(Debug)]
pub struct Replay {
    table: Table,
}

/// What a recorded call would have become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// Something else than the policy decided it: a lock, an ambiguous call, a filter that was not ready.
    NotByPolicy,
    /// It depends on these, which records do not hold.
    Unknown(BTreeSet<String>),
    /// The outcome.
    Decided(Box<Outcome>),
}

/// Reasons of the engine that come from a policy.
const BY_POLICY: [&str; 16] = [
    "unknown_service",
    "unmatched",
    "no_principal",
    "no_role",
    "deny_rule",
    "condition_fails",
    "condition_unsure",
    "condition_errs",
    "grant_ended",
    "grant_not_started",
    "grant_other_resource",
    "grant_other_holder",
    "grant_other_call",
    "grant_unbound",
    "not_eligible",
    "may_ask",
];

/// How long before and after a recorded call its grant is taken to be live.
const AROUND: Span = Span::from_secs(1);

impl Replay {
    /// A replay under a policy.
    ///
    /// # Errors
    /// If the engine refuses a service.
    pub fn new(policy: &Policy) -> Result<Self, ItemError> {
        Ok(Self { table: policy.table()? })
    }

    /// The rule of that name.
    #[must_use]
    pub fn rule(&self, service: &str, name: &str) -> Option<&Rule> {
        self.table.service(service)?.rule(name)
    }

    /// What a rule would have decided by itself about a request for a recorded call. `Err` if that depends on what records
    /// do not hold.
    ///
    /// # Errors
    /// What is not recorded.
    pub fn automatic<'r>(
        &'r self,
        event: &DecisionEvent<'_>,
        rule: &'r Rule,
        (action, resource): (&str, &str),
        at: Timestamp,
    ) -> Result<Option<&'r Automatic>, BTreeSet<String>> {
        let rules = rule.workflow.automatic.as_slice();
        let missing: BTreeSet<String> = rules.iter().flat_map(|one| facts(&one.when)).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let groups: Vec<&str> = event.groups.iter().flatten().map(|group| &**group).collect();
        let user = event.issuer.as_deref().zip(event.subject.as_deref());
        let service = self.table.service(&event.service);
        let known = service.and_then(|service| service.action(action));
        let facts = Facts {
            principal: &Principal { user, groups: &groups, workload: None },
            method: None,
            path: None,
            context: &Context::EMPTY,
            service: &event.service,
            action,
            resource,
            criticality: known.map_or(Criticality::Critical, |action| action.criticality),
            template: None,
            now: Now::exactly(at),
            table: &self.table,
        };
        // What is said of one of them is not in the records: nothing is known of signals.
        Ok(decides(rules, &verdicts(rules, &facts, Table::default())))
    }

    /// Decides a record again. `at` is the record's time.
    pub fn judge(&mut self, event: &DecisionEvent<'_>, at: Timestamp) -> Replayed {
        let by_policy = |reason: &Cow<'_, str>| BY_POLICY.contains(&&**reason);
        if event.decision != DecisionWord::Allow && !event.reasons.iter().all(by_policy) {
            return Replayed::NotByPolicy;
        }
        let user = event.issuer.as_deref().zip(event.subject.as_deref());
        let groups: Vec<&str> = match (&event.groups, user) {
            (Some(groups), _) => groups.iter().map(|group| &**group).collect(),
            (None, None) => Vec::new(),
            (None, Some(_)) => return unknown("the groups of the caller"),
        };
        let principal = Principal { user, groups: &groups, workload: event.workload.as_deref() };
        let Ok(call) = Call::new(&event.service, event.method.as_bytes(), event.path.as_bytes(), principal) else {
            return unknown("the whole path");
        };
        let grant = event.grant.as_ref().and_then(|id| granted(event, id, at));
        let held = grant.as_ref().map(|grant| grant.id.clone());
        if let Some(grant) = grant {
            self.table.put_grant(grant);
        }
        let replayed = judge(&self.table, &call, event.action.as_deref(), at);
        if let Some(id) = held {
            self.table.remove_grant(&id);
        }
        replayed
    }
}

fn unknown(what: &str) -> Replayed {
    Replayed::Unknown(BTreeSet::from([what.to_owned()]))
}

/// The grant that allowed a recorded call, as far as it concerns that call: a grant keeps its own terms under any policy.
fn granted(event: &DecisionEvent<'_>, id: &GrantId, at: Timestamp) -> Option<Grant> {
    let user = event.issuer.as_deref().zip(event.subject.as_deref());
    let holder = match (user, event.workload.as_deref()) {
        (Some((issuer, subject)), _) => GrantHolder::User(User { issuer: issuer.into(), subject: subject.into() }),
        (None, Some(workload)) => GrantHolder::Workload(workload.parse().ok()?),
        (None, None) => return None,
    };
    Some(Grant {
        id: id.clone(),
        request: RequestId::new(0, [0; 10]),
        holder,
        service: (*event.service).into(),
        action: event.action.as_deref()?.into(),
        resource: event.resource.as_deref()?.into(),
        rule: "recorded".into(),
        starts_at: at.minus(AROUND),
        expires_at: at.plus(AROUND),
        conditions: Vec::new(),
        bound: None,
        reveals: Vec::new(),
        uses: None,
        break_glass: false,
    })
}

fn judge(table: &Table, call: &Call<'_>, recorded: Option<&str>, at: Timestamp) -> Replayed {
    let prepared = prepare(table, call);
    let service = table.service(call.service());
    // The recorded action says what its selectors must have read in the body.
    let selectors = service.and_then(|service| service.action(recorded?)).map(|action| action.selectors.as_slice());
    let selectors = selectors.unwrap_or_default();
    let fields: Vec<(&str, FactValue<'_>)> =
        selectors.iter().map(|selector| (&*selector.pointer, FactValue::Text(&selector.value))).collect();
    let body = if fields.is_empty() { BodyFacts::NotRead } else { BodyFacts::Fields(&fields) };
    let context = Context { body, ..Context::EMPTY };
    let decision = prepared.decide(&context, Now::exactly(at));
    if let Decision::Deny(refusal) = &decision
        && refusal.reasons.iter().any(|reason| matches!(reason, Reason::BodyNotRead | Reason::AmbiguousBody { .. }))
    {
        return unknown("the body, which tells the action");
    }
    let place = prepared.action(body).and_then(|action| service?.place_of(&action.name));
    let missing = match service {
        Some(service) => missing(service, place, call.principal(), &decision),
        None => BTreeSet::new(),
    };
    if missing.is_empty() { Replayed::Decided(Box::new(Outcome::from(&decision))) } else { Replayed::Unknown(missing) }
}

/// What is not recorded and could make another decision of this one.
fn missing(
    service: &Service,
    place: Option<usize>,
    principal: &Principal<'_>,
    decision: &Decision<'_>,
) -> BTreeSet<String> {
    let is_known = |condition: &Condition| facts(condition).is_empty();
    let mut missing = BTreeSet::new();
    let denied = match decision {
        Decision::Deny(refusal) => refusal.reasons.iter().find_map(|reason| match reason {
            Reason::DenyRule { rule, .. } => Some(rule.as_str()),
            _ => None,
        }),
        _ => None,
    };
    let denials = || service.denials_for(place, principal);
    if let Some(rule) = denied
        && denials().any(|denial| *denial.name == *rule && is_known(&denial.condition))
    {
        return missing;
    }
    denials().for_each(|denial| missing.extend(facts(&denial.condition)));
    let Some(place) = place.filter(|_| missing.is_empty()) else { return missing };
    match decision {
        Decision::Allow(permit) => match permit.basis() {
            Basis::Role(binding) if is_known(&binding.condition) => return missing,
            Basis::Grant(_) | Basis::Unmatched => return missing,
            Basis::Role(_) => {}
        },
        Decision::Ask(_) | Decision::Deny(_) => {}
    }
    service.bindings_for(place, principal).for_each(|binding| missing.extend(facts(&binding.condition)));
    let asks = matches!(decision, Decision::Ask(refusal) if refusal.rules.iter().any(|rule| is_known(&rule.condition)));
    if !asks {
        service.rules_for(place, principal).into_iter().for_each(|rule| missing.extend(facts(&rule.condition)));
    }
    missing
}

/// What a condition names that records do not hold.
fn facts(condition: &Condition) -> BTreeSet<String> {
    let none = Needs::default();
    let Needs { headers, query, claims, fields, signals, host, time: _, address, country, actor, auth_time, origin } =
        condition.needs().unwrap_or(&none);
    let lists = [
        ("the header", headers),
        ("the query parameter", query),
        ("the claim", claims),
        ("the body's", fields),
        ("the signal", signals),
    ];
    let named = lists.into_iter().flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind} {name}")));
    let single = [
        ("the host", host),
        ("the address", address),
        ("the country", country),
        ("the actor", actor),
        ("the time of sign-in", auth_time),
        ("the proxy's place", origin),
    ];
    named.chain(single.into_iter().filter(|(_, named)| **named).map(|(name, _)| name.to_owned())).collect()
}

/// Who reviews under a rule.
#[must_use]
pub fn reviewers(rule: &Rule) -> Vec<String> {
    rule.workflow.deciding.reviewers().into_iter().map(ToString::to_string).collect()
}
