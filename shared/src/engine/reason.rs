//! Why a call was not allowed, including what nearly allowed it.

use super::canonical::Ambiguity;
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
    /// A role's or grant's condition cannot be evaluated by this build.
    #[error("the condition of `{by}` is of a kind this filter does not know")]
    ConditionUnsupported {
        /// The binding or grant.
        by: String,
    },
    /// A grant has ended.
    #[error("{id} ended at {at}")]
    GrantEnded {
        /// The grant.
        id: GrantId,
        /// When.
        at: Timestamp,
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
            Self::ConditionUnsupported { .. } => "condition_unsupported",
            Self::GrantEnded { .. } => "grant_ended",
            Self::GrantNotStarted { .. } => "grant_not_started",
            Self::GrantOtherResource { .. } => "grant_other_resource",
            Self::GrantOtherHolder { .. } => "grant_other_holder",
            Self::NotEligible { .. } => "not_eligible",
            Self::MayAsk { .. } => "may_ask",
        }
    }
}
