//! Giving, reading and ending delegations, and what they let people see.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::{DelegationId, PolicyId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::table::UserItem;
use serde::Serialize;

use super::once::still_there;
use super::requests::NoData;
use super::{App, AppError, Conflict, Listed, Page};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind, GroupsField};
use crate::domain::{Actor, Delegation, NewDelegation, PostReview, Request, Rulebook, Text};
use crate::store::{Tx, Visible};

impl App {
    /// Lets somebody else review in the actor's place.
    ///
    /// # Errors
    /// If one of both may not, there is nothing to give, or what is stated breaks a rule.
    pub async fn delegate(&self, actor: &Actor, new: &NewDelegation) -> Result<Delegation, AppError> {
        let mut tx = self.write().await?;
        if let Some(id) = self.repeated::<DelegationId>(&mut tx, &actor.user).await? {
            return still_there(tx.delegation(&id).await?, id.as_str());
        }
        let book = self.rulebook(&mut tx).await?;
        let delegate = Delegation::delegate(actor, &new.to)?;
        let now = tx.now();
        let so_far = tx.delegations_so_far(&actor.user, &delegate, now).await?;
        let delegation = Delegation::new(actor, new, &book, self.new_id(&tx)?, so_far, now)?;
        tx.insert_delegation(&delegation).await?;
        tx.log(&given_entry(&delegation))?;
        self.keep_key(&mut tx, &actor.user, delegation.id.as_str()).await?;
        tx.commit().await?;
        Ok(delegation)
    }

    /// Ends a delegation before its time. For both whom it concerns, and operators.
    ///
    /// # Errors
    /// If it is none of the actor's business, there is none, or it is over.
    pub async fn end_delegation(&self, actor: &Actor, id: &DelegationId) -> Result<Delegation, AppError> {
        let mut tx = self.write().await?;
        let found = tx.delegation(id).await?;
        let concerns = |one: &Delegation| [&one.delegator, &one.delegate].contains(&&actor.user);
        let delegation = found
            .filter(|one| concerns(one) || self.sees_everything(actor))
            .ok_or_else(|| AppError::not_found("delegation", id.as_str()))?;
        if !concerns(&delegation) {
            self.must_operate(actor, "end the delegations of others")?;
        }
        let ended = delegation.end(actor.user.clone(), tx.now()).map_err(Conflict::DelegationOver)?;
        tx.end_delegation(&ended).await?;
        let ids = ids(&ended);
        let actor = ActorField::User(actor.user.clone());
        tx.log(&Entry { kind: EntryKind::DelegationEnded, actor, ids, data: NoData {} })?;
        tx.commit().await?;
        Ok(ended)
    }

    /// The delegations that the actor has given or taken, of operators and auditors all, newest first; those that are not over
    /// alone if that is wanted.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delegations(
        &self,
        actor: &Actor,
        (mine, current): (bool, bool),
        page: &Page,
    ) -> Result<Listed<Delegation>, AppError> {
        let of = (mine || !self.sees_everything(actor)).then_some(&actor.user);
        let over = current.then(|| self.inner.settings.clock.now());
        let rows = self.rows(page);
        let found = self.read().await?.delegations(of, over, (page.cursor.as_deref(), rows)).await?;
        Ok(Listed::up_to(found, rows.saturating_sub(1), |delegation| delegation.id.to_string()))
    }

    /// Whether the actor reviews something by more than their own right under the policy in force: in the place of somebody
    /// else, or, of what was done by a break-glass right that is gone, as it was then.
    pub(super) async fn may_review(
        &self,
        tx: &mut Tx,
        (actor, book): (&Actor, &Rulebook),
        what: Reviewable<'_>,
        now: Timestamp,
    ) -> Result<bool, AppError> {
        if self.lent_to(tx, (&actor.user, book), now).await?.is_of(what) {
            return Ok(true);
        }
        let Reviewable::Deed(deed) = what else { return Ok(false) };
        let is_gone = book.service(deed.service).and_then(|service| service.right(deed.right)).is_none();
        Ok(is_gone && self.reviewed_then(tx, actor, deed, now).await?)
    }

    /// Whether the actor was a reviewer of what was done by breaking the glass as the right was then, or stands in for one who
    /// was.
    pub(super) async fn reviewed_then(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        Deed { service, right, policy }: Deed<'_>,
        now: Timestamp,
    ) -> Result<bool, AppError> {
        let then = self.service_at(tx, policy, service).await?;
        let Some(then) = then.as_deref().and_then(|service| service.right(right)) else { return Ok(false) };
        let given = tx.delegations_to(&actor.user, now).await?;
        let is_lent = |one: &Delegation| one.covers(service, right) && one.delegator().is_among(&then.reviewers);
        Ok(actor.is_among(&then.reviewers) || given.iter().any(is_lent))
    }

    /// What somebody may review in the place of others.
    pub(super) async fn lent_to(
        &self,
        tx: &mut Tx,
        (user, book): (&User, &Rulebook),
        now: Timestamp,
    ) -> Result<LentTo, AppError> {
        let mut lent = LentTo::default();
        for one in tx.delegations_to(user, now).await? {
            add(&mut lent.rules, one.rules(book));
            add(&mut lent.backups, one.backups(book));
            add(&mut lent.rights, one.rights(book));
        }
        Ok(lent)
    }
}

