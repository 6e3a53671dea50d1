//! One call, from its headers to "continue" or a reply, with the event for the records: pure, total, no host.
//! Called by `http` in Envoy and by tests and simulators natively. Whatever is missing, late or strange refuses.

mod bodies;
mod event;
mod hold;
mod own;
mod request;
mod shown;

use std::borrow::Cow;

use grantmesh_shared::engine::{
    Ambiguity, Audit, Basis, BodyFacts, BodyMode, Call, Claims, ConditionError, Context, Criticality, Decision,
    FactValue, HeldGrant, Matched, Now, Permit, Prepared, Principal, Reason, Refusal, Service, Table, canonical_path,
    fold_hash, prepare,
};
use grantmesh_shared::id::DecisionId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::problem::ProblemReason;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord};
use grantmesh_shared::wire::sync::Position;

use crate::callbacks;
use crate::clock::Mono;
use crate::config::Config;
use crate::facts::{self, FactsError, Sources};
use crate::headers::Headers;
use crate::identity::{Identity, IdentityError};
use crate::masking::MaskedCall;
use crate::offline::{Offline, OfflineError};
use crate::records::{Alike, Joined, Key};
use crate::reply::{Reply, Telling};
use crate::sync::Sync;
use bodies::BodyRefusal;
pub(crate) use bodies::{JSON, media_type};
pub use bodies::{Shown, Unread};
use event::errors_text;
pub use hold::{Held, Holding};
use own::OwnReason;
use request::Request;
use shown::Showing;

/// What a call is decided from.
#[derive(Debug, Clone, Copy)]
pub struct Knowledge<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The table, the control plane's time, and how fresh they are.
    pub sync: &'a Sync,
    /// Whether one more record can be kept, and whether one has been waited for in vain.
    pub records: RecordsState,
    /// Whether the call may wait for what is not known yet.
    pub may_wait: bool,
    /// What is known of the use that was claimed for the call.
    pub claim: ClaimState<'a>,
    /// Whether the call may be held while people decide, or what came of that.
    pub holding: Holding<'a>,
    /// The break-glass token of the call, if it has one and the control plane is not heard.
    pub offline: Option<Result<&'a Offline, OfflineError>>,
    /// Now.
    pub mono: Mono,
}

/// What is known of the use that a call needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClaimState<'a> {
    /// What was claimed, or refused.
    pub claims: Claims<'a>,
    /// Whether a claim was not answered, or can no longer be made.
    pub is_over: bool,
}

/// What of one VM is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Responses that are masked.
    Mask,
    /// Calls under grants that run.
    Run,
    /// Uses whose outcome is awaited.
    Use,
}

/// Whether a call that is recorded can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordsState {
    /// One more record can be kept.
    Room,
    /// None can.
    Full,
    /// The control plane did not acknowledge the record that was written ahead of this call.
    Unacknowledged,
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// It goes on undecided: a CORS preflight, where the configuration says so.
    Preflight,
    /// It goes on.
    Allow {
        /// Whose call it was.
        service: &'a str,
        /// Conditions that could not be judged on the way.
        errors: Vec<ConditionError<'a>>,
        /// Of what criticality the action is, if it is one.
        criticality: Option<Criticality>,
        /// What to record, if this is recorded.
        record: Recorded<'a>,
        /// When the grant of the record ends, if the call ends with it.
        ends_at: Option<Timestamp>,
        /// Whether it goes on only as a use of that grant.
        claim: bool,
        /// Whether it goes on only when the control plane has that record.
        ahead: bool,
        /// Whether that grant is a token: the control plane is not heard.
        offline: bool,
        /// What of its response is masked.
        masked: Option<MaskedCall>,
    },
    /// It is decided when its body is there.
    AwaitBody {
        /// Whether its head is held until then.
        mode: BodyMode,
        /// Whether its response may have to be masked.
        may_mask: bool,
    },
    /// It would be refused, but its caller has heard of a later state than is known here.
    Wait(Position),
    /// It may be asked for, and is held while people decide.
    Hold(Held<'a>),
    /// It would be refused, and goes on: the service or action is in shadow for this principal.
    Shadow {
        /// Whose call it was.
        service: &'a str,
        /// Of what criticality the action is, if it is one.
        criticality: Option<Criticality>,
        /// `Ask` or `Deny`.
        word: DecisionWord,
        /// The first reason's code.
        reason: &'static str,
        /// Conditions that could not be judged on the way.
        errors: Vec<ConditionError<'a>>,
        /// What to record.
        event: Box<DecisionEvent<'a>>,
    },
    /// It is answered here.
    Refuse {
        /// Whose call it was: a service of the configuration or, if it is none's, nothing.
        service: Option<&'a str>,
        /// Of what criticality the action is, if the call matched one.
        criticality: Option<Criticality>,
        /// `Ask` or `Deny`.
        word: DecisionWord,
        /// The first reason's code.
        reason: &'static str,
        /// Conditions that could not be judged on the way.
        errors: Vec<ConditionError<'a>>,
        /// What to record.
        event: Box<DecisionEvent<'a>>,
        /// The answer.
        reply: Reply,
    },
}

