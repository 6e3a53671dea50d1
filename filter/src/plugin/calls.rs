//! Deciding calls with what the plugin knows: at once, or after they have waited for something. For `http` and `vm`.

use std::rc::Rc;

use grantmesh_shared::engine::{BodyMode, Criticality};
use grantmesh_shared::id::{DecisionId, UseId};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::holds::HoldEnd;
use grantmesh_shared::wire::offline::{NoToken, OFFLINE_HEADER};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, UseOutcome};

use super::Plugin;
use super::claimed::{Claim, UsedBy};
use crate::callbacks;
use crate::claims::Orphan;
use crate::clock::Mono;
use crate::config::Config;
use crate::flow::{
    self, ClaimState, Held, Holding, Knowledge, Outcome, Recorded, RecordsState, Room, Shown, Unread, Vm,
};
use crate::headers::Headers;
use crate::identity::{Identity, IdentityError};
use crate::masking::{MaskedCall, Masking, Withheld};
use crate::metrics::{Counters, Metric};
use crate::offline::{Offline, OfflineError};
use crate::random::Random;
use crate::records::{self, Alike, Joined, Key, Pushed, Records, Told};
use crate::reply::Reply;
use crate::streams::{Open, Streams, Why};
use crate::sync::Sync;
use crate::uses::{Used, Uses};
use crate::waiting::{Ahead, Caller, Cause, Claiming, Waiter, Waiting, Woken};

/// How long a call waits for a state that its caller has heard of.
const WAIT_FOR_REVISION: Span = Span::from_millis(500);

/// How long a critical call waits for the acknowledgement of its record.
const WAIT_FOR_RECORD: Span = Span::from_millis(2_000);

/// How long a call waits for the claim of a use.
const WAIT_FOR_CLAIM: Span = Span::from_millis(2_000);

/// How long a call waits for its body.
const WAIT_FOR_BODY: Span = Span::from_secs(30);

/// The mode in which calls are decided.
const ENFORCE: &str = "enforce";

/// Calls that are let through by a token, while the control plane is not heard.
const OFFLINE: &str = "offline";

/// Decisions that are only recorded.
const SHADOW: &str = "shadow";

/// Of so many decisions one is measured.
const SAMPLED: u32 = 8;

/// Which time a call is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The first with what there is of it; it may wait.
    First(Caller),
    /// The first, where nothing can wait.
    Only(Caller),
    /// After it has waited. It does not wait for the same again.
    Again(Woken),
}

impl Turn {
    /// Whose turn it is.
    #[must_use]
    pub const fn caller(&self) -> Caller {
        match self {
            Self::First(caller) | Self::Only(caller) => *caller,
            Self::Again(woken) => woken.caller,
        }
    }
}

/// What becomes of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on, and its response is masked.
    Mask,
    /// It goes on once, as this use of a grant.
    Once {
        /// The use.
        id: UseId,
        /// Whether its response is masked.
        masks: bool,
    },
    /// It is answered here.
    Answer(Reply),
    /// It waits, and is decided again when [`Plugin::woken`] tells.
    Wait,
    /// It is decided when the rest of it is there.
    AwaitBody {
        /// Whether its head is held until then.
        mode: BodyMode,
        /// Whether its response may have to be masked.
        may_mask: bool,
    },
}

impl Verdict {
    /// The word for logs; nothing while it is not decided.
    #[must_use]
    pub fn word(&self) -> Option<&'static str> {
        match self {
            Self::Pass | Self::Mask | Self::Once { .. } => Some("allow"),
            Self::Answer(reply) => Some(reply.word.as_str()),
            Self::Wait | Self::AwaitBody { .. } => None,
        }
    }
}

