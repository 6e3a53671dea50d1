//! How a filter follows the state: long poll, heartbeat, back-off, freshness and acknowledgement, as a state machine
//! that is told the time, random numbers and answers, and gives back questions to send. Driven by `plugin`.
//! It never applies half an answer, never counts half a step as the whole, never goes back in (epoch, revision), and never
//! calls itself fresher than it is.

mod apply;

use grantmesh_shared::engine::{Criticality, Now, Table};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::read;
use grantmesh_shared::wire::records::StreamState;
use grantmesh_shared::wire::sync::{
    Applied, Change, Freshness, HEARTBEAT_PATH, HeartbeatAnswer, HeartbeatRequest, PageRequest, Position, SYNC_PATH,
    SyncAnswer, SyncRequest, VmIdentity,
};
use grantmesh_shared::wire::table::ItemError;
use grantmesh_shared::wire::{PROTOCOL_VERSION, TableHash};

use crate::clock::{Mono, ServerClock};
use crate::fence::{Fence, MAX_TABLE_BYTES, all_unsealed};
use crate::question::{self, Answer, AnswerError, PinnedKey, Question, Topic, verified};
use crate::random::Random;
use apply::{Contents, Pages, Retired, Step};

/// How long the control plane may hold a poll.
const WAIT: Span = Span::from_secs(25);

/// After this long a poll has failed.
const POLL_TIMEOUT: Span = Span::from_secs(35);

/// A question whose answer does not even fail within this long after its timeout is taken for lost.
const LOST_AFTER: Span = Span::from_secs(5);

/// The longest that a heartbeat may take.
const HEARTBEAT_TIMEOUT_MILLIS: (u64, u64) = (250, 2_000);

/// So long after a doubt what ran before it may go on: with the tick that ends it, within a second.
const GRACE: Span = Span::from_millis(900);

/// A question that somebody waits for is not asked more often than this, whoever wants it.
const HURRY: Span = Span::from_millis(500);

/// Heartbeats are never closer than this, whatever the bounds say.
const MIN_HEARTBEAT_MILLIS: u64 = 100;

/// So often a page that does not come is asked for again before the snapshot or step is begun anew.
const PAGE_ASKED_AGAIN: u32 = 4;

/// So often in a row a step is begun anew in its middle, by replicas that cut it in different ways or do not know its point,
/// before it is asked for in one answer, or as everything.
const BEGUN_ANEW: u32 = 4;

/// Between two pages of a large snapshot or step, while most calls are still let through by the table that there is: pages
/// take a twentieth of a worker's time, so that hardly a call meets two of them.
const PAGE_PAUSE: Span = Span::from_millis(4);

/// Pages up to this one, with some 17,000 grants, are taken at full speed, in a second or two.
const PAUSED_FROM: u32 = 2_048;

/// Back-off after failed polls, from and to.
const BACK_OFF_MILLIS: (u64, u64) = (1_000, 30_000);

/// Why an answer was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// No answer to this question that a pinned key signed, or a refusal.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The answer would take the filter back.
    #[error(
        "the answer is at epoch {} revision {}, before what is known here\nif the control plane's database was restored, begin a new epoch with `grantmesh new-epoch`",
        .0.epoch,
        .0.revision
    )]
    Rollback(Position),
    /// A page that was not asked for, or a change that does not fit the question.
    #[error("the answer does not fit its question")]
    Unexpected,
    /// An item is not understood.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// The same key twice in one answer or snapshot, or in what a step changes at one go.
    #[error("the answer names the item `{0}` twice")]
    Twice(String),
    /// The table would not have the hash that it must have.
    #[error("the table's hash is not the control plane's; asking for a snapshot")]
    TableHash,
    /// A snapshot beyond what a filter may hold, or a step beyond what one may be.
    #[error("what is to be loaded is larger than a filter may hold")]
    TooLarge,
}

impl SyncError {
    /// A short stable word for metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Answer(error) => error.code(),
            Self::Rollback(_) => "rollback",
            Self::Unexpected => "unexpected",
            Self::Item(_) => "item",
            Self::Twice(_) => "twice",
            Self::TableHash => "table_hash",
            Self::TooLarge => "too_large",
        }
    }
}