/// The record of a call that is let through.
#[derive(Debug)]
pub enum Recorded<'a> {
    /// It has none.
    Not,
    /// One of its own, to which calls alike may be added if there is a key.
    Own(Box<DecisionEvent<'a>>, Option<Key>),
    /// That of calls alike, which tells of it already.
    Joined(Joined),
}

/// What is asked of the VM while a call is decided.
pub trait Vm {
    /// Whether there is room for one more call of the caller's. Asked only where one would take it.
    fn has_room(&self, of: Room) -> bool;

    /// Adds a call that is let through to the record of calls alike, if it may be: what is asked last of a call.
    ///
    /// # Errors
    /// If it may not, or there is none: then it has a record of its own, with this key.
    fn join(&mut self, call: &Alike<'_>, request_id: Option<&str>) -> Result<Joined, Option<Key>>;
}

/// Why a call is refused, from the engine or from here.
enum Cause<'t> {
    Own(OwnReason, Option<Matched<'t>>),
    Ambiguous(Ambiguity),
    /// A fact that conditions name could be read in two ways.
    Facts(&'static str, String),
    /// The body cannot be read.
    Body(BodyRefusal),
    /// It is not refused yet: it waits for its body.
    AwaitBody {
        mode: BodyMode,
        may_mask: bool,
    },
    Engine(DecisionWord, Box<Refusal<'t>>, Option<Box<Showing>>),
}

impl<'t> Cause<'t> {
    /// What the call matched, where that is known.
    fn matched(&self) -> Option<&Matched<'t>> {
        match self {
            Self::Engine(_, refusal, _) => refusal.matched.as_ref(),
            Self::Own(_, matched) => matched.as_ref(),
            Self::Ambiguous(_) | Self::Facts(..) | Self::Body(_) | Self::AwaitBody { .. } => None,
        }
    }
}

impl From<FactsError<'_>> for Cause<'_> {
    fn from(error: FactsError<'_>) -> Self {
        match error {
            FactsError::Identity(error) => Self::Own(OwnReason::BadIdentity(error), None),
            other => Self::Facts(other.code(), other.to_string()),
        }
    }
}

impl From<BodyRefusal> for Cause<'_> {
    fn from(refusal: BodyRefusal) -> Self {
        Self::Body(refusal)
    }
}

/// A call that goes on.
struct Passed<'t> {
    permit: Permit<'t>,
    recorded: bool,
    /// Whether it is a use of the grant that it claims.
    claim: bool,
    /// When the grant ends with which it ends.
    ends_at: Option<Timestamp>,
    /// Whether that is a token.
    offline: bool,
}