/// What is reviewed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reviewable<'r> {
    /// A request.
    Request(&'r Request),
    /// What was done by breaking the glass.
    Deed(Deed<'r>),
}

/// What was done by a break-glass right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deed<'r> {
    /// The service.
    pub(super) service: &'r str,
    /// The right's name.
    pub(super) right: &'r str,
    /// The policy version that gave it.
    pub(super) policy: &'r PolicyId,
}

impl<'r> From<&'r PostReview> for Deed<'r> {
    fn from(review: &'r PostReview) -> Self {
        Self { service: &review.service, right: &review.rule, policy: &review.policy }
    }
}

/// Services and names of rules and rights that were lent to somebody.
#[derive(Debug, Default)]
pub(super) struct LentTo {
    /// Whose requests they may review.
    pub(super) rules: Vec<(String, String)>,
    /// Whose requests they may review once these are escalated.
    pub(super) backups: Vec<(String, String)>,
    /// The break-glass rights by which something was done that they may review.
    pub(super) rights: Vec<(String, String)>,
}

impl LentTo {
    fn is_of(&self, what: Reviewable<'_>) -> bool {
        let among = |those: &[(String, String)], (service, name): (&str, &str)| {
            those.iter().any(|(of, known)| of == service && known == name)
        };
        match what {
            Reviewable::Request(Request { ask, waited, .. }) => {
                let rule = (ask.service.as_str(), ask.rule.as_str());
                among(&self.rules, rule) || waited.escalated_at.is_some() && among(&self.backups, rule)
            }
            Reviewable::Deed(Deed { service, right, .. }) => among(&self.rights, (service, right)),
        }
    }

    /// What somebody sees of requests besides what they see anyway.
    pub(super) fn added_to(self, visible: Visible) -> Visible {
        let Visible::Of { user, mut rules, mut backups } = visible else { return visible };
        merge(&mut rules, self.rules);
        merge(&mut backups, self.backups);
        Visible::Of { user, rules, backups }
    }
}

fn add(all: &mut Vec<(String, String)>, more: Vec<(&str, &str)>) {
    merge(all, more.into_iter().map(|(service, rule)| (service.to_owned(), rule.to_owned())));
}

fn merge(all: &mut Vec<(String, String)>, more: impl IntoIterator<Item = (String, String)>) {
    for rule in more {
        if !all.contains(&rule) {
            all.push(rule);
        }
    }
}

fn ids(delegation: &Delegation) -> EntryIds {
    EntryIds { delegation: Some(delegation.id.clone()), ..EntryIds::default() }
}

#[derive(Serialize)]
struct GivenData<'a> {
    to: UserItem,
    service: Option<&'a str>,
    rule: Option<&'a str>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    reason: &'a Text,
    /// Of the delegator: with these it is judged whether they review.
    groups: GroupsField<'a>,
}

fn given_entry(delegation: &Delegation) -> Entry<GivenData<'_>> {
    let data = GivenData {
        to: UserItem::from(&delegation.delegate),
        service: delegation.service.as_deref(),
        rule: delegation.rule.as_deref(),
        starts_at: delegation.starts_at,
        ends_at: delegation.ends_at,
        reason: &delegation.reason,
        groups: delegation.delegator_groups.as_slice().into(),
    };
    let actor = ActorField::User(delegation.delegator.clone());
    Entry { kind: EntryKind::DelegationGiven, actor, ids: ids(delegation), data }
}
