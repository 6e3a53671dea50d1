//! What the policy says about the actions of a service: who has them by role, who may ask for them, who never may.

use super::bind::Bind;
use super::condition::Condition;
use super::principal::{Principal, Subject};
#[cfg(feature = "policy")]
use super::workflow::Workflow;
use crate::time::Span;

/// Actions of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionSet {
    /// All that there are.
    All,
    /// Those named.
    Named(Vec<Box<str>>),
}

impl ActionSet {
    /// Whether the action is among them.
    #[must_use]
    pub fn has(&self, action: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| **name == *action),
        }
    }
}

/// Standing permission: these subjects have these actions by this role.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The binding's name.
    pub name: Box<str>,
    /// The role's name.
    pub role: Box<str>,
    /// Who has it.
    pub subjects: Vec<Subject>,
    /// The role's actions of this service.
    pub actions: ActionSet,
    /// Masked response fields that the role reveals.
    pub reveals: Vec<Box<str>>,
    /// What the context must be.
    pub condition: Condition,
}

/// What it takes to get a grant for some actions of this service.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The rule's name.
    pub name: Box<str>,
    /// The actions it covers.
    pub actions: Vec<Box<str>>,
    /// Who may ask.
    pub eligible: Vec<Subject>,
    /// How long a refused call may be held in the proxy while people decide; not at all if nothing is said.
    pub hold: Option<Span>,
    /// What the context must be for asking.
    pub condition: Condition,
    /// What the context must be for each call under the grant.
    pub grant_condition: Condition,
    /// What of a call the grant is bound to; nothing beyond action and resource if nothing is said.
    pub bind: Option<Bind>,
    /// Masked response fields that the grant reveals.
    pub reveals: Vec<Box<str>>,
    /// How requests under it are decided. No decision about a call depends on it, and filters are built without it.
    #[cfg(feature = "policy")]
    pub workflow: Box<Workflow>,
}

impl Rule {
    /// Whether the principal is among those who may ask; whether the rule's condition holds is another question.
    #[must_use]
    pub fn is_eligible(&self, principal: &Principal<'_>) -> bool {
        self.eligible.iter().any(|subject| subject.names(principal))
    }
}

/// Who never has some actions, whatever roles and grants say.
#[derive(Debug, Clone)]
pub struct DenyRule {
    /// The rule's name.
    pub name: Box<str>,
    /// The actions it covers.
    pub actions: ActionSet,
    /// Whom it is for; everyone if nobody is named.
    pub subjects: Vec<Subject>,
    /// Whom it is not for.
    pub except: Vec<Subject>,
    /// What the context must be. If that cannot be told, it denies.
    pub condition: Condition,
    /// Why, in words for the refused caller.
    pub reason: Box<str>,
}

impl DenyRule {
    /// Whether the principal is excepted.
    #[must_use]
    pub fn excepts(&self, principal: &Principal<'_>) -> bool {
        self.except.iter().any(|subject| subject.names(principal))
    }
}
