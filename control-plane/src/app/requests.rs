//! Filing, reading and withdrawing requests.

use grantmesh_shared::engine::{TicketRule, WordsRule};
use grantmesh_shared::id::RequestId;
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::policy::reviewers;
use grantmesh_shared::wire::signature::Sha256Hash;
use serde::Serialize;

use super::delegations::Reviewable;
use super::ledger::{Suggestion, suggested};
use super::once::still_there;
use super::reviews::issued_entry;
use super::routing::route;
use super::{App, AppError, Conflict, Forbidden, Invalid, Listed, Only, Page};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind, GroupsField};
use crate::clock::grant_id;
use crate::domain::{
    Actor, AlreadyDecided, Ask, AskHistory, AskTarget, Automatic, NewRequest, PeopleAtReview, Request,
    RequestStateWord, Rulebook, RulesAtReview, Standing, Text,
};
use crate::store::{Tx, WriteTx};

/// What filing led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    /// The request.
    pub request: Request,
    /// Whether it was there already, by the key of the send.
    pub repeated: bool,
}

/// All that is known of a request before it is filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefill {
    /// The service.
    pub service: String,
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The rule it would be filed under.
    pub rule: String,
    /// The rule's default.
    pub duration: Span,
    /// The rule's maximum.
    pub max_duration: Span,
    /// For how many calls a grant may be, if they are counted.
    pub max_uses: Option<u32>,
    /// Who reviews, as `user:NAME` or `group:NAME`.
    pub reviewers: Vec<String>,
    /// What the justification must be.
    pub justification: WordsRule,
    /// What the ticket must be.
    pub ticket: TicketRule,
    /// What would have been enough the last time.
    pub suggestion: Option<Suggestion>,
}

/// Which requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestFilter {
    /// Only in this state.
    pub state: Option<RequestStateWord>,
    /// And what else.
    pub only: Only,
}

impl App {
    /// Files a request.
    ///
    /// # Errors
    /// If no rule lets the actor ask, or the ask breaks its rule.
    pub async fn file_request(&self, actor: &Actor, new: NewRequest) -> Result<Filed, AppError> {
        let mut tx = self.write().await?;
        if let Some(id) = self.repeated::<RequestId>(&mut tx, &actor.user).await? {
            let request = still_there(tx.request(&id).await?, id.as_str())?;
            return Ok(Filed { request, repeated: true });
        }
        let book = self.rulebook(&mut tx).await?;
        let asked = book.ask(actor, &new.target, new.rule.as_deref(), tx.now()).map_err(Invalid::NotEligible)?;
        let policy = book.policy.clone().ok_or_else(|| AppError::not_found("policy", "current"))?;
        let ask = Ask::new(actor, asked, &new, policy, tx.now()).map_err(Invalid::Ask)?;
        let request = self.file(&mut tx, &book, actor, ask).await?;
        self.keep_key(&mut tx, &actor.user, request.id.as_str()).await?;
        tx.commit().await?;
        Ok(Filed { request, repeated: false })
    }

    /// Files an ask that was checked, whoever and whatever brings it: the one way to a pending request, and to one that its
    /// rule decides by itself.
    ///
    /// # Errors
    /// If the requester has asked for the same and waits, or too often.
    pub(super) async fn file(
        &self,
        tx: &mut WriteTx,
        book: &Rulebook,
        actor: &Actor,
        ask: Ask,
    ) -> Result<Request, AppError> {
        if let Some(request) = tx.alike(&ask).await? {
            return Err(Conflict::AlreadyAsked { request }.into());
        }
        let rule = book.rule(&ask.service, &ask.rule, &ask.action);
        let rule = rule.ok_or_else(|| AppError::not_found("rule", &ask.rule))?;
        let limits = rule.workflow.course.limits;
        let mut history = AskHistory::default();
        for account in book.people.accounts_of(&ask.requester) {
            history = history.and(tx.ask_history(&ask, account, limits.cool_down).await?);
        }
        history.allows_one_more(&ask.rule, limits, tx.now()).map_err(AppError::Limit)?;
        let said = tx.signals_of_keys(&book.said_of(&ask)).await?;
        let automatic = book.automatic(&ask, (actor, &said), tx.now());
        let rules = RulesAtReview {
            then: Some(rule),
            now: Some(rule),
            people: PeopleAtReview { then: &book.people, now: &book.people },
            escalated: false,
            delegations: &[],
        };
        let id = self.new_id(tx)?;
        let grant = grant_id(tx.now(), &id);
        let ids = (id, grant);
        let approvals = rule.workflow.deciding.approvals();
        let (request, grant) = Request::filed(ids, ask, approvals, automatic, rules, (tx.now(), tx.revision()));
        let rules = RulesAtReview { escalated: request.waited.escalated_at.is_some(), ..rules };
        let now = tx.now();
        let (_, suggested) = route(tx, book, (&request, now), rules).await?;
        tx.insert_request(&request, &suggested).await?;
        tx.log(&filed_entry(&request))?;
        if let Some(automatic) = &request.automatic {
            tx.log(&automatic_entry(&request, automatic))?;
        }
        if let Some(grant) = &grant {
            tx.insert_grant(grant).await?;
            tx.log(&issued_entry(&request, None, grant)?)?;
        }
        Ok(request)
    }