/// Decides one call. `id` is drawn only where something is recorded or answered.
pub fn run<'a>(
    knowledge: Knowledge<'a>,
    vm: &mut dyn Vm,
    headers: &Headers<'a>,
    identity: &'a Result<Identity<'a>, IdentityError>,
    shown: Shown<'_>,
    id: impl FnOnce() -> DecisionId,
) -> Outcome<'a> {
    let mut request = Request::read(headers, knowledge.config.method_override);
    let service = match knowledge.config.only_service() {
        Some(only) => Some(only),
        None => service_by_host(knowledge, &request),
    };
    let flow = Flow { knowledge, service, identity };
    let passes = knowledge.config.cors_preflight && request.is_preflight() && request.ambiguity.is_none();
    if passes && canonical_path(request.target).is_ok() {
        return Outcome::Preflight;
    }
    let mut drawn = Drawn { draw: Some(id), id: None };
    match flow.judge(&mut request, (headers, shown), &mut drawn, vm) {
        Ok(Passed { permit, recorded, claim, ends_at, offline }) => {
            let masks = flow.masks(&permit);
            let criticality = permit.matched().map(|matched| matched.action.criticality);
            let service = service.unwrap_or_default();
            // Nobody is there to acknowledge what is done offline.
            let is_critical = criticality.unwrap_or(Criticality::Standard) == Criticality::Critical;
            let ahead = recorded && is_critical && !offline;
            // What others refer to by its id, as the request of a call that was held does, or what tells more than calls alike
            // have in common, has a record of its own.
            let was_held = matches!(knowledge.holding, Holding::Over(_));
            let is_referred_to = ahead || masks || claim || was_held;
            let is_plain = recorded && !is_referred_to && !offline && permit.errors().is_empty();
            let alike = if is_plain { flow.alike(&request, &permit) } else { None };
            let joined = alike.map(|alike| vm.join(&alike, request.request_id()));
            let errors = permit.errors().to_vec();
            let (record, masked) = match joined {
                Some(Ok(joined)) => (Recorded::Joined(joined), None),
                None if !recorded && !masks => (Recorded::Not, None),
                other => {
                    let key = other.and_then(Result::err).flatten();
                    let mut event = flow.allowed(&request, &permit, claim, drawn.take());
                    event.offline = offline;
                    let masked = masks.then(|| MaskedCall {
                        service: service.to_owned(),
                        criticality,
                        fields: MaskedCall::fields_of(permit.masked()),
                        event: Box::new((*event).clone().into_owned()),
                    });
                    (if recorded { Recorded::Own(event, key) } else { Recorded::Not }, masked)
                }
            };
            Outcome::Allow { service, criticality, record, ends_at, claim, ahead, offline, errors, masked }
        }
        Err(Cause::AwaitBody { mode, may_mask }) => Outcome::AwaitBody { mode, may_mask },
        Err(cause) => {
            if let Some(position) = flow.worth_waiting(&request, &cause) {
                return Outcome::Wait(position);
            }
            let id = drawn.take();
            match flow.held(&request, headers, &cause, &id) {
                Some(held) => Outcome::Hold(held),
                None => flow.refused(&request, cause, id),
            }
        }
    }
}

/// The decision's id, drawn at most once and only where it is needed.
struct Drawn<Draw> {
    draw: Option<Draw>,
    id: Option<DecisionId>,
}

impl<Draw: FnOnce() -> DecisionId> Drawn<Draw> {
    fn peek(&mut self) -> Option<&DecisionId> {
        if let Some(draw) = self.draw.take() {
            self.id = Some(draw());
        }
        self.id.as_ref()
    }

    fn take(mut self) -> DecisionId {
        self.peek();
        // Drawn by now; the other arm is never reached.
        self.id.unwrap_or_else(|| DecisionId::new(0, [0; 10]))
    }

    /// A number that is as good as random and that no caller chooses.
    fn number(&mut self) -> u64 {
        fold_hash(&[self.peek().map_or("", DecisionId::as_str)])
    }
}

/// The configured service that the table says is called by the request's host.
fn service_by_host<'a>(knowledge: Knowledge<'a>, request: &Request<'_>) -> Option<&'a str> {
    let table = knowledge.sync.table()?;
    let host = request.host()?;
    knowledge.config.services.iter().map(String::as_str).find(|name| {
        table
            .service(name)
            .is_some_and(|service| service.hosts().iter().any(|known| known.as_bytes().eq_ignore_ascii_case(host)))
    })
}

/// Whether a lock or a deny rule refused a call: no grant changes that.
fn is_above_grants(refusal: &Refusal<'_>) -> bool {
    matches!(refusal.reasons.first(), Some(Reason::Locked { .. } | Reason::DenyRule { .. }))
}

/// A decision, and what of the call is shown to ask for it.
type Decided<'a> = (Decision<'a>, Option<Box<Showing>>);

fn decided<'a>(prepared: &Prepared<'a, '_>, call: &Call<'_>, context: &Context<'_>, now: Now) -> Decided<'a> {
    let decision = prepared.decide(context, now);
    let showing = shown::of(&decision, call, context).map(Box::new);
    (decision, showing)
}

