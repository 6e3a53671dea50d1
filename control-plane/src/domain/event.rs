//! Events: what people and other programs are told of a change, in the transaction that makes it. What is told is fixed
//! then; when and how often it is told is for the outbox.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::EventId;
use grantmesh_shared::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::{
    Automatic, Delegation, GlassBroken, Grant, GrantState, PostReview, PostReviewState, Request, RequestState, Review,
    StageStanding, Standing,
};
use crate::redact::redact_json;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A request was filed.
    RequestFiled,
    /// The reviewers of a request are reminded of it.
    RequestReminded,
    /// Others review a request, too, because nobody has decided it.
    RequestEscalated,
    /// Somebody has reviewed a request, which waits for others now.
    RequestReviewed,
    /// A request was approved.
    RequestApproved,
    /// A request was denied.
    RequestDenied,
    /// A request was taken back.
    RequestWithdrawn,
    /// Nobody decided a request in time.
    RequestTimedOut,
    /// A grant was made.
    GrantIssued,
    /// A grant that was to start later did.
    GrantStarted,
    /// A grant lasts longer than it was made for.
    GrantExtended,
    /// A grant is about to end by its time.
    GrantEnding,
    /// A grant ended: its time, its uses, or its holder ended it.
    GrantEnded,
    /// A grant was revoked.
    GrantRevoked,
    /// The glass was broken: somebody has a grant without an approval.
    GlassBroken,
    /// Somebody else is to review what was done by it.
    PostReviewOpened,
    /// Nobody has reviewed it in time.
    PostReviewOverdue,
    /// It was right.
    PostReviewAccepted,
    /// It was not.
    PostReviewDisputed,
    /// A reviewer lets somebody else review in their place.
    DelegationGiven,
    /// That was ended before its time.
    DelegationEnded,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::RequestFiled,
        Self::RequestReminded,
        Self::RequestEscalated,
        Self::RequestReviewed,
        Self::RequestApproved,
        Self::RequestDenied,
        Self::RequestWithdrawn,
        Self::RequestTimedOut,
        Self::GrantIssued,
        Self::GrantStarted,
        Self::GrantExtended,
        Self::GrantEnding,
        Self::GrantEnded,
        Self::GrantRevoked,
        Self::GlassBroken,
        Self::PostReviewOpened,
        Self::PostReviewOverdue,
        Self::PostReviewAccepted,
        Self::PostReviewDisputed,
        Self::DelegationGiven,
        Self::DelegationEnded,
    ];

    /// The word, as it is everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestFiled => "request.filed",
            Self::RequestReminded => "request.reminded",
            Self::RequestEscalated => "request.escalated",
            Self::RequestReviewed => "request.reviewed",
            Self::RequestApproved => "request.approved",
            Self::RequestDenied => "request.denied",
            Self::RequestWithdrawn => "request.withdrawn",
            Self::RequestTimedOut => "request.timed_out",
            Self::GrantIssued => "grant.issued",
            Self::GrantStarted => "grant.started",
            Self::GrantExtended => "grant.extended",
            Self::GrantEnding => "grant.ending",
            Self::GrantEnded => "grant.ended",
            Self::GrantRevoked => "grant.revoked",
            Self::GlassBroken => "break_glass.used",
            Self::PostReviewOpened => "post_review.opened",
            Self::PostReviewOverdue => "post_review.overdue",
            Self::PostReviewAccepted => "post_review.accepted",
            Self::PostReviewDisputed => "post_review.disputed",
            Self::DelegationGiven => "delegation.given",
            Self::DelegationEnded => "delegation.ended",
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The id of the request that it is about, or of the delegation. Events of one are told in their order.
    pub about: String,
    /// Whose request, grant or delegation it is.
    pub owner: User,
    /// Whom else it concerns: who was given a delegation.
    pub other: Option<User>,
    /// The service and the name of the rule whose reviewers may see it; nothing if it is none of their business.
    pub rule: Option<(String, String)>,
    /// The request, grant, post-review or delegation as it is by now.
    data: Value,
}

/// An event that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEvent {
    /// Its place among all of them.
    pub place: u64,
    /// Its id, the same for whoever is told.
    pub id: EventId,
    /// What happened, by its word.
    pub kind: String,
    /// What is told: JSON, the same for whoever is told.
    pub body: String,
}

