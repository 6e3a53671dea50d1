//! All that one plugin keeps in one VM: what it knows, what it has to report, and who asks. Root contexts come and go
//! with configurations; this stays. `root` and `http` call it; it knows nothing of the host.

use std::rc::Rc;

use grantmesh_shared::engine::Criticality;
use grantmesh_shared::id::{DecisionId, VmId};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord};
use grantmesh_shared::wire::sync::VmIdentity;

use crate::clock::Mono;
use crate::config::Config;
use crate::flow::{self, Knowledge, Outcome, RecordsState};
use crate::headers::Headers;
use crate::identity::{Identity, IdentityError};
use crate::metrics::{Counters, Metric};
use crate::pulse::{Pulse, Wall};
use crate::question::{Answer, Question, Topic};
use crate::random::Random;
use crate::records::{Pushed, Records};
use crate::reply::Reply;
use crate::sync::{Progress, Sync};
use crate::waiting::{Ahead, Caller, Cause, Waiter, Waiting, Woken};

/// How long a call waits for a state that its caller has heard of.
const WAIT_FOR_REVISION: Span = Span::from_millis(500);

/// How long a critical call waits for the acknowledgement of its record.
const WAIT_FOR_RECORD: Span = Span::from_millis(2_000);

/// The mode in which calls are decided.
const ENFORCE: &str = "enforce";

/// Decisions that are only recorded.
const SHADOW: &str = "shadow";

/// The plugin of one VM.
#[derive(Debug)]
pub struct Plugin {
    sync: Sync,
    records: Records,
    waiting: Waiting,
    pulse: Pulse,
    counters: Counters,
    random: Random,
    /// Which root context asks: the one with the newest configuration.
    asker: u32,
    /// Decisions since the last one that was measured.
    unmeasured: u32,
}

/// Which time a call is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The first; it may wait.
    First(Caller),
    /// The first, where nothing can wait.
    Only,
    /// After it has waited. It does not wait for the same again.
    Again(Woken),
}

impl Turn {
    const fn caller(&self) -> Option<Caller> {
        match self {
            Self::First(caller) => Some(*caller),
            Self::Only => None,
            Self::Again(woken) => Some(woken.caller),
        }
    }
}

/// What becomes of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is answered here.
    Answer(Reply),
    /// It waits, and is decided again when [`Plugin::woken`] tells.
    Wait,
}

impl Verdict {
    /// The word for logs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "allow",
            Self::Wait => "wait",
            Self::Answer(reply) => reply.word.as_str(),
        }
    }
}

/// Of so many decisions one is measured.
const SAMPLED: u32 = 8;

