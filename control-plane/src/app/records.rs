//! Taking decision records of filters into the audit log, and telling what went with a filter that is gone.

use std::borrow::Cow;
use std::collections::BTreeSet;

use grantmesh_shared::id::VmId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::records::{DecisionWord, Event, Record, RecordsRequest};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::VmIdentity;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{App, AppError, RecordsRefused, uses};
use crate::audit::{ActorField, AuditError, Entry, EntryIds, EntryKind};
use crate::domain::Stream;
use crate::redact::{has_secret, redact_json};
use crate::store::{StreamSums, WriteTx};

/// A filter as its verified credential names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterIdentity {
    /// The proxy's node id.
    pub node: String,
    /// The services that the credential covers.
    pub services: Vec<String>,
}

/// What became of a batch of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Everything before it is durably kept.
    pub next_seq: u64,
    /// How many records of the batch, at its end, were not kept before.
    pub new: usize,
}

impl App {
    /// Keeps a batch of records, each as an audit entry. Records that are kept already are acknowledged again.
    ///
    /// # Errors
    /// If the batch is not the continuation of the stream, or the stream is another node's; then nothing of it is kept.
    pub async fn append_records(&self, filter: &FilterIdentity, batch: &RecordsRequest) -> Result<Appended, AppError> {
        filter.check(&batch.filter)?;
        let vm = &batch.filter.vm;
        let mut tx = self.write().await?;
        let mut stream = tx.stream(vm).await?.unwrap_or_else(|| Stream::begin(&filter.node));
        if stream.node != filter.node {
            return Err(RecordsRefused::NotYours { vm: vm.to_string() }.into());
        }
        let from = stream.next_seq;
        let epoch = tx.before().position.epoch;
        if let Some(ahead) = stream.behind(batch)?
            && stream.epoch < epoch
            && tx.was_begun_anew(epoch).await?
        {
            // The log was restored from a backup: what it had acknowledged since is lost, and it says so itself.
            tx.log(&skipped_entry(&batch.filter, from, ahead.seq))?;
            stream.skip(ahead);
        }
        stream.epoch = epoch;
        let intake = stream.take(batch)?;
        if intake.recovered > 0 {
            tx.log(&recovered_entry(vm, &stream, intake.recovered))?;
        }
        let (mut calls, mut used) = (Vec::new(), BTreeSet::new());
        for (record, raw) in &intake.new {
            if let Event::Use(told) = &record.event {
                uses::ended(&mut tx, &batch.filter, told).await?;
            }
            if let Event::Decision(decision) = &record.event
                && let Some(grant) = &decision.grant
            {
                self.reconcile_offline(&mut tx, &batch.filter, grant, decision).await?;
                calls.push((grant.clone(), tx.next_seq()));
                if decision.decision == DecisionWord::Allow && decision.ended.is_none() {
                    used.insert((grant.clone(), decision.service.to_string()));
                }
            }
            tx.log(&record_entry(&batch.filter, record, raw)?)?;
        }
        tx.insert_grant_calls(calls).await?;
        for (grant, service) in &used {
            tx.mark_used(grant, service).await?;
        }
        if stream.next_seq > from {
            tx.move_stream(vm, from, &stream).await?;
            tx.commit().await?;
        }
        Ok(Appended { next_seq: stream.next_seq, new: intake.new.len() })
    }

    /// Tells in the log what VMs that were last heard of before `before` had to record and never sent, as far as they
    /// said themselves how much that was. Gives the number of those VMs.
    ///
    /// # Errors
    /// If the store fails; what was told stays told.
    pub async fn declare_losses(&self, before: Timestamp) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        // Looked up without the head first: nearly always there is nothing to tell.
        while !self.read().await?.silent_vms(before, 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let silent = tx.silent_vms(before, batch).await?;
            let mut told = 0;
            for vm in &silent {
                told += usize::from(declare_loss(&mut tx, vm).await?);
            }
            if told == 0 {
                break;
            }
            tx.commit().await?;
            done += told;
        }
        Ok(done)
    }

    /// What became of the decisions of all streams together.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn stream_sums(&self) -> Result<StreamSums, AppError> {
        Ok(self.read().await?.stream_sums().await?)
    }

    /// The streams of the VMs that are kept.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn streams(&self) -> Result<Vec<(VmId, Stream)>, AppError> {
        Ok(self.read().await?.streams_of_vms().await?)
    }
}