    /// What a request for this target would be.
    ///
    /// # Errors
    /// `NotFound` if no rule lets the actor ask.
    pub async fn prefill(&self, actor: &Actor, target: &AskTarget, rule: Option<&str>) -> Result<Prefill, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        let unknown = |_| AppError::not_found("way to ask for", &target.to_string());
        let asked = book.ask(actor, target, rule, self.inner.settings.clock.now()).map_err(unknown)?;
        let suggestion = suggested(&mut tx, actor, &asked).await?;
        Ok(Prefill {
            suggestion,
            service: asked.service.name().to_owned(),
            action: asked.action.to_owned(),
            resource: asked.resource,
            rule: asked.rule.name.to_string(),
            duration: asked.rule.workflow.default_duration,
            max_duration: asked.rule.workflow.max_duration,
            max_uses: asked.rule.workflow.max_uses,
            reviewers: reviewers(asked.rule),
            justification: asked.rule.workflow.deciding.justification.clone(),
            ticket: asked.rule.workflow.deciding.ticket.clone(),
        })
    }

    /// One request. Visible to its requester, the rule's reviewers and their delegates, operators and auditors.
    ///
    /// # Errors
    /// `NotFound` if there is none or it is not visible.
    pub async fn request(&self, actor: &Actor, id: &RequestId) -> Result<Request, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        let now = self.inner.settings.clock.now();
        self.visible_request(&mut tx, (actor, &book), id, now).await
    }

    /// A request that the actor may see.
    ///
    /// # Errors
    /// `NotFound` if there is none or it is not visible.
    pub(super) async fn visible_request(
        &self,
        tx: &mut Tx,
        (actor, book): (&Actor, &Rulebook),
        id: &RequestId,
        now: Timestamp,
    ) -> Result<Request, AppError> {
        let unknown = || AppError::not_found("request", id.as_str());
        let request = tx.request(id).await?.ok_or_else(unknown)?;
        let sees = self.sees_request(actor, book, &request)
            || self.may_review(tx, (actor, book), Reviewable::Request(&request), now).await?;
        sees.then_some(request).ok_or_else(unknown)
    }

    /// How far a request has come through the stages of its rule.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn standing(&self, request: &Request) -> Result<Standing, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        let then = self.then(&mut tx, &request.ask).await?;
        Ok(request.standing(then.rules_at_review(request, &book)))
    }

    /// The requests that the actor may see, newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn requests(
        &self,
        actor: &Actor,
        filter: &RequestFilter,
        page: &Page,
    ) -> Result<Listed<Request>, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        let id = |millis| RequestId::new(millis, [0; 10]).to_string();
        let mut select = self.select(actor, &book, filter.state.map(RequestStateWord::as_str), &filter.only, page, id);
        if !filter.only.mine {
            let now = self.inner.settings.clock.now();
            select.visible = self.lent_to(&mut tx, (&actor.user, &book), now).await?.added_to(select.visible);
        }
        let found = tx.requests(&select).await?;
        Ok(Listed::of(found, &select, |request| request.id.to_string()))
    }

    /// Takes a request back.
    ///
    /// # Errors
    /// If it is not the actor's, or decided.
    pub async fn withdraw(&self, actor: &Actor, id: &RequestId) -> Result<Request, AppError> {
        let mut tx = self.write().await?;
        let book = self.rulebook(&mut tx).await?;
        let now = tx.now();
        let request = self.visible_request(&mut tx, (actor, &book), id, now).await?;
        if request.ask.requester != actor.user {
            return Err(Forbidden::NotTheRequester.into());
        }
        if request.is_overdue(tx.now()) {
            return Err(time_out_instead(tx, request).await);
        }
        let request = request.withdraw(tx.now()).map_err(Conflict::AlreadyDecided)?;
        tx.update_request(&request).await?;
        tx.log(&ended_entry(&request, EntryKind::RequestWithdrawn, ActorField::User(actor.user.clone())))?;
        tx.commit().await?;
        Ok(request)
    }
}

