//! Reviews: who may give one, and when a request is decided by them.

use std::fmt;

use grantmesh_shared::engine::{Rule, Subject, User};
use grantmesh_shared::id::{GrantId, ReviewId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::condition::ConditionItem;
use grantmesh_shared::wire::signature::Sha256Hash;

use super::actor::Actor;
use super::delegation::{Delegation, OnBehalfOf};
use super::grant::{Grant, Terms};
use super::person::PeopleAtReview;
use super::quorum::{self, Electorate, Quorum, Standing};
use super::request::{AlreadyDecided, Request, RequestState, Shown};
use super::text::{Text, TextError, shortened};
use super::usage::UseCount;
use super::wording::fit;

/// What a reviewer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No; one is enough unless the rule asks for more.
    Deny,
}

impl Verdict {
    /// The word as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Approve, Self::Deny].into_iter().find(|known| known.as_str() == word)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a reviewer sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReview {
    /// Yes or no.
    pub verdict: Verdict,
    /// Why; needed for a no.
    pub reason: Option<String>,
    /// A shorter duration than was asked for.
    pub duration: Option<Span>,
    /// Fewer calls than were asked for.
    pub uses: Option<u32>,
    /// Fewer revealed fields than the rule reveals; all of them if nothing is said.
    pub reveals: Option<Vec<String>>,
    /// The digest of the request that the reviewer saw.
    pub digest: Sha256Hash,
    /// In whose place, by the subject of their tokens. Whoever names nobody uses their own right, or the only one that they
    /// have by a delegation.
    pub on_behalf_of: Option<String>,
}

/// A review that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Its id.
    pub id: ReviewId,
    /// Who gave it.
    pub reviewer: User,
    /// The reviewer's groups then: whether they still may review is checked with them when the request is decided.
    pub reviewer_groups: Vec<String>,
    /// In whose place, if not by their own right: then that one's groups are what is checked.
    pub on_behalf_of: Option<OnBehalfOf>,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why.
    pub reason: Option<Text>,
    /// The shorter duration.
    pub duration: Option<Span>,
    /// The fewer calls.
    pub uses: Option<u32>,
    /// The fewer revealed fields.
    pub reveals: Option<Vec<String>>,
    /// When.
    pub at: Timestamp,
}

impl Review {
    /// Whose right it was, as they were then: the reviewer, or whoever delegated it to them.
    pub(super) fn voice(&self) -> Actor {
        let reviewer = || Actor::new(&self.reviewer.issuer, &self.reviewer.subject, self.reviewer_groups.clone());
        self.on_behalf_of.as_ref().map_or_else(reviewer, OnBehalfOf::actor)
    }

    /// Who has voted by it: whoever gave it, and in whose place.
    pub(crate) fn voters(&self) -> impl Iterator<Item = &User> + Clone {
        std::iter::once(&self.reviewer).chain(self.on_behalf_of.as_ref().map(|of| &of.user))
    }
}

/// The rule of a request under the policy it was filed under and under the policy of today; nothing where it is gone.
#[derive(Debug, Clone, Copy)]
pub struct RulesAtReview<'r> {
    /// At request.
    pub then: Option<&'r Rule>,
    /// At review.
    pub now: Option<&'r Rule>,
    /// Who is who.
    pub people: PeopleAtReview<'r>,
    /// Whether those review, too, to whom the rule escalates.
    pub escalated: bool,
    /// Delegations to and from the person who reviews that were in force at some time since the request was filed; needed
    /// only when a review is given.
    pub delegations: &'r [Delegation],
}

