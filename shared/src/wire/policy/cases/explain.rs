//! One decision with everything that was, or could have been, looked at for it: for people who ask why.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::lines::{first_line, word};
use super::{Case, CaseFacts, Outcome, Stage};
use crate::engine::{self, Condition, Criticality, Facts, Fuel, Principal, Rule, Service, Subject, Table, Verdict};
use crate::wire::policy::{PolicyFault, reviewers};

/// A decision with everything of the policy about its action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The decision.
    pub outcome: Outcome,
    /// Every deny rule, binding and rule about the action, in the order in which they are looked at.
    pub considered: Vec<Considered>,
}

/// A deny rule, binding or rule about the action of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Considered {
    /// `deny rule`, `binding` or `rule`.
    pub kind: Cow<'static, str>,
    /// Its name.
    pub name: String,
    /// Whom it names; everyone if nobody is named.
    pub subjects: Vec<String>,
    /// Whom a deny rule is not for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Whether the caller is one of them.
    pub for_caller: bool,
    /// Its condition as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What came of the condition: `holds`, `fails`, `unsure`, or the code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Who decides on a request under a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// What a rule decides by itself about a request of the caller's, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub automatic: Vec<ConsideredAutomatic>,
}

/// A decision that a rule makes by itself, for a caller who has set none of the signals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsideredAutomatic {
    /// Its name.
    pub name: String,
    /// `approve`, `deny`, `require` or `escalate`.
    pub then: String,
    /// Its condition as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What came of the condition: `holds`, `fails`, `unsure`, or the code of an error.
    pub verdict: String,
    /// Whether it is the one that would decide.
    pub decides: bool,
}

/// Reads a fact as the indented lines of cases state it: `header x-ticket INC-1`.
///
/// # Errors
/// If it is none.
pub fn read_fact(facts: &mut CaseFacts, text: &str) -> Result<(), PolicyFault> {
    let (first, rest) = word(text);
    super::read::fact(facts, first, rest).map_err(|(message, help)| PolicyFault {
        file: String::new(),
        line: 0,
        column: 0,
        message,
        help,
    })
}

/// Reads a caller as cases name it.
///
/// # Errors
/// If it is none.
pub fn read_caller(text: &str) -> Result<super::Caller, PolicyFault> {
    super::lines::caller(text).map_err(|(message, help)| PolicyFault {
        file: String::new(),
        line: 0,
        column: 0,
        message: first_line(&message),
        help,
    })
}

impl Stage {
    /// Decides a call and tells all that the policy says about its action.
    ///
    /// # Errors
    /// If it is not said which service is called.
    pub fn explain(&self, case: &Case) -> Result<Explanation, PolicyFault> {
        let outcome = self.decide(case)?;
        let name = outcome.action.clone().unwrap_or_default();
        let service = case.service.as_deref().or_else(|| self.only_service());
        let Some(service) = service.and_then(|service| self.table.service(service)) else {
            return Ok(Explanation { outcome, considered: Vec::new() });
        };
        let resource = outcome.resource.clone().unwrap_or_default();
        let considered = self.gathered(case, |call, context, now| {
            let action = service.action(&name);
            let facts = Facts {
                principal: call.principal(),
                method: Some(call.method()),
                path: Some(call.path()),
                context,
                service: service.name(),
                action: &name,
                resource: &resource,
                criticality: action.map_or(Criticality::Standard, |action| action.criticality),
                template: action.map(|action| &action.templates.path),
                now,
                table: &self.table,
            };
            considered(service, &facts)
        })?;
        Ok(Explanation { outcome, considered: considered.unwrap_or_default() })
    }
}

