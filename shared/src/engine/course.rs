//! What the policy says about the course of requests and grants over time, and who may act now and answer later.
//! No decision about a call depends on it: the workflow of the control plane goes by it.

use super::principal::{Principal, Subject};
use crate::time::Span;

/// What a rule says about the time before, between and after reviews.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Course {
    /// How far ahead a grant may be asked to start; as far as any may if nothing is said.
    pub starts_within: Option<Span>,
    /// How far a grant may be extended.
    pub extension: Extension,
    /// What happens to a request that nobody decides.
    pub timeouts: Timeouts,
    /// How often one person may ask.
    pub limits: AskLimits,
    /// Whom a request is brought to first.
    pub routing: Routing,
}

/// How far a grant may be extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extension {
    /// The longest that a grant lasts in all; as long as one may be asked for if nothing is said.
    pub max_total: Option<Span>,
    /// Up to which length in all its holder extends it without a review; every extension is reviewed if nothing is said.
    pub without_review: Option<Span>,
}

/// What happens to a request that nobody decides. Whatever it is, time alone never approves one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// After how long its reviewers are reminded.
    pub remind_after: Option<Span>,
    /// After how long others review it, too.
    pub escalate_after: Option<Span>,
    /// Who those are.
    pub escalate_to: Vec<Subject>,
}

/// Whom a request is brought to first, of all who may review it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// So many people at most.
    pub suggest: u32,
    /// The signal by which reviewers are said to be on call.
    pub on_call: Option<Box<str>>,
}

impl Routing {
    /// So many people are suggested if nothing is said.
    pub const SUGGESTED: u32 = 3;

    /// The most that are.
    pub const MOST_SUGGESTED: u32 = 10;
}

impl Default for Routing {
    fn default() -> Self {
        Self { suggest: Self::SUGGESTED, on_call: None }
    }
}

/// How often one person may ask under a rule; as often as they like where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskLimits {
    /// How many requests of theirs may be pending at once.
    pub pending: Option<u32>,
    /// How many they may file within an hour.
    pub per_hour: Option<u32>,
    /// How long after a denial they may not ask for the same again.
    pub cool_down: Option<Span>,
}

/// Who may act now and answer later: a right of its own, which no rule and no role gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// Its name.
    pub name: Box<str>,
    /// The actions it is for.
    pub actions: Vec<Box<str>>,
    /// Who has it. An empty list means nobody.
    pub subjects: Vec<Subject>,
    /// The longest grant.
    pub max_duration: Span,
    /// Who reviews afterwards what was done.
    pub reviewers: Vec<Subject>,
    /// Within what time that is due.
    pub review_within: Span,
    /// For how long beforehand a token may be signed that filters honour while the control plane is not heard; none is if
    /// nothing is said.
    pub offline: Option<Span>,
}

impl BreakGlass {
    /// Whether the principal has the right.
    #[must_use]
    pub fn is_for(&self, principal: &Principal<'_>) -> bool {
        self.subjects.iter().any(|subject| subject.names(principal))
    }
}
