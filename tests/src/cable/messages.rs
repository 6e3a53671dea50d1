//! What the wire understands of what passes: whole HTTP answers and their kind, and marks that it counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use memchr::memmem;

use super::Weather;

/// How a snapshot's page and a delta begin in an answer to a filter.
const MARKS: [&[u8]; 2] = [b"{\"snapshot\":", b"{\"delta\":"];

/// How the answers to filters say what they are.
const KINDS: [&[u8]; 2] = [b"\"kind\":\"sync\"", b"\"kind\":\"heartbeat\""];

/// How often each of [`MARKS`] came from the far end.
#[derive(Debug, Default)]
pub(super) struct Seen(pub(super) [AtomicU64; 2]);

/// Counts marks in a stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Counter {
    /// The end of what was looked at: shorter than every mark.
    tail: Vec<u8>,
}

impl Counter {
    pub(super) fn count(&mut self, bytes: &[u8], seen: &Seen) {
        let longest = MARKS.iter().map(|mark| mark.len()).max().unwrap_or(0);
        let joined = [&self.tail, bytes].concat();
        for (mark, count) in MARKS.iter().zip(&seen.0) {
            // What lay wholly within the tail was counted with the piece before.
            let fresh = memmem::find_iter(&joined, mark).filter(|at| at + mark.len() > self.tail.len());
            count.fetch_add(fresh.count() as u64, Ordering::Relaxed);
        }
        self.tail = joined.get(joined.len().saturating_sub(longest - 1)..).unwrap_or_default().to_vec();
    }
}

/// Whether a filter's question of this kind begins here.
pub(super) fn is_about(kind: &str, bytes: &[u8]) -> bool {
    find(bytes, format!("POST /filter/v1/{kind} ").as_bytes()).is_some()
}

/// Cuts a stream of HTTP/1.1 answers with `content-length` into answers.
#[derive(Debug, Default)]
pub(super) struct Messages {
    begun: Vec<u8>,
}

impl Messages {
    /// The answers that are whole now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.begun.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Some(length) = length(&self.begun).filter(|length| self.begun.len() >= *length) {
            let rest = self.begun.split_off(length);
            whole.push(std::mem::replace(&mut self.begun, rest));
        }
        whole
    }
}

/// How long the first answer is, head and body.
fn length(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(bytes.get(..head)?).to_ascii_lowercase();
    let body = text.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse::<usize>().ok()?;
    Some(head + body)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memmem::find(bytes, wanted)
}

/// Answers of one kind.
#[derive(Debug, Default)]
struct OfKind {
    first: Vec<u8>,
    before: Vec<u8>,
    latest: Vec<u8>,
}

/// The answers of each kind that passed.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<HashMap<usize, OfKind>>);

impl Heard {
    pub(super) fn note(&self, message: Vec<u8>) {
        if let Some(kind) = kind(&message) {
            let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let OfKind { first, before, latest } = heard.entry(kind).or_default();
            if first.is_empty() {
                message.clone_into(first);
            }
            *before = std::mem::replace(latest, message);
        }
    }

    /// An answer to another question, as the weather has it.
    pub(super) fn instead_of(&self, message: &[u8], weather: Weather) -> Option<Vec<u8>> {
        let kind = kind(message)?;
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let other = if weather == Weather::Swapped { 1 - kind } else { kind };
        let OfKind { first, before, latest } = heard.get(&other)?;
        let other = match weather {
            Weather::First => first,
            Weather::Replayed if !before.is_empty() => before,
            _ => latest,
        };
        (!other.is_empty()).then(|| other.clone())
    }
}

fn kind(message: &[u8]) -> Option<usize> {
    KINDS.iter().position(|kind| find(message, kind).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_counted_once_however_the_stream_is_cut() {
        let text = br#"{"change":{"delta":{"puts":[]}}} {"change":{"snapshot":{"index":0}}} {"change":{"delta":{}}}"#;
        for size in 1..text.len() {
            let (mut counter, seen) = (Counter::default(), Seen::default());
            text.chunks(size).for_each(|piece| counter.count(piece, &seen));
            assert_eq!(seen.0.each_ref().map(|count| count.load(Ordering::Relaxed)), [1, 2], "in pieces of {size}");
        }
    }

    #[test]
    fn answers_are_cut_out_of_the_stream_and_told_apart() {
        let answer = |kind: &str, number: u8| {
            let body = format!("{{\"kind\":\"{kind}\",\"n\":{number}}}");
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        };
        let answers = [answer("sync", 1), answer("heartbeat", 2), answer("sync", 3)];
        let stream = answers.concat();
        for size in 1..stream.len() {
            let mut messages = Messages::default();
            let whole: Vec<_> = stream.chunks(size).flat_map(|piece| messages.take(piece)).collect();
            assert_eq!(whole, answers, "in pieces of {size}");
        }
        let heard = Heard::default();
        assert_eq!(heard.instead_of(&answers[0], Weather::Replayed), None);
        answers.iter().for_each(|answer| heard.note(answer.clone()));
        assert_eq!(heard.instead_of(&answer("sync", 9), Weather::Replayed), Some(answers[0].clone()));
        assert_eq!(heard.instead_of(&answer("sync", 9), Weather::Swapped), Some(answers[1].clone()));
        assert_eq!(heard.instead_of(&answer("heartbeat", 9), Weather::Replayed), Some(answers[1].clone()));
        heard.note(answer("sync", 4));
        assert_eq!(heard.instead_of(&answer("sync", 9), Weather::First), Some(answers[0].clone()));
    }
}
