//! Giving, reading and ending delegations, and what they let people see.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::DelegationId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::table::UserItem;
use serde::Serialize;

use super::requests::NoData;
use super::{App, AppError, Conflict, Listed, Page};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind, GroupsField};
use crate::domain::{Actor, Delegation, Grant, NewDelegation, Request, Rulebook, Text};
use crate::store::{Tx, Visible};

impl App {
    /// Lets somebody else review in the actor's place.
    ///
    /// # Errors
    /// If one of both may not, there is nothing to give, or what is stated breaks a rule.
    pub async fn delegate(&self, actor: &Actor, new: &NewDelegation) -> Result<Delegation, AppError> {
        let mut tx = self.write().await?;
        let book = self.rulebook(&mut tx).await?;
        let delegate = Delegation::delegate(actor, &new.to)?;
        let now = tx.now();
        let so_far = tx.delegations_so_far(&actor.user, &delegate, now).await?;
        let delegation = Delegation::new(actor, new, &book, self.new_id(&tx)?, so_far, now)?;
        tx.insert_delegation(&delegation).await?;
        tx.log(&given_entry(&delegation))?;
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

    /// Whether the actor may see a request, by what they are or by what was delegated to them.
    pub(super) async fn may_see_request(
        &self,
        tx: &mut Tx,
        (actor, book): (&Actor, &Rulebook),
        request: &Request,
        now: Timestamp,
    ) -> Result<bool, AppError> {
        if self.sees_request(actor, book, request) {
            return Ok(true);
        }
        let this = (request.ask.service.as_str(), request.ask.rule.as_str());
        let is_escalated = request.waited.escalated_at.is_some();
        let given = tx.delegations_to(&actor.user, now).await?;
        Ok(given.iter().any(|one| one.rules(book).contains(&this) || is_escalated && one.backups(book).contains(&this)))
    }

    /// Whether the actor may see a grant by what they are, or, if it was given by breaking the glass, because they may review
    /// that in the place of somebody else. Lists of grants have only the former.
    pub(super) async fn may_see_grant(
        &self,
        tx: &mut Tx,
        (actor, book): (&Actor, &Rulebook),
        grant: &Grant,
    ) -> Result<bool, AppError> {
        let right = (grant.service.as_str(), grant.rule.as_str());
        Ok(self.sees_grant(actor, book, grant)
            || grant.break_glass && self.is_lent_right(tx, (actor, book), right).await?)
    }

    /// Whether the actor may review what is done by a break-glass right in the place of somebody else.
    pub(super) async fn is_lent_right(
        &self,
        tx: &mut Tx,
        (actor, book): (&Actor, &Rulebook),
        right: (&str, &str),
    ) -> Result<bool, AppError> {
        let given = tx.delegations_to(&actor.user, self.inner.settings.clock.now()).await?;
        Ok(given.iter().any(|one| one.rights(book).contains(&right)))
    }

    /// The rules whose requests somebody may review in the place of others now; the same as [`App::may_see_request`] one by
    /// one.
    pub(super) async fn delegated(&self, tx: &mut Tx, user: &User, book: &Rulebook) -> Result<Delegated, AppError> {
        let mut delegated = Delegated::default();
        for one in tx.delegations_to(user, self.inner.settings.clock.now()).await? {
            add(&mut delegated.rules, one.rules(book));
            add(&mut delegated.backups, one.backups(book));
            add(&mut delegated.rights, one.rights(book));
        }
        Ok(delegated)
    }
}

/// Services and names of rules and rights that were delegated to somebody.
#[derive(Debug, Default)]
pub(super) struct Delegated {
    /// Whose requests they may review.
    pub(super) rules: Vec<(String, String)>,
    /// Whose requests they may review once these are escalated.
    pub(super) backups: Vec<(String, String)>,
    /// The break-glass rights by which something was done that they may review.
    pub(super) rights: Vec<(String, String)>,
}

impl Delegated {
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
