//! Calls that filters hold: their requests are filed for them, or joined where the same was asked before, and told of until
//! the calls are over.

use grantmesh_shared::id::RequestId;
use grantmesh_shared::text::misleads;
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::holds::{
    EndedHold, HoldEnd, HoldItem, HoldResult, HoldState, HoldsRequest, MAX_ASKED, MAX_FILED,
};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, MAX_RECORD_BYTES};
use grantmesh_shared::wire::sync::{Position, VmIdentity};
use serde::Serialize;

use super::fleet::own_vm;
use super::requests::ended_entry;
use super::{App, AppError, Conflict, FilterIdentity, Invalid};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
use crate::domain::{
    Actor, Ask, AskTarget, Asked, Automatic, Hold, NewRequest, Request, RequestState, RequestStateWord, Rulebook,
};
use crate::store::{Tx, WriteTx};

/// The most calls of one VM that wait: as many as a filter holds.
const MOST_WAITING: u64 = 1_000;

/// However little a filter says, a call waits so long.
const SHORTEST: Span = Span::from_millis(1);

/// For so long a call that its rule denies by itself is told of the request of before.
const SAID_AGAIN: Span = Span::from_secs(3_600);

/// Why no request is filed for a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NotHeld {
    #[error("the filter may not hold a call like this")]
    NotTheFilters,
    #[error("the call is no user's, or not all groups of its user are known")]
    NoUser,
    #[error("the name of its user, or of a group of theirs, has characters that do not show as what they are")]
    Misleading,
    #[error("no rule of the policy in force lets you wait for this; ask for it with a request")]
    NoRule,
    #[error("too many calls wait in this proxy")]
    TooMany,
    #[error("the filter did not file this call")]
    Unknown,
}

impl App {
    /// Files requests for calls that a filter holds, ends holds, and tells how those stand that are filed or asked for. A
    /// hold that was filed before is the same hold.
    ///
    /// # Errors
    /// If the filter's credential does not cover what it says of itself, it asks for too much at once, or the store fails;
    /// then nothing is kept.
    pub async fn holds(&self, filter: &FilterIdentity, asked: &HoldsRequest<'_>) -> Result<Vec<HoldResult>, AppError> {
        filter.check(&asked.filter)?;
        if asked.file.len() > MAX_FILED || asked.ask.len() > MAX_ASKED || asked.end.len() > MAX_ASKED {
            let what = format!("it files more than {MAX_FILED} holds at once, or asks for more than {MAX_ASKED}");
            return Err(Invalid::Filter { what }.into());
        }
        let mut results = Vec::with_capacity(asked.file.len().saturating_add(asked.ask.len()));
        if !asked.file.is_empty() || !asked.end.is_empty() {
            let mut tx = self.write().await?;
            let node = filter.name_of(&asked.filter);
            own_vm(&mut tx, &asked.filter, &node).await?;
            for EndedHold { decision, why } in &asked.end {
                if tx.end_hold(decision, &asked.filter.vm, *why).await?
                    && let Some(hold) = tx.hold(decision).await?
                {
                    tx.log(&ended(&hold, *why))?;
                    give_up(&mut tx, &hold, *why).await?;
                }
            }
            let book = if asked.file.is_empty() { Rulebook::default() } else { self.rulebook(&mut tx).await? };
            for item in &asked.file {
                results.push(self.hold(&mut tx, &book, (&asked.filter, &node), item).await?);
            }
            tx.commit().await?;
        }
        let mut tx = self.read().await?;
        let now = self.inner.settings.clock.now();
        for decision in &asked.ask {
            let hold = tx.hold(decision).await?.filter(|hold| hold.vm == asked.filter.vm);
            let (request, state) = match hold {
                None => (None, HoldState::Refused(NotHeld::Unknown.to_string())),
                Some(hold) => (Some(hold.request.clone()), standing(&mut tx, &hold.request, now).await?),
            };
            results.push(HoldResult { decision: decision.clone(), request, state });
        }
        Ok(results)
    }

    /// The holds of a request, the oldest first. Visible to whoever sees the request.
    ///
    /// # Errors
    /// `NotFound` if there is no such request or it is not visible.
    pub async fn holds_of(&self, actor: &Actor, id: &RequestId) -> Result<Vec<Hold>, AppError> {
        let request = self.request(actor, id).await?;
        Ok(self.read().await?.holds(&request.id).await?)
    }

