//! Taking decision records of filters into the audit log.

use grantmesh_shared::wire::records::{Event, MAX_BATCH, MAX_RECORD_BYTES, Record, RecordsRequest};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::VmIdentity;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{App, AppError, RecordsRefused};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
use crate::store::Stream;

/// A filter as its verified credential names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterIdentity {
    /// The proxy's node id.
    pub node: String,
    /// The services that the credential covers.
    pub services: Vec<String>,
}

impl App {
    /// Keeps a batch of records, each as an audit entry, and gives the seq that comes next. Records that are kept already
    /// are acknowledged again.
    ///
    /// # Errors
    /// If the batch is not the continuation of the stream, or the stream is another node's; then nothing of it is kept.
    pub async fn append_records(&self, filter: &FilterIdentity, batch: &RecordsRequest) -> Result<u64, AppError> {
        filter.check(&batch.filter)?;
        let records = parsed(&batch.records)?;
        let vm = &batch.filter.vm;
        let mut tx = self.write().await?;
        let begin = || Stream { node: filter.node.clone(), next_seq: 0, last_hash: Sha256Hash::default(), epoch: 0 };
        let mut stream = tx.stream(vm).await?.unwrap_or_else(begin);
        if stream.node != filter.node {
            return Err(RecordsRefused::NotYours { vm: vm.to_string() }.into());
        }
        let from = stream.next_seq;
        let epoch = tx.before().position.epoch;
        let ahead = records.first().map(|(record, _)| record).filter(|first| first.seq > from);
        if let Some(first) = ahead
            && stream.epoch < epoch
            && tx.was_begun_anew(epoch).await?
        {
            // The log was restored from a backup: what it had acknowledged since is lost, and it says so itself.
            tx.log(&lost_entry(&batch.filter, from, first.seq))?;
            (stream.next_seq, stream.last_hash) = (first.seq, first.prev);
        }
        stream.epoch = epoch;
        for (record, raw) in &records {
            if continues(&mut stream, record, raw)? {
                tx.log(&record_entry(&batch.filter, record, raw))?;
            }
        }
        if stream.next_seq > from {
            tx.move_stream(vm, from, &stream).await?;
            tx.commit().await?;
        }
        Ok(stream.next_seq)
    }
}

fn parsed(raws: &[Box<RawValue>]) -> Result<Vec<(Record, &RawValue)>, RecordsRefused> {
    if raws.len() > MAX_BATCH {
        return Err(RecordsRefused::TooMany { count: raws.len(), max: MAX_BATCH });
    }
    let parse = |(index, raw): (usize, &RawValue)| {
        let malformed = |text: String| RecordsRefused::Malformed { index, text };
        if raw.get().len() > MAX_RECORD_BYTES {
            return Err(malformed(format!("it has {} bytes, more than {MAX_RECORD_BYTES}", raw.get().len())));
        }
        serde_json::from_str(raw.get()).map_err(|error| malformed(error.to_string()))
    };
    let records = raws.iter().map(|raw| &**raw).enumerate().map(parse).collect::<Result<Vec<Record>, _>>()?;
    Ok(records.into_iter().zip(raws.iter().map(|raw| &**raw)).collect())
}

/// Whether the record is new, and then moves the stream's end behind it. One that is kept already changes nothing.
fn continues(stream: &mut Stream, record: &Record, raw: &RawValue) -> Result<bool, RecordsRefused> {
    let hash = Sha256Hash::of(raw.get().as_bytes());
    let Stream { next_seq, last_hash, .. } = *stream;
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
    stream.next_seq = next_seq.saturating_add(1);
    stream.last_hash = hash;
    Ok(true)
}

#[derive(Serialize)]
struct LostData<'a> {
    node: &'a str,
    from_seq: u64,
    to_seq: u64,
    why: &'static str,
}

/// Records that were acknowledged, and went with the database that was replaced.
fn lost_entry(filter: &VmIdentity, from_seq: u64, to_seq: u64) -> Entry<LostData<'_>> {
    let ids = EntryIds { vm: Some(filter.vm.clone()), ..EntryIds::default() };
    let data = LostData { node: &filter.node, from_seq, to_seq, why: "the database was restored" };
    Entry { kind: EntryKind::DecisionsLost, actor: ActorField::System, ids, data }
}

#[derive(Serialize)]
struct RecordData<'a> {
    node: &'a str,
    /// In exactly the bytes that the filter hashed.
    record: &'a RawValue,
}

fn record_entry<'a>(filter: &'a VmIdentity, record: &Record, raw: &'a RawValue) -> Entry<RecordData<'a>> {
    let mut ids = EntryIds { vm: Some(filter.vm.clone()), ..EntryIds::default() };
    let kind = match &record.event {
        Event::Decision(decision) => {
            ids.decision = Some(decision.id.clone());
            ids.grant.clone_from(&decision.grant);
            EntryKind::Decision
        }
        Event::Gap { .. } => EntryKind::DecisionsLost,
    };
    Entry { kind, actor: ActorField::Filter, ids, data: RecordData { node: &filter.node, record: raw } }
}