impl RulesAtReview<'_> {
    /// Who reviews under a rule besides its reviewers.
    pub(super) fn backups<'b>(&self, rule: &'b Rule) -> &'b [Subject] {
        if self.escalated { &rule.workflow.course.timeouts.escalate_to } else { &[] }
    }

    /// Whether the requester may still ask. The condition on asking was judged when they did, with their token at hand;
    /// one that was written since then cannot be judged any more, and what cannot be judged does not allow.
    pub(super) fn still_let_ask(&self, requester: &Actor) -> bool {
        let Some(now) = self.now else { return false };
        let eligible = requester.as_principal(|principal| now.is_eligible(principal));
        let bound_alike = now.bind.is_none() || self.then.is_some_and(|then| then.bind == now.bind);
        let judged = now.condition.is_always() || self.then.is_some_and(|then| then.condition == now.condition);
        eligible && judged && bound_alike
    }

    /// What the grant holds beyond action and resource: the stricter of both rules in every part.
    fn terms(&self, shown: Option<&Shown>, reviews: &[Review]) -> Terms {
        let both = || [self.then, self.now].into_iter().flatten();
        let mut conditions: Vec<ConditionItem> = Vec::new();
        for condition in both().filter_map(|rule| ConditionItem::of(&rule.grant_condition)) {
            if !conditions.contains(&condition) {
                conditions.push(condition);
            }
        }
        let reveals = self.now.into_iter().flat_map(|rule| &rule.reveals);
        let reveals = reveals.filter(|name| both().all(|rule| rule.reveals.contains(name)));
        let narrowed = || reviews.iter().filter_map(|review| review.reveals.as_ref());
        let reveals = reveals.filter(|name| narrowed().all(|fewer| fewer.iter().any(|kept| **kept == ***name)));
        Terms {
            conditions,
            reveals: reveals.map(ToString::to_string).collect(),
            bound: shown.map(|shown| Box::new(shown.bound.clone())),
        }
    }

    fn approvals(&self, stated: u32) -> u32 {
        [self.then, self.now]
            .into_iter()
            .flatten()
            .map(|rule| rule.workflow.deciding.approvals())
            .fold(stated.max(1), u32::max)
    }
}

/// Why a review is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewRefused {
    /// The reviewer is the requester.
    #[error("nobody reviews their own request\nask another reviewer of the rule")]
    SelfApproval,
    /// The reviewer is no person.
    #[error("this is the account of a machine, and machines may ask, never decide\nhave a person review it")]
    Machine,
    /// The requester could have made them a reviewer.
    #[error(
        "you review the rule `{rule}` only as a member of {groups}, and the requester can say who is in it\nask a reviewer who is one otherwise"
    )]
    OnlyByRequester {
        /// The rule.
        rule: String,
        /// The groups.
        groups: String,
    },
    /// Not among the rule's reviewers, then and now.
    #[error("you are not a reviewer of the rule `{rule}`, at the time of the request and now")]
    NotAReviewer {
        /// The rule.
        rule: String,
    },
    /// No delegation of this one's lets them review it now.
    #[error(
        "`{0}` has no delegation in force that lets you review this request\nsee `grantmesh delegations`, or ask them for one"
    )]
    NoDelegation(String),
    /// The delegator may not review it.
    #[error(
        "`{delegator}`, in whose place you would review, does not review the rule `{rule}` for this requester, at the time of the request and now\nask another reviewer of the rule"
    )]
    DelegatorNoReviewer {
        /// The delegator.
        delegator: String,
        /// The rule.
        rule: String,
    },
    /// More than one delegator's right would do.
    #[error("you could review this in the place of {0}\nsay of whom, with `--on-behalf-of` or `on_behalf_of`")]
    SeveralDelegations(String),
    /// Requester and delegate have delegated to each other.
    #[error(
        "since this request was filed, one of its requester and you could review in the other's place\nask another reviewer of the rule"
    )]
    TiedToRequester,
    /// The stage that is open needs nobody like them, or nobody like them any more.
    #[error(
        "the stage `{stage}` is open, and it needs somebody else's approval\ngive yours when a stage that needs it is open; a denial counts in every stage"
    )]
    StageNeedsOthers {
        /// The stage.
        stage: String,
    },
    /// The request is decided, or its time is over.
    #[error(transparent)]
    AlreadyDecided(#[from] AlreadyDecided),
    /// A second review by one person.
    #[error("you have already reviewed this request\none person has one vote")]
    AlreadyReviewed,
    /// A second review for one person, by whomever.
    #[error(
        "this request has the vote of `{0}` already, given by themselves or in their place\none person has one vote"
    )]
    DelegatorVoted(String),
    /// The reviewer saw something else than this request.
    #[error("the request's digest is `{is}`, not `{stated}`\nlook at the request again before you decide")]
    DigestDiffers {
        /// The request's.
        is: Sha256Hash,
        /// The review's.
        stated: Sha256Hash,
    },
    /// A reason that is none.
    #[error(transparent)]
    Reason(#[from] TextError),
    /// A longer duration than was asked for.
    #[error(
        "`{stated}` is not between 1s and the `{asked}` that were asked for\nreviewers may narrow a request, never widen it"
    )]
    DurationWidened {
        /// The review's.
        stated: Span,
        /// The request's.
        asked: Span,
    },
    /// A number of calls for a request that asks for none: whether they can be counted was not judged.
    #[error("the request asks for no number of calls\nhave one filed that does")]
    UsesNotAsked,
    /// More calls than were asked for, or none.
    #[error(
        "a grant for {stated} calls is not narrower than what was asked for\nreviewers may narrow a request to 1 to {most} calls, never widen it"
    )]
    UsesWidened {
        /// The review's.
        stated: u32,
        /// The most.
        most: u32,
    },
    /// A field that the grant would not reveal anyway.
    #[error(
        "a grant under the rule `{rule}` reveals no field `{field}`\nreviewers may leave out revealed fields, never add any"
    )]
    RevealsWidened {
        /// The field.
        field: String,
        /// The rule.
        rule: String,
    },
    /// The justification or ticket is not what the rule wants by now.
    #[error("the policy now wants more of a request: {0}\ndeny it, and have a new one filed")]
    WordsFallShort(String),
    /// The rule was given a shorter time for reviews since, and it is over.
    #[error(
        "the policy now lets a request under this rule wait for `{timeout}`, and this one has waited longer\ndeny it, and have a new one filed"
    )]
    WaitedTooLong {
        /// How long a request may wait.
        timeout: Span,
    },
    /// The policy no longer lets the requester ask.
    #[error("the policy no longer lets the requester ask for this\ndeny the request, or have the policy changed first")]
    RequesterNotEligible,
}