impl Plugin {
    /// Decides one call by what is `shown` of it.
    pub fn decide(
        &mut self,
        turn: Turn,
        shown: Shown<'_>,
        config: &Rc<Config>,
        headers: &Headers<'_>,
        identity: &Result<Identity<'_>, IdentityError>,
        mono: Mono,
    ) -> Verdict {
        let (may_wait, caller) = (matches!(turn, Turn::First(_)), turn.caller());
        let may_park = !matches!(turn, Turn::Only(_));
        // Nothing is held twice.
        let may_hold = matches!(turn, Turn::First(_) | Turn::Again(Woken { cause: Cause::Revision(_), .. }));
        let (mut written, mut late, mut claiming, mut held) = (None, false, None, None);
        match turn {
            Turn::Again(Woken { cause: Cause::Record(ahead), late: never, .. }) => {
                (written, late) = (Some(ahead), never);
            }
            Turn::Again(Woken { cause: Cause::Claim(claim), .. }) if callbacks::for_bodies() => {
                claiming = Some(self.claimed(claim));
            }
            Turn::Again(Woken { cause: Cause::Hold(id), .. }) => held = Some((self.let_go_of(&id), id)),
            _ => {}
        }
        let holding = match &held {
            Some((standing, _)) => Holding::Over(standing),
            None if may_hold => Holding::May,
            None => Holding::Never,
        };
        let whose = || identity.as_ref().map_or(0, Identity::mark);
        let claim = ClaimState {
            claims: claiming.as_ref().map(Claim::claims).unwrap_or_default(),
            is_over: !may_park || written.is_some() || claiming.as_ref().is_some_and(Claim::is_over),
        };
        let records = match (late, self.records.has_room()) {
            (true, _) => RecordsState::Unacknowledged,
            // The room is taken already.
            (false, false) if written.is_none() => RecordsState::Full,
            _ => RecordsState::Room,
        };
        let token = self.token(headers, config, identity, mono);
        let offline = token.as_ref().map(|found| found.as_deref().map_err(|error| *error));
        let mut vm = Asked {
            masking: &self.masking,
            streams: &self.streams,
            uses: &self.uses,
            whose: &whose,
            // What was written ahead of the call, or claimed for it, has to be told with its decision.
            joins: (written.is_none() && claiming.is_none()).then_some((&mut self.records, mono)),
        };
        let knowledge = Knowledge { config, sync: &self.sync, records, may_wait, claim, holding, offline, mono };
        let (random, sync) = (&mut self.random, &self.sync);
        // A call that was held goes on, or is refused, by the decision that its request tells of.
        let known = held.as_ref().map(|(_, id)| id.clone());
        let id = || known.unwrap_or_else(|| decision_id(sync, random, mono));
        match flow::run(knowledge, &mut vm, headers, identity, shown, id) {
            Outcome::Preflight => {
                self.counters.add(Metric::Preflights, 1);
                Verdict::Pass
            }
            Outcome::Allow { record: Recorded::Own(event, _), claim: true, .. }
                if callbacks::for_bodies()
                    && let Some(grant) = event.grant.clone()
                    && claiming.as_ref().is_none_or(|claiming| !claiming.is_of(&grant)) =>
            {
                let refused = claiming.as_ref().map(Claim::refused).unwrap_or_default();
                let claiming = Claiming { id: event.id.clone(), grant, refused };
                let sent = self.claims.claim(&event, &claiming.grant);
                let cause = Cause::Claim(claiming.clone());
                if sent && self.park(caller, cause, identity, mono.plus(WAIT_FOR_CLAIM)) {
                    return Verdict::Wait;
                }
                self.claims.forget(&claiming.id);
                let woken = Woken { caller, cause: Cause::Claim(claiming), late: true, head: None };
                self.decide(Turn::Again(woken), shown, config, headers, identity, mono)
            }
            // What was claimed is as good as a record: the control plane has it, with the decision.
            Outcome::Allow { record: Recorded::Own(event, _), ahead: true, claim: false, .. } if written.is_none() => {
                self.counters.add(Metric::RecordsMade, 1);
                let (id, grant) = (event.id.clone(), event.grant.clone());
                let ahead = Ahead { seq: self.records.push_ahead(event, mono), id, grant };
                match self.wait_for_record(ahead, caller, may_park, identity, mono) {
                    None => Verdict::Wait,
                    Some(woken) => self.decide(Turn::Again(woken), shown, config, headers, identity, mono),
                }
            }
            Outcome::Allow { service, criticality, errors, record, ends_at, claim, offline, mut masked, .. } => {
                let granted = match &record {
                    Recorded::Own(event, _) => event.grant.as_ref(),
                    Recorded::Joined(_) | Recorded::Not => None,
                };
                let (used, unused) = match claiming.as_ref().and_then(Claim::used) {
                    Some(used) if claim && granted == Some(&used.grant) => (Some(used), None),
                    other => (None, other),
                };
                let mode = if offline { OFFLINE } else { ENFORCE };
                self.counters.decided(service, DecisionWord::Allow, criticality, mode);
                self.counters.condition_errors(&errors);
                let told = match record {
                    Recorded::Not => None,
                    Recorded::Joined(Joined { told, call, .. }) => {
                        count(&mut self.counters, Pushed::Folded);
                        Some((told, call))
                    }
                    Recorded::Own(mut event, key) => {
                        // While it waited, another grant may have come to be the one that allows it.
                        let is_written = written.as_ref().is_some_and(|ahead| ahead.grant == event.grant);
                        match written {
                            Some(ahead) if is_written => event.id = ahead.id,
                            other => event.instead_of = other.map(|ahead| ahead.id),
                        }
                        if let Some(used) = &used {
                            (event.id, event.use_id) = (used.decision.clone(), Some(used.id.clone()));
                        }
                        if let Some(masked) = &mut masked {
                            (masked.event.id, masked.event.use_id) = (event.id.clone(), event.use_id.clone());
                        }
                        let told = records::decision(&event);
                        if !is_written {
                            count(&mut self.counters, self.records.push_allowed(key, &told, mono));
                        }
                        Some((told, 0))
                    }
                };
                if let (Some((told, call)), Some(ends_at)) = (told, ends_at)
                    && told.grant().is_some()
                {
                    let criticality = criticality.unwrap_or(Criticality::Critical);
                    self.streams.admit(Open { whose: whose(), caller, ends_at, criticality, offline, told, call });
                }
                self.orphaned(unused.map(Orphan::from), mono);
                let masks = masked.is_some();
                if let Some(masked) = masked {
                    self.masking.begin(caller, whose(), masked);
                }
                match used {
                    Some(UsedBy { id, grant, .. }) => {
                        self.uses.begin(Used { whose: whose(), caller, id: id.clone(), grant });
                        Verdict::Once { id, masks }
                    }
                    None if masks => Verdict::Mask,
                    None => Verdict::Pass,
                }
            }
            Outcome::AwaitBody { mode, may_mask } => {
                let unread = if !may_wait {
                    Unread::NotHeld
                } else if self.await_body(caller, mode, identity, mono) {
                    return Verdict::AwaitBody { mode, may_mask };
                } else {
                    Unread::NoRoom
                };
                self.let_go(claiming.as_ref(), mono);
                // What was written ahead of it is replaced by the record of what comes of it now.
                let turn = match written {
                    Some(ahead) => Turn::Again(Woken { caller, cause: Cause::Record(ahead), late, head: None }),
                    None => Turn::Only(caller),
                };
                self.decide(turn, Shown::Never(unread), config, headers, identity, mono)
            }
            Outcome::Hold(Held { item, most }) => {
                let id = item.event.id.clone();
                if self.holds.begin(&item) && self.hold(caller, &id, identity, mono.plus(most)) {
                    return Verdict::Wait;
                }
                self.holds.end(&id, HoldEnd::Over);
                self.counters.add(Metric::Holds("full"), 1);
                self.decide(Turn::Only(caller), shown, config, headers, identity, mono)
            }
            Outcome::Wait(position) => {
                let cause = Cause::Revision(position);
                if self.park(caller, cause, identity, mono.plus(WAIT_FOR_REVISION)) {
                    self.sync.hurry(mono);
                    return Verdict::Wait;
                }
                self.decide(Turn::Only(caller), shown, config, headers, identity, mono)
            }
            Outcome::Shadow { service, criticality, word, reason, errors, mut event } => {
                event.instead_of = written.map(|ahead| ahead.id).or_else(|| claiming.as_ref()?.told());
                self.counters.decided(service, word, criticality, SHADOW);
                self.counters.condition_errors(&errors);
                self.counters.add(Metric::Shadowed(reason), 1);
                record(&mut self.records, &mut self.counters, event, mono);
                self.let_go(claiming.as_ref(), mono);
                Verdict::Pass
            }
            Outcome::Refuse { service, criticality, word, reason, errors, mut event, reply } => {
                event.instead_of = written.map(|ahead| ahead.id).or_else(|| claiming.as_ref()?.told());
                self.counters.decided(service.unwrap_or("unknown"), word, criticality, ENFORCE);
                self.counters.condition_errors(&errors);
                self.counters.add(Metric::Refusals(reason), 1);
                record(&mut self.records, &mut self.counters, event, mono);
                self.let_go(claiming.as_ref(), mono);
                Verdict::Answer(reply)
            }
        }
    }

