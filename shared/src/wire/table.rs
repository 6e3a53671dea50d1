//! The items of a filter's table as they cross the network, and their way into the engine's [`Table`].
//! An item that is not understood in every part refuses the whole answer: a filter never acts on half of what it was told.

#[cfg(feature = "policy")]
mod automatic;
#[cfg(feature = "policy")]
mod course;
#[cfg(feature = "policy")]
mod deciding;
mod kept;
mod live;
#[cfg(feature = "policy")]
mod people;
mod policy;
mod principal;
#[cfg(feature = "policy")]
mod workflow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::read;
use super::table_hash::TableHash;
use crate::engine::{Grant, Lock, Service, ServiceError, Signal, SubjectError, Table, TemplateError};
use crate::id::{GrantId, LockId};

#[cfg(feature = "policy")]
pub use automatic::{AutomaticItem, ThenItem};
#[cfg(feature = "policy")]
pub use course::{BreakGlassItem, ExtensionItem, LimitsItem, RoutingItem, TimeoutsItem};
#[cfg(feature = "policy")]
pub use deciding::{DecidingItem, FactorItem, PatternItem, StageItem, TicketItem, WordsItem};
pub use kept::hash_of_grant;
pub use live::{BindItem, BoundItem, GrantItem, HolderItem, LockItem, SignalItem, UsesItem};
#[cfg(feature = "policy")]
pub use people::{GroupItem, PeopleItem, PersonItem};
pub use policy::{
    ActionItem, ActionsItem, AuditItem, BindingItem, BodyWord, CriticalityWord, DenyItem, FieldItem, ModeWord,
    PlaceWord, RolloutItem, RuleItem, SelectorItem, ServiceItem, UnmatchedWord,
};
pub use principal::{SubjectItem, UserItem};
#[cfg(feature = "policy")]
pub use workflow::WorkflowItem;

/// One item: its key, and its body in exactly the bytes that are hashed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// `service/NAME`, `grant/ID`, `lock/ID` or `signal/NAME`.
    pub key: String,
    /// A [`Body`] in JSON.
    #[cfg_attr(feature = "policy", schemars(with = "serde_json::Map<String, serde_json::Value>"))]
    pub body: Box<RawValue>,
}

impl Item {
    /// This item's part of the table hash.
    #[must_use]
    pub fn hash(&self) -> TableHash {
        TableHash::of_item(&self.key, self.body.get())
    }

    /// Reads and checks the item.
    ///
    /// # Errors
    /// If it is not understood in every part.
    pub fn parse(&self) -> Result<EngineItem, ItemError> {
        let body: Body = read::from_text(self.body.get())
            .map_err(|error| ItemError::Json { key: self.key.clone(), text: error.to_string() })?;
        let key = body.key();
        if key != self.key {
            return Err(ItemError::Key { key: self.key.clone(), body: key });
        }
        Ok(match body {
            Body::Service(service) => EngineItem::Service(Box::new(Service::new(service.try_into()?)?)),
            Body::Grant(grant) => EngineItem::Grant(grant.try_into()?),
            Body::Lock(lock) => EngineItem::Lock(lock.try_into()?),
            Body::Signal(signal) => EngineItem::Signal(signal.into()),
        })
    }
}

/// An item as the engine has it.
#[derive(Debug)]
pub enum EngineItem {
    /// A service.
    Service(Box<Service>),
    /// A grant.
    Grant(Grant),
    /// A lock.
    Lock(Lock),
    /// A signal that is set.
    Signal(Signal),
}

impl EngineItem {
    /// Puts the item into a table; gives the service that it replaces.
    pub fn put_into(self, table: &mut Table) -> Option<Service> {
        match self {
            Self::Service(service) => return table.put_service(*service),
            Self::Grant(grant) => table.put_grant(grant),
            Self::Lock(lock) => table.put_lock(lock),
            Self::Signal(signal) => table.put_signal(signal),
        }
        None
    }
}

/// The key of an item, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKey {
    /// A service by name.
    Service(Box<str>),
    /// A grant by id.
    Grant(GrantId),
    /// A lock by id.
    Lock(LockId),
    /// A signal by name.
    Signal(Box<str>),
}

impl ItemKey {
    /// Reads a key.
    ///
    /// # Errors
    /// If it names no known kind of item.
    pub fn parse(key: &str) -> Result<Self, ItemError> {
        let refuse = || ItemError::UnknownKey { key: key.chars().take(96).collect() };
        let (kind, id) = key.split_once('/').ok_or_else(refuse)?;
        match kind {
            "service" if !id.is_empty() => Ok(Self::Service(id.into())),
            "grant" => id.parse().map(Self::Grant).map_err(|_| refuse()),
            "lock" => id.parse().map(Self::Lock).map_err(|_| refuse()),
            "signal" if !id.is_empty() => Ok(Self::Signal(id.into())),
            _ => Err(refuse()),
        }
    }

    /// Takes the item out of a table; gives it if it is a service.
    pub fn remove_from(&self, table: &mut Table) -> Option<Service> {
        match self {
            Self::Service(name) => return table.remove_service(name),
            Self::Grant(id) => table.remove_grant(id),
            Self::Lock(id) => table.remove_lock(id),
            Self::Signal(name) => table.remove_signal(name),
        }
        None
    }
}

/// Why an item is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// Not the JSON of a known kind of item, or with a field that this build does not know.
    #[error("item `{key}` is not understood: {text}")]
    Json {
        /// The item.
        key: String,
        /// What the parser says.
        text: String,
    },
    /// The key is not the body's.
    #[error("item `{key}` holds the body of `{body}`")]
    Key {
        /// The item's key.
        key: String,
        /// The key that the body calls for.
        body: String,
    },
    /// A key of no known kind.
    #[error("`{key}` is no key of an item")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A name of a principal that is none.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A template that is none.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Parts that contradict each other.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A condition that is none.
    #[error(transparent)]
    Condition(#[from] super::condition::ConditionItemError),
    /// A share that is none.
    #[error("{0} is not a share from 0 to 100 percent")]
    Percent(u8),
    /// A grant without a holder, or one that ends before it begins.
    #[error("{0} is not a possible grant")]
    Grant(GrantId),
}

/// The body of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// A service with everything of the policy that concerns it.
    Service(ServiceItem),
    /// A grant.
    Grant(GrantItem),
    /// A lock.
    Lock(LockItem),
    /// A signal that is set.
    Signal(SignalItem),
}

impl Body {
    /// The key under which the item is kept.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Service(service) => format!("service/{}", service.name),
            Self::Grant(grant) => format!("grant/{}", grant.id),
            Self::Lock(lock) => format!("lock/{}", lock.id),
            Self::Signal(signal) => format!("signal/{}", signal.name),
        }
    }

    /// The service whose filters need the item; nothing if all of them do.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Service(service) => Some(&service.name),
            Self::Grant(grant) => Some(&grant.service),
            Self::Lock(lock) => lock.service.as_deref(),
            Self::Signal(_) => None,
        }
    }

    /// The item that carries this body.
    ///
    /// # Errors
    /// Never in practice: every body has a JSON form.
    pub fn into_item(self) -> Result<Item, serde_json::Error> {
        Ok(Item { key: self.key(), body: serde_json::value::to_raw_value(&self)? })
    }
}
