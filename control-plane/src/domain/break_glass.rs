//! Break-glass: act now, answer later. A short grant at once, to whom the policy gives that right, and a review of what was
//! done by somebody else.
//!
//! ```text
//! Post-review: open ─► accepted | disputed       overdue is computed, and never changes what it is
//! ```

use std::fmt;

use grantmesh_shared::engine::{BreakGlass, User};
use grantmesh_shared::id::{GrantId, PolicyId, PostReviewId, RequestId};
use grantmesh_shared::time::{Span, Timestamp};

use super::actor::Actor;
use super::delegation::{Delegation, Lent, NoRight, OnBehalfOf};
use super::grant::{Grant, GrantState, Terms};
use super::kind::{AskKind, Timers, Waited};
use super::person::PeopleAtReview;
use super::request::{Ask, AskTarget, Request, RequestState, checked_resource};
use super::text::{Text, TextError};

/// The shortest grant.
const SHORTEST: Span = Span::from_secs(1);

/// What a person sends to break the glass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBreakGlass {
    /// What for.
    pub target: AskTarget,
    /// Why; there is no doing without one.
    pub reason: String,
    /// For how long; as long as the right lets it be if nothing is said.
    pub duration: Option<Span>,
    /// By which right; the first that fits if nothing is said.
    pub right: Option<String>,
}

/// A right that fits, with what it is used for.
#[derive(Debug, Clone)]
pub struct Broken<'b> {
    /// The service.
    pub service: &'b str,
    /// The action's name.
    pub action: &'b str,
    /// The resource.
    pub resource: String,
    /// The right.
    pub right: &'b BreakGlass,
}

/// Why the glass is not broken, although the actor has the right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BreakGlassRefused {
    /// A reason that is none.
    #[error(transparent)]
    Reason(TextError),
    /// A resource that does not show as what it is, or that is too long.
    #[error("{0}")]
    Resource(String),
    /// Longer than the right lets a grant be.
    #[error("`{asked}` is more than the break-glass right `{right}` gives\nask for at most `{max}`")]
    OverMaximum {
        /// The duration.
        asked: Span,
        /// The right's maximum.
        max: Span,
        /// The right.
        right: String,
    },
    /// Under a second.
    #[error("`{0}` is shorter than a second\nask for at least `1s`")]
    TooShort(Span),
}

/// What breaking the glass leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlassBroken {
    /// The request that stands for it.
    pub request: Request,
    /// The grant.
    pub grant: Grant,
    /// The review that is open.
    pub post_review: PostReview,
}

/// Whether a post-review is open, or what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostReviewState {
    /// Nobody has said yet.
    Open,
    /// It was right to do.
    Accepted {
        /// When.
        at: Timestamp,
        /// By whom.
        by: User,
        /// In whose place, if not by their own right.
        on_behalf_of: Option<OnBehalfOf>,
        /// What they say.
        reason: Option<Text>,
    },
    /// It was not.
    Disputed {
        /// When.
        at: Timestamp,
        /// By whom.
        by: User,
        /// In whose place, if not by their own right.
        on_behalf_of: Option<OnBehalfOf>,
        /// Why not.
        reason: Text,
    },
}

/// The word of a [`PostReviewState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PostReviewWord {
    /// Nobody has said yet.
    Open,
    /// It was right to do.
    Accepted,
    /// It was not.
    Disputed,
}

impl PostReviewWord {
    /// Every word.
    pub const ALL: [Self; 3] = [Self::Open, Self::Accepted, Self::Disputed];

    /// The word as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Disputed => "disputed",
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

impl fmt::Display for PostReviewWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PostReviewState {
    /// Its word.
    #[must_use]
    pub const fn word(&self) -> PostReviewWord {
        match self {
            Self::Open => PostReviewWord::Open,
            Self::Accepted { .. } => PostReviewWord::Accepted,
            Self::Disputed { .. } => PostReviewWord::Disputed,
        }
    }

    /// When, by whom and why it was decided.
    #[must_use]
    pub const fn decided(&self) -> Option<(Timestamp, &User, Option<&Text>)> {
        match self {
            Self::Open => None,
            Self::Accepted { at, by, reason, .. } => Some((*at, by, reason.as_ref())),
            Self::Disputed { at, by, reason, .. } => Some((*at, by, Some(reason))),
        }
    }

    /// In whose place it was decided, if in anybody's.
    #[must_use]
    pub const fn on_behalf_of(&self) -> Option<&OnBehalfOf> {
        match self {
            Self::Open => None,
            Self::Accepted { on_behalf_of, .. } | Self::Disputed { on_behalf_of, .. } => on_behalf_of.as_ref(),
        }
    }
}

/// What somebody says of what was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostVerdict {
    /// It was right, with whatever there is to say.
    Accept(Option<String>),
    /// It was not, and why.
    Dispute(String),
}