    /// The break-glass token of a call. Nobody asks for it while the control plane is heard.
    fn token(
        &mut self,
        headers: &Headers<'_>,
        config: &Config,
        identity: &Result<Identity<'_>, IdentityError>,
        mono: Mono,
    ) -> Option<Result<Rc<Offline>, OfflineError>> {
        // After a sleep nothing is fresh, and nobody knows whether a token has ended meanwhile.
        if self.sync.is_fresh(Criticality::Critical, mono) || !self.sync.knows_time() {
            return None;
        }
        let name = OFFLINE_HEADER.as_bytes();
        headers.iter().find(|(known, _)| *known == name)?;
        let user = identity.as_ref().ok().and_then(|identity| identity.user);
        let Some(text) = headers.single(name) else { return Some(Err(NoToken.into())) };
        Some(self.offlines.find(text, &config.keys, user, mono))
    }

    /// Lets a call wait until the record that was written ahead of it is acknowledged. Gives what it is to be decided with
    /// at once where it cannot wait.
    fn wait_for_record(
        &mut self,
        ahead: Ahead,
        caller: Caller,
        may_park: bool,
        identity: &Result<Identity<'_>, IdentityError>,
        mono: Mono,
    ) -> Option<Woken> {
        let cause = Cause::Record(ahead);
        let parked = may_park && self.park(caller, cause.clone(), identity, mono.plus(WAIT_FOR_RECORD));
        (!parked).then_some(Woken { caller, cause, late: true, head: None })
    }

