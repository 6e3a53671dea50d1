//! What of a policy its cases touch: an action is touched by a call of it, a binding or grant's rule by allowing one, a rule
//! by letting ask for one, a deny rule by denying one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Case, Outcome, StepKind, Word};
use crate::wire::policy::Policy;

/// What was touched so far.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    parts: BTreeMap<Part, bool>,
    /// Rule of each grant of the steps so far.
    rules: BTreeMap<String, (String, String)>,
    only_service: Option<String>,
}

/// A part of a policy: service, kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    kind: Kind,
    service: String,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Action,
    Binding,
    Rule,
    DenyRule,
}

/// One kind's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Covered {
    /// `actions`, `bindings`, `rules` or `deny rules`.
    pub kind: &'static str,
    /// How many are touched.
    pub touched: usize,
    /// How many there are.
    pub all: usize,
    /// `SERVICE NAME` of each that no case touches, sorted.
    pub missed: Vec<String>,
}

impl Coverage {
    /// Nothing of a policy.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let mut parts = BTreeSet::new();
        for service in &policy.services {
            let mut add = |kind: Kind, names: &mut dyn Iterator<Item = &String>| {
                parts.extend(names.map(|name| Part { kind, service: service.name.clone(), name: name.clone() }));
            };
            add(Kind::Action, &mut service.actions.iter().map(|action| &action.name));
            add(Kind::Binding, &mut service.bindings.iter().map(|binding| &binding.name));
            add(Kind::Rule, &mut service.rules.iter().map(|rule| &rule.name));
            add(Kind::DenyRule, &mut service.denials.iter().map(|denial| &denial.name));
        }
        let only_service = match policy.services.as_slice() {
            [only] => Some(only.name.clone()),
            _ => None,
        };
        Self { parts: parts.into_iter().map(|part| (part, false)).collect(), rules: BTreeMap::new(), only_service }
    }

    /// Notes a step that is no call.
    pub fn step(&mut self, step: &StepKind) {
        if let StepKind::Grant(grant) = step
            && let Some(rule) = &grant.rule
        {
            let service = grant.service.clone().or_else(|| self.only_service.clone()).unwrap_or_default();
            self.rules.insert(grant.id.to_string(), (service, rule.clone()));
        }
    }

    /// Notes what became of a call.
    pub fn call(&mut self, case: &Case, outcome: &Outcome) {
        let service = case.service.clone().or_else(|| self.only_service.clone()).unwrap_or_default();
        let mut touch = |kind: Kind, service: &str, name: &str| {
            let part = Part { kind, service: service.to_owned(), name: name.to_owned() };
            if let Some(touched) = self.parts.get_mut(&part) {
                *touched = true;
            }
        };
        outcome.action.iter().for_each(|action| touch(Kind::Action, &service, action));
        outcome.rules.iter().for_each(|rule| touch(Kind::Rule, &service, rule));
        let denials =
            outcome.reasons.iter().filter(|told| told.code == "deny_rule").filter_map(|told| told.by.as_ref());
        denials.for_each(|denial| touch(Kind::DenyRule, &service, denial));
        match outcome.basis.as_deref().and_then(|basis| basis.split_once(' ')) {
            Some(("role", binding)) if outcome.decision == Word::Allow => touch(Kind::Binding, &service, binding),
            Some(("grant", id)) => {
                if let Some((service, rule)) = self.rules.get(id) {
                    touch(Kind::Rule, service, rule);
                }
            }
            _ => {}
        }
    }

    /// The share of each kind.
    #[must_use]
    pub fn kinds(&self) -> Vec<Covered> {
        let kinds = [
            (Kind::Action, "actions"),
            (Kind::Binding, "bindings"),
            (Kind::Rule, "rules"),
            (Kind::DenyRule, "deny rules"),
        ];
        let covered = |(kind, word): (Kind, &'static str)| {
            let of_kind = || self.parts.iter().filter(move |(part, _)| part.kind == kind);
            let missed: Vec<String> = of_kind()
                .filter(|(_, touched)| !**touched)
                .map(|(Part { service, name, .. }, _)| format!("{service} {name}"))
                .collect();
            let all = of_kind().count();
            Covered { kind: word, touched: all.saturating_sub(missed.len()), all, missed }
        };
        kinds.into_iter().map(covered).collect()
    }

    /// The share of everything, in whole percent, rounded down; 100 of a policy with nothing in it.
    #[must_use]
    pub fn percent(&self) -> usize {
        let touched = self.parts.values().filter(|touched| **touched).count();
        touched.saturating_mul(100).checked_div(self.parts.len()).unwrap_or(100)
    }
}