/// The review of what somebody did without an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostReview {
    /// Its id.
    pub id: PostReviewId,
    /// The grant that was given.
    pub grant: GrantId,
    /// The request that stands for it.
    pub request: RequestId,
    /// Who did it.
    pub holder: User,
    /// The service.
    pub service: String,
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The right.
    pub rule: String,
    /// Why, as they said then.
    pub reason: Text,
    /// The policy version that gave the right.
    pub policy: PolicyId,
    /// When it was done.
    pub opened_at: Timestamp,
    /// From when on it is overdue.
    pub due_at: Timestamp,
    /// What it came to.
    pub state: PostReviewState,
}

/// Why somebody's word on a post-review does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostReviewRefused {
    /// It is their own doing.
    #[error("nobody reviews what they did themselves\nask another reviewer of the break-glass right")]
    Own,
    /// A machine's account.
    #[error("this is the account of a machine, and machines never decide\nuse your own")]
    Machine,
    /// Not among the reviewers.
    #[error(
        "you are not a reviewer of the break-glass right `{right}`, when it was used and now, by anything but a group that whoever used it can edit"
    )]
    NotAReviewer {
        /// The right.
        right: String,
    },
    /// No delegation of the named one's lets them review it.
    #[error(
        "`{0}` has no delegation in force that lets you review what is done by this right\nsee `grantmesh delegations`, or ask them for one"
    )]
    NoDelegation(String),
    /// The delegator may not review it.
    #[error(
        "`{delegator}`, in whose place you would review, does not review what was done by the break-glass right `{right}`, when it was used and now\nask another reviewer of the right"
    )]
    DelegatorNoReviewer {
        /// The delegator.
        delegator: String,
        /// The right.
        right: String,
    },
    /// More than one delegator's right would do.
    #[error("you could review this in the place of {0}\nsay of whom, with `--on-behalf-of` or `on_behalf_of`")]
    SeveralDelegations(String),
    /// The delegate and whoever did it have delegated to each other.
    #[error(
        "since this was done, one of whoever did it and you could review in the other's place\nask another reviewer of the break-glass right"
    )]
    Tied,
    /// Somebody else was first.
    #[error("the post-review is already {0}")]
    Decided(PostReviewWord),
    /// A reason that is none.
    #[error(transparent)]
    Reason(#[from] TextError),
}

/// A right when it was used and now; nothing where it is gone.
#[derive(Debug, Clone, Copy)]
pub struct RightAtReview<'r> {
    /// Who used it, with their groups then.
    pub holder: &'r Actor,
    /// When it was used.
    pub then: Option<&'r BreakGlass>,
    /// Now.
    pub now: Option<&'r BreakGlass>,
    /// Who is who.
    pub people: PeopleAtReview<'r>,
    /// Since when nobody who reviews it may have stood in for whoever did it, nor the other way round: since the glass was
    /// broken, or, by a token, since that was signed.
    pub since: Timestamp,
    /// Delegations to and from whoever reviews that were in force at some time since then.
    pub delegations: &'r [Delegation],
}

impl<'r> RightAtReview<'r> {
    /// Whether somebody may review what was done, by their own right.
    fn admits(&self, review: &PostReview, actor: &Actor) -> Result<(), PostReviewRefused> {
        if self.people.same(&actor.user, &review.holder) {
            return Err(PostReviewRefused::Own);
        }
        if self.people.is_machine(&actor.user) {
            return Err(PostReviewRefused::Machine);
        }
        if !self.name_reviewer(actor) {
            return Err(PostReviewRefused::NotAReviewer { right: review.rule.clone() });
        }
        Ok(())
    }

    /// By which right somebody reviews it: nothing if by their own, which is used unless another one is named.
    fn right_of(
        &self,
        review: &PostReview,
        (actor, named): (&Actor, Option<&str>),
        now: Timestamp,
    ) -> Result<Option<&'r Delegation>, PostReviewRefused> {
        let lent = Lent {
            delegations: self.delegations,
            people: self.people,
            of: (&review.service, &review.rule),
            whose: &review.holder,
            since: self.since,
        };
        let never =
            |refused: &PostReviewRefused| matches!(refused, PostReviewRefused::Own | PostReviewRefused::Machine);
        let by = lent.right_of((actor, named), now, |of| self.admits(review, of), never);
        by.map_err(|why| match why {
            NoRight::Refused(refused) | NoRight::NotTheirs(_, refused @ PostReviewRefused::Own) => refused,
            NoRight::Nothing(name) => PostReviewRefused::NoDelegation(name),
            NoRight::NotTheirs(delegator, _) => {
                PostReviewRefused::DelegatorNoReviewer { delegator, right: review.rule.clone() }
            }
            NoRight::Several(names) => PostReviewRefused::SeveralDelegations(names),
            NoRight::Tied => PostReviewRefused::Tied,
        })
    }

    /// Whether someone reviews what is done by it: then and, as long as the right is there, now. A group that the holder can
    /// edit makes nobody a reviewer.
    fn name_reviewer(&self, actor: &Actor) -> bool {
        let both = || [self.then, self.now].into_iter().flatten();
        let edited = self.people.edited_by(self.holder);
        both().next().is_some() && both().all(|right| actor.is_among_besides(&right.reviewers, &edited))
    }
}