    async fn hold(
        &self,
        tx: &mut WriteTx,
        book: &Rulebook,
        (vm, node): (&VmIdentity, &str),
        item: &HoldItem<'_>,
    ) -> Result<HoldResult, AppError> {
        let decision = item.event.id.clone();
        let now = tx.now();
        if let Some(hold) = tx.hold(&decision).await? {
            if hold.vm != vm.vm {
                let state = HoldState::Refused(NotHeld::NotTheFilters.to_string());
                return Ok(HoldResult { decision, request: None, state });
            }
            let state = standing(tx, &hold.request, now).await?;
            return Ok(HoldResult { decision, request: Some(hold.request), state });
        }
        let (request, filed) = match self.held_request(tx, book, vm, item).await {
            Ok(found) => found,
            // What one call may not have is told to that call; the others of the question are held all the same.
            Err(
                refused @ (AppError::Invalid(_) | AppError::Conflict(_) | AppError::Forbidden(_) | AppError::Limit(_)),
            ) => {
                let state = HoldState::Refused(refused.to_string().replace('\n', "; "));
                return Ok(HoldResult { decision, request: None, state });
            }
            Err(failed) => return Err(failed),
        };
        let rule = book.rule(&request.ask.service, &request.ask.rule, &request.ask.action);
        let longest = rule.and_then(|rule| rule.hold).unwrap_or(SHORTEST);
        let hold = Hold {
            decision: decision.clone(),
            request: request.id.clone(),
            filed,
            vm: vm.vm.clone(),
            node: node.to_owned(),
            since: now,
            until: item.until.min(now.plus(longest)).max(now.plus(SHORTEST)),
            ended: None,
        };
        tx.insert_hold(&hold).await?;
        tx.log(&began(&hold, &item.event))?;
        // What the rule decides by itself, the call need not wait for.
        let state = standing(tx, &hold.request, now).await?;
        Ok(HoldResult { decision, request: Some(hold.request), state })
    }

    /// The request that a call waits for, and whether it was filed for it: the same that its user has asked for already is
    /// not asked for twice. The condition on asking was judged by the filter, which has the call.
    async fn held_request(
        &self,
        tx: &mut WriteTx,
        book: &Rulebook,
        vm: &VmIdentity,
        HoldItem { event, rule, call, justification, until: _ }: &HoldItem<'_>,
    ) -> Result<(Request, bool), AppError> {
        let refused = |why: NotHeld| AppError::from(Invalid::Filter { what: why.to_string() });
        let is_its_own =
            event.decision == DecisionWord::Ask && vm.services.iter().any(|known| *known == *event.service);
        if !is_its_own || serde_json::to_vec(event).map_or(usize::MAX, |json| json.len()) > MAX_RECORD_BYTES {
            return Err(refused(NotHeld::NotTheFilters));
        }
        let now = tx.now();
        if tx.waiting_holds(&vm.vm, now).await? >= MOST_WAITING {
            return Err(refused(NotHeld::TooMany));
        }
        let (Some(issuer), Some(subject), Some(groups)) = (&event.issuer, &event.subject, &event.groups) else {
            return Err(refused(NotHeld::NoUser));
        };
        // Whoever decides reads them.
        let mut names = groups.iter().chain([subject]);
        if names.any(|name| name.chars().any(misleads)) {
            return Err(refused(NotHeld::Misleading));
        }
        let actor = Actor::new(issuer, subject, groups.iter().map(ToString::to_string).collect());
        let no_rule = || refused(NotHeld::NoRule);
        let (action, resource) = event.action.as_deref().zip(event.resource.as_deref()).ok_or_else(no_rule)?;
        let found = book
            .rule(&event.service, rule, action)
            .filter(|rule| rule.hold.is_some() && actor.as_principal(|principal| rule.is_eligible(principal)));
        let (service, found) = book.service(&event.service).zip(found).ok_or_else(no_rule)?;
        let policy = book.policy.clone().ok_or_else(no_rule)?;
        let said = justification.clone().filter(|said| !said.trim().is_empty());
        let new = NewRequest {
            target: AskTarget::Action {
                service: event.service.to_string(),
                action: action.to_owned(),
                resource: resource.to_owned(),
            },
            justification: said.unwrap_or_else(|| format!("A call that waits: {} {}", event.method, event.path)),
            // Where the rule wants one the call is not held, since it has none to show.
            ticket: None,
            duration: None,
            starts_at: None,
            uses: None,
            rule: Some(rule.clone()),
            call: call.clone(),
        };
        let asked = Asked { service, action, resource: resource.to_owned(), rule: found };
        let ask = Ask::new(&actor, asked, &new, policy, now).map_err(Invalid::Ask)?;
        if let Some(same) = tx.alike(&ask).await?
            && let Some(request) = tx.request(&same).await?
        {
            return Ok((request, false));
        }
        if let Some(request) = self.denied_already(tx, book, &actor, &ask).await? {
            return Ok((request, false));
        }
        Ok((self.file(tx, book, &actor, ask).await?, true))
    }
}

