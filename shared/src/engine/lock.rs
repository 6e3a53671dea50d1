//! A lock blocks a principal, a service or an action above every grant and role.

use super::principal::{Principal, Subject};
use crate::id::LockId;
use crate::time::Timestamp;

/// A lock in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its id.
    pub id: LockId,
    /// What it blocks.
    pub target: LockTarget,
    /// Why, in words for the refused caller.
    pub reason: Box<str>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// What a lock blocks: every stated part must fit; a lock with nothing stated blocks everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockTarget {
    /// Only this principal.
    pub subject: Option<Subject>,
    /// Only this service.
    pub service: Option<Box<str>>,
    /// Only this action of the service.
    pub action: Option<Box<str>>,
}

impl Lock {
    /// Whether the lock blocks the call. `earliest` is a time that has certainly passed: a lock ends late, never early.
    #[must_use]
    pub fn blocks(&self, principal: &Principal<'_>, service: &str, action: Option<&str>, earliest: Timestamp) -> bool {
        let target = &self.target;
        self.expires_at.is_none_or(|end| earliest < end)
            && target.subject.as_ref().is_none_or(|subject| subject.names(principal))
            && target.service.as_deref().is_none_or(|locked| locked == service)
            && target.action.as_deref().is_none_or(|locked| action == Some(locked))
    }
}