impl Event {
    /// Of a request, as it is after what happened.
    #[must_use]
    pub fn of_request(kind: EventKind, request: &Request) -> Self {
        let ask = &request.ask;
        let data = json!({ "request": {
            "id": request.id,
            "state": RequestState::word(&request.state).as_str(),
            "requester": user(&ask.requester),
            "service": ask.service,
            "action": ask.action,
            "resource": ask.resource,
            "rule": ask.rule,
            "justification": ask.justification,
            "duration": ask.duration,
            "uses": ask.uses,
            "created_at": ask.created_at.to_string(),
            "times_out_at": ask.times_out_at.to_string(),
            "grant": request.state.grant(),
            "automatic": request.automatic.as_ref().map(told_automatic),
            "reviews": request.reviews.iter().map(told_review).collect::<Vec<_>>(),
        }});
        Self {
            kind,
            about: request.id.to_string(),
            owner: ask.requester.clone(),
            other: None,
            rule: Some((ask.service.clone(), ask.rule.clone())),
            data,
        }
    }

    /// The same, for some people before all others who may hear of it.
    #[must_use]
    pub fn to(mut self, people: &[User]) -> Self {
        if let Some(data) = self.data.as_object_mut() {
            data.insert("notify".to_owned(), json!(people.iter().map(user).collect::<Vec<_>>()));
        }
        self
    }

    /// The same, with how far the request has come: stage by stage how many approvals it has and needs, and whose would
    /// bring it on.
    #[must_use]
    pub fn at(mut self, standing: &Standing) -> Self {
        let Standing { stages, at_request, denials_needed: _, awaited } = standing;
        if let Some(data) = self.data.as_object_mut() {
            data.insert("stages".to_owned(), stages.iter().map(told_stage).collect());
            if !at_request.is_empty() {
                data.insert("stages_at_request".to_owned(), at_request.iter().map(told_stage).collect());
            }
            data.insert("awaited".to_owned(), awaited.iter().map(ToString::to_string).collect());
        }
        self
    }

    /// Of a grant, as it is after what happened.
    #[must_use]
    pub fn of_grant(kind: EventKind, grant: &Grant) -> Self {
        Self {
            kind,
            about: grant.request.to_string(),
            owner: grant.holder.clone(),
            other: None,
            rule: Some((grant.service.clone(), grant.rule.clone())),
            data: json!({ "grant": told_grant(grant) }),
        }
    }

    /// Of broken glass: who did it, what they may do now, and why.
    #[must_use]
    pub fn of_broken_glass(GlassBroken { request: _, grant, post_review }: &GlassBroken) -> Self {
        let data = json!({ "grant": told_grant(grant), "post_review": told_post_review(post_review) });
        Self { data, ..Self::of_grant(EventKind::GlassBroken, grant) }
    }

    /// Of a post-review, as it is after what happened.
    #[must_use]
    pub fn of_post_review(kind: EventKind, review: &PostReview) -> Self {
        Self {
            kind,
            about: review.request.to_string(),
            owner: review.holder.clone(),
            other: None,
            rule: Some((review.service.clone(), review.rule.clone())),
            data: json!({ "post_review": told_post_review(review) }),
        }
    }

    /// Of a delegation, as it is after what happened: for both whom it concerns, and nobody who only reviews the same.
    #[must_use]
    pub fn of_delegation(kind: EventKind, delegation: &Delegation) -> Self {
        let Delegation { id, delegator, delegate, service, rule, reason, starts_at, ends_at, ended, .. } = delegation;
        let data = json!({ "delegation": {
            "id": id,
            "delegator": user(delegator),
            "delegate": user(delegate),
            "service": service,
            "rule": rule,
            "reason": reason,
            "starts_at": starts_at.to_string(),
            "ends_at": ends_at.to_string(),
            "ended_at": ended.as_ref().map(|(at, _)| at.to_string()),
            "ended_by": ended.as_ref().map(|(_, by)| user(by)),
        }});
        let (owner, other) = (delegator.clone(), Some(delegate.clone()));
        Self { kind, about: id.to_string(), owner, other, rule: None, data }
    }

    /// What is told, from now on always in these bytes. Secrets that somebody wrote into a text are not.
    #[must_use]
    pub fn body(&self, at: Timestamp) -> String {
        let mut whole = json!({ "type": self.kind.as_str(), "timestamp": at.to_string(), "data": self.data });
        redact_json(&mut whole);
        whole.to_string()
    }
}

