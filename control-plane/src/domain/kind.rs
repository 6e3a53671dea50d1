//! What kind of ask a request is, and what became of it while it waited.

use grantmesh_shared::engine::Rule;
use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Timestamp;

/// What kind of ask a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskKind {
    /// For a grant, decided by reviews.
    Grant,
    /// For a grant to last longer, decided by reviews.
    Extension(GrantId),
    /// For a grant at once, which is reviewed afterwards.
    BreakGlass,
}

impl AskKind {
    /// Its word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Extension(_) => "extension",
            Self::BreakGlass => "break_glass",
        }
    }

    /// The grant that is to last longer.
    #[must_use]
    pub const fn extended(&self) -> Option<&GrantId> {
        match self {
            Self::Extension(grant) => Some(grant),
            Self::Grant | Self::BreakGlass => None,
        }
    }
}

/// When something happens to a request that nobody decides. Fixed by the policy it was filed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timers {
    /// Its reviewers are reminded.
    pub remind_at: Option<Timestamp>,
    /// Others review it, too.
    pub escalate_at: Option<Timestamp>,
}

impl Timers {
    /// The timers of a request that is filed now.
    #[must_use]
    pub fn of(rule: &Rule, now: Timestamp) -> Self {
        let timeouts = &rule.workflow.course.timeouts;
        Self {
            remind_at: timeouts.remind_after.map(|after| now.plus(after)),
            escalate_at: timeouts.escalate_after.map(|after| now.plus(after)),
        }
    }
}

/// What happened to a request while nobody decided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waited {
    /// When its reviewers were reminded.
    pub reminded_at: Option<Timestamp>,
    /// From when on others review it, too.
    pub escalated_at: Option<Timestamp>,
}