/// What a review led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The request with the review, in its new state.
    pub request: Request,
    /// The review.
    pub review: Review,
    /// The grant, if this review was the deciding approval.
    pub grant: Option<Grant>,
}

impl Request {
    /// Takes a review by `actor`. `ids` are for the review and for the grant that may come of it, `revision` is the grant's.
    ///
    /// # Errors
    /// If the review does not count; the request is then as it was.
    pub fn review(
        self,
        actor: &Actor,
        new: &NewReview,
        rules: RulesAtReview<'_>,
        ids: (ReviewId, GrantId),
        now: Timestamp,
        revision: u64,
    ) -> Result<Outcome, ReviewRefused> {
        let electorate = Electorate::of(rules, &self.ask);
        let delegation = electorate.right_of(actor, new.on_behalf_of.as_deref(), now)?;
        let mut request = self.open_at(now)?;
        let review = request.checked((actor, delegation), new, rules, ids.0, now)?;
        if review.verdict == Verdict::Deny {
            request.reviews.push(review.clone());
            if Quorum::of(&electorate, &request.reviews).denies() {
                request.state = RequestState::Denied { at: now };
            }
            return Ok(Outcome { request, review, grant: None });
        }
        if !rules.still_let_ask(&request.ask.actor()) {
            return Err(ReviewRefused::RequesterNotEligible);
        }
        if let Some(now) = rules.now {
            let (justification, ticket) = (&request.ask.justification, request.ask.ticket.as_ref());
            fit((&now.name, &now.workflow.deciding), justification, ticket).map_err(|refused| {
                let told = refused.to_string();
                ReviewRefused::WordsFallShort(told.lines().next().unwrap_or_default().to_owned())
            })?;
        }
        let waits = rules.now.map(|rule| rule.workflow.request_timeout);
        if let Some(timeout) = waits.filter(|timeout| now >= request.ask.created_at.plus(*timeout)) {
            return Err(ReviewRefused::WaitedTooLong { timeout });
        }
        let so_far = Quorum::of(&electorate, &request.reviews);
        if let Some(stage) = so_far.open().filter(|_| !so_far.needs(&electorate, &review.voice())) {
            return Err(ReviewRefused::StageNeedsOthers { stage: stage.name.to_string() });
        }
        request.reviews.push(review.clone());
        request.approvals_needed = rules.approvals(request.approvals_needed);
        if !Quorum::of(&electorate, &request.reviews).approves(request.approvals_needed) {
            return Ok(Outcome { request, review, grant: None });
        }
        let grant = request.grant(rules, ids.1, now, revision);
        request.state = RequestState::Approved { at: now, grant: grant.id.clone() };
        Ok(Outcome { request, review, grant: Some(grant) })
    }

