//! Reviews: the one way from a request to a grant.

use std::sync::Arc;

use grantmesh_shared::engine::{Service, User};
use grantmesh_shared::id::RequestId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::table::UserItem;
use serde::Serialize;

use super::requests::time_out_instead;
use super::routing::route;
use super::{App, AppError};
use crate::audit::{ActorField, AuditError, Entry, EntryIds, EntryKind, GroupsField, terms_hash};
use crate::clock::grant_id;
use crate::domain::{
    Actor, Ask, Grant, GrantState, NewReview, Outcome, People, PeopleAtReview, Request, RequestState, Review, Rulebook,
    RulesAtReview, Text, Verdict,
};
use crate::store::Tx;

/// What a review led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// The request in its new state.
    pub request: Request,
    /// The review that was given.
    pub review: Review,
    /// The grant, if this was the deciding approval.
    pub grant: Option<Grant>,
}

impl App {
    /// Reviews a request; the deciding approval makes the grant.
    ///
    /// # Errors
    /// If the actor may not review it, it is decided or overdue, or the review breaks a rule.
    pub async fn review(&self, actor: &Actor, id: &RequestId, new: &NewReview) -> Result<Reviewed, AppError> {
        let mut tx = self.write().await?;
        let book = self.rulebook(&mut tx).await?;
        let now = tx.now();
        let request = self.visible_request(&mut tx, (actor, &book), id, now).await?;
        if request.is_overdue(now) {
            return Err(time_out_instead(tx, request).await);
        }
        let then = self.then(&mut tx, &request.ask).await?;
        let rules = then.rules_at_review(&request, &book);
        let accounts = rules.people.accounts_of(&actor.user);
        let delegations = tx.delegations_since(&accounts, request.ask.created_at).await?;
        let rules = RulesAtReview { delegations: &delegations, ..rules };
        // What comes of a request for more time is the grant that there is.
        let grant = match request.ask.kind.extended() {
            Some(grant) => grant.clone(),
            None => grant_id(now, &request.id),
        };
        let ids = (self.new_id(&tx)?, grant);
        let place = request.reviews.len();
        let (awaited, suggested) = (request.standing(rules).awaited, tx.suggested(&request.id).await?);
        let Outcome { request, review, grant } = request.review(actor, new, rules, ids, now, tx.revision())?;
        tx.insert_review(&request.id, place, &review).await?;
        tx.update_request(&request).await?;
        if request.state == RequestState::Pending {
            // Another stage may be open now, which others are needed for, or one who was asked has said their word.
            let standing = request.standing(rules);
            let has_voted = |user: &User| review.voters().any(|voter| rules.people.same(voter, user));
            let suggested = if suggested.iter().any(has_voted) || standing.awaited != awaited {
                route(&mut tx, &book, (&request, now), rules).await?.1
            } else {
                suggested
            };
            tx.reviewed(&request, &standing, &suggested).await?;
        }
        tx.log(&review_entry(&request, &review, grant.as_ref()))?;
        let grant = match grant {
            Some(approved) if request.ask.kind.extended().is_some() => {
                let by = approved.expires_at.since(approved.starts_at);
                Some(self.extend_by_review(&mut tx, &book, (&request, &review), (&approved.id, by)).await?)
            }
            Some(grant) => {
                tx.insert_grant(&grant).await?;
                tx.log(&issued_entry(&request, Some(&review), &grant)?)?;
                Some(grant)
            }
            None => None,
        };
        tx.commit().await?;
        Ok(Reviewed { request, review, grant })
    }
}

/// What the policy said when a request was filed.
#[derive(Debug)]
pub(super) struct Then {
    service: Option<Arc<Service>>,
    people: Arc<People>,
}

impl Then {
    /// The rule of an ask, as it was then and in the policy in force.
    pub(super) fn rules<'r>(&'r self, ask: &Ask, book: &'r Rulebook) -> RulesAtReview<'r> {
        RulesAtReview {
            then: self.service.as_deref().and_then(|service| service.rule(&ask.rule)),
            now: book.rule(&ask.service, &ask.rule, &ask.action),
            people: PeopleAtReview { then: &self.people, now: &book.people },
            escalated: false,
            delegations: &[],
        }
    }