struct Flow<'a> {
    knowledge: Knowledge<'a>,
    service: Option<&'a str>,
    identity: &'a Result<Identity<'a>, IdentityError>,
}

impl<'a> Flow<'a> {
    fn judge(
        &self,
        request: &mut Request<'_>,
        (headers, shown): (&Headers<'_>, Shown<'_>),
        drawn: &mut Drawn<impl FnOnce() -> DecisionId>,
        vm: &dyn Vm,
    ) -> Result<Passed<'a>, Cause<'a>> {
        let Knowledge { sync, mono, config, .. } = self.knowledge;
        if let Some(ambiguity) = request.ambiguity {
            return Err(Cause::Ambiguous(ambiguity));
        }
        let own = |reason| Cause::Own(reason, None);
        let identity = self.identity.as_ref().map_err(|error| own(OwnReason::BadIdentity(*error)))?;
        let call = Call::new(self.service.unwrap_or_default(), request.method, request.target, principal(identity))
            .map_err(Cause::Ambiguous)?;
        // Canonical by now, so what stands before the query is the path.
        request.path = std::str::from_utf8(request.target_without_query()).ok();
        let (Some(table), Some(now)) = (sync.table(), sync.now(mono)) else {
            return Err(own(OwnReason::NotReady));
        };
        if self.service.is_none() {
            return Err(own(OwnReason::UnknownHost));
        }
        let prepared = prepare(table, &call).with(self.knowledge.claim.claims);
        request.enforced = Some(prepared.enforces());
        let query = call.path().query();
        let sources = Sources { config, headers, identity, query, host: request.host(), body: BodyFacts::NotRead };
        let (mut decision, mut showing) = self.decision(&prepared, &call, sources, shown, now)?;
        if self.is_needless(&decision, &prepared, vm) {
            // What a role allows is not refused for want of a use that would only reveal more.
            (decision, showing) = self.decision(&prepared.with(Claims::Out), &call, sources, shown, now)?;
        }
        let matched = match &decision {
            Decision::Allow(permit) => permit.matched(),
            Decision::Ask(refusal) | Decision::Deny(refusal) => refusal.matched.as_ref(),
        };
        let criticality = matched
            .map(|matched| matched.action.criticality)
            .or(prepared.criticality())
            .unwrap_or(Criticality::Standard);
        let is_ambiguous = matches!(
            &decision,
            Decision::Deny(refusal) if matches!(refusal.reasons.as_slice(), [Reason::Ambiguous(_)])
        );
        let is_fresh = sync.is_fresh(criticality, mono);
        let is_let_through = is_fresh && matches!(&decision, Decision::Allow(_));
        let token = self.knowledge.offline.filter(|_| !is_ambiguous && !is_let_through);
        let token = token.zip(matched).map(|(token, matched)| match token {
            Ok(offline) if offline.covers(matched) => Ok(offline.grant()),
            Ok(_) => Err(OfflineError::OtherAction),
            Err(error) => Err(error),
        });
        let mut offline = false;
        if let Some(Ok(grant)) = token {
            (decision, showing) = self.decision(&prepared.with_offline(grant), &call, sources, shown, now)?;
            let by =
                |permit: &Permit<'_>| matches!(permit.basis(), Basis::Grant(basis) if basis.is(&grant.held().id()));
            offline = matches!(&decision, Decision::Allow(permit) if by(permit));
        }
        if !is_ambiguous && !is_fresh && !offline {
            let matched = match decision {
                Decision::Allow(permit) => permit.matched().cloned(),
                // What stands above every token is told, and not that nothing has been heard.
                Decision::Deny(refusal) if matches!(token, Some(Ok(_))) && is_above_grants(&refusal) => {
                    return Err(Cause::Engine(DecisionWord::Deny, Box::new(refusal), None));
                }
                Decision::Ask(refusal) | Decision::Deny(refusal) => refusal.matched,
            };
            let reason = match token {
                Some(Err(error)) => OwnReason::Offline { criticality, error },
                Some(Ok(_)) => OwnReason::Offline { criticality, error: OfflineError::Ended },
                None => OwnReason::Stale(criticality),
            };
            return Err(Cause::Own(reason, matched));
        }
        let permit = match decision {
            Decision::Allow(permit) => permit,
            Decision::Ask(refusal) => return Err(Cause::Engine(DecisionWord::Ask, Box::new(refusal), showing)),
            Decision::Deny(refusal) => return Err(Cause::Engine(DecisionWord::Deny, Box::new(refusal), None)),
        };
        let recorded = match permit.basis() {
            Basis::Grant(_) => true,
            Basis::Role(_) => match permit.matched().map(|matched| matched.action.audit) {
                None | Some(Audit::All) => true,
                Some(Audit::Sampled(share)) => share.takes(drawn.number()),
                Some(Audit::Counted) => false,
            },
            Basis::Unmatched => false,
        };
        // A condition that errs is recorded with its rule, whatever else is; and a call whose record was written ahead is one
        // that is recorded, whatever another draw of the sample would say.
        let ahead = self.knowledge.records == RecordsState::Unacknowledged;
        // In shadow nothing is reset and no use is taken.
        let by_grant = match permit.basis() {
            Basis::Grant(grant) => Some(grant),
            Basis::Role(_) | Basis::Unmatched => permit.claim(),
        };
        let grant = by_grant.filter(|_| permit.matched().is_some_and(|matched| self.carries_out(matched)));
        let claim = permit.claim().filter(|_| grant.is_some());
        let recorded = recorded || ahead || claim.is_some() || !permit.errors().is_empty();
        let reason = match (self.knowledge.records, criticality) {
            (RecordsState::Full, _) if offline => Some(OwnReason::RecordsBacklog),
            (RecordsState::Full, Criticality::Standard | Criticality::Critical) => Some(OwnReason::RecordsBacklog),
            (RecordsState::Unacknowledged, Criticality::Critical) => Some(OwnReason::RecordUnacknowledged),
            _ => None,
        };
        let reason = reason.filter(|_| recorded);
        let has_no_room = || grant.is_some() && !vm.has_room(Room::Run);
        let reason = reason.or_else(|| has_no_room().then_some(OwnReason::TooManyRun));
        let reason = reason.or_else(|| self.cannot_claim(&prepared, claim, vm));
        let reason = if permit.masked().is_empty() {
            reason
        } else if !callbacks::for_bodies() {
            // What should be masked must not come through in plain text.
            Some(OwnReason::CannotMask)
        } else if self.masks(&permit) && !vm.has_room(Room::Mask) {
            Some(OwnReason::TooManyMasked)
        } else {
            reason
        };
        if let Some(reason) = reason {
            return Err(Cause::Own(reason, permit.matched().cloned()));
        }
        Ok(Passed { permit, recorded, claim: claim.is_some(), ends_at: grant.map(|grant| grant.expires_at()), offline })
    }

