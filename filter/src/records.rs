//! The stream of decision records: numbered without holes, each naming the hash of the one before, sent in batches and
//! kept, byte for byte, until the control plane has them. The request path only pushes; `plugin` seals and sends.
//! A record that cannot be kept is counted and the stream says so itself: what was made is what was sent, what waits and
//! what was counted, exactly, and every question about the stream says how much was made.
//!
//! No flood of refusals keeps anybody else from being admitted: refusals alike are folded (`folds`), and the last part of
//! the queue is for calls that are let through. Of those, calls alike share a record that lists them (`runs`).

mod folds;
mod runs;
mod written;

use std::collections::VecDeque;

use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::records::{
    DecisionEvent, DecisionWord, MAX_BATCH, MAX_RECORD_BYTES, RECORDS_PATH, RecordsAnswer, StreamState,
};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::VmIdentity;

use crate::clock::Mono;
use crate::question::{self, Answer, AnswerError, PinnedKey, Question, Topic, verified};
use crate::random::Random;
use folds::Folds;
use runs::Runs;
pub use runs::{Alike, Joined, Key};
pub use written::{Told, Written, decision};

/// The most records that are kept while the control plane does not take them.
pub const MAX_KEPT: usize = 10_000;

/// The most bytes of them.
const MAX_KEPT_BYTES: usize = 16 * 1024 * 1024;

/// The most of both before refusals are only counted: they must not take the last place of a call that is let through.
const MAX_KEPT_FOR_REFUSALS: (usize, usize) = (MAX_KEPT / 4 * 3, MAX_KEPT_BYTES / 4 * 3);

/// After a failure, a record that a call waits for is tried this soon.
const SOON: Span = Span::from_millis(50);

/// So many waiting records are sent without waiting for the time to come, and so many bytes of them.
const FLUSH_AT: usize = MAX_BATCH;
const FLUSH_AT_BYTES: usize = MAX_BATCH_BYTES / 2;

/// Waiting records are sent after this long.
const FLUSH_AFTER: Span = Span::from_secs(1);

/// The most bytes of records in one batch.
const MAX_BATCH_BYTES: usize = 512 * 1024;

/// After this long a batch has failed.
const TIMEOUT: Span = Span::from_secs(5);

/// A batch whose answer does not even fail within this long after its timeout is taken for lost.
const LOST_AFTER: Span = Span::from_secs(5);

/// Back-off after failed batches, from and to.
const BACK_OFF_MILLIS: (u64, u64) = (500, 10_000);

/// Why an answer about records is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// No answer to this question that a pinned key signed, or a refusal.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The control plane claims to have what was never sent, or to lack what it had acknowledged.
    #[error("the control plane wants record {wanted} next, but {first} to {last} can be had")]
    Seq {
        /// What it wants.
        wanted: u64,
        /// The first that is kept here.
        first: u64,
        /// The next that will be made.
        last: u64,
    },
}

impl RecordsError {
    /// A short stable word for metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Answer(error) => error.code(),
            Self::Seq { .. } => "seq",
        }
    }
}

/// Something to be recorded, as the request path leaves it: an event in its final bytes, since what is borrowed from a
/// call must not outlive it and a copy of every text would cost more than writing them down.
#[derive(Debug)]
enum Waiting {
    /// When it came, and its event.
    Event(Mono, Written),
    Gap(Mono, u64),
}

impl Waiting {
    const fn came(&self) -> Mono {
        let (Self::Event(mono, _) | Self::Gap(mono, _)) = self;
        *mono
    }
}

/// A record in its final bytes, which stand with those of the others in [`Records::bytes`].
#[derive(Debug)]
struct Sealed {
    seq: u64,
    came: Mono,
    /// How many decisions it accounts for.
    decisions: u64,
    /// How many bytes it has, with the comma after it.
    len: usize,
}

#[derive(Debug)]
struct Flight {
    nonce: String,
    lost: Mono,
}

/// What became of a decision that was to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It has a record of its own.
    Kept,
    /// It is counted in the record of refusals like it, or listed in the record of calls like it.
    Folded,
    /// There was no room; it is counted in a gap.
    Dropped,
}