/// What an answer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing had changed.
    Unchanged,
    /// A step was applied.
    Delta,
    /// A page was put aside, or is in force if it is one of a step that does not wait for the next; more are to come.
    Page,
    /// The table was replaced.
    Snapshot,
    /// A heartbeat showed that the table is current.
    Current,
    /// A heartbeat showed that there is something newer, which the poll will bring, or knew less than is here already.
    Behind,
}

/// A question under way.
#[derive(Debug)]
struct Flight {
    nonce: String,
    sent: Mono,
    lost: Mono,
    /// For a poll: whether it said what is applied.
    incremental: bool,
    /// What was applied then.
    applied: Option<Applied>,
    /// The furthest point that this proxy had heard of then: the answer is not before it.
    floor: Option<Position>,
}

/// The state machine.
#[derive(Debug)]
pub struct Sync {
    filter: VmIdentity,
    keys: Vec<PinnedKey>,
    contents: Contents,
    position: Option<Position>,
    /// The hash of the table at that point, where pages of a step have changed it since, and the point that they led to.
    before: Option<(TableHash, Position)>,
    step: Option<Step>,
    /// How often in a row a step was begun anew in its middle.
    begun_anew: u32,
    /// Pages of steps that were applied.
    pages_applied: u64,
    clock: ServerClock,
    freshness: Freshness,
    /// When the last question was sent whose answer showed that the table was current.
    confirmed: Option<Mono>,
    /// Since when nothing counts as fresh that did before.
    doubted: Option<Mono>,
    pages: Option<Pages>,
    retired: Retired,
    fence: Fence,
    /// The last whole table as it was signed, to be kept for other VMs.
    to_keep: Option<Vec<u8>>,
    /// Whether a table that other VMs kept was asked for.
    asked_for_kept: bool,
    wants_snapshot: bool,
    poll: Option<Flight>,
    heartbeat: Option<Flight>,
    next_poll: Mono,
    next_heartbeat: Mono,
    /// When somebody last could not wait for the next question.
    hurried: Option<Mono>,
    /// Failed polls since the last good one.
    failures: u32,
    /// How the stream of records stands, for the next heartbeat.
    stream: StreamState,
}

impl Sync {
    /// With nothing known yet; the first poll is due at once.
    #[must_use]
    pub fn new(filter: VmIdentity, keys: Vec<PinnedKey>) -> Self {
        Self {
            filter,
            keys,
            contents: Contents::default(),
            position: None,
            before: None,
            step: None,
            begun_anew: 0,
            pages_applied: 0,
            clock: ServerClock::default(),
            freshness: Freshness::default(),
            confirmed: None,
            doubted: None,
            pages: None,
            retired: Retired::default(),
            fence: Fence::default(),
            to_keep: None,
            asked_for_kept: false,
            wants_snapshot: false,
            poll: None,
            heartbeat: None,
            next_poll: Mono::default(),
            next_heartbeat: Mono::default(),
            hurried: None,
            failures: 0,
            stream: StreamState::default(),
        }
    }

    /// Takes over a new configuration. Questions under way are forgotten, since their sender may be gone. If the
    /// services changed, what is held may lack some of them: a snapshot is asked for and nothing counts as fresh until then.
    pub fn retarget(&mut self, services: Vec<String>, keys: Vec<PinnedKey>, mono: Mono) {
        if self.filter.services != services {
            self.filter.services = services;
            self.wants_snapshot = true;
            self.forget_confirmation(mono);
        }
        self.keys = keys;
        self.give_up_pages();
        self.poll = None;
        self.heartbeat = None;
        self.next_poll = Mono::default();
        self.next_heartbeat = Mono::default();
    }

    /// The machine may have slept for any time: nothing counts as fresh until a question that is asked from now on is
    /// answered, and questions under way are forgotten.
    pub fn doubt(&mut self, mono: Mono) {
        self.forget_confirmation(mono);
        self.clock.doubt();
        self.give_up_pages();
        self.poll = None;
        self.heartbeat = None;
        self.next_poll = Mono::default();
        self.next_heartbeat = Mono::default();
    }

