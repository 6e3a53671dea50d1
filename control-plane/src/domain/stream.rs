//! The rules of taking in one VM's stream of decision records: no hole, no fork, nothing twice, and every decision that
//! the VM ever reported accounted for: received, told as dropped by the VM itself, or lost with it. Called by `app`'s
//! `records`; pure, so that a filter's stream can be tried against it without a database.

use grantmesh_shared::wire::records::{Event, MAX_BATCH, MAX_RECORD_BYTES, Record, RecordsRequest};
use grantmesh_shared::wire::signature::Sha256Hash;
use serde_json::value::RawValue;

/// No VM has that many decisions to record; sums over many of them still fit everywhere.
pub const MOST_DECISIONS: u64 = 1 << 48;

/// Why records of a filter are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsRefused {
    /// Too many at once.
    #[error("the batch has {count} records\nsend at most {max}")]
    TooMany {
        /// How many.
        count: usize,
        /// How many are taken.
        max: usize,
    },
    /// Not a record, or too long.
    #[error("record {index} of the batch is not a record: {text}")]
    Malformed {
        /// Its place in the batch.
        index: usize,
        /// What is wrong.
        text: String,
    },
    /// A record is missing before this one.
    #[error("the stream goes on at {next_seq}, not at {got}\nsend the records from {next_seq} on")]
    Hole {
        /// The seq that comes next.
        next_seq: u64,
        /// The seq that came.
        got: u64,
    },
    /// The record does not name the hash of the one before.
    #[error(
        "record {seq} does not name the hash of the record before it\nthe stream forks there; begin a new one with a new VM id"
    )]
    WrongPrev {
        /// Its seq.
        seq: u64,
    },
    /// The stream is another node's.
    #[error("the stream `{vm}` belongs to another node")]
    NotYours {
        /// The stream.
        vm: String,
    },
}

/// The end of a stream, and what became of its decisions. `received + dropped + lost` is never more than `made`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The credential whose it is.
    pub node: String,
    /// The first seq that is not kept.
    pub next_seq: u64,
    /// The hash of the last record; zeros before the first.
    pub last_hash: Sha256Hash,
    /// The most decisions that the VM ever said there were to record.
    pub made: u64,
    /// How many of them the kept records tell of.
    pub received: u64,
    /// How many of them the VM told it had no room for.
    pub dropped: u64,
    /// How many of them went with the VM, as was told when it was gone.
    pub lost: u64,
    /// The epoch in which it was last continued.
    pub epoch: u64,
}

/// Where a batch begins that is ahead of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// The seq of its first record.
    pub seq: u64,
    /// The hash of the record before that.
    pub prev: Sha256Hash,
}

/// What a batch brought.
#[derive(Debug)]
pub struct Intake<'b> {
    /// The records that were not kept yet, in order, each in the exact bytes that are hashed.
    pub new: Vec<(Record, &'b RawValue)>,
    /// How many decisions that had been told as lost came after all.
    pub recovered: u64,
}