    /// Lets a call wait, if there is room.
    fn park(
        &mut self,
        caller: Caller,
        cause: Cause,
        identity: &Result<Identity<'_>, IdentityError>,
        deadline: Mono,
    ) -> bool {
        let principal = identity.as_ref().map(Identity::principal).unwrap_or_default();
        let parked = self.waiting.park(Waiter { caller, principal, cause, deadline, head: None }).is_ok();
        self.counters.add(Metric::Waits(if parked { "begun" } else { "full" }), 1);
        parked
    }

    /// Lets a call wait for its body, if there is room.
    fn await_body(
        &mut self,
        caller: Caller,
        mode: BodyMode,
        identity: &Result<Identity<'_>, IdentityError>,
        mono: Mono,
    ) -> bool {
        let principal = identity.as_ref().map(Identity::principal).unwrap_or_default();
        let (cause, deadline) = (Cause::Body(mode), mono.plus(WAIT_FOR_BODY));
        let waits = self.unread.park(Waiter { caller, principal, cause, deadline, head: None }).is_ok();
        self.counters.add(Metric::Bodies(if waits { "awaited" } else { "full" }), 1);
        waits
    }

    /// The call of this context, if it waits for something.
    #[must_use]
    pub fn waits(&self, context: u32) -> Option<&Waiter> {
        self.unread.get(context).or_else(|| self.waiting.get(context)).or_else(|| self.held.get(context))
    }

    /// Keeps the header map of a call whose body is awaited and whose head goes on.
    pub fn keep_head(&mut self, context: u32, head: Box<[u8]>) {
        let waits_for_body = self.unread.get(context).is_some();
        let waiting = if waits_for_body { &mut self.unread } else { &mut self.waiting };
        waiting.keep_head(context, head);
    }