#[derive(Serialize)]
struct FiledData<'a> {
    service: &'a str,
    action: &'a str,
    resource: &'a str,
    rule: &'a str,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Timestamp>,
    /// The grant that is to last longer, which is also among the ids.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    extends: bool,
    /// How many approvals it takes.
    approvals: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    remind_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    escalate_at: Option<Timestamp>,
    times_out_at: Timestamp,
    digest: Sha256Hash,
    /// Of the requester.
    groups: GroupsField<'a>,
    justification: &'a Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a Text>,
}

fn filed_entry(request: &Request) -> Entry<FiledData<'_>> {
    let ask = &request.ask;
    Entry {
        kind: EntryKind::RequestFiled,
        actor: ActorField::User(ask.requester.clone()),
        ids: EntryIds {
            request: Some(request.id.clone()),
            grant: ask.kind.extended().cloned(),
            policy: Some(ask.policy.clone()),
            ..EntryIds::default()
        },
        data: FiledData {
            service: &ask.service,
            action: &ask.action,
            resource: &ask.resource,
            rule: &ask.rule,
            duration_ms: ask.duration.millis(),
            uses: ask.uses,
            starts_at: ask.starts_at,
            extends: ask.kind.extended().is_some(),
            approvals: request.approvals_needed,
            remind_at: ask.timers.remind_at,
            escalate_at: ask.timers.escalate_at,
            times_out_at: ask.times_out_at,
            digest: ask.digest(),
            groups: ask.requester_groups.as_slice().into(),
            justification: &ask.justification,
            ticket: ask.ticket.as_ref(),
        },
    }
}

#[derive(Serialize)]
struct AutomaticData<'a> {
    rule: &'a str,
    /// The decision's name within the rule.
    name: &'a str,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    approvals: Option<u32>,
    digest: Sha256Hash,
}

/// The entry of what a rule decided by itself: with the rule, its decision, and the policy version that says so.
fn automatic_entry<'a>(request: &'a Request, automatic: &'a Automatic) -> Entry<AutomaticData<'a>> {
    let ids = EntryIds {
        request: Some(request.id.clone()),
        grant: request.state.grant().cloned(),
        policy: Some(automatic.policy.clone()),
        ..EntryIds::default()
    };
    let data = AutomaticData {
        rule: &request.ask.rule,
        name: &automatic.name,
        decision: automatic.word(),
        approvals: automatic.required(),
        digest: request.ask.digest(),
    };
    Entry { kind: EntryKind::RequestAutomatic, actor: ActorField::System, ids, data }
}

/// What is logged where the ids say it all.
#[derive(Serialize)]
pub(super) struct NoData {}

/// The entry of something that happened to a request without a review.
pub(super) fn ended_entry(request: &Request, kind: EntryKind, actor: ActorField) -> Entry<NoData> {
    let ids = EntryIds { request: Some(request.id.clone()), ..EntryIds::default() };
    Entry { kind, actor, ids, data: NoData {} }
}

/// Times a request out, within the transaction that found it overdue.
pub(super) async fn time_out(tx: &mut WriteTx, request: Request) -> Result<(), AppError> {
    let request = request.time_out(tx.now()).map_err(Conflict::AlreadyDecided)?;
    tx.update_request(&request).await?;
    Ok(tx.log(&ended_entry(&request, EntryKind::RequestTimedOut, ActorField::System))?)
}

/// Times out a request that someone wanted to decide too late, and gives the refusal for them.
pub(super) async fn time_out_instead(mut tx: WriteTx, request: Request) -> AppError {
    let done = async {
        time_out(&mut tx, request).await?;
        Ok::<_, AppError>(tx.commit().await?)
    };
    let refused = Conflict::AlreadyDecided(AlreadyDecided { state: RequestStateWord::TimedOut });
    done.await.err().unwrap_or_else(|| refused.into())
}
