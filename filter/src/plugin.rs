//! All that one plugin keeps in one VM: what it knows, what it has to report, and who asks. Root contexts come and go
//! with configurations; this stays. `root` and `http` call it; it knows nothing of the host.

mod calls;
mod claimed;
mod held;

use grantmesh_shared::engine::Criticality;
use grantmesh_shared::id::VmId;
use grantmesh_shared::wire::sync::VmIdentity;

pub use calls::{Turn, Verdict};

use crate::callbacks;
use crate::claims::Claims;
use crate::clock::Mono;
use crate::config::Config;
use crate::holds::Holds;
use crate::masking::Masking;
use crate::metrics::{Counters, Metric};
use crate::offline::Offlines;
use crate::pulse::{Pulse, Wall};
use crate::question::{Answer, AnswerError, Question, Topic};
use crate::random::Random;
use crate::records::Records;
use crate::streams::Streams;
use crate::sync::{Progress, Sync};
use crate::uses::Uses;
use crate::waiting::Waiting;

/// The most calls of one principal that wait for their bodies in one VM.
const MOST_UNREAD_PER_PRINCIPAL: usize = 256;

/// The most calls of one principal that are held in one VM.
const MOST_HELD_PER_PRINCIPAL: usize = 8;

/// The plugin of one VM.
#[derive(Debug)]
pub struct Plugin {
    sync: Sync,
    records: Records,
    claims: Claims,
    uses: Uses,
    waiting: Waiting,
    /// Calls whose bodies are awaited.
    unread: Waiting,
    holds: Holds,
    /// Calls that are held while people decide.
    held: Waiting,
    masking: Masking,
    streams: Streams,
    offlines: Offlines,
    pulse: Pulse,
    counters: Counters,
    random: Random,
    /// Which root context asks: the one with the newest configuration.
    asker: u32,
    /// Decisions since the last one that was measured.
    unmeasured: u32,
}

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
            claims: Claims::default(),
            uses: Uses::default(),
            waiting: Waiting::default(),
            unread: Waiting::with_room_for(MOST_UNREAD_PER_PRINCIPAL),
            holds: Holds::default(),
            held: Waiting::with_room_for(MOST_HELD_PER_PRINCIPAL),
            masking: Masking::default(),
            streams: Streams::default(),
            offlines: Offlines::default(),
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
        self.doubt_if(slept, after);
    }

    /// Notes the moment of a call, before it is decided; see [`Pulse::call`].
    pub fn look(&mut self, wall: Wall, mono: Mono) {
        let slept = self.pulse.call(wall, mono);
        self.doubt_if(slept, mono);
    }

    fn doubt_if(&mut self, slept: bool, mono: Mono) {
        if slept {
            self.sync.doubt(mono);
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
    pub fn ask_through(&mut self, root: u32, config: &Config, mono: Mono) {
        if self.asker != root {
            self.asker = root;
            self.sync.retarget(config.services.clone(), config.keys.clone(), mono);
            self.records.forget_flight();
            self.holds.forget_flight();
            if callbacks::for_bodies() {
                self.claims.forget_flights();
            }
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
        if callbacks::for_bodies() {
            questions.extend(self.claims.due(self.sync.filter(), mono, &mut self.random));
        }
        questions.extend(self.holds.due(self.sync.filter(), self.sync.position(), mono, &mut self.random));
        questions
    }

    /// Takes in an answer.
    ///
    /// # Errors
    /// What is wrong with it, in words for the proxy's log. The next question is already planned then.
    pub fn answered(&mut self, topic: Topic, answer: &Answer<'_>, mono: Mono) -> Result<Option<Progress>, String> {
        if let Topic::Claims(key) = topic
            && callbacks::for_bodies()
        {
            return match self.claims.answered(key, answer, self.sync.keys()) {
                Ok(orphans) => {
                    self.counters.add(Metric::Callouts(topic.as_str(), "ok"), 1);
                    self.orphaned(orphans, mono);
                    Ok(None)
                }
                Err(error) => {
                    self.counters.add(Metric::Callouts(topic.as_str(), error.code()), 1);
                    Err(error.to_string())
                }
            };
        }
        if topic == Topic::Records {
            let taken = self.records.answered(answer, self.sync.keys(), mono, &mut self.random);
            return match taken {
                Ok(count) => {
                    self.counters.add(Metric::Callouts(topic.as_str(), "ok"), 1);
                    self.counters.add(Metric::RecordsAcknowledged, count);
                    Ok(None)
                }
                Err(error) => {
                    self.counters.add(Metric::Callouts(topic.as_str(), error.code()), 1);
                    Err(error.to_string())
                }
            };
        }
        if topic == Topic::Holds {
            let taken = self.holds.answered(answer, self.sync.keys(), mono, &mut self.random);
            self.counters
                .add(Metric::Callouts(topic.as_str(), taken.as_ref().err().map_or("ok", AnswerError::code)), 1);
            return taken.map(|()| None).map_err(|error| error.to_string());
        }
        match self.sync.answered(topic, answer, mono, &mut self.random) {
            Ok(progress) => {
                self.counters.add(Metric::Callouts(topic.as_str(), "ok"), 1);
                Ok(Some(progress))
            }
            Err(error) => {
                self.counters.add(Metric::Callouts(topic.as_str(), error.code()), 1);
                Err(error.to_string())
            }
        }
    }

    /// The root context that asks.
    #[must_use]
    pub const fn asker(&self) -> u32 {
        self.asker
    }

    /// The gauges as they stand.
    #[must_use]
    pub fn gauges(&self, mono: Mono) -> Vec<Gauge> {
        let position = self.sync.position();
        let count = |items: usize| u64::try_from(items).unwrap_or(u64::MAX);
        let stream = self.records.state(mono);
        let mut gauges = vec![
            ("grantmesh.waiting", count(self.waiting.len().saturating_add(self.unread.len()))),
            ("grantmesh.holding", count(self.held.len())),
            ("grantmesh.masking", count(self.masking.len())),
            ("grantmesh.running", count(self.streams.len())),
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