    fn checked(
        &self,
        (actor, delegation): (&Actor, Option<&Delegation>),
        new: &NewReview,
        rules: RulesAtReview<'_>,
        id: ReviewId,
        now: Timestamp,
    ) -> Result<Review, ReviewRefused> {
        let mut voters = self.reviews.iter().flat_map(Review::voters);
        if voters.clone().any(|voter| rules.people.same(voter, &actor.user)) {
            return Err(ReviewRefused::AlreadyReviewed);
        }
        if let Some(Delegation { delegator, .. }) = delegation
            && voters.any(|voter| rules.people.same(voter, delegator))
        {
            return Err(ReviewRefused::DelegatorVoted(delegator.subject.to_string()));
        }
        let is = self.ask.digest();
        if new.digest != is {
            return Err(ReviewRefused::DigestDiffers { is, stated: new.digest });
        }
        let asked = self.ask.duration;
        if let Some(stated) = new.duration.filter(|stated| *stated > asked || *stated < Span::from_secs(1)) {
            return Err(ReviewRefused::DurationWidened { stated, asked });
        }
        match (new.uses, self.ask.uses) {
            (Some(_), None) => return Err(ReviewRefused::UsesNotAsked),
            (Some(stated), Some(most)) if stated == 0 || stated > most => {
                return Err(ReviewRefused::UsesWidened { stated, most });
            }
            _ => {}
        }
        let revealed = |field: &String| {
            [rules.then, rules.now].into_iter().flatten().all(|rule| rule.reveals.iter().any(|name| **name == **field))
        };
        if let Some(field) = new.reveals.iter().flatten().find(|field| !revealed(field)) {
            let field = shortened(field, 64);
            return Err(ReviewRefused::RevealsWidened { field, rule: self.ask.rule.clone() });
        }
        let reason = match new.verdict {
            Verdict::Approve => Text::optional(new.reason.as_deref(), "reason")?,
            Verdict::Deny => Some(Text::new(new.reason.as_deref().unwrap_or_default(), "reason")?),
        };
        Ok(Review {
            id,
            reviewer: actor.user.clone(),
            reviewer_groups: actor.groups.clone(),
            on_behalf_of: delegation.map(OnBehalfOf::from),
            verdict: new.verdict,
            reason,
            duration: new.duration,
            uses: new.uses,
            reveals: new.reveals.clone(),
            at: now,
        })
    }

    /// How far it has come, stage by stage.
    #[must_use]
    pub fn standing(&self, rules: RulesAtReview<'_>) -> Standing {
        quorum::standing(rules, &self.ask, &self.reviews, self.state == RequestState::Pending)
    }

    /// The grant that comes of it: no longer and for no more than both rules and every review say.
    pub(super) fn grant(&self, rules: RulesAtReview<'_>, id: GrantId, now: Timestamp, revision: u64) -> Grant {
        let narrowed = self.reviews.iter().filter_map(|review| review.duration);
        let allowed = [rules.then, rules.now].into_iter().flatten().map(|rule| rule.workflow.max_duration);
        let duration = narrowed.chain(allowed).fold(self.ask.duration, Span::min);
        let narrowed = self.reviews.iter().filter_map(|review| review.uses);
        let allowed = [rules.then, rules.now].into_iter().flatten().filter_map(|rule| rule.workflow.max_uses);
        let uses = narrowed.chain(allowed).chain(self.ask.uses).min();
        let (starts_at, state) = self.ask.starting(now);
        Grant {
            id,
            request: self.id.clone(),
            holder: self.ask.requester.clone(),
            service: self.ask.service.clone(),
            action: self.ask.action.clone(),
            resource: self.ask.resource.clone(),
            rule: self.ask.rule.clone(),
            starts_at,
            expires_at: starts_at.plus(duration),
            terms: rules.terms(self.ask.shown.as_ref(), &self.reviews),
            uses: uses.map(|allowed| UseCount { allowed, claimed: 0 }),
            break_glass: false,
            revision,
            state,
        }
    }
}