    /// Takes out a call that waits for anything.
    pub fn take_waiter(&mut self, context: u32) -> Option<Waiter> {
        self.unread.take(context).or_else(|| self.waiting.take(context)).or_else(|| self.held.take(context))
    }

    /// Takes out a call whose body is there, or never will be.
    pub fn take_unread(&mut self, context: u32) -> Option<Waiter> {
        self.unread.take(context)
    }

    /// The responses that are to be masked.
    #[must_use]
    pub const fn masking(&self) -> &Masking {
        &self.masking
    }

    /// Forgets a call whose response has gone by.
    pub fn masked(&mut self, context: u32) {
        if self.masking.end(context).is_some() {
            self.counters.add(Metric::Responses("masked"), 1);
        }
    }

    /// The document that takes the place of a response that cannot be masked; records that. Where more of the response
    /// is to come, it is kept until that is over.
    pub fn withhold(
        &mut self,
        context: u32,
        status: Option<u16>,
        why: &Withheld,
        more: bool,
        mono: Mono,
    ) -> Option<Reply> {
        let (caller, MaskedCall { service, criticality, mut event, .. }) = self.masking.end(context)?;
        let id = decision_id(&self.sync, &mut self.random, mono);
        event.ended = Some(std::mem::replace(&mut event.id, id));
        event.decision = DecisionWord::Deny;
        event.reasons = vec![why.code().into()];
        event.instead_of = None;
        event.position = self.sync.position();
        let reply = Reply::withheld(status, why, service.clone(), event.id.to_string());
        self.counters.decided(&service, DecisionWord::Deny, criticality, ENFORCE);
        self.counters.add(Metric::Refusals(why.code()), 1);
        self.counters.add(Metric::Responses("withheld"), 1);
        record(&mut self.records, &mut self.counters, event, mono);
        if more {
            self.masking.withhold(caller, reply.body.clone());
        }
        Some(reply)
    }

