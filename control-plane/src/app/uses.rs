//! Uses of grants: taken for calls of filters, each at most once, and what came of them.

use grantmesh_shared::id::GrantId;
use grantmesh_shared::wire::claims::{ClaimOutcome, ClaimRefusal, ClaimResult, ClaimsRequest, MAX_CLAIMS};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, MAX_RECORD_BYTES, UseEvent};
use grantmesh_shared::wire::sync::VmIdentity;
use serde::Serialize;

use super::{App, AppError, FilterIdentity, Invalid};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
use crate::domain::{Actor, Grant, GrantState, Use, UseOutcomeTold};
use crate::store::WriteTx;

impl App {
    /// Takes uses for calls that a filter has decided: all that are left for them, in one transaction. A claim that was
    /// answered before has the same answer again.
    ///
    /// # Errors
    /// If the filter's credential does not cover what it says of itself, there are too many, or the store fails; then
    /// nothing is taken.
    pub async fn claim(
        &self,
        filter: &FilterIdentity,
        asked: &ClaimsRequest<'_>,
    ) -> Result<Vec<ClaimResult>, AppError> {
        filter.check(&asked.filter)?;
        let too_long = |event: &DecisionEvent<'_>| {
            serde_json::to_vec(event).map_or(usize::MAX, |json| json.len()) > MAX_RECORD_BYTES
        };
        if asked.claims.len() > MAX_CLAIMS || asked.claims.iter().any(too_long) {
            return Err(Invalid::Filter {
                what: format!("it claims more than {MAX_CLAIMS} uses at once, or too long"),
            }
            .into());
        }
        let node = filter.name_of(&asked.filter);
        let mut tx = self.write().await?;
        let mut results = Vec::with_capacity(asked.claims.len());
        for event in &asked.claims {
            let outcome = self.claim_one(&mut tx, (&asked.filter, &node), event).await?;
            results.push(ClaimResult { decision: event.id.clone(), outcome });
        }
        tx.commit().await?;
        Ok(results)
    }

    async fn claim_one(
        &self,
        tx: &mut WriteTx,
        (vm, node): (&VmIdentity, &str),
        event: &DecisionEvent<'_>,
    ) -> Result<ClaimOutcome, AppError> {
        let refused = |why| Ok(ClaimOutcome::Refused(why));
        if let Some(taken) = tx.use_by_decision(&event.id).await? {
            let same = taken.vm == vm.vm && event.grant.as_ref() == Some(&taken.grant);
            return Ok(if same {
                ClaimOutcome::Claimed(taken.id)
            } else {
                ClaimOutcome::Refused(ClaimRefusal::NotYours)
            });
        }
        let Some(id) = &event.grant else { return refused(ClaimRefusal::NotYours) };
        let Some(grant) = tx.grant(id).await?.filter(|grant| is_for(grant, vm, event)) else {
            return refused(ClaimRefusal::NotYours);
        };
        let (grant, number) = match grant.claim(tx.now(), tx.revision()) {
            Ok(claimed) => claimed,
            Err(why) => return refused(why),
        };
        let taken = Use {
            id: self.new_id(tx)?,
            grant: grant.id.clone(),
            number,
            decision: event.id.clone(),
            vm: vm.vm.clone(),
            node: node.to_owned(),
            claimed_at: tx.now(),
            outcome: None,
        };
        tx.claim(&grant, &taken).await?;
        tx.log(&claimed_entry(&grant, &taken, event))?;
        Ok(ClaimOutcome::Claimed(taken.id))
    }

    /// The uses of a grant, in their order. Visible to whoever sees the grant.
    ///
    /// # Errors
    /// `NotFound` if there is no such grant or it is not visible.
    pub async fn uses(&self, actor: &Actor, id: &GrantId) -> Result<Vec<Use>, AppError> {
        let grant = self.grant(actor, id).await?;
        Ok(self.read().await?.uses(&grant.id).await?)
    }
}

/// Whether a decision is one that the grant lets through, as far as that can be told here; the filter that decided has
/// judged the rest.
fn is_for(grant: &Grant, vm: &VmIdentity, event: &DecisionEvent<'_>) -> bool {
    event.decision == DecisionWord::Allow
        && vm.services.contains(&grant.service)
        && *event.service == *grant.service
        && event.action.as_deref().is_some_and(|action| is_told(action, &grant.action))
        && event.resource.as_deref().is_some_and(|resource| is_told(resource, &grant.resource))
        && event.issuer.as_deref() == Some(&*grant.holder.issuer)
        && event.subject.as_deref() == Some(&*grant.holder.subject)
}

/// Whether a text is told by a decision, which cuts what is very long.
fn is_told(told: &str, whole: &str) -> bool {
    told == whole || told.strip_suffix('…').is_some_and(|begin| begin.len() > 200 && whole.starts_with(begin))
}

/// Keeps what a filter told of a use that it had claimed; what another one says of it is only in the log.
pub(super) async fn ended(tx: &mut WriteTx, vm: &VmIdentity, told: &UseEvent) -> Result<(), AppError> {
    let known = tx.usage(&told.id).await?;
    if known.is_some_and(|taken| taken.vm == vm.vm && taken.grant == told.grant) {
        let outcome = UseOutcomeTold { word: told.outcome, status: told.status, at: tx.now() };
        let _first = tx.tell_use(&told.id, &outcome).await?;
    }
    Ok(())
}

#[derive(Serialize)]
struct ClaimedData<'a> {
    number: u32,
    of: Option<u32>,
    exhausted: bool,
    node: &'a str,
    /// The decision that it was taken for.
    event: &'a DecisionEvent<'a>,
}

fn claimed_entry<'a>(grant: &Grant, taken: &'a Use, event: &'a DecisionEvent<'a>) -> Entry<ClaimedData<'a>> {
    let ids = EntryIds {
        request: Some(grant.request.clone()),
        grant: Some(grant.id.clone()),
        use_id: Some(taken.id.clone()),
        decision: Some(taken.decision.clone()),
        vm: Some(taken.vm.clone()),
        ..EntryIds::default()
    };
    let data = ClaimedData {
        number: taken.number,
        of: grant.uses.map(|uses| uses.allowed),
        exhausted: matches!(grant.state, GrantState::Exhausted { .. }),
        node: &taken.node,
        event,
    };
    Entry { kind: EntryKind::UseClaimed, actor: ActorField::Filter, ids, data }
}
