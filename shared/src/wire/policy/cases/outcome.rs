//! What became of a call, in words that cases, people and programs compare.

use serde::{Deserialize, Serialize};

use super::Expected;
use crate::engine::{Basis, ConditionError, Decision, Matched, Permit, Reason, Refusal};
use crate::wire::records::DecisionWord;

/// The word of a decision; a call that can be read in two ways has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Let through.
    Allow,
    /// Refused; may be asked for.
    Ask,
    /// Refused.
    Deny,
    /// Refused before it is looked at.
    Ambiguous,
}

impl From<DecisionWord> for Word {
    fn from(word: DecisionWord) -> Self {
        match word {
            DecisionWord::Allow => Self::Allow,
            DecisionWord::Ask => Self::Ask,
            DecisionWord::Deny => Self::Deny,
        }
    }
}

impl Word {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
            Self::Ambiguous => "ambiguous",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Allow, Self::Ask, Self::Deny, Self::Ambiguous].into_iter().find(|word| word.as_str() == text)
    }
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Its stable code.
    pub code: String,
    /// The binding, rule, deny rule, grant or lock that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// For people.
    pub text: String,
}

impl From<&Reason> for Told {
    fn from(reason: &Reason) -> Self {
        let by = match reason {
            Reason::DenyRule { rule, .. } | Reason::MayAsk { rule } => Some(rule.clone()),
            Reason::ConditionFails { by } | Reason::ConditionUnsure { by } | Reason::ConditionErrs { by, .. } => {
                Some(by.clone())
            }
            Reason::Locked { id, .. } => Some(id.to_string()),
            Reason::GrantEnded { id, .. }
            | Reason::GrantNotStarted { id, .. }
            | Reason::GrantOtherResource { id, .. }
            | Reason::GrantOtherCall { id }
            | Reason::GrantExhausted { id }
            | Reason::ClaimRefused { id }
            | Reason::GrantUnbound { id, .. }
            | Reason::GrantOtherHolder { id } => Some(id.to_string()),
            _ => None,
        };
        Self { code: reason.code().to_owned(), by, text: reason.to_string() }
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The decision.
    pub decision: Word,
    /// The action, where the call matched one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What the call touches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What allowed it: `role BINDING`, `grant ID` or `unmatched`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// Every reason of a refusal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Told>,
    /// The rules under which the caller may ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Response fields that the caller does not see, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// Conditions that could not be judged, as `NAME: CODE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Facts that were stated and that deciding this call does not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

impl Outcome {
    /// A call that can be read in two ways.
    pub(super) fn ambiguous(code: &str, text: String) -> Self {
        let reasons = vec![Told { code: code.to_owned(), by: None, text }];
        Self { decision: Word::Ambiguous, reasons, ..Self::empty() }
    }

    const fn empty() -> Self {
        Self {
            decision: Word::Deny,
            action: None,
            resource: None,
            basis: None,
            reasons: Vec::new(),
            rules: Vec::new(),
            masked: Vec::new(),
            errors: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// The decision as a case writes it: `deny: no_role not_eligible`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}: {}", self.decision.as_str(), self.because().join(" "));
        if !self.masked.is_empty() {
            text.push_str(" masked ");
            text.push_str(&self.masked.join(" "));
        }
        text
    }

    fn because(&self) -> Vec<&str> {
        match &self.basis {
            Some(basis) => basis.split(' ').collect(),
            None => self.reasons.iter().map(|told| told.code.as_str()).collect(),
        }
    }

    /// Whether it is what a case expects. A reason is expected by its code, or as `CODE:NAME` with what it is about.
    #[must_use]
    pub fn fits(&self, expected: &Expected) -> bool {
        if self.decision != expected.decision {
            return false;
        }
        if expected.because.is_empty() {
            return true;
        }
        if self.basis.is_some() {
            return self.because() == expected.because && self.masked == expected.masked;
        }
        let is = |told: &Told, word: &String| {
            told.code == *word || told.by.as_ref().is_some_and(|by| format!("{}:{by}", told.code) == *word)
        };
        self.reasons.len() == expected.because.len()
            && self.reasons.iter().zip(&expected.because).all(|(told, word)| is(told, word))
    }
}

fn errors(errors: &[ConditionError<'_>]) -> Vec<String> {
    errors.iter().map(|error| format!("{}: {}", error.by, error.error.code())).collect()
}

fn place(matched: Option<&Matched<'_>>) -> (Option<String>, Option<String>) {
    (matched.map(|matched| matched.action.name.to_string()), matched.map(|matched| matched.resource.clone()))
}

impl From<&Permit<'_>> for Outcome {
    fn from(permit: &Permit<'_>) -> Self {
        let (action, resource) = place(permit.matched());
        let basis = match permit.basis() {
            Basis::Role(binding) => format!("role {}", binding.name),
            Basis::Grant(grant) => format!("grant {}", grant.id()),
            Basis::Unmatched => "unmatched".to_owned(),
        };
        let mut masked: Vec<String> = permit.masked().iter().map(|field| field.name.to_string()).collect();
        masked.sort_unstable();
        let (basis, errors) = (Some(basis), errors(permit.errors()));
        Self { decision: Word::Allow, action, resource, basis, masked, errors, ..Self::empty() }
    }
}

fn refused(decision: Word, refusal: &Refusal<'_>) -> Outcome {
    let (action, resource) = place(refusal.matched.as_ref());
    let reasons = refusal.reasons.iter().map(Told::from).collect();
    let rules = refusal.rules.iter().map(|rule| rule.name.to_string()).collect();
    Outcome { decision, action, resource, reasons, rules, errors: errors(&refusal.errors), ..Outcome::empty() }
}

impl From<&Decision<'_>> for Outcome {
    fn from(decision: &Decision<'_>) -> Self {
        match decision {
            Decision::Allow(permit) => permit.into(),
            Decision::Ask(refusal) => refused(Word::Ask, refusal),
            Decision::Deny(refusal) => refused(Word::Deny, refusal),
        }
    }
}
