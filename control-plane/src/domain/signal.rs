//! Signals: facts that the policy declares and people set for a while, `incident.open`. Filters receive them like grants.
//! Setting again replaces: the latest word counts, for longer or for shorter.

use grantmesh_shared::engine::{self, Subject, User};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::table::{Body, SignalItem};

use super::actor::Actor;
use super::text::{Text, TextError};

/// The shortest time a signal is set for.
const SHORTEST: Span = Span::from_secs(1);

/// What the policy says of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalDeclaration {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Who may set and clear it, besides operators.
    pub setters: Vec<Subject>,
    /// The longest time it may be set for at once.
    pub max_duration: Span,
}

/// Why a signal is not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalRefused {
    /// Not a reason.
    #[error(transparent)]
    Reason(TextError),
    /// Longer than the policy lets it be set for.
    #[error(
        "`{asked}` is more than the signal `{name}` may be set for\nset it for at most `{max}`, and again when that ends"
    )]
    OverMaximum {
        /// The duration.
        asked: Span,
        /// The declaration's maximum.
        max: Span,
        /// The signal.
        name: String,
    },
    /// Under a second.
    #[error("`{0}` is shorter than a second\nset it for at least `1s`")]
    TooShort(Span),
}

/// A signal that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: Text,
    /// Who set it last.
    pub set_by: User,
    /// When.
    pub set_at: Timestamp,
    /// First moment at which it no longer holds.
    pub expires_at: Timestamp,
    /// The revision of its last change: what filters must have applied to know of it.
    pub revision: u64,
}

/// Why a signal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalEnd {
    /// Someone cleared it.
    Cleared(User, Option<Text>),
    /// Its time ended.
    Expired,
    /// The policy no longer declares it.
    Undeclared(User),
}

impl SignalDeclaration {
    /// Whether the policy lets the actor set and clear it. An empty list means nobody but operators.
    #[must_use]
    pub fn may_be_set_by(&self, actor: &Actor) -> bool {
        actor.is_among(&self.setters)
    }

    /// The signal as it is from now on.
    ///
    /// # Errors
    /// If the reason is none, or the duration is not what the policy takes.
    pub fn set(
        &self,
        actor: &Actor,
        reason: &str,
        duration: Span,
        now: Timestamp,
        revision: u64,
    ) -> Result<Signal, SignalRefused> {
        let reason = Text::new(reason, "reason").map_err(SignalRefused::Reason)?;
        if duration > self.max_duration {
            let (max, name) = (self.max_duration, self.name.clone());
            return Err(SignalRefused::OverMaximum { asked: duration, max, name });
        }
        if duration < SHORTEST {
            return Err(SignalRefused::TooShort(duration));
        }
        let (set_by, expires_at) = (actor.user.clone(), now.plus(duration));
        Ok(Signal { name: self.name.clone(), reason, set_by, set_at: now, expires_at, revision })
    }
}

impl Signal {
    /// Whether its time is over: filters know that by themselves.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// What conditions go by.
    #[must_use]
    pub fn of_engine(&self) -> engine::Signal {
        engine::Signal { name: self.name.as_str().into(), expires_at: self.expires_at }
    }

    /// What filters receive.
    #[must_use]
    pub fn body(&self) -> Body {
        Body::Signal(SignalItem {
            name: self.name.clone(),
            reason: self.reason.as_str().to_owned(),
            expires_at: self.expires_at,
        })
    }
}