/// A gauge's name and value.
pub type Gauge = (&'static str, u64);

impl Plugin {
    /// For a first configuration; `seed` is from the system's random source.
    #[must_use]
    pub fn new(config: &Config, node: String, seed: [u8; 32], mono: Mono) -> Self {
        let mut random = Random::new(seed);
        let filter =
            VmIdentity { vm: VmId::new(mono.millis(), random.unique()), node, services: config.services.clone() };
        Self {
            sync: Sync::new(filter, config.keys.clone()),
            records: Records::default(),
            waiting: Waiting::default(),
            pulse: Pulse::default(),
            counters: Counters::default(),
            random,
            asker: 0,
            unmeasured: 0,
        }
    }

    /// What is known.
    #[must_use]
    pub const fn sync(&self) -> &Sync {
        &self.sync
    }

    /// What is known, to be taken in from or kept outside of this VM.
    pub const fn sync_mut(&mut self) -> &mut Sync {
        &mut self.sync
    }

    /// Notes a tick; see [`Pulse::tick`].
    pub fn tick(&mut self, before: Mono, wall: Wall, after: Mono) {
        let slept = self.pulse.tick(before, wall, after);
        self.doubt_if(slept);
    }

    /// Notes the moment of a call, before it is decided; see [`Pulse::call`].
    pub fn look(&mut self, wall: Wall, mono: Mono) {
        let slept = self.pulse.call(wall, mono);
        self.doubt_if(slept);
    }

    fn doubt_if(&mut self, slept: bool) {
        if slept {
            self.sync.doubt();
            self.counters.add(Metric::Sleeps, 1);
        }
    }

    /// The stream of records.
    #[must_use]
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// What was counted.
    pub const fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Makes `root` the one that asks, with its configuration. Nothing happens if it already is.
    pub fn ask_through(&mut self, root: u32, config: &Config) {
        if self.asker != root {
            self.asker = root;
            self.sync.retarget(config.services.clone(), config.keys.clone());
            self.records.forget_flight();
        }
    }

    /// Whether `root` is the one that asks.
    #[must_use]
    pub const fn asks_through(&self, root: u32) -> bool {
        self.asker == root
    }

    /// The questions that are due.
    pub fn due(&mut self, mono: Mono) -> Vec<Question> {
        self.sync.report(self.records.state(mono));
        let mut questions = self.sync.due(mono, &mut self.random);
        let sync = &self.sync;
        let batch = self.records.due(sync.filter(), mono, &mut self.random, |at| sync.latest(at));
        questions.extend(batch);
        questions
    }

    /// Takes in an answer.
    ///
    /// # Errors
    /// What is wrong with it, in words for the proxy's log. The next question is already planned then.
    pub fn answered(&mut self, topic: Topic, answer: &Answer<'_>, mono: Mono) -> Result<Option<Progress>, String> {
        if topic == Topic::Records {
            let taken = self.records.answered(answer, self.sync.keys(), mono, &mut self.random);
            return match taken {
                Ok(count) => {
                    self.counters.add(Metric::Callouts(topic, "ok"), 1);
                    self.counters.add(Metric::RecordsAcknowledged, count);
                    Ok(None)
                }
                Err(error) => {
                    self.counters.add(Metric::Callouts(topic, error.code()), 1);
                    Err(error.to_string())
                }
            };
        }
        match self.sync.answered(topic, answer, mono, &mut self.random) {
            Ok(progress) => {
                self.counters.add(Metric::Callouts(topic, "ok"), 1);
                Ok(Some(progress))
            }
            Err(error) => {
                self.counters.add(Metric::Callouts(topic, error.code()), 1);
                Err(error.to_string())
            }
        }
    }

    /// Decides one call.
    pub fn decide(
        &mut self,
        turn: Turn,
        config: &Rc<Config>,
        headers: &Headers<'_>,
        identity: &Result<Identity<'_>, IdentityError>,
        mono: Mono,
    ) -> Verdict {
        let may_wait = matches!(turn, Turn::First(_));
        let caller = turn.caller();
        let (written, late) = match turn {
            Turn::Again(Woken { cause: Cause::Record(ahead), late, .. }) => (Some(ahead), late),
            _ => (None, false),
        };
        let records = match (late, self.records.has_room()) {
            (true, _) => RecordsState::Unacknowledged,
            // The room is taken already.
            (false, false) if written.is_none() => RecordsState::Full,
            _ => RecordsState::Room,
        };
        let knowledge = Knowledge { config, sync: &self.sync, records, may_wait, mono };
        let (random, sync) = (&mut self.random, &self.sync);
        let id = || {
            // Only for sorting; before the control plane's time is known, the proxy's uptime must do.
            let millis = sync.latest(mono).and_then(|at| u64::try_from(at.millis()).ok());
            DecisionId::new(millis.unwrap_or(mono.millis()), random.unique())
        };
        match flow::run(knowledge, headers, identity, id) {
            Outcome::Preflight => {
                self.counters.add(Metric::Preflights, 1);
                Verdict::Pass
            }
            Outcome::Allow { event: Some(event), ahead: true, .. } if written.is_none() => {
                self.counters.add(Metric::RecordsMade, 1);
                let (id, grant) = (event.id.clone(), event.grant.clone());
                let ahead = Ahead { seq: self.records.push_ahead(event, mono), id, grant };
                let Some(woken) = self.wait_for_record(ahead, caller, identity, mono) else {
                    return Verdict::Wait;
                };
                self.decide(Turn::Again(woken), config, headers, identity, mono)
            }
            Outcome::Allow { service, criticality, errors, event, .. } => {
                self.counters.decided(service, DecisionWord::Allow, criticality, ENFORCE);
                self.counters.condition_errors(&errors);
                // While it waited, another grant may have come to be the one that allows it.
                let new = event.filter(|event| written.as_ref().is_none_or(|ahead| ahead.grant != event.grant));
                if let Some(mut event) = new {
                    event.instead_of = written.map(|ahead| ahead.id);
                    record(&mut self.records, &mut self.counters, event, mono);
                }
                Verdict::Pass
            }
            Outcome::Wait(position) => {
                let cause = Cause::Revision(position);
                if self.park(caller, cause, identity, mono.plus(WAIT_FOR_REVISION)) {
                    self.sync.hurry(mono);
                    return Verdict::Wait;
                }
                self.decide(Turn::Only, config, headers, identity, mono)
            }
            Outcome::Shadow { service, criticality, word, reason, errors, mut event } => {
                event.instead_of = written.map(|ahead| ahead.id);
                self.counters.decided(service, word, criticality, SHADOW);
                self.counters.condition_errors(&errors);
                self.counters.add(Metric::Shadowed(reason), 1);
                record(&mut self.records, &mut self.counters, event, mono);
                Verdict::Pass
            }
            Outcome::Refuse { service, criticality, word, reason, errors, mut event, reply } => {
                event.instead_of = written.map(|ahead| ahead.id);
                self.counters.decided(service.unwrap_or("unknown"), word, criticality, ENFORCE);
                self.counters.condition_errors(&errors);
                self.counters.add(Metric::Refusals(reason), 1);
                record(&mut self.records, &mut self.counters, event, mono);
                Verdict::Answer(reply)
            }
        }
    }

    /// Lets a call wait until the record that was written ahead of it is acknowledged. Gives what it is to be decided with
    /// at once where it cannot wait.
    fn wait_for_record(
        &mut self,
        ahead: Ahead,
        caller: Option<Caller>,
        identity: &Result<Identity<'_>, IdentityError>,
        mono: Mono,
    ) -> Option<Woken> {
        let cause = Cause::Record(ahead);
        let parked = self.park(caller, cause.clone(), identity, mono.plus(WAIT_FOR_RECORD));
        (!parked).then(|| Woken { caller: caller.unwrap_or_default(), cause, late: true })
    }

    /// Whether a call waits for a record that is not under way yet.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        self.records.is_urgent()
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

    /// The root context that asks.
    #[must_use]
    pub const fn asker(&self) -> u32 {
        self.asker
    }

    /// Lets a call wait, if it may and there is room.
    fn park(
        &mut self,
        caller: Option<Caller>,
        cause: Cause,
        identity: &Result<Identity<'_>, IdentityError>,
        deadline: Mono,
    ) -> bool {
        let Some(caller) = caller else {
            return false;
        };
        let principal = identity.as_ref().map(Identity::principal).unwrap_or_default();
        let parked = self.waiting.park(Waiter { caller, principal, cause, deadline }).is_ok();
        self.counters.add(Metric::Waits(if parked { "begun" } else { "full" }), 1);
        parked
    }

    /// The calls that wait.
    #[must_use]
    pub const fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The calls that have waited long enough, to be decided again ([`Turn::Again`]). To be asked after every tick and
    /// every answer.
    pub fn woken(&mut self, mono: Mono) -> Vec<Woken> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let (position, records) = (self.sync.position(), &self.records);
        let woken = self.waiting.take_due(mono, |cause| match cause {
            Cause::Revision(wanted) => position >= Some(*wanted),
            Cause::Record(ahead) => records.is_acknowledged(ahead.seq),
        });
        for woken in &woken {
            self.counters.add(Metric::Waits(if woken.late { "late" } else { "settled" }), 1);
        }
        woken
    }

    /// Forgets a call that waited and is gone.
    pub fn gone(&mut self, context: u32) {
        if self.waiting.forget(context) {
            self.counters.add(Metric::Waits("gone"), 1);
        }
    }

    /// The gauges as they stand.
    #[must_use]
    pub fn gauges(&self, mono: Mono) -> Vec<Gauge> {
        let position = self.sync.position();
        let count = |items: usize| u64::try_from(items).unwrap_or(u64::MAX);
        let stream = self.records.state(mono);
        let mut gauges = vec![
            ("grantmesh.waiting", count(self.waiting.len())),
            ("grantmesh.records.lag_ms", stream.lag_ms),
            ("grantmesh.ready", u64::from(self.sync.is_fresh(Criticality::Critical, mono))),
            ("grantmesh.table.items", count(self.sync.item_count())),
            ("grantmesh.table.epoch", position.map_or(0, |position| position.epoch)),
            ("grantmesh.table.revision", position.map_or(0, |position| position.revision)),
            ("grantmesh.records.kept", count(self.records.kept())),
        ];
        // A table that was never confirmed has no age.
        gauges.extend(self.sync.age(mono).map(|age| ("grantmesh.table.age_ms", age.millis())));
        gauges
    }
}

fn record(records: &mut Records, counters: &mut Counters, event: Box<DecisionEvent<'_>>, mono: Mono) {
    counters.add(Metric::RecordsMade, 1);
    match records.push(event, mono) {
        Pushed::Kept => {}
        Pushed::Folded => counters.add(Metric::RecordsFolded, 1),
        Pushed::Dropped => counters.add(Metric::RecordsDropped, 1),
    }
}
