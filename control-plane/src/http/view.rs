//! The JSON of the API: what handlers answer and what the command line reads.
//! Made from domain values without `..`, so that a new field cannot be forgotten here unseen.

use grantmesh_shared::engine::User;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::shown::ShownCall;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::description::Shown;
use super::standing::{AutomaticView, PostReviewMark, StageView};
use crate::app::{App, Listed};
use crate::domain::{Grant, GrantState, Request, RequestState, Review, Stream, Use, UseCount};
use crate::push::{Arrival, FilterArrival, FleetRow};

/// A problem document (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProblemView {
    /// `urn:grantmesh:problem:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable word for programs.
    pub code: String,
    /// What was wrong and what to do.
    pub detail: Option<String>,
    /// Every single fault.
    #[serde(default)]
    pub reasons: Vec<ReasonView>,
}

/// One fault within a problem.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// The stable word.
    pub code: String,
    /// The fault in words.
    pub detail: String,
}

/// A user.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self { issuer: user.issuer.to_string(), subject: user.subject.to_string() }
    }
}

/// A point of the state's history.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct PositionView {
    /// Grows when the history was begun anew.
    pub epoch: u64,
    /// Grows with every change.
    pub revision: u64,
}

impl From<grantmesh_shared::wire::sync::Position> for PositionView {
    fn from(position: grantmesh_shared::wire::sync::Position) -> Self {
        Self { epoch: position.epoch, revision: position.revision }
    }
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ListView<T> {
    /// The things, newest first.
    pub items: Vec<T>,
    /// The `cursor` of the next page; nothing on the last one.
    pub next_cursor: Option<String>,
}

impl<T> ListView<T> {
    /// A page of what the use case gave.
    pub fn of<D>(listed: Listed<D>, view: impl FnMut(D) -> T) -> Self {
        Self { items: listed.items.into_iter().map(view).collect(), next_cursor: listed.next }
    }
}

/// A review.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReviewView {
    /// Its id.
    pub id: String,
    /// Who.
    pub reviewer: UserView,
    /// In whose place, if it was given by a delegation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<UserView>,
    /// `approve` or `deny`.
    pub verdict: String,
    /// Why.
    pub reason: Option<String>,
    /// The shorter duration that the reviewer approved.
    pub duration: Option<String>,
    /// The fewer calls that the reviewer approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// The fewer revealed fields that the reviewer approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reveals: Option<Vec<String>>,
    /// When.
    pub at: String,
}

