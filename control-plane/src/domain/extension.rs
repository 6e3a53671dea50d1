//! More time for a grant that is in force: the same grant, with a later end. Never longer in all than its rule lets one be.

use grantmesh_shared::time::{Span, Timestamp};

use super::actor::Actor;
use super::grant::{AlreadyEnded, Grant, GrantState};
use super::kind::AskKind;
use super::request::{Ask, AskRefused, AskTarget, NewRequest};
use super::review::RulesAtReview;
use super::rulebook::Asked;
use grantmesh_shared::id::PolicyId;

/// The shortest extension.
const SHORTEST: Span = Span::from_secs(1);

/// How long a grant may last in all, by the stricter of its rule when it was asked for and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionCap {
    /// In all.
    pub total: Span,
    /// In all without a review.
    pub without_review: Span,
}

/// Why a grant is not extended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtendRefused {
    /// It is not in force.
    #[error(transparent)]
    NotActive(#[from] AlreadyEnded),
    /// It has not begun.
    #[error("the grant has not started\nextend it when it has, or have another one approved")]
    NotStarted,
    /// It was given without an approval.
    #[error("a grant that was given at once cannot be extended\nask for a grant by its rule, or break the glass again")]
    BreakGlass,
    /// Its rule is gone.
    #[error("the policy no longer has the rule `{rule}` for this\nfile a request under another one")]
    NoRule {
        /// The rule.
        rule: String,
    },
    /// The rule binds other parts of a call than the grant is bound to.
    #[error("the rule `{rule}` now binds other parts of a call than this grant has\nfile a new request")]
    OtherBinding {
        /// The rule.
        rule: String,
    },
    /// Longer in all than the rule lets one be.
    #[error(
        "a grant under the rule `{rule}` lasts `{total}` in all, and `{asked}` more is over that\nask for at most `{left}`"
    )]
    OverMaximum {
        /// How much more was asked for.
        asked: Span,
        /// In all.
        total: Span,
        /// What is left of it.
        left: Span,
        /// The rule.
        rule: String,
    },
    /// Under a second.
    #[error("`{0}` is shorter than a second\nask for at least `1s`")]
    TooShort(Span),
}

impl ExtensionCap {
    /// The cap by these rules; nothing if there is no rule any more.
    #[must_use]
    pub fn of(rules: RulesAtReview<'_>) -> Option<Self> {
        rules.now?;
        let both = || [rules.then, rules.now].into_iter().flatten();
        let total = both().map(|rule| rule.workflow.course.extension.max_total.unwrap_or(rule.workflow.max_duration));
        let free = both().map(|rule| rule.workflow.course.extension.without_review.unwrap_or_default());
        let total = total.min().unwrap_or_default();
        Some(Self { total, without_review: free.min().unwrap_or_default().min(total) })
    }
}

impl Grant {
    /// How much longer it may last.
    fn left(&self, total: Span) -> Span {
        self.starts_at.plus(total).since(self.expires_at)
    }

    /// Whether it may be extended by that much; gives whether that needs a review.
    ///
    /// # Errors
    /// If it is not in force, or would last too long.
    pub fn may_extend(&self, by: Span, cap: ExtensionCap, now: Timestamp) -> Result<bool, ExtendRefused> {
        if self.break_glass {
            return Err(ExtendRefused::BreakGlass);
        }
        match &self.state {
            GrantState::Scheduled => return Err(ExtendRefused::NotStarted),
            GrantState::Active if !self.is_over(now) => {}
            GrantState::Active => return Err(AlreadyEnded { state: super::GrantStateWord::Expired }.into()),
            ended => return Err(AlreadyEnded { state: ended.word() }.into()),
        }
        if by < SHORTEST {
            return Err(ExtendRefused::TooShort(by));
        }
        let left = self.left(cap.total);
        if by > left {
            let (total, rule) = (cap.total, self.rule.clone());
            return Err(ExtendRefused::OverMaximum { asked: by, total, left, rule });
        }
        Ok(by > self.left(cap.without_review))
    }

    /// The grant with a later end: at most `by` later, and never over the cap. There is no moment without it.
    ///
    /// # Errors
    /// If it is not in force, or lasts as long as it may already.
    pub fn extend(
        self,
        by: Span,
        rules: RulesAtReview<'_>,
        now: Timestamp,
        revision: u64,
    ) -> Result<Self, ExtendRefused> {
        let Some((rule, cap)) = rules.now.zip(ExtensionCap::of(rules)) else {
            return Err(ExtendRefused::NoRule { rule: self.rule });
        };
        // What was approved, as far as the rule still lets it be.
        let by = match self.left(cap.total) {
            left if left >= SHORTEST => by.min(left),
            _ => by,
        };
        self.may_extend(by, cap, now)?;
        let mut terms = self.terms;
        terms.narrow(rule);
        Ok(Self { expires_at: self.expires_at.plus(by), terms, revision, ..self })
    }
}

impl Ask {
    /// The ask for more time, reviewed by the same rule as the grant was. It cannot wait longer than the grant lasts.
    ///
    /// # Errors
    /// If the ask is not what the rule takes.
    pub fn extension(
        actor: &Actor,
        asked: Asked<'_>,
        (grant, first): (&Grant, &Self),
        (by, justification): (Span, &str),
        policy: PolicyId,
        now: Timestamp,
    ) -> Result<Self, AskRefused> {
        let new = NewRequest {
            target: AskTarget::Action {
                service: grant.service.clone(),
                action: grant.action.clone(),
                resource: grant.resource.clone(),
            },
            justification: justification.to_owned(),
            ticket: first.ticket.as_ref().map(ToString::to_string),
            duration: Some(by),
            uses: None,
            rule: Some(grant.rule.clone()),
            call: first.shown.as_ref().map(|shown| shown.call.clone()),
            starts_at: None,
        };
        let ask = Self::new(actor, asked, &new, policy, now)?;
        let times_out_at = ask.times_out_at.min(grant.expires_at);
        Ok(Self { kind: AskKind::Extension(grant.id.clone()), uses: None, times_out_at, ..ask })
    }
}