impl App {
    /// The request of before by which the rule of an ask said no by itself, if it would say the very same now: a call that
    /// is sent again and again files one request an hour, and has the same answer.
    async fn denied_already(
        &self,
        tx: &mut Tx,
        book: &Rulebook,
        actor: &Actor,
        ask: &Ask,
    ) -> Result<Option<Request>, AppError> {
        let Some(before) = tx.denied_by_itself(ask, ask.created_at.minus(SAID_AGAIN)).await? else { return Ok(None) };
        let said = tx.signals_of_keys(&book.said_of(ask)).await?;
        let Some(no) = book.automatic(ask, (actor, &said), ask.created_at).filter(Automatic::denies) else {
            return Ok(None);
        };
        Ok(tx.request(&before).await?.filter(|request| request.automatic.as_ref() == Some(&no)))
    }
}

/// How a request stands.
async fn standing(tx: &mut Tx, id: &RequestId, now: Timestamp) -> Result<HoldState, AppError> {
    let Some(request) = tx.request(id).await? else { return Ok(HoldState::Refused(NotHeld::Unknown.to_string())) };
    Ok(match &request.state {
        RequestState::Pending if request.is_overdue(now) => HoldState::TimedOut,
        RequestState::Pending => HoldState::Pending,
        RequestState::Denied { .. } => HoldState::Denied,
        RequestState::TimedOut { .. } => HoldState::TimedOut,
        RequestState::Withdrawn { .. } => HoldState::Withdrawn,
        RequestState::Approved { grant, .. } => {
            let Position { epoch, revision } = tx.head().await?.position;
            // Whatever became of the grant since, the table tells.
            let revision = tx.grant(grant).await?.map_or(revision, |grant| grant.revision);
            HoldState::Approved(Position { epoch, revision })
        }
    })
}

/// Withdraws a request that was filed for a call whose caller went away, if nobody else waits for it.
async fn give_up(tx: &mut WriteTx, hold: &Hold, why: HoldEnd) -> Result<(), AppError> {
    if why != HoldEnd::Gone {
        return Ok(());
    }
    let now = tx.now();
    let (is_only_for_calls, is_waited_for) = tx.is_held(&hold.request, now).await?;
    if !is_only_for_calls || is_waited_for {
        return Ok(());
    }
    let Some(request) = tx.request(&hold.request).await?.filter(|request| !request.is_overdue(now)) else {
        return Ok(());
    };
    if request.state.word() == RequestStateWord::Pending {
        let request = request.withdraw(now).map_err(Conflict::AlreadyDecided)?;
        tx.update_request(&request).await?;
        tx.log(&ended_entry(&request, EntryKind::RequestWithdrawn, ActorField::Filter))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct BeganData<'a> {
    until: Timestamp,
    filed: bool,
    node: &'a str,
    event: &'a DecisionEvent<'a>,
}

fn ids(hold: &Hold) -> EntryIds {
    EntryIds {
        request: Some(hold.request.clone()),
        decision: Some(hold.decision.clone()),
        vm: Some(hold.vm.clone()),
        ..EntryIds::default()
    }
}

fn began<'a>(hold: &'a Hold, event: &'a DecisionEvent<'a>) -> Entry<BeganData<'a>> {
    let data = BeganData { until: hold.until, filed: hold.filed, node: &hold.node, event };
    Entry { kind: EntryKind::HoldBegan, actor: ActorField::Filter, ids: ids(hold), data }
}

#[derive(Serialize)]
struct EndedData {
    why: HoldEnd,
}

fn ended(hold: &Hold, why: HoldEnd) -> Entry<EndedData> {
    Entry { kind: EntryKind::HoldEnded, actor: ActorField::Filter, ids: ids(hold), data: EndedData { why } }
}