impl From<&Review> for ReviewView {
    fn from(review: &Review) -> Self {
        let Review { id, reviewer, reviewer_groups: _, on_behalf_of, verdict, reason, duration, uses, reveals, at } =
            review;
        Self {
            id: id.to_string(),
            reviewer: reviewer.into(),
            on_behalf_of: on_behalf_of.as_ref().map(|of| (&of.user).into()),
            verdict: verdict.as_str().to_owned(),
            reason: reason.as_ref().map(|reason| reason.as_str().to_owned()),
            duration: duration.as_ref().map(ToString::to_string),
            uses: *uses,
            reveals: reveals.clone(),
            at: at.to_string(),
        }
    }
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RequestView {
    /// Its id.
    pub id: String,
    /// `pending`, `approved`, `denied`, `timed_out` or `withdrawn`.
    pub state: String,
    /// What it is for: `grant`, `extension` or `break_glass`.
    #[serde(default)]
    pub kind: String,
    /// The grant that is to last longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// Who asks.
    pub requester: UserView,
    /// The service.
    pub service: String,
    /// The action.
    pub action: String,
    /// What it touches.
    pub resource: String,
    /// The rule it was filed under.
    pub rule: String,
    /// Why.
    pub justification: String,
    /// The ticket that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// For how long; of an extension, how much longer.
    pub duration: String,
    /// For how many calls, if for a number of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// From when on; from its approval on if nothing was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// How many approvals it takes, in all stages together.
    pub approvals_needed: u32,
    /// So many denials by different people deny; only where one request is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denials_needed: Option<u32>,
    /// The stages of its rule and how far it has come; only where one request is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageView>,
    /// The stages that the rule had when the request was filed, if they were others: those are to be passed, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages_at_request: Vec<StageView>,
    /// Whose approval would bring it on now, as `user:NAME` or `group:NAME`; only where one request is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaited: Vec<String>,
    /// The reviews so far.
    pub reviews: Vec<ReviewView>,
    /// When it was filed.
    pub created_at: String,
    /// From when on it can no longer be approved.
    pub times_out_at: String,
    /// When its reviewers were reminded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminded_at: Option<String>,
    /// From when on those review it, too, to whom its rule escalates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<String>,
    /// What its rule decided about it by itself when it was filed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<AutomaticView>,
    /// Of one that stands for broken glass, how the review of that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_review: Option<PostReviewMark>,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<String>,
    /// The grant that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The policy that was in force.
    pub policy: String,
    /// The hash over everything that a reviewer decides on.
    pub digest: String,
    /// The call that the grant is bound to: its bound parts, as the filter saw them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Shown>)]
    pub call: Option<ShownCall>,
    /// The digest that a call must have to be that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_digest: Option<String>,
}

impl From<&Request> for RequestView {
    fn from(request: &Request) -> Self {
        let Request { id, ask, approvals_needed, reviews, waited, automatic, state } = request;
        Self {
            id: id.to_string(),
            state: RequestState::word(state).to_string(),
            kind: ask.kind.as_str().to_owned(),
            extends: ask.kind.extended().map(ToString::to_string),
            requester: (&ask.requester).into(),
            service: ask.service.clone(),
            action: ask.action.clone(),
            resource: ask.resource.clone(),
            rule: ask.rule.clone(),
            justification: ask.justification.as_str().to_owned(),
            ticket: ask.ticket.as_ref().map(|ticket| ticket.as_str().to_owned()),
            duration: ask.duration.to_string(),
            uses: ask.uses,
            starts_at: ask.starts_at.map(|at| at.to_string()),
            approvals_needed: *approvals_needed,
            denials_needed: None,
            stages: Vec::new(),
            stages_at_request: Vec::new(),
            awaited: Vec::new(),
            reviews: reviews.iter().map(ReviewView::from).collect(),
            created_at: ask.created_at.to_string(),
            times_out_at: ask.times_out_at.to_string(),
            reminded_at: waited.reminded_at.map(|at| at.to_string()),
            escalated_at: waited.escalated_at.map(|at| at.to_string()),
            automatic: automatic.as_ref().map(AutomaticView::from),
            post_review: None,
            decided_at: state.decided_at().map(|at| at.to_string()),
            grant: state.grant().map(ToString::to_string),
            policy: ask.policy.to_string(),
            digest: ask.digest().to_string(),
            call: ask.shown.as_ref().map(|shown| shown.call.clone()),
            call_digest: ask.shown.as_ref().map(|shown| shown.bound.digest.to_string()),
        }
    }
}

/// A grant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GrantView {
    /// Its id.
    pub id: String,
    /// `scheduled`, `active`, `expired`, `revoked`, `released` or `exhausted`.
    pub state: String,
    /// The request it came from.
    pub request: String,
    /// Who holds it.
    pub holder: UserView,
    /// The service.
    pub service: String,
    /// The action.
    pub action: String,
    /// What it touches.
    pub resource: String,
    /// The rule.
    pub rule: String,
    /// From when on it allows; its length counts from here.
    pub starts_at: String,
    /// From when on it no longer allows.
    pub expires_at: String,
    /// For how many calls it is, if for a number of them, and how many have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<UsesView>,
    /// Whether it was given at once, without an approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
    /// How the review of that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_review: Option<PostReviewMark>,
    /// What the context of each call must be, in CEL: all of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// Masked response fields that it reveals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reveals: Vec<String>,
    /// The digest that a call must have to be let through: it is bound to calls that are in all bound parts as the one that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_digest: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Who ended it; nobody where the policy did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<UserView>,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Filters that have applied this point know of the grant's present state.
    pub position: PositionView,
    /// The same as `EPOCH.REVISION`: a call that carries it in `x-grantmesh-revision` is not refused by a filter that
    /// has not heard of it yet, but waits for it (500 ms at most).
    #[serde(default)]
    pub revision: String,
}

impl GrantView {
    /// A grant as the API shows it.
    #[must_use]
    pub fn of(app: &App, grant: &Grant) -> Self {
        let position = app.position_of(grant);
        let Grant { id, request, holder, service, action, resource, rule, starts_at, expires_at, .. } = grant;
        let Grant { terms, state, uses, break_glass, .. } = grant;
        let (ended_by, reason) = match state {
            GrantState::Revoked { by, reason, .. } => {
                (by.as_ref().map(UserView::from), Some(reason.as_str().to_owned()))
            }
            GrantState::Released { .. } => (Some(holder.into()), None),
            GrantState::Scheduled | GrantState::Active | GrantState::Expired { .. } | GrantState::Exhausted { .. } => {
                (None, None)
            }
        };
        Self {
            id: id.to_string(),
            state: state.word().to_string(),
            request: request.to_string(),
            holder: holder.into(),
            service: service.clone(),
            action: action.clone(),
            resource: resource.clone(),
            rule: rule.clone(),
            starts_at: starts_at.to_string(),
            expires_at: expires_at.to_string(),
            uses: uses.map(UsesView::from),
            break_glass: *break_glass,
            post_review: None,
            conditions: terms.conditions.iter().map(|condition| condition.source.clone()).collect(),
            reveals: terms.reveals.clone(),
            call_digest: terms.bound.as_ref().map(|bound| bound.digest.to_string()),
            ended_at: state.ended_at().map(|at| at.to_string()),
            ended_by,
            reason,
            position: position.into(),
            revision: position.to_string(),
        }
    }
}

