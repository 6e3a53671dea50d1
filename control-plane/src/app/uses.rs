//! Uses of grants: taken for calls of filters, each at most once, and what came of them.

use grantmesh_shared::id::GrantId;
use grantmesh_shared::wire::claims::{ClaimOutcome, ClaimRefusal, ClaimResult, ClaimsRequest, MAX_CLAIMS};
use grantmesh_shared::wire::records::{DecisionEvent, MAX_RECORD_BYTES, UseEvent};
use grantmesh_shared::wire::sync::VmIdentity;
use serde::Serialize;

use super::fleet::own_vm;
use super::{App, AppError, FilterIdentity, Invalid};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
use crate::domain::{Actor, Claim, Grant, GrantState, Use, UseOutcomeTold};
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
        if asked.claims.len() > MAX_CLAIMS {
            return Err(Invalid::Filter { what: format!("it claims more than {MAX_CLAIMS} uses at once") }.into());
        }
        let node = filter.name_of(&asked.filter);
        let mut tx = self.write().await?;
        own_vm(&mut tx, &asked.filter, &node).await?;
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
        // What would not fit an entry of the log is not taken, and no other claim fails for it.
        if serde_json::to_vec(event).map_or(usize::MAX, |json| json.len()) > MAX_RECORD_BYTES {
            return Ok(ClaimOutcome::Refused(ClaimRefusal::NotYours));
        }
        let before = tx.use_by_decision(&event.id).await?;
        let grant = match &event.grant {
            Some(id) => tx.grant(id).await?,
            None => None,
        };
        let now = (tx.now(), tx.revision());
        let (grant, number) = match Claim::judge((&vm.vm, &vm.services), event, before, grant, now) {
            Claim::Again(id) => return Ok(ClaimOutcome::Claimed(id)),
            Claim::Refused(why) => return Ok(ClaimOutcome::Refused(why)),
            Claim::Taken(grant, number) => (grant, number),
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
        tx.insert_grant_calls(vec![(grant.id.clone(), tx.next_seq())]).await?;
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

/// Keeps what a filter told of a use that it had claimed; what another one says of it is only in the log.
pub(super) async fn ended(tx: &mut WriteTx, vm: &VmIdentity, told: &UseEvent) -> Result<(), AppError> {
    let known = tx.usage(&told.id).await?;
    if known.is_some_and(|taken| taken.vm == vm.vm && taken.grant == told.grant) {
        let outcome = UseOutcomeTold { word: told.outcome, status: told.status, at: tx.now() };
        tx.tell_use(&told.id, &outcome).await?;
    }
    Ok(())
}

#[derive(Serialize)]
struct ClaimedData<'a> {
    number: u32,
    of: Option<u32>,
    exhausted: bool,
    revision: u64,
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
        revision: grant.revision,
        node: &taken.node,
        event,
    };
    Entry { kind: EntryKind::UseClaimed, actor: ActorField::Filter, ids, data }
}
