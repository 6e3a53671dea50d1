//! The stream of decision records: numbered without holes, each naming the hash of the one before, sent in batches and
//! kept, byte for byte, until the control plane has them. The request path only pushes; `plugin` seals and sends.
//! A record that cannot be kept is counted and the stream says so itself.

use std::collections::VecDeque;

use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::records::{DecisionEvent, Event, MAX_BATCH, MAX_RECORD_BYTES, RECORDS_PATH, RecordsAnswer};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::VmIdentity;

use crate::clock::Mono;
use crate::question::{Answer, AnswerError, PinnedKey, Question, Topic, verified};
use crate::random::Random;

/// The most records that are kept while the control plane does not take them.
pub const MAX_KEPT: usize = 10_000;

/// So many waiting records are sent without waiting for the time to come.
const FLUSH_AT: usize = 200;

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
    /// No answer that a pinned key signed, or a refusal.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Not the JSON of the expected answer, or of another version.
    #[error("the answer about records is not understood: {0}")]
    Malformed(String),
    /// The answer belongs to another question.
    #[error("the answer about records repeats another question's nonce")]
    Nonce,
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

/// Something to be recorded, as the request path leaves it.
#[derive(Debug)]
enum Waiting {
    Decision(Mono, Box<DecisionEvent>),
    Gap(Mono, u64),
}

/// A record in its final bytes.
#[derive(Debug)]
struct Sealed {
    seq: u64,
    json: Box<[u8]>,
}

#[derive(Debug)]
struct Flight {
    nonce: String,
    lost: Mono,
}

/// One VM's stream.
#[derive(Debug, Default)]
pub struct Records {
    waiting: VecDeque<Waiting>,
    sealed: VecDeque<Sealed>,
    next_seq: u64,
    prev: Sha256Hash,
    dropped: u64,
    flight: Option<Flight>,
    /// When the oldest waiting record came.
    since: Option<Mono>,
    retry: Option<Mono>,
    failures: u32,
}