/// For how many calls a grant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsesView {
    /// So many.
    pub allowed: u32,
    /// So many were taken.
    pub claimed: u32,
}

impl From<UseCount> for UsesView {
    fn from(UseCount { allowed, claimed }: UseCount) -> Self {
        Self { allowed, claimed }
    }
}

/// One use of a grant: a call that was let through as one of a number.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UseView {
    /// Its id; the service got it as `idempotency-key`.
    pub id: String,
    /// The how manieth of its grant, from 1.
    pub number: u32,
    /// The decision that it was taken for.
    pub decision: String,
    /// The filter VM that decided.
    pub vm: String,
    /// Its node.
    pub node: String,
    /// When it was taken.
    pub claimed_at: String,
    /// `answered`, `failed`, `unknown` or `unused`; `unknown` also as long as the filter has not told.
    pub outcome: String,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// When the filter told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<String>,
}

impl From<&Use> for UseView {
    fn from(taken: &Use) -> Self {
        let Use { id, grant: _, number, decision, vm, node, claimed_at, outcome } = taken;
        Self {
            id: id.to_string(),
            number: *number,
            decision: decision.to_string(),
            vm: vm.to_string(),
            node: node.clone(),
            claimed_at: claimed_at.to_string(),
            outcome: outcome.map_or("unknown", |told| told.word.as_str()).to_owned(),
            status: outcome.and_then(|told| told.status),
            told_at: outcome.map(|told| told.at.to_string()),
        }
    }
}

/// Whether a change has arrived at every filter that it concerns.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ArrivalView {
    /// Whether no filter is pending.
    pub complete: bool,
    /// The filters.
    pub filters: Vec<FilterArrivalView>,
}

/// What became of a change at one filter VM.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FilterArrivalView {
    /// The VM.
    pub vm: String,
    /// Its node.
    pub node: String,
    /// `acknowledged`, `lease_expired` or `pending`.
    pub state: String,
}

impl From<Arrival> for ArrivalView {
    fn from(Arrival { complete, filters }: Arrival) -> Self {
        let view = |FilterArrival { vm, node, state }: FilterArrival| FilterArrivalView {
            vm: vm.to_string(),
            node,
            state: state.as_str().to_owned(),
        };
        Self { complete, filters: filters.into_iter().map(view).collect() }
    }
}

/// A filter VM.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FilterView {
    /// The VM.
    pub vm: String,
    /// Its node.
    pub node: String,
    /// The services it enforces.
    pub services: Vec<String>,
    /// What it has acknowledged.
    pub applied: Option<PositionView>,
    /// When it was last answered.
    pub last_seen: String,
    /// `live` or `lease_expired`.
    pub state: String,
    /// Its decision records.
    pub records: StreamView,
}

/// What became of the decisions that a filter VM had to record. Those received, dropped and lost are together those made,
/// once the VM is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct StreamView {
    /// How many there were, by its own word.
    pub made: u64,
    /// How many are in the audit log.
    pub received: u64,
    /// How many it had no room for, as it told itself.
    pub dropped: u64,
    /// How many went with it.
    pub lost: u64,
    /// How many waited in it for delivery when it last said so to this replica.
    pub queued: Option<u64>,
    /// For how long the oldest of those had waited.
    pub lag: Option<String>,
}

impl FilterView {
    /// Beside what the log has of its stream, if there is one.
    pub fn new(row: FleetRow, kept: Option<&Stream>) -> Self {
        let FleetRow { vm, node, services, applied, last_seen, live, stream } = row;
        let made = [stream.map(|stream| stream.made), kept.map(|kept| kept.made)].into_iter().flatten().max();
        let records = StreamView {
            made: made.unwrap_or(0),
            received: kept.map_or(0, |kept| kept.received),
            dropped: kept.map_or(0, |kept| kept.dropped),
            lost: kept.map_or(0, |kept| kept.lost),
            queued: stream.map(|stream| stream.kept),
            lag: stream.map(|stream| Span::from_millis(stream.lag_ms).to_string()),
        };
        Self {
            vm: vm.to_string(),
            node,
            services,
            applied: applied.map(PositionView::from),
            last_seen: last_seen.to_string(),
            state: if live { "live" } else { "lease_expired" }.to_owned(),
            records,
        }
    }
}
