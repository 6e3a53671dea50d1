//! What a grant was used for: read from the log's entries about calls under it, which filters' records and claims left.

use std::collections::HashSet;

use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, Event, Record};
use serde::Deserialize;

use super::{App, AppError};
use crate::audit::AuditError;
use crate::domain::{Actor, CallWord, Grant, LedgerCall, LedgerSummary};
use crate::store::StoredEntry;

/// So many of the newest calls are looked at for the summary.
const EXAMINED: u32 = 10_000;

/// A grant with what it was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The grant.
    pub grant: Grant,
    /// What the calls add up to.
    pub summary: LedgerSummary,
    /// Whether all calls were looked at, and not only the newest of very many.
    pub is_complete: bool,
    /// The calls, newest first.
    pub calls: Vec<LedgerCall>,
    /// Where the next page of calls begins.
    pub next: Option<u64>,
}

/// What is read of an entry.
#[derive(Deserialize)]
struct Line<'e> {
    at: Timestamp,
    #[serde(borrow)]
    kind: &'e str,
    #[serde(borrow)]
    data: &'e serde_json::value::RawValue,
}

#[derive(Deserialize)]
struct Recorded {
    record: Record,
}

#[derive(Deserialize)]
struct Claimed {
    event: DecisionEvent<'static>,
}

impl App {
    /// What a grant was used for. Visible to whoever sees the grant.
    ///
    /// # Errors
    /// `NotFound` if there is none or it is not visible.
    pub async fn ledger(&self, actor: &Actor, id: &GrantId, before: Option<u64>) -> Result<Ledger, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        let grant = self.visible_grant(&mut tx, (actor, &book), id, self.inner.settings.clock.now()).await?;
        let entries = tx.grant_calls(id, u64::MAX, EXAMINED.saturating_add(1)).await?;
        let is_complete = u32::try_from(entries.len()).is_ok_and(|count| count <= EXAMINED);
        let all = calls(&grant, &entries)?;
        let summary = LedgerSummary::of(&grant, &all, is_complete);
        let shown = usize::try_from(self.inner.settings.limits.page).unwrap_or(usize::MAX).max(1);
        let page: Vec<LedgerCall> = match before {
            None => all,
            Some(before) => calls(&grant, &tx.grant_calls(id, before, EXAMINED).await?)?,
        };
        let more = page.len() > shown;
        let calls: Vec<LedgerCall> = page.into_iter().take(shown).collect();
        let next = calls.last().filter(|_| more || !is_complete && calls.len() == shown).map(|call| call.seq);
        Ok(Ledger { grant, summary, is_complete, calls, next })
    }
}

/// The calls that entries tell of. What a filter says of a grant of another service is not believed.
fn calls(grant: &Grant, entries: &[StoredEntry]) -> Result<Vec<LedgerCall>, AppError> {
    let (mut calls, mut seen) = (Vec::with_capacity(entries.len()), HashSet::new());
    for StoredEntry { seq, bytes } in entries {
        let line: Line<'_> = serde_json::from_slice(bytes).map_err(AuditError::Json)?;
        let (at, event) = if line.kind == "use.claimed" {
            let claimed: Claimed = serde_json::from_str(line.data.get()).map_err(AuditError::Json)?;
            (line.at, claimed.event)
        } else {
            let recorded: Recorded = serde_json::from_str(line.data.get()).map_err(AuditError::Json)?;
            let Event::Decision(event) = recorded.record.event else { continue };
            (recorded.record.at, *event)
        };
        // A use is told by its claim and by its filter's stream.
        let is_new = event.decision != DecisionWord::Allow || seen.insert(event.id.clone());
        if is_new && *event.service == *grant.service && event.grant.as_ref() == Some(&grant.id) {
            calls.push(call(*seq, at, event));
        }
    }
    Ok(calls)
}

fn call(seq: u64, at: Timestamp, event: DecisionEvent<'_>) -> LedgerCall {
    let word = match (event.decision, &event.ended) {
        (_, Some(_)) => CallWord::Ended,
        (DecisionWord::Allow, None) => CallWord::LetThrough,
        (DecisionWord::Ask | DecisionWord::Deny, None) => CallWord::Refused,
    };
    LedgerCall {
        seq,
        at,
        decision: event.id,
        about: event.ended.or(event.instead_of),
        method: event.method.into_owned(),
        path: event.path.into_owned(),
        word,
        use_id: event.use_id,
    }
}