    /// Whether a call waits for a record or a claim that is not under way yet.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.records.is_urgent() || self.claims.is_urgent() || self.holds.is_urgent()
    }

    /// Whether the decision that was just made is one of those whose duration is measured.
    pub const fn is_sampled(&mut self) -> bool {
        self.unmeasured = self.unmeasured.wrapping_add(1);
        let sampled = self.unmeasured >= SAMPLED;
        if sampled {
            self.unmeasured = 0;
        }
        sampled
    }

    /// The calls that wait for something that answers tell of.
    #[must_use]
    pub const fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Calls to look whether they are still there: all that wait, and some of those whose responses are awaited.
    pub fn to_look_for(&mut self) -> Vec<Caller> {
        let nobody = self.waiting.is_empty() && self.unread.is_empty() && self.masking.is_empty();
        if nobody && self.uses.is_empty() && self.held.is_empty() {
            return Vec::new();
        }
        let waiting = self.waiting.callers().chain(self.unread.callers()).chain(self.held.callers());
        let mut callers: Vec<Caller> = waiting.collect();
        callers.extend(self.masking.some());
        callers.extend(self.uses.some());
        callers
    }

    /// Forgets calls under grants that have ended, as `is_there` tells; gives those that must not go on, and why. Each is
    /// to be told with [`Self::reset`] once it is reset, or given back to [`Self::take_back`].
    pub fn ended(&mut self, mono: Mono, is_there: impl Fn(Caller) -> bool) -> Vec<(Open, Why)> {
        self.streams.find(is_there);
        self.streams.due(&self.sync, mono)
    }

    /// Records that a call was reset while it ran.
    pub fn reset(&mut self, open: &Open, why: Why, mono: Mono) {
        self.counters.add(Metric::Resets(why.code()), 1);
        let id = decision_id(&self.sync, &mut self.random, mono);
        // Without a readable beginning it is a gap of one.
        let event = open.ending(why, &id, self.sync.position()).unwrap_or_default();
        let told = Told::new(event, None).into();
        count(&mut self.counters, self.records.push_written(DecisionWord::Deny, told, mono));
    }

    /// Takes back a call that could not be reset.
    pub fn take_back(&mut self, open: Open) {
        self.streams.take_back(open);
    }

    /// The calls that have waited long enough, to be decided again ([`Turn::Again`]). To be asked after every tick and
    /// every answer.
    pub fn woken(&mut self, mono: Mono) -> Vec<Woken> {
        let mut woken = Vec::new();
        if !self.waiting.is_empty() {
            let (position, records, claims) = (self.sync.position(), &self.records, &self.claims);
            woken = self.waiting.take_due(mono, &|cause| match cause {
                Cause::Revision(wanted) => position >= Some(*wanted),
                Cause::Record(ahead) => records.is_acknowledged(ahead.seq),
                Cause::Claim(claiming) => claims.is_settled(&claiming.id),
                Cause::Hold(_) | Cause::Body(_) => false,
            });
            for woken in &woken {
                self.counters.add(Metric::Waits(if woken.late { "late" } else { "settled" }), 1);
            }
        }
        if !self.held.is_empty() {
            let (position, holds) = (self.sync.position(), &self.holds);
            woken.extend(self.held.take_due(mono, &|cause| match cause {
                Cause::Hold(id) => holds.is_settled(id, position),
                _ => false,
            }));
        }
        if !self.unread.is_empty() {
            let late = self.unread.take_due(mono, &|_| false);
            self.counters.add(Metric::Bodies("late"), u64::try_from(late.len()).unwrap_or(u64::MAX));
            woken.extend(late);
        }
        woken
    }

    /// Forgets a call that is gone.
    pub fn gone(&mut self, context: u32, mono: Mono) {
        if let Some(waiter) = self.waiting.take(context) {
            self.counters.add(Metric::Waits("gone"), 1);
            self.forget(&waiter.cause, mono);
        }
        if let Some(waiter) = self.held.take(context) {
            self.forget(&waiter.cause, mono);
        }
        self.use_ended(context, UseOutcome::Unknown, None, mono);
        if self.unread.forget(context) {
            self.counters.add(Metric::Bodies("gone"), 1);
        }
        if self.masking.end(context).is_some() {
            self.counters.add(Metric::Responses("gone"), 1);
        }
    }
}

/// What of the plugin is asked while a call is decided.
struct Asked<'p> {
    masking: &'p Masking,
    streams: &'p Streams,
    uses: &'p Uses,
    whose: &'p dyn Fn() -> u64,
    /// The records, if the call may be added to one.
    joins: Option<(&'p mut Records, Mono)>,
}

impl Vm for Asked<'_> {
    fn has_room(&self, of: Room) -> bool {
        match of {
            Room::Mask => self.masking.has_room(self.whose),
            Room::Run => self.streams.has_room(self.whose),
            Room::Use => self.uses.has_room(self.whose),
        }
    }

    fn join(&mut self, call: &Alike<'_>, request_id: Option<&str>) -> Result<Joined, Option<Key>> {
        let (records, mono) = self.joins.as_mut().ok_or(None)?;
        records.join(call, request_id, *mono).map_err(Some)
    }
}

fn decision_id(sync: &Sync, random: &mut Random, mono: Mono) -> DecisionId {
    // Only for sorting; before the control plane's time is known, the proxy's uptime must do.
    let millis = sync.latest(mono).and_then(|at| u64::try_from(at.millis()).ok());
    DecisionId::new(millis.unwrap_or(mono.millis()), random.unique())
}

fn record(records: &mut Records, counters: &mut Counters, event: Box<DecisionEvent<'_>>, mono: Mono) {
    count(counters, records.push(event, mono));
}

pub(super) fn count(counters: &mut Counters, pushed: Pushed) {
    counters.add(Metric::RecordsMade, 1);
    match pushed {
        Pushed::Kept => {}
        Pushed::Folded => counters.add(Metric::RecordsFolded, 1),
        Pushed::Dropped => counters.add(Metric::RecordsDropped, 1),
    }
}