impl PostReview {
    /// Whether it should have been decided by now.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state == PostReviewState::Open && now >= self.due_at
    }

    /// Takes somebody's word on it.
    ///
    /// # Errors
    /// If it does not count.
    pub fn decide(
        self,
        (actor, on_behalf_of): (&Actor, Option<&str>),
        verdict: &PostVerdict,
        right: RightAtReview<'_>,
        now: Timestamp,
    ) -> Result<Self, PostReviewRefused> {
        let on_behalf_of = right.right_of(&self, (actor, on_behalf_of), now)?.map(OnBehalfOf::from);
        if self.state != PostReviewState::Open {
            return Err(PostReviewRefused::Decided(self.state.word()));
        }
        let (at, by) = (now, actor.user.clone());
        let state = match verdict {
            PostVerdict::Accept(reason) => {
                let reason = Text::optional(reason.as_deref(), "reason")?;
                PostReviewState::Accepted { at, by, on_behalf_of, reason }
            }
            PostVerdict::Dispute(reason) => {
                PostReviewState::Disputed { at, by, on_behalf_of, reason: Text::new(reason, "reason")? }
            }
        };
        Ok(Self { state, ..self })
    }
}

impl GlassBroken {
    /// Breaks the glass: a request that nobody decides, its grant, and the review that is open from now on.
    ///
    /// # Errors
    /// If the ask is not what the right gives.
    pub fn new(
        actor: &Actor,
        broken: Broken<'_>,
        new: &NewBreakGlass,
        policy: PolicyId,
        (request, grant, post_review): (RequestId, GrantId, PostReviewId),
        (now, revision): (Timestamp, u64),
    ) -> Result<Self, BreakGlassRefused> {
        let Broken { service, action, resource, right } = broken;
        let reason = Text::new(&new.reason, "reason").map_err(BreakGlassRefused::Reason)?;
        let resource = checked_resource(&resource).map_err(|error| BreakGlassRefused::Resource(error.to_string()))?;
        let duration = new.duration.unwrap_or(right.max_duration);
        if duration > right.max_duration {
            let (max, right) = (right.max_duration, right.name.to_string());
            return Err(BreakGlassRefused::OverMaximum { asked: duration, max, right });
        }
        if duration < SHORTEST {
            return Err(BreakGlassRefused::TooShort(duration));
        }
        let deed = Deed {
            actor,
            what: (service, action, resource.as_str()),
            right: &right.name,
            reason,
            duration,
            review_within: right.review_within,
            policy,
        };
        Ok(deed.told((request, grant, post_review), (now, revision)))
    }
}

/// What somebody does without an approval.
pub(super) struct Deed<'d> {
    pub(super) actor: &'d Actor,
    /// Service, action and resource.
    pub(super) what: (&'d str, &'d str, &'d str),
    pub(super) right: &'d str,
    pub(super) reason: Text,
    pub(super) duration: Span,
    pub(super) review_within: Span,
    pub(super) policy: PolicyId,
}

impl Deed<'_> {
    /// The request that stands for it, its grant, and the review that is open from now on.
    pub(super) fn told(
        self,
        (request, grant, post_review): (RequestId, GrantId, PostReviewId),
        (now, revision): (Timestamp, u64),
    ) -> GlassBroken {
        let Self { actor, what: (service, action, resource), right, reason, duration, review_within, policy } = self;
        let ask = Ask {
            requester: actor.user.clone(),
            requester_groups: actor.groups.clone(),
            service: service.to_owned(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            rule: right.to_owned(),
            justification: reason.clone(),
            ticket: None,
            duration,
            uses: None,
            shown: None,
            kind: AskKind::BreakGlass,
            starts_at: None,
            timers: Timers::default(),
            policy: policy.clone(),
            created_at: now,
            times_out_at: now.plus(duration),
        };
        let grant = Grant {
            id: grant,
            request: request.clone(),
            holder: ask.requester.clone(),
            service: ask.service.clone(),
            action: ask.action.clone(),
            resource: ask.resource.clone(),
            rule: ask.rule.clone(),
            starts_at: now,
            expires_at: now.plus(duration),
            terms: Terms::default(),
            uses: None,
            break_glass: true,
            revision,
            state: GrantState::Active,
        };
        let post_review = PostReview {
            id: post_review,
            grant: grant.id.clone(),
            request: request.clone(),
            holder: grant.holder.clone(),
            service: grant.service.clone(),
            action: grant.action.clone(),
            resource: grant.resource.clone(),
            rule: grant.rule.clone(),
            reason,
            policy,
            opened_at: now,
            due_at: now.plus(review_within),
            state: PostReviewState::Open,
        };
        let state = RequestState::Approved { at: now, grant: grant.id.clone() };
        let request = Request {
            id: request,
            ask,
            approvals_needed: 0,
            reviews: Vec::new(),
            waited: Waited::default(),
            automatic: None,
            state,
        };
        GlassBroken { request, grant, post_review }
    }
}