    /// Whether no use can be had of a grant that would only reveal what a role's call is not shown. Without the callbacks
    /// nothing is masked either: such a call is refused.
    fn is_needless(&self, decision: &Decision<'_>, prepared: &Prepared<'_, '_>, vm: &dyn Vm) -> bool {
        let Decision::Allow(permit) = decision else { return false };
        let by_role = matches!(permit.basis(), Basis::Role(_));
        callbacks::for_bodies() && by_role && self.cannot_claim(prepared, permit.claim(), vm).is_some()
    }

    /// Why a call that is to be a use cannot be one.
    fn cannot_claim(
        &self,
        prepared: &Prepared<'_, '_>,
        claim: Option<HeldGrant<'_>>,
        vm: &dyn Vm,
    ) -> Option<OwnReason> {
        let claim = claim?;
        let ClaimState { claims, is_over } = self.knowledge.claim;
        let is_held = matches!(claims, Claims::Held(id) if claim.is(id));
        // A head that has gone on cannot be told that it must go on once.
        let head_first = prepared.body_mode() == Some(BodyMode::HeadFirst);
        if !callbacks::for_bodies() || head_first {
            Some(OwnReason::CannotClaim)
        } else if is_over && !is_held {
            Some(OwnReason::ClaimUnanswered)
        } else {
            (!vm.has_room(Room::Use)).then_some(OwnReason::TooManyRun)
        }
    }