    /// Takes in what is kept outside of this VM about the furthest point.
    pub fn read_point(&mut self, kept: &[u8]) {
        self.fence.read(kept, &self.keys);
    }

    /// What belongs there in its place.
    #[must_use]
    pub fn point_to_keep(&self) -> Option<&[u8]> {
        self.fence.to_keep()
    }

    /// The last whole table as it was signed, if it is new; told once.
    pub fn take_table_to_keep(&mut self) -> Option<Vec<u8>> {
        self.to_keep.take()
    }

    /// Whether a table that is kept outside of this VM would help; told once, before the first question.
    pub const fn wants_kept_table(&mut self) -> bool {
        !std::mem::replace(&mut self.asked_for_kept, true) && self.position.is_none()
    }

    /// Begins with a table that is kept outside of this VM, if there is none yet and a pinned key signed it. It counts for
    /// nothing until an answer to a question of this VM confirms it. Tells whether it was taken.
    pub fn begin_with(&mut self, kept: &[u8]) -> bool {
        if self.position.is_some() || kept.len() > MAX_TABLE_BYTES {
            return false;
        }
        // One that is behind what is known is as good as any: the first answer brings what is missing.
        let Some(pages) = self.kept_pages(kept) else { return false };
        self.position = Some(pages.position());
        self.contents = pages.into_contents();
        true
    }

    /// The pages of a kept table, if they are all of one.
    fn kept_pages(&self, kept: &[u8]) -> Option<Pages> {
        let mut pages: Option<Pages> = None;
        let mut is_whole = false;
        for body in all_unsealed(kept, &self.keys)? {
            let answer: SyncAnswer = read::from_bytes(body).ok()?;
            let Change::Snapshot { index, last, puts } = answer.change else { return None };
            if answer.v != PROTOCOL_VERSION || is_whole {
                return None;
            }
            let begin = || Pages::new(answer.position, answer.table_hash, Mono::default());
            pages.get_or_insert_with(begin).add(index, answer.position, answer.table_hash, &puts).ok()?;
            is_whole = last;
        }
        pages.filter(|pages| is_whole && pages.check().is_ok())
    }

    /// Who asks.
    #[must_use]
    pub const fn filter(&self) -> &VmIdentity {
        &self.filter
    }

    /// The keys that are believed.
    #[must_use]
    pub fn keys(&self) -> &[PinnedKey] {
        &self.keys
    }

    /// The table, once there is one.
    #[must_use]
    pub fn table(&self) -> Option<&Table> {
        self.position.map(|_| self.contents.table())
    }

    /// How many items the table has.
    #[must_use]
    pub fn item_count(&self) -> usize {
        self.contents.len()
    }