impl Records {
    /// Whether one more record can be kept.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.kept() < MAX_KEPT
    }

    /// How many records wait or are not acknowledged.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.waiting.len().saturating_add(self.sealed.len())
    }

    /// Keeps a decision for sending. Without room it is counted instead; gives back whether it was kept.
    pub fn push(&mut self, event: Box<DecisionEvent>, mono: Mono) -> bool {
        self.note_gap(mono);
        if !self.has_room() {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        }
        self.waiting.push_back(Waiting::Decision(mono, event));
        self.since.get_or_insert(mono);
        true
    }

    /// Puts the count of what was dropped where it belongs in the stream, as soon as there is room.
    fn note_gap(&mut self, mono: Mono) {
        if self.dropped > 0 && self.has_room() {
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
        self.note_gap(mono);
        let waited = self.since.is_some_and(|since| mono >= since.plus(FLUSH_AFTER));
        let wanted = waited || self.waiting.len() >= FLUSH_AT || !self.sealed.is_empty();
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
        let body = self.body(filter, &nonce, count, bytes)?;
        self.flight = Some(Flight { nonce, lost: mono.plus(TIMEOUT).plus(LOST_AFTER) });
        Some(Question { topic: Topic::Records, path: RECORDS_PATH, body, timeout: TIMEOUT })
    }

    /// Takes in the answer to a batch; gives back how many records it acknowledged.
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
            return Err(RecordsError::Nonce);
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
        let body = verified(answer, keys)?;
        let answer: RecordsAnswer =
            serde_json::from_slice(body).map_err(|error| RecordsError::Malformed(error.to_string()))?;
        if answer.v != PROTOCOL_VERSION {
            return Err(RecordsError::Malformed(format!("its version is {}", answer.v)));
        }
        if answer.nonce != flight.nonce {
            return Err(RecordsError::Nonce);
        }
        let first = self.sealed.front().map_or(self.next_seq, |sealed| sealed.seq);
        if answer.next_seq < first || answer.next_seq > self.next_seq {
            return Err(RecordsError::Seq { wanted: answer.next_seq, first, last: self.next_seq });
        }
        while self.sealed.front().is_some_and(|sealed| sealed.seq < answer.next_seq) {
            self.sealed.pop_front();
        }
        Ok(answer.next_seq.saturating_sub(first))
    }

    fn plan_retry(&mut self, mono: Mono, random: &mut Random) {
        let (low, high) = BACK_OFF_MILLIS;
        let ceiling = low.saturating_mul(1_u64.checked_shl(self.failures.min(16)).unwrap_or(high));
        self.failures = self.failures.saturating_add(1);
        let wait = random.between(low, ceiling.clamp(low, high));
        self.retry = Some(mono.plus(Span::from_millis(wait)));
    }

    /// Gives waiting records their number, time and hash, up to one batch.
    fn seal(&mut self, time: impl Fn(Mono) -> Option<Timestamp>) {
        while self.sealed.len() < MAX_BATCH {
            let Some(waiting) = self.waiting.front() else {
                break;
            };
            let (Waiting::Decision(mono, _) | Waiting::Gap(mono, _)) = waiting;
            let Some(at) = time(*mono) else { return };
            let event = match self.waiting.pop_front() {
                Some(Waiting::Decision(_, event)) => Event::Decision(event),
                Some(Waiting::Gap(_, dropped)) => Event::Gap { dropped },
                None => break,
            };
            self.seal_event(at, event);
        }
        if self.waiting.is_empty() {
            self.since = None;
        }
    }

    fn seal_event(&mut self, at: Timestamp, event: Event) {
        // Texts are cut before they come here, so that a record always fits; if one did not, the stream would say so.
        let sealed = self.record(at, &event).or_else(|| self.record(at, &Event::Gap { dropped: 1 }));
        let Some(json) = sealed else { return };
        self.prev = Sha256Hash::of(&json);
        let seq = self.next_seq;
        self.next_seq = seq.saturating_add(1);
        self.sealed.push_back(Sealed { seq, json });
    }

    /// The bytes of a [`grantmesh_shared::wire::records::Record`], if they are not too many. Its head is written by hand:
    /// this is done for every call under a grant, and formatting a hash digit by digit would be a third of the work.
    fn record(&self, at: Timestamp, event: &Event) -> Option<Box<[u8]>> {
        let mut json = Vec::with_capacity(768);
        json.extend_from_slice(br#"{"seq":"#);
        json.extend_from_slice(self.next_seq.to_string().as_bytes());
        json.extend_from_slice(br#","prev":""#);
        json.extend(self.prev.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
        json.extend_from_slice(br#"","at":"#);
        json.extend_from_slice(at.millis().to_string().as_bytes());
        json.extend_from_slice(br#","event":"#);
        serde_json::to_writer(&mut json, event).ok()?;
        json.push(b'}');
        (json.len() <= MAX_RECORD_BYTES).then(|| json.into_boxed_slice())
    }

    /// How many records the next batch takes, and their bytes.
    fn batch(&self) -> (usize, usize) {
        let (mut count, mut bytes) = (0_usize, 0_usize);
        for sealed in self.sealed.iter().take(MAX_BATCH) {
            let more = bytes.saturating_add(sealed.json.len()).saturating_add(1);
            if count > 0 && more > MAX_BATCH_BYTES {
                break;
            }
            (count, bytes) = (count.saturating_add(1), more);
        }
        (count, bytes)
    }

    /// A [`grantmesh_shared::wire::records::RecordsRequest`], written around the exact bytes of the records.
    fn body(&self, filter: &VmIdentity, nonce: &str, count: usize, bytes: usize) -> Option<Vec<u8>> {
        let filter = serde_json::to_string(filter).ok()?;
        let mut body = Vec::with_capacity(bytes.saturating_add(filter.len()).saturating_add(128));
        let head = format!(r#"{{"v":{PROTOCOL_VERSION},"filter":{filter},"nonce":"{nonce}","records":["#);
        body.extend_from_slice(head.as_bytes());
        for (place, sealed) in self.sealed.iter().take(count).enumerate() {
            if place > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&sealed.json);
        }
        body.extend_from_slice(b"]}");
        Some(body)
    }
}

/// A hexadecimal digit of a number below 16.
const fn digit(nibble: u8) -> u8 {
    match nibble {
        0..10 => b'0'.saturating_add(nibble),
        _ => b'a'.saturating_sub(10).saturating_add(nibble),
    }
}

#[cfg(test)]
mod tests;