/// One VM's stream.
#[derive(Debug, Default)]
pub struct Records {
    waiting: VecDeque<Waiting>,
    /// How many bytes they have.
    waiting_bytes: usize,
    runs: Runs,
    sealed: VecDeque<Sealed>,
    /// The sealed records, a comma after each: one after the other, so that a batch is one copy.
    bytes: Vec<u8>,
    folds: Folds,
    next_seq: u64,
    prev: Sha256Hash,
    made: u64,
    /// How many of those made are acknowledged, as records or as counted.
    settled: u64,
    dropped: u64,
    /// Whether a call waits for a record that is not sealed yet.
    urgent: bool,
    flight: Option<Flight>,
    /// When the oldest waiting record came.
    since: Option<Mono>,
    retry: Option<Mono>,
    failures: u32,
}

impl Records {
    /// Whether one more record of a call that is let through can be kept.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.has_room_for(DecisionWord::Allow)
    }

    fn has_room_for(&self, word: DecisionWord) -> bool {
        let (most, most_bytes) = match word {
            DecisionWord::Allow => (MAX_KEPT, MAX_KEPT_BYTES),
            DecisionWord::Ask | DecisionWord::Deny => MAX_KEPT_FOR_REFUSALS,
        };
        self.kept() < most && self.waiting_bytes.saturating_add(self.bytes.len()) < most_bytes
    }

    /// How many records wait or are not acknowledged.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.waiting.len().saturating_add(self.sealed.len())
    }

    /// How the stream stands.
    #[must_use]
    pub fn state(&self, mono: Mono) -> StreamState {
        let (_, folded) = self.folds.waiting();
        let oldest = [self.sealed.front().map(|sealed| sealed.came), self.waiting.front().map(Waiting::came), folded];
        let lag = oldest.into_iter().flatten().map(|came| mono.since(came)).max().unwrap_or_default();
        StreamState {
            made: self.made,
            kept: self.made.saturating_sub(self.settled),
            lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Keeps a decision for sending. Without room it is counted instead.
    pub fn push(&mut self, event: Box<DecisionEvent<'_>>, mono: Mono) -> Pushed {
        self.made = self.made.saturating_add(1);
        match self.folds.take(event, mono) {
            Some(event) => self.keep_event(event, mono),
            None => Pushed::Folded,
        }
    }

    /// Adds the decision of a call that is let through to the record of calls alike.
    ///
    /// # Errors
    /// If there is none or no room: with what its own record is to be kept by ([`Self::push_allowed`]).
    pub fn join(&mut self, call: &Alike<'_>, request_id: Option<&str>, mono: Mono) -> Result<Joined, Key> {
        let joined = self.runs.join(call, request_id, mono)?;
        self.made = self.made.saturating_add(1);
        self.waiting_bytes = self.waiting_bytes.saturating_add(joined.bytes);
        Ok(joined)
    }

    /// Keeps the decision of a call that is let through, in a record to which later ones like it are added if there is a key.
    /// Without room it is counted instead.
    pub fn push_allowed(&mut self, key: Option<Key>, event: &Written, mono: Mono) -> Pushed {
        let pushed = self.push_written(DecisionWord::Allow, Written::clone(event), mono);
        if let Some(key) = key.filter(|_| pushed == Pushed::Kept) {
            self.runs.begin(key, event, mono);
        }
        pushed
    }

    /// Keeps an event that is written down already ([`written::decision`]): of one decision of this word, or of a use.
    /// Without room it is counted instead.
    pub fn push_written(&mut self, word: DecisionWord, event: Written, mono: Mono) -> Pushed {
        self.made = self.made.saturating_add(1);
        self.keep(word, 1, mono, || event)
    }

    /// Keeps the decision of a call that is let through only once this record is acknowledged ([`Self::is_acknowledged`]),
    /// and has it sent at once. Gives its seq. Only to be called while there is room.
    pub fn push_ahead(&mut self, event: Box<DecisionEvent<'_>>, mono: Mono) -> u64 {
        self.note_gap(mono);
        let before = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        let seq = self.next_seq.saturating_add(before);
        self.made = self.made.saturating_add(1);
        self.wait(decision(&event), mono);
        self.urgent = true;
        self.retry = self.retry.map(|retry| retry.min(mono.plus(SOON)));
        seq
    }

    /// Whether a call waits for a record that is not sealed yet.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Whether the control plane has everything up to and with this record.
    #[must_use]
    pub fn is_acknowledged(&self, seq: u64) -> bool {
        self.sealed.front().map_or(self.next_seq, |sealed| sealed.seq) > seq
    }

    fn keep_event(&mut self, event: Box<DecisionEvent<'_>>, mono: Mono) -> Pushed {
        self.keep(event.decision, event.count, mono, || decision(&event))
    }

    /// Keeps an event that accounts for so many decisions, unless too much waits already.
    fn keep(&mut self, word: DecisionWord, decisions: u64, mono: Mono, event: impl FnOnce() -> Written) -> Pushed {
        self.note_gap(mono);
        if !self.has_room_for(word) {
            self.dropped = self.dropped.saturating_add(decisions);
            return Pushed::Dropped;
        }
        self.wait(event(), mono);
        Pushed::Kept
    }

    /// Texts are cut before they come here, so that a record always fits; if one did not, the stream would say so.
    fn wait(&mut self, told: Written, mono: Mono) {
        let fits = !told.event().is_empty() && told.most_bytes() <= MAX_RECORD_BYTES;
        if fits {
            self.waiting_bytes = self.waiting_bytes.saturating_add(told.bytes());
        }
        let waiting = if fits { Waiting::Event(mono, told) } else { Waiting::Gap(mono, told.decisions()) };
        self.waiting.push_back(waiting);
        self.since.get_or_insert(mono);
    }

    /// Puts the count of what was dropped where it belongs in the stream, as soon as there is room.
    fn note_gap(&mut self, mono: Mono) {
        if self.dropped == 0 {
            return;
        }
        // A flood that is dropped must not fill the queue with gaps of one.
        if let Some(Waiting::Gap(_, dropped)) = self.waiting.back_mut() {
            *dropped = dropped.saturating_add(std::mem::take(&mut self.dropped));
        } else if self.has_room() {
            self.waiting.push_back(Waiting::Gap(mono, std::mem::take(&mut self.dropped)));
            self.since.get_or_insert(mono);
        }
    }

    /// Forgets the batch under way, whose sender is gone; it is sent again.
    pub fn forget_flight(&mut self) {
        self.flight = None;
        self.retry = None;
    }

    /// The batch that is due, if one is. `time` gives the control plane's time for a point; without it nothing is sealed.
    pub fn due(
        &mut self,
        filter: &VmIdentity,
        mono: Mono,
        random: &mut Random,
        time: impl Fn(Mono) -> Option<Timestamp>,
    ) -> Option<Question> {
        if self.flight.as_ref().is_some_and(|flight| mono >= flight.lost) {
            self.flight = None;
            self.plan_retry(mono, random);
        }
        for (came, event) in self.folds.take_over(mono) {
            self.keep_event(event, came);
        }
        self.note_gap(mono);
        let waited = self.since.is_some_and(|since| mono >= since.plus(FLUSH_AFTER));
        let many = self.waiting.len() >= FLUSH_AT || self.waiting_bytes >= FLUSH_AT_BYTES;
        let wanted = waited || self.urgent || many || !self.sealed.is_empty();
        let held = self.retry.is_some_and(|retry| mono < retry);
        if self.flight.is_some() || held || !wanted {
            return None;
        }
        self.seal(time);
        let (count, bytes) = self.batch();
        if count == 0 {
            return None;
        }
        let nonce = random.nonce();
        let body = self.body(filter, &nonce, mono, bytes)?;
        self.flight = Some(Flight { nonce, lost: mono.plus(TIMEOUT).plus(LOST_AFTER) });
        Some(Question { topic: Topic::Records, path: RECORDS_PATH, body, timeout: TIMEOUT })
    }

    /// Takes in the answer to a batch; gives back how many decisions it acknowledged, as records or as counted.
    ///
    /// # Errors
    /// If it was not used; the batch will be sent again.
    pub fn answered(
        &mut self,
        answer: &Answer<'_>,
        keys: &[PinnedKey],
        mono: Mono,
        random: &mut Random,
    ) -> Result<u64, RecordsError> {
        let Some(flight) = self.flight.take() else {
            return Err(AnswerError::Nonce.into());
        };
        let outcome = self.read(&flight, answer, keys);
        match outcome {
            Ok(_) => {
                self.failures = 0;
                self.retry = None;
            }
            Err(_) => self.plan_retry(mono, random),
        }
        outcome
    }

    fn read(&mut self, flight: &Flight, answer: &Answer<'_>, keys: &[PinnedKey]) -> Result<u64, RecordsError> {
        let answer: RecordsAnswer = question::read(verified(answer, keys)?, &flight.nonce)?;
        let first = self.sealed.front().map_or(self.next_seq, |sealed| sealed.seq);
        if answer.next_seq < first || answer.next_seq > self.next_seq {
            return Err(RecordsError::Seq { wanted: answer.next_seq, first, last: self.next_seq });
        }
        let (before, mut bytes) = (self.settled, 0_usize);
        while let Some(Sealed { decisions, len, .. }) = self.sealed.pop_front_if(|sealed| sealed.seq < answer.next_seq)
        {
            self.settled = self.settled.saturating_add(decisions);
            bytes = bytes.saturating_add(len);
        }
        self.bytes = self.bytes.split_off(bytes.min(self.bytes.len()));
        Ok(self.settled.saturating_sub(before))
    }

    fn plan_retry(&mut self, mono: Mono, random: &mut Random) {
        let wait = random.back_off(BACK_OFF_MILLIS, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.retry = Some(mono.plus(Span::from_millis(wait)));
    }

    /// Gives waiting records their number, time and hash, up to one batch. No call is added to any of them from now on.
    fn seal(&mut self, time: impl Fn(Mono) -> Option<Timestamp>) {
        self.runs.end();
        while self.sealed.len() < MAX_BATCH {
            let Some(waiting) = self.waiting.front() else {
                break;
            };
            let came = waiting.came();
            let Some(at) = time(came) else { return };
            let told = match self.waiting.pop_front() {
                Some(Waiting::Event(_, told)) => {
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(told.bytes());
                    told
                }
                Some(Waiting::Gap(_, dropped)) => written::gap(dropped),
                None => break,
            };
            let (seq, start) = (self.next_seq, self.bytes.len());
            let decisions = told.decisions();
            self.bytes = written::record(std::mem::take(&mut self.bytes), seq, &self.prev, at, &told);
            self.prev = Sha256Hash::of(self.bytes.get(start..).unwrap_or_default());
            self.next_seq = seq.saturating_add(1);
            self.bytes.push(b',');
            let len = self.bytes.len().saturating_sub(start);
            self.sealed.push_back(Sealed { seq, came, decisions, len });
        }
        if self.waiting.is_empty() {
            self.since = None;
            self.urgent = false;
        }
    }

    /// How many records the next batch takes, and their bytes with the commas.
    fn batch(&self) -> (usize, usize) {
        let (mut count, mut bytes) = (0_usize, 0_usize);
        for sealed in self.sealed.iter().take(MAX_BATCH) {
            let more = bytes.saturating_add(sealed.len);
            if count > 0 && more > MAX_BATCH_BYTES {
                break;
            }
            (count, bytes) = (count.saturating_add(1), more);
        }
        (count, bytes)
    }

    /// A [`grantmesh_shared::wire::records::RecordsRequest`], written around the exact bytes of the first records.
    fn body(&self, filter: &VmIdentity, nonce: &str, mono: Mono, bytes: usize) -> Option<Vec<u8>> {
        let records = self.bytes.get(..bytes)?.strip_suffix(b",")?;
        let filter = serde_json::to_string(filter).ok()?;
        let stream = serde_json::to_string(&self.state(mono)).ok()?;
        let head =
            format!(r#"{{"v":{PROTOCOL_VERSION},"filter":{filter},"nonce":"{nonce}","stream":{stream},"records":["#);
        Some([head.as_bytes(), records, b"]}"].concat())
    }
}

#[cfg(test)]
mod tests;
