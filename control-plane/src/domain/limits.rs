//! How often one person may ask: a request that comes too soon, or once more, is not filed, whichever way it comes.

use grantmesh_shared::engine::AskLimits;
use grantmesh_shared::time::{Span, Timestamp};

/// Over what time filings are counted.
pub const COUNTED_OVER: Span = Span::from_secs(3_600);

/// What one person has asked before, by whatever account, as far as it counts for one more ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskHistory {
    /// How many requests of theirs under the rule are pending.
    pub pending: u32,
    /// How many they filed under it in the last hour.
    pub filed: u32,
    /// When the first of those was filed.
    pub first_filed: Option<Timestamp>,
    /// When the same was denied to them last.
    pub denied_at: Option<Timestamp>,
}

impl AskHistory {
    /// Together with what another account of the person's has asked.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let first_filed = [self.first_filed, other.first_filed].into_iter().flatten().min();
        Self {
            pending: self.pending.saturating_add(other.pending),
            filed: self.filed.saturating_add(other.filed),
            first_filed,
            denied_at: self.denied_at.max(other.denied_at),
        }
    }
}

/// Why a request is not filed now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitRefused {
    /// Too many wait.
    #[error(
        "you have {pending} pending requests under the rule `{rule}`, and it lets one person have {most}\nwait for one to be decided, or withdraw one"
    )]
    Pending {
        /// So many.
        pending: u32,
        /// The most.
        most: u32,
        /// The rule.
        rule: String,
    },
    /// Too many within an hour.
    #[error("the rule `{rule}` lets one person ask {most} times an hour\nask again at {again_at}")]
    PerHour {
        /// The most.
        most: u32,
        /// When one more may be filed.
        again_at: Timestamp,
        /// The rule.
        rule: String,
    },
    /// It was denied a short while ago.
    #[error("this was denied to you, and the rule `{rule}` lets nobody ask again at once\nask again at {again_at}")]
    CoolDown {
        /// When it may be asked for again.
        again_at: Timestamp,
        /// The rule.
        rule: String,
    },
}

impl LimitRefused {
    /// When it is worth another try, if time alone makes it so.
    #[must_use]
    pub const fn again_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pending { .. } => None,
            Self::PerHour { again_at, .. } | Self::CoolDown { again_at, .. } => Some(*again_at),
        }
    }
}

impl AskHistory {
    /// Whether one more ask is within the limits of the rule.
    ///
    /// # Errors
    /// If not.
    pub fn allows_one_more(&self, rule: &str, limits: AskLimits, now: Timestamp) -> Result<(), LimitRefused> {
        let rule = || rule.to_owned();
        if let Some((denied_at, cool_down)) = self.denied_at.zip(limits.cool_down) {
            let again_at = denied_at.plus(cool_down);
            if now < again_at {
                return Err(LimitRefused::CoolDown { again_at, rule: rule() });
            }
        }
        if let Some(most) = limits.pending.filter(|most| self.pending >= *most) {
            return Err(LimitRefused::Pending { pending: self.pending, most, rule: rule() });
        }
        if let Some(most) = limits.per_hour.filter(|most| self.filed >= *most) {
            let again_at = self.first_filed.unwrap_or(now).plus(COUNTED_OVER);
            return Err(LimitRefused::PerHour { most, again_at, rule: rule() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_met_at_its_number_and_over_at_its_time() {
        let at = |secs: i64| Timestamp::from_millis(secs * 1_000);
        let minute = Some(Span::from_secs(60));
        let limits = AskLimits { pending: Some(2), per_hour: Some(3), cool_down: minute };
        let judge =
            |history: &AskHistory, now| history.allows_one_more("r", limits, at(now)).map_err(|no| no.again_at());
        let history = AskHistory { pending: 1, filed: 2, first_filed: Some(at(5)), denied_at: Some(at(0)) };
        assert_eq!(judge(&history, 59), Err(Some(at(60))));
        assert_eq!(judge(&history, 60), Ok(()));
        assert_eq!(judge(&AskHistory { pending: 2, ..history }, 60), Err(None));
        assert_eq!(judge(&AskHistory { filed: 3, ..history }, 60), Err(Some(at(3_605))));
        let none = AskHistory { pending: 900, filed: 900, ..history };
        assert_eq!(none.allows_one_more("r", AskLimits::default(), at(0)), Ok(()));
    }
}