impl Stream {
    /// A stream of which nothing is known.
    #[must_use]
    pub fn begin(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            next_seq: 0,
            last_hash: Sha256Hash::default(),
            made: 0,
            received: 0,
            dropped: 0,
            lost: 0,
            epoch: 0,
        }
    }

    /// Where the batch begins, if the stream lacks what is before.
    ///
    /// # Errors
    /// If it is no batch of records.
    pub fn behind(&self, batch: &RecordsRequest) -> Result<Option<Ahead>, RecordsRefused> {
        let first = parsed(batch.records.get(..1).unwrap_or_default())?.into_iter().next().map(|(record, _)| record);
        Ok(first.filter(|first| first.seq > self.next_seq).map(|first| Ahead { seq: first.seq, prev: first.prev }))
    }

    /// Goes on where a batch begins: for a log that was restored and lacks what it once acknowledged. How many decisions
    /// that were is told when the VM is gone, with all else that is missing.
    pub const fn skip(&mut self, ahead: Ahead) {
        (self.next_seq, self.last_hash) = (ahead.seq, ahead.prev);
    }

    /// Takes in a batch. What is kept already is taken again and changes nothing.
    ///
    /// # Errors
    /// If the batch is not the continuation of the stream; the stream is then as it was.
    pub fn take<'b>(&mut self, batch: &'b RecordsRequest) -> Result<Intake<'b>, RecordsRefused> {
        let mut grown = self.clone();
        let mut new = Vec::new();
        for (record, raw) in parsed(&batch.records)? {
            if grown.continues(&record, raw)? {
                new.push((record, raw));
            }
        }
        grown.reported(batch.stream.made);
        let told = grown.received.saturating_add(grown.dropped).saturating_add(grown.lost);
        let recovered = told.saturating_sub(grown.made).min(grown.lost);
        grown.lost = grown.lost.saturating_sub(recovered);
        *self = grown;
        Ok(Intake { new, recovered })
    }

    /// Takes in what the VM says of how many decisions there were. It never goes back, and is never less than what came.
    pub fn reported(&mut self, made: u64) {
        let came = self.received.saturating_add(self.dropped);
        self.made = self.made.max(made.min(MOST_DECISIONS)).max(came);
    }

    /// How many of the decisions that the VM reported have neither come nor been told as lost.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.made.saturating_sub(self.received).saturating_sub(self.dropped).saturating_sub(self.lost)
    }

    /// The VM is gone: what is missing is lost. Gives how many that are.
    pub fn lose(&mut self) -> u64 {
        let lost = self.missing();
        self.lost = self.lost.saturating_add(lost);
        lost
    }

    /// Whether the record is new, and then moves the stream's end behind it. One that is kept already changes nothing.
    fn continues(&mut self, record: &Record, raw: &RawValue) -> Result<bool, RecordsRefused> {
        let hash = Sha256Hash::of(raw.get().as_bytes());
        let Self { next_seq, last_hash, .. } = *self;
        if record.seq > next_seq {
            return Err(RecordsRefused::Hole { next_seq, got: record.seq });
        }
        if record.seq < next_seq {
            // Of the kept ones, the last is known by its hash: another one in its place is a fork of the stream.
            let forks = record.seq.saturating_add(1) == next_seq && hash != last_hash;
            return if forks { Err(RecordsRefused::WrongPrev { seq: record.seq }) } else { Ok(false) };
        }
        if record.prev != last_hash {
            return Err(RecordsRefused::WrongPrev { seq: record.seq });
        }
        self.next_seq = next_seq.saturating_add(1);
        self.last_hash = hash;
        let sum = match record.event {
            Event::Decision(_) | Event::Use(_) => &mut self.received,
            Event::Gap { .. } => &mut self.dropped,
        };
        *sum = sum.saturating_add(record.event.decisions()).min(MOST_DECISIONS);
        Ok(true)
    }
}

fn parsed(raws: &[Box<RawValue>]) -> Result<Vec<(Record, &RawValue)>, RecordsRefused> {
    if raws.len() > MAX_BATCH {
        return Err(RecordsRefused::TooMany { count: raws.len(), max: MAX_BATCH });
    }
    fn parse(index: usize, raw: &RawValue) -> Result<(Record, &RawValue), RecordsRefused> {
        let malformed = |text: String| RecordsRefused::Malformed { index, text };
        if raw.get().len() > MAX_RECORD_BYTES {
            return Err(malformed(format!("it has {} bytes, more than {MAX_RECORD_BYTES}", raw.get().len())));
        }
        let record: Record = serde_json::from_str(raw.get()).map_err(|error| malformed(error.to_string()))?;
        if let Event::Decision(event) = &record.event
            && !event.is_counted()
        {
            return Err(malformed(format!(
                "it counts {} calls and lists {} more than the first",
                event.count,
                event.more.len()
            )));
        }
        match record.event.decisions() {
            1..=MOST_DECISIONS => Ok((record, raw)),
            count => Err(malformed(format!("it stands for {count} decisions"))),
        }
    }
    raws.iter().enumerate().map(|(index, raw)| parse(index, raw)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reported_is_received_dropped_or_lost() {
        let mut stream = Stream::begin("node-1");
        stream.reported(7);
        (stream.received, stream.dropped) = (2, 1);
        assert_eq!(stream.missing(), 4);
        assert_eq!((stream.lose(), stream.lose(), stream.missing()), (4, 0, 0));
        stream.reported(3);
        assert_eq!(stream.made, 7, "it does not go back");
        stream.reported(u64::MAX);
        assert_eq!(stream.made, MOST_DECISIONS, "whatever a filter says");
    }
}
