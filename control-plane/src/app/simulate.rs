//! What a candidate policy would have made of the recorded decisions. Reads the audit log page by page from its end, keeps
//! only counts, and stops at a stated number of entries. Changes nothing.

mod report;

use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::policy::{PolicyFile, Replay};
use grantmesh_shared::wire::records::{Event, Record};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::spawn_blocking;

use super::policy::examined;
use super::{App, AppError, Forbidden, Invalid};
use crate::audit::{AuditError, EntryKind};
use crate::domain::Actor;
use crate::store::{StoreError, StoredEntry};
use report::Tally;
pub use report::{Changed, NotJudged, Reviewing, Simulation};

/// The most entries of the log that one simulation reads.
pub const MOST_SIMULATED: u64 = 200_000;

/// How many entries are read at once.
const PAGE: u64 = 1_000;

/// What is read of an entry.
#[derive(Deserialize)]
struct Line<'e> {
    at: Timestamp,
    #[serde(borrow)]
    kind: &'e str,
    #[serde(borrow)]
    data: &'e RawValue,
}

/// What is read of a decision's data.
#[derive(Deserialize)]
struct Data {
    record: Record,
}

/// What is read of decisions that were lost or came back after all: how many, or the records that went with a database.
#[derive(Deserialize)]
struct Gone {
    count: Option<u64>,
    #[serde(default)]
    from_seq: u64,
    #[serde(default)]
    to_seq: u64,
}

impl App {
    /// Whether the actor may simulate policies.
    ///
    /// # Errors
    /// If not.
    pub fn may_simulate_policies(&self, actor: &Actor) -> Result<(), Forbidden> {
        self.must_audit(actor, "simulate a policy")
    }

    /// Decides the recorded calls of the time before now again under a candidate policy. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither, the policy has faults, or the log cannot be read.
    pub async fn simulate_policy(
        &self,
        actor: &Actor,
        files: Vec<PolicyFile>,
        since: Span,
    ) -> Result<Simulation, AppError> {
        self.may_simulate_policies(actor)?;
        let (_, checked) = examined(files).await?;
        let policy = checked.policy.map_err(Invalid::Policy)?;
        // The check has shown that the engine takes every service.
        let replay = spawn_blocking(move || Replay::new(&policy)).await?.map_err(|error| StoreError::Impossible {
            table: "policies",
            column: "files",
            row: "candidate".to_owned(),
            why: error.to_string(),
        })?;
        let now = self.inner.settings.clock.now();
        let from = now.minus(since);
        let mut judging = (replay, Tally::default());
        let mut end = self.read().await?.head().await?.log_size;
        let (mut read, mut complete) = (0, false);
        while !complete && read < MOST_SIMULATED {
            let start = end.saturating_sub(PAGE);
            // A transaction for each page: the log goes on meanwhile.
            let limit = u32::try_from(end - start).unwrap_or(u32::MAX);
            let entries = self.read().await?.log_entries(start, limit).await?;
            read += end - start;
            // Deciding a page again takes its time, and others are answered meanwhile.
            let page = move || {
                let (mut replay, mut tally) = judging;
                let mut oldest = now;
                // From the end, so that what replaces a decision is known before it.
                for entry in entries.iter().rev() {
                    oldest = oldest.min(take(&mut replay, &mut tally, entry, from)?);
                }
                Ok::<_, AppError>(((replay, tally), oldest))
            };
            let oldest;
            (judging, oldest) = spawn_blocking(page).await??;
            complete = start == 0 || oldest < from;
            end = start;
        }
        Ok(judging.1.report((from, now), (read, complete)))
    }
}

/// Takes an entry in; gives its time.
fn take(replay: &mut Replay, tally: &mut Tally, entry: &StoredEntry, from: Timestamp) -> Result<Timestamp, AppError> {
    let line: Line<'_> = serde_json::from_slice(&entry.bytes).map_err(AuditError::Json)?;
    let is = |kind: EntryKind| line.kind == kind.as_str();
    if line.at < from {
        return Ok(line.at);
    }
    if is(EntryKind::DecisionsLost) || is(EntryKind::DecisionsRecovered) {
        if let Ok(Gone { count, from_seq, to_seq }) = serde_json::from_str(line.data.get()) {
            let count = count.unwrap_or_else(|| to_seq.saturating_sub(from_seq));
            tally.unrecorded(count, is(EntryKind::DecisionsRecovered));
        }
    } else if is(EntryKind::Decision) || is(EntryKind::DecisionsDropped) {
        // A record of another version is not understood, and said to be so.
        match serde_json::from_str::<Data>(line.data.get()) {
            Ok(Data { record: Record { event: Event::Gap { dropped }, .. } }) => tally.unrecorded(dropped, false),
            Ok(Data { record: Record { at, event: Event::Decision(event), .. } }) => {
                if !tally.is_told(&event) {
                    let replayed = replay.judge(&event, at);
                    tally.add(&event, &replayed, at, replay);
                }
            }
            // What came of a call is in entries of another kind.
            Ok(Data { record: Record { event: Event::Use(_), .. } }) => {}
            Err(_) => tally.unreadable(),
        }
    }
    Ok(line.at)
}
