//! More time for a grant: at once where its rule lets its holder have it, else by a request that is reviewed like the first.

use std::str::FromStr;

use grantmesh_shared::id::{GrantId, IdError, RequestId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::Position;
use serde::Serialize;

use super::once::still_there;
use super::schedule::request_of;
use super::{App, AppError, Conflict, Forbidden, Invalid, requests};
use crate::audit::{ActorField, AuditError, Entry, EntryIds, EntryKind, terms_hash};
use crate::domain::{
    Actor, AlreadyEnded, Ask, AskTarget, ExtendRefused, ExtensionCap, Grant, Request, Review, Rulebook, TextError,
    WordsRefused,
};
use crate::store::{Tx, WriteTx};

/// What came of asking for more time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extended {
    /// The grant has it; filters that have applied the position know.
    Now(Box<Grant>, Position),
    /// It is for reviewers to decide.
    Asked(Box<Request>),
}

/// What asking for more time has changed or made, by its id.
enum Made {
    Grant(GrantId),
    Request(RequestId),
}

impl FromStr for Made {
    type Err = IdError;

    fn from_str(id: &str) -> Result<Self, IdError> {
        id.parse().map(Self::Grant).or_else(|_| id.parse().map(Self::Request))
    }
}

impl App {
    /// Asks for more time, for the holder of a grant that is in force.
    ///
    /// # Errors
    /// If the grant is not the actor's or not in force, the policy does not let them ask, or it would last too long.
    pub async fn extend(
        &self,
        actor: &Actor,
        id: &GrantId,
        by: Span,
        justification: Option<&str>,
    ) -> Result<Extended, AppError> {
        let mut tx = self.write().await?;
        if let Some(made) = self.repeated(&mut tx, &actor.user).await? {
            return self.extended_before(&mut tx, made).await;
        }
        let book = self.rulebook(&mut tx).await?;
        let now = tx.now();
        let grant = self.visible_grant(&mut tx, (actor, &book), id, now).await?;
        if grant.holder != actor.user {
            return Err(Forbidden::NotTheHolder.into());
        }
        let (grant, written) = self.settle(&mut tx, &book, grant).await?;
        if written && grant.state.ended_at().is_some() {
            tx.commit().await?;
            return Err(Conflict::AlreadyEnded(AlreadyEnded { state: grant.state.word() }).into());
        }
        if grant.break_glass {
            return Err(ExtendRefused::BreakGlass.into());
        }
        if let Some(pending) = tx.pending_extension(&grant.id).await? {
            return Err(Conflict::AlreadyAsked { request: pending.id }.into());
        }
        let first = request_of(&mut tx, &grant).await?;
        let then = self.then(&mut tx, &first.ask).await?;
        let rules = then.rules(&first.ask, &book);
        let no_rule = || ExtendRefused::NoRule { rule: grant.rule.clone() };
        let cap = ExtensionCap::of(rules).ok_or_else(no_rule)?;
        let needs_review = grant.may_extend(by, cap, tx.now())?;
        let target = AskTarget::Action {
            service: grant.service.clone(),
            action: grant.action.clone(),
            resource: grant.resource.clone(),
        };
        let asked = book.ask(actor, &target, Some(&grant.rule), tx.now()).map_err(Invalid::NotEligible)?;
        if rules.then.is_none_or(|then| then.bind != asked.rule.bind) {
            return Err(ExtendRefused::OtherBinding { rule: grant.rule }.into());
        }
        if !needs_review {
            let before = grant.expires_at;
            let grant = grant.extend(by, rules, tx.now(), tx.revision())?;
            tx.extend_grant(&grant, before).await?;
            tx.log(&extended_entry(&grant, before, None)?)?;
            self.keep_key(&mut tx, &actor.user, grant.id.as_str()).await?;
            let position = tx.commit().await?.position;
            return Ok(Extended::Now(Box::new(grant), position));
        }
        let Some(why) = justification.filter(|why| !why.trim().is_empty()) else {
            let empty = TextError::Empty { what: "justification of an extension that is reviewed" };
            return Err(Invalid::Ask(WordsRefused::Justification(empty).into()).into());
        };
        let policy = book.policy.clone().ok_or_else(|| AppError::not_found("policy", "current"))?;
        let ask =
            Ask::extension(actor, asked, (&grant, &first.ask), (by, why), policy, tx.now()).map_err(Invalid::Ask)?;
        let request = self.file(&mut tx, &book, actor, ask).await?;
        self.keep_key(&mut tx, &actor.user, request.id.as_str()).await?;
        tx.commit().await?;
        Ok(Extended::Asked(Box::new(request)))
    }

    /// What is there by now of more time that was asked for.
    async fn extended_before(&self, tx: &mut Tx, made: Made) -> Result<Extended, AppError> {
        Ok(match made {
            Made::Grant(id) => {
                let grant = still_there(tx.grant(&id).await?, id.as_str())?;
                let position = self.position_of(&grant);
                Extended::Now(Box::new(grant), position)
            }
            Made::Request(id) => Extended::Asked(Box::new(still_there(tx.request(&id).await?, id.as_str())?)),
        })
    }

    /// Gives a grant the time that was approved, within the transaction of the deciding approval.
    pub(super) async fn extend_by_review(
        &self,
        tx: &mut WriteTx,
        book: &Rulebook,
        (request, review): (&Request, &Review),
        (id, by): (&GrantId, Span),
    ) -> Result<Grant, AppError> {
        let grant = tx.grant(id).await?.ok_or_else(|| AppError::not_found("grant", id.as_str()))?;
        let first = request_of(tx, &grant).await?;
        let then = self.then(tx, &first.ask).await?;
        let rules = then.rules(&first.ask, book);
        let before = grant.expires_at;
        let mut grant = grant.extend(by, rules, tx.now(), tx.revision())?;
        for fewer in request.reviews.iter().filter_map(|review| review.reveals.as_ref()) {
            grant.terms.reveals.retain(|field| fewer.contains(field));
        }
        tx.extend_grant(&grant, before).await?;
        tx.log(&extended_entry(&grant, before, Some((request, review)))?)?;
        Ok(grant)
    }
}

/// Takes back the request for more time that is pending when its grant ends.
pub(super) async fn drop_pending(tx: &mut WriteTx, grant: &GrantId) -> Result<(), AppError> {
    let Some(request) = tx.pending_extension(grant).await? else { return Ok(()) };
    if request.is_overdue(tx.now()) {
        return requests::time_out(tx, request).await;
    }
    let request = request.withdraw(tx.now()).map_err(Conflict::AlreadyDecided)?;
    tx.update_request(&request).await?;
    Ok(tx.log(&requests::ended_entry(&request, EntryKind::RequestWithdrawn, ActorField::System))?)
}

#[derive(Serialize)]
struct ExtendedData {
    before: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Sha256Hash>,
    revision: u64,
}

fn extended_entry(
    grant: &Grant,
    before: Timestamp,
    reviewed: Option<(&Request, &Review)>,
) -> Result<Entry<ExtendedData>, AuditError> {
    let (request, review, actor) = match reviewed {
        None => (grant.request.clone(), None, grant.holder.clone()),
        Some((request, review)) => (request.id.clone(), Some(review.id.clone()), review.reviewer.clone()),
    };
    let ids = EntryIds { request: Some(request), review, grant: Some(grant.id.clone()), ..EntryIds::default() };
    let terms = terms_hash(&grant.terms)?;
    let data = ExtendedData { before, expires_at: grant.expires_at, terms, revision: grant.revision };
    Ok(Entry { kind: EntryKind::GrantExtended, actor: ActorField::User(actor), ids, data })
}
