//! Grants that start later than they were approved. Whoever lost the right to ask meanwhile never starts.
//!
//! ```text
//! scheduled ─► active          at its time, by the policy in force then; its length counts from here
//!          └─► revoked         the policy no longer lets the holder ask, or somebody ended it
//!          └─► expired         nobody could start it before its time was over
//!          └─► released        its holder gave it back
//! ```

use grantmesh_shared::engine::Rule;
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::condition::ConditionItem;

use super::automatic::Automatic;
use super::grant::{AlreadyEnded, Grant, GrantState, Terms};
use super::request::{Ask, Request};
use super::review::RulesAtReview;
use super::text::Text;
use super::usage::UseCount;

/// The furthest ahead that any grant starts.
pub const MOST_AHEAD: Span = Span::from_secs(30 * 24 * 3_600);

/// Grants that are shorter give no warning before they end.
const SHORTEST_WARNED: Span = Span::from_secs(300);

/// The longest time before its end at which the holder of a grant is warned.
const WARNED_BEFORE: Span = Span::from_secs(900);

/// A start that cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartRefused {
    /// It is over.
    #[error("a grant cannot start at `{0}`, which is over\nleave the start out to have it from its approval on")]
    Past(Timestamp),
    /// Too far ahead.
    #[error(
        "a grant under the rule `{rule}` starts within `{within}`, and `{asked}` is later\nask for an earlier start, or later"
    )]
    TooFar {
        /// The start.
        asked: Timestamp,
        /// How far ahead it may be.
        within: Span,
        /// The rule.
        rule: String,
    },
}

/// The start that is asked for, checked.
pub(super) fn start(rule: &Rule, asked: Option<Timestamp>, now: Timestamp) -> Result<Option<Timestamp>, StartRefused> {
    let Some(asked) = asked else { return Ok(None) };
    let within = rule.workflow.course.starts_within.unwrap_or(MOST_AHEAD).min(MOST_AHEAD);
    if asked <= now {
        return Err(StartRefused::Past(asked));
    }
    if asked > now.plus(within) {
        return Err(StartRefused::TooFar { asked, within, rule: rule.name.to_string() });
    }
    Ok(Some(asked))
}

/// When the holder of a grant is told that it is about to end, if it is long enough for that.
#[must_use]
pub fn warn_at(starts_at: Timestamp, expires_at: Timestamp) -> Option<Timestamp> {
    let length = expires_at.since(starts_at);
    let before = Span::from_millis(length.millis() / 5).min(WARNED_BEFORE);
    (length >= SHORTEST_WARNED).then(|| expires_at.minus(before))
}

impl Ask {
    /// From when on a grant that is approved now allows, and whether it does already.
    pub(super) fn starting(&self, now: Timestamp) -> (Timestamp, GrantState) {
        match self.starts_at {
            Some(later) if later > now => (later, GrantState::Scheduled),
            _ => (now, GrantState::Active),
        }
    }
}

impl Terms {
    /// What is left of them under a rule that may have become stricter.
    pub(super) fn narrow(&mut self, rule: &Rule) {
        let condition = ConditionItem::of(&rule.grant_condition);
        self.conditions.extend(condition.filter(|condition| !self.conditions.contains(condition)));
        self.reveals.retain(|name| rule.reveals.iter().any(|revealed| **revealed == *name));
    }
}

impl Grant {
    /// Whether it is scheduled for a time that has come.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.state == GrantState::Scheduled && now >= self.starts_at
    }

    /// Starts a scheduled grant, or ends it where it must not start. What the policy takes away meanwhile, it does not get;
    /// its length counts from now. `today` is what its rule would decide by itself now.
    ///
    /// # Errors
    /// If it is not scheduled.
    pub fn start(
        self,
        request: &Request,
        rules: RulesAtReview<'_>,
        today: Option<&Automatic>,
        (now, revision): (Timestamp, u64),
    ) -> Result<Self, AlreadyEnded> {
        if self.state != GrantState::Scheduled {
            return Err(AlreadyEnded { state: self.state.word() });
        }
        if now >= self.expires_at {
            return Ok(Self { state: GrantState::Expired { at: now }, revision, ..self });
        }
        let Some(rule) = rules.now.filter(|_| rules.still_let_ask(&request.ask.actor())) else {
            return Ok(self.kept_from_starting("the policy no longer lets the holder ask for this", now, revision));
        };
        // Nobody has looked at it: what approved it must do so at its start, too.
        let by_itself = request.automatic.as_ref().is_some_and(Automatic::approves);
        if by_itself && !today.is_some_and(Automatic::approves) {
            return Ok(self.kept_from_starting("its rule no longer approves this by itself", now, revision));
        }
        let length = self.expires_at.since(self.starts_at).min(rule.workflow.max_duration);
        let mut terms = self.terms;
        terms.narrow(rule);
        let uses = self.uses.map(|UseCount { allowed, claimed }| {
            let allowed = rule.workflow.max_uses.map_or(allowed, |most| allowed.min(most));
            UseCount { allowed, claimed }
        });
        Ok(Self {
            starts_at: now,
            expires_at: now.plus(length),
            terms,
            uses,
            state: GrantState::Active,
            revision,
            ..self
        })
    }

    fn kept_from_starting(self, why: &'static str, at: Timestamp, revision: u64) -> Self {
        Self { state: GrantState::Revoked { at, by: None, reason: Text::of_ours(why) }, revision, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_in_time_and_not_for_what_is_short() {
        let at = |secs: i64| Timestamp::from_millis(secs * 1_000);
        for (length, warned) in [(299, None), (300, Some(240)), (900, Some(720)), (7_200, Some(6_300))] {
            assert_eq!(warn_at(at(0), at(length)), warned.map(at), "{length}");
        }
    }
}