fn considered(service: &Service, facts: &Facts<'_>) -> Vec<Considered> {
    let action = facts.action;
    let principal = facts.principal;
    let mut all = Vec::new();
    let matched = service.action(action).is_some();
    let about = |actions: &crate::engine::ActionSet| match matched {
        true => actions.has(action),
        // A call of no action is denied by what is about all of them.
        false => *actions == crate::engine::ActionSet::All,
    };
    for denial in service.denials().iter().filter(|denial| about(&denial.actions)) {
        let for_caller =
            (denial.subjects.is_empty() || names(&denial.subjects, principal)) && !denial.excepts(principal);
        let part = part("deny rule", (&denial.name, &denial.subjects), for_caller, &denial.condition, facts);
        all.push(Considered { except: texts(&denial.except), ..part });
    }
    if !matched {
        return all;
    }
    for binding in service.bindings().iter().filter(|binding| about(&binding.actions)) {
        let for_caller = names(&binding.subjects, principal);
        all.push(part("binding", (&binding.name, &binding.subjects), for_caller, &binding.condition, facts));
    }
    for rule in service.rules().iter().filter(|rule| rule.actions.iter().any(|covered| **covered == *action)) {
        let part = part("rule", (&rule.name, &rule.eligible), rule.is_eligible(principal), &rule.condition, facts);
        all.push(Considered { reviewers: reviewers(rule), automatic: automatic(rule, facts), ..part });
    }
    // A role of several permissions is several bindings, of which each says the same.
    all.dedup();
    all
}

fn names(subjects: &[Subject], principal: &Principal<'_>) -> bool {
    subjects.iter().any(|subject| subject.names(principal))
}

fn texts(subjects: &[Subject]) -> Vec<String> {
    subjects.iter().map(ToString::to_string).collect()
}

fn part(
    kind: &'static str,
    (name, subjects): (&str, &[Subject]),
    for_caller: bool,
    condition: &Condition,
    facts: &Facts<'_>,
) -> Considered {
    // Each on its own, so that one that is costly does not hide the others.
    let verdict = condition.verdict(facts, &mut Fuel::per_call());
    let (condition, verdict) = match condition {
        Condition::Always => (None, None),
        Condition::When(form) => (Some(form.source().to_owned()), Some(said(verdict))),
        Condition::Unsupported => (Some("of a kind that is not known here".to_owned()), Some(said(verdict))),
    };
    let (name, subjects) = (name.to_owned(), texts(subjects));
    Considered {
        kind: kind.into(),
        name,
        subjects,
        except: Vec::new(),
        for_caller,
        condition,
        verdict,
        reviewers: Vec::new(),
        automatic: Vec::new(),
    }
}

/// What a rule would decide by itself, each with what comes of its condition.
fn automatic(rule: &Rule, facts: &Facts<'_>) -> Vec<ConsideredAutomatic> {
    let rules = &rule.workflow.automatic;
    let verdicts = engine::verdicts(rules, facts, said_of(rules, facts.table));
    let decides = engine::decides(rules, &verdicts).map(|one| &one.name);
    let considered = |(one, verdict): (&engine::Automatic, &Verdict)| {
        let when = match &one.when {
            Condition::When(form) => Some(form.source().to_owned()),
            Condition::Always | Condition::Unsupported => None,
        };
        let (name, then) = (one.name.to_string(), one.then.as_str().to_owned());
        ConsideredAutomatic { name, then, when, verdict: said(*verdict), decides: decides == Some(&one.name) }
    };
    rules.iter().zip(&verdicts).map(considered).collect()
}

/// The signals that are set, of those that these name.
fn said_of(rules: &[engine::Automatic], table: &Table) -> Table {
    let mut said = Table::default();
    let named = rules.iter().filter_map(|one| one.when.needs()).flat_map(|needs| &needs.signals);
    named.filter_map(|name| table.signal(name)).for_each(|signal| said.put_signal(signal.clone()));
    said
}

fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Holds => "holds".to_owned(),
        Verdict::Fails => "fails".to_owned(),
        Verdict::Unsure => "unsure".to_owned(),
        Verdict::Errs(error) => error.code().to_owned(),
    }
}
