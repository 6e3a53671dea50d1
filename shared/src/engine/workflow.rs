//! What a rule says about requests and grants beyond single calls. Read by the control plane alone: no decision about a call
//! depends on it, so filters are built without it.

use super::automatic::Automatic;
use super::course::Course;
use super::deciding::Deciding;
use crate::time::Span;

/// How requests under a rule are decided, and what grants they lead to. With nothing said nobody ever approves, and a grant
/// has no length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workflow {
    /// What it takes to decide a request.
    pub deciding: Deciding,
    /// What the rule decides by itself when a request is filed.
    pub automatic: Vec<Automatic>,
    /// The longest grant.
    pub max_duration: Span,
    /// The length of a grant when the requester names none.
    pub default_duration: Span,
    /// For how many calls a grant may be; for any number if nothing is said.
    pub max_uses: Option<u32>,
    /// How long a request may wait for its reviews.
    pub request_timeout: Span,
    /// What it says about time.
    pub course: Course,
}