    /// The decision, with the body if it depends on that.
    fn decision(
        &self,
        prepared: &Prepared<'a, '_>,
        call: &Call<'_>,
        sources: Sources<'_>,
        shown: Shown<'_>,
        now: Now,
    ) -> Result<Decided<'a>, Cause<'a>> {
        let Knowledge { sync, mono, .. } = self.knowledge;
        let (headers, config) = (sources.headers, &sources.config.bodies);
        let with = |body: BodyFacts<'_>| match prepared.needs().filter(|needs| !needs.is_nothing()) {
            None => Ok(decided(prepared, call, &Context::EMPTY, now)),
            Some(needs) => {
                facts::gather(Sources { body, ..sources }, needs, |context| decided(prepared, call, context, now))
                    .map_err(Cause::from)
            }
        };
        if !callbacks::for_bodies() || prepared.body().is_empty() {
            return with(BodyFacts::NotRead);
        }
        match shown {
            Shown::Nothing | Shown::Whole(b"") => with(BodyFacts::Absent),
            Shown::Whole(body) => {
                let values = bodies::read(prepared, headers, config, body)?;
                let lent: Vec<(&str, FactValue<'_>)> =
                    values.iter().map(|(name, value)| (*name, value.lent())).collect();
                with(BodyFacts::Fields(&lent))
            }
            Shown::Never(unread) => Err(BodyRefusal::unread(unread, config).into()),
            Shown::Head => {
                let (decision, showing) = with(BodyFacts::NotRead)?;
                if !bodies::depends_on_body(&decision) {
                    return Ok((decision, showing));
                }
                let criticality = prepared.criticality().unwrap_or(Criticality::Standard);
                // A token is judged with the body: only then it is known what it is to be for.
                match self.knowledge.offline {
                    _ if sync.is_fresh(criticality, mono) => {}
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        return Err(Cause::Own(OwnReason::Offline { criticality, error }, None));
                    }
                    None => return Err(Cause::Own(OwnReason::Stale(criticality), None)),
                }
                match bodies::to_come(prepared, headers, config)? {
                    Some(mode) => Err(Cause::AwaitBody { mode, may_mask: prepared.may_mask() }),
                    None => Ok((decision, showing)),
                }
            }
        }
    }

    /// Whether something of the response is masked: not in shadow, which changes nothing.
    fn masks(&self, permit: &Permit<'_>) -> bool {
        let masked = callbacks::for_bodies() && !permit.masked().is_empty();
        let Some(matched) = permit.matched().filter(|_| masked) else {
            return false;
        };
        self.carries_out(matched)
    }

    /// The point that the caller has heard of, if it is not reached here and reaching it could change the outcome.
    fn worth_waiting(&self, request: &Request<'_>, cause: &Cause<'_>) -> Option<Position> {
        let Knowledge { sync, may_wait, .. } = self.knowledge;
        let depends_on_the_table = match cause {
            Cause::Own(
                OwnReason::NotReady | OwnReason::Stale(_) | OwnReason::UnknownHost | OwnReason::Offline { .. },
                _,
            ) => true,
            Cause::Own(
                OwnReason::RecordsBacklog
                | OwnReason::RecordUnacknowledged
                | OwnReason::TooManyRun
                | OwnReason::CannotClaim
                | OwnReason::ClaimUnanswered
                | OwnReason::CannotMask
                | OwnReason::TooManyMasked
                | OwnReason::BadIdentity(_),
                _,
            )
            | Cause::Ambiguous(_)
            | Cause::Facts(..)
            | Cause::Body(_)
            | Cause::AwaitBody { .. } => false,
            Cause::Engine(_, refusal, _) => !matches!(refusal.reasons.as_slice(), [Reason::Ambiguous(_)]),
        };
        let heard_of = request.heard_of().filter(|_| may_wait && depends_on_the_table)?;
        (sync.position() < Some(heard_of)).then_some(heard_of)
    }

    /// Whether decisions about this are carried out for whoever calls.
    fn carries_out(&self, matched: &Matched<'_>) -> bool {
        matched.rollout().enforces(matched.service.name(), &self.caller())
    }

    fn caller(&self) -> Principal<'_> {
        self.identity.as_ref().map_or(Principal::default(), principal)
    }

    /// Whether a refusal is carried out for whoever calls.
    fn enforces(&self, request: &Request<'_>, cause: &Cause<'_>) -> bool {
        if let Some(matched) = cause.matched() {
            return self.carries_out(matched);
        }
        request.enforced.unwrap_or_else(|| {
            let name = self.service.unwrap_or_default();
            let service = self.knowledge.sync.table().and_then(|table: &Table| table.service(name));
            service.map(Service::rollout).unwrap_or_default().enforces(name, &self.caller())
        })
    }

    fn refused(&self, request: &Request<'a>, cause: Cause<'a>, id: DecisionId) -> Outcome<'a> {
        let engine_reason =
            |reason: &Reason| ProblemReason { code: reason.code().to_owned(), detail: reason.to_string() };
        let enforced = self.enforces(request, &cause);
        let mut errors = Vec::new();
        let mut bound = None;
        let (status, code, title, word, first, reasons, matched, rules) = match cause {
            Cause::Own(reason, matched) => {
                let reasons = vec![ProblemReason { code: reason.code().to_owned(), detail: reason.to_string() }];
                (403, reason.code(), "call refused", DecisionWord::Deny, reason.code(), reasons, matched, Vec::new())
            }
            Cause::Ambiguous(ambiguity) => ambiguous(ambiguity.code(), Reason::Ambiguous(ambiguity).to_string()),
            Cause::Facts(code, detail) => ambiguous(code, detail),
            Cause::Body(BodyRefusal { status, code, detail }) => {
                let reasons = vec![ProblemReason { code: code.to_owned(), detail }];
                (status, code, "call refused", DecisionWord::Deny, code, reasons, None, Vec::new())
            }
            // Never comes here; were it to, it would be refused.
            Cause::AwaitBody { .. } => ambiguous("body_not_read", Reason::BodyNotRead.to_string()),
            Cause::Engine(word, refusal, showing) => match refusal.reasons.as_slice() {
                [reason @ Reason::Ambiguous(_)] => ambiguous(reason.code(), reason.to_string()),
                reasons => {
                    errors = refusal.errors;
                    let first = reasons.first().map_or("denied", Reason::code);
                    let (code, title) = match word {
                        DecisionWord::Ask => ("approval_required", "approval required"),
                        DecisionWord::Allow | DecisionWord::Deny => ("denied", "call refused"),
                    };
                    let rules = refusal.rules.iter().map(|rule| rule.name.to_string()).collect();
                    let mut reasons: Vec<ProblemReason> = reasons.iter().map(engine_reason).collect();
                    if let Some(showing) = showing {
                        let Showing { bound: shown, unshown } = *showing;
                        bound = shown;
                        reasons.extend(unshown);
                    }
                    reasons.extend(self.knowledge.holding.reason());
                    (403, code, title, word, first, reasons, refusal.matched, rules)
                }
            },
        };
        let mut event = self.event(request, matched.as_ref(), word, id);
        event.reasons = reasons.iter().map(|reason| Cow::Owned(reason.code.clone())).collect();
        event.condition_errors = errors_text(&errors);
        let criticality = matched.as_ref().map(|matched| matched.action.criticality);
        if !enforced {
            event.shadow = true;
            let service = self.service.unwrap_or_default();
            return Outcome::Shadow { service, criticality, word, reason: first, errors, event };
        }
        let matched = matched.as_ref().map(|matched| (&*matched.action.name, matched.resource.as_str()));
        let telling = Telling {
            status,
            code,
            title,
            word,
            decision_id: event.id.to_string(),
            service: &event.service,
            matched,
            rules,
            reasons,
            public_url: &self.knowledge.config.public_url,
            grpc: request.grpc,
            bound,
            request: self.knowledge.holding.request(),
        };
        let reply = telling.reply();
        Outcome::Refuse { service: self.service, criticality, word, reason: first, errors, event, reply }
    }
}

type RefusalParts<'t> =
    (u16, &'static str, &'static str, DecisionWord, &'static str, Vec<ProblemReason>, Option<Matched<'t>>, Vec<String>);

fn ambiguous<'t>(code: &'static str, detail: String) -> RefusalParts<'t> {
    let reasons = vec![ProblemReason { code: code.to_owned(), detail }];
    (400, "ambiguous_call", "ambiguous call", DecisionWord::Deny, code, reasons, None, Vec::new())
}

fn principal<'i>(identity: &'i Identity<'_>) -> Principal<'i> {
    Principal { user: identity.user, groups: &identity.groups, workload: identity.workload }
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod vectors;
