//! What a grant was used for: read from the log's entries about calls under it, which filters' records and claims left.

use std::collections::HashSet;

use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, Event, Record};
use serde::Deserialize;

use super::schedule::request_of;
use super::{App, AppError};
use crate::audit::AuditError;
use crate::domain::{Actor, ApprovedPaths, Asked, CallWord, Grant, LedgerCall, LedgerSummary, Narrower};
use crate::store::{StoredEntry, Tx};

/// So many of the newest calls are looked at for the summary.
const EXAMINED: u32 = 10_000;

/// A grant with what it was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The grant.
    pub grant: Grant,
    /// What the calls add up to.
    pub summary: LedgerSummary,
    /// The paths that it was approved for, by the policy that it was asked for under; nothing if that has no such action.
    pub approved: Option<ApprovedPaths>,
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
        let Looked { summary, is_complete, calls: all } = look(&mut tx, &grant).await?;
        let policy = request_of(&mut tx, &grant).await?.ask.policy;
        let service = self.service_at(&mut tx, &policy, &grant.service).await?;
        let approved = service.and_then(|service| service.action(&grant.action).map(ApprovedPaths::from));
        let shown = usize::try_from(self.inner.settings.limits.page).unwrap_or(usize::MAX).max(1);
        let page: Vec<LedgerCall> = match before {
            None => all,
            Some(before) => calls(&grant, &tx.grant_calls(id, before, EXAMINED).await?)?,
        };
        let more = page.len() > shown;
        let calls: Vec<LedgerCall> = page.into_iter().take(shown).collect();
        let next = calls.last().filter(|_| more || !is_complete && calls.len() == shown).map(|call| call.seq);
        Ok(Ledger { grant, summary, approved, is_complete, calls, next })
    }
}

/// What the newest calls under a grant say of it.
struct Looked {
    summary: LedgerSummary,
    is_complete: bool,
    calls: Vec<LedgerCall>,
}

async fn look(tx: &mut Tx, grant: &Grant) -> Result<Looked, AppError> {
    let entries = tx.grant_calls(&grant.id, u64::MAX, EXAMINED.saturating_add(1)).await?;
    let is_complete = u32::try_from(entries.len()).is_ok_and(|count| count <= EXAMINED);
    let calls = calls(grant, &entries)?;
    Ok(Looked { summary: LedgerSummary::of(grant, &calls, is_complete), is_complete, calls })
}

/// What would have been enough for whoever asks for something the last time that they had it and used it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The grant that they had.
    pub grant: GrantId,
    /// What of it would have been enough.
    pub narrower: Narrower,
}

/// What the last grant that the actor had of this, and used, says of the next one; nothing if they have not had one lately,
/// needed all of it, or would need more than the rule gives now.
pub(super) async fn suggested(tx: &mut Tx, actor: &Actor, asked: &Asked<'_>) -> Result<Option<Suggestion>, AppError> {
    let (service, rule) = (asked.service.name(), &asked.rule.name);
    let Some(last) = tx.last_used_grant(&actor.user, (service, rule, asked.action)).await? else { return Ok(None) };
    let Some(narrower) = look(tx, &last).await?.summary.narrower else { return Ok(None) };
    let workflow = &asked.rule.workflow;
    let narrower = Narrower {
        duration: narrower.duration.filter(|duration| *duration < workflow.max_duration),
        uses: narrower.uses.filter(|uses| workflow.max_uses.is_some_and(|most| *uses < most)),
    };
    Ok((narrower != Narrower::default()).then_some(Suggestion { grant: last.id, narrower }))
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
    let after = event.more.iter().map(|call| call.after_ms).max().unwrap_or_default();
    LedgerCall {
        seq,
        at,
        count: event.count,
        until: at.plus(Span::from_millis(after)),
        decision: event.id,
        about: event.ended.or(event.instead_of),
        method: event.method.into_owned(),
        path: event.path.into_owned(),
        word,
        use_id: event.use_id,
    }
}
