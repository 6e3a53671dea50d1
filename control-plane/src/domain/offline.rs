//! Offline break-glass: a token that is signed beforehand, and what its use comes to. While filters do not hear from the
//! control plane they honour it; once its use is told, it is broken glass like any other, with its grant and post-review.

use grantmesh_shared::engine::{BreakGlass, User};
use grantmesh_shared::id::{GrantId, PolicyId, PostReviewId, RequestId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::offline::OfflineToken;
use grantmesh_shared::wire::records::DecisionEvent;
use grantmesh_shared::wire::table::UserItem;

use super::actor::Actor;
use super::break_glass::{Deed, GlassBroken};
use super::text::{Text, TextError};

/// The shortest time that a token is good for.
const SHORTEST: Span = Span::from_secs(60);

/// What a person sends to have a token signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOffline {
    /// For which service.
    pub service: String,
    /// By which right; the first that lets tokens be signed if nothing is said.
    pub right: Option<String>,
    /// Why it is needed.
    pub reason: String,
    /// For how long it is good; as long as the right lets it be if nothing is said.
    pub duration: Option<Span>,
}

/// Why no token is signed, although the actor has the right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfflineRefused {
    /// A reason that is none.
    #[error(transparent)]
    Reason(TextError),
    /// Longer than the right lets a token be good for.
    #[error("`{asked}` is more than tokens of the break-glass right `{right}` are good for\nask for at most `{max}`")]
    OverMaximum {
        /// The duration.
        asked: Span,
        /// The right's maximum.
        max: Span,
        /// The right.
        right: String,
    },
    /// Under a minute.
    #[error("`{0}` is shorter than a minute\nask for at least `1m`")]
    TooShort(Span),
    /// With its actions it would be longer than a header may be.
    #[error(
        "a token with the actions of the break-glass right `{right}` is longer than filters look at\nhave a right with fewer actions, or shorter names, for it"
    )]
    TooLong {
        /// The right.
        right: String,
    },
    /// So many of the actor's are good already.
    #[error("{0} tokens of yours are good already\nuse one of them, or wait until one has ended")]
    TooMany(u64),
}

/// A token that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offline {
    /// The grant that its use comes to.
    pub grant: GrantId,
    /// Whose it is, and their groups when it was signed.
    pub holder: Actor,
    /// The service.
    pub service: String,
    /// The right.
    pub right: String,
    /// Its actions, when it was signed.
    pub actions: Vec<String>,
    /// Why it is needed.
    pub reason: Text,
    /// The policy by which it was signed.
    pub policy: PolicyId,
    /// How long the right's grants are.
    pub max_duration: Span,
    /// Within what time the review of its use is due.
    pub review_within: Span,
    /// When it was signed, and from when on it is good.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When the control plane was told that it was used.
    pub used_at: Option<Timestamp>,
}

impl Offline {
    /// A token by a right that lets tokens be signed for at most `max`.
    ///
    /// # Errors
    /// If what is asked for is not what the right gives.
    pub fn new(
        actor: &Actor,
        (service, right, max): (&str, &BreakGlass, Span),
        new: &NewOffline,
        (grant, policy): (GrantId, PolicyId),
        now: Timestamp,
    ) -> Result<Self, OfflineRefused> {
        let reason = Text::new(&new.reason, "reason").map_err(OfflineRefused::Reason)?;
        let duration = new.duration.unwrap_or(max);
        if duration > max {
            return Err(OfflineRefused::OverMaximum { asked: duration, max, right: right.name.to_string() });
        }
        if duration < SHORTEST {
            return Err(OfflineRefused::TooShort(duration));
        }
        Ok(Self {
            grant,
            holder: actor.clone(),
            service: service.to_owned(),
            right: right.name.to_string(),
            actions: right.actions.iter().map(ToString::to_string).collect(),
            reason,
            policy,
            max_duration: right.max_duration,
            review_within: right.review_within,
            issued_at: now,
            expires_at: now.plus(duration),
            used_at: None,
        })
    }

    /// What is signed.
    #[must_use]
    pub fn token(&self) -> OfflineToken {
        OfflineToken {
            v: PROTOCOL_VERSION,
            grant: self.grant.clone(),
            user: UserItem::from(&self.holder.user),
            service: self.service.clone(),
            right: self.right.clone(),
            actions: self.actions.clone(),
            starts_at: self.issued_at,
            expires_at: self.expires_at,
        }
    }

    /// Whether a call that a filter tells of is one that it allows.
    #[must_use]
    pub fn is_for(&self, call: &DecisionEvent<'_>) -> bool {
        let User { issuer, subject } = &self.holder.user;
        let is_holder = call.issuer.as_deref() == Some(&**issuer) && call.subject.as_deref() == Some(&**subject);
        let action = call.action.as_deref();
        is_holder && *call.service == *self.service && self.actions.iter().any(|known| action == Some(known.as_str()))
    }

    /// What its first use comes to. The grant goes on as the right's grants do, so that nobody is left in the middle of
    /// something when the control plane is back, and never beyond the token; not at all if the right is no longer the
    /// holder's.
    #[must_use]
    pub fn used(
        &self,
        (action, resource): (&str, &str),
        is_still_theirs: bool,
        (request, post_review): (RequestId, PostReviewId),
        (now, revision): (Timestamp, u64),
    ) -> GlassBroken {
        let left = self.expires_at.since(now).min(self.max_duration);
        let left = if is_still_theirs { left } else { Span::default() }.max(Span::from_millis(1));
        let deed = Deed {
            actor: &self.holder,
            what: (&self.service, action, resource),
            right: &self.right,
            reason: self.reason.clone(),
            duration: left,
            review_within: self.review_within,
            policy: self.policy.clone(),
        };
        deed.told((request, self.grant.clone(), post_review), (now, revision))
    }
}