/// Tells what is missing of a VM's decisions; gives whether something was.
pub(super) async fn declare_loss(tx: &mut WriteTx, id: &VmId) -> Result<bool, AppError> {
    let Some(vm) = tx.vm(id).await? else { return Ok(false) };
    let begin = || Stream::begin(vm.credential.as_deref().unwrap_or(&vm.node));
    let mut stream = tx.stream(id).await?.unwrap_or_else(begin);
    stream.reported(vm.made);
    let lost = stream.lose();
    if lost > 0 {
        tx.move_stream(id, stream.next_seq, &stream).await?;
        tx.log(&lost_entry(id, &stream, lost, vm.last_seen))?;
    }
    Ok(lost > 0)
}

#[derive(Serialize)]
struct SkippedData<'a> {
    node: &'a str,
    from_seq: u64,
    to_seq: u64,
    why: &'static str,
}

/// Records that were acknowledged, and went with the database that was replaced.
fn skipped_entry(filter: &VmIdentity, from_seq: u64, to_seq: u64) -> Entry<SkippedData<'_>> {
    let ids = EntryIds { vm: Some(filter.vm.clone()), ..EntryIds::default() };
    let data = SkippedData { node: &filter.node, from_seq, to_seq, why: "the database was restored" };
    Entry { kind: EntryKind::DecisionsLost, actor: ActorField::System, ids, data }
}

#[derive(Serialize)]
struct RecordData<'a> {
    node: &'a str,
    /// In exactly the bytes that the filter hashed, unless there was a secret in them.
    record: Cow<'a, RawValue>,
    /// The hash of those bytes, where a secret was taken out of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<Sha256Hash>,
}

/// A record as the log keeps it. Paths and resources are a caller's to choose, so that there may be a secret in one.
fn kept<'a>(node: &'a str, raw: &'a RawValue) -> Result<RecordData<'a>, AuditError> {
    if !has_secret(raw.get()) {
        return Ok(RecordData { node, record: Cow::Borrowed(raw), redacted: None });
    }
    let mut record: Value = serde_json::from_str(raw.get()).map_err(AuditError::Json)?;
    let found = redact_json(&mut record);
    let clean = serde_json::value::to_raw_value(&record).map_err(AuditError::Json)?;
    let hash = found.then(|| Sha256Hash::of(raw.get().as_bytes()));
    Ok(RecordData { node, record: Cow::Owned(clean), redacted: hash })
}

fn record_entry<'a>(
    filter: &'a VmIdentity,
    record: &Record,
    raw: &'a RawValue,
) -> Result<Entry<RecordData<'a>>, AuditError> {
    let mut ids = EntryIds { vm: Some(filter.vm.clone()), ..EntryIds::default() };
    let kind = match &record.event {
        Event::Decision(decision) => {
            ids.decision = Some(decision.id.clone());
            ids.grant.clone_from(&decision.grant);
            ids.use_id.clone_from(&decision.use_id);
            EntryKind::Decision
        }
        Event::Use(told) => {
            ids.grant = Some(told.grant.clone());
            ids.use_id = Some(told.id.clone());
            EntryKind::UseEnded
        }
        Event::Gap { .. } => EntryKind::DecisionsDropped,
    };
    Ok(Entry { kind, actor: ActorField::Filter, ids, data: kept(&filter.node, raw)? })
}

/// What a stream's decisions add up to after the entry: received, dropped and lost together are those made.
#[derive(Serialize)]
struct SumsData<'a> {
    node: &'a str,
    count: u64,
    made: u64,
    received: u64,
    dropped: u64,
    lost: u64,
    /// What the VM decided after this is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<Timestamp>,
}

fn sums(stream: &Stream, count: u64, last_seen: Option<Timestamp>) -> SumsData<'_> {
    let Stream { node, made, received, dropped, lost, .. } = stream;
    SumsData { node, count, made: *made, received: *received, dropped: *dropped, lost: *lost, last_seen }
}

fn lost_entry<'s>(vm: &VmId, stream: &'s Stream, count: u64, last_seen: Timestamp) -> Entry<SumsData<'s>> {
    let ids = EntryIds { vm: Some(vm.clone()), ..EntryIds::default() };
    let data = sums(stream, count, Some(last_seen));
    Entry { kind: EntryKind::DecisionsLost, actor: ActorField::System, ids, data }
}

fn recovered_entry<'s>(vm: &VmId, stream: &'s Stream, count: u64) -> Entry<SumsData<'s>> {
    let ids = EntryIds { vm: Some(vm.clone()), ..EntryIds::default() };
    Entry { kind: EntryKind::DecisionsRecovered, actor: ActorField::Filter, ids, data: sums(stream, count, None) }
}