fn told_stage(stage: &StageStanding) -> Value {
    let approvals = stage.factors.iter().map(|factor| factor.approvals.len()).fold(0, usize::saturating_add);
    let needed = stage.factors.iter().map(|factor| factor.needed).fold(0, u32::saturating_add);
    json!({ "name": stage.name, "state": stage.word.as_str(), "approvals": approvals, "needed": needed })
}

fn told_review(review: &Review) -> Value {
    json!({
        "id": review.id,
        "reviewer": user(&review.reviewer),
        "on_behalf_of": review.on_behalf_of.as_ref().map(|of| user(&of.user)),
        "verdict": review.verdict.as_str(),
        "at": review.at.to_string(),
    })
}

fn told_automatic(automatic: &Automatic) -> Value {
    json!({
        "name": automatic.name,
        "decision": automatic.word(),
        "approvals": automatic.required(),
        "policy": automatic.policy,
    })
}

fn told_grant(grant: &Grant) -> Value {
    let (by, reason) = match &grant.state {
        GrantState::Revoked { by, reason, .. } => (by.as_ref().map(user), Some(reason)),
        _ => (None, None),
    };
    json!({
        "id": grant.id,
        "state": grant.state.word().as_str(),
        "request": grant.request,
        "holder": user(&grant.holder),
        "service": grant.service,
        "action": grant.action,
        "resource": grant.resource,
        "rule": grant.rule,
        "break_glass": grant.break_glass,
        "starts_at": grant.starts_at.to_string(),
        "expires_at": grant.expires_at.to_string(),
        "ended_at": grant.state.ended_at().map(|at| at.to_string()),
        "ended_by": by,
        "reason": reason,
    })
}

fn told_post_review(review: &PostReview) -> Value {
    let decided = review.state.decided();
    json!({
        "id": review.id,
        "state": PostReviewState::word(&review.state).as_str(),
        "request": review.request,
        "grant": review.grant,
        "holder": user(&review.holder),
        "service": review.service,
        "action": review.action,
        "resource": review.resource,
        "right": review.rule,
        "said": review.reason,
        "opened_at": review.opened_at.to_string(),
        "due_at": review.due_at.to_string(),
        "decided_at": decided.map(|(at, ..)| at.to_string()),
        "decided_by": decided.map(|(_, by, _)| user(by)),
        "on_behalf_of": review.state.on_behalf_of().map(|of| user(&of.user)),
        "reason": decided.and_then(|(.., reason)| reason),
    })
}

fn user(user: &User) -> Value {
    json!({ "issuer": &*user.issuer, "subject": &*user.subject })
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It is to be tried, or tried again.
    Waiting,
    /// The endpoint has taken it.
    Delivered,
    /// It was tried often enough; only a person has it tried again.
    Dead,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Dead];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// How long it is until the next try, by how many there have been.
const DELAYS: [Span; 9] = [
    Span::from_secs(5),
    Span::from_secs(30),
    Span::from_secs(2 * 60),
    Span::from_secs(10 * 60),
    Span::from_secs(30 * 60),
    Span::from_secs(3_600),
    Span::from_secs(2 * 3_600),
    Span::from_secs(4 * 3_600),
    Span::from_secs(8 * 3_600),
];

/// How long to wait after so many failed attempts; nothing if it is enough. `chance` spreads what failed together over a
/// fifth of the time.
#[must_use]
pub fn retry_after(attempts: u32, chance: u8) -> Option<Span> {
    let tried = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let delay = DELAYS.get(tried)?.millis();
    let spread = (delay / 5).saturating_mul(u64::from(chance)) / u64::from(u8::MAX);
    Some(Span::from_millis(delay.saturating_add(spread)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
        for state in DeliveryState::ALL {
            assert_eq!(DeliveryState::parse(state.as_str()), Some(state));
        }
        assert_eq!((EventKind::parse("request"), DeliveryState::parse("lost")), (None, None));
    }

    #[test]
    fn waits_grow_are_spread_and_end() {
        let waits: Vec<Span> = (1..=9).map(|attempts| retry_after(attempts, 0).unwrap()).collect();
        assert!(waits.is_sorted() && waits[0] == Span::from_secs(5));
        assert_eq!(retry_after(1, 255), Some(Span::from_secs(6)));
        assert_eq!((retry_after(0, 0), retry_after(10, 0)), (None, None));
        let all: u64 = waits.iter().map(|wait| wait.millis()).sum();
        assert!(Span::from_millis(all) > Span::from_secs(12 * 3_600), "it is tried for half a day");
    }
}