    /// The same for a request that is to be reviewed, perhaps by those to whom it was escalated.
    pub(super) fn rules_at_review<'r>(&'r self, request: &Request, book: &'r Rulebook) -> RulesAtReview<'r> {
        RulesAtReview { escalated: request.waited.escalated_at.is_some(), ..self.rules(&request.ask, book) }
    }
}

impl App {
    /// What the policy said when a request was filed.
    pub(super) async fn then(&self, tx: &mut Tx, ask: &Ask) -> Result<Then, AppError> {
        let service = self.service_at(tx, &ask.policy, &ask.service).await?;
        Ok(Then { service, people: self.people(tx, &ask.policy).await? })
    }
}

#[derive(Serialize)]
struct ReviewData<'a> {
    digest: Sha256Hash,
    /// Of the reviewer.
    groups: GroupsField<'a>,
    /// How many approvals the request takes by now.
    approvals: u32,
    /// In whose place the actor reviewed, with the groups that the delegation has.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<UserItem>,
    reason: Option<&'a Text>,
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reveals: Option<&'a [String]>,
}

fn review_entry<'a>(request: &'a Request, review: &'a Review, grant: Option<&Grant>) -> Entry<ReviewData<'a>> {
    let kind = match review.verdict {
        Verdict::Approve => EntryKind::ReviewApproved,
        Verdict::Deny => EntryKind::ReviewDenied,
    };
    let ids = EntryIds {
        request: Some(request.id.clone()),
        review: Some(review.id.clone()),
        grant: grant.map(|grant| grant.id.clone()),
        delegation: review.on_behalf_of.as_ref().map(|of| of.delegation.clone()),
        ..EntryIds::default()
    };
    let duration_ms = review.duration.map(|duration| duration.millis());
    let data = ReviewData {
        digest: request.ask.digest(),
        groups: review.reviewer_groups.as_slice().into(),
        approvals: request.approvals_needed,
        on_behalf_of: review.on_behalf_of.as_ref().map(|of| UserItem::from(&of.user)),
        reason: review.reason.as_ref(),
        duration_ms,
        uses: review.uses,
        reveals: review.reveals.as_deref(),
    };
    Entry { kind, actor: ActorField::User(review.reviewer.clone()), ids, data }
}

#[derive(Serialize)]
pub(super) struct IssuedData<'a> {
    holder: UserItem,
    service: &'a str,
    action: &'a str,
    resource: &'a str,
    rule: &'a str,
    starts_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Sha256Hash>,
    revision: u64,
}

/// The entry of a grant that was made, by whose review or, without one, by its rule alone.
pub(super) fn issued_entry<'a>(
    request: &Request,
    review: Option<&Review>,
    grant: &'a Grant,
) -> Result<Entry<IssuedData<'a>>, AuditError> {
    let ids = EntryIds {
        request: Some(request.id.clone()),
        review: review.map(|review| review.id.clone()),
        grant: Some(grant.id.clone()),
        policy: Some(request.ask.policy.clone()),
        ..EntryIds::default()
    };
    let data = IssuedData {
        holder: UserItem::from(&grant.holder),
        service: &grant.service,
        action: &grant.action,
        resource: &grant.resource,
        rule: &grant.rule,
        starts_at: grant.starts_at,
        expires_at: grant.expires_at,
        uses: grant.uses.map(|uses| uses.allowed),
        terms: terms_hash(&grant.terms)?,
        revision: grant.revision,
    };
    let kind = match grant.state {
        GrantState::Scheduled => EntryKind::GrantScheduled,
        _ => EntryKind::GrantIssued,
    };
    let actor = review.map_or(ActorField::System, |review| ActorField::User(review.reviewer.clone()));
    Ok(Entry { kind, actor, ids, data })
}
