//! What a grant was used for, and from that what would have been enough: a narrower one to ask for next time.

use std::collections::BTreeMap;

use grantmesh_shared::engine::Action;
use grantmesh_shared::id::{DecisionId, UseId};
use grantmesh_shared::time::{Span, Timestamp};

use super::grant::{Grant, GrantState};
use super::usage::UseCount;

/// So many different paths are told.
const MOST_PATHS: usize = 50;

/// Lengths of time are proposed in steps of this.
const STEP: Span = Span::from_secs(300);

/// What became of a call under a grant, as its filter recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallWord {
    /// It was let through.
    LetThrough,
    /// It was reset while it ran, or its response was withheld.
    Ended,
    /// It was let through on paper, and refused before it went on.
    Refused,
}

impl CallWord {
    /// The word as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LetThrough => "let_through",
            Self::Ended => "ended",
            Self::Refused => "refused",
        }
    }
}

/// A call under a grant, or several alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCall {
    /// The log's entry that tells of it.
    pub seq: u64,
    /// When it was decided, by the filter's bound of the control plane's time.
    pub at: Timestamp,
    /// How many calls these are, which were decided alike within a short time and share a record.
    pub count: u64,
    /// When the last of them was decided.
    pub until: Timestamp,
    /// The decision.
    pub decision: DecisionId,
    /// The decision that it ended or replaced.
    pub about: Option<DecisionId>,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// What became of it.
    pub word: CallWord,
    /// Which use of the grant it was.
    pub use_id: Option<UseId>,
}

/// A path that was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathUsed {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// How often.
    pub calls: u64,
}

/// The paths that a grant was approved for: those of its action that touch its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedPaths {
    /// The action's method.
    pub method: String,
    /// The action's path template.
    pub path: String,
    /// How many there are; nothing if a parameter of the template is not in the resource, and so may be anything.
    pub possible: Option<u64>,
}

impl From<&Action> for ApprovedPaths {
    fn from(action: &Action) -> Self {
        Self {
            method: action.method.to_string(),
            path: action.templates.path.as_str().to_owned(),
            possible: action.templates.is_one_path().then_some(1),
        }
    }
}

/// What would have been enough. What is left out could not have been less, or it cannot be told. A grant is for one resource,
/// than which there is none narrower.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrower {
    /// For so long.
    pub duration: Option<Span>,
    /// For so many calls.
    pub uses: Option<u32>,
}

/// What a grant was used for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerSummary {
    /// Whether it was never used.
    pub is_unused: bool,
    /// How many calls were let through, of those that were looked at.
    pub calls: u64,
    /// The first and the last of them.
    pub between: Option<(Timestamp, Timestamp)>,
    /// The paths, most called first.
    pub paths: Vec<PathUsed>,
    /// How many different paths there were.
    pub distinct_paths: u64,
    /// What would have been enough; nothing while the grant is in force, and where all of it was used.
    pub narrower: Option<Narrower>,
}

impl LedgerSummary {
    /// What these calls, all that there were, or the newest of very many, say of the grant.
    #[must_use]
    pub fn of(grant: &Grant, calls: &[LedgerCall], all_are_there: bool) -> Self {
        let through = || calls.iter().filter(|call| call.word == CallWord::LetThrough);
        let mut paths: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for call in through() {
            let count = paths.entry((&call.method, &call.path)).or_default();
            *count = count.saturating_add(call.count);
        }
        let distinct = paths.len();
        let mut paths: Vec<_> = paths.into_iter().collect();
        paths.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
        let used = |((method, path), calls): ((&str, &str), u64)| PathUsed {
            method: method.to_owned(),
            path: path.to_owned(),
            calls,
        };
        let (first, last) = (through().map(|call| call.at).min(), through().map(|call| call.until).max());
        let between = first.zip(last);
        let claimed = grant.uses.map_or(0, |uses| uses.claimed);
        let is_unused = through().next().is_none() && claimed == 0;
        let ended = !matches!(grant.state, GrantState::Scheduled | GrantState::Active);
        Self {
            is_unused,
            calls: through().fold(0, |sum, call| sum.saturating_add(call.count)),
            between,
            paths: paths.into_iter().take(MOST_PATHS).map(used).collect(),
            distinct_paths: u64::try_from(distinct).unwrap_or(u64::MAX),
            // What was given at once is asked for under no rule.
            narrower: (ended && all_are_there && !is_unused && !grant.break_glass)
                .then(|| narrower(grant, between))
                .flatten(),
        }
    }
}

fn narrower(grant: &Grant, between: Option<(Timestamp, Timestamp)>) -> Option<Narrower> {
    let granted = grant.expires_at.since(grant.starts_at);
    // From its begin to the last call, rounded up: a call at its very end would need the whole step.
    let needed = between.map(|(_, last)| last.since(grant.starts_at).millis());
    let steps = |millis: u64| millis.checked_div(STEP.millis()).unwrap_or(0).saturating_add(1);
    let duration = needed.map(|millis| Span::from_millis(steps(millis).saturating_mul(STEP.millis())));
    let uses = grant.uses.filter(|UseCount { allowed, claimed }| claimed < allowed).map(|uses| uses.claimed.max(1));
    let found = Narrower { duration: duration.filter(|duration| *duration < granted), uses };
    (found != Narrower::default()).then_some(found)
}
