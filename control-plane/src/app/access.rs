//! Who may see and do what, over the rulebook of the policy in force.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use grantmesh_shared::engine::{Service, Table, User};
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::wire::table::{EngineItem, Item, PeopleItem};
use serde_json::value::RawValue;

use super::{App, AppError, Forbidden};
use crate::domain::{Actor, People, Request, Rulebook, Signal, shortened};
use crate::store::{StoreError, Tx, Visible};

/// How many compiled parts of a kind are remembered.
const MOST_COMPILED: usize = 1_024;

/// What was compiled of policies by the hash of its text, so that a transaction compiles nothing that is known.
#[derive(Debug)]
pub(super) struct Cache<T>(Mutex<HashMap<String, Arc<T>>>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Cache<T> {
    fn get(&self, hash: &str) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    fn put(&self, hash: String, compiled: &Arc<T>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_COMPILED {
            known.clear();
        }
        known.insert(hash, Arc::clone(compiled));
    }
}

impl App {
    /// The rulebook of the policy in force, as the transaction sees it.
    pub(super) async fn rulebook(&self, tx: &mut Tx) -> Result<Rulebook, AppError> {
        let Some(policy) = tx.current_policy().await? else {
            return Ok(Rulebook::default());
        };
        let mut services = Vec::new();
        for (name, hash) in tx.policy_services(&policy).await? {
            services.push(self.service(tx, &name, hash).await?);
        }
        let mut signals = Table::default();
        let set: Arc<[Signal]> = tx.signals().await?.into();
        set.iter().for_each(|signal| signals.put_signal(signal.of_engine()));
        let people = self.people(tx, &policy).await?;
        Ok(Rulebook { policy: Some(policy), services, people, signals: Arc::new(signals), set })
    }

    /// What a policy says about people.
    pub(super) async fn people(&self, tx: &mut Tx, policy: &PolicyId) -> Result<Arc<People>, AppError> {
        let Some(hash) = tx.policy_people(policy).await? else { return Ok(Arc::default()) };
        if let Some(known) = self.inner.people.get(&hash) {
            return Ok(known);
        }
        let body = tx.policy_text(&hash).await?;
        let impossible =
            |why: String| StoreError::Impossible { table: "policy_texts", column: "body", row: hash.clone(), why };
        let item: PeopleItem = serde_json::from_str(&body).map_err(|error| impossible(error.to_string()))?;
        let people = Arc::new(People::try_from(item).map_err(|error| impossible(error.to_string()))?);
        self.inner.people.put(hash, &people);
        Ok(people)
    }

    /// One service under an earlier policy.
    pub(super) async fn service_at(
        &self,
        tx: &mut Tx,
        policy: &PolicyId,
        name: &str,
    ) -> Result<Option<Arc<Service>>, AppError> {
        match tx.policy_service(policy, name).await? {
            Some(hash) => self.service(tx, name, hash).await.map(Some),
            None => Ok(None),
        }
    }

    async fn service(&self, tx: &mut Tx, name: &str, hash: String) -> Result<Arc<Service>, AppError> {
        if let Some(known) = self.inner.services.get(&hash) {
            return Ok(known);
        }
        let body = tx.policy_text(&hash).await?;
        let impossible =
            |why: String| StoreError::Impossible { table: "policy_texts", column: "body", row: hash.clone(), why };
        let body = RawValue::from_string(body).map_err(|error| impossible(error.to_string()))?;
        let item = Item { key: format!("service/{name}"), body };
        let service = match item.parse().map_err(|error| impossible(error.to_string()))? {
            EngineItem::Service(service) => Arc::from(service),
            _ => return Err(impossible(format!("it is not the service `{name}`")).into()),
        };
        self.inner.services.put(hash, &service);
        Ok(service)
    }

    pub(super) fn is_operator(&self, actor: &Actor) -> bool {
        actor.is_among(&self.inner.settings.operators)
    }

    pub(super) fn sees_everything(&self, actor: &Actor) -> bool {
        self.is_operator(actor) || actor.is_among(&self.inner.settings.auditors)
    }

    pub(super) fn must_operate(&self, actor: &Actor, what: &'static str) -> Result<(), Forbidden> {
        if self.is_operator(actor) { Ok(()) } else { Err(Forbidden::NotOperator { what }) }
    }

    pub(super) fn must_audit(&self, actor: &Actor, what: &'static str) -> Result<(), Forbidden> {
        if self.sees_everything(actor) { Ok(()) } else { Err(Forbidden::NotAuditor { what }) }
    }

    /// What the actor sees in lists; the same as [`App::sees_request`] and [`App::sees`] one by one.
    pub(super) fn visible(&self, actor: &Actor, book: &Rulebook) -> Visible {
        if self.sees_everything(actor) {
            return Visible::All;
        }
        let rules = book.seen_by(actor).into_iter().map(|(service, rule)| (service.to_owned(), rule.to_owned()));
        let backups = book.backed_up_by(actor).into_iter().map(|(service, rule)| (service.to_owned(), rule.to_owned()));
        Visible::Of { user: actor.user.clone(), rules: rules.collect(), backups: backups.collect() }
    }

    pub(super) fn sees_request(&self, actor: &Actor, book: &Rulebook, request: &Request) -> bool {
        let Request { ask, waited, .. } = request;
        let is_backup = || book.is_backup(actor, &ask.service, &ask.rule);
        self.sees(actor, book, &ask.requester, &ask.service, &ask.rule) || waited.escalated_at.is_some() && is_backup()
    }

    pub(super) fn sees(&self, actor: &Actor, book: &Rulebook, owner: &User, service: &str, rule: &str) -> bool {
        *owner == actor.user
            || book.is_reviewer(actor, service, rule)
            || book.owns(actor, service)
            || self.sees_everything(actor)
    }
}

impl AppError {
    /// There is no such thing, or not for this actor.
    pub(super) fn not_found(what: &'static str, id: &str) -> Self {
        Self::NotFound { what, id: shortened(id, 128) }
    }
}
