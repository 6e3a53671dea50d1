//! Why a call was not allowed, including what nearly allowed it.

use super::canonical::Ambiguity;
use super::condition::EvalError;
use crate::id::{GrantId, LockId};
use crate::time::Timestamp;

/// One reason. Its text is shown to the caller; its code is stable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The call can be read in two ways.
    #[error("the call is ambiguous: {0}")]
    Ambiguous(#[from] Ambiguity),
    /// No such service in the table.
    #[error("the service `{0}` is not known here")]
    UnknownService(String),
    /// The call matches no action.
    #[error("the service `{service}` has no action for this method and path")]
    Unmatched {
        /// The service.
        service: String,
    },
    /// Nobody is known to call.
    #[error("nobody is authenticated")]
    NoPrincipal,
    /// A lock is in force.
    #[error("locked by {id}: {text}")]
    Locked {
        /// The lock.
        id: LockId,
        /// Its reason.
        text: String,
    },
    /// No role gives the action.
    #[error("no role gives you `{action}`")]
    NoRole {
        /// The action.
        action: String,
    },
    /// The actions of this method and path are told apart by the body, which was not read.
    #[error("what is called depends on the body, which was not read")]
    BodyNotRead,
    /// The actions of this method and path are told apart by the body, which does not say which one it is.
    #[error("what is called depends on the text at `{pointer}` of the body, and there is no plain text there")]
    AmbiguousBody {
        /// The JSON pointer.
        pointer: String,
    },
    /// A deny rule.
    #[error("deny rule `{rule}`: {text}")]
    DenyRule {
        /// The rule.
        rule: String,
        /// Its reason.
        text: String,
    },
    /// A condition that does not hold.
    #[error("the condition of `{by}` does not hold")]
    ConditionFails {
        /// The binding, rule, deny rule or grant.
        by: String,
    },
    /// A condition that holds at one end of what is known of the time and not at the other.
    #[error("the time is not known exactly enough for the condition of `{by}`")]
    ConditionUnsure {
        /// The binding, rule, deny rule or grant.
        by: String,
    },
    /// A condition that could not be judged.
    #[error("the condition of `{by}` cannot be judged: {error}")]
    ConditionErrs {
        /// The binding, rule, deny rule or grant.
        by: String,
        /// Why.
        error: EvalError,
    },
    /// A grant has ended.
    #[error("{id} ended at {at}")]
    GrantEnded {
        /// The grant.
        id: GrantId,
        /// When.
        at: Timestamp,
    },
    /// A grant was for a number of uses, and all have been.
    #[error("all uses of {id} have been claimed")]
    GrantExhausted {
        /// The grant.
        id: GrantId,
    },
    /// A grant is for a number of uses, and the control plane gave none for this call.
    #[error("the control plane gave no use of {id}: none is left, or it has ended")]
    ClaimRefused {
        /// The grant.
        id: GrantId,
    },
    /// A grant has not begun.
    #[error("{id} begins at {at}")]
    GrantNotStarted {
        /// The grant.
        id: GrantId,
        /// When.
        at: Timestamp,
    },
    /// A grant is for another resource.
    #[error("{id} is for `{granted}`, not for `{called}`")]
    GrantOtherResource {
        /// The grant.
        id: GrantId,
        /// What it is for.
        granted: String,
        /// What was called.
        called: String,
    },
    /// A grant is bound to another call.
    #[error("{id} is bound to another call: something that was approved with it differs")]
    GrantOtherCall {
        /// The grant.
        id: GrantId,
    },
    /// A grant is bound to something that the call does not have.
    #[error("{id}: {text}")]
    GrantUnbound {
        /// The grant.
        id: GrantId,
        /// What it is.
        text: String,
    },
    /// A grant needs another workload, or a user beside the workload.
    #[error("{id} is held through another workload or user")]
    GrantOtherHolder {
        /// The grant.
        id: GrantId,
    },
    /// The principal may not ask either.
    #[error("no rule lets you ask for `{action}`")]
    NotEligible {
        /// The action.
        action: String,
    },
    /// It may be asked for.
    #[error("rule `{rule}` lets you ask for it")]
    MayAsk {
        /// The rule.
        rule: String,
    },
}

impl Reason {
    /// A short stable word for records, metrics and tests.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ambiguous(ambiguity) => ambiguity.code(),
            Self::UnknownService(_) => "unknown_service",
            Self::Unmatched { .. } => "unmatched",
            Self::NoPrincipal => "no_principal",
            Self::Locked { .. } => "locked",
            Self::NoRole { .. } => "no_role",
            Self::BodyNotRead => "body_not_read",
            Self::AmbiguousBody { .. } => "ambiguous_body",
            Self::DenyRule { .. } => "deny_rule",
            Self::ConditionFails { .. } => "condition_fails",
            Self::ConditionUnsure { .. } => "condition_unsure",
            Self::ConditionErrs { .. } => "condition_errs",
            Self::GrantEnded { .. } => "grant_ended",
            Self::GrantExhausted { .. } => "grant_exhausted",
            Self::ClaimRefused { .. } => "claim_refused",
            Self::GrantNotStarted { .. } => "grant_not_started",
            Self::GrantOtherResource { .. } => "grant_other_resource",
            Self::GrantOtherCall { .. } => "grant_other_call",
            Self::GrantUnbound { .. } => "grant_unbound",
            Self::GrantOtherHolder { .. } => "grant_other_holder",
            Self::NotEligible { .. } => "not_eligible",
            Self::MayAsk { .. } => "may_ask",
        }
    }
}