    /// The point that is applied.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        self.position
    }

    /// How many pages of steps have changed the table: more of them come before its point moves.
    #[must_use]
    pub const fn pages_applied(&self) -> u64 {
        self.pages_applied
    }

    /// The bounds of the control plane's time; nothing before its first answer.
    #[must_use]
    pub fn now(&self, mono: Mono) -> Option<Now> {
        self.clock.at(mono)
    }

    /// The filter's upper bound of the control plane's time at a point, which may be past.
    #[must_use]
    pub fn latest(&self, mono: Mono) -> Option<Timestamp> {
        self.clock.at(mono).map(|now| now.latest)
    }

    /// Whether the upper bound of the control plane's time can be gone by although nothing is fresh.
    #[must_use]
    pub const fn knows_time(&self) -> bool {
        self.clock.is_sure()
    }

    /// Whether what is known is fresh enough for calls of that criticality.
    #[must_use]
    pub fn is_fresh(&self, criticality: Criticality, mono: Mono) -> bool {
        let bound = self.freshness.bound(criticality).duration();
        self.confirmed.is_some_and(|sent| mono.since(sent) < bound)
    }

    /// Whether what is known may still be gone by for calls of that criticality that run already: as [`Self::is_fresh`],
    /// and for [`GRACE`] after a doubt, which a question settles unless the control plane cannot be reached.
    #[must_use]
    pub fn may_run_on(&self, criticality: Criticality, mono: Mono) -> bool {
        let just_doubted = self.confirmed.is_none() && self.doubted.is_some_and(|doubted| mono < doubted.plus(GRACE));
        just_doubted || self.is_fresh(criticality, mono)
    }

    fn forget_confirmation(&mut self, mono: Mono) {
        if self.confirmed.take().is_some() {
            self.doubted = Some(mono);
        }
    }

    /// Somebody waits for what may have happened just now: asks at once, but not again within [`HURRY`].
    pub fn hurry(&mut self, mono: Mono) {
        if self.hurried.is_some_and(|hurried| mono < hurried.plus(HURRY)) {
            return;
        }
        self.hurried = Some(mono);
        self.next_poll = self.next_poll.min(mono);
        self.next_heartbeat = self.next_heartbeat.min(mono);
    }

    /// How old what is known is: nothing before the first confirmation.
    #[must_use]
    pub fn age(&self, mono: Mono) -> Option<Span> {
        let age = mono.since(self.confirmed?).as_millis();
        Some(Span::from_millis(u64::try_from(age).unwrap_or(u64::MAX)))
    }

    /// Takes in how the stream of records stands; the next heartbeat tells it.
    pub const fn report(&mut self, stream: StreamState) {
        self.stream = stream;
    }

    /// The questions that are due. To be asked after every tick and every answer.
    pub fn due(&mut self, mono: Mono, random: &mut Random) -> Vec<Question> {
        self.expire_lost(mono, random);
        self.retired.free_some();
        let mut questions = Vec::new();
        if self.poll.is_none() && mono >= self.next_poll {
            questions.push(self.ask_poll(mono, random));
        }
        if self.heartbeat.is_none() && self.position.is_some() && mono >= self.next_heartbeat {
            questions.push(self.ask_heartbeat(mono, random));
        }
        questions
    }

    /// Takes in an answer, or what came in its place.
    ///
    /// # Errors
    /// If it was not used; the next question is already planned then.
    pub fn answered(
        &mut self,
        topic: Topic,
        answer: &Answer<'_>,
        mono: Mono,
        random: &mut Random,
    ) -> Result<Progress, SyncError> {
        let flight = match topic {
            Topic::Sync => self.poll.take(),
            Topic::Heartbeat => self.heartbeat.take(),
            Topic::Records | Topic::Claims(_) | Topic::Holds => None,
        };
        let flight = flight.ok_or(SyncError::Unexpected)?;
        let progress = match topic {
            Topic::Sync => self.read_sync(&flight, answer, mono),
            Topic::Heartbeat | Topic::Records | Topic::Claims(_) | Topic::Holds => {
                self.read_heartbeat(&flight, answer, mono)
            }
        };
        match &progress {
            Ok(Progress::Current | Progress::Behind) => {
                // Reachable again: a poll that waits because of that need not wait any longer.
                if self.failures > 0 {
                    self.next_poll = mono;
                }
                // The poll under way is held by somebody who has not heard of the change, or was lost on its way.
                let overtaken = self.poll.as_ref().is_some_and(|poll| poll.sent.plus(HURRY) < flight.sent);
                if overtaken && progress == Ok(Progress::Behind) {
                    self.poll = None;
                    self.next_poll = mono;
                }
            }
            Ok(progress) => self.plan_poll(*progress, &flight, mono, random),
            Err(error) => self.plan_after_failure(topic, error, mono, random),
        }
        progress
    }

    /// Notes that a question got no answer.
    pub fn failed(&mut self, topic: Topic, mono: Mono, random: &mut Random) {
        let answer = Answer { status: b"", signature: None, body: b"" };
        // The outcome is always `Unreachable`, and planned for.
        let _unreachable = self.answered(topic, &answer, mono, random);
    }

    fn expire_lost(&mut self, mono: Mono, random: &mut Random) {
        for topic in [Topic::Sync, Topic::Heartbeat] {
            let flight = match topic {
                Topic::Sync => &self.poll,
                Topic::Heartbeat | Topic::Records | Topic::Claims(_) | Topic::Holds => &self.heartbeat,
            };
            if flight.as_ref().is_some_and(|flight| mono >= flight.lost) {
                self.failed(topic, mono, random);
            }
        }
    }

    fn applied(&self) -> Option<Applied> {
        let table_hash = self.before.map_or_else(|| self.contents.hash(), |(hash, _)| hash);
        self.position.map(|position| Applied { position, table_hash })
    }

    fn ask_poll(&mut self, mono: Mono, random: &mut Random) -> Question {
        let snapshot = self.pages.as_ref().map(|pages| (pages.position(), pages.next_index()));
        let snapshot_page = snapshot.map(|(position, index)| (position, index, 0));
        let page = snapshot_page.or_else(|| self.step.as_ref().map(|step| (step.position, step.next, step.cut)));
        let page = page.map(|(position, index, cut)| {
            let is_gentle = index >= PAUSED_FROM && self.is_fresh(Criticality::Standard, mono);
            PageRequest { position, index, cut, pause_ms: if is_gentle { PAGE_PAUSE.millis() } else { 0 } }
        });
        let applied = self.applied().filter(|_| !self.wants_snapshot && snapshot.is_none());
        let nonce = random.nonce();
        let request = SyncRequest {
            v: PROTOCOL_VERSION,
            filter: self.filter.clone(),
            nonce: nonce.clone(),
            applied,
            page,
            in_pages: self.begun_anew < BEGUN_ANEW,
            wait_ms: WAIT.millis(),
        };
        self.poll = Some(Flight {
            nonce,
            sent: mono,
            lost: mono.plus(POLL_TIMEOUT).plus(LOST_AFTER),
            incremental: applied.is_some(),
            applied,
            floor: self.fence.floor(),
        });
        question(Topic::Sync, SYNC_PATH, &request, POLL_TIMEOUT)
    }

    fn heartbeat_interval(&self) -> u64 {
        let half = self.freshness.tightest().millis().wrapping_div(2);
        half.max(MIN_HEARTBEAT_MILLIS)
    }

    fn ask_heartbeat(&mut self, mono: Mono, random: &mut Random) -> Question {
        let interval = self.heartbeat_interval();
        let (low, high) = HEARTBEAT_TIMEOUT_MILLIS;
        let timeout = Span::from_millis(interval.wrapping_div(2).clamp(low, high));
        let nonce = random.nonce();
        let request = HeartbeatRequest {
            v: PROTOCOL_VERSION,
            filter: self.filter.clone(),
            nonce: nonce.clone(),
            applied: self.applied(),
            stream: self.stream,
        };
        self.heartbeat = Some(Flight {
            nonce,
            sent: mono,
            lost: mono.plus(timeout).plus(LOST_AFTER),
            incremental: true,
            applied: request.applied,
            floor: self.fence.floor(),
        });
        // A little early at random, so that the workers of a fleet that started together drift apart.
        let spread = random.between(interval.wrapping_mul(9).wrapping_div(10), interval);
        self.next_heartbeat = mono.plus(Span::from_millis(spread));
        question(Topic::Heartbeat, HEARTBEAT_PATH, &request, timeout)
    }

    fn plan_poll(&mut self, progress: Progress, flight: &Flight, mono: Mono, random: &mut Random) {
        self.failures = 0;
        // At once: the next question acknowledges what was applied. Only an answer that held nothing back and
        // brought nothing is not asked for again at full speed.
        let (low, _) = BACK_OFF_MILLIS;
        let idle = progress == Progress::Unchanged && mono < flight.sent.plus(Span::from_millis(low));
        self.next_poll =
            if idle { mono.plus(Span::from_millis(random.between(low.wrapping_div(2), low))) } else { mono };
    }

    fn plan_after_failure(&mut self, topic: Topic, error: &SyncError, mono: Mono, random: &mut Random) {
        if topic != Topic::Sync {
            // Twice within an interval, so that one lost heartbeat does not make the table stale.
            let soon = self.heartbeat_interval().wrapping_div(4).max(MIN_HEARTBEAT_MILLIS);
            let retry = mono.plus(Span::from_millis(random.between(soon.wrapping_div(2), soon)));
            self.next_heartbeat = self.next_heartbeat.min(retry);
            return;
        }
        // An answer that cannot be applied is not asked for again; one that was not meant for this question, or is older than
        // what is known, says nothing against the table. A page that did not come is asked for again, some times; otherwise a
        // snapshot is begun anew.
        let says_nothing = match error {
            SyncError::Answer(error) => !matches!(error, AnswerError::Malformed(_)),
            other => matches!(other, SyncError::Rollback(_)),
        };
        let is_missing = matches!(error, SyncError::Answer(AnswerError::Unreachable));
        let of_step = self.step.as_mut().map(|step| &mut step.missed);
        let missed = self.pages.as_mut().map(Pages::missed).or(of_step);
        let is_over = missed.is_none_or(|missed| {
            *missed = missed.saturating_add(1);
            *missed > PAGE_ASKED_AGAIN
        });
        if !is_missing || is_over {
            self.give_up_pages();
        }
        if !says_nothing {
            self.wants_snapshot = true;
        }
        let wait = random.back_off(BACK_OFF_MILLIS, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.next_poll = mono.plus(Span::from_millis(wait));
    }

    /// Forgets the pages of a snapshot that is not to be finished, and where a step has come to: the next one begins where this
    /// one did, and says all of it again.
    fn give_up_pages(&mut self) {
        if let Some(changes) = self.step.take().and_then(|step| step.understood) {
            self.retired.take(changes.into_services());
        }
        if let Some(pages) = self.pages.take() {
            self.retired.take(pages.into_contents().into_table());
        }
    }

    fn confirm(&mut self, sent: Mono) {
        self.confirmed = self.confirmed.max(Some(sent));
    }

    fn read_sync(&mut self, flight: &Flight, answer: &Answer<'_>, mono: Mono) -> Result<Progress, SyncError> {
        let body = verified(answer, &self.keys)?;
        let signature = answer.signature.unwrap_or_default();
        let answer: SyncAnswer = question::read(body, &flight.nonce)?;
        // What was heard of since the first page was asked for says nothing against those that follow: they are of one point.
        let is_later_page = match &answer.change {
            Change::Unchanged => false,
            Change::Snapshot { index, .. } | Change::Delta { index, .. } => *index > 0,
        };
        let floor = flight.floor.filter(|_| !is_later_page);
        // What pages led to is in force, although it does not count yet.
        let reached = self.before.map(|(_, reached)| reached);
        if self.position.max(reached).max(floor).is_some_and(|known| answer.position < known) {
            return Err(SyncError::Rollback(answer.position));
        }
        // A history that was begun anew has no step from another one: it begins with everything.
        let same_epoch = flight.applied.is_some_and(|applied| applied.position.epoch == answer.position.epoch);
        let (progress, as_of) = match answer.change {
            Change::Unchanged => {
                if !flight.incremental || !same_epoch {
                    return Err(SyncError::Unexpected);
                }
                self.contents.check_hash(answer.table_hash)?;
                (Progress::Unchanged, flight.sent)
            }
            Change::Delta { puts, removes, index, more, with_next, cut } => {
                // One that is begun anew says again what pages have changed already.
                if index == 0 && self.step.is_some() {
                    self.begun_anew = self.begun_anew.saturating_add(1);
                    self.give_up_pages();
                }
                let mut step = self.step.take();
                let (position, expected) = (answer.position, answer.table_hash);
                let goes_on = step.as_ref().map_or(index == 0, |step| {
                    (step.position, step.expected, step.next, step.cut) == (position, expected, index, cut)
                });
                let is_empty = puts.is_empty() && removes.is_empty();
                if !flight.incremental || !same_epoch || !goes_on || (!more && with_next) || (more && is_empty) {
                    return Err(SyncError::Unexpected);
                }
                let begun = step.as_ref().map_or(flight.sent, |step| step.begun);
                let understood = step.as_mut().and_then(|step| step.understood.take());
                let mut changes = Some(self.contents.understand(understood, puts, removes)?);
                let hash = self.contents.hash();
                if let Some(changes) = changes.take_if(|_| !with_next) {
                    let applied = self.contents.apply(changes, (!more).then_some(expected));
                    if self.before.is_some() && applied.is_err() {
                        self.forget_confirmation(mono);
                    }
                    self.retired.take(applied?);
                    if more {
                        let hash = self.before.map_or(hash, |(hash, _)| hash);
                        self.before = Some((hash, position));
                        self.pages_applied = self.pages_applied.saturating_add(1);
                    }
                }
                if more {
                    let next = index.saturating_add(1);
                    self.step = Some(Step { position, expected, begun, next, cut, missed: 0, understood: changes });
                    (Progress::Page, begun)
                } else {
                    (Progress::Delta, begun)
                }
            }
            Change::Snapshot { index, last, puts } => {
                // A snapshot may also be the answer to a question for a delta that is gone.
                let begin = || Pages::new(answer.position, answer.table_hash, flight.sent);
                let pages = self.pages.get_or_insert_with(begin);
                if puts.is_empty() && !last {
                    return Err(SyncError::Unexpected);
                }
                pages.add(index, answer.position, answer.table_hash, &puts)?;
                pages.keep(signature, body);
                let as_of = pages.begun();
                if last {
                    pages.check()?;
                    self.to_keep = pages.take_signed();
                    let new = self.pages.take().map(Pages::into_contents).unwrap_or_default();
                    self.retired.take(std::mem::replace(&mut self.contents, new).into_table());
                    (Progress::Snapshot, as_of)
                } else {
                    (Progress::Page, as_of)
                }
            }
        };
        self.clock.observe_held(answer.server_time, flight.sent, mono);
        if progress == Progress::Page {
            return Ok(progress);
        }
        self.give_up_pages();
        self.begun_anew = 0;
        self.wants_snapshot = false;
        self.before = None;
        self.position = Some(answer.position);
        self.set_freshness(answer.freshness, mono);
        // Where more was heard of while pages came, the next answer brings it and confirms all of it.
        let at_once = progress != Progress::Snapshot && as_of == flight.sent;
        if at_once || self.fence.floor() <= self.position {
            self.confirm(as_of);
        }
        Ok(progress)
    }

    fn read_heartbeat(&mut self, flight: &Flight, answer: &Answer<'_>, mono: Mono) -> Result<Progress, SyncError> {
        let body = verified(answer, &self.keys)?;
        let signature = answer.signature.unwrap_or_default();
        let answer: HeartbeatAnswer = question::read(body, &flight.nonce)?;
        let applied = self.position.ok_or(SyncError::Unexpected)?;
        let epoch = |position: Position| position.epoch;
        if self.position.max(flight.floor).map(epoch) > Some(answer.position.epoch) {
            return Err(SyncError::Rollback(answer.position));
        }
        self.fence.heard(answer.position, signature, body);
        self.clock.observe(answer.server_time, flight.sent, mono);
        self.set_freshness(answer.freshness, mono);
        // A table from before the furthest point that was heard of lacks a change, whatever this answer compares it with: a
        // control plane that went back would have it confirmed.
        if applied < answer.position || Some(applied) < flight.floor || self.wants_snapshot {
            return Ok(Progress::Behind);
        }
        // What was applied when this was asked is what the control plane compares: something may have come since.
        let asked = flight.applied.filter(|asked| answer.position <= asked.position);
        if asked.is_some_and(|asked| asked.table_hash != answer.table_hash) {
            self.wants_snapshot = true;
            self.step = None;
            self.forget_confirmation(mono);
            self.poll = None;
            self.next_poll = mono;
            return Err(SyncError::TableHash);
        }
        // What pages of a step have changed came after what this answer knows of.
        if self.before.is_some() {
            return Ok(Progress::Behind);
        }
        self.confirm(flight.sent);
        Ok(Progress::Current)
    }

    fn set_freshness(&mut self, freshness: Freshness, mono: Mono) {
        self.freshness = freshness;
        let latest = mono.plus(Span::from_millis(self.heartbeat_interval()));
        self.next_heartbeat = self.next_heartbeat.min(latest);
    }
}

fn question(topic: Topic, path: &'static str, request: &impl serde::Serialize, timeout: Span) -> Question {
    Question {
        topic,
        path,
        // These types always have a JSON form; an empty body would be refused by the control plane and tried again.
        body: serde_json::to_vec(request).unwrap_or_default(),
        timeout,
    }
}

#[cfg(test)]
mod tests;
